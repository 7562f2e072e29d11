"""Header fields that a server reads in requests and writes into responses; clients do neither."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

from mediacrawl.headers import ETag

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')  # RFC 9110 8.8.3
# RFC 8941 3.1.2, 3.2: the value of a member is an integer, a decimal, a string, a token, bytes or a boolean, or an
# inner list; parameters may follow. Only integers have a meaning in Want-Repr-Digest (RFC 9530 4).
_MEMBER = re.compile(
    r"""([a-z*][a-z0-9_.*-]*)
    (?:=(?:(-?[0-9]{1,15}(?:\.[0-9]{1,3})?)|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|:[A-Za-z0-9+/=]*:|\?[01]
        |[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*|\([^()]*\)))?
    (?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=(?:[^",;()\s]+|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"))?)*""",
    re.VERBOSE,
)
_BETWEEN = re.compile(r"[ \t]*,[ \t]*")
_MOST_WANTED = 10  # RFC 9530 4: the preferences are 0 to 10
# RFC 8187 3.2.1, attr-char. `quote` never escapes letters, digits, "_", ".", "-" and "~".
_ATTR_CHARS = "!#$&+^`|"
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PLAIN = re.compile(r"[^\x20-\x7e]|[\"\\%]")


def is_any(value: str) -> bool:
    """Return whether If-Match or If-None-Match is `*`: any version."""
    return value.strip(" \t") == "*"


def entity_tags(value: str) -> list[ETag]:
    """Return the tags of If-Match or If-None-Match; none if any element of the list is not a tag.

    The list `"a", "b` matches nothing: If-Match is then false, and If-None-Match true, so no file is taken for
    another one.
    """
    if _TAG.sub("", value).strip(", \t"):
        return []
    return [ETag(match[2], match[1] is not None) for match in _TAG.finditer(value)]


def wants_sha256(value: str | None) -> bool:
    """Return whether Want-Repr-Digest asks for a SHA-256 (RFC 9530 4); False for a malformed field."""
    wanted = _dictionary(value or "").get("sha-256") or ""
    return wanted.isdigit() and 0 < int(wanted) <= _MOST_WANTED


def _dictionary(value: str) -> dict[str, str | None]:
    """Return the numbers of a dictionary (RFC 8941 3.2), None for other values; empty if it is malformed."""
    found: dict[str, str | None] = {}
    text, at = value.strip(" "), 0
    while match := _MEMBER.match(text, at):
        found[match[1]] = match[2]  # the last member of a name counts
        if match.end() == len(text):
            return found
        comma = _BETWEEN.match(text, match.end())
        if comma is None:
            break
        at = comma.end()
    return {}


def repr_digest(sha256: str) -> str:
    """Return the value of Repr-Digest (RFC 9530 3)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def content_disposition(kind: str, name: str) -> str:
    """Return the value of Content-Disposition (RFC 6266 4).

    Args:
        kind: `inline` or `attachment`.
        name: of the file, any text: it cannot end the parameter or the field.
    """
    text = _SURROGATE.sub("\ufffd", name)  # a byte of a name that is not UTF-8
    return f"{kind}; filename=\"{_PLAIN.sub('_', text)}\"; filename*=UTF-8''{quote(text, safe=_ATTR_CHARS)}"

"""The form in which a URL is sent, the URL of a reference, and the key of a URL. No I/O.

A URL is sent as it is written. Only text that cannot stand in a request target (RFC 9112 3.2) is percent-encoded,
byte for byte: blanks, control characters, all that is not ASCII, and the characters that browsers encode. Escapes,
the order of a query, `+` and empty parts stay as they are: a server may have signed the target, and any two targets
may be two resources (RFC 3986 6.2.1).

The standard library, `requests`, urllib3 and w3lib rewrite more than that. For example, they drop an empty query,
decode `%7E`, change the case of escapes, or merge empty segments of a relative path.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import NamedTuple

from mediacrawl.urls.origin import DEFAULT_PORTS

_SCHEMES = tuple(f"{scheme}:" for scheme in DEFAULT_PORTS)
_HOST = r"[a-z0-9](?:[a-z0-9_-]|\.(?=[a-z0-9]))*"
_PORT = r"[1-9][0-9]{0,4}"
# A URL that is sent as it is, and is its own key; most URLs are, if they have no dot segment.
_PLAIN = re.compile(
    rf"(http://{_HOST}(?::(?!80/){_PORT})?|https://{_HOST}(?::(?!443/){_PORT})?)"
    r"(/[!$-;=@-\[\]_a-z|~]*(?:\?[!$-;=?-~]*)?)"
)
_PARTS = re.compile(  # RFC 3986 appendix B, with the characters of a scheme
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)
# WHATWG URL, "basic URL parser", steps 1 to 3: strip C0 controls and spaces, remove tabs and newlines.
_ENDS = "".join(map(chr, range(0x21)))
_INSIDE = str.maketrans("", "", "\t\n\r")
# WHATWG URL, "path percent-encode set" and "query percent-encode set".
_ENCODED_IN_PATH = re.compile(r"[^!$-;=@-\[\]_a-z|~]+")
_ENCODED_IN_QUERY = re.compile(r"[^!$-;=?-~]+")
_ENCODED_IN_USERINFO = re.compile(r"[^!-~]+")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")  # as the `surrogateescape` error handler decodes it
# C0 without the characters that browsers remove, DEL, and C1: they steer terminals, and no URL has them.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LONGEST_USUAL = 300  # characters of an authority
_LONGEST_NAME = 253  # characters of a host (RFC 1035 2.3.4); to encode a longer one may take the square of the time
_ASCII_HOST = re.compile(r"[a-z0-9._-]+")


class _Parts(NamedTuple):
    """The parts of a URL or reference (RFC 3986 3). A part that is missing is None; it may also be empty."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None

    @classmethod
    def of(cls, url: str) -> _Parts:
        match = _PARTS.fullmatch(url)
        assert match is not None  # the expression matches any text
        return cls(*match.groups())

    def __str__(self) -> str:
        return "".join(
            (
                "" if self.scheme is None else f"{self.scheme}:",
                "" if self.authority is None else f"//{self.authority}",
                self.path,
                "" if self.query is None else f"?{self.query}",
                "" if self.fragment is None else f"#{self.fragment}",
            )
        )


def is_plain(url: str) -> bool:
    """Return whether a URL is certainly sent as it is, and is its own key."""
    return _PLAIN.fullmatch(url) is not None and "/." not in url


def split_plain(url: str) -> tuple[str, str] | None:
    """Return the origin and the request target of a plain URL, see `is_plain`; None for any other URL."""
    match = _PLAIN.fullmatch(url)
    return None if match is None or "/." in url else (match[1], match[2])


def has_controls(url: str) -> bool:
    """Return whether a URL contains control characters (C0, DEL, C1) other than tabs and line ends."""
    return not url.isprintable() and _CONTROLS.search(url) is not None


def as_sent(url: str) -> str:
    r"""Return a URL in the form in which it is sent, with its credentials and its fragment.

    - Blanks at the ends, tabs and line breaks are removed, and `\` in the path is `/`, as in browsers.
    - `.` and `..` segments are removed (RFC 3986 5.2.4). A path that is missing is `/`.
    - A host that is not ASCII becomes its A-labels (RFC 5890); scheme and host are in lower case.
    - Text that cannot stand in a target is encoded as the module describes: lone surrogates of the
      `surrogateescape` error handler as their bytes, other characters in UTF-8.

    Any other text than an http, https, ftp or ftps URL with a host is returned with its ends stripped.

    Raises:
        ValueError: a character cannot be encoded, or is a control character within such a URL.
    """
    if has_controls(url) and has_controls(stripped := _stripped(url)) and stripped.lower().startswith(_SCHEMES):
        raise ValueError("the URL contains a control character")
    return _encoded(url)


def _encoded(url: str, encoding: str = "utf-8") -> str:
    """Return a URL as `as_sent` does, but encode control characters. `encoding` is that of the query."""
    if is_plain(url):
        return url
    url = _stripped(url)
    parts = _Parts.of(url)
    scheme = (parts.scheme or "").lower()
    if scheme not in DEFAULT_PORTS or not parts.authority or "\\" in parts.authority:
        return url
    path = _without_dots("/" + _with_slashes(parts.path).removeprefix("/"))
    return str(
        _Parts(
            scheme,
            _authority_as_sent(parts.authority),
            _encode(_ENCODED_IN_PATH, path),
            None if parts.query is None else _encode(_ENCODED_IN_QUERY, parts.query, encoding),
            None if parts.fragment is None else _encode(_ENCODED_IN_QUERY, parts.fragment),
        )
    )


def target_of(url: str) -> str:
    """Return the request target of a URL with a host in origin form (RFC 9112 3.2.1)."""
    if (plain := split_plain(url)) is not None:
        return plain[1]
    return str(_Parts.of(_encoded(url))._replace(scheme=None, authority=None, fragment=None))


def resolve(base: str, reference: str, encoding: str = "utf-8") -> str:
    r"""Return the URL that a reference leads to from the URL `base` (RFC 3986 5.2), in the form in which it is sent.

    As in browsers, `\` before the query is `/`, a reference with the scheme of the base and without a host is
    relative, and control characters are percent-encoded. `as_sent` has the other rules; `encoding` is that of the
    query.

    Raises:
        ValueError: a character cannot be encoded.
    """
    reference = _stripped(reference)
    if "\\" in reference:
        beginning, mark, rest = re.split(r"([?#]|$)", reference, maxsplit=1)
        reference = _with_slashes(beginning) + mark + rest
    link, of = _Parts.of(reference), _Parts.of(base)
    if link.scheme is not None and link.authority is None and link.scheme.lower() == of.scheme:
        link = link._replace(scheme=None)
    if link.scheme is None:
        link = link._replace(scheme=of.scheme) if link.authority is not None else _below(of, link)
    return _encoded(str(link), encoding)


def key_of_url(url: str) -> str:
    """Return the key of a file that has no key of its own: the URL as it is sent, without credentials and fragment.

    Scheme, host and port are normalised (RFC 3986 6.2.2.1, 6.2.3), and nothing else.
    """
    if is_plain(url):
        return url
    sent = _encoded(url)
    parts = _Parts.of(sent)
    if parts.scheme not in DEFAULT_PORTS or not parts.authority:
        return sent
    host = parts.authority.rpartition("@")[2]
    host = host.removesuffix(f":{DEFAULT_PORTS[parts.scheme]}").removesuffix(":")
    return str(parts._replace(authority=host, fragment=None))


def _below(base: _Parts, link: _Parts) -> _Parts:
    """Return a reference with neither scheme nor host, resolved (RFC 3986 5.2.2)."""
    path, query = link.path, link.query
    if not path:
        path, query = base.path, base.query if query is None else query
    elif not path.startswith("/"):
        path = base.path[: base.path.rfind("/") + 1] + path
    return base._replace(path=path, query=query, fragment=link.fragment)


def _stripped(url: str) -> str:
    return url.strip(_ENDS).translate(_INSIDE)


def _with_slashes(text: str) -> str:
    r"""Replace `\` by `/`, except in text with bytes that are not UTF-8: there it is the end of a character."""
    return text if "\\" not in text or _ESCAPED_BYTE.search(text) else text.replace("\\", "/")


def _without_dots(path: str) -> str:
    """Remove the dot segments of a path that begins with `/` (RFC 3986 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    _, *segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _encode(unsafe: re.Pattern[str], text: str, encoding: str = "utf-8") -> str:
    return unsafe.sub(partial(_escapes, encoding), text)


def _escapes(encoding: str, match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode(encoding, "surrogateescape"))


def _authority_as_sent(authority: str) -> str:
    is_usual = len(authority) <= _LONGEST_USUAL
    return _usual_as_sent(authority) if is_usual else _usual_as_sent.__wrapped__(authority)


@lru_cache(256)
def _usual_as_sent(authority: str) -> str:
    userinfo, at, host = authority.rpartition("@")
    name, colon, port = host.partition(":") if "[" not in host else (host, "", "")
    userinfo = _encode(_ENCODED_IN_USERINFO, userinfo)
    return f"{userinfo}{at}{name.lower() if name.isascii() else _a_labels(name)}{colon}{port}"


def _a_labels(name: str) -> str:
    """Return a host name in A-labels, as browsers do (UTS 46); the name itself if it has none."""
    if len(name) > _LONGEST_NAME:
        return name
    import idna  # noqa: PLC0415 - seldom needed

    for encode in (partial(idna.encode, uts46=True), partial(str.encode, encoding="idna")):  # the latter knows emoji
        try:
            found = encode(name).decode("ascii").lower()
        except UnicodeError:  # also the base of the errors of `idna`
            continue
        if _ASCII_HOST.fullmatch(found):
            return found
    return name

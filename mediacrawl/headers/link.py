"""The `Link` header (RFC 8288): the reference with a given relation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# RFC 8288 3: `<reference>` and its parameters. A comma and a semicolon may stand in the reference and in quotes.
# A reference without end extends to the end of the value, so that the search never reads a text twice.
_LINK = re.compile(r"<([^>]*+)(?:>|\Z)((?:\s*+;[^\";,]*+(?:\"(?:[^\"\\]|\\.)*+\"?+[^\";,]*+)*+)*+)", re.DOTALL)
_PARAMETER = re.compile(r";\s*+([^\s=;,\"]++)\s*+(?:=\s*+(?:\"((?:[^\"\\]|\\.)*+)\"?+|([^\s;,\"]*+)))?+", re.DOTALL)


def reference_of(relation: str, values: Iterable[str]) -> str | None:
    """Return the first reference with a relation type (`next`), as it is written; None without one.

    A link from another resource than the one that was asked for (`anchor`) does not count.
    """
    for value in values:
        for link in _LINK.finditer(value):
            parameters = dict(reversed(list(_parameters(link[2]))))  # RFC 8288 3.3: the first `rel` counts
            if "anchor" not in parameters and relation in parameters.get("rel", "").lower().split():
                return link[1].strip()
    return None


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for parameter in _PARAMETER.finditer(text):
        yield parameter[1].lower(), re.sub(r"\\(.)", r"\1", parameter[2] or "") or parameter[3] or ""

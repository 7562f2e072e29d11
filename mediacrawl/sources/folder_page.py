"""The pages of a folder, as `mediacrawl serve` lists it in JSON. No I/O.

    {"folder": "films/",
     "entries": [{"name": "a.mp4", "href": "a.mp4", "kind": "file", "size": 9, "sha256": null}, …],
     "next": "?after=a.mp4"}

A page comes from outside, and none of it is trusted: what an entry is called follows from its `href` alone, and that
is a single segment below the URL of the folder. So an entry has no other host, no other credentials and no path that
leads upwards, and folders contain no loops.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from mediacrawl.headers import digest_from_hex
from mediacrawl.urls import resolve, target_of
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.headers import Digest

_SEGMENT = re.compile(r"[^/?#]+(/?)")
_LONGEST_SHOWN = 80  # characters
_LONGEST_URL = 16_384  # characters; a path of Linux has 4,096 bytes, each of which may be percent-encoded


class ListedFolder(NamedTuple):
    """A folder in a page: its name, decoded, and its URL, which ends with "/"."""

    name: str
    url: str


class ListedFile(NamedTuple):
    """A file in a page.

    Attributes:
        name: decoded from the URL; any text without "/". Bytes that are not UTF-8 are surrogates.
        url: with the credentials of the URL of the folder.
        size_bytes: None if the server does not tell it.
        sha256: None if the server does not know it.
    """

    name: str
    url: str
    size_bytes: int | None = None
    sha256: Digest | None = None


class FolderPage(NamedTuple):
    """A page of a folder.

    Attributes:
        folder: its path on the server: empty, or with "/" at its end.
        next_url: of the next page; None for the last one.
    """

    folder: str
    files: list[ListedFile]
    folders: list[ListedFolder]
    next_url: str | None


def read_folder_page(content: bytes, url: str) -> FolderPage:
    """Parse a page of the folder at a URL, which ends with "/".

    Raises:
        ValueError: it is no such page, in a few words. They may contain text of the page, which is visible.
    """
    facts = _object(content)
    folder, entries, following = facts.get("folder"), facts.get("entries"), facts.get("next")
    if not isinstance(folder, str) or not isinstance(entries, list):
        raise ValueError("the JSON is none of a folder")  # noqa: TRY004 - the text is wrong, not the program
    if not unquote(target_of(url), errors="surrogateescape").endswith(f"/{folder}"):
        raise ValueError(f"the JSON is that of another folder, {_shown(folder)}")
    files: list[ListedFile] = []
    folders: list[ListedFolder] = []
    for entry in _entries(entries, url):
        files.append(entry) if isinstance(entry, ListedFile) else folders.append(entry)
    return FolderPage(folder, files, folders, _next_url(following, url))


def _object(content: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):  # also a number of more than 4300 digits
        raise ValueError("not JSON") from None
    if not isinstance(facts, dict):
        raise ValueError("the JSON is none of a folder")  # noqa: TRY004 - the text is wrong, not the program
    return facts


def _entries(entries: list[Any], url: str) -> Iterator[ListedFile | ListedFolder]:
    for entry in entries:
        if not isinstance(entry, dict):
            raise ValueError("an entry of the folder is no object")  # noqa: TRY004
        href, kind = entry.get("href"), entry.get("kind")
        if not isinstance(kind, str) or kind not in {"file", "folder"}:
            raise ValueError(f"an entry of the folder is neither a file nor a folder: {_shown(kind)}")
        found, name, is_folder = _below(url, href)
        if kind == "folder":
            yield ListedFolder(name, found if is_folder else f"{found}/")
        elif is_folder:
            raise ValueError(f"the href of a file ends with a slash: {_shown(href)}")
        else:
            yield ListedFile(name, found, _size(entry.get("size")), _sha256(entry.get("sha256")))


def _below(url: str, href: Any) -> tuple[str, str, bool]:
    """Return the URL of an entry, its name, and whether its URL ends with "/"."""
    found = _resolved(url, href)
    segment = _SEGMENT.fullmatch(found.removeprefix(url)) if found is not None and found.startswith(url) else None
    if found is None or segment is None:
        raise ValueError(f"an entry leads out of the folder: {_shown(href)}")
    name = unquote(segment[0].removesuffix("/"), errors="surrogateescape")
    if name in {".", ".."} or "/" in name or "\0" in name:
        raise ValueError(f"an entry leads out of the folder: {_shown(href)}")
    return found, name, bool(segment[1])


def _next_url(following: Any, url: str) -> str | None:
    if following is None:
        return None
    found = _resolved(url, following)
    if found is None or not found.startswith(f"{url}?") or "#" in found:
        raise ValueError(f"the next page is none of the folder: {_shown(following)}")
    return found


def _resolved(url: str, href: Any) -> str | None:
    """Return the URL that a reference leads to; None for one that is not written as a reference in a URL is."""
    if not isinstance(href, str) or not href or not (href.isascii() and href.isprintable()) or " " in href:
        return None
    if len(href) > _LONGEST_URL or len(found := resolve(url, href)) > _LONGEST_URL:
        raise ValueError(f"a URL has more than {_LONGEST_URL} characters: {_shown(href)}")
    return found


def _size(value: Any) -> int | None:
    if value is None or (type(value) is int and value >= 0):
        return value
    raise ValueError(f"the size of a file is no number of bytes: {_shown(value)}")


def _sha256(value: Any) -> Digest | None:
    if value is None:
        return None
    digest = digest_from_hex("sha256", value) if isinstance(value, str) else None
    if digest is None:
        raise ValueError(f"the sha256 of a file is no digest in hex: {_shown(value)}")
    return digest


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    shown = visible(text[:_LONGEST_SHOWN])
    return repr(shown) if len(text) <= _LONGEST_SHOWN else f"{shown!r} …"

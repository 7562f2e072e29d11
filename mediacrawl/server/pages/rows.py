"""Entries of the store as the pages and JSON show them: links, names without steering characters, sizes, dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from mediacrawl.fetch.stats import size_text
from mediacrawl.headers import kind_of_path, type_of_path
from mediacrawl.headers.media_type import is_web_image
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.server.files import FileIdentity
    from mediacrawl.server.pages.listing import FolderEntry

STORE_NAME = "Files"  # the name of the root of the store

# Sound and video that at least two of Chromium, Firefox and Safari play. Some play more, and none plays each codec.
_PLAYED = frozenset(
    [
        *(f"audio/{name}" for name in ("aac", "flac", "mp3", "mp4", "mpeg", "ogg", "opus", "wav", "webm")),
        *(f"audio/{name}" for name in ("x-flac", "x-m4a", "x-wav")),
        *(f"video/{name}" for name in ("mp4", "ogg", "quicktime", "webm", "x-m4v", "x-matroska", "matroska")),
        "application/ogg",
    ]
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NS = 1_000_000_000


class PathStep(NamedTuple):
    """A folder, or another thing with a page, and the URL of the page."""

    name: str
    href: str


class Row(NamedTuple):
    """An entry as a page shows it. All texts are to be escaped for HTML.

    Attributes:
        name: in one line, see `visible`.
        href: of its page, or of the file if it has no page.
        icon: the name of a symbol of `icons.svg`.
        is_folder: whether it is a folder.
        size: a text; empty for a folder.
        modified: the time of modification as a machine reads it (RFC 3339).
        date: the same for a person, in the time zone of the server.
        where: the folder that it is in, for results of a search; else empty.
    """

    name: str
    href: str
    icon: str
    is_folder: bool
    size: str
    modified: str
    date: str
    where: str = ""


class Links:
    """The URLs of the pages of files, below the prefix of a server."""

    def __init__(self, prefix: str) -> None:
        """Make links below a prefix, which begins and ends with a slash."""
        self._prefix = prefix

    def file(self, path: str) -> str:
        """Return the URL of the content of a file."""
        return f"{self._prefix}files/{quoted(path)}"

    def folder(self, path: str) -> str:
        """Return the URL of the page of a folder; of the store if the path is empty."""
        return f"{self.file(path)}/" if path else f"{self._prefix}files/"

    def player(self, path: str) -> str:
        """Return the URL of the page of a file."""
        return f"{self._prefix}play/{quoted(path)}"

    def entry(self, entry: FolderEntry) -> str:
        """Return the URL to which the name of an entry leads."""
        if entry.is_folder:
            return self.folder(entry.path)
        return self.player(entry.path) if kind_of_path(entry.path) else self.file(entry.path)

    def steps(self, path: str) -> list[PathStep]:
        """Return the folders that lead to a path, from the store on, and the last component of the path."""
        parts = path.split("/") if path else []
        folders = [PathStep(visible(part), self.folder("/".join(parts[: at + 1]))) for at, part in enumerate(parts)]
        return [PathStep(STORE_NAME, self.folder("")), *folders]

    def row(self, entry: FolderEntry, *, with_folder: bool = False) -> Row:
        """Return an entry as a page shows it."""
        identity, folder = entry.identity, entry.path.rpartition("/")[0]
        return Row(
            name=visible(entry.name),
            href=self.entry(entry),
            icon="folder" if entry.is_folder else kind_of_path(entry.path) or "file",
            is_folder=entry.is_folder,
            size="" if entry.is_folder else size_text(identity.size),
            modified=timestamp(identity),
            date=_local_date(identity),
            where=(visible(folder) or STORE_NAME) if with_folder else "",
        )


def quoted(path: str) -> str:
    """Return a path for a URL. Bytes of names that are not UTF-8 stay as they are."""
    return quote(path, errors="surrogateescape")


def played_kind(path: str) -> str | None:
    """Return `image`, `audio` or `video` if browsers show such files in a page, else None."""
    found = type_of_path(path)
    if found in _PLAYED:
        return kind_of_path(path)
    return "image" if is_web_image(found) else None


def timestamp(identity: FileIdentity) -> str:
    """Return the time of modification as in RFC 3339, in UTC."""
    return _date(identity, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _local_date(identity: FileIdentity) -> str:
    return local_time(_date(identity, UTC))


def local_time(when: datetime) -> str:
    """Return a time for a person, in the time zone of the machine."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M")


def _date(identity: FileIdentity, zone: Any) -> datetime:
    """Return the time of modification, or the epoch for times that Python has not."""
    try:
        return datetime.fromtimestamp(identity.modified_ns // _NS, zone)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, zone)


def entry_facts(entry: FolderEntry, sha256_of: Callable[[str, FileIdentity], str | None]) -> dict[str, Any]:
    """Return the facts of an entry for JSON.

    `href` leads to exactly this entry; in `name` and `path`, bytes that are not UTF-8 are U+FFFD.
    """
    identity, is_folder = entry.identity, entry.is_folder
    return {
        "name": as_unicode(entry.name),
        "path": as_unicode(entry.path),
        "href": quote(entry.name, safe="", errors="surrogateescape") + ("/" if is_folder else ""),
        "kind": "folder" if is_folder else "file",
        "size": None if is_folder else identity.size,
        "modified": timestamp(identity),
        "sha256": None if is_folder else sha256_of(entry.path, identity),
    }


def as_unicode(text: str) -> str:
    """Return a name as text that every encoding of Unicode accepts."""
    return _SURROGATE.sub("\ufffd", text)

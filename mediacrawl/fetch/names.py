"""The second names of a file that is wanted under several names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediacrawl.fetch.filenames import preferred_path
from mediacrawl.ledger.rows import options_of
from mediacrawl.store.safe_paths import is_numbered, safe_relative_path

if TYPE_CHECKING:
    from mediacrawl.fetch.request import FileRequest
    from mediacrawl.ledger.base import Entry


def second_path(request: FileRequest, entry: Entry, owner: str) -> str | None:
    """Return the path that a request prescribes for a file, if the file with this row is not there; otherwise None.

    A file that has the path with a number, because the path belonged to another file, needs no second name. A file
    that another spider has fetched stays in its folder. `owner` is the name of the spider or command.
    """
    if request.path:
        path = safe_relative_path(request.path)
        return None if path == entry.path or is_numbered(entry.path or "", path) else path
    if not request.filename:
        return None
    url, headers = request.transfer.url, {"content-type": entry.content_type or ""}
    path = preferred_path(request.owner or owner, url, headers, request.filename)
    wished, own = _name(path), _name(entry.path or "")
    has_it = wished == own or (is_wished(request.filename, entry) and is_numbered(own, wished))
    return None if has_it else path


def is_wished(filename: str, entry: Entry) -> bool:
    """Return whether a row was made for a request with this file name."""
    return options_of(entry).get("filename") == filename


def _name(path: str) -> str:
    return path.rpartition("/")[2]

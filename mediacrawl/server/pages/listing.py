"""The entries of a folder of the store, in an order and page by page, and search by name. Django is not known here.

A large folder is read in one pass, which keeps the entries of one page alone. A page begins after a given entry and
not at a number: entries that come and go meanwhile neither repeat others nor hide them.
"""

from __future__ import annotations

import base64
import heapq
import re
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from mediacrawl.server.files import FileIdentity
from mediacrawl.store.safe_paths import fold

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from mediacrawl.server.files import FilesBelow, OpenFolder

MOST_ENTRIES = 1_000  # of one page
MOST_FOUND = 200
SEARCH_S = 3.0
ORDERS = ("name", "size", "date")

_DIGITS = re.compile("[0-9]+")
_CURSOR = re.compile(r"([df])(-?[0-9]{1,20})/([^/]{1,1024})", re.DOTALL)
_LOOK_AT_CLOCK = 256  # entries


class FolderEntry(NamedTuple):
    """A file or a folder.

    Attributes:
        path: in the store, without "/" at its end.
        is_folder: whether it is a folder; all others are regular files.
        identity: of this version of the file or folder, with its size in bytes and its time of modification.
    """

    path: str
    is_folder: bool
    identity: FileIdentity

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]


class Order(NamedTuple):
    """The order of a folder: `name`, `size` or `date`. Folders come before files."""

    by: str = "name"
    is_descending: bool = False

    def key(self, entry: FolderEntry) -> _Key:
        """Return the sort key of an entry, which no other entry of its folder has."""
        return self.key_of_cursor(self.cursor(entry))

    def cursor(self, entry: FolderEntry) -> Cursor:
        """Return the beginning of the page after an entry."""
        return Cursor(entry.is_folder, _value(entry, self.by), entry.name)

    def key_of_cursor(self, cursor: Cursor) -> _Key:
        """Return the sort key of the entry of a cursor."""
        is_folder, value, name = cursor
        return _Key(is_folder is self.is_descending, 0 if is_folder and self.by == "size" else value, natural(name))


class _Key(NamedTuple):
    rank: bool
    value: int
    name: tuple[str, str]


def _value(entry: FolderEntry, by: str) -> int:
    return {"size": entry.identity.size, "date": entry.identity.modified_ns}.get(by, 0)


def natural(name: str) -> tuple[str, str]:
    """Return a sort key of a name, by which case does not count and `2.jpg` comes before `10.jpg`."""
    return _DIGITS.sub(_number, fold(name)), name


def _number(found: re.Match[str]) -> str:
    digits = found[0].lstrip("0")
    return f"{len(digits):03}{digits}"


class Cursor(NamedTuple):
    """An entry after which a page begins; the entry itself may be gone.

    Attributes:
        is_folder: whether it was a folder.
        value: its size, or its time of modification, or 0, as the order wants it.
        name: without its folder.
    """

    is_folder: bool
    value: int
    name: str

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse the result of `to_text`.

        Raises:
            ValueError: the text is none.
        """
        try:
            found = _CURSOR.fullmatch(base64.b64decode(text, b"-_", validate=True).decode("utf-8", "surrogateescape"))
        except ValueError:  # no base64, or not of ASCII characters
            found = None
        if found is None:
            raise ValueError(f"not the beginning of a page: {text!r:.100}")
        return cls(found[1] == "d", int(found[2]), found[3])

    def to_text(self) -> str:
        """Return the cursor as a text for the query of a URL."""
        said = f"{'d' if self.is_folder else 'f'}{self.value}/{self.name}"
        return base64.b64encode(said.encode("utf-8", "surrogateescape"), b"-_").decode("ascii")


class Listing(NamedTuple):
    """One page of the entries of a folder.

    Attributes:
        entries: in their order.
        total: the number of entries of the folder, all pages together.
        following: the beginning of the next page; None on the last one.
    """

    entries: list[FolderEntry]
    total: int
    following: Cursor | None


def list_folder(
    files: FilesBelow,
    path: str,
    may_see: Callable[[str], bool],
    *,
    order: Order = Order(),  # noqa: B008 - it is frozen
    after: Cursor | None = None,
    most: int = MOST_ENTRIES,
) -> Listing | None:
    """Return a page of the entries of a folder; None if there is no such folder.

    Args:
        files: the store.
        path: of the folder; empty for the root.
        may_see: returns whether the person may know of the file or folder at a path.
        order: of the entries.
        after: the beginning of the page.
        most: entries of the page.

    Raises:
        OSError: the folder cannot be read now.
    """
    folder = files.folder(path)
    if folder is None:
        return None
    total = 0

    def keyed() -> Iterator[tuple[_Key, FolderEntry]]:
        nonlocal total
        for entry in _entries(folder, may_see):
            total += 1
            key = order.key(entry)
            if first is None or (key < first if order.is_descending else key > first):
                yield key, entry

    first = None if after is None else order.key_of_cursor(after)
    with folder:
        choose = heapq.nlargest if order.is_descending else heapq.nsmallest
        chosen = [entry for _, entry in choose(most + 1, keyed(), key=lambda pair: pair[0])]
    following = order.cursor(chosen[most - 1]) if len(chosen) > most else None
    return Listing(chosen[:most], total, following)


def neighbours(files: FilesBelow, path: str, may_see: Callable[[str], bool]) -> tuple[str | None, str | None]:
    """Return the paths of the files before and after a file in its folder, by name, of those that `may_see` accepts.

    Raises:
        OSError: the folder cannot be read now.
    """
    before: tuple[tuple[str, str], str] | None = None
    after: tuple[tuple[str, str], str] | None = None
    parent, _, name = path.rpartition("/")
    own, folder = natural(name), files.folder(parent)
    if folder is None:
        return None, None
    with folder:
        for entry in folder.entries():
            found = natural(entry.name), _below(parent, entry.name)
            if found[0] < own and (before is None or found > before):
                before = found if _is_file(entry) and may_see(found[1]) else before
            elif found[0] > own and (after is None or found < after):
                after = found if _is_file(entry) and may_see(found[1]) else after
    return before and before[1], after and after[1]


class SearchResult(NamedTuple):
    """The entries that a search has found.

    Attributes:
        entries: by their names within each level of folders, those of higher folders first.
        folders: the number of folders that were searched.
        is_complete: whether these are all, as the search came to neither of its limits.
        has_more: whether there are more; these are the first ones of those that the search has come to.
    """

    entries: list[FolderEntry]
    folders: int
    is_complete: bool
    has_more: bool


def find_by_name(
    files: FilesBelow,
    words: list[str],
    may_see: Callable[[str], bool],
    *,
    below: str = "",
    most: int = MOST_FOUND,
    within_s: float = SEARCH_S,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """Search the store for names; case does not count.

    An entry is found if its path has all of the words, and its name at least one.

    Args:
        files: the store.
        words: parts of names; at least one.
        may_see: returns whether the person may know of the file or folder at a path.
        below: the folder to search in, with all folders below it; links are not followed.
        most: entries to return. Memory is bounded by it, and by the number of folders.
        within_s: seconds after which the search ends with the entries found until then.
        clock: returns seconds.

    Raises:
        OSError: the machine cannot open any file now, or the disk fails.
    """
    wanted = [fold(word) for word in words]
    ends_at = clock() + within_s
    searched, is_in_time = 0, True

    def matches() -> Iterator[FolderEntry]:
        """Yield what is found, level by level, until the higher ones, which come first, have enough."""
        nonlocal searched, is_in_time
        found, level = 0, [below]
        while level and found <= most:
            inner: list[str] = []
            for folder in filter(None, map(files.folder, level)):
                searched += 1
                with folder:
                    for number, entry in enumerate(folder.entries()):
                        if number % _LOOK_AT_CLOCK == 0 and clock() >= ends_at:
                            is_in_time = False
                            return
                        path = _below(folder.path, entry.name)
                        if not may_see(path):
                            continue
                        if not _is_file(entry):
                            inner.append(path)
                        if _matches(path, wanted) and (known := _entry(path, entry)) is not None:
                            found += 1
                            yield known
            level = inner

    first = heapq.nsmallest(most + 1, matches(), key=_by_level_and_name)
    has_more = len(first) > most
    return SearchResult(first[:most], searched, is_in_time and not has_more, has_more)


def _by_level_and_name(entry: FolderEntry) -> tuple[int, tuple[str, str], str]:
    return entry.path.count("/"), natural(entry.name), entry.path


def _matches(path: str, wanted: list[str]) -> bool:
    text = fold(path)
    name = text.rpartition("/")[2]
    return all(word in text for word in wanted) and any(word in name for word in wanted)


def _entries(folder: OpenFolder, may_see: Callable[[str], bool]) -> Iterator[FolderEntry]:
    for entry in folder.entries():
        path = _below(folder.path, entry.name)
        if may_see(path) and (known := _entry(path, entry)) is not None:
            yield known


def _entry(path: str, entry: os.DirEntry[str]) -> FolderEntry | None:
    """Return the facts of an entry; None if it has been removed."""
    try:
        return FolderEntry(path, not _is_file(entry), FileIdentity.of(entry.stat(follow_symlinks=False)))
    except FileNotFoundError:
        return None


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name

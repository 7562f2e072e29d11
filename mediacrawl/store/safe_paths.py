"""Names that are safe on every file system, made from untrusted names.

The functions process text only and never access a disk. Two different names may become the same safe name; `fold`
detects that two paths collide, `numbered` makes a path that does not.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME_BYTES = 200  # file systems allow 255; the rest is for the suffix of a part file
MAX_PATH_BYTES = 1000  # PATH_MAX of macOS is 1024, and the store's own folder needs room
_SMALLEST_NAME_BYTES = 32  # room for an extension and a stem
_NAMELESS = "file"
_MOST_CHARACTERS = 1024  # of an untrusted name that are examined; no file system allows more than 255
_END_CHARACTERS = 128  # of these, those at the end, where the extension is

_SEPARATORS = re.compile(r"[/\\]")
_FORBIDDEN = frozenset('<>:"|?*/\\')  # by Windows, or as separators
_JOINERS = "\u200c\u200d"  # invisible, but Persian and emoji are misspelt without them
_UNWANTED = frozenset({"Cc", "Cf", "Cs"})  # control, format (bidi overrides are here), surrogates

# Device names on Windows, under any extension; a blank before the dot does not help.
_RESERVED = re.compile(
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(?:\..*)?", re.IGNORECASE
)
_SAFE = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*(?<!\.)", re.ASCII)
_EXTENSION = re.compile(r"(?<=.)(?:\.tar)?\.[0-9A-Za-z]{1,12}\Z", re.ASCII)


def safe_name(name: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a path component that every common file system accepts and that misleads no shell or viewer.

    The result is in NFC. It is never empty, hidden, reserved on Windows, or longer than `max_bytes` bytes of UTF-8.
    A long name loses the end of its stem and keeps its extension. `safe_name(safe_name(x))` is `safe_name(x)`.

    Raises:
        ValueError: `max_bytes` is less than 32.
    """
    if max_bytes < _SMALLEST_NAME_BYTES:
        raise ValueError(f"max_bytes must be at least {_SMALLEST_NAME_BYTES}, not {max_bytes}")
    if len(name) <= _SMALLEST_NAME_BYTES and _SAFE.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name  # most names need no change
    text = "".join(_safe_character(character) for character in unicodedata.normalize("NFC", _shortened(name)))
    # Normalise again: letters may have become adjacent when a character between them was removed.
    text = re.sub(" +", " ", unicodedata.normalize("NFC", text)).strip(" ." + _JOINERS)
    text = _fitted(text or _NAMELESS, "", max_bytes)
    # Checked last, because cutting a name can make it a reserved name.
    return _fitted("_" + text, "", max_bytes) if _RESERVED.fullmatch(text) else text


def safe_relative_path(path: str) -> str:
    """Return a path of at least one safe component, joined by "/", that never leaves its folder.

    The path has at most 1000 bytes of UTF-8: folders that do not fit are omitted, the file's own name is kept.
    """
    *folders, name = _safe_parts(path) or [_NAMELESS]
    return _folders_that_fit(folders) + name


def safe_folders(path: str) -> str:
    """Return the safe folders of a path, each followed by "/"; folders that do not fit are omitted.

    Any result of `safe_name` may be appended.
    """
    return _folders_that_fit(_safe_parts(path))


def _safe_parts(path: str) -> list[str]:
    return [safe_name(part) for part in _SEPARATORS.split(path) if part.strip(" .")]


def numbered(path: str, n: int) -> str:
    """Return the path of the n-th file of the same name: "a/b.jpg", 2 -> "a/b-2.jpg".

    If `path` is a result of `safe_relative_path`, the new path is equally safe and within the same limits. Different
    numbers give different paths. The caller must check that the path is free.

    Raises:
        ValueError: `n` is less than 1.
    """
    if n < 1:
        raise ValueError(f"files are numbered from 1, not {n}")
    folder, slash, name = path.rpartition("/")
    room = min(MAX_NAME_BYTES, MAX_PATH_BYTES - _size(folder + slash))
    return folder + slash + _fitted(name, f"-{n}", room)


def is_numbered(path: str, preferred: str) -> bool:
    """Return whether `path` is `preferred` with a number, see `numbered`."""
    numbers = re.findall(r"-([1-9][0-9]*)", path.rpartition("/")[2])
    return any(numbered(preferred, int(number)) == path for number in numbers)


def fold(path: str) -> str:
    """Return a key that is equal for two paths if they name the same file on some file system.

    NTFS and APFS ignore case, APFS and HFS+ ignore the Unicode form, HFS+ also ignores joiners. Two paths with
    different keys can exist side by side on every file system. The key serves for comparison, not for opening a file.
    """
    if path.isascii():
        return path.lower()
    bare = path.translate(dict.fromkeys(map(ord, _JOINERS)))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", bare).casefold())


def _shortened(name: str) -> str:
    """Return the beginning and the end of a name of more than `_MOST_CHARACTERS`, and any other name as it is.

    To normalise a text takes a time that grows with the square of its length, if it is made for that.
    """
    if len(name) <= _MOST_CHARACTERS:
        return name
    return name[: _MOST_CHARACTERS - _END_CHARACTERS] + name[-_END_CHARACTERS:]


def _safe_character(character: str) -> str:
    if character in _JOINERS:
        return character
    if character.isspace():  # before the categories: a line end is also a control character
        return " "
    if character in _FORBIDDEN:
        return "_"
    return "" if unicodedata.category(character) in _UNWANTED else character


def _fitted(name: str, tail: str, max_bytes: int) -> str:
    """Return `name` with `tail` before its extension; if needed, the stem is cut between two characters."""
    match = _EXTENSION.search(name)
    extension = match[0] if match else ""
    stem = name.removesuffix(extension)
    room = max(0, max_bytes - _size(tail + extension))
    if _size(stem) <= room:
        return stem + tail + extension
    cut = stem.encode()[:room].decode("utf-8", "ignore")
    return cut.rstrip(" ." + _JOINERS) + tail + extension


def _folders_that_fit(folders: list[str]) -> str:
    """Join the first folders that leave room for the longest name, so that `numbered` always has that room."""
    together = "".join(f"{folder}/" for folder in folders)
    if 4 * len(together) <= MAX_PATH_BYTES - MAX_NAME_BYTES:  # a character has at most four bytes
        return together
    taken = ""
    for folder in folders:
        if _size(taken + folder + "/") > MAX_PATH_BYTES - MAX_NAME_BYTES:
            break
        taken += folder + "/"
    return taken


def _size(text: str) -> int:
    return len(text.encode())

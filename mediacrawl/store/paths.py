"""Names that are safe on every file system, made from names that anybody may have chosen.

Pure text: nothing here looks at a disk. Two different names may become one; `fold` tells when two
paths would meet, `numbered` makes a way out.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME_BYTES = 200  # file systems allow 255; the rest is for what a part file appends
MAX_PATH_BYTES = 1000  # PATH_MAX of macOS is 1024, and the store has a folder of its own
_SMALLEST_NAME_BYTES = 32  # room for an extension and something before it
_NAMELESS = "file"

_SEPARATORS = re.compile(r"[/\\]")
_FORBIDDEN = frozenset('<>:"|?*/\\')  # by Windows, or because they separate
_JOINERS = "\u200c\u200d"  # invisible, but Persian and emoji are misspelt without them
_UNWANTED = frozenset({"Cc", "Cf", "Cs"})  # control, format (bidi overrides are here), surrogates

# Device names on Windows, under any extension; a blank before the dot does not help.
_RESERVED = re.compile(
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(?:\..*)?", re.IGNORECASE
)
_SAFE = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*(?<!\.)", re.ASCII)
_EXTENSION = re.compile(r"(?<=.)(?:\.tar)?\.[0-9A-Za-z]{1,12}\Z", re.ASCII)


def safe_name(name: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Give one path component that every common file system takes and no shell or viewer is fooled by.

    Never empty, hidden, reserved on Windows, or longer than `max_bytes` (at least 32) of UTF-8; NFC.
    A long name loses the end of its stem and keeps its extension. `safe_name(safe_name(x))` is
    `safe_name(x)`.
    """
    if max_bytes < _SMALLEST_NAME_BYTES:
        raise ValueError(f"max_bytes must be at least {_SMALLEST_NAME_BYTES}, not {max_bytes}")
    if len(name) <= _SMALLEST_NAME_BYTES and _SAFE.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name  # as it is, like most
    text = "".join(_safe_character(character) for character in unicodedata.normalize("NFC", name))
    # Again, since letters that stood apart may have met.
    text = re.sub(" +", " ", unicodedata.normalize("NFC", text)).strip(" ." + _JOINERS)
    text = _fitted(text or _NAMELESS, "", max_bytes)
    # Only now: to cut a name can make it a reserved one.
    return _fitted("_" + text, "", max_bytes) if _RESERVED.fullmatch(text) else text


def safe_relative_path(path: str) -> str:
    """Give a path of at least one safe component, joined by "/", that never leaves its folder.

    At most 1000 bytes of UTF-8: folders that no longer fit are left out, the file's own name stays.
    """
    *folders, name = _safe_parts(path) or [_NAMELESS]
    return _folders_that_fit(folders) + name


def safe_folders(path: str) -> str:
    """The same for folders alone, with a "/" behind each: whatever `safe_name` gives may follow."""
    return _folders_that_fit(_safe_parts(path))


def _safe_parts(path: str) -> list[str]:
    return [safe_name(part) for part in _SEPARATORS.split(path) if part.strip(" .")]


def numbered(path: str, n: int) -> str:
    """Give the path of the n-th file of one name: "a/b.jpg", 2 -> "a/b-2.jpg".

    As safe and as short as `path` was, if that came from `safe_relative_path`. Different numbers
    give different paths; whether one is free, only the caller knows.
    """
    if n < 1:
        raise ValueError(f"files are numbered from 1, not {n}")
    folder, slash, name = path.rpartition("/")
    room = min(MAX_NAME_BYTES, MAX_PATH_BYTES - _size(folder + slash))
    return folder + slash + _fitted(name, f"-{n}", room)


def fold(path: str) -> str:
    """Give the key under which two paths are one file on some file system.

    NTFS and APFS ignore case, APFS and HFS+ the Unicode form, HFS+ the joiners too. Two paths with
    different keys may live side by side anywhere. The key is for comparing, not for opening.
    """
    if path.isascii():
        return path.lower()
    bare = path.translate(dict.fromkeys(map(ord, _JOINERS)))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", bare).casefold())


def _safe_character(character: str) -> str:
    if character in _JOINERS:
        return character
    if character.isspace():  # before the categories: a line end is a control character too
        return " "
    if character in _FORBIDDEN:
        return "_"
    return "" if unicodedata.category(character) in _UNWANTED else character


def _fitted(name: str, tail: str, max_bytes: int) -> str:
    """`name` with `tail` before its extension; the stem is cut, between characters, where it must be."""
    match = _EXTENSION.search(name)
    extension = match[0] if match else ""
    stem = name.removesuffix(extension)
    room = max(0, max_bytes - _size(tail + extension))
    if _size(stem) <= room:
        return stem + tail + extension
    cut = stem.encode()[:room].decode("utf-8", "ignore")
    return cut.rstrip(" ." + _JOINERS) + tail + extension


def _folders_that_fit(folders: list[str]) -> str:
    """Leaves room for the longest name, so that `numbered` always has it."""
    together = "".join(f"{folder}/" for folder in folders)
    if 4 * len(together) <= MAX_PATH_BYTES - MAX_NAME_BYTES:  # no character has more than four bytes
        return together
    taken = ""
    for folder in folders:
        if _size(taken + folder + "/") > MAX_PATH_BYTES - MAX_NAME_BYTES:
            break
        taken += folder + "/"
    return taken


def _size(text: str) -> int:
    return len(text.encode())

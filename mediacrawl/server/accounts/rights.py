"""Which person may read which path of a store. No I/O, no Django."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# The last character is no dot: some file systems ignore dots at the end of a name, and `~anna.` would be `~anna`.
PERSON_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,30}[a-z0-9_-])?")

_OWN = "~"  # the first character of the name of a folder that belongs to one person
_IGNORED = frozenset({"Cf", "Cc", "Cs"})  # characters of these categories are ignored in names by some file systems


class Rights(NamedTuple):
    """What a person may do in the common folder, and with the server. Everybody may read a folder of their own.

    Attributes:
        can_read: read the common folder.
        can_upload: add files.
        can_manage: invite and remove people, and change their rights.
        quota_bytes: the most bytes that this person may add; None: no limit.
    """

    can_read: bool = True
    can_upload: bool = False
    can_manage: bool = False
    quota_bytes: int | None = None


class Person(NamedTuple):
    """A person with a login.

    Attributes:
        name: matches `PERSON_NAME`.
        can_read, can_upload, can_manage, quota_bytes: as in `Rights`.
    """

    name: str
    can_read: bool = True
    can_upload: bool = False
    can_manage: bool = False
    quota_bytes: int | None = None

    @property
    def own_folder(self) -> str:
        """The path of the folder in the store that only this person can see."""
        return _OWN + self.name

    @property
    def rights(self) -> Rights:
        """The rights of this person."""
        return Rights(*self[1:])


def may_read(person: Person | None, path: str, *, is_public: bool) -> bool:
    """Return whether a file or folder may be shown. If not, the response is that of a path that does not exist.

    Args:
        person: whoever asks; None: somebody without a login.
        path: of the file or folder in the store, decoded; one "/" at the end is allowed; empty: the store itself.
        is_public: whether the common folder is readable without a login.
    """
    parts = path.removesuffix("/").split("/") if path else []
    if any(part in {"", ".", ".."} for part in parts):
        return False  # such a path leads nowhere, or into another folder than its beginning says
    if parts and is_private(parts[0]):
        return person is not None and parts[0] == person.own_folder
    return is_public or (person is not None and person.can_read)


def may_add(person: Person, path: str, *, is_public: bool) -> bool:
    """Return whether a person may add a file at a path of the store, as it will be on the disk.

    The common folder is for those who can read it; each who can upload may add to their own folder.
    """
    if not person.can_upload or ("/" not in path and is_private(path)):  # the folder of a person is no file
        return False
    return may_read(person, path, is_public=is_public)


def is_private(name: str) -> bool:
    """Return whether a name at the top of the store is that of a folder of one person, in the spelling of any system.

    HFS+ ignores some invisible characters in names, so that `~anna` may be opened with one of them before the "~".
    """
    if name.isascii() and name.isprintable():
        return name.startswith(_OWN)
    return next((one for one in name if unicodedata.category(one) not in _IGNORED), "") == _OWN

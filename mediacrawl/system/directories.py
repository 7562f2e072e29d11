"""Directories by descriptor, so that an entry that another user has planted is neither followed nor overwritten.

A path is resolved anew by every call of the system, and whoever may write one of its folders can put a symbolic link
there in between. A descriptor stays with the directory that was opened.
"""

from __future__ import annotations

import ctypes
import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN_FILE = 0o600  # mode of a file that no other user may read
OWN_FOLDER = 0o700
OTHERS = 0o077  # all permissions of other users
_MOST_UNSYNCED = 8
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY  # a FIFO without a writer must not block
_DISK_FAILED = {errno.EIO, errno.ENOSPC, errno.EDQUOT}
_NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}
_RENAME_NOREPLACE = 1  # renameat2(2)
_RENAMEAT2: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # the `os` module does not offer it
_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class UnexpectedEntry(OSError):
    """An entry of a folder is of another kind, or belongs to another user, than an entry of that name must be.

    Attributes:
        found: the kind of the entry, in words.
    """

    def __init__(self, path: str, said: str, found: str = "") -> None:
        super().__init__(errno.ELOOP, said, path)
        self.found = found


class Directory:
    """An open directory. Names are relative to it and have one component, unless a method says otherwise.

    The descriptor is closed with the object. Methods may be called from any thread.

    Attributes:
        fd: the descriptor.
        path: the path that the directory had when it was opened, for messages.
    """

    def __init__(self, fd: int, path: str) -> None:
        """Create an object for a directory that is open; the object closes the descriptor."""
        self.fd = fd
        self.path = path

    @classmethod
    def at(cls, path: str) -> Self:
        """Open the directory at a path, which may be a symbolic link that leads to it.

        Raises:
            OSError: there is no such directory, or it cannot be read.
        """
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self.fd)

    def below(self, *names: str) -> Directory:
        """Open a directory below this one; no component may be a symbolic link.

        Raises:
            UnexpectedEntry: a component is not a directory.
            FileNotFoundError: a component is missing.
        """
        found = self
        for name in names:
            try:
                fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.fd)
            except OSError as error:
                if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                    raise found.unexpected(name, stat.S_IFDIR) from None
                raise
            found = Directory(fd, f"{found.path}/{name}")
        return found

    def make(self, names: Sequence[str], mode: int = 0o777) -> list[Directory]:
        """Open a directory below this one, and create what is missing of it.

        Returns:
            The directory, and then the directories that have got a new entry which is not durable yet. These are few,
            as each is open, also for a path with hundreds of components.

        Raises:
            UnexpectedEntry: a component is not a directory.
        """
        found, changed = self, []
        for name in names:
            try:
                below = found.below(name)
            except FileNotFoundError:
                with suppress(FileExistsError):
                    os.mkdir(name, mode, dir_fd=found.fd)
                changed.append(found)
                if len(changed) > _MOST_UNSYNCED:
                    changed.pop(0).sync()
                below = found.below(name)
            found = below
        return [found, *changed]

    def open_file(self, name: str, flags: int, mode: int = OWN_FILE) -> int:
        """Open a regular file; never follow a link, and never wait for another process.

        Raises:
            UnexpectedEntry: the entry is not a regular file.
        """
        try:
            fd = os.open(name, flags | _SAFELY, mode, dir_fd=self.fd)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EMLINK}:
                raise self.unexpected(name) from None
            raise
        if not flags & os.O_EXCL and not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise self.unexpected(name)
        return fd

    def create_file(self, name: str) -> int:
        """Create an empty file that only this user can read, open for writing; what has the name is removed before.

        Raises:
            OSError: the entry of that name cannot be removed, for example because it is a directory.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            return self.open_file(name, flags)
        except FileExistsError:
            self.remove(name)
            return self.open_file(name, flags)

    def read(self, name: str) -> bytes:
        """Return the bytes of a regular file of this user.

        Raises:
            UnexpectedEntry: the entry is not a regular file, or belongs to another user.
        """
        with os.fdopen(self.open_file(name, os.O_RDONLY), "rb") as file:
            if not belongs_to_us(found := os.fstat(file.fileno())):
                raise of_another_user(f"{self.path}/{name}", found)
            return file.read()

    def lstat(self, name: str) -> os.stat_result | None:
        """Return the facts of an entry, which may be a link or of any other kind; None if there is none."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove an entry; a missing entry is no error.

        Raises:
            UnexpectedEntry: the entry is a directory.
        """
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            raise self.unexpected(name) from None

    def replace(self, name: str, target: Directory, new_name: str) -> None:
        """Give a file another name, atomically, and remove the file that has had the name."""
        os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=target.fd)

    def move(self, name: str, target: Directory, new_name: str) -> None:
        """Give a file another name that no entry has.

        That is atomic where the system offers it (renameat2). Elsewhere the file has both names for a moment, or, on
        a file system without hard links, an entry that is made in that moment is overwritten.

        Raises:
            FileExistsError: there is an entry of the new name.
        """
        try:
            move_without_replacing(self.fd, name, target.fd, new_name)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            self._move_by_link(name, target, new_name)

    def _move_by_link(self, name: str, target: Directory, new_name: str) -> None:
        try:
            os.link(name, new_name, src_dir_fd=self.fd, dst_dir_fd=target.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            if target.lstat(new_name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
            self.replace(name, target, new_name)
        else:
            os.unlink(name, dir_fd=self.fd)

    def names(self) -> list[str]:
        """Return the names of all entries. Only for one thread at a time."""
        with os.scandir(self.fd) as entries:
            return [entry.name for entry in entries]

    def sync(self) -> None:
        """Make the entries durable. File systems without support for this (some network file systems) are ignored.

        Raises:
            OSError: the disk has failed: the entries may be lost.
        """
        try:
            os.fsync(self.fd)
        except OSError as error:
            if error.errno in _DISK_FAILED:
                raise

    def unexpected(self, name: str, expected: int = stat.S_IFREG) -> UnexpectedEntry:
        """Return the error for an entry that is of another kind than expected."""
        return unexpected(f"{self.path}/{name}", self.lstat(name), expected)


def unexpected(path: str, found: os.stat_result | None, expected: int = stat.S_IFREG) -> UnexpectedEntry:
    """Return the error for an entry that is of another kind than expected."""
    is_there = _KINDS.get(stat.S_IFMT(found.st_mode), "something else") if found is not None else "nothing"
    advice = "move it away and run the same command again"
    return UnexpectedEntry(path, f"expected {_KINDS[expected]}, there is {is_there}: {advice}", is_there)


def move_without_replacing(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Rename with RENAME_NOREPLACE.

    Raises:
        FileExistsError: there is an entry of the new name.
        OSError: the system (ENOSYS) or the file system (EINVAL) does not offer it, or the rename has failed.
    """
    if _RENAMEAT2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _RENAMEAT2(source_fd, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def write_all(fd: int, data: bytes) -> None:
    """Write bytes from the beginning of a file."""
    offset = 0
    while offset < len(data):
        offset += os.pwrite(fd, data[offset:], offset)


def belongs_to_us(found: os.stat_result) -> bool:
    """Return whether an entry belongs to the user of this process; root may use what belongs to any user."""
    return os.geteuid() in {0, found.st_uid}


def others_may_write(entry: int | str, found: os.stat_result) -> bool:
    """Return whether another user may write to an entry of this user.

    With a umask of 002, files can be written by a group that has the name of the user and no other member.

    Args:
        entry: a descriptor, or a path that is no link.
        found: the facts of the entry. With an access control list, its permissions of the group are the most that any
            other user or group may have; see acl(5).
    """
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and (_has_access_list(entry) or not _is_group_of_one(found.st_gid))


def _has_access_list(entry: int | str) -> bool:
    with suppress(OSError, AttributeError):  # there is none, or the file system or the system has none
        return bool(os.getxattr(entry, "system.posix_acl_access"))
    return False


def _is_group_of_one(gid: int) -> bool:
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and user.pw_name == group.gr_name and set(group.gr_mem) <= {user.pw_name}


def make_private(fd: int, path: str) -> bool:
    """Take away the permissions of other users on an open file or folder; return whether they had any.

    Raises:
        UnexpectedEntry: it belongs to another user, who could give himself these permissions at any time.
    """
    found = os.fstat(fd)
    if not belongs_to_us(found):
        raise of_another_user(path, found)
    if not found.st_mode & OTHERS or found.st_uid != os.geteuid():
        return False
    os.fchmod(fd, stat.S_IMODE(found.st_mode) & ~OTHERS)
    return True


def of_another_user(path: str, found: os.stat_result) -> UnexpectedEntry:
    """Return the error for an entry of another user."""
    said = f"it belongs to the user with the number {found.st_uid}, expected {os.geteuid()}"
    return UnexpectedEntry(path, f"{said}: take a folder of your own")

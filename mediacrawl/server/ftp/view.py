"""The store as one person sees it by FTP: the common folder, the own one, and the own unfinished uploads.

Paths are those of the store, without "/" at their beginning; the empty one is the store itself. Files are opened by
`FilesBelow`, which follows no links and knows neither the hidden folder nor any name that begins with a dot. What is
published is never changed or removed.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pyftpdlib.exceptions import FilesystemError
from pyftpdlib.filesystems import AbstractedFS

from mediacrawl.server.accounts.rights import may_add, may_read
from mediacrawl.server.ftp.named_uploads import NamedUploads
from mediacrawl.server.ftp.transferred_files import ReceivedFile, StoredFile
from mediacrawl.server.uploads.uploads import UPLOAD_KEPT_S
from mediacrawl.store.safe_paths import safe_relative_path
from mediacrawl.system.directories import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mediacrawl.server.accounts.rights import Person
    from mediacrawl.server.files import FilesBelow
    from mediacrawl.server.uploads.uploads import UploadFacts, Uploads

_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_FILE_MODE = stat.S_IFREG | 0o444
_FOLDER_MODE = stat.S_IFDIR | 0o755
_OWNER = "ftp"  # the users of the machine are not told

_UNCHANGED = "FTP neither changes nor removes what is published"


class SharedStore(NamedTuple):
    """The store that all sessions share.

    Attributes:
        files: opens its files.
        uploads: its unfinished uploads.
        is_public: whether everybody may read the common folder.
    """

    files: FilesBelow
    uploads: Uploads
    is_public: bool


class _Listing(list[str]):
    """Names, with the status of each."""

    def __init__(self, found: dict[str, os.stat_result]) -> None:
        super().__init__(found)
        self.found = found


class _ListedFolder(AbstractedFS):
    """Writes the lines of a listing: those of LIST, and those of MLSD and MLST."""

    def __init__(self, found: dict[str, os.stat_result], cmd_channel: Any) -> None:
        super().__init__("/", cmd_channel)
        self._found = found

    def lstat(self, path: str) -> os.stat_result:
        return self._found[posixpath.basename(path)]

    stat = lstat

    def get_user_by_uid(self, uid: int) -> str:
        return _OWNER

    get_group_by_gid = get_user_by_uid


class StoreView:
    """What pyftpdlib takes for a file system.

    Methods raise `OSError` and `FilesystemError`, of which pyftpdlib makes the reply 550, and the errors of uploads,
    which have replies of their own.

    Attributes:
        cmd_channel: the session; None when it has ended.
        cwd: the current folder, as the client sees it.
        uploads: the unfinished uploads of the person.
    """

    root = "/"

    def __init__(self, shared: SharedStore, person: Person, session: Any) -> None:
        """Begin in the common folder."""
        self.cmd_channel = session
        self.cwd = "/"
        self.uploads = NamedUploads(shared.uploads, person)
        self._files = shared.files
        self._is_public = shared.is_public
        self._person = person
        self._next_upload: tuple[int | None, int | None] = (0, None)

    def change_person(self, person: Person) -> None:
        """Have other rights hold from now on."""
        self._person = person
        self.uploads.change_person(person)

    # --- paths

    def ftp2fs(self, ftppath: str) -> str:
        """Return the path in the store of a path that the client has sent."""
        return posixpath.normpath(posixpath.join(self.cwd, ftppath)).lstrip("/")

    def fs2ftp(self, fspath: str) -> str:
        """Return the path that the client is shown."""
        return f"/{fspath}"

    def validpath(self, path: str) -> bool:
        """Return True: a path of `ftp2fs` never leads out of the store."""
        return True

    def realpath(self, path: str) -> str:
        """Return the path itself: there are no links."""
        return path

    def chdir(self, path: str) -> None:
        """Change the current folder."""
        if not self.isdir(path):
            raise _missing()
        self.cwd = self.fs2ftp(path)

    # --- what there is

    def isdir(self, path: str) -> bool:
        """Return whether there is such a folder. The own folder is always there, also before it is on the disk."""
        return path in {"", self._person.own_folder} or self._folder_status(path) is not None

    def isfile(self, path: str) -> bool:
        """Return whether there is such a file, published or not."""
        return self._file_status(path) is not None or self.uploads.find(path) is not None

    def is_published(self, path: str) -> bool:
        """Return whether there is a published file that the person may read."""
        return self._file_status(path) is not None

    def lexists(self, path: str) -> bool:
        """Return whether there is such a file or folder."""
        return self.isdir(path) or self.isfile(path)

    def lstat(self, path: str) -> os.stat_result:
        """Return the status of a file or folder."""
        found = self._file_status(path) or self._folder_status(path)
        if found is not None:
            return found
        if self.isdir(path):
            return _status(_FOLDER_MODE)
        if (facts := self.uploads.find(path)) is not None:
            return _status_of_upload(facts)
        raise _missing()

    def getsize(self, path: str) -> int:
        """Return the size of a file, in bytes."""
        return self.lstat(path).st_size

    def getmtime(self, path: str) -> float:
        """Return when a file was changed last, in seconds since the epoch."""
        return self.lstat(path).st_mtime

    def listdir(self, path: str) -> _Listing:
        """Return the names in a folder that the person may see, those of own unfinished uploads among them."""
        if not self.isdir(path):
            raise _missing()
        found = {
            posixpath.basename(file): _status_of_upload(facts)
            for file, facts in self.uploads.by_path().items()
            if posixpath.dirname(file) == path
        }
        if not path:
            found[self._person.own_folder] = _status(_FOLDER_MODE)
        found.update(self._published(path))
        return _Listing(found)

    def format_list(self, basedir: str, listing: list[str], ignore_err: bool = True) -> Iterator[bytes]:
        """Return the lines of LIST."""
        lines: Iterator[bytes] = self._listed(basedir, listing).format_list(basedir, listing, ignore_err)
        return lines

    def format_mlsx(
        self, basedir: str, listing: list[str], perms: str, facts: list[str], ignore_err: bool = True
    ) -> Iterator[bytes]:
        """Return the lines of MLSD, or that of MLST."""
        folder = self._listed(basedir, listing)
        lines: Iterator[bytes] = folder.format_mlsx(basedir, listing, perms, facts, ignore_err)
        return lines

    def _listed(self, basedir: str, listing: list[str]) -> _ListedFolder:
        if isinstance(listing, _Listing):
            return _ListedFolder(listing.found, self.cmd_channel)
        return _ListedFolder({name: self.lstat(_within(basedir, name)) for name in listing}, self.cmd_channel)

    def _published(self, path: str) -> Iterator[tuple[str, os.stat_result]]:
        folder = self._files.folder(path)
        if folder is None:
            return
        with folder:
            for entry in folder.entries():
                # A line end in a name would be a line of its own.
                if self._may_see(_within(path, entry.name)) and _CONTROL.search(entry.name) is None:
                    with suppress(FileNotFoundError):  # it has been removed
                        yield entry.name, _status_of(entry.stat(follow_symlinks=False))

    def _may_see(self, path: str) -> bool:
        return not path or may_read(self._person, path, is_public=self._is_public)

    def _file_status(self, path: str) -> os.stat_result | None:
        if not self._may_see(path) or (file := self._files.open(path)) is None:
            return None
        with file:
            return _status_of(os.fstat(file.descriptor))

    def _folder_status(self, path: str) -> os.stat_result | None:
        if not self._may_see(path) or (folder := self._files.folder(path)) is None:
            return None
        folder.close()
        return _status(_FOLDER_MODE)

    # --- transfers

    def prepare_upload(self, offset: int | None, announced: int | None) -> None:
        """Note how the next upload begins, as pyftpdlib only tells `open` the path.

        Args:
            offset: where the bytes begin, 0 for a new upload; None: where the upload ends, as for APPE.
            announced: the number of bytes that the client has announced; None: it has not.
        """
        self._next_upload = (offset, announced)

    def open(self, path: str, mode: str) -> StoredFile | ReceivedFile:
        """Open a published file for a download, or else begin or continue an upload."""
        return self._download(path) if mode == "rb" else self._receive(path, *self._next_upload)

    def _download(self, path: str) -> StoredFile:
        file = self._files.open(path) if self._may_see(path) else None
        if file is not None:
            return StoredFile(file)
        if self.uploads.find(path) is not None:
            raise FilesystemError("the file is not whole yet: its upload has to be continued first")
        raise _missing()

    def _receive(self, path: str, offset: int | None, announced: int | None) -> ReceivedFile:
        self._check_place(path)
        if offset == 0 or (offset is None and not self.isfile(path) and not self.uploads.has_told(path)):
            return self.uploads.begin(path, announced)
        return self.uploads.go_on(path, offset, announced)

    def _check_place(self, path: str) -> None:
        """Raise an error for a path that no file can get."""
        if self.isdir(path):
            raise FilesystemError("there is a folder of this name")
        if not self.isdir(posixpath.dirname(path)) or not self._may_see(path):
            raise _missing()
        if safe_relative_path(path).count("/") != path.count("/"):  # a backslash is a separator there
            raise FilesystemError("this cannot be the name of a file")

    def durable_size(self, path: str) -> int | None:
        """Return the durable bytes of an own unfinished upload, whose transfer ends; None if there is none."""
        return self.uploads.durable_size(path)

    # --- changes

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        if self.lexists(path):
            raise FilesystemError("there is a file or folder of this name")
        parent, _, name = path.rpartition("/")
        if not self.isdir(parent) or not self._may_see(path):
            raise _missing()
        if not may_add(self._person, _within(path, "file"), is_public=self._is_public):
            raise FilesystemError("you may not add files or folders there")
        if safe_relative_path(path) != path:
            raise FilesystemError(f"this cannot be the name of a folder here: take {safe_relative_path(name)}")
        folder = self._directory(parent)
        os.mkdir(name, dir_fd=folder.fd)
        folder.sync()

    def remove(self, path: str) -> None:
        """Remove an own unfinished upload."""
        was_there = self.uploads.remove(path)
        if not was_there:
            raise FilesystemError(_UNCHANGED) if self.lexists(path) else _missing()

    def rmdir(self, path: str) -> None:
        """Raise an error: folders stay."""
        raise FilesystemError(_UNCHANGED)

    def rename(self, src: str, dst: str) -> None:
        """Give an own unfinished upload another path."""
        self._check_place(dst)
        is_done = self.uploads.rename(src, dst)
        if not is_done:
            raise FilesystemError(_UNCHANGED)

    def utime(self, path: str, modified: float) -> None:
        """Note when the file of an own unfinished upload was changed last, in seconds since the epoch."""
        is_done = self.uploads.set_time(path, modified)
        if not is_done:
            raise FilesystemError(_UNCHANGED) if self.lexists(path) else _missing()

    def _directory(self, path: str) -> Directory:
        """Open a folder for changes; the own folder is made if it is missing."""
        root = Directory.at(str(self._files.root))
        if not path:
            return root
        first, *others = path.split("/")
        if first == self._person.own_folder:
            return root.make([first])[0].below(*others)
        return root.below(first, *others)


def _status_of(found: os.stat_result) -> os.stat_result:
    """Return a status that tells nothing of the users of the machine."""
    mode = _FOLDER_MODE if stat.S_ISDIR(found.st_mode) else _FILE_MODE
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return _status(mode, size, found.st_mtime, found.st_ino, found.st_dev)


def _status_of_upload(facts: UploadFacts) -> os.stat_result:
    return _status(_FILE_MODE, facts.offset, facts.expires_at - UPLOAD_KEPT_S)


def _status(mode: int, size: int = 0, modified: float = 0.0, inode: int = 0, device: int = 0) -> os.stat_result:
    times = (int(modified),) * 3
    return os.stat_result((mode, inode, device, 1, 0, 0, size, *times))


def _within(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _missing() -> OSError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

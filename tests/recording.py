"""What a power cut could leave: writes, syncs and names are recorded, and states are derived from the record.

    with Recording(tmp_path / "disk") as disk:
        job(tmp_path / "disk")
    for cut in disk.cuts(random.Random(seed)):
        cut.materialise(tmp_path / "after")

The disk is a hostile one, worse than ext4 is, and promises no more than POSIX does:

- The bytes of a file are there as they were at its last fsync or fdatasync. Of what was written since, each page for
  itself may be there, or may not, or in between; and so may its size, so that there may be zeros.
- A name in a folder stands for what it stood for at the folder's last fsync, or for anything since, each for itself.
  A rename is two names: a power cut may leave both, or neither. To sync a file does not sync its name.
- A commit of SQLite is durable when it has returned; before, all of it may be there, or nothing. SQLite's own files
  are no matter of this record: they are tested by those who make it.

Only what goes through `os` and `open` is seen, so `assert_nothing_unseen` compares with the real folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.store import fsync as fsync_module
from mediacrawl.system import directories

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

PAGE_BYTES = 4096
ROOT = 0  # the number of the outermost folder, which is there


# --- the disk -----------------------------------------------------------------------------------------


@dataclass(eq=False)
class File:
    """Bytes as they were at the last sync, as they are, and what each page and the size have been meanwhile."""

    durable: bytes = b""
    live: bytearray = field(default_factory=bytearray)
    pages: dict[int, list[bytes]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        stop = offset + len(data)
        if stop > len(self.live):
            self.live.extend(bytes(stop - len(self.live)))
            self.sizes.append(stop)
        self.live[offset:stop] = data
        self._note_pages(offset, stop)

    def truncate(self, size: int) -> None:
        old = len(self.live)
        del self.live[size:]
        self.live.extend(bytes(size - len(self.live)))
        self.sizes.append(size)
        self._note_pages(size, old)

    def _note_pages(self, start: int, stop: int) -> None:
        if start < stop:
            for number in range(start // PAGE_BYTES, (stop - 1) // PAGE_BYTES + 1):
                page = bytes(self.live[number * PAGE_BYTES : (number + 1) * PAGE_BYTES])
                self.pages.setdefault(number, []).append(page)

    def sync(self) -> None:
        self.durable = bytes(self.live)
        self.pages.clear()
        self.sizes.clear()

    def after_cut(self, plan: Plan) -> bytes:
        size = plan.size([len(self.durable), *self.sizes])
        found = bytearray(self.durable[:size].ljust(size, b"\0"))
        for number, later in self.pages.items():
            start = number * PAGE_BYTES
            if start < size:
                page = plan.page([self.durable[start : start + PAGE_BYTES], *later]).ljust(PAGE_BYTES, b"\0")
                found[start : start + PAGE_BYTES] = page
        return bytes(found[:size])


@dataclass(eq=False)
class Folder:
    """Names as they were at the last sync, as they are, and what each has stood for meanwhile; None for nothing."""

    durable: dict[str, int] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    since: dict[str, list[int | None]] = field(default_factory=dict)

    def name(self, name: str, number: int | None) -> None:
        if number is None:
            del self.live[name]
        else:
            self.live[name] = number
        self.since.setdefault(name, []).append(number)

    def sync(self) -> None:
        self.durable = dict(self.live)
        self.since.clear()

    def after_cut(self, plan: Plan) -> dict[str, int]:
        found = dict(self.durable)
        for name, later in self.since.items():
            number = plan.name([self.durable.get(name), *later])
            if number is None:
                found.pop(name, None)
            else:
                found[name] = number
        return found


class Disk:
    """Files and folders by number, and the ledger; changed by the events of a record, one after another."""

    def __init__(self) -> None:
        self.nodes: dict[int, File | Folder] = {ROOT: Folder()}
        self.ledger: bytes | None = None
        self.committing: Commit | None = None

    def apply(self, event: tuple[Any, ...]) -> None:
        what, *rest = event
        match what:
            case "file" | "folder":
                self.nodes[rest[0]] = File() if what == "file" else Folder()
            case "name":
                self.nodes[rest[0]].name(*rest[1:])
            case "write":
                self.nodes[rest[0]].write(*rest[1:])
            case "truncate":
                self.nodes[rest[0]].truncate(*rest[1:])
            case "sync":
                self.nodes[rest[0]].sync()
            case "commit":
                self.committing = rest[0]
            case "committed":
                self.ledger, self.committing = rest[0].database, None

    def live(self, number: int = ROOT, path: str = "") -> Iterator[tuple[str, bytes | None]]:
        """Every path with its bytes, None for a folder."""
        node = self.nodes[number]
        if isinstance(node, File):
            yield path, bytes(node.live)
            return
        yield path, None
        for name, child in node.live.items():
            yield from self.live(child, f"{path}/{name}")


@dataclass
class Commit:
    """`database`: the whole ledger behind it, known when it has returned."""

    database: bytes | None = None


# --- cuts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How to choose among what may be there; the first is the synced one, the last what a process would see."""

    what: str
    page: Callable[[Sequence[Any]], Any]
    size: Callable[[Sequence[Any]], Any]
    name: Callable[[Sequence[Any]], Any]


def _old(options: Sequence[Any]) -> Any:
    return options[0]


def _new(options: Sequence[Any]) -> Any:
    return options[-1]


def plans(chance: random.Random) -> list[Plan]:
    some = chance.choice
    return [
        Plan("nothing but what was synced", _old, _old, _old),
        Plan("all", _new, _new, _new),
        Plan("names and sizes without bytes", _old, _new, _new),
        Plan("bytes without names", _new, _new, _old),
        Plan("names without bytes", _old, _old, _new),
        Plan("some names, all bytes", _new, _new, some),
        Plan("some", some, some, some),
    ]


@dataclass(frozen=True)
class Cut:
    """The state that a power cut left behind so many events."""

    events: int
    what: str
    names: dict[str, int | None]  # path -> file number, None for a folder
    files: dict[int, bytes]
    ledger: bytes | None
    committed: bytes | None  # the ledger behind the last commit that had returned

    @property
    def keys(self) -> set[str]:
        """Of the rows that must still be there."""
        if self.committed is None:
            return set()
        with contextlib.closing(opened(self.committed)) as db:
            return {key for (key,) in db.execute("SELECT key FROM files")}

    def __str__(self) -> str:
        return f"cut behind event {self.events}: {self.what}"

    @property
    def state(self) -> int:
        """Equal for equal states, within one process."""
        facts = [(path, number is not None and self.files[number]) for path, number in sorted(self.names.items())]
        return hash((tuple(facts), self.ledger, self.committed))

    def materialise(self, folder: Path) -> None:
        """As a tree: two names of one file are links to it. The times are old: a machine needs time to start."""
        folder.mkdir()
        made: dict[int, Path] = {}
        for name, number in self.names.items():
            path = folder / name
            if number is None:
                path.mkdir()
            elif number in made:
                os.link(made[number], path)
            else:
                made[number] = path
                path.write_bytes(self.files[number])
                os.utime(path, (0, 0))
        if self.ledger is not None:
            for hidden in folder.rglob(".mediacrawl"):
                (hidden / LEDGER_NAME).write_bytes(self.ledger)


def opened(database: bytes) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.deserialize(database[:18] + b"\1\1" + database[20:])  # in memory there is no WAL
    return db


def cut(disk: Disk, events: int, plan: Plan) -> Cut:
    names: dict[str, int | None] = {}
    files: dict[int, bytes] = {}
    pending = [("", ROOT)]
    while pending:
        path, number = pending.pop(0)
        for name, child in disk.nodes[number].after_cut(plan).items():
            where = f"{path}{name}"
            node = disk.nodes[child]
            names[where] = None if isinstance(node, Folder) else child
            if isinstance(node, Folder):
                pending.append((f"{where}/", child))
            elif child not in files:
                files[child] = node.after_cut(plan)
    databases = [disk.ledger] if disk.committing is None else [disk.ledger, disk.committing.database]
    return Cut(events, plan.what, names, files, plan.name(databases), disk.ledger)


# --- recording ----------------------------------------------------------------------------------------


class Recording:
    """While the block runs, what happens in a folder is written down. It is made for that, and durable itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[tuple[Any, ...]] = []
        self._numbers = {folder: ROOT}
        self._folders = {ROOT}
        self._fds: dict[int, int] = {}
        self._lock = threading.RLock()  # what happens and its note are one: else the order would be another
        self._patches = pytest.MonkeyPatch()
        self._genuine = {name: getattr(os, name) for name in _RECORDED}

    def __enter__(self) -> Self:
        self.folder.mkdir()
        for name in _RECORDED:
            self._patches.setattr(os, name, partial(getattr(self, f"_{name}"), self._genuine[name]))
        self._patches.setattr(io, "open", partial(self._io_open, io.open))
        self._patches.setattr(fsync_module, "_sync_file_system", self._sync_file_system)
        genuine = directories.move_without_replacing
        self._patches.setattr(directories, "move_without_replacing", partial(self._move, genuine))
        self._patches.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=self._connection()))
        return self

    def __exit__(self, *_exc: object) -> None:
        self._patches.undo()

    def cuts(self, chance: random.Random, share: float = 1.0) -> Iterator[Cut]:
        """States behind each event, each state once; of the choices behind all events only that share."""
        disk, seen = Disk(), set()
        for number, event in enumerate(self.events, start=1):
            disk.apply(event)
            for plan in plans(chance):
                if chance.random() >= share:
                    continue
                found = cut(disk, number, plan)
                if found.state not in seen:
                    seen.add(found.state)
                    yield found

    def assert_nothing_unseen(self) -> None:
        """The record tells how the folder came to be what it is."""
        disk = Disk()
        for event in self.events:
            disk.apply(event)
        real = {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else None
            for path in self.folder.rglob("*")
            if not path.name.startswith(LEDGER_NAME)
        }
        assert dict(disk.live()) == {"": None} | {f"/{name}": content for name, content in real.items()}
        for path in self.folder.rglob(LEDGER_NAME):
            with contextlib.closing(sqlite3.connect(path)) as db, contextlib.closing(opened(disk.ledger)) as said:
                assert list(said.iterdump()) == list(db.iterdump())

    # The names

    def _new(self, kind: str, path: Path) -> int:
        number = len(self.events) + 1  # of this event, so no other has it
        if kind == "folder":
            self._folders.add(number)
        self._note(kind, number)
        self._name(path, number)
        return number

    def _name(self, path: Path, number: int | None) -> None:
        if number is None:
            self._numbers.pop(path)
        else:
            self._numbers[path] = number
        self._note("name", self._numbers[path.parent], path.name, number)

    def _note(self, *event: Any) -> None:
        self.events.append(event)

    def _where(self, path: Any, dir_fd: int | None = None) -> Path | None:
        """The path if it is one of ours."""
        if isinstance(path, int):
            return None
        folder = Path.cwd() if dir_fd is None else self._folder_of(dir_fd)
        if folder is None:
            return None
        found = Path(os.path.normpath(folder / os.fsdecode(path)))
        return found if found.is_relative_to(self.folder) and not found.name.startswith(LEDGER_NAME) else None

    def _folder_of(self, fd: int) -> Path | None:
        number = self._fds.get(fd)
        return next((path for path, other in self._numbers.items() if other == number), None)

    # What is done, by the name of the function in `os`

    def _open(self, genuine: Any, path: Any, flags: int, *rest: Any, **more: Any) -> int:
        where = self._where(path, more.get("dir_fd"))
        if where is None:
            return genuine(path, flags, *rest, **more)
        with self._lock:
            fd = genuine(path, flags, *rest, **more)
            if where not in self._numbers:
                self._new("file", where)
            self._fds[fd] = self._numbers[where]
            if flags & os.O_TRUNC:
                self._note("truncate", self._fds[fd], 0)
            return fd

    def _close(self, genuine: Any, fd: int) -> None:
        with self._lock:
            self._fds.pop(fd, None)
            genuine(fd)

    def _pwrite(self, genuine: Any, fd: int, data: Any, offset: int) -> int:
        with self._lock:
            written = genuine(fd, data, offset)
            if fd in self._fds:
                self._note("write", self._fds[fd], offset, bytes(data[:written]))
            return written

    def _ftruncate(self, genuine: Any, fd: int, size: int) -> None:
        with self._lock:
            genuine(fd, size)
            if fd in self._fds:
                self._note("truncate", self._fds[fd], size)

    def _fsync(self, _genuine: Any, fd: int) -> None:
        """The real disk need not be synced: nobody cuts its power."""
        with self._lock:
            if fd in self._fds:
                self._note("sync", self._fds[fd])

    _fdatasync = _fsync

    def _sync_file_system(self, _fd: int) -> bool:
        """Of what syncfs(2) does no more counts here than the bytes of files that are open."""
        with self._lock:
            for number in self._fds.values():
                if number not in self._folders:
                    self._note("sync", number)
        return True

    def _move(self, genuine: Any, source_fd: int, source: str, target_fd: int, target: str) -> None:
        def move(*_names: Any, **_fds: Any) -> None:
            genuine(source_fd, source, target_fd, target)

        self._replace(move, source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)

    def _replace(self, genuine: Any, source: Any, target: Any, **fds: Any) -> None:
        with self._lock:
            genuine(source, target, **fds)
            ours = self._where(source, fds.get("src_dir_fd")), self._where(target, fds.get("dst_dir_fd"))
            if ours[0] is not None:
                assert ours[1] is not None, "moved out of the recorded folder"
                number = self._numbers[ours[0]]
                self._name(ours[0], None)
                self._name(ours[1], number)

    _rename = _replace

    def _unlink(self, genuine: Any, path: Any, **more: Any) -> None:
        with self._lock:
            genuine(path, **more)
            if (where := self._where(path, more.get("dir_fd"))) is not None:
                self._name(where, None)

    _remove = _rmdir = _unlink

    def _mkdir(self, genuine: Any, path: Any, *rest: Any, **more: Any) -> None:
        with self._lock:
            genuine(path, *rest, **more)
            if (where := self._where(path, more.get("dir_fd"))) is not None:
                self._new("folder", where)

    def _io_open(self, genuine: Any, file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        """What `Path.open`, `write_text` and `write_bytes` call. For writing: a new file, written from the front."""
        if self._where(file) is None or not set(mode) & set("wax+"):
            return genuine(file, mode, *rest, **more)
        assert set(mode) <= set("wbt"), f"not recorded: open in mode {mode}"
        raw = io.BufferedWriter(_Written(self, file))
        if "b" in mode:
            return raw
        return io.TextIOWrapper(raw, encoding=more.get("encoding"), newline=more.get("newline"))

    # The ledger

    def _connection(self) -> type[sqlite3.Connection]:
        recording = self

        class Connection(sqlite3.Connection):
            def execute(self, statement: str, *rest: Any) -> Any:
                if statement == "PRAGMA synchronous=FULL":
                    return super().execute("PRAGMA synchronous=OFF")  # here too
                if statement == "COMMIT" or statement.startswith("PRAGMA user_version="):
                    with self._committing():
                        return super().execute(statement, *rest)
                return super().execute(statement, *rest)

            def executescript(self, script: str) -> Any:
                with self._committing():
                    return super().executescript(script)

            @contextlib.contextmanager
            def _committing(self) -> Iterator[None]:
                commit = Commit()
                with recording._lock:
                    recording._note("commit", commit)
                yield
                commit.database = self.serialize()
                with recording._lock:
                    recording._note("committed", commit)

        return Connection


class _Written(io.FileIO):
    """A file that is written from the front, in a recorded folder."""

    def __init__(self, recording: Recording, file: Any) -> None:
        self._recording = recording
        super().__init__(file, "w", opener=os.open)

    def write(self, data: Any) -> int:
        recording, fd = self._recording, self.fileno()
        with recording._lock:
            offset = self.tell()
            written = super().write(data)
            recording._note("write", recording._fds[fd], offset, bytes(memoryview(data)[:written]))
            return written

    def close(self) -> None:
        if not self.closed:
            self._recording._fds.pop(self.fileno(), None)
        super().close()


_RECORDED = [
    "open",
    "close",
    "pwrite",
    "ftruncate",
    "fsync",
    "fdatasync",
    "replace",
    "rename",
    "unlink",
    "remove",
    "rmdir",
    "mkdir",
]

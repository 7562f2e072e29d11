"""What the tests of the download room share: a store and a downloader on an origin, in which nothing waits."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from origin import Body, Origin, Pattern

from mediacrawl.archive import Archive, Publish
from mediacrawl.download.cancel import Cancel
from mediacrawl.download.downloader import Downloader, Policy
from mediacrawl.download.progress import Progress
from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.download.retry import Backoff, HostPauses
from mediacrawl.errors import Interrupted
from mediacrawl.headers import Validators
from mediacrawl.ledger.base import Entry
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import PartFile, PartRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.transport.base import Transport

AT_ONCE = Backoff(base_s=0.001, max_s=0.001)
KEY = "the wanted file"


class Hurry(Cancel):
    """Waits nowhere: notes for how long it should have, and lets its clock go on by that."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.now = 1000.0

    def wait(self, seconds: float) -> None:
        self.check()
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


class When(Progress):
    """Calls back as soon as so many bytes are on the disk."""

    def __init__(self, have_bytes: int, call: Callable[[], object]) -> None:
        object.__setattr__(self, "_at", have_bytes)
        object.__setattr__(self, "_call", call)
        super().__init__("")

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name == "have_bytes" and value >= self._at:
            self._call()


class Notes(Progress):
    """Keeps all that was noted, and tells that something was."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.noted = threading.Event()
        super().__init__("")

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name == "note" and value:
            self.all.append(value)
            self.noted.set()


@contextmanager
def stop_after(event: threading.Event):
    """Gives what is stopped, by another thread, once the event has come."""
    cancel = Cancel()

    def stop() -> None:
        event.wait(30)
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield cancel
    finally:
        event.set()
        thread.join()


@dataclass(frozen=True)
class Arrived:
    """A file that was fetched and published."""

    fetched: Fetched
    data: bytes


class Rig:
    def __init__(self, root, origin: Origin, transport: Transport) -> None:
        self.origin = origin
        self.archive = Archive.open(LocalStore(root))
        self.store = self.archive.store
        self.transport = transport

    def close(self) -> None:
        self.transport.close()
        self.archive.close()

    def downloader(self, *, pauses: HostPauses | None = None, clock=None, **policy) -> Downloader:
        more = {} if clock is None else {"clock": clock}
        return Downloader(
            self.store, self.transport, Policy(**({"backoff": AT_ONCE} | policy)), pauses=pauses, **more
        )

    def fetch(self, url, *, downloader=None, cancel=None, progress=None, key=KEY, **request) -> Fetched:
        """The part of what it gives is open: `publish` or close it."""
        wanted = TransferRequest(key, url, **request)
        return (downloader or self.downloader()).fetch(wanted, cancel=cancel, progress=progress)

    def publish(self, fetched: Fetched, key: str = KEY) -> bytes:
        (row,) = self.archive.write([Publish(Entry(key, "http://h/", path="file.bin"), fetched)])
        assert isinstance(row, Entry), row
        return (self.store.root / row.path).read_bytes()

    def bring(self, url, **more) -> Arrived:
        """Fetch and publish; what the record says fits the file, and nothing is left over."""
        fetched = self.fetch(url, **more)
        data = self.publish(fetched, more.get("key", KEY))
        assert (fetched.size_bytes, fetched.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert self.leftovers() == []
        return Arrived(fetched, data)

    def interrupt(self, url, *, at: int, **more) -> None:
        """A run that is stopped at so many bytes. The server should stall there, or more may come."""
        stopped = threading.Event()
        with stop_after(stopped) as cancel, pytest.raises(Interrupted):
            self.fetch(url, cancel=cancel, progress=When(at, stopped.set), **more)
        self.origin.release()

    def plant(
        self, data: bytes, *, total: int | None, etag=None, modified=None, headers=None, key: str = KEY
    ) -> None:
        """A part as an earlier run leaves it."""
        with self.store.parts.open(key) as part:
            self.begin(part, total=total, etag=etag, modified=modified, headers=headers)
            part.write_at(0, data)
            part.mark((0, len(data)))
        assert self.planted_bytes(key) == len(data), "too small to be kept: the test would test nothing"

    def begin(self, part: PartFile, *, total: int | None, etag=None, modified=None, headers=None) -> None:
        given = {"etag": etag, "last-modified": modified, "date": "Thu, 01 Jan 2026 00:00:00 GMT"}
        validators = Validators.from_headers({name: value for name, value in given.items() if value})
        head = {"status": 200, "url": "http://h/", "headers": headers or {}}
        part.begin(PartRecord(validators=validators.to_dict(), complete_length=total, head=head))

    def planted_bytes(self, key: str = KEY) -> int:
        """How much of a part is there; 0 for none."""
        with self.store.parts.open(key) as part:
            return part.written_bytes

    def leftovers(self) -> list[str]:
        """Files that are neither published nor the ledger's."""
        folders = (self.store.parts.folder, self.store.quarantine_folder)
        return sorted(path.name for folder in folders if folder.exists() for path in folder.iterdir())

    def asks(self, path: str) -> list[tuple[str | None, str | None, int | None]]:
        """Range, If-Range and the answer's status of each request for a path."""
        found = self.origin.requests_for(path)
        return [(r.headers.get("range"), r.headers.get("if-range"), r.status) for r in found]


def content(body: Body) -> bytes:
    return body.read() if isinstance(body, Pattern) else body


def of_helper(request):
    """Helpers ask for a range with an end, and so does the transfer itself for a gap between two segments."""
    return request.range is not None and request.range[1] is not None


def helpers(rig):
    return [request for request in rig.origin.requests if of_helper(request)]


def segment_threads():
    return [thread for thread in threading.enumerate() if thread.name == "segment"]


def front_waits(have_bytes, wait):
    """The front waits, from so many bytes on, once there are helpers, which begin after its first block."""

    def until():
        if (others := segment_threads()) and threading.current_thread() not in others:
            wait()

    return When(have_bytes, until)

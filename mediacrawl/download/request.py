"""What goes into a transfer and what comes out: plain records, so that a transfer can run anywhere."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mediacrawl.errors import Interrupted, MachineError
from mediacrawl.headers import Validators

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mediacrawl.headers import Digest


class TransferRequest(NamedTuple):
    """One wanted file.

    Attributes:
        key: the media key, which names the part file.
        url: http or https, with its credentials if it has some.
        headers: sent to the origin of `url`; `Cookie` and `Authorization` go to no other origin.
        proxy: `http://user:password@host:port`, or None.
        timeout_s: without a byte for that long the connection is given up; None takes the policy's.
        digests: what the bytes must hash to.
        revalidate: the validators of the file that is there already; 304 then ends the transfer.
        max_bytes: refuse more; None takes the policy's, 0 is no limit.
        allow_redirects: follow 3xx.
        ask_before_redirect: follow them only to where `Downloader.may_follow` lets it.
        accept_html: an HTML page is what is wanted.
        connections: how many a large file may use at once; None takes the policy's.
        name: for a progress bar.
    """

    key: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    proxy: str | None = None
    timeout_s: float | None = None
    digests: tuple[Digest, ...] = ()
    revalidate: Validators | None = None
    max_bytes: int | None = None
    allow_redirects: bool = True
    ask_before_redirect: bool = True
    accept_html: bool = False
    connections: int | None = None
    name: str = ""


class HeldPart(Protocol):
    """A whole part that waits for its name, locked; in this process or in another."""

    @property
    def file(self) -> str:
        """Where the bytes are."""
        ...

    def published(self) -> bool:
        """The bytes have their final name. Whether a record was removed, which is to be made durable."""
        ...

    def close(self) -> None:
        """Unlock it; what nobody has published stays for the next run."""
        ...


class Fetched(NamedTuple):
    """What came of a transfer.

    Attributes:
        part: whole, verified and synced, still locked: publish it, then `discard` and `close` it. None when the
            origin said that the file is unchanged (304).
        status: of the answer that the bytes began with.
        url: where the bytes came from after redirects.
        headers: of that answer, lower-case names.
        sha256: in hex, of the bytes as they are in the part.
        saved_bytes: were on the disk before this transfer and did not travel again.
        fetched_bytes: travelled.
        latency_s: from asking to the head of the last answer; None when nothing was asked.
        took_s: from the beginning to the last byte.
    """

    part: HeldPart | None
    status: int
    url: str
    headers: Mapping[str, str] = {}
    size_bytes: int = 0
    sha256: str = ""
    validators: Validators = Validators()
    saved_bytes: int = 0
    fetched_bytes: int = 0
    latency_s: float | None = None
    took_s: float = 0.0


Outcome = Fetched | BaseException
"""What came of one of many transfers."""


def unlock(outcome: Outcome | None) -> None:
    """Close the part of a transfer that nobody publishes, if there is one: it stays for the next run.

    A disk that has no room for its record costs its bytes.
    """
    if isinstance(outcome, Fetched) and outcome.part is not None:
        with suppress(MachineError):
            outcome.part.close()


class Progress:
    """Counters of one transfer, written by its thread and read by whoever draws bars.

    Attributes:
        have_bytes: on the disk.
        total_bytes: complete length, None while unknown.
        fetched_bytes: travelled in this run.
        note: why it waits, if it does.
        waits_since_s: the monotonic time since which it has waited for the head of an answer; `SLEEPS` where it waits
            for a time to come; None while it does neither.
    """

    __slots__ = ("fetched_bytes", "have_bytes", "name", "note", "total_bytes", "waits_since_s")

    SLEEPS = float("-inf")

    def __init__(self, name: str, *, have_bytes: int = 0, total_bytes: int | None = None, note: str = "") -> None:
        self.name = name
        self.have_bytes = have_bytes
        self.total_bytes = total_bytes
        self.fetched_bytes = 0
        self.note = note
        self.waits_since_s: float | None = None

    def arrive(self, new_bytes: int, have_bytes: int, total_bytes: int | None) -> None:
        """Note bytes that travelled, and how many are on the disk now."""
        self.fetched_bytes += new_bytes
        self.have_bytes = have_bytes
        self.total_bytes = total_bytes

    def wait(self, since_s: float | None) -> None:
        """Say since when the head of an answer has been waited for; None: it is not."""
        self.waits_since_s = since_s

    @contextmanager
    def sleeping(self, note: str) -> Iterator[None]:
        """Say, while the block runs, that the transfer waits for a time to come, and why."""
        self.note, self.waits_since_s = note, self.SLEEPS
        try:
            yield
        finally:
            self.note, self.waits_since_s = "", None


class Abortable(Protocol):
    """Something that blocks and can be woken from another thread."""

    def abort(self) -> None: ...


class Cancel:
    """Asks transfers to stop: wakes those that wait, and those that read from a socket."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._watched: set[Abortable] = set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """Stop all; safe to call again."""
        with self._lock:
            self._event.set()
            watched = list(self._watched)
        for answer in watched:
            answer.abort()

    def abort(self) -> None:
        """The same: one `Cancel` can be watched by another, and follows it."""
        self.set()

    def check(self) -> None:
        """Raise `Interrupted` once a stop was asked for."""
        if self._event.is_set():
            raise Interrupted("stopped: what has arrived is kept")

    def wait(self, seconds: float) -> None:
        """Sleep, but wake up for a stop and raise `Interrupted`."""
        if seconds > 0:
            self._event.wait(seconds)
        self.check()

    @contextmanager
    def watch(self, answer: Abortable) -> Iterator[None]:
        """While the block runs, a stop aborts `answer`."""
        with self._lock:
            self._watched.add(answer)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._watched.discard(answer)

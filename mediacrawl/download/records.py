"""What goes into a transfer and what comes out: plain records, so that a transfer can run anywhere."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mediacrawl.errors import MachineError
from mediacrawl.headers import Validators

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class LockedPart(Protocol):
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

    part: LockedPart | None
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

"""The inputs and outputs of a transfer: plain records, so that a transfer can run in any process."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mediacrawl.download.cookies import MAIN_JAR
from mediacrawl.errors import MachineError
from mediacrawl.headers import Validators
from mediacrawl.urls.referrer import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mediacrawl.headers import Digest


class Wish(NamedTuple):
    """The name that the user has given for a file, by which the file is found under another URL.

    Attributes:
        path: in the store, as it is wished for.
        link: the URL without its query; empty if the name alone counts, as the user has given the complete path.
    """

    path: str
    link: str = ""


class PresentFile(NamedTuple):
    """A complete file in the store.

    Attributes:
        file: its path on the disk.
        url: the URL of its row.
    """

    key: str
    url: str
    file: Path
    size_bytes: int
    sha256: str | None
    validators: Validators


class TransferRequest(NamedTuple):
    """A request for one file.

    Attributes:
        key: the media key, which names the part file.
        url: an http or https URL, including its credentials, if any.
        headers: sent to the origin of `url`; few of them are sent to another origin, see `ANY_ORIGIN`.
        proxy: `http://user:password@host:port`, or None.
        environment_proxy: `proxy` is that of the environment, which may name another one for the target of a
            redirect.
        timeout_s: seconds without a byte after which the connection is closed; None takes the policy's value.
        digests: the expected digests of the bytes.
        revalidate: the validators of the file that exists already; a 304 response then ends the transfer.
        max_bytes: refuse a larger file; None takes the policy's value, 0 means no limit.
        allow_redirects: follow 3xx responses.
        ask_before_redirect: follow redirects only to URLs that `Downloader.may_follow` permits.
        expected_type: the media type that the name of the file implies; None if the name implies none.
        connections: the number of connections that a large file may use at once; None takes the policy's value.
        name: the name for a progress bar.
        wish: the name that the user has given for the file; None if there is none, or if the file has a key.
        avoided: hosts and ports that fail: a redirect to one of them is not followed now.
        jar: the number of the jar with its cookies, see `Cookies`; None gives the transfer a jar of its own.
        referrer_policy: decides about the Referer that a redirect to another origin gets, see `referer_under`.
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
    expected_type: str | None = None
    connections: int | None = None
    name: str = ""
    wish: Wish | None = None
    jar: int | None = MAIN_JAR
    environment_proxy: bool = False
    avoided: tuple[tuple[str, int], ...] = ()
    referrer_policy: str = DEFAULT_POLICY


class LockedPart(Protocol):
    """A complete part, locked until it is published under its final name; in this process or in another."""

    @property
    def file(self) -> str:
        """The path of the bytes."""
        ...

    def published(self) -> bool:
        """Remove the record and unlock the part, after the bytes were given their final name.

        Return whether a record was removed, so that the caller must make the removal durable.
        """
        ...

    def close(self) -> None:
        """Unlock the part. An unpublished part stays for the next run."""
        ...


class Fetched(NamedTuple):
    """The result of a successful transfer.

    Attributes:
        part: complete, verified, synced and still locked. After publishing the bytes, call `published`; to keep the
            part for the next run, call `close`. None if the origin reported that the file is unchanged (304).
        status: the status of the response that the first bytes are from; 0: no response has brought the bytes.
        url: the URL of the bytes after redirects.
        headers: the headers of that response, with lower-case names.
        sha256: the SHA-256 of the bytes in the part, in hex.
        saved_bytes: the bytes that were on the disk before this transfer and were not transferred again.
        fetched_bytes: the bytes that were transferred.
        latency_s: seconds from the last request to the head of its response; None if no request was sent.
        took_s: seconds from the beginning of the transfer to the last byte.
        supersedes: keys under which the same file was wanted before, by other URLs.
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
    supersedes: tuple[str, ...] = ()


Outcome = Fetched | BaseException
"""The result of one of many transfers, or the exception that ended the transfer."""


def unlock(outcome: Outcome | None) -> None:
    """Close the part of a transfer that is not published, if there is a part. The part stays for the next run.

    If the disk has no room for the record of the part, its bytes are lost; no error is raised.
    """
    if isinstance(outcome, Fetched) and outcome.part is not None:
        with suppress(MachineError):
            outcome.part.close()

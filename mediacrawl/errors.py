"""All that can go wrong, as one tree.

MediacrawlError
├── UsageProblem           a wrong argument, list or setting: nothing was done        exit 2
├── PathConflict              something else stands where a file's folder should be    exit 1
├── Interrupted            the user or the crawl asked to stop: run again to go on    exit 3
├── MachineError           this machine cannot go on: nothing is lost                 exit 4
│   ├── StoreNotWritable        the store's folder cannot be written
│   ├── DiskFull               no space left: free some, run again
│   └── JobInUse               another process works in this JOBDIR
└── TransferError          one file did not arrive                                    exit 1
    ├── UnsupportedURL           not an http or https URL
    ├── AddressRefused         the address that is connected to is not a public one
    ├── ConnectError          no connection: refused, unresolvable, TLS
    ├── ConnectionLost         the connection broke, stalled or ended early
    ├── HttpStatusError        the server answered with an error status
    ├── RedirectRefused        a loop, too many, or to where we do not go
    │   ├── RobotsForbidden      to where the crawl may not ask: robots.txt
    │   └── RobotsUnknown        whether it may, is found out meanwhile: come again
    ├── WrongContent           an HTML page where media was expected
    ├── DigestMismatch         whole, but not what was promised
    ├── TooLarge               more than the maximal size
    └── ForeignError           an error of Scrapy, of a project or of the standard library

A message is one line for a person: the URL without its credentials, what was expected, what came.
"""

from __future__ import annotations

import errno
from typing import Any
from urllib.parse import urlsplit, urlunsplit

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 3
EXIT_MACHINE = 4


def redact_url(url: str) -> str:
    """The URL as a log, a ledger column or a message may show it: without user name and password."""
    if "@" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    if "@" not in parts.netloc:
        return url if parts.netloc else url.rpartition("@")[2]  # no host: what is before may be anything
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class MediacrawlError(Exception):
    """Base of everything that mediacrawl raises on purpose."""

    exit_status = EXIT_FAILED

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes: as they are, and not by what they were made of."""
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(kind: type[MediacrawlError], arguments: tuple[Any, ...], facts: dict[str, Any]) -> MediacrawlError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(facts)
    return error


class UsageProblem(MediacrawlError):
    """A wrong argument, list or setting. Nothing was done."""

    exit_status = EXIT_USAGE


class Interrupted(MediacrawlError):
    """Asked to stop. What had arrived is kept, the same command goes on from there."""

    exit_status = EXIT_INTERRUPTED


class PathConflict(MediacrawlError):
    """A file stands where a folder should be, or a folder where a file: this one file cannot have its name."""


class MachineError(MediacrawlError):
    """This machine cannot go on; every file and partial file is as it was."""

    exit_status = EXIT_MACHINE


class StoreNotWritable(MachineError):
    """The store's folder cannot be created or written."""


class DiskFull(MachineError):
    """No space left on the store's file system; partial files are kept."""


class JobInUse(MachineError):
    """The job folder cannot be used: another process works in it, or it belongs to another crawl."""


class TransferError(MediacrawlError):
    """One file did not arrive.

    Attributes:
        url: without credentials.
        reason: a few words, for a summary line and the ledger.
        http_status: of the last answer, or None when there was none.
        transient: worth another try within this run.
        permanent: not worth another try in the next runs either.
        retry_after_s: what the server asked for, in seconds, or None.
        took_s: how long the transfer lasted; 0 for one that did not begin.
    """

    transient = False
    permanent = False
    took_s = 0.0

    def __init__(
        self,
        url: str,
        reason: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.url = redact_url(url)
        self.reason = reason
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.url}: {reason}")

    def last(self, took_s: float) -> None:
        """Note how long the transfer lasted."""
        self.took_s = took_s


class UnsupportedURL(TransferError):
    """Not an http or https URL with a host."""

    permanent = True


class AddressRefused(TransferError):
    """The address that is connected to is not a public one, and only those are wanted."""


class ConnectError(TransferError):
    """No connection, so no answer: refused, unresolvable, TLS."""

    transient = True


class ConnectionLost(TransferError):
    """The connection broke, stalled, or ended before the complete length."""

    transient = True


class HttpStatusError(TransferError):
    """The server answered with an error status."""

    def __init__(self, url: str, status: int, phrase: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(url, f"HTTP {status} {phrase}".rstrip(), http_status=status, retry_after_s=retry_after_s)
        # 408, 425, 429 and the 5xx of overload ask to come again (RFC 9110 15.5.9, 15.6; RFC 6585 4).
        self.transient = status in {408, 425, 429} or (status >= 500 and status not in {501, 505})
        self.permanent = status in {404, 410}


class RedirectRefused(TransferError):
    """A redirect loop, too many redirects, or a redirect to where we do not go."""


class RobotsForbidden(RedirectRefused):
    """A redirect to what the crawl may not ask for. As with a wanted URL, the next run asks whether it may now."""


class RobotsUnknown(RedirectRefused):
    """Whether the target may be asked for is not known yet, and the transfer stands in the way of the question.

    Attributes:
        target: what has to be asked about before the transfer is begun again.
    """

    def __init__(self, url: str, reason: str, *, target: str = "") -> None:
        super().__init__(url, reason)
        self.target = target


class WrongContent(TransferError):
    """An HTML page where media was expected, mostly an error page with status 200."""

    permanent = True


class DigestMismatch(TransferError):
    """Whole, but its digest is not the promised one, twice."""

    permanent = True


class TooLarge(TransferError):
    """More bytes than the maximal size allows."""

    permanent = True


class ForeignError(TransferError):
    """An error of Scrapy, of a project's own code or of the standard library, as the failure of one file.

    Attributes:
        __cause__: that error.
    """


def failure_of(url: str, error: BaseException) -> TransferError:
    """Return what an error means for the file at a URL: it has failed."""
    if isinstance(error, TransferError):
        return error
    failure = ForeignError(url, describe_error(error))
    failure.__cause__ = error
    return failure


def describe_error(error: BaseException | None) -> str:
    """Return an error in one line of 300 characters or fewer."""
    try:
        text = writable(" ".join(str(error or "unknown error").split()))
    except Exception:  # that of a project cannot say what it is
        text = ""
    return (text or type(error).__name__)[:300]


def writable(text: str) -> str:
    """Return a text as a file or a database takes it: lone surrogates, which are no characters, by their numbers."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def disk_error(error: OSError, where: object) -> MachineError:
    """Translate an OSError of the store into one line for a person."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"no space left for {where}: nothing is lost, free some space and run the same command again")
    return StoreNotWritable(f"cannot write {where}: {error.strerror or error}")

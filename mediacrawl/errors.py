"""All errors of mediacrawl, as a tree.

MediacrawlError
├── UsageProblem              a wrong argument, list or setting: nothing was done        exit 2
├── PathConflict              a file where a folder is needed, or the reverse            exit 1
├── Interrupted               the user or the crawl stopped the run: repeat to continue  exit 3
├── MachineError              this machine cannot continue: nothing is lost              exit 4
│   ├── StoreNotWritable      the store's folder cannot be written
│   ├── DiskFull              no space left: free some, run again
│   ├── JobInUse              another process or another crawl uses this JOBDIR
│   └── PackageMissing        an optional package is not installed, and the network needs it
└── TransferError             the transfer of one file failed                            exit 1
    ├── UnsupportedURL        not a URL that can be fetched: not http, https, ftp or ftps
    ├── AddressRefused        the address of the connection is not a public address
    ├── ConnectError          no connection: refused, unresolvable, TLS
    │   └── HostAvoided       a redirect leads to a host that fails
    ├── ProxyRefused          the proxy wants other credentials, or forbids the request
    ├── ConnectionLost        the connection broke, stalled or ended early
    │   └── NoResponse        … before the head of a response was complete
    ├── InvalidResponse       the head of the response is malformed or contradicts itself
    ├── HttpStatusError       the server responded with an error status
    │   └── FtpReplyError     the same for FTP, with the status of HTTP that stands for the reply
    ├── RedirectRefused       a loop, too many redirects, or a target that is not allowed
    │   ├── RobotsForbidden   robots.txt forbids the target
    │   └── RobotsUnknown     the target's robots.txt is not known yet: to be repeated
    ├── WrongContent          a document where media was expected
    ├── DigestMismatch        complete, but not with the promised digest
    ├── TooLarge              more than the maximal size
    └── ForeignError          an error of Scrapy, of a project or of the standard library

A message is one line for the user: the URL without its credentials, the expected result, and the actual result. Text
that servers and lists have sent steers no terminal in it: each error makes its message visible, see `visible.py`.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mediacrawl.system import directories
from mediacrawl.visible import text_of_field, visible

# `urlunsplit` would drop an empty query, and so change the request target.
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@")

_LONGEST = 2_000  # characters

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 3
EXIT_MACHINE = 4


def redact_url(url: str) -> str:
    """Return a URL without user name and password, as a log, a ledger column or a message may show it."""
    if "@" not in url:
        return url
    if (found := _CREDENTIALS.match(url)) is not None:
        return found[1] + url[found.end() :]
    if len(url) > _LONGEST and not url.isascii():  # to normalise it, as `urlsplit` does, may take minutes
        return url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    if "@" not in parts.netloc:
        return url if parts.netloc else url.rpartition("@")[2]  # no host: the text before @ may be a password
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class MediacrawlError(Exception):
    """Base class of all errors that mediacrawl raises deliberately. Their texts are visible, see `visible`."""

    exit_status = EXIT_FAILED

    def __init__(self, *args: object) -> None:
        super().__init__(*(visible(text) if isinstance(text, str) else text for text in args))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return arguments and attributes to pickle, no constructor call: errors are sent between processes."""
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
    """The run was stopped on request. Received data is kept, and the same command continues from there."""

    exit_status = EXIT_INTERRUPTED


class PathConflict(MediacrawlError):
    """A file exists where a folder is needed, or the reverse: this one file cannot have its name."""


class MachineError(MediacrawlError):
    """This machine cannot continue; every file and part file is unchanged."""

    exit_status = EXIT_MACHINE


class StoreNotWritable(MachineError):
    """The store's folder cannot be created or written."""


class DiskFull(MachineError):
    """No space is left on the store's file system; part files are kept."""


class JobInUse(MachineError):
    """The job folder cannot be used: another process works in it, or it belongs to another crawl."""


class PackageMissing(MachineError):
    """The network of this machine needs an optional package that is not installed. No request was sent."""


class TransferError(MediacrawlError):
    """The transfer of one file failed.

    Attributes:
        url: the URL without credentials.
        reason: a few words, for a summary line and the ledger.
        http_status: the status of the last response, or None if there was no response.
        transient: whether another attempt within this run is useful.
        permanent: whether attempts in the next runs are useless, too.
        retry_after_s: the wait that the server requested, in seconds, or None.
        took_s: the duration of the transfer in seconds; 0 for a transfer that did not begin.
        saved_bytes: bytes on the disk when the transfer began; None for a transfer that did not begin.
        fetched_bytes: bytes that the transfer has received.
        host: the host that was given up because of this error, with its port; None if only this file failed.
        supersedes: keys under which the same file was wanted before, by other URLs.
    """

    transient = False
    permanent = False
    took_s = 0.0
    saved_bytes: int | None = None
    fetched_bytes = 0
    supersedes: tuple[str, ...] = ()

    def __init__(
        self,
        url: str,
        reason: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        host: str | None = None,
    ) -> None:
        self.url = redact_url(url)
        self.host = host
        self.reason = visible(reason)
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.url}: {self.reason}")

    def last(self, took_s: float, saved_bytes: int, fetched_bytes: int, supersedes: tuple[str, ...] = ()) -> None:
        """Set the duration of the transfer in seconds, its bytes, and the keys that its file had before.

        The traceback is discarded: its frames hold heads and bodies, and a run keeps the errors of all its files.
        """
        self.took_s, self.saved_bytes, self.fetched_bytes = took_s, saved_bytes, fetched_bytes
        self.supersedes = supersedes
        self.__traceback__ = self.__context__ = None

    def of_host(self, host: str, url: str) -> TransferError:
        """Return the same error for a file at `url`, of a host that is given up because of this error."""
        wished = f"; it asked for a pause for {self.retry_after_s:.0f} s" if self.retry_after_s else ""
        return TransferError(url, f"{self.reason}{wished}", http_status=self.http_status, host=host)


class UnsupportedURL(TransferError):
    """No request can be sent: the URL is not of http, https, ftp or ftps. To find that out again costs no request."""


class AddressRefused(TransferError):
    """The address of the connection is not public, and only public addresses are allowed."""


class ConnectError(TransferError):
    """There is no connection, so no response: refused, unresolvable, TLS."""

    transient = True


class ProxyRefused(TransferError):
    """The proxy wants other credentials (407), or does not open a connection to this host.

    The next run asks again: the environment may name another proxy by then.
    """


class HostAvoided(ConnectError):
    """A redirect leads to a host that fails, which is not to be tried now."""


class ConnectionLost(TransferError):
    """The connection broke, stalled, or ended before the complete length."""

    transient = True


class NoResponse(ConnectionLost):
    """The connection broke, stalled or ended before the head of a response was complete."""


class InvalidResponse(TransferError):
    """The head of the response is malformed or contradicts itself: to guess could make a wrong file."""


class HttpStatusError(TransferError):
    """The server responded with an error status, or with one that brings no file."""

    def __init__(self, url: str, status: int, phrase: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(url, self._said(status, phrase), http_status=status, retry_after_s=retry_after_s)
        # 408, 425, 429 and the 5xx of overload invite another attempt (RFC 9110 15.5.9, 15.6; RFC 6585 4).
        # A 202 with Retry-After announces the file.
        self.transient = (
            status in {408, 425, 429}
            or (status >= 500 and status not in {501, 505})
            or (status == 202 and retry_after_s is not None)
        )
        self.permanent = status in {404, 410}

    @staticmethod
    def _said(status: int, phrase: str) -> str:
        return f"HTTP {status} {text_of_field(phrase)}".rstrip()


class FtpReplyError(HttpStatusError):
    """An FTP server refused a command. `http_status` is the status of HTTP that stands for its reply.

    The phrase is the reply, with its code.
    """

    @staticmethod
    def _said(status: int, phrase: str) -> str:  # noqa: ARG004
        return f"FTP {text_of_field(phrase)}".rstrip()


class RedirectRefused(TransferError):
    """A redirect loop, too many redirects, or a redirect to a target that is not allowed."""


class RobotsForbidden(RedirectRefused):
    """A redirect to a URL that robots.txt forbids. As for a wanted URL, the next run checks robots.txt again."""


class RobotsUnknown(RedirectRefused):
    """The robots.txt of the target is not known yet, and the transfer may hold the slot that its request needs.

    Attributes:
        target: the URL to check against its robots.txt before the transfer is begun again.
    """

    def __init__(self, url: str, reason: str, *, target: str = "") -> None:
        super().__init__(url, reason)
        self.target = target


class WrongContent(TransferError):
    """A document where media was expected, mostly an error or login page with status 200, or an unknown coding.

    The next run asks again: a login page no longer comes once the user has logged in.

    Attributes:
        is_page: an HTML page came from the wanted URL itself, not from the target of a redirect, and no file is known
            to have come from it before.
    """

    def __init__(self, url: str, reason: str, *, is_page: bool = False) -> None:
        super().__init__(url, reason)
        self.is_page = is_page


class DigestMismatch(TransferError):
    """The file is complete, but its digest differed from the promised digest twice."""

    permanent = True


class TooLarge(TransferError):
    """More bytes than the maximal size allows."""

    permanent = True


class ForeignError(TransferError):
    """An error of Scrapy, of a project's own code or of the standard library, as the failure of one file.

    Attributes:
        __cause__: the original error.
    """


def failure_of(url: str, error: BaseException) -> TransferError:
    """Return an error as the failure of the file at a URL."""
    if isinstance(error, TransferError):
        return error
    failure = ForeignError(url, describe_error(error))
    failure.__cause__ = error
    return failure


def describe_error(error: BaseException | None) -> str:
    """Return an error in one line of 300 characters or fewer, as `visible` returns it."""
    try:
        text = visible(" ".join(str(error or "unknown error").split()))
    except Exception:  # raised by a `__str__` of a project
        text = ""
    return (text or type(error).__name__)[:300]


def writable(text: str) -> str:
    """Return a text that a file or a database accepts: lone surrogates, which are no characters, become escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _file_in(path: object) -> str | None:
    """Return the part of a path that is a file in the place of a folder; None if there is none."""
    if not isinstance(path, str | os.PathLike):
        return None
    return next(
        (str(part) for part in (Path(path), *Path(path).parents) if part.exists() and not part.is_dir()), None
    )


def disk_error(error: OSError, where: object, action: str = "write") -> MachineError:
    """Translate an OSError of the store into a `MachineError` with one line for the user."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"no space left for {where}: nothing is lost, free some space and run the same command again")
    if isinstance(error, directories.UnexpectedEntry):
        return StoreNotWritable(f"cannot use {error.filename}: {error.strerror}")
    # EEXIST is that of `mkdir`; a link that cannot be made has two names.
    is_about_a_folder = error.errno == errno.ENOTDIR or (error.errno == errno.EEXIST and error.filename2 is None)
    if is_about_a_folder and (file := _file_in(error.filename)) is not None:
        return StoreNotWritable(f"cannot {action} {where}: {file} is a file, not a folder")
    return StoreNotWritable(f"cannot {action} {where}: {error.strerror or error}")

"""What became of each wanted file: judged by its row, noted in the ledger, counted for the summary."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from scrapy.exceptions import IgnoreRequest
from scrapy.pipelines.media import FileException, FileInfo

from mediacrawl.archive import Failure
from mediacrawl.bridge import Bridge, in_words
from mediacrawl.errors import MachineError, MediacrawlError, RedirectForbidden, TransferError, shown_url
from mediacrawl.ledger.ledger import DONE, FAILED, Entry
from mediacrawl.report import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy.crawler import Crawler

    from mediacrawl.download.request import Fetched
    from mediacrawl.wiring import Works

logger = logging.getLogger(__name__)

_DAY_S = 86_400.0


class MediaError(FileException):
    """A file that did not arrive, as `item_completed` sees it.

    Attributes:
        url: without credentials.
        reason: a few words.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason


class Tally:
    """The books of one pipeline.

    Args:
        expires_days: then a finished file is revalidated.
        retry_permanent_days: then what has failed for good is asked for again.
        count_status: gets the status of files that are there, or "failed", and how many they are.
    """

    def __init__(
        self,
        crawler: Crawler,
        works: Works,
        *,
        expires_days: float,
        retry_permanent_days: float,
        count_status: Callable[[str, int], None],
    ) -> None:
        self._bridge = Bridge.of(crawler)
        self._report = self._bridge.report
        self._stats = crawler.stats
        self._works = works
        self._expires_s = expires_days * _DAY_S
        self._retry_permanent_s = retry_permanent_days * _DAY_S
        self._count_status = count_status
        self._started_at = time.time()
        self._recent = Recent()
        self._noting: set[asyncio.Future[Entry]] = set()
        self._all_noted = True
        # Scrapy makes a record of each message, and only then looks whether anybody wants to read it.
        self._says_files = any(handler.level <= logging.DEBUG for handler in logging.getLogger().handlers)

    # Before: what its row says

    def is_finished(self, entry: Entry | None) -> bool:
        """Whether the file is there, and need not be revalidated yet."""
        return (
            entry is not None and entry.state == DONE and time.time() - (entry.checked_at or 0.0) <= self._expires_s
        )

    def refuse_known_failure(self, url: str, entry: Entry | None, *, again: bool = False) -> None:
        """Raise `MediaError` for what failed in this run already, and for what is known to fail for good."""
        if entry is None or entry.state != FAILED:
            return
        failed_at = entry.checked_at or 0.0
        if failed_at >= self._started_at:
            self._report.wanted -= 1  # counted once
            raise MediaError(shown_url(url), entry.reason or "failed")
        if not again and entry.permanent and time.time() - failed_at < self._retry_permanent_s:
            day = time.strftime("%Y-%m-%d", time.localtime(failed_at + self._retry_permanent_s))
            reason = f"{entry.reason} (known, not asked for again before {day})"
            self._report.count_failure(shown_url(url), reason)
            raise MediaError(shown_url(url), reason)

    # After: what came of it

    def present(self, *keys: str) -> None:
        """Files that needed nothing."""
        new = sum(map(self._recent.add, keys))
        self._report.present += new
        self._report.wanted -= len(keys) - new  # two pages show the same picture: counted once
        if keys:
            self._count_status("uptodate", len(keys))

    def arrived(self, files: Sequence[tuple[Entry, Fetched]]) -> None:
        """Files that have their names now."""
        report = self._report
        statuses = Counter(status_of(fetched) for _, fetched in files)
        report.new += statuses["downloaded"]
        report.resumed += statuses["resumed"]
        for status, count in statuses.items():
            self._count_status(status, count)
        for entry, fetched in files:
            self._recent.add(entry.key)
            report.new_bytes += fetched.size_bytes
            report.saved_bytes += fetched.saved_bytes
            if self._says_files:
                logger.debug("File (%s): %s -> %s", status_of(fetched), entry.url, entry.path)
        self._stats.inc_value("mediacrawl/fetched_bytes", sum(fetched.fetched_bytes for _, fetched in files))
        self._stats.inc_value("mediacrawl/saved_bytes", sum(fetched.saved_bytes for _, fetched in files))

    def failed(self, entry: Entry, error: BaseException) -> MediaError:
        """Note why, in the ledger, the log and the report; what to raise to who wanted it. For the event loop."""
        reason = error.reason if isinstance(error, TransferError) else in_words(error)
        noted = self._works.changes.ask(
            Failure(
                entry._replace(
                    http_status=getattr(error, "http_status", None),
                    reason=reason,
                    permanent=getattr(error, "permanent", False),
                )
            )
        )
        self._noting.add(noted)
        noted.add_done_callback(self._noted)
        if isinstance(error, IgnoreRequest | RedirectForbidden):
            logger.debug("File not asked for: %s: %s", entry.url, reason)
        else:
            known = isinstance(error, MediacrawlError | OSError | FileException)
            logger.error("File failed: %s: %s", entry.url, reason, exc_info=None if known else error)
        self._report.count_failure(entry.url, reason)
        self._count_status("failed", 1)
        return MediaError(entry.url, reason)

    def _noted(self, noted: asyncio.Future[Entry]) -> None:
        self._noting.discard(noted)
        if not noted.cancelled() and isinstance(error := noted.exception(), MachineError):
            self._all_noted = False
            self._bridge.stop_for(error)

    async def all_noted(self) -> bool:
        """Wait until the ledger has every failure. False if it could not take one: then the crawl is stopped."""
        if self._noting:
            await asyncio.wait(self._noting)  # `_noted` has seen them by then: it was called before
        return self._all_noted


def status_of(fetched: Fetched) -> str:
    """As Scrapy's pipelines have it in `files`."""
    return "resumed" if fetched.saved_bytes else "downloaded"


def info_of(url: str, entry: Entry, status: str) -> FileInfo:
    """What an item gets to know of a file that is there."""
    return FileInfo(url=url, path=entry.path or "", checksum=entry.sha256, status=status)

"""What became of each wanted file: judged by its row, noted in the ledger, counted for the summary."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from scrapy.exceptions import IgnoreRequest
from scrapy.pipelines.media import FileException, FileInfo

from mediacrawl.archive import Failure
from mediacrawl.bridge import Bridge, in_words
from mediacrawl.errors import Interrupted, MachineError, MediacrawlError, RedirectForbidden, TransferError, shown_url
from mediacrawl.report import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy.crawler import Crawler

    from mediacrawl.download.request import Fetched
    from mediacrawl.ledger.ledger import Entry
    from mediacrawl.refetch import RefetchPolicy
    from mediacrawl.wiring import Works

logger = logging.getLogger(__name__)

_MOST_FAILED = 10_000  # that are remembered, so that memory does not grow


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
        refetch: when to ask again for what is there, or has failed.
        count_status: gets the status of files that are there, or "failed", and how many they are.
    """

    def __init__(
        self,
        crawler: Crawler,
        works: Works,
        *,
        refetch: RefetchPolicy,
        count_status: Callable[[str, int], None],
    ) -> None:
        self._bridge = Bridge.of(crawler)
        self._report = self._bridge.report
        self._stats = crawler.stats
        self._works = works
        self._refetch = refetch
        self._count_status = count_status
        self._recent = Recent()
        self._failed: OrderedDict[str, str] = OrderedDict()  # in this run, of late: key and reason
        self._uncounted: set[str] = set()
        self._noting: set[asyncio.Future[Entry]] = set()
        self._all_noted = True
        # Scrapy makes a record of each message, and only then looks whether anybody wants to read it.
        self._says_files = any(handler.level <= logging.DEBUG for handler in logging.getLogger().handlers)

    # Before: what its row says

    def is_finished(self, entry: Entry | None) -> bool:
        """Whether the file is there, and need not be revalidated yet."""
        return self._refetch.is_fresh(entry, time.time())

    def refuse_known_failure(self, key: str, url: str, entry: Entry | None, *, again: bool = False) -> None:
        """Raise `MediaError` for what this run has asked for in vain already, and for what is known to fail for good.

        What another process has noted is not known by this run: it asks for itself.
        """
        if (reason := self._failed.get(key)) is not None:
            self._report.count_wanted(-1)  # counted once
            self._uncounted.discard(key)
            raise MediaError(shown_url(url), reason)
        if not again and (reason := self._refetch.known_failure(entry, time.time())) is not None:
            self._report.count_failure(shown_url(url), reason, known=True)
            self._uncounted.discard(key)
            raise MediaError(shown_url(url), reason)

    def expect(self, key: str) -> None:
        """A file is wanted, and a project's own methods may see to it; `conclude` is to follow."""
        self._uncounted.add(key)

    def conclude(self, key: str, url: str, error: BaseException | None) -> None:
        """Count a file that nothing here was told of: a project's own method has fetched or refused it."""
        if key not in self._uncounted:
            return
        self._uncounted.discard(key)
        if error is None:
            self._report.count_present()
        elif not isinstance(error, Interrupted | asyncio.CancelledError):
            self._report.count_failure(shown_url(url), in_words(error))

    # After: what came of it

    def present(self, *keys: str) -> None:
        """Files that needed nothing."""
        self._uncounted.difference_update(keys)
        new = sum(map(self._recent.add, keys))
        self._report.count_present(new)
        self._report.count_wanted(new - len(keys))  # two pages show the same picture: counted once
        if keys:
            self._count_status("uptodate", len(keys))

    def arrived(self, files: Sequence[tuple[Entry, Fetched]]) -> None:
        """Files that have their names now."""
        statuses = Counter(status_of(fetched) for _, fetched in files)
        for status, count in statuses.items():
            self._count_status(status, count)
        for entry, fetched in files:
            self._recent.add(entry.key)
            self._uncounted.discard(entry.key)
            self._report.count_arrived(fetched.size_bytes, fetched.saved_bytes)
            if self._says_files:
                logger.debug("File (%s): %s -> %s", status_of(fetched), entry.url, entry.path)
        self._stats.inc_value("mediacrawl/fetched_bytes", sum(fetched.fetched_bytes for _, fetched in files))
        self._stats.inc_value("mediacrawl/saved_bytes", sum(fetched.saved_bytes for _, fetched in files))

    def failed(self, entry: Entry, error: BaseException) -> MediaError:
        """Note why, in the ledger, the log and the report; what to raise to who wanted it. For the event loop."""
        reason = error.reason if isinstance(error, TransferError) else in_words(error)
        self._uncounted.discard(entry.key)
        self._failed[entry.key] = reason
        if len(self._failed) > _MOST_FAILED:
            self._failed.popitem(last=False)
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

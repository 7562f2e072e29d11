"""What became of each wanted file of a crawl: counted for the summary and the statistics, said in the log."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from scrapy.exceptions import IgnoreRequest
from scrapy.pipelines.media import FileException, FileInfo

from mediacrawl.crawl.context import CrawlContext
from mediacrawl.errors import Interrupted, MediacrawlError, RobotsForbidden, failure_of, redact_url
from mediacrawl.fetch.request import DOWNLOADED, FAILED, INTERRUPTED, RESUMED, UPTODATE
from mediacrawl.fetch.stats import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy.crawler import Crawler

    from mediacrawl.fetch.request import FileResult
    from mediacrawl.fetch.stats import RunStats

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


class CountedFile:
    """One file that an item wants, in whose way a project has a say: it is counted once, whatever its methods do."""

    def __init__(self, report: RunStats, url: str) -> None:
        self._report = report
        self._url = url
        self._is_counted = False

    def note_result(self) -> None:
        """Note a result that `ResultCounter.count` counts. A second one is that of one more wanted file."""
        if self._is_counted:
            self._report.count_wanted(1)
        self._is_counted = True

    def note_known_result(self) -> None:
        """Note that another one who wants this file has its result counted."""
        if not self._is_counted:
            self._report.count_wanted(-1)
        self._is_counted = True

    def conclude(self, error: BaseException | None) -> None:
        """Count the file if nothing was noted: a project's own method has fetched it, or refused it with an error."""
        if self._is_counted:
            return
        self._is_counted = True
        if error is None:
            self._report.count_present()
        elif not isinstance(error, Interrupted):
            failure = failure_of(self._url, error)
            self._report.count_failure(failure.url, failure.reason)


class ResultCounter:
    """The books of one pipeline.

    Args:
        count_status: gets the status of files that are there, or "failed", and how many they are.
    """

    def __init__(self, crawler: Crawler, count_status: Callable[[str, int], None]) -> None:
        self._report = CrawlContext.of(crawler).report
        self._stats = crawler.stats
        self._count_status = count_status
        self._recent = Recent()
        self._failed: OrderedDict[str, str] = OrderedDict()  # in this run, of late: key and reason
        # Scrapy makes a record of each message, and only then looks whether anybody wants to read it.
        self._says_files = any(handler.level <= logging.DEBUG for handler in logging.getLogger().handlers)

    def failure(self, key: str) -> str | None:
        """Return why a file has failed in this run; None if it has not, or long ago."""
        return self._failed.get(key)

    def note_failure(self, key: str, reason: str) -> None:
        """Remember that a file has failed in this run, whose result is to follow."""
        self._failed[key] = reason
        if len(self._failed) > _MOST_FAILED:
            self._failed.popitem(last=False)

    def expect_result(self, url: str) -> CountedFile:
        """Return the counter of a file whose way a project decides; end with `CountedFile.conclude`."""
        return CountedFile(self._report, url)

    def count(self, results: Sequence[FileResult]) -> None:
        """Count what has become of files, and say it in the log."""
        there = [result for result in results if result.status == UPTODATE]
        if there:
            self.count_present([result.request.key for result in there if result.request is not None])
        arrived = [result for result in results if result.status in {DOWNLOADED, RESUMED}]
        if arrived:
            self._count_arrived(arrived)
        for result in results:
            if result.status == FAILED:
                self._count_failure(result)

    def count_present(self, keys: Sequence[str]) -> None:
        """Count files that needed nothing."""
        new = sum(map(self._recent.add, keys))
        self._report.count_present(new)
        self._report.count_wanted(new - len(keys))  # two pages show the same picture: counted once
        self._count_status(UPTODATE, len(keys))

    def _count_arrived(self, results: Sequence[FileResult]) -> None:
        for status, count in Counter(result.status for result in results).items():
            self._count_status(status, count)
        for result in results:
            assert result.entry is not None
            self._recent.add(result.entry.key)
            self._report.count_arrived(result.size_bytes, result.saved_bytes)
            if self._says_files:
                logger.debug("File (%s): %s -> %s", result.status, result.url, result.entry.path)
        self._stats.inc_value("mediacrawl/fetched_bytes", sum(result.fetched_bytes for result in results))
        self._stats.inc_value("mediacrawl/saved_bytes", sum(result.saved_bytes for result in results))

    def _count_failure(self, result: FileResult) -> None:
        self._report.count_failure(result.url, result.reason, known=result.is_known_failure)
        if result.is_known_failure:
            return
        assert result.request is not None
        self.note_failure(result.request.key, result.reason)
        cause = result.error.__cause__ if result.error is not None else None
        if isinstance(result.error, RobotsForbidden) or isinstance(cause, IgnoreRequest):
            logger.debug("File not asked for: %s: %s", result.url, result.reason)
        else:
            is_known = cause is None or isinstance(cause, MediacrawlError | OSError | FileException)
            logger.error("File failed: %s: %s", result.url, result.reason, exc_info=None if is_known else cause)
        self._count_status(FAILED, 1)


def info_of(url: str, result: FileResult) -> FileInfo:
    """Return what an item gets to know of a file that is there; `url` is what it has asked for.

    Raises:
        MediaError: it is not there.
        Interrupted: the run has stopped before it was known.
    """
    if result.status == INTERRUPTED:
        raise Interrupted(url)
    if result.entry is None:
        raise MediaError(redact_url(url), result.reason)
    return FileInfo(url=url, path=result.entry.path or "", checksum=result.entry.sha256, status=result.status)

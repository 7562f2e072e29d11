"""The result of each wanted file of a crawl: counted for the summary and the statistics, and logged."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from scrapy.exceptions import IgnoreRequest
from scrapy.pipelines.media import FileException, FileInfo

from mediacrawl.crawl.context import CrawlContext
from mediacrawl.errors import Interrupted, MediacrawlError, RobotsForbidden, failure_of, redact_url
from mediacrawl.fetch.request import DOWNLOADED, FAILED, INTERRUPTED, PAGE, RESUMED, UPTODATE
from mediacrawl.fetch.stats import Recent
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy.crawler import Crawler

    from mediacrawl.fetch.request import FileResult
    from mediacrawl.fetch.stats import RunStats

logger = logging.getLogger(__name__)

_MOST_FAILED = 10_000  # failures that are remembered; a limit, so that memory does not grow


class MediaError(FileException):
    """The error of a file that was not fetched, as `item_completed` gets it.

    Attributes:
        url: the URL without credentials.
        reason: the cause in a few words.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = visible(reason)
        super().__init__(f"{visible(url)}: {self.reason}")


class MediaPage(MediaError):
    """The "error" of a hyperlink that leads to a page, and not to a file."""


class CountedFile:
    """A wanted file of an item that a project's own methods handle.

    The file is counted exactly once, regardless of the behaviour of these methods.
    """

    def __init__(self, report: RunStats, url: str) -> None:
        self._report = report
        self._url = url
        self._is_counted = False

    def note_result(self) -> None:
        """Note a result that `ResultCounter.count` counts. A second result counts as one more wanted file."""
        if self._is_counted:
            self._report.count_wanted(1)
        self._is_counted = True

    def note_known_result(self) -> None:
        """Note that the result is counted for another request for the same file."""
        if not self._is_counted:
            self._report.count_wanted(-1)
        self._is_counted = True

    def conclude(self, error: BaseException | None) -> None:
        """Count the file if no result was noted: a project's method has fetched it, or refused it with `error`."""
        if self._is_counted:
            return
        self._is_counted = True
        if error is None:
            self._report.count_present()
        elif not isinstance(error, Interrupted):
            failure = failure_of(self._url, error)
            self._report.count_failure(failure.url, failure.reason)


class ResultCounter:
    """Counts and logs the results of one pipeline.

    Args:
        count_status: called with the status of files that are present, or "failed", and the number of these files.
    """

    def __init__(self, crawler: Crawler, count_status: Callable[[str, int], None]) -> None:
        self._report = CrawlContext.of(crawler).report
        self._stats = crawler.stats
        self._count_status = count_status
        self._recent = Recent()
        self._given_up = Recent()  # hosts
        self._failed: OrderedDict[str, str] = OrderedDict()  # recent failures of this run: key and reason
        self._pages: OrderedDict[str, str] = OrderedDict()  # the same for hyperlinks that lead to pages
        # Scrapy makes a log record of each message before it checks whether a handler will emit the record.
        self._says_files = any(handler.level <= logging.DEBUG for handler in logging.getLogger().handlers)

    def failure(self, key: str) -> str | None:
        """Return why a file has failed in this run; None if it has not failed, or too many files failed after it."""
        return self._failed.get(key)

    def note_failure(self, key: str, reason: str) -> None:
        """Remember that a file has failed in this run. Its result may be counted later."""
        _remember(self._failed, key, reason)

    def page(self, key: str) -> str | None:
        """Return why the URL of a hyperlink is none of a file; None if this run does not know that."""
        return self._pages.get(key)

    def note_page(self, key: str, reason: str) -> None:
        """Remember that a hyperlink leads to a page."""
        _remember(self._pages, key, reason)

    def expect_result(self, url: str) -> CountedFile:
        """Return the counter of a file that a project's methods handle; finish with `CountedFile.conclude`."""
        return CountedFile(self._report, url)

    def count(self, results: Sequence[FileResult]) -> None:
        """Count the results of files, and log them."""
        there = [result for result in results if result.status == UPTODATE]
        if there:
            self.count_present([result.request.identity for result in there if result.request is not None])
        arrived = [result for result in results if result.status in {DOWNLOADED, RESUMED}]
        if arrived:
            self._count_arrived(arrived)
        if any(result.request is not None and result.request.may_be_page for result in (*there, *arrived)):
            self._report.site.note_file()
        for result in results:
            if result.status == FAILED:
                self._count_failure(result)
            elif result.status == PAGE:
                self._count_page(result)

    def count_present(self, identities: Sequence[str]) -> None:
        """Count files that needed no transfer."""
        new = sum(map(self._recent.add, identities))
        self._report.count_present(new)
        self._report.count_wanted(new - len(identities))  # a picture that two pages show is counted once
        self._count_status(UPTODATE, len(identities))

    def _count_arrived(self, results: Sequence[FileResult]) -> None:
        for status, count in Counter(result.status for result in results).items():
            self._count_status(status, count)
        for result in results:
            assert result.entry is not None
            assert result.request is not None
            self._recent.add(result.request.identity)
            self._report.count_arrived(result.size_bytes, result.saved_bytes)
            if self._says_files:
                logger.debug("File (%s): %s -> %s", result.status, result.url, result.entry.path)
        self._stats.inc_value("mediacrawl/fetched_bytes", sum(result.fetched_bytes for result in results))
        self._stats.inc_value("mediacrawl/saved_bytes", sum(result.saved_bytes for result in results))

    def _count_page(self, result: FileResult) -> None:
        assert result.request is not None
        self.note_page(result.request.key, result.reason)
        self._report.site.count_page(result.url)
        self._count_status(PAGE, 1)
        logger.info("A page, and no file: %s", result.url)

    def _count_failure(self, result: FileResult) -> None:
        self._report.count_failed(result)
        if result.is_known_failure:
            return
        assert result.request is not None
        self.note_failure(result.request.key, result.reason)
        cause = result.error.__cause__ if result.error is not None else None
        if isinstance(result.error, RobotsForbidden) or isinstance(cause, IgnoreRequest):
            logger.debug("File not asked for: %s: %s", result.url, result.reason)
        else:
            is_known = cause is None or isinstance(cause, MediacrawlError | OSError | FileException)
            if result.host is not None and self._given_up.add(result.host):
                logger.error("%s is given up for this run, and all its files fail: %s", result.host, result.reason)
            logger.log(
                logging.ERROR if result.host is None else logging.DEBUG,
                "File failed: %s: %s",
                result.url,
                result.reason,
                exc_info=None if is_known else cause,
            )
        self._count_status(FAILED, 1)


def _remember(reasons: OrderedDict[str, str], key: str, reason: str) -> None:
    reasons[key] = reason
    if len(reasons) > _MOST_FAILED:
        reasons.popitem(last=False)


def info_of(url: str, result: FileResult) -> FileInfo:
    """Return the information that an item gets about a file that is present; `url` is the item's own URL for it.

    Raises:
        MediaError: the file is not present.
        MediaPage: the URL leads to a page.
        Interrupted: the run has stopped before the result was known.
    """
    if result.status == INTERRUPTED:
        raise Interrupted(url)
    if result.status == PAGE:
        raise MediaPage(redact_url(url), result.reason)
    if result.entry is None:
        raise MediaError(redact_url(url), result.reason)
    return FileInfo(url=url, path=result.entry.path or "", checksum=result.entry.sha256, status=result.status)

"""Fetches files that failed or are damaged according to the ledger, for `retry` and `verify --repair`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy import Spider

from mediacrawl.backends import has_ledger, ledger_url, open_ledger, store_of
from mediacrawl.config import FILES_STORE, LEDGER
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.ledger.base import State
from mediacrawl.ledger.rows import options_of
from mediacrawl.ledger.upload_keys import is_upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mediacrawl.ledger.base import Entry


ADOPTED = "file:"  # how the URL of a file that `verify --adopt` has taken in begins
DAMAGED_ROW = "its row in the ledger was damaged"


class RetrySpider(Spider):
    """Arguments: `permanent` also takes files that are gone for good, `damaged` only files that `verify` found."""

    name = "retry"
    media_offsite = True

    def __init__(self, name: str | None = None, permanent: str = "", damaged: str = "", **arguments: Any) -> None:
        super().__init__(name, **arguments)
        self._permanent = bool(permanent)
        self._damaged = bool(damaged)

    async def start(self) -> AsyncIterator[Any]:
        """Yield one item for each row. The rows are read in blocks while the crawl changes them."""
        url = ledger_url(LEDGER.of(self.settings), store_of(FILES_STORE.of(self.settings)))
        if not has_ledger(url):
            return
        ledger = open_ledger(url, read_only=True)
        try:
            for entry in ledger.entries(State.FAILED, State.PENDING):
                if self._is_wanted(entry):
                    # A failure is permanent for the next run without `permanent` too: the summary says so.
                    yield _item(entry) | {"media_again": self._permanent or self._damaged}
                elif entry.permanent and not self._damaged:
                    CrawlContext.of(self.crawler).report.count_passed_over()
        finally:
            ledger.close()

    def _is_wanted(self, entry: Entry) -> bool:
        if entry.reason is None or entry.url.startswith(ADOPTED) or is_upload(entry):
            return False  # pending, and never failed; a row with a reason is pending after a killed retry
        if self._damaged:
            return entry.path is not None or entry.reason == DAMAGED_ROW  # the file was present once
        return self._permanent or not entry.permanent


def _item(entry: Entry) -> dict[str, Any]:
    """Return the item for a row, with the key, the owner and the options that the file had at first."""
    options = options_of(entry)
    path = options.pop("path", None)
    return options | {
        "file_urls": [entry.url],
        "page": entry.page,
        "media_key": entry.key,
        "media_path": path,
        "media_owner": entry.spider,
    }

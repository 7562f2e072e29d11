"""`scrapy crawl urllist -a file=PATH`: a list of URLs, `-` is standard input."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy import Spider

from mediacrawl.bridge import Bridge
from mediacrawl.errors import UsageProblem
from mediacrawl.lists import COLUMNS, BadLine, Row, read_list
from mediacrawl.spiders.base import refuse_unknown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import TextIO

_BLOCK_ROWS = 200


class UrlListSpider(Spider):
    """Arguments: `file`. Lists are described in the README; each line becomes an item with one URL."""

    name = "urllist"
    media_offsite = True

    def __init__(self, name: str | None = None, file: str = "", **arguments: Any) -> None:
        """Raises `UsageProblem` for a list that cannot be read, before anything is fetched."""
        refuse_unknown(arguments, "file")
        super().__init__(name)
        if not file:
            raise UsageProblem("the urllist spider needs a list: scrapy crawl urllist -a file=urls.txt (- for stdin)")
        self._file = file
        with _opened(file):
            pass

    async def start(self) -> AsyncIterator[Any]:
        """Read on as there is room; a bad line is reported with its number."""
        block_rows = 1 if self._file == "-" else _BLOCK_ROWS  # a pipe may be slow
        with _opened(self._file) as stream:
            rows = read_list(stream)
            while block := await asyncio.to_thread(lambda: list(islice(rows, block_rows))):
                for row in block:
                    if isinstance(row, BadLine):
                        self._report(row)
                    else:
                        yield _item(row)

    def _report(self, line: BadLine) -> None:
        where = f"{self._file}:{line.number}"
        self.logger.error("Bad line %s: %s", where, line.why)
        report = Bridge.of(self.crawler).report
        report.wanted += 1
        report.count_failure(where, "bad line")


def _item(row: Row) -> dict[str, Any]:
    item: dict[str, Any] = {"file_urls": [row.url]}
    for name in COLUMNS[1:]:
        if value := getattr(row, name):
            item[name] = value
    return item


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    if file == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        yield sys.stdin
        return
    try:
        with Path(file).open("rb") as raw:
            encoding = "utf-16" if raw.read(2) in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
        stream = Path(file).open(encoding=encoding, errors="replace", newline="")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageProblem(f"file={file}: cannot be read: {error.strerror}") from None
    with stream:
        yield stream

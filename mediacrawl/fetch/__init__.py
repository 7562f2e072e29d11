"""Fetch files into a store: which file next, and what became of each.

    from mediacrawl.fetch import fetch

    for result in fetch(["https://example.org/a.jpg"], store="downloads"):
        print(result.url, result.status)

`fetch` and `Session` are for programs. `get` stands on the same `FetchQueue`; neither needs Scrapy.
"""

from mediacrawl.fetch.request import DOWNLOADED, FAILED, RESUMED, UPTODATE, FileRequest, FileResult
from mediacrawl.fetch.session import Session, fetch

__all__ = ["DOWNLOADED", "FAILED", "RESUMED", "UPTODATE", "FileRequest", "FileResult", "Session", "fetch"]

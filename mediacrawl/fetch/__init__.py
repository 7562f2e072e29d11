"""Fetch files into a store: the order of the files, and the result of each.

    from mediacrawl.fetch import fetch

    for result in fetch(["https://example.org/a.jpg"], store="downloads"):
        print(result.url, result.status)

`fetch` and `Session` are for programs. The command `get` uses the same `FetchQueue`. None of these needs Scrapy.
"""

from mediacrawl.fetch.request import DOWNLOADED, FAILED, RESUMED, UPTODATE, FileRequest, FileResult
from mediacrawl.fetch.session import Session, fetch

__all__ = ["DOWNLOADED", "FAILED", "RESUMED", "UPTODATE", "FileRequest", "FileResult", "Session", "fetch"]

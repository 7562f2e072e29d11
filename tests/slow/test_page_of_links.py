"""A page of a million links, 25 MB: Ctrl-C ends the crawl within seconds while it is read."""

from __future__ import annotations

import pytest
from crawling import children_of, start, wait_until
from origin import Answer

pytestmark = pytest.mark.slow

# The time for it depends on other programs, too: this tells a crawl that stops from one that reads on for minutes.
SECONDS = 10


@pytest.mark.parametrize("moment", ["read", "requested"])
def test_ctrl_c_ends_a_crawl_with_a_page_of_a_million_links(origin, tmp_path, moment):
    links = "".join(
        f'<a href="/p/{number}.jpg">x</a>\n' for number in range(1_000_000 if moment == "read" else 50_000)
    )
    page = f"<html><body>{links}</body></html>".encode()
    origin.on("/", lambda _request: Answer(200, [("Content-Type", "text/html")], page))
    with start(tmp_path, "crawl", "site", "-a", f"url={origin.url('/')}", settings={"JOBDIR": "job"}) as running:
        if moment == "read":
            wait_until(lambda: children_of(running.process.pid))
        else:
            wait_until(lambda: any(request.target.startswith("/p/") for request in origin.requests))
        running.interrupt()
        done = running.wait()
    assert done.status == 3
    assert done.seconds < SECONDS

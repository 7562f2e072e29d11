"""Pages whose host fails for a while: as patient as media, and as far as the project lets Scrapy repeat requests."""

import threading

import pytest
from crawling import run
from origin import Answer, Origin, dead_port, status

SOON = ("-s", "MEDIACRAWL_BACKOFF_S=0.02", "-s", "MEDIACRAWL_BACKOFF_MAX_S=2", "-s", "ROBOTSTXT_OBEY=False")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(99)


def site(origin, refusals, refusal=None):
    """Three pages with a picture each; so many requests are refused after the first page."""
    left, lock = [refusals], threading.Lock()

    def page(number, following):
        def answer(_request):
            with lock:
                if number and left[0]:
                    left[0] -= 1
                    return refusal or Answer(429)
            link = f'<a rel="next" href="/{following}.html">next</a>' if following else ""
            return Answer(200, [("Content-Type", "text/html")], f'<img src="/{number}.png">{link}'.encode())

        return answer

    for number in range(3):
        origin.on(f"/{number}.html", page(number, number + 1 if number < 2 else None))
        origin.on(f"/{number}.png", lambda _: Answer(200, [], PNG))
    return origin.url("/0.html")


@pytest.mark.parametrize("refusals", [1, 5])
def test_a_page_waits_until_its_host_no_longer_refuses(tmp_path, refusals):
    with Origin() as origin:
        done = run(tmp_path, "crawl", "site", "-a", f"url={site(origin, refusals)}", *SOON)
        assert done.status == 0, str(done)
        assert len(done.store) == 3
        assert sum(request.status == 429 for request in origin.requests) == refusals


@pytest.mark.parametrize("refused", ["/1.html", "/1.png"])
def test_the_progress_says_for_which_host_a_crawl_waits(tmp_path, refused):
    with Origin() as origin:
        url = site(origin, 0)
        origin.fault(refused, status(429, retry_after=1))
        done = run(tmp_path, "crawl", "site", "-a", f"url={url}", *SOON, "-s", "MEDIACRAWL_PROGRESS_S=0.1")
        assert (done.status, len(done.store)) == (0, 3), str(done)
        assert f"127.0.0.1:{origin.port} (HTTP 429" in done.err


def test_a_page_with_a_time_is_repeated_as_often_as_media(tmp_path):
    with Origin() as origin:
        url = site(origin, 4, Answer(503, [("Retry-After", "1")]))
        done = run(tmp_path, "crawl", "site", "-a", f"url={url}", *SOON, "-s", "MEDIACRAWL_RETRY_TIMES=4")
        assert (done.status, len(done.store)) == (0, 3), str(done)


@pytest.mark.parametrize(
    "setting", ["RETRY_ENABLED=False", "RETRY_HTTP_CODES=500", "MEDIACRAWL_RETRY_TIMES=0"], ids=str
)
def test_a_project_that_wants_no_repetition_gets_none(tmp_path, setting):
    with Origin() as origin:
        done = run(tmp_path, "crawl", "site", "-a", f"url={site(origin, 9)}", *SOON, "-s", setting)
        assert len(done.store) == 1
        assert sum(request.status == 429 for request in origin.requests) == 1


def test_a_site_that_is_down_fails_once_its_tries_are_spent(tmp_path):
    url = f"http://127.0.0.1:{dead_port()}/"
    done = run(tmp_path, "crawl", "site", "-a", f"url={url}", *SOON, "-s", "MEDIACRAWL_RETRY_TIMES=2")
    assert done.status == 1
    assert "refused" in done.err
    assert "Traceback" not in done.err


def test_a_host_that_sends_no_robots_txt_is_waited_for_no_longer_than_for_a_file(tmp_path):
    with Origin() as origin:
        origin.on("/robots.txt", lambda _: origin.pause(60))
        origin.on("/a.png", lambda _: Answer(200, [], PNG))
        (tmp_path / "list").write_text(origin.url("/a.png"))
        quick = ("-s", "MEDIACRAWL_STALL_S=1.0", "-s", "RETRY_TIMES=0", "-s", "MEDIACRAWL_BACKOFF_S=0.02")
        done = run(tmp_path, "crawl", "urllist", "-a", "file=list", *quick)
        assert (done.status, len(done.store)) == (0, 1), str(done)

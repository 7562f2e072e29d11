"""Pages that are read only with a cookie, which they set themselves or get from another URL: a site for each row."""

from __future__ import annotations

import re

import pytest
from crawling import run, start
from origin import Answer, stall_after

from mediacrawl import Addon
from mediacrawl.spiders.site import SiteSpider

PNG = b"\x89PNG\r\n\x1a\n"
QUICK = {"ADDONS": {Addon: 500}, "RETRY_TIMES": 0}


def html(body, *fields, status=200):
    return Answer(status, [("Content-Type", "text/html; charset=utf-8"), *fields], body.encode())


def to(url, *fields):
    return html("", ("Location", url), *fields, status=302)


def refresh(content):
    return f'<meta http-equiv="refresh" content="{content}"><p>Please wait</p>'


# The first answer of the page `SITE/2`, which sets a cookie or leads to the gate that does.
GATES = {
    "a refresh without a URL": html(refresh("0"), ("Set-Cookie", "k=1")),
    "a refresh without a URL after a second": html(refresh("1"), ("Set-Cookie", "k=1")),
    "a refresh without a URL after some seconds": html(refresh("5"), ("Set-Cookie", "k=1")),
    "a refresh to itself after some seconds": html(refresh("2;url=SITE/2"), ("Set-Cookie", "k=1")),
    "a header Refresh without a URL": html("wait", ("Set-Cookie", "k=1"), ("Refresh", "0")),
    "a header Refresh to itself": html("wait", ("Set-Cookie", "k=1"), ("Refresh", "4; url=SITE/2")),
    "a refresh to a gate after some seconds": html(refresh("5;url=SITE/gate")),
    "a refresh to a gate at once": html(refresh("0;url=SITE/gate")),
    "a header Refresh to a gate after some seconds": html("wait", ("Refresh", "5;url=SITE/gate")),
}


def put(origin, site, closed):
    """A page `2` behind the first answer `closed`, between two others. The cookie holds for the site alone."""
    origin.page(f"{site}/", '<img src="a.png"><a rel="next" href="2">Next</a>')
    origin.page(f"{site}/3", '<img src="c.png">')
    opened = html('<img src="b.png"><a rel="next" href="3">Next</a>')
    answer = Answer(
        closed.status,
        [(name, value.replace("SITE", site)) for name, value in closed.headers],
        closed.body.replace(b"SITE", site.encode()),
    )
    origin.on(f"{site}/2", lambda request: opened if "k=1" in request.headers.get("cookie", "") else answer)
    origin.on(f"{site}/gate", lambda _request: to(f"{site}/2", ("Set-Cookie", f"k=1; Path={site}")))
    for name in "abc":
        origin.add(f"{site}/{name}.png", PNG + f"{site}{name}".encode(), content_type="image/png")


@pytest.mark.parametrize("job", [None, "job"])
def test_a_page_behind_a_refresh_is_read(crawls, origin, tmp_path, job):
    settings = QUICK | ({"JOBDIR": str(tmp_path / job)} if job else {})
    for number, closed in enumerate(GATES.values()):
        put(origin, f"/site{number}", closed)
    urls = " ".join(origin.url(f"/site{number}/") for number in range(len(GATES)))
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=urls)
    found = {url.removeprefix(origin.url("/")) for item in crawled.items for url in item["file_urls"]}
    taken = {name: sorted(url[-5] for url in found if url.startswith(f"site{n}/")) for n, name in enumerate(GATES)}
    assert taken == {name: ["a", "b", "c"] for name in GATES}
    assert (crawled.status, crawled.report.pages_failed) == (0, 0)
    assert len([request for request in origin.requests if request.path.endswith("/2")]) == 2 * len(GATES)


def test_a_page_that_loads_itself_with_a_new_cookie_is_asked_twice(crawls, origin, tmp_path):
    for number, content in enumerate(("0", "5", "5;url=SITE/2", "300")):
        site, values = f"/site{number}", iter(range(100))
        put(origin, site, html(""))
        text = refresh(content.replace("SITE", site)) + '<img src="b.png">'
        origin.on(f"{site}/2", lambda _r, values=values, text=text: html(text, ("Set-Cookie", f"v={next(values)}")))
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=" ".join(origin.url(f"/site{n}/") for n in range(4)))
    assert (crawled.status, len(crawled.store)) == (0, 8)
    assert [len(origin.requests_for(f"/site{number}/2")) for number in range(4)] == [2, 2, 2, 1]


DETAILS = 12


@pytest.mark.parametrize("gate", ["/age?r=PAGE", "/age"])
def test_details_behind_one_gate_are_all_read(crawls, origin, tmp_path, gate):
    """They are under way together: the first that passes the gate brings the cookie for the others."""
    links = "".join(f'<h2><a href="/d{number}">d</a></h2>' for number in range(DETAILS))
    origin.page("/", f'<img src="/a.png">{links}')
    origin.add("/a.png", PNG, content_type="image/png")
    for number in range(DETAILS):
        path = f"/d{number}"
        closed, opened = to(gate.replace("PAGE", path)), html(f'<img src="/{number}.png">')
        origin.on(
            path,
            lambda request, closed=closed, opened=opened: (
                opened if "k=1" in request.headers.get("cookie", "") else closed
            ),
        )
        origin.add(f"/{number}.png", PNG + bytes([number]), content_type="image/png")
        origin.on(f"/age?r={path}", lambda _request, path=path: to(path, ("Set-Cookie", "k=1; Path=/")))

    def back(request):
        return to(re.sub("https?://[^/]+", "", request.headers["referer"]), ("Set-Cookie", "k=1; Path=/"))

    origin.on("/age", back)
    settings = QUICK | {"CONCURRENT_REQUESTS_PER_DOMAIN": 8}
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=origin.url("/"), follow="//h2/a")
    assert (crawled.report.lines(""), len(crawled.store)) == (crawled.report.lines(""), DETAILS + 1)
    assert crawled.status == 0


@pytest.mark.parametrize("value", ["1", "PAGE"])
def test_a_gate_over_another_url_loses_no_page_over_kills(origin, tmp_path, value):
    """The cookie is lost with the process, and the URL of the gate is known from before."""
    pages = 4

    def key(number):
        return value.replace("PAGE", str(number))

    for number in range(1, pages + 1):
        more = f'<a rel="next" href="/p{number + 1}">n</a>' * (number < pages)
        opened = html(f'<img src="/{number}.png">{more}')
        closed = to(f"/gate?r={number}")

        def choose(request, number=number, opened=opened, closed=closed):
            is_open = f"k={key(number)}" in request.headers.get("cookie", "").split("; ")
            return Answer(*((one := opened if is_open else closed).status, list(one.headers), one.body))

        origin.on(f"/p{number}", choose, [stall_after(5)] if number in (2, 3) else [])
        passed = to(f"/p{number}", ("Set-Cookie", f"k={key(number)}; Path=/"))
        origin.on(f"/gate?r={number}", lambda _request, passed=passed: passed)
        origin.add(f"/{number}.png", PNG + bytes([number]), content_type="image/png")
    words = ("crawl", "site", "-a", f"url={origin.url('/p1')}", "-s", "JOBDIR=job")
    for number in (2, 3):
        with start(tmp_path, *words) as running:
            origin.wait_for(lambda number=number: any(one.stalled for one in origin.requests_for(f"/p{number}")))
            running.kill()
            running.wait()
    done = run(tmp_path, *words)
    assert (done.status, len(done.store)) == (0, pages), done.err
    assert "could not be read" not in done.err


def test_credentials_of_a_redirect_are_not_shown(crawls, origin, tmp_path, caplog, capfd):
    target = origin.url("/GO").replace("//", "//bob:geheim@")
    ways = {
        "/r1": to(target.replace("GO", "t1")),
        "/r2": html(refresh(f"0;url={target.replace('GO', 't2')}")),
        "/r3": html(refresh(f"5;url={target.replace('GO', 't3')}")),
        "/r4": html("", ("Refresh", f"0;url={target.replace('GO', 't4')}")),
        "/r5": to("http://bob:geheim@127.0.0.1:1/t5"),
        "/r6": to("http://bob:geheim@[::1/t6"),
        "/r7": to("http://bob:geheim@/t7"),
        "/r8": to("//bob:geheim@" + target.partition("@")[2].replace("GO", "t8")),
    }
    origin.page("/", '<img src="/a.png">' + "".join(f'<h2><a href="{path}">r</a></h2>' for path in ways))
    origin.add("/a.png", PNG, content_type="image/png")
    for path, answer in ways.items():
        origin.on(path, lambda _request, answer=answer: answer)
        origin.page(path.replace("r", "t"), "<p>read")
    with caplog.at_level("DEBUG"):
        crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/"), follow="//h2/a")
    for number in (1, 2, 3, 4, 8):
        assert len(origin.requests_for(f"/t{number}")) == 1, number
    told = f"{caplog.text}{capfd.readouterr()}{crawled.items}{crawled.report.lines('again')}"
    assert "geheim" not in told
    assert crawled.status == 1

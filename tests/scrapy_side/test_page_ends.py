"""Each page of a crawl is read, or is counted with the reason why it was not: each row is a site of its own."""

from __future__ import annotations

import gzip
import itertools
import re
import zlib
from contextlib import suppress
from dataclasses import replace
from importlib import import_module

import pytest
from crawling import run, start, together, wait_until
from origin import Answer, Origin, require_header, stall_after, truncate_chunked
from scrapy import Request, Spider
from scrapy.downloadermiddlewares import redirect
from scrapy.exceptions import IgnoreRequest

from mediacrawl import Addon
from mediacrawl.fetch.stats import RunStats
from mediacrawl.frontier.sqlite import describe
from mediacrawl.spiders.site import SiteSpider

HTML = "text/html; charset=utf-8"
PNG = b"\x89PNG\r\n\x1a\n"
QUICK = {"ADDONS": {Addon: 500}, "RETRY_TIMES": 0}


def html(body, *fields, status=200, kind=HTML):
    return Answer(status, [("Content-Type", kind), *fields], body.encode() if isinstance(body, str) else body)


def to(url, cookie="", status=302):
    return html("", ("Location", url), *([("Set-Cookie", f"{cookie}; Path=/")] if cookie else []), status=status)


def unless(cookie, answer, page):
    """The page with a cookie, the answer without it."""

    def choose(request):
        chosen = page if cookie in request.headers.get("cookie", "") else answer
        return chosen(request) if callable(chosen) else replace(chosen)  # faults change the answer

    return choose


def refresh(content, more=""):
    return f'<meta http-equiv="refresh" content="{content}">{more}'


def each_time(name, answer):
    """The answer for a cookie that has another value each time."""
    numbers = itertools.count()
    return lambda _request: answer(f"{name}={next(numbers)}")


# Of each site the start page has a link to `2` as the next page. By name: the answers of paths below the site, and
# the pictures that are taken. `SITE` in an answer's Location or body is the folder of the site.
READ = {
    "a page that sets a cookie and redirects to itself": (
        {"2": unless("r1=", to("SITE/2", "r1=1"), html('<img src="b.png">'))},
        ["b"],
    ),
    "two cookies, one after the other": (
        {"2": unless("r2=", to("SITE/2", "r2=1"), unless("r3=", to("SITE/2", "r3=1"), html('<img src="b.png">')))},
        ["b"],
    ),
    "another page sets the cookie, and redirects back": (
        {"2": unless("r4=", to("SITE/gate"), html('<img src="b.png">')), "gate": to("SITE/2", "r4=1")},
        ["b"],
    ),
    "a cookie is set on the way to another page, which redirects back": (
        {"2": unless("r5=", to("SITE/gate", "r5=1"), html('<img src="b.png">')), "gate": to("SITE/2")},
        ["b"],
    ),
    "a refresh at once to itself that brings a cookie": (
        {
            "2": unless(
                "r6=",
                html(refresh("0;url=2", '<img src="wait.png">'), ("Set-Cookie", "r6=1")),
                html('<img src="b.png">'),
            )
        },
        ["b"],
    ),
    "a refresh to itself with a new cookie each time is followed once": (
        {"2": each_time("r7", lambda cookie: html(refresh("0;url=2", '<img src="b.png">'), ("Set-Cookie", cookie)))},
        ["b"],
    ),
    "a redirect to a page that was read": (
        {"2": html('<img src="b.png"><a rel=next href=3>n</a>'), "3": to("SITE/2")},
        ["b"],
    ),
    "a refresh at once": (
        {"2": html(refresh("0; url=3", '<img src="b.png">')), "3": html('<img src="c.png">')},
        ["c"],
    ),
    "a refresh after a second": (
        {"2": html(refresh("1;URL='3'", '<img src="b.png">')), "3": html('<img src="c.png">')},
        ["c"],
    ),
    "a refresh after some seconds is a next link": (
        {"2": html(refresh("5; 3", '<img src="b.png">')), "3": html('<img src="c.png">')},
        ["b", "c"],
    ),
    "a next link comes before a refresh": (
        {
            "2": html(refresh("5;url=3", '<img src="b.png"><a rel=next href="4">n</a>')),
            "4": html('<img src="d.png">'),
        },
        ["b", "d"],
    ),
    "a page that loads itself again at once": ({"2": html(refresh("0;url=2", '<img src="b.png">'))}, ["b"]),
    "a page that loads itself again": ({"2": html(refresh("60", '<img src="b.png">'))}, ["b"]),
    "two pages that load each other at once": (
        {"2": html(refresh("0;url=3", '<img src="b.png">')), "3": html(refresh("0;url=2", '<img src="c.png">'))},
        ["c"],
    ),
    "a refresh for browsers without scripts": (
        {"2": html(f'<noscript>{refresh("0;url=3")}</noscript><img src="b.png">'), "3": html('<img src="c.png">')},
        ["b"],
    ),
    "a header Refresh at once": (
        {"2": html('<img src="b.png">', ("Refresh", "0;url=3")), "3": html('<img src="c.png">')},
        ["c"],
    ),
    "a header Refresh after some seconds": (
        {"2": html('<img src="b.png">', ("Refresh", "9; url=3")), "3": html('<img src="c.png">')},
        ["b", "c"],
    ),
    "a header Refresh to itself": ({"2": html('<img src="b.png">', ("Refresh", "0;url=SITE/2"))}, ["b"]),
    "a frame, and a frame inside": (
        {
            "2": html('<frameset><frame src="f">'),
            "f": html('<img src="b.png"><iframe src="g">'),
            "g": html('<img src="c.png">'),
        },
        ["b", "c"],
    ),
    "an encoding that is a charset": ({"2": html("<img src=b.png>", ("Content-Encoding", "utf-8"))}, ["b"]),
    "a detail page that goes on after some seconds": (
        {
            "2": html('<iframe src="f">'),
            "f": html(refresh("3;url=g", '<img src="b.png">')),
            "g": html(refresh("3;url=./", '<img src="c.png">')),
        },
        ["b", "c"],
    ),
    **{
        f"a stray control byte {byte!r}": ({"2": html(b"<h1>x%s</h1><img src=b.png>" % byte)}, ["b"])
        for byte in (b"\0", b"\x07", b"\x0b", b"\x1b")
    },
    "a stray control byte, and a link only": (
        {"2": html(b"<h1>x\x07</h1><a rel=next href=3>n</a>"), "3": html("<img src=b.png>")},
        ["b"],
    ),
    "a document in srcdoc": (
        {"2": html("<iframe srcdoc='<img src=\"b.png\">' src=f></iframe>"), "f": html("<img src=c.png>")},
        ["b"],
    ),
}

# By name: the answers, the page that is named, and the reason.
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}  # and what Scrapy can decode besides, if it is here
with suppress(ImportError):
    PACKERS["br"] = import_module("brotli").compress
with suppress(ImportError):
    PACKERS["zstd"] = import_module("backports.zstd").compress

FAILED = {
    "a page that redirects to itself": ({"2": to("SITE/2")}, "2", "redirected in a circle"),
    "two pages that redirect to each other": ({"2": to("SITE/3"), "3": to("SITE/2")}, "2", "redirected in a circle"),
    "a page that redirects to itself for ever": (
        {"2": each_time("f1", lambda cookie: to("SITE/2", cookie))},
        "2",
        "redirected more than REDIRECT_MAX_TIMES times",
    ),
    "robots.txt forbids it": ({"2": to("SITE/forbidden")}, "forbidden", "forbidden by robots.txt"),
    "nothing": ({"2": html("")}, "2", "an empty response"),
    "a PDF": ({"2": html(b"%PDF-1.4\n\0\1", kind="application/pdf")}, "2", "not a page but binary application/pdf"),
    "a picture that is called a page": ({"2": html(PNG + b"\0\0\0\rIHDR")}, "2", "not a page but binary text/html"),
    "an unknown encoding": (
        {"2": html(b"\0\1<img src=b.png>", ("Content-Encoding", "rot13"))},
        "2",
        "Content-Encoding rot13 cannot be decoded",
    ),
    "a redirect to another host": ({"2": to("http://localhost:PORT/login")}, None, "redirected to localhost"),
    "a page that is too large": ({"2": html("x" * 200_000)}, "2", "larger than MEDIACRAWL_PAGE_MAXSIZE allows"),
    "a page that is too large when decompressed": (
        {"2": html(gzip.compress(b"x" * 200_000), ("Content-Encoding", "gzip"))},
        "2",
        "larger than MEDIACRAWL_PAGE_MAXSIZE allows",
    ),
    **{
        f"a page of {coding} that is a bomb": (
            {"2": html(pack(b"<p>" * 300_000), ("Content-Encoding", coding))},
            "2",
            "larger than MEDIACRAWL_PAGE_MAXSIZE allows",
        )
        for coding, pack in PACKERS.items()
    },
    "a status": ({"2": html("<p>", status=403)}, "2", "HTTP 403"),
    "a redirect to a page that is not there": ({"2": to("SITE/3"), "3": html("", status=404)}, "3", "HTTP 404"),
    "a URL that is too long": (
        {"2": html(f"<a rel=next href=/{'x' * 3000}>n</a>")},
        None,
        "its URL is longer than URLLENGTH_LIMIT",
    ),
}


@pytest.fixture
def failures(monkeypatch):
    """URL and reason of each page that is counted as failed."""
    counted, count = [], RunStats.count_page_failure

    def count_page_failure(self, url, reason):
        counted.append((url, reason))
        count(self, url, reason)

    monkeypatch.setattr(RunStats, "count_page_failure", count_page_failure)
    return counted


@pytest.fixture
def other():
    with Origin("localhost") as running:
        running.page("/login", "<form>")
        yield running


def put(origin, sites, other):
    """Put the sites there; return the URLs of their start pages."""

    def filled(answer, site):
        if callable(answer):
            return lambda request: filled(answer(request), site)
        fields = [(name, fill(value, site)) for name, value in answer.headers]
        return Answer(answer.status, fields, answer.body)

    def fill(text, site):
        return (
            text.replace("SITE", site)
            .replace("Path=/", f"Path={site}")
            .replace("PORT", other.netloc.rpartition(":")[2])
        )

    for number, answers in enumerate(sites):
        site = f"/site{number}"
        origin.page(f"{site}/", '<img src="a.png"><a rel="next" href="2">Next</a>')
        for path, answer in answers.items():
            handler = filled(answer, site)
            origin.on(f"{site}/{path}", handler if callable(handler) else lambda _request, handler=handler: handler)
        for name in ("a", "b", "c", "d", "wait"):
            origin.add(f"{site}/{name}.png", PNG + f"{site}{name}".encode(), content_type="image/png")
    return " ".join(origin.url(f"/site{number}/") for number in range(len(sites)))


def taken(crawled):
    """The names of the pictures of each site."""
    found: dict[int, list[str]] = {}
    for item in crawled.items:
        for url in item["file_urls"]:
            number, name = re.search(r"/site(\d+)/(\w+)\.png", url).groups()
            found.setdefault(int(number), []).append(name)
    return found


@pytest.mark.parametrize("job", [None, "job"])
def test_pages_behind_cookies_refreshes_and_frames_are_read_once(crawls, origin, other, tmp_path, failures, job):
    settings = QUICK | ({"JOBDIR": str(tmp_path / job)} if job else {})
    url = put(origin, [answers for answers, _ in READ.values()], other)
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=url)
    found = taken(crawled)
    assert {name: sorted(found[number]) for number, name in enumerate(READ)} == {
        name: ["a", *pictures] for name, (_, pictures) in READ.items()
    }
    assert (failures, crawled.status) == ([], 0)


@pytest.mark.parametrize("job", [None, "job"])
def test_pages_that_are_not_read_are_counted_with_their_reason(crawls, origin, other, tmp_path, failures, job):
    settings = QUICK | ({"JOBDIR": str(tmp_path / job)} if job else {}) | {"MEDIACRAWL_PAGE_MAXSIZE": 100_000}
    url = put(origin, [answers for answers, _, _ in FAILED.values()], other)
    origin.robots("User-agent: *\nDisallow: /*/forbidden\n")
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=url)
    for number, (name, (_, path, reason)) in enumerate(FAILED.items()):
        named = origin.url(f"/site{number}/{path}") if path is not None else ""
        assert any(url.startswith(named) and reason in said for url, said in failures), (name, failures)
    assert len(failures) == len(FAILED) == crawled.report.pages_failed, failures
    assert crawled.status == 1
    assert taken(crawled) == {number: ["a"] for number in range(len(FAILED))}


def test_a_redirect_to_a_page_that_could_not_be_read_is_counted_wherever_it_comes(crawls, origin, tmp_path, failures):
    """Scrapy filters the redirect, as the page was asked before; it may be under way, or have failed already."""
    origin.page("/", '<img src="/a.png"><a href="/early">1</a><a href="/gone">2</a><a href="/late">3</a>')
    origin.add("/a.png", PNG, content_type="image/png")
    origin.add("/gone", "", status=404, content_type=HTML, delay_s=0.2)
    for name, delay_s in (("/early", 0), ("/late", 0.4)):
        origin.add(name, "", status=302, headers={"Location": "/gone"}, delay_s=delay_s)
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/"), follow="//a")
    named = {name: reason for url, reason in failures for name in [url.removeprefix(origin.url("").rstrip("/"))]}
    gone = "redirected to a page that could not be read"
    assert named == {"/gone": "HTTP 404", "/early": gone, "/late": gone}
    assert crawled.status == 1


class Links(Spider):
    """Follows all links of a page; another spider than ours."""

    name = "links"
    allowed_domains = ("127.0.0.1",)

    async def start(self):
        yield Request(self.url)

    def parse(self, response):
        yield {"seen": response.url}
        for link in response.css("a"):
            yield response.follow(link)


class NotToday:
    def process_request(self, request):
        if "skip" in request.url:
            raise IgnoreRequest("not today")


def test_pages_that_are_left_out_on_purpose_are_told_apart(crawls, origin, tmp_path, capfd):
    origin.page("/", '<a href="http://localhost/x">1</a><a href="/skip">2</a><a href="/1">3</a><a href="/out">4</a>')
    origin.page("/1", '<a href="/2">deeper</a>')
    origin.redirect("/out", "http://localhost/y")
    settings = QUICK | {"DEPTH_LIMIT": 1, "DOWNLOADER_MIDDLEWARES": {NotToday: 500}}
    crawled = crawls.crawl(tmp_path, Links, settings, url=origin.url("/"))
    assert (crawled.status, crawled.report.pages_failed) == (0, 0)
    lines = capfd.readouterr().err.splitlines()
    told = [line.split(";")[0] for line in lines if line.startswith("pages left out")]
    assert sorted(told) == [
        "pages left out: 1, deeper than DEPTH_LIMIT",
        "pages left out: 1, not today",
        "pages left out: 2, outside allowed_domains",
    ]
    assert f"pages left out: 1, deeper than DEPTH_LIMIT; for example {origin.url('/2')}" in lines


def test_links_to_other_hosts_are_told(crawls, origin, other, tmp_path, capfd):
    origin.page(
        "/", f'<img src="/a.png"><a href="{other.url("/login?")}">1</a><a rel=next href="{other.url("/2")}">n</a>'
    )
    origin.add("/a.png", PNG, content_type="image/png")
    assert crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/"), follow="//a").status == 0
    assert f"pages left out: 2, on another host; for example {other.url('/login?')}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("refresh_settings", "pictures"),
    [
        ({}, ["a", "b", "c"]),
        ({"METAREFRESH_MAXDELAY": 100}, ["c"]),  # as Scrapy has it
        ({"METAREFRESH_MAXDELAY": 4}, ["b", "c"]),
        ({"METAREFRESH_ENABLED": False}, ["a", "b", "c"]),
    ],
)
def test_what_a_project_sets_for_refreshes_holds(crawls, origin, tmp_path, refresh_settings, pictures):
    origin.page("/", refresh("3;url=/2", '<img src="/a.png">'))
    origin.page("/2", refresh("8;url=/3", '<img src="/b.png">'))
    origin.page("/3", '<img src="/c.png">')
    for name in "abc":
        origin.add(f"/{name}.png", PNG + name.encode(), content_type="image/png")
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK | refresh_settings, url=origin.url("/"))
    found = sorted(url[-5] for item in crawled.items for url in item["file_urls"])
    assert (crawled.status, found) == (0, pictures)


def test_a_refresh_of_another_spider_is_a_redirect_as_in_scrapy(crawls, origin, tmp_path):
    origin.page("/", refresh("3;url=/2"))
    origin.page("/2", refresh("0;url=/2", "itself"))
    crawled = crawls.crawl(tmp_path, Links, QUICK, url=origin.url("/"))
    assert [item["seen"] for item in crawled.items] == [origin.url("/2")]


class Own(redirect.RedirectMiddleware):
    """A project's own middleware, which decides alone."""


def test_a_redirect_middleware_of_the_project_is_not_replaced(crawls, origin, tmp_path, failures):
    origin.page("/", '<a href="/2">2</a>')
    origin.on("/2", unless("own=", to("/2", "own=1"), html("")))
    chosen = {Own: 600, redirect.RedirectMiddleware: None}
    crawled = crawls.crawl(tmp_path, Links, QUICK | {"DOWNLOADER_MIDDLEWARES": chosen}, url=origin.url("/"))
    assert failures == [(origin.url("/2"), "redirected in a circle")]
    assert len(origin.requests_for("/2")) == 1
    assert crawled.status == 1


def test_what_a_person_reads(origin, tmp_path):
    """Of a start page that robots.txt forbids, of pages without any medium, and of a file that has no cookies."""
    origin.robots("User-agent: *\nDisallow: /private\n")
    origin.page("/private", '<img src="/a.png">')
    origin.page("/", '<form action="/login"><input type=password></form><a rel=next href="/2">n</a>')
    origin.page("/2", "<p>nothing")
    file = tmp_path / "cookies.txt"
    file.write_text("sid=secret\n")
    private, wall, cookies = together(
        tmp_path,
        ("crawl", "site", "-a", f"url={origin.url('/private')}"),
        ("crawl", "site", "-a", f"url={origin.url('/')}"),
        ("crawl", "site", "-a", f"url={origin.url('/never')}", "-s", f"MEDIACRAWL_COOKIES={file}"),
    )
    assert (private.status, wall.status, cookies.status) == (1, 1, 2)
    assert private.lines[1:3] == [
        "pages that could not be read: 1",
        f"  {origin.url('/private')}: page: forbidden by robots.txt",
    ]
    assert private.lines[-1].startswith("to request what robots.txt forbids: ")
    assert private.lines[-1].endswith(f"url={origin.url('/private')} -s ROBOTSTXT_OBEY=False")
    assert wall.lines[0].endswith("; pages read: 2")
    assert wall.lines[1] == "no media found on any page"
    assert f"MEDIACRAWL_COOKIES {file}: line 1 is no cookie" in cookies.lines[-1]
    assert "secret" not in cookies.err
    assert not origin.requests_for("/never")


def test_pages_without_media_are_no_failure_where_earlier_pages_of_the_job_had_some(origin, tmp_path):
    origin.page("/", '<img src="/a.png"><a rel="next" href="/2">next</a>')
    origin.add("/a.png", PNG, content_type="image/png")
    origin.page("/2", "<p>nothing</p>", faults=[stall_after(3)])
    words, job = ("crawl", "site", "-a", f"url={origin.url('/')}"), {"JOBDIR": "job"}
    with start(tmp_path, *words, settings=job) as running:
        wait_until(lambda: origin.requests_for("/2") and (tmp_path / "store/site/127.0.0.1/a.png").exists())
        running.interrupt()
        assert running.wait().status == 3
    origin.release()
    done = run(tmp_path, *words, settings=job)
    assert done.status == 0, done.err
    assert "no media found in this run, only by earlier runs of the job" in done.lines


def test_pages_that_have_lost_their_media_are_a_failure_whatever_the_ledger_has(crawls, origin, tmp_path):
    """A login that has expired, a site that was rebuilt: the next night has to say so, with a job folder, too."""
    job = QUICK | {"JOBDIR": str(tmp_path / "job")}
    for settings in (QUICK, job):
        origin.page("/", '<img src="/a.png">')
        origin.add("/a.png", PNG, content_type="image/png")
        assert crawls.crawl(tmp_path, SiteSpider, settings, url=origin.url("/")).status == 0
        origin.page("/", "<p>members only</p>")
        assert crawls.crawl(tmp_path, SiteSpider, settings, url=origin.url("/")).status == 1


def test_a_job_tells_in_its_last_run_which_pages_its_earlier_runs_could_not_read(origin, tmp_path):
    """After a kill nobody has seen the summary. A page that is read at last has not failed."""
    job = ("-s", "JOBDIR=job", "-s", "RETRY_TIMES=0", "-s", "ROBOTSTXT_OBEY=False")
    links = "".join(f'<a href="/{name}">{name}</a>' for name in ("end", "gone", "circle"))
    origin.page("/", f'<img src="/a.png">{links}')
    origin.add("/a.png", PNG, content_type="image/png")
    origin.redirect("/circle", "/circle")
    origin.add("/gone", "", status=404, content_type=HTML)
    origin.page("/end", "<p>" * 100, faults=[stall_after(5)])
    words = ("crawl", "site", "-a", f"url={origin.url('/')}", "-a", "follow=//a", *job)
    with start(tmp_path, *words) as running:
        origin.wait_for(lambda: all(origin.requests_for(path) for path in ("/end", "/gone", "/circle")))
        wait_until(lambda: describe(tmp_path / "job").get("pages_done") == 3)
        running.kill()
        running.wait()
    origin.forget()
    done = run(tmp_path, *words)
    assert [request.path for request in origin.requests] == ["/end"]
    assert "pages that could not be read: 2" in done.lines
    assert f"  {origin.url('/gone')}: page: HTTP 404" in done.lines
    assert f"  {origin.url('/circle')}: page: redirected in a circle" in done.lines
    assert done.status == 1


def test_a_file_of_cookies_opens_the_pages_of_a_login_and_its_media_alone(crawls, origin, other, tmp_path):
    origin.on("/", unless("sid=secret", html('<form action="/login">'), html('<img src="/a.png">')))
    origin.add("/a.png", PNG, content_type="image/png", faults=[require_header("Cookie", "sid=secret")])
    other.page("/", '<img src="/b.png">')
    other.add("/b.png", PNG, content_type="image/png")
    file = tmp_path / "cookies.txt"
    file.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\tsecret\n")
    settings = QUICK | {"MEDIACRAWL_COOKIES": str(file)}
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=f"{origin.url('/')} {other.url('/')}")
    assert (crawled.status, len(crawled.store)) == (0, 2)
    assert not any("cookie" in request.headers for request in other.requests)


def test_a_page_of_which_only_the_beginning_arrives_is_read_and_told(crawls, origin, tmp_path, failures):
    origin.page("/", '<img src="/a.png">' + "x" * 1000, faults=[truncate_chunked(200, times=None)])
    origin.add("/a.png", PNG, content_type="image/png")
    settings = QUICK | {"DOWNLOAD_FAIL_ON_DATALOSS": False}
    crawled = crawls.crawl(tmp_path, SiteSpider, settings, url=origin.url("/"))
    assert failures == [(origin.url("/"), "only the beginning of the page has arrived")]
    assert (crawled.status, len(crawled.store)) == (1, 1)


def test_an_xpath_that_fails_on_a_page_is_told(crawls, origin, tmp_path, failures):
    origin.page("/", '<img src="/a.png" alt="(">')
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/"), media="//img[re:test(@src, @alt)]")
    assert [url for url, _ in failures] == [origin.url("/")]
    assert crawled.status == 1


def test_media_among_detail_pages_are_no_page_that_was_not_read(crawls, origin, tmp_path, failures):
    origin.page("/", '<a href="/a.png">1</a><a href="/b.mp4">2</a><a href="/c.png">3</a>')
    origin.add("/a.png", PNG, content_type="image/png")
    origin.add("/b.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    origin.add("/c.png", PNG + b"c")
    settings = {"url": origin.url("/"), "follow": "//a", "media": "//none"}
    assert crawls.crawl(tmp_path, SiteSpider, QUICK, **settings, kinds="image").status == 0
    assert failures == []


def test_a_cookie_gate_loses_no_page_over_kills(origin, tmp_path):
    """Killed while the page behind the gate is on its way, and again: the cookie is lost, and asked for anew."""
    for number in range(1, 4):
        page = html(f'<img src="/{number}.png">' + f'<a rel=next href="/{number + 1}">n</a>' * (number < 3))
        gate = unless(f"gate{number}=", to(f"/{number}", f"gate{number}=1"), page)
        origin.on(f"/{number}", gate, [stall_after(5)] if number > 1 else [])
        origin.add(f"/{number}.png", PNG + bytes([number]), content_type="image/png")
    words = ("crawl", "site", "-a", f"url={origin.url('/1')}", "-s", "JOBDIR=job")
    for number in (2, 3):
        with start(tmp_path, *words) as running:
            origin.wait_for(lambda number=number: len(origin.requests_for(f"/{number}")) == 2)
            running.kill()
            running.wait()
    done = run(tmp_path, *words)
    assert (done.status, len(done.store)) == (0, 3)

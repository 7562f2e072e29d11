"""Frames: those without content, those of a frameset, those that are nested too deep; refreshes to downloads."""

from __future__ import annotations

from origin import Answer

from mediacrawl import Addon
from mediacrawl.spiders.site import SiteSpider

PNG = b"\x89PNG\r\n\x1a\n"
QUICK = {"ADDONS": {Addon: 500}, "RETRY_TIMES": 0}


def put(origin, pages):
    for path, page in pages.items():
        if isinstance(page, str):
            origin.page(path, page)
        else:
            origin.on(path, lambda _request, page=page: Answer(page[0], [("Content-Type", page[1])], page[2]))


def names(crawled):
    return sorted(url.rpartition("/")[2] for item in crawled.items for url in item["file_urls"])


def test_frames_without_content_lose_nothing_and_hidden_ones_are_not_asked(crawls, origin, tmp_path):
    frames = "".join(f'<iframe src="/{name}"></iframe>' for name in ("empty", "none", "pdf", "private", "missing"))
    hidden = (
        '<iframe src="/h1" width=0 height=0></iframe><iframe src="/h2" style="display: none"></iframe>'
        '<iframe src="/h3" hidden></iframe><iframe src="/h4" style="border:0;width:1px"></iframe>'
    )
    origin.robots("User-agent: *\nDisallow: /private\n")
    put(origin, {
        "/": f'<img src="/a.png">{frames}{hidden}<iframe src="/f" width=100 style="width:10px"></iframe>',
        "/empty": "",
        "/none": (204, "text/html", b""),
        "/pdf": (200, "application/pdf", b"%PDF-1.4\n\0\1"),
        "/f": '<img src="/b.png">',
    })  # fmt: skip
    for name in "ab":
        origin.add(f"/{name}.png", PNG + name.encode(), content_type="image/png")
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK | {"ROBOTSTXT_OBEY": True}, url=origin.url("/"))
    assert (crawled.status, crawled.report.pages_failed, names(crawled)) == (0, 0, ["a.png", "b.png"])
    lines = [line for line in crawled.report.lines("") if "a frame without content" in line]
    assert len(lines) == 4
    assert not [one for one in origin.requests if one.path.startswith("/h")]


def test_frames_of_a_frameset_are_pages_of_the_pagination(crawls, origin, tmp_path):
    put(origin, {
        "/": '<frameset cols="20%,*"><frame src="/menu"><frame src="/main"></frameset>',
        "/menu": '<h2><a href="/detail">d</a></h2>',
        "/main": '<img src="/a.png"><a rel="next" href="/main2">Next</a>',
        "/main2": '<img src="/b.png"><iframe src="/inner"></iframe>',
        "/detail": '<img src="/c.png">',
        "/inner": '<img src="/d.png"><a rel="next" href="/never">Next</a>',
    })  # fmt: skip
    for name in "abcd":
        origin.add(f"/{name}.png", PNG + name.encode(), content_type="image/png")
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/"), follow="//h2/a")
    assert (crawled.status, names(crawled)) == (0, ["a.png", "b.png", "c.png", "d.png"])
    assert not origin.requests_for("/never")


def test_frames_that_are_nested_too_deep_are_told(crawls, origin, tmp_path):
    put(origin, {f"/{n}": f'<img src="/p{n}.png"><iframe src="/{n + 1}"></iframe>' for n in range(6)})
    for number in range(6):
        origin.add(f"/p{number}.png", PNG + bytes([number]), content_type="image/png")
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/0"))
    assert (crawled.status, len(crawled.store)) == (0, 4)
    told = f"pages left out: 1, deeper than 3 frames; for example {origin.url('/4')}"
    assert told in crawled.report.lines("")


def test_a_refresh_to_a_download_does_not_replace_the_page(crawls, origin, tmp_path):
    for number, delay_s in enumerate((0, 5)):
        origin.page(
            f"/{number}",
            f'<meta http-equiv="refresh" content="{delay_s};url=/dl.zip"><img src="/{number}.png">thanks',
        )
        origin.add(f"/{number}.png", PNG + bytes([number]), content_type="image/png")
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=f"{origin.url('/0')} {origin.url('/1')}")
    assert (crawled.status, names(crawled)) == (0, ["0.png", "1.png"])
    assert not origin.requests_for("/dl.zip")


def test_the_kinds_that_were_not_found_are_named(crawls, origin, tmp_path):
    origin.page("/", '<img src="/a.png">')
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=origin.url("/"), kinds="video")
    assert crawled.status == 1
    assert "no video found on any page" in crawled.report.lines("")

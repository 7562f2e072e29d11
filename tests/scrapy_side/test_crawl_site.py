from __future__ import annotations

import inspect
import re

import pytest
from crawling import basic_auth, run, sha256, together
from origin import Origin, dead_port, require_header, status

from mediacrawl.errors import UsageProblem
from mediacrawl.spiders.retry import RetrySpider
from mediacrawl.spiders.site import SiteSpider

JPEG = "image/jpeg"
BODY = b"\xff\xd8\xff" + bytes(3000)


def picture(origin, name, size=500):
    """A picture and its digest."""
    body = (b"\0" + name.encode()) * size
    origin.add(name, body, content_type=JPEG)
    return sha256(body)


@pytest.fixture
def other():
    """Another host: to a cookie jar and to us, `localhost` is not 127.0.0.1."""
    with Origin("localhost") as running:
        yield running


def asked(origin):
    return [request.target for request in origin.requests if request.path != "/robots.txt"]


def test_pages_are_followed_to_the_end_and_no_page_is_asked_for_twice(crawls, origin, tmp_path):
    origin.page("/", '<img src="/a.jpg"><a rel="next" href="/2">Next</a>')
    origin.page("/2", '<img src="/b.jpg"><a href="/">1</a> <a rel="next" href="/3">Next</a>')
    origin.page("/3", '<img src="/c.jpg"><a rel="next" href="/">Next</a>')
    digests = {picture(origin, f"/{name}.jpg") for name in "abc"}

    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))

    assert crawled.status == 0
    assert set(crawled.store.values()) == digests
    assert sorted(asked(origin)) == ["/", "/2", "/3", "/a.jpg", "/b.jpg", "/c.jpg"]


def test_scrapy_parses_the_source_of_no_callback(crawls, origin, tmp_path, monkeypatch):
    """It looks into the source of a generator function for each page, which takes milliseconds."""
    parsed, getsource = [], inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda found: parsed.append(found) or getsource(found))
    origin.page("/", '<img src="/a.jpg"><a href="/item/1">one</a><a rel="next" href="/2">Next</a>')
    origin.page("/2", '<img src="/b.jpg">')
    origin.page("/item/1", '<img src="/c.jpg">')
    digests = {picture(origin, f"/{name}.jpg") for name in "abc"}
    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"), follow="//a[contains(@href, 'item')]/@href")
    assert set(crawled.store.values()) == digests
    assert parsed == []


def test_a_page_that_leads_to_itself_ends(crawls, origin, tmp_path):
    origin.page("/", '<img src="/a.jpg"><a rel="next" href="/#top">Next</a>')
    picture(origin, "/a.jpg")
    assert crawls.crawl(tmp_path, SiteSpider, url=origin.url("/")).status == 0
    assert sorted(asked(origin)) == ["/", "/a.jpg"]


@pytest.mark.parametrize(("declared", "name"), [("gbk", "张.jpg"), ("utf-8", "%D5%C5.jpg"), (None, "%D5%C5.jpg")])
def test_a_name_that_is_not_utf_8_is_in_the_encoding_that_its_page_declares(crawls, origin, tmp_path, declared, name):
    """At first, and by a retry: the page is not at hand then."""
    kind = {"content_type": f"text/html; charset={declared}" if declared else "text/html"}
    page = origin.page("/", '<img src="/%D5%C5.jpg"><img src="/named.jpg">', "ascii", **kind)
    origin.add("/\ufffd\ufffd.jpg", BODY, content_type=JPEG)
    origin.add(
        "/named.jpg", BODY, content_type=JPEG, disposition='inline; filename="\xd5\xc5.jpg"', faults=[status(503)]
    )
    quick = {"MEDIACRAWL_RETRY_TIMES": 0}
    assert crawls.crawl(tmp_path, SiteSpider, quick, url=page).status == 1
    assert [path.name for path in (tmp_path / "store").rglob("*.jpg")] == [name]
    assert crawls.crawl(tmp_path, RetrySpider, quick).status == 0
    named = "张-2.jpg" if declared == "gbk" else "ÕÅ.jpg"
    assert {path.name for path in (tmp_path / "store").rglob("*.jpg")} == {name, named}


def test_a_page_in_gbk_is_read_and_its_next_page_found_by_its_word(crawls, origin, tmp_path):
    origin.page("/", '<html><body><img src="/图/山.jpg"><a href="/二">下一页</a></body></html>', "gbk")
    origin.page("/二", '<html><body><img src="/水.jpg"><a href="/">上一页</a></body></html>', "gbk")
    digests = {picture(origin, "/图/山.jpg"), picture(origin, "/水.jpg")}

    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))

    assert set(crawled.store.values()) == digests
    assert {path.rpartition("/")[2] for path in crawled.store} == {"山.jpg", "水.jpg"}


def test_media_of_another_host_are_taken_but_its_pages_are_not_followed(crawls, origin, other, tmp_path):
    digest = picture(other, "/a.jpg")
    origin.page("/", f'<img src="{other.url("/a.jpg")}"><a rel="next" href="{other.url("/2")}">Next</a>')
    other.page("/2", '<img src="/never.jpg">')

    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))

    assert crawled.status == 0
    assert crawled.store == {"site/localhost/a.jpg": digest}
    assert asked(other) == ["/a.jpg"]


def test_media_of_another_host_are_taken_where_the_spider_is_bound_to_its_own(crawls, origin, other, tmp_path):
    class Bound(SiteSpider):
        name = "bound"
        allowed_domains = ("127.0.0.1",)

    digest = picture(other, "/a.jpg")
    origin.page("/", f'<img src="{other.url("/a.jpg")}">')
    assert crawls.crawl(tmp_path, Bound, url=origin.url("/")).store == {"bound/localhost/a.jpg": digest}


def test_a_start_page_that_is_redirected_to_another_host_name_is_crawled_there(crawls, origin, other, tmp_path):
    origin.redirect("/", other.url("/home"))
    other.page("/home", '<img src="/a.jpg"><a rel="next" href="/2">Next</a>')
    other.page("/2", '<img src="/b.jpg">')
    digests = {picture(other, "/a.jpg"), picture(other, "/b.jpg")}

    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))

    assert crawled.status == 0
    assert set(crawled.store.values()) == digests


def test_a_job_that_goes_on_knows_the_host_that_its_start_page_was_redirected_to(crawls, origin, other, tmp_path):
    origin.redirect("/", other.url("/1"))
    for number in range(1, 8):
        following = f'<a rel="next" href="/{number + 1}">Next</a>' if number < 7 else ""
        other.page(f"/{number}", f'<img src="/{number}.jpg">{following}')
    digests = {picture(other, f"/{number}.jpg") for number in range(1, 8)}
    job = {"JOBDIR": str(tmp_path / "job"), "CLOSESPIDER_PAGECOUNT": 3, "CONCURRENT_REQUESTS": 1}
    runs = [crawls.crawl(tmp_path, SiteSpider, job, url=origin.url("/"))]
    while runs[-1].reason != "finished":
        runs.append(crawls.crawl(tmp_path, SiteSpider, job, url=origin.url("/")))
    assert len(runs) > 1
    assert set(runs[-1].store.values()) == digests


def test_a_later_page_that_is_redirected_to_another_host_is_left_alone(crawls, origin, other, tmp_path):
    origin.page("/", '<a rel="next" href="/2">Next</a>')
    origin.redirect("/2", other.url("/2"))
    other.page("/2", '<img src="/never.jpg"><a rel="next" href="/3">Next</a>')
    crawled = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"))
    assert crawled.store == {}
    assert "/3" not in asked(other)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({}, {"/a.jpg", "/b.mp3", "/c.mp4", "/second.jpg"}),
        ({"media": "//p/a/@href"}, {"/b.mp3", "/c.mp4"}),
        ({"media": "//img[@class='big']"}, {"/a.jpg", "/second.jpg"}),
        ({"next": ""}, {"/a.jpg", "/b.mp3", "/c.mp4"}),
        ({"next": "//a[@id='more']"}, {"/a.jpg", "/b.mp3", "/c.mp4", "/third.jpg"}),
        ({"next": "", "follow": "//h2/a"}, {"/a.jpg", "/b.mp3", "/c.mp4", "/detail.jpg"}),
        ({"kinds": "audio"}, {"/b.mp3"}),
        ({"kinds": "audio, video"}, {"/b.mp3", "/c.mp4"}),
    ],
)
def test_the_arguments_choose_media_next_page_details_and_kinds(crawls, origin, tmp_path, arguments, wanted):
    origin.page(
        "/",
        '<link rel="next" href="/2"><img class="big" src="/a.jpg">'
        '<p><a href="/b.mp3">b</a> <a href="/c.mp4">c</a></p>'
        '<h2><a href="/detail">Detail</a></h2><a id="more" href="/third">Others</a>',
    )
    origin.page("/detail", '<img src="/detail.jpg"><a rel="next" href="/never">Next</a>')
    origin.page("/2", '<img class="big" src="/second.jpg">')
    origin.page("/third", '<img src="/third.jpg">')
    for name in ("/a.jpg", "/second.jpg", "/third.jpg", "/detail.jpg"):
        picture(origin, name)
    origin.add("/b.mp3", b"ID3" + bytes(500), content_type="audio/mpeg")
    origin.add("/c.mp4", bytes(500), content_type="video/mp4")

    crawls.crawl(tmp_path, SiteSpider, url=origin.url("/"), **arguments)

    assert {path for path in asked(origin) if "." in path} == wanted


def test_several_start_pages_are_given_with_blanks_between(crawls, origin, tmp_path):
    origin.page("/1", '<img src="/a.jpg">')
    origin.page("/2", '<img src="/b.jpg">')
    digests = {picture(origin, "/a.jpg"), picture(origin, "/b.jpg")}
    crawled = crawls.crawl(tmp_path, SiteSpider, url=f"{origin.url('/1')} {origin.url('/2')}")
    assert set(crawled.store.values()) == digests


def test_a_start_url_that_is_itself_a_picture_is_taken(crawls, origin, tmp_path):
    digest = picture(origin, "/a.jpg")
    assert crawls.crawl(tmp_path, SiteSpider, url=origin.url("/a.jpg")).store == {"site/127.0.0.1/a.jpg": digest}


def test_the_page_becomes_part_of_the_item(crawls, origin, tmp_path):
    origin.page("/", '<img src="/a.jpg">')
    picture(origin, "/a.jpg")
    (item,) = crawls.crawl(tmp_path, SiteSpider, url=origin.url("/")).items
    assert item["page"] == origin.url("/")


def test_user_and_password_of_the_start_page_hold_for_its_host_and_show_nowhere(
    crawls, origin, other, tmp_path, caplog
):
    origin.everywhere(require_header("Authorization", basic_auth("me", "s:e/cret")))
    origin.page("/", f'<img src="/a.jpg"><img src="{other.url("/b.jpg")}"><a rel="next" href="/2">Next</a>')
    origin.page("/2", '<img src="/c.jpg">')
    digests = {picture(origin, "/a.jpg"), picture(other, "/b.jpg"), picture(origin, "/c.jpg")}
    url = origin.url("/").replace("//", "//me:s%3Ae%2Fcret@")

    with caplog.at_level("DEBUG"):
        crawled = crawls.crawl(tmp_path, SiteSpider, {"JOBDIR": str(tmp_path / "job")}, url=url)

    assert crawled.status == 0
    assert set(crawled.store.values()) == digests
    assert not any("authorization" in request.headers for request in other.requests)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for text in (str(crawled.items), caplog.text, written.decode("latin-1")):
        assert "cret" not in text


def test_two_start_pages_with_different_passwords_are_refused():
    with pytest.raises(UsageProblem, match="different user names"):
        SiteSpider(url="http://a:b@127.0.0.1:9/1 http://a:c@127.0.0.1:9/2")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"media": "//img["}, "media"),
        ({"next": "//a[@href"}, "next"),
        ({"follow": "count("}, "follow"),
        ({"kinds": "pictures"}, "kinds=pictures: choose from image,audio,video"),
        ({"nxt": "//a"}, "unknown argument nxt: choose from url, media, next, follow, kinds"),
        ({"url": ""}, "needs a URL"),
        ({"url": "example.org"}, "url=example.org: not an http or https URL"),
        ({"url": "ftp://me:secret@example.org/"}, "url=ftp://example.org/: not an http or https URL"),
    ],
)
def test_a_wrong_argument_is_one_line_before_anything_else(arguments, says):
    with pytest.raises(UsageProblem) as caught:
        SiteSpider(**({"url": "http://127.0.0.1:9/"} | arguments))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_usage_exits_with_2_after_one_line_and_asks_nobody(origin, tmp_path):
    url = f"url={origin.url('/')}"
    cases = {
        ("crawl", "site", "-a", url, "-a", "media=//img["): "media",
        ("crawl", "site", "-a", url, "-a", "kinds=pictures"): "kinds=pictures",
        ("crawl", "site", "-a", "url=ftp://example.org/"): "ftp://example.org/",
        ("crawl", "urllist", "-a", "file=nowhere.txt"): "nowhere.txt",
        ("crawl", "demo", "-a", "speed=9"): "speed",
        ("crawl", "nobody"): "error: no spider is called 'nobody', see: scrapy list",
    }
    for done, says in zip(together(tmp_path, *cases), cases.values(), strict=True):
        assert (done.status, done.out) == (2, ""), str(done)
        assert says in done.lines[-1]
        assert len(done.lines) == 1 or "nobody" in says, str(done)  # the only one that is about the command itself
        assert not (done.folder / "store").exists()
    assert origin.requests == []


def test_a_start_page_that_cannot_be_fetched_is_told_and_exits_with_1(origin, tmp_path):
    missing, dead = together(
        tmp_path,
        ("crawl", "site", "-a", f"url={origin.url('/missing').replace('//', '//me:secret@')}"),
        ("crawl", "site", "-a", f"url=http://127.0.0.1:{dead_port()}/"),
        settings={"RETRY_TIMES": 0},
    )
    assert (missing.status, dead.status) == (1, 1)
    assert "pages that could not be read: 1" in missing.lines
    assert "HTTP 404" in missing.err
    assert "secret" not in missing.err
    assert "refused" in dead.err.lower()


@pytest.mark.parametrize(
    ("arguments", "settings", "places"),
    [
        ([], {}, "4"),
        ([], {"CONCURRENT_ITEMS": 7}, "7"),
        (["-a", "follow=//a/@href"], {}, None),  # as Scrapy has it
    ],
)
def test_a_page_has_places_for_the_one_item_that_it_gives(origin, tmp_path, arguments, settings, places):
    words = ["crawl", "site", "-a", f"url={origin.page('/', '<p>Nothing</p>')}", *arguments]
    done = run(tmp_path, *words, settings={"LOG_LEVEL": "INFO", **settings})
    said = re.search(r"'CONCURRENT_ITEMS': '?(\d+)", done.err)
    assert (said and said[1]) == places, str(done)

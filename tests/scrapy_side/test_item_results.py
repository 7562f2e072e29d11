"""What becomes of an item, and how often the origin is asked for its files."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest
from crawling import files_in, item_of, items_spider, parts_in, sha256
from origin import Pattern, drop_after, html_instead, status

from mediacrawl.download.resume import OVERLAP_BYTES

BODY = b"\xff\xd8\xff" + b"j" * 3997
NAME = "items/127.0.0.1/a.jpg"


@pytest.fixture
def crawl(crawls, tmp_path):
    def crawl(*items, settings=None, **attributes):
        return crawls.crawl(tmp_path, items_spider(*items, **attributes), settings)

    return crawl


@pytest.fixture
def url(origin):
    return origin.add("/a.jpg", BODY, content_type="image/jpeg")


def asked(origin, path="/a.jpg"):
    return len(origin.requests_for(path))


def test_a_file_that_arrived_is_downloaded_and_then_up_to_date(crawl, origin, url):
    first, second = crawl(item_of(url)), crawl(item_of(url))
    expected = {"url": url, "path": NAME, "checksum": sha256(BODY)}
    assert first.files == [{**expected, "status": "downloaded"}]
    assert second.files == [{**expected, "status": "uptodate"}]
    assert asked(origin) == 1
    assert [crawled.stat("file_status_count/uptodate") for crawled in (first, second)] == [None, 1]
    assert second.stat("file_count") == 1


def test_a_file_of_which_some_was_here_is_resumed(crawl, origin, tmp_path):
    body = Pattern(2_000_000)
    url = origin.add("/a.jpg", body, content_type="image/jpeg", faults=[drop_after(600_000)])
    once = {"MEDIACRAWL_RETRY_TIMES": 0}
    first = crawl(item_of(url), settings=once)
    assert (first.status, first.files, files_in(tmp_path / "store")) == (1, [], {})
    second = crawl(item_of(url), settings=once)
    assert [file["status"] for file in second.files] == ["resumed"]
    assert second.store == {NAME: body.sha256()}
    start, _ = origin.requests_for("/a.jpg")[1].range
    saved_bytes = start + OVERLAP_BYTES
    assert OVERLAP_BYTES < saved_bytes <= 600_000
    assert second.stat("mediacrawl/saved_bytes") == saved_bytes
    assert second.stat("mediacrawl/fetched_bytes") == len(body) - saved_bytes
    assert parts_in(tmp_path / "store") == []


def test_a_break_within_a_run_is_no_resume_of_an_earlier_one(crawl, origin):
    body = Pattern(2_000_000)
    url = origin.add("/a.jpg", body, content_type="image/jpeg", faults=[drop_after(600_000)])
    crawled = crawl(item_of(url))
    assert [file["status"] for file in crawled.files] == ["downloaded"]
    assert crawled.store == {NAME: body.sha256()}
    assert asked(origin) == 2


def test_what_did_not_arrive_is_in_file_errors_with_url_and_reason(crawl, origin, url):
    origin.page("/error.jpg", "<html><body>Sorry</body></html>")
    item = item_of(
        url,
        origin.url("/missing.jpg").replace("//", "//me:secret@"),
        origin.url("/error.jpg"),
        "gopher://example.org/a.jpg",
        "no URL at all",
        "http://me:secret@example.org:x/%",
        "",
        7,
    )
    crawled = crawl(item)
    (done,) = crawled.items
    assert [file["url"] for file in done["files"]] == [url]
    reasons = [(error["url"], error["reason"]) for error in done["file_errors"]]
    assert [url for url, _ in reasons[2:]] == [
        "gopher://example.org/a.jpg",
        "about:invalid#no%20URL%20at%20all",
        "about:invalid#http://example.org:x/%",
        "about:invalid",
        "about:invalid#7",
    ]
    assert reasons[0] == (origin.url("/missing.jpg"), "HTTP 404 Not Found")
    assert reasons[1][0] == origin.url("/error.jpg")
    assert "html" in reasons[1][1].lower()
    assert all("not an http, https, ftp or ftps URL" in reason for _, reason in reasons[2:])
    assert (crawled.status, crawled.report.failed, crawled.stat("file_status_count/failed")) == (1, 7, 7)
    assert "secret" not in str(crawled.items)


def test_files_and_errors_are_in_the_feed(crawl, origin, url, tmp_path):
    feed = tmp_path / "out.jsonl"
    crawl(item_of(url, origin.url("/missing.jpg")), settings={"FEEDS": {str(feed): {"format": "jsonlines"}}})
    (item,) = map(json.loads, feed.read_text().splitlines())
    assert item["files"] == [{"url": url, "path": NAME, "checksum": sha256(BODY), "status": "downloaded"}]
    assert item["file_errors"] == [{"url": origin.url("/missing.jpg"), "reason": "HTTP 404 Not Found"}]


def test_an_item_without_files_goes_through_with_empty_lists(crawl):
    assert crawl({"title": "x"}, item_of()).items == [
        {"title": "x", "files": [], "file_errors": []},
        {"file_urls": [], "files": [], "file_errors": []},
    ]


def test_one_file_that_many_items_want_is_fetched_once_and_counted_once(crawl, origin):
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg", delay_s=0.05)
    crawled = crawl(*[item_of(url, f"{url}#part", page=str(number)) for number in range(20)])
    assert asked(origin) == 1
    assert [len(item["files"]) for item in crawled.items] == [2] * 20
    assert {file["path"] for file in crawled.files} == {NAME}
    assert (crawled.report.wanted, crawled.report.new, crawled.report.present) == (1, 1, 0)


@pytest.mark.parametrize("plain_first", [True, False])
def test_one_that_is_wanted_with_and_without_a_name_of_its_own_is_fetched_once(crawl, origin, plain_first):
    url = origin.add("/a.jpg", BODY, content_type="image/jpeg", delay_s=0.1)
    items = [item_of(url), item_of(url, filename="named.jpg")]
    crawled = crawl(*(items if plain_first else reversed(items)))
    assert asked(origin) == 1
    # The name that an item gives is there in any case; without one, any name will do.
    assert {file["path"] for file in crawled.files} == {"items/127.0.0.1/named.jpg", *([NAME] * plain_first)}
    assert [len(item["files"]) for item in crawled.items] == [1, 1]
    assert (crawled.report.wanted, crawled.report.new, crawled.report.present) == (2, 1, 1)


def test_two_items_do_not_share_what_they_are_told(crawl, url):
    first, second = crawl(item_of(url), item_of(url)).items
    first["files"][0]["path"] = "changed"
    assert second["files"][0]["path"] == NAME


def test_the_order_of_the_files_is_the_order_of_the_urls(crawl, origin):
    urls = [
        origin.add(f"/{number}.jpg", BODY, content_type="image/jpeg", delay_s=0.02 * (5 - number))
        for number in range(5)
    ]
    assert [file["url"] for file in crawl(item_of(*urls)).files] == urls


@pytest.mark.parametrize("fault", [status(404, times=None), status(403, times=None)], ids=["404", "403"])
def test_a_failure_is_not_repeated_within_a_run(crawl, origin, url, fault):
    origin.fault("/a.jpg", fault)
    crawled = crawl(item_of(url), item_of(url, url), item_of(url))
    assert asked(origin) == 1
    assert crawled.report.failed == 1
    assert [len(item["file_errors"]) for item in crawled.items] == [1, 2, 1]
    assert len({error["reason"] for error in crawled.errors}) == 1


@pytest.mark.parametrize("fault", [status(404), status(410)], ids=["404", "410"])
def test_what_is_gone_for_good_is_not_asked_for_by_the_next_run(crawl, origin, url, fault):
    origin.fault("/a.jpg", fault)
    crawl(item_of(url))
    second = crawl(item_of(url))
    assert asked(origin) == 1
    assert second.status == 1
    assert "known, not asked for again before" in second.errors[0]["reason"]
    third = crawl(item_of(url), settings={"MEDIACRAWL_RETRY_PERMANENT_DAYS": 0})
    assert asked(origin) == 2
    assert third.status == 0


@pytest.mark.parametrize(
    "fault",
    [status(403), status(500, times=5), drop_after(10, times=5), html_instead()],
    ids=["403", "500", "broken", "html"],
)
def test_what_may_be_there_again_is_asked_for_by_the_next_run(crawl, origin, url, fault):
    origin.fault("/a.jpg", fault)
    assert crawl(item_of(url)).status == 1
    origin.forget()
    second = crawl(item_of(url))
    assert second.status == 0
    assert second.store == {NAME: sha256(BODY)}


def test_a_file_that_expired_is_revalidated_and_304_costs_no_body(crawl, origin, url, tmp_path):
    crawl(item_of(url))
    before = (tmp_path / "store" / NAME).stat()
    origin.forget()
    crawled = crawl(item_of(url), settings={"FILES_EXPIRES": 0})
    (request,) = origin.requests_for("/a.jpg")
    assert request.headers["if-none-match"]
    assert (request.status, request.body_bytes_sent) == (304, 0)
    assert crawled.files == [{"url": url, "path": NAME, "checksum": sha256(BODY), "status": "uptodate"}]
    after = (tmp_path / "store" / NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (crawled.report.present, crawled.report.new) == (1, 0)


def pass_days(store, days):
    """As if all that the ledger knows were older by that."""
    with contextlib.closing(sqlite3.connect(store / ".mediacrawl" / "ledger.sqlite3")) as db, db:
        db.execute(
            "UPDATE files SET checked_at = checked_at - ?, finished_at = finished_at - ?", (days * 86_400,) * 2
        )


@pytest.mark.parametrize("expires", [90, 30], ids=["by default", "as set"])
def test_a_file_is_good_for_so_many_days(crawl, origin, url, tmp_path, expires):
    settings = {"FILES_EXPIRES": 30} if expires == 30 else {}
    crawl(item_of(url), settings=settings)
    for days, asks in ((expires - 1, 1), (2, 2)):
        pass_days(tmp_path / "store", days)
        crawl(item_of(url), settings=settings)
        assert asked(origin) == asks


def test_after_a_304_the_file_is_good_for_so_many_days_again(crawl, origin, url, tmp_path):
    crawl(item_of(url))
    for days, asks in ((91, 2), (89, 2), (2, 3)):
        pass_days(tmp_path / "store", days)
        crawl(item_of(url))
        assert asked(origin) == asks
    assert origin.bytes_sent("/a.jpg") == len(BODY)


def test_a_file_that_changed_replaces_the_old_one_under_its_name(crawl, origin, url):
    crawl(item_of(url))
    newer = b"\0new" * 2000
    origin.replace("/a.jpg", newer)
    crawled = crawl(item_of(url), settings={"FILES_EXPIRES": 0})
    assert crawled.store == {NAME: sha256(newer)}
    assert [file["status"] for file in crawled.files] == ["downloaded"]


def test_a_newer_version_that_does_not_arrive_leaves_the_old_one(crawl, origin, url):
    crawl(item_of(url))
    origin.replace("/a.jpg", b"\0new" * 2000)
    origin.fault("/a.jpg", status(403))
    crawled = crawl(item_of(url), settings={"FILES_EXPIRES": 0})
    assert crawled.status == 1
    assert crawled.store == {NAME: sha256(BODY)}


@pytest.mark.parametrize("damage", ["deleted", "truncated", "grown"])
def test_a_file_that_is_damaged_on_the_disk_is_fetched_again(crawl, origin, url, tmp_path, damage):
    crawl(item_of(url))
    path = tmp_path / "store" / NAME
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(BODY[:-1] if damage == "truncated" else BODY + b"x")
    crawled = crawl(item_of(url))
    assert [file["status"] for file in crawled.files] == ["downloaded"]
    assert crawled.store == {NAME: sha256(BODY)}
    assert asked(origin) == 2


def test_redirects_are_followed_only_where_they_are_allowed(crawl, origin, url):
    moved = origin.redirect("/old.jpg", "/a.jpg")
    refused = crawl(item_of(moved), settings={"MEDIA_ALLOW_REDIRECTS": False})
    assert refused.errors == [{"url": moved, "reason": "HTTP 302 Found"}]
    assert asked(origin) == 0
    followed = crawl(item_of(moved), settings={"MEDIA_ALLOW_REDIRECTS": True})
    assert [file["checksum"] for file in followed.files] == [sha256(BODY)]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_each_kind_of_redirect_leads_to_the_file(crawl, origin, url, code):
    crawled = crawl(item_of(origin.redirect("/old", "/a.jpg", code)))
    assert [file["checksum"] for file in crawled.files] == [sha256(BODY)]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/loop.jpg", "redirect loop"),
        ("file:///etc/passwd", "redirect to file: is refused"),
        ("ftp://example.org/a.jpg", "redirect to ftp: is refused"),
        ("http://me:secret@127.0.0.1:0/a.jpg", "not an http, https, ftp or ftps URL"),
        ("http://[broken/", "not an http, https, ftp or ftps URL"),
    ],
)
def test_a_redirect_to_where_we_do_not_go_fails_with_one_line(crawl, origin, caplog, target, says):
    url = origin.redirect("/loop.jpg", target)
    crawled = crawl(item_of(url))
    (error,) = crawled.errors
    assert error["url"] == url
    assert says in error["reason"]
    assert "secret" not in caplog.text
    assert crawled.store == {}


def test_a_host_name_that_does_not_exist_fails_with_one_line(crawl, caplog):
    (error,) = crawl(item_of("http://no-such-host.invalid/a.jpg")).errors
    assert error["url"] == "http://no-such-host.invalid/a.jpg"
    assert "\n" not in error["reason"]
    assert not [record for record in caplog.records if record.exc_info]


def test_the_media_key_says_which_file_it_is_where_urls_are_signed(crawl, origin, url):
    def media_key(_self, url):
        return url.partition("?")[0]

    crawl(item_of(f"{url}?signature=1"), media_key=media_key)
    second = crawl(item_of(f"{url}?signature=2"), media_key=media_key)
    assert len(origin.requests) == 2  # robots.txt and the file
    assert [file["status"] for file in second.files] == ["uptodate"]


def test_two_files_of_one_name_are_both_kept_and_keep_their_names(crawl, origin):
    one = origin.add("/1/cover.jpg", b"\1" * 100, content_type="image/jpeg")
    two = origin.add("/2/cover.jpg", b"\2" * 100, content_type="image/jpeg")
    first = crawl(item_of(one, two)).store
    assert set(first.values()) == {sha256(b"\1" * 100), sha256(b"\2" * 100)}
    assert crawl(item_of(two, one), settings={"FILES_EXPIRES": 0}).store == first


def test_media_larger_than_the_maximal_size_fail_and_leave_nothing(crawl, origin, url, tmp_path):
    crawled = crawl(item_of(url), settings={"DOWNLOAD_MAXSIZE": 1000})
    assert "larger than the maximal 1000 bytes" in crawled.errors[0]["reason"]
    assert (crawled.store, parts_in(tmp_path / "store")) == ({}, [])


def test_an_empty_file_is_a_file(crawl, origin):
    url = origin.add("/a.jpg", b"", content_type="image/jpeg")
    assert crawl(item_of(url)).store == {NAME: sha256(b"")}


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_a_digest_that_is_none_fails_that_file_and_no_other(crawl, origin, url, name):
    other = origin.add("/b.jpg", BODY, content_type="image/jpeg")
    crawled = crawl(item_of(url, **{name: "beef"}), item_of(other))
    assert (crawled.status, crawled.store) == (1, {"items/127.0.0.1/b.jpg": sha256(BODY)})
    assert crawled.errors == [{"url": url, "reason": f"{name} is not a digest in hex: 'beef'"}]
    assert origin.requests_for("/a.jpg") == []

from __future__ import annotations

import gzip
import hashlib
import json

import pytest
from crawling import basic_auth, run, sha256
from origin import require_header

from mediacrawl.errors import UsageProblem
from mediacrawl.spiders.urllist import UrlListSpider

A, B = b"\1" * 2000, b"\2" * 3000


@pytest.fixture
def site(origin):
    origin.add("/a.jpg", A, content_type="image/jpeg")
    origin.add("/b.jpg", B, content_type="image/jpeg")
    return origin


@pytest.fixture(params=["all", "none"], ids=["as items", "in bulk"])
def crawl(crawls, tmp_path, request):
    """Both ways of a line: what it does must not depend on which it takes."""

    def crawl(text, **more):
        path = tmp_path / "list"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return crawls.crawl(tmp_path, UrlListSpider, file=str(path), items=request.param, **more)

    crawl.as_items = request.param == "all"
    return crawl

    return crawl


def in_names(crawled):
    return {path.rpartition("/")[2]: digest for path, digest in crawled.store.items()}


def media(origin):
    return [request for request in origin.requests if request.path != "/robots.txt"]


@pytest.mark.parametrize(
    "text",
    [
        "{a}\n{b}\n",
        "# two files\n\n{a}\r\n  {b}  ",
        "url\n{a}\n{b}\n",
        'filename,url\n,{a}\n"",{b}\n',
        "url;note\n{a};one\n{b};two\n",
        '{{"url": "{a}"}}\n{{"url": "{b}", "filename": null}}\n',
    ],
    ids=["plain", "comments", "one column", "comma", "semicolon", "json lines"],
)
def test_each_format_brings_each_file(crawl, site, text):
    crawled = crawl(text.format(a=site.url("/a.jpg"), b=site.url("/b.jpg")))
    assert crawled.status == 0
    assert in_names(crawled) == {"a.jpg": sha256(A), "b.jpg": sha256(B)}


def test_a_list_comes_from_standard_input_too(site, tmp_path):
    done = run(
        tmp_path, "crawl", "urllist", "-a", "file=-", stdin=f"{site.url('/a.jpg')}\n{site.url('/b.jpg')}\n".encode()
    )
    assert done.status == 0, str(done)
    assert set(done.store.values()) == {sha256(A), sha256(B)}


def test_the_list_says_under_which_name_a_file_is_kept(crawl, site):
    crawled = crawl(f"url,filename\n{site.url('/a.jpg')},Am See.jpg\n{site.url('/b.jpg')},../../etc/月.jpg\n")
    assert in_names(crawled) == {"Am See.jpg": sha256(A), "月.jpg": sha256(B)}
    assert set(crawled.store) == {"urllist/127.0.0.1/Am See.jpg", "urllist/127.0.0.1/月.jpg"}


def test_two_urls_that_are_given_one_name_are_both_kept(crawl, site):
    crawled = crawl(f"url,filename\n{site.url('/a.jpg')},x.jpg\n{site.url('/b.jpg')},x.jpg\n")
    assert set(crawled.store.values()) == {sha256(A), sha256(B)}


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_a_digest_that_is_right_changes_nothing(crawl, site, name):
    crawled = crawl(f"url,{name}\n{site.url('/a.jpg')},{hashlib.new(name, A).hexdigest()}\n")
    assert crawled.status == 0
    assert in_names(crawled) == {"a.jpg": sha256(A)}


def test_the_digest_of_a_gz_file_that_is_labelled_gzip_is_that_of_what_was_sent(crawl, site):
    packed = gzip.compress(A, mtime=0)
    url = site.add("/download", packed, headers={"Content-Encoding": "gzip"})
    crawled = crawl(f"url,sha256\n{url},{sha256(packed)}\n")
    assert (crawled.status, set(crawled.store.values())) == (0, {sha256(packed)})


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_a_digest_that_is_wrong_fails_that_file_with_the_reason_and_no_other(crawl, site, name):
    wrong = hashlib.new(name, b"another").hexdigest()
    crawled = crawl(f"url,{name}\n{site.url('/a.jpg')},{wrong}\n{site.url('/b.jpg')},\n")
    assert crawled.status == 1
    assert in_names(crawled) == {"b.jpg": sha256(B)}
    if crawl.as_items:
        (error,) = crawled.errors
        assert error["url"] == site.url("/a.jpg")
        assert wrong in error["reason"]
    assert any(wrong in example for example in crawled.report.examples)
    assert len(site.requests_for("/a.jpg")) == 2  # once more, as the bytes may have been damaged on the way


def test_referer_and_headers_of_a_line_are_sent_with_its_request(crawl, site):
    line = {
        "url": site.url("/a.jpg"),
        "referer": "http://127.0.0.1/page",
        "headers": {"X-Key": "7", "User-Agent": "u"},
    }
    assert crawl(f"{json.dumps(line)}\n{json.dumps({'url': site.url('/b.jpg')})}\n").status == 0
    (a,), (b,) = site.requests_for("/a.jpg"), site.requests_for("/b.jpg")
    assert (a.headers["referer"], a.headers["x-key"], a.headers["user-agent"]) == ("http://127.0.0.1/page", "7", "u")
    assert not {"referer", "x-key"} & b.headers.keys()


def test_user_and_password_of_a_line_are_sent_and_show_nowhere(crawl, site, tmp_path, caplog):
    site.fault("/a.jpg", require_header("Authorization", basic_auth("me", "secret")))
    with caplog.at_level("DEBUG"):
        crawled = crawl(site.url("/a.jpg").replace("//", "//me:secret@"))
    assert crawled.status == 0
    if crawl.as_items:
        assert crawled.items[0]["file_urls"] == [crawled.files[0]["url"]] == [site.url("/a.jpg")]
    assert crawled.report.new == 1
    (tmp_path / "list").unlink()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for text in (caplog.text, str(crawled.items), written.decode("latin-1")):
        assert "secret" not in text
        assert "Basic" not in text


def test_a_bad_line_is_told_with_its_number_and_the_rest_goes_on(crawl, site, caplog, capsys):
    crawled = crawl(
        f"{site.url('/a.jpg')}\nexample.org/x.jpg\n\ngopher://me:secret@example.org/x\n{site.url('/b.jpg')}\n"
    )
    assert crawled.status == 1
    assert crawled.report.failed == 2
    assert in_names(crawled) == {"a.jpg": sha256(A), "b.jpg": sha256(B)}
    bad = [record.getMessage() for record in caplog.records if "Bad line" in record.getMessage()]
    assert [line.partition("list:")[2][:2] for line in bad] == ["2:", "4:"]
    assert "secret" not in caplog.text
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        '{"url": 7}',
        '{"url": "A", "sha256": "12"}',
        '{"url": "A", "headers": "x"}',
        '{"url": "A", "headers": {"X": "1\\r\\nY: 2"}}',
    ],
)
def test_a_line_of_json_that_is_wrong_is_one_bad_line(crawl, site, line):
    good = json.dumps({"url": site.url("/b.jpg")})
    crawled = crawl(f"{good}\n{line.replace('A', site.url('/a.jpg'))}\n{good}\n")
    assert crawled.report.failed == 1
    assert [request.path for request in media(site)] == ["/b.jpg"]


def test_a_second_run_of_the_list_asks_the_sites_nothing(crawl, site):
    text = f"{site.url('/a.jpg')}\n{site.url('/b.jpg')}\n"
    crawl(text)
    site.forget()
    second = crawl(text)
    assert (second.status, second.report.present, site.requests) == (0, 2, [])


def test_a_list_longer_than_what_may_be_under_way_ends(crawl, site):
    """The places of start items are given back, also by items that failed or were dropped."""
    urls = [site.add(f"/{number}.jpg", b"\1" * 10, content_type="image/jpeg") for number in range(150)]
    missing = [site.url(f"/missing-{number}.jpg") for number in range(100)]
    crawled = crawl("\n".join([*urls, *missing]))
    assert (crawled.report.new, crawled.report.failed, crawled.status) == (150, 100, 1)


@pytest.mark.parametrize("file", ["", "missing.txt", "."])
def test_a_list_that_cannot_be_read_is_refused_at_once(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageProblem) as caught:
        UrlListSpider(file=file)
    assert "\n" not in str(caught.value)

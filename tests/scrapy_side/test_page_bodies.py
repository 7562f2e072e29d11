"""Bodies of pages: those of which only the beginning has arrived, broken ones, and encodings that are none."""

from __future__ import annotations

import gzip
import zlib
from urllib.parse import unquote

import pytest
from origin import Answer
from scrapy.utils import _compression

from mediacrawl import Addon
from mediacrawl.crawl.page_body import is_complete
from mediacrawl.spiders.site import SiteSpider

PNG = b"\x89PNG\r\n\x1a\n"
QUICK = {"ADDONS": {Addon: 500}, "RETRY_TIMES": 0}
PAGE = '<img src="a.png"><p>é</p>'.encode() + b"".join(b"<p>%d" % (number * 7919) for number in range(20_000))


def _raw_deflate(data):
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": _raw_deflate,
    "br": _compression.brotli.compress,
    "zstd": _compression.zstd.compress,
}


@pytest.mark.parametrize("name", CODINGS)
def test_a_body_is_complete_or_not(name):
    coding = name.removeprefix("raw ")
    for page in (b"x", b"<p>", PAGE):
        whole = CODINGS[name](page)
        assert is_complete(whole, coding)
        assert coding == "br" or is_complete(whole + b"\0\0", coding)
        assert not is_complete(whole[: len(whole) // 2], coding)
    assert is_complete(b"anything", "identity")


def test_the_checksum_of_a_complete_body_does_not_matter():
    whole = gzip.compress(PAGE)
    assert is_complete(whole[:-8] + b"12345678", "gzip")


def test_a_truncated_page_is_read_and_told_and_a_broken_one_is_told(crawls, origin, tmp_path):
    for name, compress in CODINGS.items():
        coding, whole = name.removeprefix("raw "), compress(PAGE)
        for kind, body in (("half", whole[: len(whole) // 2]), ("whole", whole), ("broken", b"no" * 100)):
            site = f"/{name.replace(' ', '-')}/{kind}"
            fields = [("Content-Type", "text/html; charset=utf-8"), ("Content-Encoding", coding)]
            origin.on(f"{site}/", lambda _request, fields=fields, body=body: Answer(200, list(fields), body))
            origin.add(f"{site}/a.png", PNG + site.encode(), content_type="image/png")
    urls = [
        origin.url(f"/{name.replace(' ', '-')}/{kind}/") for name in CODINGS for kind in ("half", "whole", "broken")
    ]
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=" ".join(urls))
    assert (crawled.status, crawled.report.pages_failed) == (1, 2 * len(CODINGS))
    assert crawled.report.pages.read == len(CODINGS), "a page is read or could not be read, never both"
    assert len(crawled.store) == 2 * len(CODINGS) - 1  # zstd has one block
    assert crawled.report.reasons["page: only the beginning of the page has arrived"] == len(CODINGS)
    assert crawled.report.reasons["page: Content-Encoding zstd cannot be decoded"] == 1


LABELS = (
    "utf-32",
    "unicode_escape",
    "punycode",
    "base64",
    "idna",
    "undefined",
    "rot13",
    "utf-7",
    "hex",
    "zlib",
    "cp437",
)


def test_labels_that_are_not_of_the_web_are_ignored(crawls, origin, tmp_path):
    text = '<img src="é.png"><p>\\x41 <a rel="next" href="2">n</a>'
    urls = []
    for label in LABELS:
        for way in ("header", "meta", "both", "latin"):
            kind = f"text/html; charset={label}" if way in {"header", "both"} else "text/html"
            meta = {"header": "", "both": '<meta charset="utf-8">'}.get(way, f'<meta charset="{label}">')
            body = (meta + text).encode("latin-1" if way == "latin" else "utf-8")
            urls.append(f"/{label}/{way}/")
            origin.on(urls[-1], lambda _r, kind=kind, body=body: Answer(200, [("Content-Type", kind)], body))
            origin.add(f"{urls[-1]}%C3%A9.png", PNG + urls[-1].encode(), content_type="image/png")
            origin.page(f"{urls[-1]}2", "<p>second")
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=" ".join(map(origin.url, urls)))
    found = {url for item in crawled.items for url in item["file_urls"]}
    assert found == {origin.url(f"{url}%C3%A9.png") for url in urls}
    assert (crawled.status, crawled.report.pages.read) == (0, 2 * len(urls))


def test_an_encoding_of_the_web_is_heeded(crawls, origin, tmp_path):
    words = {
        "windows-1251": "ж",
        "shift_jis": "あ",
        "gb2312": "中",
        "utf-16": "é",
        "koi8-u": "ж",
        "x-mac-cyrillic": "ж",
    }
    for label, word in words.items():
        body = f'<img src="{word}.png">'.encode("utf-16-le" if label == "utf-16" else label.removeprefix("x-"))
        kind = f"text/html; charset={label}"
        origin.on(f"/{label}/", lambda _r, kind=kind, body=body: Answer(200, [("Content-Type", kind)], body))
    urls = " ".join(origin.url(f"/{label}/") for label in words)
    crawled = crawls.crawl(tmp_path, SiteSpider, QUICK, url=urls)
    found = {unquote(url).rsplit("/", 2)[1]: unquote(url)[-5] for item in crawled.items for url in item["file_urls"]}
    assert found == words

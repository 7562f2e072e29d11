"""Files of FTP servers in a crawl: links of pages to them, and the rules of their robots.txt."""

from __future__ import annotations

import pytest
from certificates import Authority
from ftp_origin import FtpOrigin

from mediacrawl.spiders.site import SiteSpider

JPEG = b"\xff\xd8\xff" + bytes(1000)
RULES = b"User-agent: *\nDisallow: /private/\n"


@pytest.fixture
def crawl(crawls, tmp_path, origin):
    def crawl(*links, **settings):
        links = "".join(f'<a href="{link}">x</a>' for link in links)
        origin.page("/", f'{links}<a rel=next href="ftp://127.0.0.1:1/next">next</a>')
        return crawls.crawl(tmp_path, SiteSpider, {"ROBOTSTXT_OBEY": True} | settings, url=origin.url("/"))

    return crawl


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_links_of_pages_lead_to_files_that_robots_txt_allows(crawl, tmp_path, is_encrypted):
    authority = Authority(tmp_path)
    authority.context("127.0.0.1")
    certificate = tmp_path / "server1.pem" if is_encrypted else None
    scheme = "ftps" if is_encrypted else "ftp"
    with FtpOrigin(tmp_path / "ftp", certificate=certificate, tls_required=is_encrypted) as ftp:
        (ftp.folder / "robots.txt").write_bytes(RULES)
        public = ftp.add("public/a b.jpg", JPEG, scheme=scheme)
        private = ftp.add("private/b.jpg", JPEG, scheme=scheme)
        crawled = crawl(public, private, MEDIACRAWL_VERIFY_TLS=str(authority.file))
        assert [file["url"] for file in crawled.files] == [public]
        assert [error["reason"] for error in crawled.errors] == ["Forbidden by robots.txt"]
        assert ftp.asked("RETR") == ["robots.txt", "public/a b.jpg"]


def test_a_server_without_robots_txt_forbids_nothing(crawl, tmp_path):
    with FtpOrigin(tmp_path / "ftp") as ftp:
        crawled = crawl(ftp.add("a.jpg", JPEG))
        assert (crawled.status, len(crawled.store)) == (0, 1)
        assert ftp.asked("USER") != []

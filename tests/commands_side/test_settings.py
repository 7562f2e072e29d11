"""Settings on the command line: each command refuses a name that does not exist, before it does anything."""

import pytest
from crawling import run

WRONG = ("-s", "MEDIACRAWL_STAL_S=3")


@pytest.fixture
def url(origin, tmp_path):
    url = origin.add("/a.jpg", b"\xff\xd8\xff", content_type="image/jpeg")
    (tmp_path / "list.txt").write_text(url)
    return url


def assert_refused(done, origin):
    assert done.status == 2, str(done)
    lines = [line for line in done.err.splitlines() if "MEDIACRAWL_STAL_S" in line]
    assert 1 <= len(lines) <= 2, str(done)  # a crawl says it in its log, and in its summary
    assert all("the nearest one is MEDIACRAWL_STALL_S" in line for line in lines)
    assert (origin.requests, done.store) == ([], {})


@pytest.mark.parametrize(
    "words",
    [
        ("get", "{url}"),
        ("get", "-i", "list.txt"),
        ("crawl", "urllist", "-a", "file=list.txt"),
        ("crawl", "site", "-a", "url={url}"),
        ("retry",),
        ("status",),
        ("verify",),
        ("verify", "--repair"),
        ("manifest",),
        ("forget", "{url}"),
    ],
    ids=" ".join,
)
def test_a_setting_that_does_not_exist_is_refused_with_the_nearest_one(command, origin, url, words):
    assert_refused(command(*(word.format(url=url) for word in words), *WRONG), origin)


def test_a_crawl_in_a_process_of_its_own_refuses_it_too(origin, tmp_path, url):
    assert_refused(run(tmp_path, "crawl", "urllist", "-a", "file=list.txt", *WRONG), origin)


VALUES = {
    "CONCURRENT_REQUESTS_PER_DOMAIN=abc": "must be a number",
    "DOWNLOAD_DELAY=soon": "must be a number",
    "ROBOTSTXT_OBEY=maybe": "must be True or False",
    "MEDIACRAWL_FSYNC=maybe": "must be True or False",
    "FILES_EXPIRES=soon": "must be a number",
    "FILES_EXPIRES=0.5": "must be a whole number",
    "FILES_EXPIRES=5.0": "must be a whole number",  # Scrapy cannot read it
    "MEDIACRAWL_VERIFY_TLS=/no/such.pem": "must be True, False, or the path of",
}


@pytest.mark.parametrize("setting", VALUES)
@pytest.mark.parametrize(
    "words",
    [("get", "-i", "list.txt"), ("status",), ("crawl", "urllist", "-a", "file=list.txt"), ("retry",)],
    ids=" ".join,
)
def test_a_value_that_cannot_be_used_is_refused_in_one_line(command, origin, url, words, setting):
    done = command(*words, "-s", setting)
    assert done.status == 2, str(done)
    assert f"{setting} {VALUES[setting]}" in done.lines[-1]
    assert (origin.requests, done.store) == ([], {})


def test_without_sha256_a_file_has_none_and_verify_looks_at_its_size(command, url, tmp_path):
    off = ("-s", "MEDIACRAWL_SHA256=False")
    assert command("get", url, *off).status == 0
    assert '"sha256": null' in command("manifest").out
    assert command("verify").status == 0
    (path,) = (tmp_path / "store").rglob("a.jpg")
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in command("verify").out
    assert command("get", url, *off).status == 0
    assert path.read_bytes() == b"\xff\xd8\xff"

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
    [("get", "{url}"), ("get", "-i", "list.txt"), ("status",), ("verify",), ("manifest",), ("forget", "{url}")],
    ids=" ".join,
)
def test_a_setting_that_does_not_exist_is_refused_with_the_nearest_one(command, origin, url, words):
    assert_refused(command(*(word.format(url=url) for word in words), *WRONG), origin)


@pytest.mark.parametrize(
    "words",
    [
        ("crawl", "urllist", "-a", "file=list.txt"),
        pytest.param(("crawl", "site", "-a", "url={url}"), marks=pytest.mark.slow),
        ("retry",),
        pytest.param(("verify", "--repair"), marks=pytest.mark.slow),
    ],
)
def test_a_crawl_refuses_it_too(origin, tmp_path, url, words):
    assert_refused(run(tmp_path, *(word.format(url=url) for word in words), *WRONG), origin)


VALUES = {
    "CONCURRENT_REQUESTS_PER_DOMAIN=abc": "must be a number",
    "DOWNLOAD_DELAY=soon": "must be a number",
    "ROBOTSTXT_OBEY=maybe": "must be True or False",
    "MEDIACRAWL_VERIFY_TLS=/no/such.pem": "must be True, False, or the path of",
}


@pytest.mark.parametrize("setting", VALUES)
@pytest.mark.parametrize("words", [("get", "-i", "list.txt"), ("status",)], ids=" ".join)
def test_a_value_that_cannot_be_used_is_refused_in_one_line(command, origin, url, words, setting):
    done = command(*words, "-s", setting)
    assert done.status == 2, str(done)
    assert f"{setting} {VALUES[setting]}" in done.lines[-1]
    assert (origin.requests, done.store) == ([], {})


@pytest.mark.parametrize("setting", ["DOWNLOAD_DELAY=soon", "MEDIACRAWL_VERIFY_TLS=/no/such.pem"])
def test_a_crawl_refuses_such_a_value_too(origin, tmp_path, url, setting):
    done = run(tmp_path, "crawl", "urllist", "-a", "file=list.txt", "-s", setting)
    assert done.status == 2, str(done)
    assert f"{setting} {VALUES[setting]}" in done.lines[-1]
    assert (origin.requests, done.store) == ([], {})

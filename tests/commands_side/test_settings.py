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


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "mediacrawl_block_private=True",
            "there is no setting mediacrawl_block_private; the nearest one is MEDIACRAWL_B",
        ),
        (
            "MEDIACRAWL_PAGE_MEMORY_LIMIT=1",
            "MEDIACRAWL_PAGE_MEMORY_LIMIT=1 must be 0, or 67108864 bytes (64 MiB) or more",
        ),
        ("MEDIACRAWL_TRANSPORT=wget", "MEDIACRAWL_TRANSPORT=wget: must be requests or curl"),
    ],
)
@pytest.mark.parametrize("words", [("get", "{url}"), ("crawl", "site", "-a", "url={url}"), ("retry",)], ids=" ".join)
def test_what_is_wrong_with_a_setting_is_the_only_line(command, origin, url, words, setting, said):
    done = command(*(word.format(url=url) for word in words), "-s", setting)
    assert done.status == 2, str(done)
    assert said in done.lines[-1]
    assert "resumed" not in done.err
    assert (origin.requests, done.store) == ([], {})


def test_a_crawl_without_a_connection_to_a_host_is_refused_at_once(command, origin, url):
    done = command("crawl", "site", "-a", f"url={url}", "-s", "CONCURRENT_REQUESTS_PER_DOMAIN=0")
    assert (done.status, len(done.err.splitlines())) == (2, 1), str(done)


def test_an_option_that_does_not_exist_is_told_as_one(command, url):
    done = command("get", url, "--user-agnt", "x")
    assert done.status == 2
    assert "there is no option --user-agnt" in done.err


@pytest.mark.parametrize("words", [("get", "{url}"), ("status",), ("verify",), ("crawl", "site", "-a", "url={url}")])
def test_a_file_in_the_place_of_the_store_or_the_job_is_told_as_one(command, url, tmp_path, words):
    (tmp_path / "a-file").touch()
    words = [word.format(url=url) for word in words]
    place = ("-s", "JOBDIR=a-file/job") if "crawl" in words else ("-s", "FILES_STORE=a-file")
    done = command(*words, *place)
    assert done.status == 4, str(done)
    assert "a-file is a file, not a folder" in done.lines[-1]


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

"""`mediacrawl get|status|genspider …`, most of them called in this process, as they need no reactor."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from crawling import BIG, STALLS_AT, basic_auth, item_of, items_spider, run, sha256, start
from origin import limit_per_connection, require_header, stall_after, status

import mediacrawl
from mediacrawl.spiders.site import SiteSpider

PACKAGE = Path(mediacrawl.__file__).parent
BODY = b"\xff\xd8\xff" + b"j" * 3997
JPEG = "image/jpeg"


@pytest.fixture
def url(origin):
    return origin.add("/a.jpg", BODY, content_type=JPEG)


# --- get --------------------------------------------------------------------------------------------


def test_get_puts_the_file_into_the_store_and_prints_where_it_is(command, url, tmp_path):
    done = command("get", url)
    assert (done.status, done.store) == (0, {"get/127.0.0.1/a.jpg": sha256(BODY)})
    assert done.out == f"{tmp_path}/store/get/127.0.0.1/a.jpg (4.00kB)\n"
    assert done.err == ""


def test_get_of_what_is_there_asks_nobody(command, origin, url, tmp_path):
    command("get", url)
    origin.forget()
    done = command("get", url)
    assert (done.status, origin.requests) == (0, [])
    assert done.out == f"already there: {tmp_path}/store/get/127.0.0.1/a.jpg\n"


@pytest.mark.parametrize("name", ["song.jpg", "talks/2024/Am See.jpg"])
def test_get_names_the_file_as_it_is_told(command, url, name):
    assert command("get", "-o", name, url).store == {name: sha256(BODY)}


def test_get_sends_what_it_is_told(command, origin, url):
    command(
        "get", "-U", "me/1", "--referer", "http://127.0.0.1/x", "--cookie", "a=1", "--cookie", "b=2",
        "--header", "X-Key: 7", "--header", "Accept:image/*", url,
    )  # fmt: skip
    headers = origin.requests[0].headers
    assert headers["user-agent"] == "me/1"
    assert headers["referer"] == "http://127.0.0.1/x"
    assert headers["cookie"] == "a=1; b=2"
    assert (headers["x-key"], headers["accept"]) == ("7", "image/*")


def test_get_sends_the_cookies_of_a_file_to_their_hosts(command, origin, url, tmp_path):
    host, port = "127.0.0.1", url.rpartition(":")[2].partition("/")[0]
    lines = [f"{host}\tFALSE\t/\tFALSE\t0\tsid\ts3cr3t", "localhost\tFALSE\t/\tFALSE\t0\tother\t1"]
    (tmp_path / "cookies.txt").write_text("# Netscape HTTP Cookie File\n" + "\n".join(lines))
    moved = origin.redirect("/moved.jpg", f"http://localhost:{port}/a.jpg")
    done = command("get", "--cookies", "cookies.txt", "--cookie", "sid=mine", url, moved)
    assert [request.headers["cookie"] for request in origin.requests_for("/moved.jpg")] == ["sid=mine"]
    assert {request.headers["cookie"] for request in origin.requests_for("/a.jpg")} == {"sid=mine", "other=1"}
    assert "s3cr3t" not in done.out + done.err
    command("get", "--cookies", "cookies.txt", origin.add("/b.jpg", BODY, content_type="image/jpeg"))
    assert [request.headers["cookie"] for request in origin.requests_for("/b.jpg")] == ["sid=s3cr3t"]
    for path in (tmp_path / "store").rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes()


def test_a_file_with_a_key_is_known_by_it_to_every_command(command, origin, url):
    assert command("get", "--key", "pic@7", f"{url}?sig=1").status == 0
    origin.forget()
    done = command("get", "--key", "pic@7", f"{url}?sig=2")
    assert (done.status, origin.requests) == (0, [])
    assert "already there" in done.out
    assert json.loads(command("manifest").out)["key"] == "pic@7"
    assert command("forget", "pic@7").out.startswith("forgotten: ")


def test_a_failure_with_a_key_is_retried_with_the_newest_url(command, origin, url, tmp_path):
    gone = origin.url("/gone.jpg")
    assert command("get", "--key", "pic", gone + "?1").status == 1
    assert json.loads(command("status", "--failed", "--json").out)["key"] == "pic"
    origin.fault("/a.jpg", status(503, times=1))
    assert command("get", "-s", "MEDIACRAWL_RETRY_TIMES=0", "--key", "pic", url).status == 1
    assert run(tmp_path, "retry").status == 0
    assert json.loads(command("manifest").out)["url"] == url
    assert command("status", "--failed").out == ""


def test_a_dead_link_is_forgotten_once_a_fresh_one_brings_its_file(command, origin, url):
    for link in ("?sig=1", "?sig=2"):
        origin.fault("/a.jpg", status(403))
        assert command("get", "-o", "mine.jpg", url + link).status == 1
    other = origin.add("/b.jpg", BODY, content_type=JPEG, faults=[status(403)])
    assert command("get", "-o", "mine.jpg", other).status == 1
    assert command("get", "-o", "mine.jpg", url + "?sig=3").store == {"mine.jpg": sha256(BODY)}
    assert command("status", "--failed").out.startswith(f"{other}: HTTP 403")
    assert command("status").out.startswith("done 1 (4.00kB), partial 0, pending 0, failed 1")


def test_a_retry_names_the_file_as_get_was_told(command, origin, url, tmp_path):
    origin.fault("/a.jpg", status(403))
    assert command("get", "-o", "mine/a.jpg", url).status == 1
    assert run(tmp_path, "retry").store == {"mine/a.jpg": sha256(BODY)}


def test_get_says_who_it_is(command, origin, url):
    command("get", url)
    assert origin.requests[0].headers["user-agent"].startswith("mediacrawl/")


def test_get_of_several_urls_brings_those_that_are_there_and_exits_with_1(command, origin, url):
    missing = origin.url("/missing.jpg")
    other = origin.add("/b.jpg", b"\0other", content_type=JPEG)
    done = command("get", url, missing, other, f"{url}#again")
    assert done.status == 1
    assert set(done.store.values()) == {sha256(BODY), sha256(b"\0other")}
    assert f"{missing}: HTTP 404 Not Found" in done.err
    assert [request.path for request in origin.requests].count("/a.jpg") == 1


def test_get_tries_again_what_failed(command, origin, url):
    origin.fault("/a.jpg", status(404), status(410))
    assert [command("get", url).status for _ in range(3)] == [1, 1, 0]


def test_get_sends_user_and_password_of_the_url_and_shows_them_nowhere(command, origin, url, tmp_path):
    origin.fault("/a.jpg", require_header("Authorization", basic_auth("me", "secret")))
    secret = url.replace("//", "//me:secret@")
    runs = [command("get", secret), command("get", secret.replace("a.jpg", "missing.jpg"))]
    assert [done.status for done in runs] == [0, 1]
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "secret" not in "".join(done.out + done.err for done in runs) + written.decode("latin-1")


def test_get_uses_several_connections_where_it_may(command, origin):
    url = origin.add("/b.mp4", BIG, content_type="video/mp4", faults=[limit_per_connection(12_000_000)])
    done = command("get", "-s", "MEDIACRAWL_SEGMENT_MIN_BYTES=1000000", "-n", "3", url)
    assert done.store == {"get/127.0.0.1/b.mp4": BIG.sha256()}
    assert 1 < origin.peak <= 4  # it may notice late that the first one has hung up, for the next to come


def test_get_uses_one_connection_where_it_is_told(command, origin):
    url = origin.add("/b.mp4", BIG, content_type="video/mp4", faults=[limit_per_connection(60_000_000)])
    done = command("get", "-s", "MEDIACRAWL_SEGMENT_MIN_BYTES=1000000", "-n", "1", url)
    assert done.store == {"get/127.0.0.1/b.mp4": BIG.sha256()}
    assert len(origin.requests) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "at least one URL"),
        (("example.org/a.jpg",), "example.org/a.jpg: not an http or https URL"),
        (("ftp://me:secret@example.org/a.jpg",), "ftp://example.org/a.jpg: not an http or https URL"),
        (("-o", "x", "http://127.0.0.1/1", "http://127.0.0.1/2"), "-o names a single file"),
        (("-n", "0", "http://127.0.0.1/1"), "-n must be between 1 and 16"),
        (("-n", "17", "http://127.0.0.1/1"), "-n must be between 1 and 16"),
        (("--header", "nonsense", "http://127.0.0.1/1"), "--header must be written as 'Name: value'"),
        (("--header", "X-Name: 漢字", "http://127.0.0.1/1"), "--header has letters that a header cannot carry"),
        (("--header", "X: a\nB: c", "http://127.0.0.1/1"), "--header must be a single line"),
        (("-U", "漢", "http://127.0.0.1/1"), "-U has letters that a header cannot carry"),
        (("--cookie", "nonsense", "http://127.0.0.1/1"), "--cookie must be written as NAME=VALUE"),
        (("--key", "x", "http://127.0.0.1/1", "http://127.0.0.1/2"), "--key names a single file"),
        (("--key", "x", "-i", "list"), "--key names a single file"),
        (("--cookies", "nowhere.txt", "http://127.0.0.1/1"), "--cookies nowhere.txt: cannot be read"),
        (("-n", "many", "http://127.0.0.1/1"), "-n must be between 1 and 16"),
        (("-s", "MEDIACRAWL_STALL_S=0", "http://127.0.0.1/1"), "MEDIACRAWL_STALL_S=0 must be more than 0"),
        (("-s", "MEDIACRAWL_RETRY_TIMES=x", "http://127.0.0.1/1"), "MEDIACRAWL_RETRY_TIMES=x must be a number"),
        (("-s", "FILES_EXPIRES=0.5", "http://127.0.0.1/1"), "FILES_EXPIRES=0.5 must be a whole number"),
        (("-s", "MEDIACRAWL_FSYNC=maybe", "http://127.0.0.1/1"), "MEDIACRAWL_FSYNC=maybe must be True or False"),
        (("-s", "MEDIACRAWL_SHA256=2.5", "http://127.0.0.1/1"), "MEDIACRAWL_SHA256=2.5 must be True or False"),
        (("-s", "DOWNLOAD_MAXSIZE=-1", "http://127.0.0.1/1"), "DOWNLOAD_MAXSIZE=-1 must be 0 or more"),
        (("-s", "MEDIACRAWL_CONCURRENT_TRANSFERS=0", "http://127.0.0.1/1"), "must be more than 0"),
        (("-s", "FILES_STORE=s3://bucket/x", "http://127.0.0.1/1"), "only a folder on this machine"),
    ],
)
def test_get_refuses_what_cannot_be_meant(command, words, says):
    done = command("get", *words)
    assert done.status == 2
    assert says in done.lines[-1]
    assert "secret" not in done.err
    assert done.store == {}


def test_get_says_what_stands_in_the_way_of_a_name_and_loses_nothing(command, origin, url, tmp_path):
    (tmp_path / "store" / "get").mkdir(parents=True)
    in_the_way = tmp_path / "store" / "get" / "127.0.0.1"
    in_the_way.write_text("mine")
    done = command("get", url)
    assert done.status == 1
    assert any("get/127.0.0.1/a.jpg cannot be a file's path" in line for line in done.lines), done.err
    in_the_way.unlink()
    assert command("get", url).store == {"get/127.0.0.1/a.jpg": sha256(BODY)}
    assert sum(request.body_bytes_sent for request in origin.requests) == len(BODY)


# --- status -----------------------------------------------------------------------------------------


@pytest.fixture
def mixed(crawls, origin, tmp_path, url):
    """A store with a file, one that is gone for good, one that failed for now."""
    origin.add("/later.jpg", BODY, content_type=JPEG, faults=[status(403, times=None)])
    urls = [url, origin.url("/gone.jpg").replace("//", "//me:secret@"), origin.url("/later.jpg")]
    crawls.crawl(tmp_path, items_spider(item_of(*urls)))
    return origin


def test_status_in_json_has_exactly_these_keys(command, mixed):
    done = command("status", "--json")
    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out) == {
        "done": 1,
        "partial": 0,
        "pending": 0,
        "failed": 2,
        "bytes": len(BODY),
        "uploads": 0,
    }


def test_status_of_what_failed_in_json_is_one_object_a_line(command, mixed):
    done = command("status", "--failed", "--json")
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {
            "url": mixed.url("/gone.jpg"),
            "reason": "HTTP 404 Not Found",
            "http_status": 404,
            "attempts": 1,
            "permanent": True,
        },
        {
            "url": mixed.url("/later.jpg"),
            "reason": "HTTP 403 Forbidden",
            "http_status": 403,
            "attempts": 1,
            "permanent": False,
        },
    ]


def test_status_for_a_person(command, mixed):
    assert command("status").out == "done 1 (4.00kB), partial 0, pending 0, failed 2\n"
    assert command("status", "--failed").out == (
        f"{mixed.url('/gone.jpg')}: HTTP 404 Not Found (1 attempts, permanent)\n"
        f"{mixed.url('/later.jpg')}: HTTP 403 Forbidden (1 attempts)\n"
    )


def test_status_counts_what_is_partial_and_what_is_not_begun(command, origin, tmp_path):
    url = origin.add("/b.mp4", BIG, content_type="video/mp4", faults=[stall_after(STALLS_AT)])
    later = origin.url("/c.mp4")
    with start(tmp_path, "get", url, later, settings={"MEDIACRAWL_CONCURRENT_TRANSFERS": 1}) as running:
        origin.wait_for(lambda: origin.bytes_sent("/b.mp4") >= STALLS_AT)
        running.interrupt()
        running.wait()
    assert json.loads(command("status", "--json").out) == {
        "done": 0,
        "partial": 1,
        "pending": 1,
        "failed": 0,
        "bytes": 0,
        "uploads": 0,
    }


def test_status_tells_of_the_pages_of_a_job(command, crawls, origin, tmp_path):
    for number in range(4):
        origin.page(f"/{number}", f'<a rel="next" href="/{number + 1}">Next</a>')
    job = str(tmp_path / "job")
    settings = {"JOBDIR": job, "CLOSESPIDER_PAGECOUNT": 1, "ROBOTSTXT_OBEY": False}
    crawls.crawl(tmp_path, SiteSpider, settings, url=origin.url("/0"))
    lines = command("status", "-s", f"JOBDIR={job}").out.splitlines()
    assert lines[1].startswith(f"job {job}: ")
    assert lines[1].endswith(" done")


def test_status_takes_no_argument(command):
    assert command("status", "store").status == 2


# --- genspider, and the command line itself ---------------------------------------------------------


def test_genspider_writes_a_spider_that_runs(origin, url, tmp_path):
    """In a project that takes our commands."""
    package = tmp_path / "theirs"
    (package / "spiders").mkdir(parents=True)
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = theirs.settings\n")
    for folder in (package, package / "spiders"):
        (folder / "__init__.py").touch()
    (package / "settings.py").write_text(
        textwrap.dedent("""
            from mediacrawl.settings import *

            SPIDER_MODULES = ["theirs.spiders"]
            NEWSPIDER_MODULE = "theirs.spiders"
            FILES_STORE = "store"
            MEDIACRAWL_PROGRESS_S = 0
        """)
    )
    origin.page("/gallery", '<img src="/a.jpg"><a rel="next" href="/2">Next</a>')
    origin.page("/2", '<img src="/b.jpg">')
    origin.add("/b.jpg", b"\0other", content_type=JPEG)
    made = run(tmp_path, "genspider", "-t", "media", "gallery", origin.url("/gallery"), module="scrapy")
    assert made.status == 0, str(made)
    written = (package / "spiders" / "gallery.py").read_text()
    assert "class GallerySpider(MediaSpider):" in written
    compile(written, "gallery.py", "exec")
    done = run(tmp_path, "crawl", "gallery", module="scrapy")
    assert done.status == 0, str(done)
    assert set(done.store.values()) == {sha256(BODY), sha256(b"\0other")}


def test_genspider_without_a_project_writes_into_the_current_folder(origin, url, tmp_path):
    """And not into the package, which may be installed: an update would remove the spider."""
    origin.page("/", '<img src="/a.jpg"><img src="/missing.jpg">')
    before = sorted(PACKAGE.rglob("*.py"))
    made = run(tmp_path, "genspider", "-t", "media", "gallery", origin.url("/"))
    assert made.status == 0, str(made)
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.py"]
    assert sorted(PACKAGE.rglob("*.py")) == before
    done = run(tmp_path, "runspider", "gallery.py")
    assert set(done.store.values()) == {sha256(BODY)}, str(done)
    assert done.status == 1  # one is missing: a crawl would say so too


@pytest.mark.slow
def test_genspider_in_the_clone_writes_into_its_package(tmp_path):
    """Which is the project there, so that `crawl` finds the spider by its name."""
    shutil.copytree(PACKAGE, tmp_path / "mediacrawl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE.parent / "scrapy.cfg", tmp_path)
    (tmp_path / "jobs").mkdir()
    env = {"PYTHONPATH": str(tmp_path)}  # a forked process has imported the package of these tests
    made = run(tmp_path, "genspider", "-t", "media", "first", "example.org", env=env)
    below = run(tmp_path / "jobs", "genspider", "-t", "media", "second", "example.org", env=env)
    assert made.status == below.status == 0, f"{made}{below}"
    assert {"first.py", "second.py"} <= {path.name for path in (tmp_path / "mediacrawl" / "spiders").iterdir()}
    assert {"first", "second"} <= set(run(tmp_path, "list", env=env).out.split())


def test_genspider_lists_our_template_beside_scrapys(command):
    out = command("genspider", "--list").out
    assert {"basic", "crawl", "media"} <= set(out.split())


def test_mediacrawl_is_itself_in_the_folder_of_another_project(tmp_path):
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = no.such.settings\n")
    done = run(tmp_path, "list")
    assert done.status == 0, str(done)
    assert {"demo", "site", "urllist"} <= set(done.out.split())
    assert [path.name for path in Path(tmp_path).iterdir()] == ["scrapy.cfg"]


@pytest.mark.parametrize("in_spider", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_door_that_a_spider_or_a_user_opens_is_open(tmp_path, in_spider):
    settings = 'custom_settings = {"TELNETCONSOLE_ENABLED": True}' if in_spider else ""
    (tmp_path / "spiders").mkdir()
    (tmp_path / "spiders" / "__init__.py").touch()
    (tmp_path / "spiders" / "door.py").write_text(
        f"import scrapy\nclass Door(scrapy.Spider):\n    name = 'door'\n    start_urls = []\n    {settings}\n"
    )
    given = {"SPIDER_MODULES": "spiders", "LOG_LEVEL": "INFO", "TELNETCONSOLE_PORT": "0"}
    for more, is_open in (({}, in_spider), ({"TELNETCONSOLE_ENABLED": True}, True)):
        done = run(tmp_path, "crawl", "door", settings=given | more)
        assert ("Telnet console listening" in done.err) is is_open


def within(folder, *words, tell='"scrapy.commands.shell" in sys.modules'):
    """Exit status of a command, and what is to be told of its process in the end."""
    code = "from mediacrawl.__main__ import main\nimport sys\ntry:\n    main()\nexcept SystemExit as end:\n"
    command = [sys.executable, "-c", f"{code}    print(end.code, {tell})", *words]
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout.splitlines()[-1].split()


def test_to_find_a_command_of_ours_those_of_scrapy_are_not_imported(tmp_path):
    assert within(tmp_path, "status") == ["2", "False"]  # there is no store


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["version"], "0"),
        (["nonsense"], "2"),
        pytest.param([], "0", marks=pytest.mark.slow),
        pytest.param(["../crawl"], "2", marks=pytest.mark.slow),
    ],
)
def test_every_other_command_is_looked_for_as_scrapy_does(tmp_path, words, status):
    assert within(tmp_path, *words) == [status, "True"]


def test_what_scrapy_has_left_behind_says_where_it_is_from(tmp_path):
    """To find that out is what a crawl spends less on."""
    of = "sys.modules['scrapy.core.downloader.contextfactory'].ScrapyClientContextFactory.__module__"
    words = ["crawl", "urllist", "-a", "file=-"]
    assert within(tmp_path, *words, tell=of) == ["0", "scrapy.core.downloader.contextfactory"]

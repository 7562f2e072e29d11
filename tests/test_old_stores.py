"""What an earlier mediacrawl has left is gone on with: store, ledger, parts and the pages of a job."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from crawling import files_in, run, sha256
from old_site import BIG, BIG_STOPS_AT, FILM, HOST, PICTURES, TWINS, URLS_HOST, serve, serve_urls

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.download.resume import OVERLAP_BYTES
from mediacrawl.ledger.base import State
from mediacrawl.ledger.sqlite import SqliteLedger

NEVER_OLD = {"FILES_EXPIRES": 10**6, "MEDIACRAWL_RETRY_PERMANENT_DAYS": 10**6}
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ARCHIVES = sorted((Path(__file__).parent / "data").glob("store-*.tar.gz"))
FINISHED = {f"site/archive.test{path}": sha256(body) for path, body in PICTURES.items()}


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def old(request, tmp_path):
    """A folder with its `store` and `job`."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture(params=["killed", "power cut"])
def kept_bytes(request, old):
    """How much of the film has to count: what is in the part, or what its record says is synced."""
    if request.param == "killed":
        set_boot(old, BOOT_ID.read_text().strip())
        return BIG_STOPS_AT
    return set_boot(old, "another")["ranges"][0][1]


def set_boot(folder, boot):
    """Have the only part be one of a boot of this machine; return its record. The archive may be of any."""
    (path,) = (folder / "store" / ".mediacrawl" / "parts").glob("*.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"boot": boot}))
    return record


@pytest.fixture
def proxied(origin):
    """The environment in which the site is reached."""
    serve(origin)
    return {"http_proxy": origin.url("")}


def rows(folder):
    ledger = SqliteLedger(folder / "store" / ".mediacrawl" / LEDGER_NAME, read_only=True)
    found = {entry.url.removeprefix(HOST): entry for entry in ledger.entries()}
    ledger.close()
    return found


def asked(origin):
    return {request.path.removeprefix(HOST) for request in origin.requests}


def test_there_is_an_archive():
    assert ARCHIVES


def test_what_it_holds_is_read(old):
    found = rows(old)
    assert {path: row.state for path, row in found.items() if path in PICTURES} == dict.fromkeys(PICTURES, State.DONE)
    assert (found["/gone.jpg"].state, found["/gone.jpg"].permanent) == (State.FAILED, True)
    assert {found[path].path: found[path].sha256 for path in PICTURES} == FINISHED


def test_the_job_goes_on_with_what_was_left_and_asks_for_nothing_that_is_there(old, origin, proxied, kept_bytes):
    words = ("crawl", "site", "-a", f"url={HOST}/1")
    done = run(old, *words, "-s", "JOBDIR=job", settings=NEVER_OLD, env=proxied)
    assert done.status == 0, str(done)
    assert files_in(old / "store") == FINISHED | {"site/archive.test/film.mp4": sha256(BIG)}
    assert asked(origin) & {*PICTURES, "/gone.jpg", "/1"} == set()
    (film,) = [request for request in origin.requests if request.path.endswith("/film.mp4")]
    assert film.range[0] == kept_bytes - OVERLAP_BYTES
    origin.forget()
    again = run(old, *words, settings=NEVER_OLD, env=proxied)
    assert asked(origin) <= {"/robots.txt", "/1", "/2", "/3"}
    assert "already there 6" in again.err


def test_a_list_asks_only_for_what_is_missing(old, origin, proxied, kept_bytes):
    (old / "list.txt").write_text("".join(f"{HOST}{path}\n" for path in [*PICTURES, "/film.mp4", "/gone.jpg"]))
    done = run(old, "get", "-i", "list.txt", settings=NEVER_OLD, env=proxied)
    assert done.status == 1, str(done)
    assert "new 0, resumed 1, already there 5, failed 1" in done.err
    assert asked(origin) == {"/film.mp4"}
    assert origin.requests[0].range[0] == kept_bytes - OVERLAP_BYTES


# Keys that several URLs shared


URLS_ARCHIVES = sorted((Path(__file__).parent / "data").glob("urls-*.tar.gz"))
COMMANDS = {"get": ("get", "-i"), "items": ("crawl", "urllist", "-a")}


@pytest.mark.parametrize("archive", URLS_ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
@pytest.mark.parametrize("front", COMMANDS)
def test_a_row_and_a_part_with_a_former_key_are_those_of_the_url_in_the_row(archive, front, tmp_path, origin):
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    set_boot(tmp_path, BOOT_ID.read_text().strip())
    serve_urls(origin)
    more = ("-a", "items=all") if front == "items" else ()

    def fetch(targets):
        origin.forget()
        (tmp_path / "list").write_text("".join(f"{URLS_HOST}{target}\n" for target in targets))
        words = (*COMMANDS[front], "list" if front == "get" else "file=list", *more)
        done = run(tmp_path, *words, settings=NEVER_OLD, env={"http_proxy": origin.url("")})
        assert done.status == 0, str(done)
        return {request.target.removeprefix(URLS_HOST) for request in origin.requests} - {"/robots.txt"}

    before = files_in(tmp_path / "store")
    assert fetch([*TWINS, FILM]) == {FILM}
    assert origin.requests[-1].range[0] == BIG_STOPS_AT - OVERLAP_BYTES
    store = files_in(tmp_path / "store")
    assert store.items() > before.items()
    assert len(store) == len(before) + 1
    asked_targets = fetch([*TWINS.values(), FILM, *TWINS])
    assert len(asked_targets) == len(TWINS)
    assert FILM not in asked_targets
    assert len(files_in(tmp_path / "store")) == len(store) + len(TWINS)
    assert fetch([*TWINS.values(), FILM, *TWINS]) == set()

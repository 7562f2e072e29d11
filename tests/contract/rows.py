"""The rules of mediacrawl, one row each. A row runs in every front and mode, and says what is right there.

Where a front differs on purpose, its row says so, with the reason. `without` takes the rule out where it
is decided: then the row must fail, in every front that has the rule.
"""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import json
import os
import re
import socket
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from certificates import Authority, TlsFront
from crawling import basic_auth, files_in, largest_part_bytes, parts_in, sha256, wait_until
from fronts import AsProcess, Wanted
from hostile import LINES, STEERING, HostileServer, faults_of, hostile_answers, steering_in
from origin import (
    Answer,
    Fault,
    Origin,
    Pattern,
    body_from_0,
    dead_port,
    drip_after,
    drop_after,
    limit_per_connection,
    reset_on_connect,
    stall_after,
    status,
)
from proxy_servers import SocksProxy

from mediacrawl.archive import Archive, Publish
from mediacrawl.backends import LEDGER_NAME
from mediacrawl.download import requester
from mediacrawl.download.cookies import Cookies
from mediacrawl.download.records import Fetched
from mediacrawl.download.retry import HostPauses
from mediacrawl.download.seams import Seams
from mediacrawl.download.transfer_policy import Stall
from mediacrawl.errors import StoreNotWritable, TransferError
from mediacrawl.fetch import resources
from mediacrawl.fetch.host_failures import HostFailures
from mediacrawl.fetch.queue import FetchQueue
from mediacrawl.fetch.refetch import RefetchPolicy
from mediacrawl.fetch.request import FileRequest
from mediacrawl.fetch.stats import RunStats
from mediacrawl.ledger import rows as ledger_rows
from mediacrawl.ledger.base import Entry, State
from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.store import parts
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import PartRecord
from mediacrawl.transport import addresses, proxies
from mediacrawl.transport.connection_limits import ConnectionLimit
from mediacrawl.transport.netrc_file import Netrc
from mediacrawl.urls import former_key_of_url, key_of_url
from mediacrawl.workers.threads import TransferThreads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fronts import Mode, Ran, Stage

JPEG = "image/jpeg"
QUIET_S = 1
# What was on its way when an answer asked for a pause may still come, as may the news to other processes.
ON_ITS_WAY_S = 0.4


@dataclass
class Scene:
    """Where a row is played: an origin, another one on the same host, a front in a mode, and a folder."""

    stage: Stage
    origin: Origin
    other: Origin
    front: str
    mode: Mode
    patches: Any
    folder: Path

    @property
    def as_process(self) -> bool:
        return isinstance(self.stage, AsProcess)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def add(self, path: str, body: bytes | Pattern, **more: Any) -> str:
        return self.origin.add(path, body, **({"content_type": JPEG} | more))

    def start(self, *wanted: str | Wanted, **settings: object) -> Any:
        rows = [Wanted(one) if isinstance(one, str) else one for one in wanted]
        return self.stage.start(self.front, self.mode, rows, settings)

    def run(self, *wanted: str | Wanted, **settings: object) -> Ran:
        ran = self.start(*wanted, **settings).wait()
        assert "Traceback" not in ran.err, ran.err
        return ran

    def setenv(self, name: str, value: str) -> None:
        """Set a variable of the environment for runs that begin from now on."""
        self.patches.setenv(name, value)
        self.stage.variables[name] = value

    def asked(self, path: str) -> list[Any]:
        return self.origin.requests_for(path)

    @contextlib.contextmanager
    def ledger(self):
        """The ledger, beside whoever uses it."""
        ledger = SqliteLedger(self.store / ".mediacrawl" / LEDGER_NAME)
        try:
            yield ledger
        finally:
            ledger.close()

    def rows(self, state: str) -> list[Entry]:
        ledger = SqliteLedger(self.store / ".mediacrawl" / LEDGER_NAME, read_only=True)
        try:
            return list(ledger.entries(state))
        finally:
            ledger.close()


@dataclass(frozen=True)
class Row:
    """A rule.

    Attributes:
        play: plays it; raises where it is broken.
        without: takes the rule out, in this process.
        differs: front -> why it does not hold there, or in another way that `play` knows.
        of_workers: it is about worker processes, so there is nothing to play where there are none.
    """

    play: Callable[[Scene], None]
    without: Callable[[Any], None]
    differs: Mapping[str, str]
    of_workers: bool

    @property
    def name(self) -> str:
        return self.play.__name__

    def holds_in(self, front: str, mode: Mode) -> bool:
        return front not in self.differs and (mode.workers or not self.of_workers)


ROWS: list[Row] = []
Play = Callable[[Scene], None]


def row(
    without: Callable[[Any], None], *, of_workers: bool = False, **differs: str
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    def add(play: Callable[[Scene], None]) -> Callable[[Scene], None]:
        ROWS.append(Row(play, without, differs, of_workers))
        return play

    return add


def body(number: int, size: int = 3000) -> bytes:
    return Pattern(size, number).read()


# --- what the ledger says ---------------------------------------------------------------------------


@row(lambda patches: patches.setattr(RefetchPolicy, "is_fresh", lambda *_: False))
def a_finished_file_is_not_asked_for_again(scene):
    urls = [scene.add(f"/{n}.jpg", body(n)) for n in range(3)]
    first = scene.run(*urls)
    assert (first.status, first.new, len(first.store)) == (0, 3, 3), first
    scene.origin.forget()
    second = scene.run(*urls)
    assert (second.status, second.new, second.present, second.failed) == (0, 0, 3, 0), second
    assert scene.origin.requests == []


@row(lambda patches: patches.setattr(RefetchPolicy, "is_fresh", lambda _self, entry, _now: entry is not None))
def a_finished_file_is_revalidated_when_it_is_old(scene):
    url, changed = scene.add("/a.jpg", body(1)), scene.add("/b.jpg", body(2))
    scene.run(url, changed)
    scene.origin.replace("/b.jpg", body(3))
    scene.origin.forget()
    ran = scene.run(url, changed, FILES_EXPIRES=0)
    assert [request.status for request in scene.asked("/a.jpg")] == [304]
    assert [request.status for request in scene.asked("/b.jpg")] == [200]
    assert (ran.status, ran.present, ran.new) == (0, 1, 1), ran
    assert ran.store == {sha256(body(1)), sha256(body(3))}
    scene.origin.forget()
    again = scene.run(url, changed)
    assert (again.status, again.present, scene.origin.requests) == (0, 2, []), again


@row(lambda patches: patches.setattr(RefetchPolicy, "known_failure", lambda *_: None))
def what_is_known_to_be_gone_is_not_asked_for_again_before_its_time(scene):
    url, there = scene.origin.url("/gone.jpg"), scene.add("/there.jpg", body(1))
    first = scene.run(url, there)
    assert (first.status, first.new, first.failed) == (1, 1, 1), first
    scene.origin.forget()
    second = scene.run(url, there)
    assert (second.status, second.present, second.failed) == (1, 1, 1), second
    for ran in (first, second):  # the same command would not ask for it
        assert "to request permanent failures again: " in ran.failures
        assert "try the failed ones again" not in ran.failures
    assert "HTTP 404 Not Found (known, not asked for again before 2" in second.failures
    assert scene.asked("/gone.jpg") == []
    scene.add("/gone.jpg", body(2))
    third = scene.run(url, there, MEDIACRAWL_RETRY_PERMANENT_DAYS=0)
    assert (third.status, third.new, third.present) == (0, 1, 1), third


def _all_failures_are_known(patches):
    patches.setattr(
        RefetchPolicy,
        "known_failure",
        lambda _self, entry, _now: entry.reason if entry is not None and entry.state == State.FAILED else None,
    )


@row(_all_failures_are_known)
def what_another_process_has_noted_as_failed_is_asked_for(scene):
    """Whatever the clock of that one said. Else a run would end well without a file that was wanted."""
    url, first = scene.add("/a.jpg", body(1)), scene.add("/first.jpg", body(2))
    scene.run(first)
    for checked_at in (time.time() + 3, time.time() + 10**6):
        with scene.ledger() as ledger:
            ledger.forget([url])
            ledger.record_failure(
                [Entry(url, url, reason="HTTP 503 Service Unavailable", http_status=503)], checked_at
            )
        ran = scene.run(first, url)
        assert (ran.status, ran.new, ran.present, ran.failed) == (0, 1, 1, 0), ran
        assert scene.rows(State.FAILED) == []
        with scene.ledger() as ledger:
            (row_of_url,) = (entry for entry in ledger.entries() if entry.url == url)
        (scene.store / row_of_url.path).unlink()


def _keys_of_their_own(patches):
    numbers = iter(range(10**9))
    for module in ("pipelines", "crawl.items", "fetch.request"):
        with contextlib.suppress(AttributeError):
            patches.setattr(f"mediacrawl.{module}.key_of_url", lambda url: f"{url}#{next(numbers)}")


@row(_keys_of_their_own)
def a_file_that_is_wanted_twice_is_fetched_and_counted_once(scene):
    url, other = scene.add("/a.jpg", body(1), delay_s=0.1), scene.add("/b.jpg", body(2))
    ran = scene.run(url, url, other, url)
    assert (ran.status, ran.new, ran.present, ran.failed) == (0, 2, 0, 0), ran
    assert len(scene.asked("/a.jpg")) == 1
    assert ran.store == {sha256(body(1)), sha256(body(2))}


# --- URLs as they are written, and names ------------------------------------------------------------


def _pictures_everywhere(scene: Scene, *paths: str) -> None:
    for path in paths:
        scene.origin.on(path, lambda request: Answer(body=PNG + request.target.encode(), headers=[IS_PNG]))


PNG, IS_PNG = b"\x89PNG\r\n\x1a\n", ("Content-Type", "image/png")
AS_WRITTEN = {
    **{
        f"/m.png{query}": f"/m.png{query}"
        for query in ("", "?", "?x", "?x=", "?a=1&b=2", "?b=2&a=1", "?o=1&o=2", "?o=2&o=1")
    },
    **{f"/m.png?q=a{blank}b": f"/m.png?q=a{blank}b" for blank in ("+", "%20", "%2B", "%2b")},
    **{
        f"/t/{path}": f"/t/{path}"
        for path in ("~u.png", "%7Eu.png", "%7eu.png", "a%2Fb.png", "%e4.png", "%E4.png", "a//b.png")
    },
    "/t/my photo.png": "/t/my%20photo.png",
    "/t/caf\u00e9.png?\u00e9": "/t/caf%C3%A9.png?%C3%A9",
    "/t/[1]|'(2)'.png?[]|{}'": "/t/[1]|'(2)'.png?[]|{}'",
    "/t/../m.png?dots": "/m.png?dots",
    "/m.png?fragment#1": "/m.png?fragment",
}


def _former_keys(patches):
    for module in ("pipelines", "crawl.items", "fetch.request"):
        patches.setattr(f"mediacrawl.{module}.key_of_url", former_key_of_url)


@row(_former_keys)
def a_url_is_asked_for_as_it_is_written_and_has_a_file_of_its_own(scene):
    _pictures_everywhere(scene, *{target.partition("?")[0] for target in AS_WRITTEN.values()}, "/t/a/b.png")
    ran = scene.run(*(f"http://{scene.origin.netloc}{written}" for written in [*AS_WRITTEN, "/m.png?fragment#2"]))
    assert sorted(request.target for request in scene.origin.requests) == sorted(AS_WRITTEN.values())
    assert (ran.status, ran.new, ran.failed) == (0, len(AS_WRITTEN), 0), ran
    assert ran.store == {sha256(PNG + target.encode()) for target in AS_WRITTEN.values()}


LOCATIONS = {
    b"/files/my photo.png?a b": "/files/my%20photo.png?a%20b",
    "/files/caf\u00e9.png".encode(): "/files/caf%C3%A9.png",
    b"/files/caf\xe9.png": "/files/caf%E9.png",
    "/files/\u5f20.png".encode("gbk"): "/files/%D5%C5.png",
    "/files/\u8868.png".encode("shift_jis"): "/files/%95%5C.png",
    b"files/%7Ea%2d%e4.png?b=2&a=1&x": "/files/%7Ea%2d%e4.png?b=2&a=1&x",
    b"files//a.png?": "/files//a.png?",
    b"\\files\\a.png\t": "/files/a.png",
}


@row(lambda patches: patches.setattr(requester, "resolve", urllib.parse.urljoin))
def a_redirect_leads_to_the_bytes_of_its_location(scene):
    for number, location in enumerate(LOCATIONS):
        text = location.decode("latin-1")
        scene.origin.on(f"/{number}.png", lambda _, text=text: Answer(302, headers=[("Location", text)]))
    _pictures_everywhere(scene, *{target.partition("?")[0] for target in LOCATIONS.values()})
    ran = scene.run(*(f"http://{scene.origin.netloc}/{number}.png" for number in range(len(LOCATIONS))))
    assert (ran.status, ran.new, ran.failed) == (0, len(LOCATIONS), 0), ran
    assert ran.store == {sha256(PNG + target.encode()) for target in LOCATIONS.values()}


@row(lambda patches: patches.setattr(FileRequest, "identity", property(lambda self: self.key)))
def a_file_that_is_wanted_under_two_names_is_fetched_once_and_has_both(scene):
    url, other = scene.add("/a.jpg", body(1), delay_s=0.1), scene.add("/b.jpg", body(2))
    wanted = [Wanted(url, "one.jpg"), Wanted(other), Wanted(url, "two.jpg"), Wanted(url, "one.jpg")]
    first = scene.run(*wanted)
    assert (first.status, first.new, first.failed) == (0, 2, 0), first
    assert len(scene.asked("/a.jpg")) == 1
    assert sorted(path.rpartition("/")[2] for path in first.paths) == ["b.jpg", "one.jpg", "two.jpg"]
    scene.origin.forget()
    second = scene.run(*wanted, Wanted(url, "three.jpg"))
    names = {path.rpartition("/")[2]: digest for path, digest in second.paths.items()}
    assert names.keys() == {"b.jpg", "one.jpg", "two.jpg", "three.jpg"}
    assert {names[name] for name in names if name != "b.jpg"} == {sha256(body(1))}
    assert (second.status, second.new, scene.origin.requests) == (0, 0, []), second
    (scene.store / next(path for path in second.paths if path.endswith("two.jpg"))).unlink()
    scene.origin.replace("/a.jpg", body(3))
    third = scene.run(*wanted, FILES_EXPIRES=0)
    assert third.status == 0, third
    names = {path.rpartition("/")[2]: digest for path, digest in third.paths.items()}
    assert {names["one.jpg"], names["two.jpg"]} == {sha256(body(3))}


@row(
    lambda patches: patches.setattr(FileRequest, "identity", property(lambda self: self.key)),
    override="a project's own methods have one result for a URL that fails, whatever names it has",
)
def a_failure_of_a_file_with_two_names_is_told_of_both(scene):
    url = scene.origin.url("/gone.jpg")
    ran = scene.run(Wanted(url, "one.jpg"), Wanted(url, "two.jpg"))
    assert (ran.status, ran.new, ran.failed) == (1, 0, 2), ran
    assert len(scene.asked("/gone.jpg")) == 1


# --- other processes, and the store -----------------------------------------------------------------


@row(lambda patches: patches.setattr(parts.fcntl, "flock", lambda *_: None))
def a_file_that_another_process_is_fetching_is_waited_for_and_not_fetched(scene):
    url, other = scene.add("/held.jpg", body(1)), scene.add("/other.jpg", body(2))
    archive = Archive.open(LocalStore(scene.store))
    part = archive.store.parts.open(url)
    running = scene.start(url, other)
    try:
        scene.origin.wait_for(lambda: scene.asked("/other.jpg") or scene.asked("/held.jpg"), 30)
        assert scene.asked("/held.jpg") == []
        part.fill(PartRecord(complete_length=3000), body(1))
        fetched = Fetched(part, 200, url, size_bytes=3000, sha256=sha256(body(1)))
        archive.write([Publish(Entry(url, url, path="elsewhere/held.jpg"), fetched)])
    finally:
        part.close()
        archive.close()
    ran = running.wait()
    assert "Traceback" not in ran.err
    assert (ran.status, ran.new, ran.present, ran.failed) == (0, 1, 1, 0), ran
    assert scene.asked("/held.jpg") == []
    assert ran.paths["elsewhere/held.jpg"] == sha256(body(1))
    assert ran.err.count("another process") <= 1


@row(
    lambda patches: (
        patches.setattr(LocalStore, "taken", lambda *_: False)
        or patches.setattr(SqliteLedger, "taken", lambda *_: set())
    )
)
def no_file_takes_the_path_of_another(scene):
    """Nor the place of what stands there already, and is not ours."""
    urls = [scene.add(f"/{folder}/same.jpg", body(n)) for n, folder in enumerate("ab")]
    folder = {"override": "own/items", "item": "items", "list": "urllist", "get": "get"}[scene.front]
    stranger = scene.store / folder / "127.0.0.1" / "mine.jpg"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"mine")
    mine = scene.add("/mine.jpg", body(7))
    ran = scene.run(*urls, mine)
    assert (ran.status, ran.new) == (0, 3), ran
    assert sorted(path.rpartition("/")[2] for path in ran.paths) == [
        "mine-2.jpg",
        "mine.jpg",
        "same-2.jpg",
        "same.jpg",
    ]
    assert ran.store == {sha256(data) for data in (body(0), body(1), body(7), b"mine")}


@row(lambda patches: patches.setattr("mediacrawl.fetch.filenames.percent_decoded", lambda text, *_: unquote(text)))
def a_name_is_read_in_its_encoding_and_no_two_become_one(scene):
    """Escapes that are not UTF-8 stay: there is no page that says what they are."""
    bodies = {"/%D5%C5.png": body(0), "/%D5%C6.png": body(1)}
    answer = Answer(200, [("Content-Type", "image/png")])
    scene.origin.on("/\ufffd\ufffd.png", lambda request: replace(answer, body=bodies[request.target]))
    urls = [scene.origin.url(path) for path in bodies]
    named = {"GBK''%CD%BC%C6%AC.png": "图片.png", "utf8''%E5%9B%BE.png": "图.png", "%E6%9D%B1.png": "東.png"}
    for number, value in enumerate(named):
        urls.append(scene.add(f"/{number}", body(number + 2), disposition=f"attachment; filename*={value}"))
    ran = scene.run(*urls)
    assert (ran.status, ran.new) == (0, 5), ran
    assert {path.rpartition("/")[2] for path in ran.paths} == {"%D5%C5.png", "%D5%C6.png", *named.values()}
    assert ran.store == {sha256(body(number)) for number in range(5)}


@row(lambda patches: patches.setattr("mediacrawl.store.local.PathConflict", StoreNotWritable))
def a_file_where_a_folder_should_be_fails_its_own_files_and_no_other(scene):
    scene.store.mkdir()
    folder = {"override": "own", "item": "items", "list": "urllist", "get": "get"}[scene.front]
    (scene.store / folder).write_text("mine")
    url = scene.add("/a.jpg", body(1))
    ran = scene.run(url)
    assert (ran.status, ran.failed, ran.new) == (1, 1, 0), ran
    assert "cannot be a file's path" in ran.failures
    assert (scene.store / folder).read_text() == "mine"
    assert [entry.url for entry in scene.rows(State.FAILED)] == [url]
    (scene.store / folder).unlink()
    scene.origin.forget()
    again = scene.run(url)
    assert (again.status, again.store) == (0, {sha256(body(1))}), again
    assert scene.origin.requests == [], "what had come was kept"


@row(lambda patches: patches.setattr("mediacrawl.errors.errno.ENOSPC", -1))
def a_full_disk_is_one_line_and_status_4_and_with_room_the_same_command_ends_well(scene):
    urls = [scene.add(f"/{n}.jpg", body(n)) for n in range(20)]
    with scene.stage.full_disk(scene.store):
        ran = scene.run(*urls)
        assert (ran.status, ran.failed) == (4, 0), ran
        assert "no space left for" in ran.err
    assert scene.rows(State.FAILED) == []
    again = scene.run(*urls)
    assert (again.status, len(again.store)) == (0, 20), again
    assert {path.suffix for path in parts_in(scene.store)} <= {".tmp"}
    assert not list((scene.store / ".mediacrawl").glob("probe-*"))


# --- hosts ------------------------------------------------------------------------------------------


@row(lambda patches: patches.setattr(TransferThreads, "_look", lambda _: None))
def hosts_that_are_down_or_answer_nothing_hold_no_place_that_others_need(scene):
    with socket.create_server(("0.0.0.0", 0), backlog=64) as silent:
        port, dead = silent.getsockname()[1], dead_port()
        bad = [f"http://127.0.1.{n}:{port}/{n}.jpg" for n in range(1, 13)]
        bad += [f"http://127.0.2.{n}:{dead}/{n}.jpg" for n in range(1, 13)]
        good = [scene.add(f"/{n}.jpg", body(n)) for n in range(10)]
        running = scene.start(*bad, *good, MEDIACRAWL_CONCURRENT_TRANSFERS=4, MEDIACRAWL_BACKOFF_S=60)
        try:
            scene.origin.wait_for(lambda: len(scene.origin.requests) == len(good), 30)
            wait_until(lambda: len(files_in(scene.store)) == len(good))
        finally:
            running.interrupt()
            ran = running.wait()
    assert "Traceback" not in ran.err, ran.err
    assert (ran.status, ran.new, ran.failed) == (3, 10, 0), ran


# --- stops and deaths -------------------------------------------------------------------------------


@row(lambda patches: patches.setattr(RunStats, "stopped", property(lambda _: False, lambda *_: None), raising=False))
def ctrl_c_ends_it_with_status_3_and_what_waits_has_not_failed(scene):
    large = Pattern(4_000_000, 1)
    urls = [scene.add("/large.jpg", large, faults=[stall_after(3_000_000)])]
    urls += [scene.add(f"/{n}.jpg", body(n), faults=[stall_after(10)]) for n in range(40)]
    running = scene.start(*urls, CONCURRENT_REQUESTS_PER_DOMAIN=4)
    scene.origin.wait_for(lambda: scene.origin.bytes_sent("/large.jpg") >= 3_000_000, 30)
    scene.origin.wait_for(lambda: sum(request.stalled for request in scene.origin.requests) >= 3, 30)
    wait_until(lambda: largest_part_bytes(scene.store) >= 1_000_000)
    running.interrupt()
    ran = running.wait()
    assert "Traceback" not in ran.err, ran.err
    assert (ran.status, ran.failed) == (3, 0), ran
    assert scene.rows(State.FAILED) == []
    scene.origin.release()
    scene.origin.forget()
    again = scene.run(*urls)
    assert (again.status, len(again.store)) == (0, 41), again
    assert (again.resumed, scene.asked("/large.jpg")[0].range[0] > 0) == (1, True)


@row(
    lambda patches: patches.setattr("mediacrawl.workers.executor.is_death", lambda _error: False),
    of_workers=True,
)
def what_a_killed_worker_had_is_fetched_by_others(scene):
    large = Pattern(4_000_000, 1)
    url = scene.add("/large.jpg", large, faults=[stall_after(3_000_000)])
    others = [scene.add(f"/{n}.jpg", body(n)) for n in range(10)]
    running = scene.start(url, *others)
    scene.origin.wait_for(lambda: scene.origin.bytes_sent("/large.jpg") >= 3_000_000, 30)
    scene.stage.kill_workers(running)
    scene.origin.wait_for(lambda: len(scene.asked("/large.jpg")) > 1, 30)
    scene.origin.release()
    ran = running.wait()
    assert "Traceback" not in ran.err
    assert (ran.status, ran.failed, len(ran.store)) == (0, 0, 11), ran


# --- hosts that ask for quiet -----------------------------------------------------------------------


def _no_patience(patches):
    patches.setattr(HostFailures, "_is_spent", lambda *_: True)


REFUSALS = {
    "429": status(429, times=3),
    "503": status(503, times=3),
    "no response": reset_on_connect(times=3),
}


@row(_no_patience)
def a_host_that_refuses_for_a_while_loses_no_file(scene):
    """Without a time, without a response, or unavailable: one file after the other is tried."""
    for number, (name, fault) in enumerate(REFUSALS.items()):
        scene.origin.everywhere(fault)
        urls = [scene.add(f"/{number}-{n}.jpg", body(10 * number + n)) for n in range(6)]
        ran = scene.run(*urls, MEDIACRAWL_RETRY_TIMES=6, MEDIACRAWL_BACKOFF_S=0.01, MEDIACRAWL_BACKOFF_MAX_S=0.05)
        assert (ran.status, ran.new, ran.failed) == (0, 6, 0), (name, ran)


def _each_file_for_itself(patches):
    patches.setattr(TransferError, "of_host", lambda error, _host, url: TransferError(url, error.reason))


@row(_each_file_for_itself)
def a_host_that_is_down_fails_all_its_files_once_the_tries_are_spent_and_is_named_once(scene):
    dead = f"127.0.0.1:{dead_port()}"
    urls = [f"http://{dead}/{n}.jpg" for n in range(30)]
    good = scene.add("/a.jpg", body(1))
    ran = scene.run(*urls, good, MEDIACRAWL_RETRY_TIMES=2, MEDIACRAWL_BACKOFF_S=0.01)
    assert (ran.status, ran.new, ran.failed) == (1, 1, 30), ran
    assert f"30 files of {dead}: connection refused" in ran.failures, ran.failures
    assert {entry.permanent for entry in scene.rows(State.FAILED)} == {False}


def _no_quiet(patches):
    """Neither those that have begun nor those that are waiting know of a pause."""
    for name in ("pause", "pause_until"):
        patches.setattr(HostPauses, name, lambda *_: None)
    for name in ("pause_s", "wait_s"):
        patches.setattr(HostFailures, name, lambda *_: 0.0)


def asked_during_quiet(origin: Origin) -> list[str]:
    """Requests that came between an answer that asks for quiet and the end of that quiet."""
    asked_at = [request.finished_at for request in origin.requests if request.status in {429, 503}]
    return [
        request.path
        for request in origin.requests
        if any(at + ON_ITS_WAY_S < request.started_at < at + QUIET_S for at in asked_at)
    ]


def _quiet(scene: Scene, busy: Fault) -> None:
    """Twenty files of a host, of which one is busy at first, and each takes a moment."""
    urls = [scene.add(f"/{n}.jpg", body(n), delay_s=0.1) for n in range(24)]
    scene.origin.fault("/3.jpg", busy)
    ran = scene.run(*urls, CONCURRENT_REQUESTS_PER_DOMAIN=3)
    assert (ran.status, ran.failed, len(ran.store)) == (0, 0, 24), ran
    assert asked_during_quiet(scene.origin) == []
    assert len(scene.asked("/3.jpg")) == 2


@row(_no_quiet)
def a_503_with_retry_after_quiets_its_host_for_all(scene):
    _quiet(scene, status(503, retry_after=QUIET_S))


@row(_no_quiet)
def a_429_with_retry_after_quiets_its_host_for_all(scene):
    _quiet(scene, status(429, retry_after=QUIET_S))


@row(_no_quiet)
def a_retry_after_that_is_a_date_counts_by_the_clock_of_the_server(scene):
    """The clocks of the two differ by an hour."""
    now = time.time() - 3600
    dates = {"Date": email.utils.formatdate(now, usegmt=True)}
    _quiet(scene, status(503, email.utils.formatdate(now + QUIET_S, usegmt=True), dates))


def _each_quiets_its_host(patches):
    heed = HostPauses.heed

    def without_limit(pauses, *given, longest_s):
        return heed(pauses, *given)

    patches.setattr(HostPauses, "heed", without_limit)


@row(_each_quiets_its_host)
def a_503_that_asks_for_too_much_fails_its_own_file_alone(scene):
    urls = [scene.add(f"/{n}.jpg", body(n)) for n in range(10)]
    scene.origin.fault("/0.jpg", status(503, retry_after=86_400, times=None))
    ran = scene.run(*urls, CONCURRENT_REQUESTS_PER_DOMAIN=1)
    assert (ran.status, ran.failed, ran.new) == (1, 1, 9), ran
    assert "/0.jpg: HTTP 503" in ran.failures
    assert len(scene.asked("/0.jpg")) == 1
    scene.origin.remove("/0.jpg")
    scene.add("/0.jpg", body(0))
    again = scene.run(*urls)
    assert (again.status, again.new, again.present) == (0, 1, 9), again


def _no_file_stands_for_others(patches):
    _no_quiet(patches)
    patches.setattr("mediacrawl.fetch.queue.concerns_host", lambda *_: False)


@row(_no_file_stands_for_others)
def a_429_that_asks_for_too_much_ends_the_run_for_its_host(scene):
    urls = [scene.add(f"/{n}.jpg", body(n)) for n in range(10)]
    scene.origin.everywhere(status(429, retry_after=86_400))
    ran = scene.run(*urls, CONCURRENT_REQUESTS_PER_DOMAIN=1)
    assert (ran.status, ran.failed, ran.new) == (1, 10, 0), ran
    assert "asked for a pause for 86400 s" in ran.failures
    assert len(scene.origin.requests) == 1
    again = scene.run(*urls)
    assert (again.status, again.new) == (0, 10), again


def _the_first_answer_counts(patches):
    patches.setattr(requester, "_PREPARING", 0)


@row(_the_first_answer_counts)
def a_file_that_is_being_prepared_is_waited_for_and_no_other_file_waits(scene):
    urls = [scene.add(f"/{n}.jpg", body(n)) for n in range(10)]
    scene.origin.fault("/0.jpg", status(202, retry_after=QUIET_S, body=b"in a moment"))

    def second(_request):
        """Not before the first is answered: the other connection could bring all others until then."""
        scene.origin.wait_for(lambda: any(asked.finished_at for asked in scene.asked("/0.jpg")))
        return Answer(200, [("Content-Type", JPEG)], body(1))

    scene.origin.on("/1.jpg", second)
    ran = scene.run(*urls, CONCURRENT_REQUESTS_PER_DOMAIN=2)
    assert (ran.status, ran.failed, len(ran.store)) == (0, 0, 10), ran
    first, second = scene.asked("/0.jpg")
    assert second.started_at - first.finished_at >= QUIET_S - ON_ITS_WAY_S
    assert any(first.finished_at < asked.started_at < second.started_at for asked in scene.origin.requests)


@row(lambda patches: patches.setattr(requester, "REDIRECTS", requester.REDIRECTS - {300}))
def a_300_with_a_location_is_followed(scene):
    scene.add("/choice.jpg", body(1))
    ran = scene.run(scene.origin.redirect("/a.jpg", "/choice.jpg", 300))
    assert (ran.status, ran.store) == (0, {sha256(body(1))}), ran


def _no_bound_on_parts(patches):
    make = FetchQueue.__init__
    patches.setattr(
        FetchQueue,
        "__init__",
        lambda self, owner, refetch, per_host, _most_open=0, **more: make(self, owner, refetch, per_host, **more),
    )


@row(_no_bound_on_parts)
def no_more_parts_are_open_than_the_system_lets_be(scene):
    most = scene.stage.allow_few_files()
    counts = []

    def answer(number):
        def handler(_request):
            scene.origin.pause(0.02)  # others come meanwhile
            counts.append(len(list((scene.store / ".mediacrawl" / "parts").rglob("*.part"))))
            return Answer(200, [("Content-Type", JPEG)], body(number))

        return handler

    urls = [scene.origin.on(f"/{n}.jpg", answer(n)) for n in range(12 * most)]
    ran = scene.run(*urls)
    assert (ran.status, ran.failed, len(ran.store)) == (0, 0, len(urls)), ran
    assert 1 <= max(counts) <= most


# --- a fresh link ------------------------------------------------------------------------------------


SOME_BYTES = 400_000


def expiring(scene, content, *, etag='"v1"'):
    """A file at `/dl`, whose first link expires after some bytes; the URL of a link by its signature."""
    sent = []

    def answer(request):
        signature = request.target.rpartition("sig=")[2]
        if signature == "old" and sent:
            return Answer(403, [("Content-Type", "application/xml")], b"expired")
        start, stop = request.range or (0, None)
        stop = len(content) if stop is None else min(stop, len(content))
        fields = [("Content-Type", JPEG), ("Accept-Ranges", "bytes")] + ([("ETag", etag)] if etag else [])
        if request.range:
            fields.append(("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}"))
        sent.append(signature)
        cut = SOME_BYTES if signature == "old" else None
        return Answer(206 if request.range else 200, fields, content, start, stop, drop_at=cut)

    scene.origin.on("/dl", answer)
    return lambda signature: f"{scene.origin.url('/dl')}?sig={signature}"


@row(lambda patches: patches.setattr(parts.PartFolder, "name", lambda *_: os.urandom(20).hex()))
def a_file_with_a_key_is_the_same_under_every_link(scene):
    content = body(1, SOME_BYTES + 200_000)
    link = expiring(scene, content)
    first = scene.run(Wanted(link("old"), key="talk 7"))
    assert (first.status, first.failed) == (1, 1), first
    assert "403" in first.failures
    assert [(entry.key, entry.url) for entry in scene.rows(State.FAILED)] == [("talk 7", link("old"))]
    scene.origin.forget()
    second = scene.run(Wanted(link("new"), key="talk 7"))
    assert (second.status, second.resumed, second.store) == (0, 1, {sha256(content)}), second
    assert sum(request.body_bytes_sent for request in scene.asked("/dl")) < 250_000
    assert [(entry.key, entry.url) for entry in scene.rows(State.DONE)] == [("talk 7", link("new"))]
    assert (scene.rows(State.FAILED), scene.rows(State.PENDING), parts_in(scene.store)) == ([], [], [])
    scene.origin.forget()
    third = scene.run(Wanted(link("newest"), key="talk 7"))
    assert (third.status, third.present, scene.origin.requests) == (0, 1, []), third


@row(lambda patches: patches.setattr(parts.PartFolder, "begun_for", lambda *_: []))
def a_fresh_link_to_a_file_of_the_same_name_continues_its_part(scene):
    content = body(2, SOME_BYTES + 200_000)
    link = expiring(scene, content)
    first = scene.run(Wanted(link("old"), filename="talk.jpg"))
    assert (first.status, first.failed) == (1, 1), first
    scene.origin.forget()
    second = scene.run(Wanted(link("new"), filename="talk.jpg"))
    assert (second.status, second.resumed, second.store) == (0, 1, {sha256(content)}), second
    assert sum(request.body_bytes_sent for request in scene.asked("/dl")) < 300_000
    assert [entry.url for entry in scene.rows(State.DONE)] == [link("new")]
    assert (scene.rows(State.FAILED), scene.rows(State.PENDING), parts_in(scene.store)) == ([], [], [])
    scene.origin.forget()
    third = scene.run(Wanted(link("new"), filename="talk.jpg"))
    assert (third.status, third.present, scene.origin.requests) == (0, 1, []), third


@row(
    lambda patches: patches.setattr(Archive, "present_at", lambda *_: None),
    override="its paths are its own: a file is found by the path that the list wishes for",
)
def a_fresh_link_to_a_file_that_is_there_fetches_nothing(scene):
    content = body(3, SOME_BYTES)
    link = expiring(scene, content)
    first = scene.run(Wanted(link("first"), filename="talk.jpg"))
    assert (first.status, first.new) == (0, 1), first
    scene.origin.forget()
    second = scene.run(Wanted(link("second"), filename="talk.jpg"))
    assert (second.status, second.present, second.store) == (0, 1, {sha256(content)}), second
    assert sum(request.body_bytes_sent for request in scene.asked("/dl")) < 100_000
    assert [entry.url for entry in scene.rows(State.DONE)] == [link("second")]
    scene.origin.forget()
    third = scene.run(Wanted(link("second"), filename="talk.jpg"))
    assert (third.status, third.present, scene.origin.requests) == (0, 1, []), third


@row(
    lambda patches: patches.setattr("mediacrawl.sources.url_list._KeysOfList.checked", lambda _self, row: row),
    item="pages may give one file under several links: the key is there to say so",
    override="pages may give one file under several links, as for items",
)
def a_second_url_with_the_key_of_another_line_is_told(scene):
    url, other = scene.add("/a.jpg", body(1)), scene.add("/b.jpg", body(2))
    ran = scene.run(Wanted(url, key="one"), Wanted(other, key="one"), Wanted(url, key="one"))
    assert (ran.status, ran.new, ran.failed, ran.store) == (1, 1, 1, {sha256(body(1))}), ran
    assert "list:2" in ran.failures
    assert "the key 'one' is that of line 1, which has another URL" in ran.failures
    assert scene.asked("/b.jpg") == []


# --- what is sent where -----------------------------------------------------------------------------


class _All:
    def __contains__(self, _name):
        return True


@row(lambda patches: patches.setattr(requester, "ANY_ORIGIN", _All()))
def cookie_and_headers_of_a_list_are_sent_with_their_own_url_and_to_its_origin_only(scene):
    target = scene.other.add("/target.jpg", body(3), content_type=JPEG)
    secret = {"Cookie": "session=s3cr3t; lang=de", "Authorization": "Bearer s3cr3t", "X-Api-Key": "s3cr3t"}
    rows = [
        Wanted(scene.add("/own.jpg", body(1)), headers=secret),
        Wanted(scene.add("/plain.jpg", body(2))),
        Wanted(scene.origin.redirect("/moved.jpg", target), headers=secret),
    ]
    ran = scene.run(*rows)
    assert (ran.status, len(ran.store)) == (0, 3), ran
    (own,), (plain,), (moved,) = map(scene.asked, ("/own.jpg", "/plain.jpg", "/moved.jpg"))
    for request in (own, moved):
        assert request.headers["cookie"] == "session=s3cr3t; lang=de"
        assert (request.headers["authorization"], request.headers["x-api-key"]) == ("Bearer s3cr3t", "s3cr3t")
    assert not {"cookie", "authorization", "x-api-key"} & plain.headers.keys()
    (elsewhere,) = scene.other.requests_for("/target.jpg")
    assert not {"cookie", "authorization", "x-api-key"} & elsewhere.headers.keys()
    assert elsewhere.headers["user-agent"] == own.headers["user-agent"]
    assert "s3cr3t" not in ran.err + ran.failures
    for path in (scene.store / ".mediacrawl").rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes()


@row(
    lambda patches: patches.setattr("mediacrawl.crawl.context.CrawlContext.may_follow", lambda *_: None),
    get="it asks no robots.txt, as the README says: a list of what is not yours is a case for `crawl urllist`",
)
def a_redirect_to_where_robots_txt_forbids_it_is_not_followed(scene):
    scene.other.robots("User-agent: *\nDisallow: /secret/\n")
    target = scene.other.add("/secret/a.jpg", body(1), content_type=JPEG)
    allowed = scene.other.add("/open/b.jpg", body(2), content_type=JPEG)
    urls = [scene.origin.redirect("/a.jpg", target), scene.origin.redirect("/b.jpg", allowed)]
    ran = scene.run(*urls, ROBOTSTXT_OBEY=True)
    assert (ran.status, ran.failed, ran.store) == (1, 1, {sha256(body(2))}), ran
    assert scene.other.requests_for("/secret/a.jpg") == []
    assert len(scene.other.requests_for("/open/b.jpg")) == 1


# --- parts, and servers that are not as they should be ------------------------------------------------


def _in_place(patches):
    patches.setattr(parts.PartFile, "replacement", lambda part: part)
    patches.setattr(parts.PartFile, "is_replacement", False)


@row(_in_place)
def what_comes_instead_of_the_rest_does_not_cost_the_part(scene):
    """A newer version that breaks off, then an error as JSON, then nothing at all; then the server is well again."""
    data, newer = Pattern(600_000, 1), Pattern(600_000, 2)
    url = scene.add("/a.jpg", data, faults=[drop_after(400_000)])
    assert scene.run(url, MEDIACRAWL_RETRY_TIMES=0).status == 1
    for instead, more in (
        (newer, {"faults": [drop_after(1000)]}),
        (b'{"error": "quota exceeded"}', {"content_type": "application/json"}),
        (b"", {"etag": False, "last_modified": False}),
    ):
        scene.add("/a.jpg", instead, **more)
        ran = scene.run(url, MEDIACRAWL_RETRY_TIMES=0)
        assert (ran.status, ran.store) == (1, set()), ran
    scene.origin.forget()
    scene.add("/a.jpg", data)
    ran = scene.run(url)
    assert (ran.status, ran.resumed, ran.store) == (0, 1, {data.sha256()}), ran
    (asked,) = scene.asked("/a.jpg")
    assert asked.range[0] > 300_000


def _skipped(_part, start, stop, blocks):
    """What follows, without a look at the bytes before it."""
    left = stop - start
    while left > 0:
        block = next(blocks)
        blocks, left = chain([block[left:]], blocks), left - len(block)
    return blocks


def _nothing_is_compared(patches):
    patches.setattr("mediacrawl.download.downloader.after_overlap", _skipped)


@row(_nothing_is_compared)
def a_206_whose_bytes_are_not_those_of_its_head_continues_nothing(scene):
    """The ETag stays the same, whatever the file: nobody but the bytes tells of it."""
    data, other = Pattern(600_000, 1), Pattern(600_000, 2)
    url = scene.add("/a.jpg", data, etag='"always"', faults=[drop_after(400_000)])
    assert scene.run(url, MEDIACRAWL_RETRY_TIMES=0).status == 1
    scene.add("/a.jpg", other, etag='"always"')
    ran = scene.run(url)
    assert (ran.status, ran.store) == (0, {other.sha256()}), ran
    assert [request.status for request in scene.asked("/a.jpg")] == [200, 206, 200]


def _seams_are_not_compared(patches):
    patches.setattr(Seams, "check", lambda _: None)
    patches.setattr(parts.PartFile, "note_seam", lambda *_: None)
    patches.setattr("mediacrawl.download.segments.after_overlap", _skipped)


@row(_seams_are_not_compared)
def segments_of_a_server_that_always_begins_at_the_first_byte_make_no_file(scene):
    data = Pattern(8_000_000, 1)
    faults = [limit_per_connection(20_000_000), body_from_0(times=None)]
    url = scene.add("/a.jpg", data, faults=faults)
    ran = scene.run(url, MEDIACRAWL_SEGMENT_PROBE_S=0, MEDIACRAWL_SEGMENT_MIN_BYTES=2_000_000)
    assert (ran.status, ran.store) == (0, {data.sha256()}), ran
    assert [request for request in scene.asked("/a.jpg") if request.range is not None]


# --- content codings ---------------------------------------------------------------------------------


@row(lambda patches: patches.setattr("mediacrawl.download.content_coding._own_form", lambda *_: None))
def a_gz_file_that_is_labelled_gzip_arrives_as_it_was_sent(scene):
    """What the server codes on the way is decoded all the same."""
    packed = gzip.compress(body(1), mtime=0)
    labelled = {"headers": {"Content-Encoding": "gzip"}}
    urls = [
        scene.add("/a.tar.gz", packed, content_type="application/x-tar", **labelled),
        scene.add("/b.svgz", gzip.compress(body(2), mtime=0), content_type="image/svg+xml", **labelled),
        scene.add("/c.jpg", gzip.compress(body(3), mtime=0), **labelled),
        scene.add("/d.jpg", body(4), headers={"Content-Encoding": "UTF-8"}),
    ]
    ran = scene.run(*urls)
    assert (ran.status, ran.new, ran.failed) == (0, 4, 0), ran
    assert ran.store == {sha256(data) for data in (packed, gzip.compress(body(2), mtime=0), body(3), body(4))}


# --- connections ------------------------------------------------------------------------------------


def _no_stall(patches):
    patches.setattr(Stall, "seen", lambda *_: None)


@row(_no_stall)
def a_body_that_drips_is_cut_and_continued(scene):
    """Without the rule it would be there after a while, by one request."""
    data = Pattern(300_000, 1)
    url = scene.add("/a.jpg", data, faults=[drip_after(300_000 - 40, 10)])
    ran = scene.run(url, MEDIACRAWL_STALL_S=1.0, MEDIACRAWL_STALL_BYTES=100)
    assert (ran.status, ran.store) == (0, {data.sha256()}), ran
    first, second = scene.asked("/a.jpg")
    assert first.body_bytes_sent < 300_000
    assert second.range[0] >= 200_000


@row(_no_stall)
def a_helper_that_drips_is_cut_and_its_piece_comes_another_way(scene):
    data = Pattern(8_000_000, 1)
    of_helper = lambda request: request.range is not None and request.range[1] is not None  # noqa: E731
    dripping = drip_after(0, 20, times=1).when(of_helper)
    url = scene.add("/a.jpg", data, faults=[limit_per_connection(20_000_000), dripping])
    ran = scene.run(
        url,
        MEDIACRAWL_STALL_S=1.0,
        MEDIACRAWL_STALL_BYTES=100,
        MEDIACRAWL_SEGMENT_PROBE_S=0,
        MEDIACRAWL_SEGMENT_MIN_BYTES=2_000_000,
    )
    assert (ran.status, ran.store) == (0, {data.sha256()}), ran
    helpers = [request for request in scene.asked("/a.jpg") if of_helper(request)]
    assert helpers
    assert helpers[0].body_bytes_sent < 100


@row(lambda patches: patches.setattr(ConnectionLimit, "limit_of", lambda *_: float("inf")))
def no_more_connections_are_open_to_a_host_than_it_allows_idle_ones_included(scene):
    """The host has two ports, and allows one connection: each time another port is asked, the last one is closed."""
    open_elsewhere = []

    def answer(origin, elsewhere, number):
        def handler(_request):
            open_elsewhere.append(len(elsewhere._connections))
            return Answer(200, [("Content-Type", JPEG)], body(number))

        return handler

    urls = []
    for number in range(6):
        here, there = (scene.origin, scene.other) if number % 2 else (scene.other, scene.origin)
        urls.append(here.on(f"/{number}.jpg", answer(here, there, number)))
    ran = scene.run(*urls, CONCURRENT_REQUESTS_PER_DOMAIN=1)
    assert (ran.status, len(ran.store)) == (0, 6), ran
    assert open_elsewhere == [0] * 6
    assert (scene.origin.peak_open, scene.other.peak_open) == (1, 1)


# --- the user's network -----------------------------------------------------------------------------


@row(lambda patches: patches.setattr(proxies, "_proxies", lambda _values: proxies.Proxies()))
def all_goes_through_the_proxy_of_the_environment_or_nothing_goes_out(scene):
    """Socks, with a password; the target of a redirect, too, unless `no_proxy` has it."""
    url, moved = scene.add("/a.jpg", body(1)), scene.origin.redirect("/b.jpg", scene.other.url("/c.jpg"))
    scene.other.add("/c.jpg", body(2), content_type=JPEG)
    scene.setenv("ALL_PROXY", f"socks5h://me:s3cret@127.0.0.1:{dead_port()}")
    ran = scene.run(url, MEDIACRAWL_RETRY_TIMES=0)
    assert (ran.status, ran.failed, scene.origin.requests) == (1, 1, []), ran
    assert "the proxy socks5h://127.0.0.1:" in ran.failures
    assert "s3cret" not in ran.err
    assert [entry.permanent for entry in scene.rows(State.FAILED)] == [False]
    with SocksProxy("me", "s3cret") as proxy:
        scene.setenv("ALL_PROXY", proxy.url("me:s3cret"))
        scene.setenv("NO_PROXY", scene.other.netloc)
        ran = scene.run(url, moved)
        assert (ran.status, ran.store) == (0, {sha256(body(1)), sha256(body(2))}), ran
        assert set(proxy.targets) == {scene.origin.netloc}


@row(lambda patches: patches.setattr(Netrc, "authorization", lambda *_: None))
def the_credentials_of_netrc_are_sent_to_their_host_and_kept_nowhere(scene):
    path = scene.folder / "netrc"
    path.write_text("machine 127.0.0.1 login me password s3cret\nmachine localhost login you password other\n")
    scene.setenv("NETRC", str(path))
    url = scene.add("/a.jpg", body(1))
    moved = scene.origin.redirect("/b.jpg", scene.other.url("/c.jpg").replace("127.0.0.1", "localhost"))
    scene.other.add("/c.jpg", body(2), content_type=JPEG)
    ran = scene.run(url, moved)
    assert (ran.status, ran.new) == (0, 2), ran
    mine = basic_auth("me", "s3cret")
    assert {request.headers.get("authorization") for request in scene.origin.requests} == {mine}
    assert {request.headers.get("authorization") for request in scene.other.requests} == {None}
    kept = b"".join(path.read_bytes() for path in scene.store.rglob("*") if path.is_file())
    assert not [word for word in ("s3cret", mine) if word.encode() in kept or word in ran.err]


@row(lambda patches: patches.setattr(addresses, "is_public", lambda _address: True))
def where_only_public_addresses_are_allowed_no_connection_to_another_is_opened(scene):
    forms = ("127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "localhost", "[::ffff:127.0.0.1]")
    urls = [f"http://{form}:{scene.origin.port}/{number}.jpg" for number, form in enumerate(forms)]
    for number in range(len(forms)):
        scene.add(f"/{number}.jpg", body(number))
    ran = scene.run(*urls, f"https://{scene.other.netloc}/a.jpg", MEDIACRAWL_BLOCK_PRIVATE=True)
    assert (ran.status, ran.failed, ran.store) == (1, len(urls) + 1, set()), ran
    assert ran.failures.count("127.0.0.1 is not a public address, and MEDIACRAWL_BLOCK_PRIVATE is on") >= 4, ran
    assert (scene.origin.connections, scene.other.connections) == (0, 0)
    assert not any(entry.permanent for entry in scene.rows(State.FAILED))


@row(lambda patches: patches.setattr(requester, "referer_under", lambda _policy, referer, _url: referer))
def a_referer_goes_to_another_origin_only_as_far_as_the_policy_allows(scene):
    """What a list or an item gives is sent with its URL; then the policy counts, here that no https goes to http."""
    target = scene.other.add("/target.jpg", body(1), content_type=JPEG)
    moved = scene.origin.redirect("/moved.jpg", target)
    ran = scene.run(Wanted(moved, headers={"Referer": "https://site.example/page?token=s3cret"}))
    assert (ran.status, len(ran.store)) == (0, 1), ran
    (here,), (there,) = scene.asked("/moved.jpg"), scene.other.requests_for("/target.jpg")
    assert (here.headers["referer"], there.headers.get("referer")) == ("https://site.example/page?token=s3cret", None)


@row(lambda patches: patches.setattr(resources, "authorities_of", lambda _verify: None))
def a_file_over_tls_comes_from_the_host_that_its_certificate_names_or_not_at_all(scene):
    folder = scene.folder / "authority"
    folder.mkdir(exist_ok=True)
    authority = Authority(folder)
    scene.add("/a.jpg", body(1))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        scene.setenv(name, "")
    with (
        TlsFront(authority.context("127.0.0.1"), scene.origin.netloc) as right,
        TlsFront(authority.context("other.example"), scene.origin.netloc) as wrong,
        TlsFront(authority.context("127.0.0.1", days=-1), scene.origin.netloc) as old,
    ):
        fronts = (right, wrong, old)
        urls = [f"https://{front.netloc}/a.jpg" for front in fronts]
        moved = [scene.origin.redirect(f"/moved-{number}.jpg", url) for number, url in enumerate(urls)]
        ran = scene.run(*urls, *moved, MEDIACRAWL_RETRY_TIMES=0)
        assert (ran.status, ran.failed, scene.asked("/a.jpg")) == (1, 6, []), ran
        ran = scene.run(*urls, *moved, MEDIACRAWL_RETRY_TIMES=0, MEDIACRAWL_VERIFY_TLS=str(authority.file))
        assert (ran.status, ran.new, ran.failed, len(scene.asked("/a.jpg"))) == (1, 2, 4, 2), ran
        assert "the certificate of 127.0.0.1 is not accepted" in ran.failures


# --- text from outside ------------------------------------------------------------------------------


@row(lambda patches: patches.setattr("mediacrawl.visible._STEERING", re.compile("(?!)")))
def no_text_of_a_server_or_a_list_steers_a_terminal_and_no_url_has_a_control_character(scene):
    """Each part of a response, names, and URLs; what is not HTTP at all, or 503, is of hosts that may be given up."""
    answers = hostile_answers()
    broken = {path for path in answers if path in {"/status-line.jpg", "/begins-http.jpg", "/te.jpg", "/chunk.jpg"}}
    with HostileServer(answers) as server, HostileServer(answers) as other, HostileServer(answers) as unavailable:
        of_path = dict.fromkeys(broken, other) | {"/retry-after.jpg": unavailable}
        urls = [of_path.get(path, server).url(path) for path in answers if path.endswith(".jpg")]
        named = [Wanted(server.url(f"/etag.jpg?{number}"), filename=name) for number, name in enumerate(NAMES)]
        controls = [f"http://h/a{control}b.jpg" for control in ("\x1b", "\x7f", "\x9b", "\0")]
        quick = {"MEDIACRAWL_RETRY_TIMES": 0, "MEDIACRAWL_RETRY_AFTER_MAX_S": 0}
        few = scene.run(server.url("/phrase.jpg?few"), *controls, **quick)  # a summary has ten examples
        ran = scene.run(*urls, *named, *controls, f"http://{STEERING}/", f"ftp://h/{LINES}", **quick)
    assert (few.status, ran.status) == (1, 1), ran
    assert r"HTTP 404 \x1b[31m\x1b]0;owned\x07\x9b2J" in few.failures
    assert few.failures.count("a control character in the URL") >= len(controls), few
    assert faults_of((ran.err + ran.failures).encode(errors="surrogateescape")) == []
    assert steering_in("".join(ran.paths)) == []
    assert any("caf" in path for path in ran.paths)


NAMES = (f"caf{STEERING}.jpg", f"{LINES}.jpg")


# --- what is no file --------------------------------------------------------------------------------


@row(lambda patches: patches.setattr("mediacrawl.download.downloader.refuse_document", lambda *_: None))
def a_document_where_media_is_wanted_is_a_failure_and_the_same_command_fetches_the_file_later(scene):
    """Until it is logged in, a site sends pages, JSON and text; what is wanted as it is stays right meanwhile."""
    documents = {
        "/page.jpg": (JPEG, b"\n\n<head><title>Log in</title></head>"),
        "/json.mp4": ("application/json", b'{"error": "log in"}'),
        "/text.mp3": ("text/plain", b"log in"),
        "/playlist.mp4": ("video/mp4", b"#EXTM3U\n#EXTINF:9,\na.ts\n"),
    }
    urls = [scene.add(path, data, content_type=kind) for path, (kind, data) in documents.items()]
    wanted = {"/data.json": b'{"a": 1}', "/notes.txt": b"notes", "/drawing.svg": b"<?xml version='1.0'?><svg/>"}
    others = [scene.add(path, data, content_type=None) for path, data in wanted.items()]
    first = scene.run(*urls, *others)
    assert (first.status, first.new, first.failed) == (1, len(wanted), len(urls)), first
    assert first.store == {sha256(data) for data in wanted.values()}
    for name in ("an HTML page", "a JSON document", "plain text", "a playlist", "MEDIACRAWL_CHECK_CONTENT=False"):
        assert name in first.failures
    for number, path in enumerate(documents):
        scene.add(path, body(number))
    again = scene.run(*urls, *others)
    assert (again.status, again.new, again.present) == (0, len(urls), len(wanted)), again


@row(
    lambda patches: patches.setattr(FileRequest, "is_page", lambda *_: False),
    list="a list names files, and has no hyperlinks",
    get="what a user names is a file, and no hyperlink",
)
def a_hyperlink_that_leads_to_a_page_has_not_failed(scene):
    """But it has where it is redirected to the page, or where the page shows it as an image."""
    pages = [scene.add(f"/{name}.jpg", f"<html>{name}</html>".encode(), content_type="text/html") for name in "ab"]
    scene.origin.redirect("/moved.jpg", pages[0])
    moved, shown = scene.origin.url("/moved.jpg"), scene.add("/shown.jpg", b"<html>shown</html>")
    links = [*pages, moved, scene.add("/file.jpg", body(1))]
    for _ in range(2):
        ran = scene.run(*(Wanted(url, may_be_page=True) for url in links), shown)
        assert (ran.status, ran.new + ran.present, ran.failed) == (1, 1, 2), ran
        assert "links to media that lead to pages, which are no files: 2" in ran.failures
        assert {entry.url for entry in scene.rows(State.FAILED)} == {moved, shown}
        assert scene.rows(State.PENDING) == []


def _content_is_always_checked(patches):
    chosen = resources.policy_of
    patches.setattr(resources, "policy_of", lambda settings: chosen(settings)._replace(check_content=True))


@row(_content_is_always_checked)
def a_setting_stores_whatever_is_sent(scene):
    bodies = [b"<!DOCTYPE html>", b'{"error": 1}', b"#EXTM3U\n"]
    urls = [scene.add(f"/{number}.jpg", data, content_type="text/html") for number, data in enumerate(bodies)]
    ran = scene.run(*urls, MEDIACRAWL_CHECK_CONTENT=False)
    assert (ran.status, ran.store) == (0, {sha256(data) for data in bodies}), ran


@row(lambda patches: patches.setattr(Cookies, "keep", lambda *_: set()))
def a_cookie_of_a_redirect_is_sent_by_the_files_that_follow_and_is_removed_as_its_host_says(scene):
    def login(request):
        return Answer(302, [("Location", "/first.jpg"), ("Set-Cookie", "sso=1; Path=/"), ("Set-Cookie", "old=1")])

    def leave(request):
        return Answer(302, [("Location", "/last.jpg"), ("Set-Cookie", "sso=; Max-Age=0; Path=/")])

    def for_members(number, *, is_member):
        def answer(request):
            is_known = "sso=1" in request.headers.get("cookie", "")
            return Answer(*((200, [("Content-Type", JPEG)], body(number)) if is_known == is_member else (403, [])))

        return answer

    login_url, leave_url = scene.origin.on("/login/a", login), scene.origin.on("/leave/a", leave)
    scene.origin.on("/first.jpg", for_members(1, is_member=True))
    second = scene.origin.on("/second.jpg", for_members(2, is_member=True))
    scene.origin.on("/last.jpg", for_members(3, is_member=False))
    # One after another, and in one run: a file of a list may be fetched before another one is.
    serial = {"CONCURRENT_REQUESTS_PER_DOMAIN": 1, "MEDIACRAWL_RETRY_TIMES": 0, "ROBOTSTXT_OBEY": False}
    ran = scene.run(Wanted(login_url), Wanted(second), Wanted(leave_url), **serial)
    assert (ran.status, ran.new) == (0, 3), ran
    assert [request.headers.get("cookie") for request in scene.asked("/second.jpg")] == ["sso=1"]
    assert [request.headers.get("cookie") for request in scene.asked("/last.jpg")] == [None]


def _links_count_as_files(patches):
    patches.setattr(LocalStore, "size", lambda store, name: (store.root / name).stat().st_size)


@row(_links_count_as_files)
def a_link_that_another_user_has_planted_is_neither_followed_nor_replaced(scene):
    foreign = scene.folder / "foreign"
    foreign.write_bytes(body(1))
    url, other = scene.add("/a.jpg", body(1)), scene.add("/b.jpg", body(2, 300_000))
    parts_folder = LocalStore(scene.store).parts
    parts_folder.folder.mkdir(parents=True)
    for wanted in (url, other):
        parts_folder._path(key_of_url(wanted)).symlink_to(foreign)
    ran = scene.run(url, other)
    assert (ran.status, ran.new, len(ran.store)) == (0, 2, 2), ran
    (path,) = [path for path, digest in ran.paths.items() if digest == sha256(body(1))]
    (scene.store / path).unlink()
    (scene.store / path).symlink_to(foreign)
    again = scene.run(url, other)
    assert (again.status, again.new, again.present) == (0, 1, 1), again
    assert (scene.store / path).is_symlink()
    assert foreign.read_bytes() == body(1)
    assert len([path for path in again.paths if not (scene.store / path).is_symlink()]) == 2


# --- damage -----------------------------------------------------------------------------------------

_RECORD = {
    "version": 1,
    "validators": {"etag": '"1"', "last_modified": None, "last_modified_is_strong": False},
    "complete_length": 300_000,
    "head": {"status": 200, "url": "", "headers": {}},
    "ranges": [[0, 200_000]],
    "seams": [],
    "in_order": False,
    "boot": "",
    "inode": 1,
}
_DAMAGED_RECORDS = (
    *(b"", b"[" * 100_000, {"head": {"headers": [1]}}, {"head": {"wish": {"path": [], "keys": 5}}}),
    *({"ranges": [[0, 10**30]]}, {"seams": [0.5]}, {"complete_length": -7}),
)
_DAMAGED_OPTIONS = ("{", "[1]", "5", '{"path": 7}', '{"sha256": [2]}', "[" * 100_000, '{"filename": NaN}', b"\xff")


@row(lambda patches: patches.setattr(parts, "checked_record", lambda raw: raw))
def a_damaged_record_of_a_part_counts_as_none_and_its_file_is_fetched_anew(scene):
    folder = LocalStore(scene.store).parts.folder
    folder.mkdir(parents=True)
    files = {}
    for number, damage in enumerate(_DAMAGED_RECORDS):
        data = body(number, 3000)
        files[scene.add(f"/{number}.jpg", data, etag='"1"')] = data
        stem = folder / LocalStore(scene.store).parts.name(scene.origin.url(f"/{number}.jpg"))
        stem.with_suffix(".part").write_bytes(bytes(200_000))
        text = damage if isinstance(damage, bytes) else json.dumps(_RECORD | damage).encode()
        stem.with_suffix(".json").write_bytes(text)
    ran = scene.run(*files)
    assert (ran.status, ran.store) == (0, {sha256(data) for data in files.values()}), ran


@row(lambda patches: patches.setattr(ledger_rows, "_is_mended", lambda *_: True))
def a_damaged_row_counts_as_none_and_its_file_is_fetched_anew(scene):
    urls = [scene.add(f"/{number}.jpg", body(number)) for number in range(len(_DAMAGED_OPTIONS) + 7)]
    LocalStore(scene.store).open()
    with scene.ledger() as ledger:
        ledger.record_wanted([Entry(url, url) for url in urls], 1.0)
        for url, options in zip(urls, _DAMAGED_OPTIONS, strict=False):
            ledger._db.execute("UPDATE files SET state = 'failed', wish = ? WHERE key = ?", (options, url))
        changes = (
            *("state = x'ff', path = 5, folded = 'x'", "url = 7, state = 'done', path = 'a'", "validators = '[[['"),
            *(
                "state = 'done', path = '../../a', size_bytes = 'x'",
                "attempts = 'x', permanent = 'y'",
                "state = 'done', path = NULL",
                "page = x'ff'",
            ),
        )
        for url, change in zip(urls[len(_DAMAGED_OPTIONS) :], changes, strict=True):
            ledger._db.execute(f"UPDATE files SET {change} WHERE key = ?", (url,))
    ran = scene.run(*(Wanted(url, filename=f"n{number}.jpg") for number, url in enumerate(urls)))
    assert (ran.status, ran.store) == (0, {sha256(body(number)) for number in range(len(urls))}), ran

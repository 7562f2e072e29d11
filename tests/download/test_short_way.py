"""A small file takes a short way where its answer leaves no question open: what comes of it is the same."""

from __future__ import annotations

import hashlib
import json
import os
import threading

import pytest
from fetching import KEY
from origin import (
    chunked,
    close_delimited,
    drop_after,
    encode_gzip,
    header,
    html_instead,
    redirect,
    status,
    wrong_digest,
    wrong_length,
)

from mediacrawl.download.cancel import Cancel
from mediacrawl.download.downloader import _Transfer
from mediacrawl.download.progress import Progress
from mediacrawl.download.records import Fetched, TransferRequest
from mediacrawl.errors import Interrupted, MediacrawlError
from mediacrawl.headers import Digest
from mediacrawl.store.parts import PartFolder, PartRecord

BODY = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
DATED = {"etag": '"v1"', "last_modified": 1_700_000_000}

ANSWERS = {
    "usual": {},
    "empty": {"body": b""},
    "no type": {"content_type": None},
    "no validators": {"etag": False, "last_modified": False},
    "weak": {"etag": 'W/"v1"'},
    "a name": {"disposition": 'attachment; filename="a b.png"'},
    "a digest": {"digest": True},
    "a wrong digest": {"digest": True, "faults": [wrong_digest(times=None)]},
    "a wrong digest at first": {"digest": True, "faults": [wrong_digest()]},
    "html by its type": {"faults": [html_instead(times=None)]},
    "html by its beginning": {"body": b"<!DOCTYPE html>" + BODY},
    "chunked": {"faults": [chunked()]},
    "to the end of the connection": {"faults": [close_delimited()]},
    "encoded": {"faults": [encode_gzip(times=None)]},
    "a charset as its encoding": {"faults": [header("Content-Encoding", "UTF-8", times=None)]},
    "gzip that is none": {"faults": [header("Content-Encoding", "gzip", times=None)]},
    "identity, said so": {"faults": [header("Content-Encoding", "identity")]},
    "not found": {"faults": [status(404, times=None)]},
    "busy at first": {"faults": [status(503)]},
    "no content": {"faults": [status(204, times=None)]},
    "dropped at first": {"faults": [drop_after(100)]},
    "dropped before its body at first": {"faults": [drop_after(0)]},
    "a length too short": {"faults": [wrong_length(-10)]},
    "a length too long": {"faults": [wrong_length(10)]},
    "a length that is none": {"faults": [header("Content-Length", "x", times=None)]},
    "two lengths": {"faults": [header("Content-Length", "10, 11", times=None)]},
    "a redirect": {"faults": [redirect("/b.png")]},
}


def shape(rig, outcome):
    """What is told of a file, without times; or the error, in words."""
    if isinstance(outcome, Exception):
        return type(outcome).__name__, str(outcome)
    told = {
        name: getattr(outcome, name)
        for name in ("status", "url", "size_bytes", "sha256", "validators", "saved_bytes", "fetched_bytes")
    }
    headers = {name: value for name, value in outcome.headers.items() if name != "date"}
    return told | headers | {"bytes": rig.publish(outcome)}


def outcome_of(rig, url, progress, **request):
    try:
        return rig.fetch(url, progress=progress, **request)
    except MediacrawlError as error:
        return error


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize(
    "asked", [{}, {"expected_type": "text/html"}, {"max_bytes": 1000}], ids=["", "html", "at most"]
)
def test_both_ways_lead_to_the_same(rig, answer, asked, monkeypatch):
    given = {"body": BODY, "content_type": "image/png", **DATED, **answer}
    found = []
    for way in ("long", "short"):
        if way == "long":
            monkeypatch.setattr(_Transfer, "_fetch_small", lambda _: None)
        rig.origin.add("/b.png", BODY, content_type="image/png", **DATED)
        url = rig.origin.add("/a.png", **given)
        progress, asks = Progress(""), len(rig.origin.requests)
        told = shape(rig, outcome_of(rig, url, progress, **asked))
        counted = progress.fetched_bytes, progress.have_bytes, progress.total_bytes or None
        found.append((told, counted, len(rig.origin.requests) - asks, rig.leftovers()))
        rig.archive.forget([KEY], files=True)
        for name in rig.leftovers():
            (rig.store.quarantine_folder / name).unlink()
        monkeypatch.undo()
    assert found[0] == found[1]


def test_a_usual_answer_takes_the_short_way(rig, monkeypatch):
    monkeypatch.setattr(_Transfer, "_fetch_resumable", lambda _: pytest.fail("the long way"))
    arrived = rig.bring(rig.origin.add("/a.png", BODY, content_type="image/png"))
    assert arrived.data == BODY


@pytest.mark.parametrize(
    "more", [{"digests": ()}, {"revalidate": True}, {"sha256": True}], ids=["no digest", "revalidated", "promised"]
)
def test_who_has_a_version_or_a_promise_takes_the_long_way(rig, monkeypatch, more):
    ways = []
    at_once = _Transfer._fetch_small
    monkeypatch.setattr(_Transfer, "_fetch_small", lambda transfer: ways.append("short") or at_once(transfer))
    url = rig.origin.add("/a.png", BODY, content_type="image/png", etag='"v1"')
    request = {}
    if more.get("revalidate"):
        fetched = rig.fetch(url, key="first")
        fetched.part.close()
        request["revalidate"] = fetched.validators
        ways.clear()
    if more.get("sha256"):
        request["digests"] = (Digest("sha256", hashlib.sha256(BODY).digest()),)
    fetched = rig.fetch(url, **request)
    assert ways == (["short"] if not request else [])
    assert fetched.status == (304 if "revalidate" in request else 200)
    if fetched.part is not None:
        fetched.part.close()


def test_without_hashing_there_is_no_hash(rig):
    url = rig.origin.add("/a.png", BODY, content_type="image/png")
    fetched = rig.fetch(url, downloader=rig.downloader(sha256=False))
    assert fetched.sha256 == ""
    assert rig.publish(fetched) == BODY


def test_after_a_kill_it_is_whole(rig):
    """Before it has its name: the log tells of it, and the next run makes a record of that."""
    url = rig.origin.add("/a.png", BODY, content_type="image/png", etag='"v1"')
    fetched = rig.fetch(url)
    (line,) = [
        json.loads(line) for path in rig.store.parts.logs.iterdir() for line in path.read_text().splitlines()[1:]
    ]
    found = os.fstat(fetched.part.fileno())
    assert line[:2] == [rig.store.parts.name(KEY), [found.st_ino, len(BODY), found.st_mtime_ns]]
    assert (line[2]["complete_length"], line[2]["validators"]["etag"]) == (len(BODY), '"v1"')
    fetched.part.close()
    asks = len(rig.origin.requests)
    again = rig.fetch(url)
    assert (again.saved_bytes, again.fetched_bytes) == (len(BODY), 0)
    assert rig.publish(again) == BODY
    assert len(rig.origin.requests) == asks


def test_a_record_that_a_dead_process_left_is_gone_before_the_bytes_are_others(rig, monkeypatch):
    """Else a kill right now would leave it beside them."""
    url = rig.origin.add("/a.png", BODY, content_type="image/png")
    stale = rig.store.parts.folder / f"{rig.store.parts.name(KEY)}.json"
    stale.write_text("{}")
    seen = []
    monkeypatch.setattr(rig.store.parts, "at_step", lambda step: seen.append((step, stale.exists())))
    assert rig.bring(url).data == BODY
    assert ("part-write", False) in seen


def test_the_connection_is_used_again(rig):
    urls = [rig.origin.add(f"/{number}.png", BODY, content_type="image/png") for number in range(5)]
    requests = [TransferRequest(url, url) for url in urls]
    downloader = rig.downloader()
    outcomes = downloader.fsync_completed(downloader.fetch_batch(requests, Cancel(), lambda _: Progress("")))
    assert all(isinstance(outcome, Fetched) for outcome in outcomes)
    assert len({request.client_port for request in rig.origin.requests}) == 1
    for outcome in outcomes:
        outcome.part.close()


def test_a_stop_while_the_head_is_waited_for_ends_it(rig):
    url = rig.origin.add("/a.png", BODY, content_type="image/png", delay_s=3600)
    cancel = Cancel()

    def stop():
        rig.origin.wait_for(lambda: bool(rig.origin.requests))
        cancel.set()
        rig.transport.abort()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted):
        rig.fetch(url, cancel=cancel)
    thread.join()
    assert rig.leftovers() == []


def test_what_stands_there_already_is_counted_as_before(tmp_path):
    """A part that was filled, and one that was written in steps, are the same to who opens them next."""
    found = []
    for name in ("filled", "written"):
        parts = PartFolder(tmp_path / name / "parts", boot="b")
        record = PartRecord({"etag": '"v"'}, len(BODY), {"status": 200})
        with parts.open(KEY) as part:
            if name == "filled":
                part.fill(record, BODY)
            else:
                part.begin(record)
                part.write_at(0, BODY)
                part.mark((0, len(BODY)))
                part.note_whole()
        with parts.open(KEY) as part:
            found.append((part.record, part.is_whole, part.read(0, len(BODY)) == BODY))
        parts.close()
    assert found[0] == found[1]
    assert found[0][1:] == (True, True)

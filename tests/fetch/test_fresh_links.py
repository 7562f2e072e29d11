"""A fresh link to a known file: the part that is here is continued, the file that is here is found, and no other."""

from __future__ import annotations

import subprocess
import sys

import adoption_job
import pytest
from adoption_job import NAME, STEPS, bring
from crawling import files_in, sha256
from origin import Answer, Origin, Pattern

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.fetch import FileRequest, fetch
from mediacrawl.fetch.request import DOWNLOADED, FAILED, RESUMED, UPTODATE
from mediacrawl.headers import Digest
from mediacrawl.ledger.base import State
from mediacrawl.ledger.sqlite import SqliteLedger

SIZE, HERE = 600_000, 300_000  # bytes of the file, and of them before its link expires
A_FEW = 40_000  # bytes that a look at both ends of a file costs
TALK = Pattern(SIZE, seed=22).read()
OTHER = Pattern(SIZE, seed=23).read()
OTHER_BEGINNING = OTHER[:1000] + TALK[1000:]
OTHER_END = TALK[: HERE - 1000] + OTHER[HERE - 1000 :]
V1 = '"v1"'


class Site:
    """`/talk` by its signature: what each has to say. A link in `expiring` breaks off once, and then is forbidden."""

    def __init__(self, origin) -> None:
        self.origin = origin
        self.bodies = {}
        self.expiring = set()
        self.without_ranges = set()
        for path in ("/talk", "/elsewhere"):
            origin.on(path, self.answer)

    def link(self, signature, body=TALK, etag=V1, *, expires=False, ranges=True, path="/talk"):
        self.bodies[signature] = body, etag
        if expires:
            self.expiring.add(signature)
        if not ranges:
            self.without_ranges.add(signature)
        return self.origin.url(path) + f"?sig={signature}"

    def answer(self, request):
        signature = request.target.rpartition("sig=")[2]
        body, etag = self.bodies[signature]
        is_expiring = signature in self.expiring
        if is_expiring and len(self.origin.requests_for("/talk")) > 1:
            return Answer(403, [("Content-Type", "application/xml")], b"<expired/>")
        fields = [("Content-Type", "video/mp4")] + ([("ETag", etag)] if etag else [])
        has_range = request.range and signature not in self.without_ranges
        if has_range and etag and request.headers.get("if-range", etag) != etag:
            has_range = False
        start, stop = request.range if has_range else (0, None)
        stop = len(body) if stop is None else min(stop, len(body))
        if has_range:
            fields.append(("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}"))
        return Answer(206 if has_range else 200, fields, body, start, stop, drop_at=HERE if is_expiring else None)

    def sent(self):
        return sum(request.body_bytes_sent for request in self.origin.requests)

    def forget(self):
        self.origin.forget()


@pytest.fixture
def site(origin):
    return Site(origin)


def run(store, url, **more):
    more = {"path": NAME} | more
    (result,) = fetch([FileRequest.of_url(url, **more)], store=store, settings={"MEDIACRAWL_RETRY_TIMES": 0})
    return result


def rows(store):
    ledger = SqliteLedger(store / ".mediacrawl" / LEDGER_NAME, read_only=True)
    try:
        return {(entry.url.rpartition("sig=")[2], entry.state) for entry in ledger.entries()}
    finally:
        ledger.close()


def parts_in(store):
    return list((store / ".mediacrawl" / "parts").glob("*.part"))


def digest(body):
    return (Digest("sha256", bytes.fromhex(sha256(body))),)


PARTS = [
    # what the fresh link has, what is asked for, whether the part is continued
    pytest.param({}, {}, True, id="the same"),
    pytest.param({"ranges": False}, {}, True, id="without ranges"),
    pytest.param({"body": OTHER}, {}, False, id="other bytes"),
    pytest.param({"body": OTHER_BEGINNING}, {}, False, id="another beginning"),
    pytest.param({"body": OTHER_END}, {}, False, id="another end of what is here"),
    pytest.param({"body": TALK + b"more"}, {}, False, id="another length"),
    pytest.param({"etag": '"v2"'}, {}, False, id="another ETag"),
    pytest.param({"etag": None}, {}, False, id="no ETag"),
    pytest.param({"etag": 'W/"v1"'}, {}, False, id="a weak ETag"),
    pytest.param({}, {"path": "talks/other.mp4"}, False, id="another name"),
    pytest.param({}, {"key": "talk 7"}, False, id="a key of its own"),
    pytest.param({"path": "/elsewhere"}, {}, True, id="another host or path, and the name given in full"),
]


@pytest.mark.parametrize(("fresh", "asked", "is_same"), PARTS)
def test_a_part_is_continued_by_a_fresh_link_to_the_same_file(site, tmp_path, fresh, asked, is_same):
    old, new = site.link("old", expires=True), site.link("new", **fresh)
    assert run(tmp_path, old).status == FAILED
    (part,) = [path.read_bytes() for path in parts_in(tmp_path)]
    site.forget()
    result = run(tmp_path, new, **asked)
    body = fresh.get("body", TALK)
    assert files_in(tmp_path) == {asked.get("path", NAME): sha256(body)}
    if is_same:
        assert (result.status, result.saved_bytes) == (RESUMED, HERE)
        assert site.sent() <= SIZE - HERE + 2 * A_FEW or not fresh.get("ranges", True)
        assert (rows(tmp_path), parts_in(tmp_path)) == ({("new", State.DONE)}, [])
    else:
        assert (result.status, result.saved_bytes) == (DOWNLOADED, 0)
        assert rows(tmp_path) == {("old", State.FAILED), ("new", State.DONE)}
        assert [path.read_bytes() for path in parts_in(tmp_path)] == [part]
        site.expiring.clear()
        assert run(tmp_path, old).saved_bytes == HERE, "the part of the other file is as it was"
        assert sha256(TALK) in files_in(tmp_path).values()


@pytest.mark.parametrize(("etag", "fresh_etag"), [(None, None), ('"a"', '"b"'), ('W/"a"', None)])
def test_a_digest_for_both_links_is_enough(site, tmp_path, etag, fresh_etag):
    assert run(tmp_path, site.link("old", etag=etag, expires=True), digests=digest(TALK)).status == FAILED
    site.forget()
    result = run(tmp_path, site.link("new", etag=fresh_etag), digests=digest(TALK))
    assert (result.status, result.saved_bytes) == (RESUMED, HERE)
    assert (rows(tmp_path), parts_in(tmp_path)) == ({("new", State.DONE)}, [])


def test_a_digest_for_one_link_is_not_enough(site, tmp_path):
    run(tmp_path, site.link("old", etag=None, expires=True), digests=digest(OTHER))
    result = run(tmp_path, site.link("new", etag=None), digests=digest(TALK))
    assert (result.status, result.saved_bytes) == (DOWNLOADED, 0)


@pytest.mark.parametrize(("path", "is_same"), [("/talk", True), ("/elsewhere", False)])
def test_a_name_without_folders_is_found_by_a_link_that_differs_in_its_query(site, tmp_path, path, is_same):
    named = {"path": None, "filename": "talk.mp4"}
    assert run(tmp_path, site.link("old", expires=True), **named).status == FAILED
    assert run(tmp_path, site.link("new", path=path), **named).status == (RESUMED if is_same else DOWNLOADED)


def test_a_fresh_link_that_expires_too_leaves_one_row(site, tmp_path):
    run(tmp_path, site.link("old", expires=True))
    site.forget()
    site.link("new")

    def expire(request, answer=site.answer):
        got = answer(request)
        got.drop_at = 50_000 if got.stop - got.start > A_FEW else None
        return got

    site.origin.on("/talk", expire)
    assert run(tmp_path, site.link("new")).status == FAILED
    assert rows(tmp_path) == {("new", State.FAILED)}
    assert len(parts_in(tmp_path)) == 1
    site.origin.on("/talk", site.answer)
    assert run(tmp_path, site.link("newer")).saved_bytes > HERE
    assert (rows(tmp_path), parts_in(tmp_path)) == ({("newer", State.DONE)}, [])


# A file that is complete


@pytest.mark.parametrize(
    ("fresh", "asked", "is_same"),
    [
        pytest.param({}, {}, True, id="the same"),
        pytest.param({"ranges": False}, {}, True, id="without ranges"),
        pytest.param({"path": "/elsewhere"}, {}, True, id="from elsewhere"),
        pytest.param({"body": OTHER}, {}, False, id="other bytes"),
        pytest.param({"body": OTHER_BEGINNING}, {}, False, id="another beginning"),
        pytest.param({"body": TALK[:-1] + b"?"}, {}, False, id="another end"),
        pytest.param({"body": TALK[:-1]}, {}, False, id="another length"),
        pytest.param({"etag": '"v2"'}, {}, False, id="another ETag"),
        pytest.param({"etag": None}, {}, False, id="no ETag"),
        pytest.param({"etag": None}, {"digests": digest(TALK)}, True, id="no ETag, and its digest"),
        pytest.param({"body": OTHER}, {"digests": digest(OTHER)}, False, id="the digest of another"),
        pytest.param({}, {"key": "talk 7"}, False, id="a key of its own"),
    ],
)
def test_a_complete_file_is_found_by_a_fresh_link_to_it(site, tmp_path, fresh, asked, is_same):
    assert run(tmp_path, site.link("old")).status == DOWNLOADED
    site.forget()
    result = run(tmp_path, site.link("new", **fresh), **asked)
    if not is_same:
        assert result.status == DOWNLOADED
        body = fresh.get("body", TALK)
        assert files_in(tmp_path) == {NAME: sha256(TALK), NAME.replace(".", "-2."): sha256(body)}
        assert rows(tmp_path) == {("old", State.DONE), ("new", State.DONE)}
        return
    assert (result.status, result.entry.path, result.url) == (UPTODATE, NAME, site.link("new", **fresh))
    assert site.sent() <= A_FEW or not fresh.get("ranges", True)
    assert (rows(tmp_path), files_in(tmp_path)) == ({("new", State.DONE)}, {NAME: sha256(TALK)})
    site.forget()
    assert run(tmp_path, site.link("new", **fresh), **asked).status == UPTODATE
    assert site.origin.requests == []


def test_a_file_that_has_a_key_stays_the_file_of_its_key(site, tmp_path):
    run(tmp_path, site.link("old"), key="talk 7")
    assert run(tmp_path, site.link("new")).status == DOWNLOADED
    assert rows(tmp_path) == {("old", State.DONE), ("new", State.DONE)}


def test_two_files_of_a_list_that_want_one_name_are_two_files(site, tmp_path):
    urls = [site.link("one"), site.link("two", body=OTHER)]
    for _ in range(2):
        results = list(fetch([FileRequest.of_url(url, filename="talk.mp4") for url in urls], store=tmp_path))
        assert {result.status for result in results} <= {DOWNLOADED, UPTODATE}
        assert sorted(files_in(tmp_path).values()) == sorted([sha256(TALK), sha256(OTHER)])


# A kill


@pytest.fixture(scope="module", params=["kill", "power cut"])
def killed(request, tmp_path_factory):
    root, prepared = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("prepared")
    with Origin() as origin:
        site = Site(origin)
        old, new = site.link("old", expires=True), site.link("new")
        bring(prepared, old)
        command = [sys.executable, adoption_job.__file__, str(root), str(prepared), new]
        said = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
        assert (said.returncode, said.stderr) == (0, "")
        yield site, new, root, request.param


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_amid_the_steps_loses_nothing(killed, step, monkeypatch):
    site, new, root, end = killed
    if end == "power cut":
        monkeypatch.setattr("mediacrawl.store.parts.boot_id", lambda: "the next boot")
    store = root / step
    site.forget()
    (result,) = bring(store, new)
    assert result.status in {RESUMED, UPTODATE}
    assert site.sent() <= SIZE - HERE + 2 * A_FEW, "nothing that was here travels again"
    assert files_in(store) == {NAME: sha256(TALK)}
    assert (rows(store), parts_in(store)) == ({("new", State.DONE)}, [])
    assert list((store / ".mediacrawl" / "parts").iterdir()) == []

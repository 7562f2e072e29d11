"""Uploads on part files: what is told is durable, one writer at a time, safe names, quotas, and nothing half."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from uploading import ANNA, BERT, MIB, content, sha256, uploaded, wish

from mediacrawl.backends import open_ledger
from mediacrawl.errors import DiskFull, MachineError
from mediacrawl.ledger.upload_keys import UPLOAD, upload_key
from mediacrawl.server.accounts.rights import Person
from mediacrawl.server.uploads import quotas
from mediacrawl.server.uploads.problems import (
    ChecksumMismatch,
    NameRefused,
    NoSuchUpload,
    NotWhole,
    OffsetConflict,
    QuotaSpent,
    TakenOver,
    TooManyUploads,
    UploadInUse,
    UploadTooLarge,
)
from mediacrawl.server.uploads.uploads import UPLOAD_KEPT_S, Checksum, Uploads
from mediacrawl.store.local import HIDDEN

DATA = content(300_000)


@pytest.fixture
def uploads(tmp_path):
    found = Uploads(tmp_path)
    yield found
    found.close()


def rows(store):
    ledger = open_ledger(str(store / HIDDEN / "ledger.sqlite3"), read_only=True)
    try:
        return list(ledger.entries(prefix=UPLOAD))
    finally:
        ledger.close()


def files(store):
    return sorted(
        str(path.relative_to(store)) for path in store.rglob("*") if path.is_file() and HIDDEN not in path.parts
    )


def parts(store):
    return sorted(path.name for path in (store / HIDDEN / "parts").iterdir())


def begun(uploads, data=DATA, **more):
    """An upload with some bytes that are durable."""
    facts = uploads.create(wish(length=len(DATA), **more))
    writer = uploads.writer(facts.id, more.get("person", ANNA), 0)
    writer.write(data)
    writer.close()
    return facts.id


# The way of one upload


def test_a_whole_upload_is_a_file_and_a_row_with_who_and_when_and_no_url(uploads, tmp_path):
    before = time.time()
    assert uploaded(uploads, DATA, "a.jpg", folder="pictures", modified=1_600_000_000.0) == "pictures/a.jpg"
    assert (tmp_path / "pictures/a.jpg").read_bytes() == DATA
    assert (tmp_path / "pictures/a.jpg").stat().st_mtime == 1_600_000_000
    (row,) = rows(tmp_path)
    assert row.key.startswith(upload_key("anna"))
    assert (row.url, row.state, row.path, row.size_bytes) == ("", "done", "pictures/a.jpg", len(DATA))
    assert (row.sha256, row.http_status, row.page, row.spider) == (sha256(DATA), None, None, None)
    assert before <= row.finished_at <= time.time()
    assert parts(tmp_path) == []
    assert uploads.list_unfinished(ANNA) == []


def test_nothing_half_has_a_name(uploads, tmp_path):
    upload = begun(uploads, DATA[:200_000])
    assert files(tmp_path) == []
    facts = uploads.facts(upload, ANNA)
    assert (facts.offset, facts.length_bytes, facts.path, facts.is_whole) == (200_000, len(DATA), "a.jpg", False)
    with pytest.raises(NotWhole):
        uploads.finish(upload, ANNA)
    assert [(one.id, one.offset) for one in uploads.list_unfinished(ANNA)] == [(upload, 200_000)]
    assert files(tmp_path) == []
    assert rows(tmp_path)[0].state == "pending"


def test_an_upload_goes_on_where_it_ends_also_after_a_restart(uploads, tmp_path):
    upload = begun(uploads, DATA[:1000])
    uploads.close()
    again = Uploads(tmp_path)
    try:
        assert again.facts(upload, ANNA).offset == 1000
        for offset in (0, 999, 1001):
            with pytest.raises(OffsetConflict) as raised:
                again.writer(upload, ANNA, offset)
            assert raised.value.offset == 1000
        writer = again.writer(upload, ANNA, 1000)
        writer.write(DATA[1000:])
        assert (writer.checkpoint(), writer.close(), writer.close()) == (len(DATA),) * 3
        assert again.finish(upload, ANNA) == again.finish(upload, ANNA) == "a.jpg"
        facts = again.facts(upload, ANNA)
        assert (facts.is_published, facts.offset, facts.path) == (True, len(DATA), "a.jpg")
    finally:
        again.close()
    assert (tmp_path / "a.jpg").read_bytes() == DATA
    assert rows(tmp_path)[0].sha256 == sha256(DATA)


def test_the_writer_of_the_last_byte_finishes(uploads, tmp_path):
    for number, size in enumerate((0, 5, 200_000)):
        data = content(size)
        upload = uploads.create(wish(f"{number}.bin", size)).id
        writer = uploads.writer(upload, ANNA, 0)
        writer.write(data)
        assert uploads.finish(upload, ANNA, writer) == f"{number}.bin"
        assert (tmp_path / f"{number}.bin").read_bytes() == data
        assert uploads.facts(upload, ANNA).is_published
    assert parts(tmp_path) == []
    upload = uploads.create(wish("half", 5)).id
    writer = uploads.writer(upload, ANNA, 0)
    writer.write(b"x")
    with pytest.raises(NotWhole):
        uploads.finish(upload, ANNA, writer)
    assert uploads.facts(upload, ANNA).offset == 1
    first = uploads.writer(upload, ANNA, 1)
    uploads.writer(upload, ANNA, 1)
    with pytest.raises(TakenOver):
        uploads.finish(upload, ANNA, first)
    checksum = Checksum("sha1", b"x" * 20)
    writer = uploads.writer(upload, ANNA, 1, checksum=checksum)
    writer.write(b"1234")
    with pytest.raises(ChecksumMismatch):
        uploads.finish(upload, ANNA, writer)
    assert uploads.facts(upload, ANNA).offset == 1


def test_an_empty_file_is_a_file(uploads, tmp_path):
    assert uploads.finish(uploads.create(wish("empty", 0)).id, ANNA) == "empty"
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_file_of_unknown_length_ends_where_its_client_says(uploads, tmp_path):
    upload = uploads.create(wish("song.mp3")).id
    for start in range(0, len(DATA), 100_000):
        writer = uploads.writer(upload, ANNA, start)
        writer.write(DATA[start : start + 100_000])
        writer.close()
    assert uploads.facts(upload, ANNA).length_bytes is None
    assert uploads.finish(upload, ANNA) == "song.mp3"
    assert (tmp_path / "song.mp3").read_bytes() == DATA
    assert rows(tmp_path)[0].size_bytes == len(DATA)


def test_more_bytes_than_announced_are_not_written(uploads):
    upload = uploads.create(wish(length=10)).id
    writer = uploads.writer(upload, ANNA, 0)
    writer.write(b"0123456789")
    with pytest.raises(UploadTooLarge):
        writer.write(b"x")
    assert writer.close() == 10
    with pytest.raises(UploadTooLarge):
        uploads.create(wish(length=1 << 51))


def test_an_upload_is_of_one_person(uploads):
    upload = begun(uploads)
    for call in (
        lambda: uploads.facts(upload, BERT),
        lambda: uploads.look(upload, BERT),
        lambda: uploads.writer(upload, BERT, 0),
        lambda: uploads.finish(upload, BERT),
        lambda: uploads.remove(upload, BERT),
        lambda: uploads.facts("../anna/" + upload, BERT),
        lambda: uploads.facts("", ANNA),
    ):
        with pytest.raises(NoSuchUpload):
            call()
    assert uploads.list_unfinished(BERT) == []


def test_a_removed_upload_leaves_nothing_and_a_file_stays(uploads, tmp_path):
    upload = begun(uploads)
    uploads.remove(upload, ANNA)
    assert (rows(tmp_path), parts(tmp_path)) == ([], [])
    with pytest.raises(NoSuchUpload):
        uploads.facts(upload, ANNA)
    upload = begun(uploads)
    uploads.finish(upload, ANNA)
    with pytest.raises(NoSuchUpload):
        uploads.remove(upload, ANNA)
    assert (tmp_path / "a.jpg").read_bytes() == DATA


def test_an_upload_expires_some_days_after_its_last_byte(tmp_path):
    now = [time.time() - UPLOAD_KEPT_S + 100]
    uploads = Uploads(tmp_path, clock=lambda: now[0])
    try:
        old, written = uploads.create(wish("old", 5)).id, begun(uploads)
        uploaded(uploads, b"x", "done")
        now[0] = time.time()
        assert uploads.sweep() == 0
        now[0] += 200
        assert uploads.sweep() == 1
        assert [facts.id for facts in uploads.list_unfinished(ANNA)] == [written]
        with pytest.raises(NoSuchUpload):
            uploads.facts(old, ANNA)
        now[0] += UPLOAD_KEPT_S
        assert uploads.sweep() == 1
        assert (files(tmp_path), parts(tmp_path), len(rows(tmp_path))) == (["done"], [], 1)
    finally:
        uploads.close()


@pytest.mark.parametrize("modified", [0.0, 253402300799.0])
def test_the_time_that_a_client_tells_alters_no_expiry(tmp_path, modified):
    """The file gets it before its name, and an attempt to give it the name may fail."""
    now = [time.time() - UPLOAD_KEPT_S - 100]
    uploads = Uploads(tmp_path, clock=lambda: now[0])
    try:
        upload = begun(uploads, folder="late", modified=modified)
        now[0] = time.time()
        (tmp_path / "late").write_bytes(b"")
        with pytest.raises(NameRefused):
            uploads.finish(upload, ANNA)
        assert uploads.sweep() == 0
        assert abs(uploads.facts(upload, ANNA).expires_at - time.time() - UPLOAD_KEPT_S) < 1000
        now[0] += UPLOAD_KEPT_S + 1000
        assert uploads.sweep() == 1
    finally:
        uploads.close()


def test_an_upload_that_is_forgotten_while_it_arrives_leaves_no_bytes(uploads, tmp_path):
    upload = begun(uploads, DATA[:200_000])
    writer = uploads.writer(upload, ANNA, 200_000)
    writer.write(DATA[200_000:])
    uploads._archive.forget([upload_key("anna", upload)])
    with pytest.raises(NoSuchUpload):
        uploads.finish(upload, ANNA, writer)
    assert (parts(tmp_path), files(tmp_path)) == ([], [])


# Digests


def test_a_file_with_another_digest_than_announced_is_refused(uploads, tmp_path):
    with pytest.raises(ChecksumMismatch):
        uploaded(uploads, DATA, sha256=sha256(b"other"))
    assert (files(tmp_path), parts(tmp_path), rows(tmp_path)) == ([], [], [])
    assert uploaded(uploads, DATA, sha256=sha256(DATA).upper()) == "a.jpg"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_bytes_with_a_checksum_count_once_it_is_right(uploads, tmp_path, algorithm):
    import hashlib

    upload = begun(uploads, DATA[:200_000])
    for wrong in (True, False):
        data = DATA[200_000:]
        digest = hashlib.new(algorithm, b"other" if wrong else data).digest()
        writer = uploads.writer(upload, ANNA, 200_000, checksum=Checksum(algorithm, digest))
        writer.write(data[:50_000])
        assert writer.checkpoint() == 200_000
        writer.write(data[50_000:])
        if wrong:
            with pytest.raises(ChecksumMismatch):
                writer.close()
            assert uploads.facts(upload, ANNA).offset == 200_000
        else:
            assert writer.close() == len(DATA)
    assert uploads.finish(upload, ANNA) == "a.jpg"
    assert rows(tmp_path)[0].sha256 == sha256(DATA) == sha256((tmp_path / "a.jpg").read_bytes())


def test_bytes_whose_checksum_was_not_compared_are_dropped(uploads):
    upload = begun(uploads, DATA[:200_000])
    for end in (lambda writer: writer.drop(), lambda _: uploads.facts(upload, ANNA)):
        writer = uploads.writer(upload, ANNA, 200_000, checksum=Checksum("sha1", b"x" * 20))
        writer.write(DATA[200_000:])
        end(writer)
        assert uploads.facts(upload, ANNA).offset == 200_000
    writer = uploads.writer(upload, ANNA, 200_000)
    writer.write(DATA[200_000:])
    writer.close()
    assert uploads.finish(upload, ANNA) == "a.jpg"


# Names


def test_a_taken_name_is_numbered_and_the_same_bytes_are_there_once(uploads, tmp_path):
    assert uploaded(uploads, b"1") == "a.jpg"
    assert uploaded(uploads, b"2") == "a-2.jpg"
    assert uploaded(uploads, b"2", person=BERT) == "a-2.jpg"
    assert uploaded(uploads, b"3", name="A.JPG") == "A-2.JPG" or (tmp_path / "A-3.JPG").exists()
    assert uploaded(uploads, b"1") == "a.jpg"
    assert len(rows(tmp_path)) == 3
    (tmp_path / "a.jpg").write_bytes(b"9")  # by the owner: as long, and with other bytes
    assert uploaded(uploads, b"1") not in {"a.jpg", "a-2.jpg"}
    (tmp_path / "b.jpg").write_bytes(b"of the owner")
    assert uploaded(uploads, b"4", name="b.jpg") == "b-2.jpg"


def test_the_same_bytes_are_there_once_also_with_a_name_that_some_systems_take_for_the_same(uploads, tmp_path):
    (tmp_path / "song").mkdir()
    (tmp_path / "strange").write_bytes(b"of somebody else")
    for _ in range(3):
        paths = [uploaded(uploads, DATA, name) for name in ("a.jpg", "A.JPG", "song", "strange")]
        assert paths == ["a.jpg", "a.jpg", "song-2", "strange-2"]
    assert files(tmp_path) == ["a.jpg", "song-2", "strange", "strange-2"]


def test_the_same_bytes_that_are_finished_at_once_are_there_once(uploads, tmp_path):
    """A browser repeats a request whose answer is lost."""
    found, start = [], threading.Barrier(8)

    def finish(upload):
        start.wait()
        found.append(uploads.finish(upload, ANNA))

    threads = [threading.Thread(target=finish, args=[begun(uploads)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["a.jpg"] * 8
    assert files(tmp_path) == ["a.jpg"]


def test_an_upload_that_was_there_already_is_told_as_finished(uploads):
    uploaded(uploads, DATA)
    upload = begun(uploads)
    assert uploads.finish(upload, ANNA) == "a.jpg"
    facts = uploads.facts(upload, ANNA)
    assert (facts.is_published, facts.path, facts.offset, facts.length_bytes) == (True, "a.jpg", len(DATA), len(DATA))
    assert uploads.finish(upload, ANNA) == "a.jpg"


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        ("", "../../etc/passwd", "etc/passwd"),
        ("", "/etc/passwd", "etc/passwd"),
        ("a/../../b", "..", "a/b/file"),
        ("", ".mediacrawl/ledger.sqlite3", "mediacrawl/ledger.sqlite3"),
        ("", ".htaccess", "htaccess"),
        ("", "C:\\Windows\\a.exe", "C_/Windows/a.exe"),
        ("", "", "file"),
        ("x", "CON.txt", "x/_CON.txt"),
        ("x", "a\x00\x1b[31m\u202egpj.exe", "x/a[31mgpj.exe"),
        ("x", "<script>alert(1)</script>", "x/_script_alert(1)_/script_"),
        ("x", "e\u0301.jpg", "x/\u00e9.jpg"),
        ("x", "\udcff.jpg", "x/file.jpg"),
        ("~anna", "a.jpg", "~anna/a.jpg"),
        ("~anna/x", "y/a.jpg", "~anna/x/y/a.jpg"),
        ("~anna/../~bert", "a.jpg", "~anna/~bert/a.jpg"),
        ("~anna.", "../~bert/x", "~anna/~bert/x"),
    ],
)
def test_names_become_safe_ones(uploads, folder, name, path):
    found = uploads.create(wish(name, 1, folder=folder)).path
    if path == "x/file.jpg":
        assert found.startswith("x/")
    else:
        assert found == path


@pytest.mark.parametrize(
    ("person", "folder", "name"),
    [
        (ANNA, "~bert", "a.jpg"),
        (ANNA, "", "~bert/a.jpg"),
        (ANNA, "\u200c~bert", "a.jpg"),
        (ANNA, "~ANNA", "a.jpg"),
        (ANNA, "", "~anna"),
        (ANNA, "", "~bert"),
        (ANNA._replace(can_upload=False), "", "a.jpg"),
        (ANNA._replace(can_upload=False), "~anna", "a.jpg"),
        (ANNA._replace(can_read=False), "common", "a.jpg"),
        (ANNA._replace(can_read=False, can_manage=True), "common", "a.jpg"),
    ],
)
def test_what_a_person_may_not_read_they_may_not_write(uploads, tmp_path, person, folder, name):
    with pytest.raises(NameRefused):
        uploads.create(wish(name, 1, person=person, folder=folder))
    assert rows(tmp_path) == []


@pytest.mark.parametrize(
    ("person", "said"),
    [
        (ANNA._replace(can_read=False), "add the file common/a.jpg: choose the folder ~anna"),
        (ANNA._replace(can_upload=False), "upload: a manager of this server can give the right to upload"),
    ],
)
def test_a_refusal_says_what_the_person_can_do(uploads, person, said):
    with pytest.raises(NameRefused, match=f"^anna may not {said}$"):
        uploads.create(wish("a.jpg", 1, person=person, folder="common"))


def test_a_right_that_is_withdrawn_ends_an_upload(uploads, tmp_path):
    upload = begun(uploads)
    for person in (ANNA._replace(can_upload=False), ANNA._replace(can_read=False)):
        with pytest.raises(NameRefused):
            uploads.writer(upload, person, len(DATA))
        with pytest.raises(NameRefused):
            uploads.finish(upload, person)
    assert files(tmp_path) == []
    assert uploads.finish(upload, ANNA) == "a.jpg"


def test_without_the_common_folder_a_file_goes_to_the_own_one(uploads):
    assert uploads.create(wish("a.jpg", 1, person=ANNA._replace(can_read=False))).path == "~anna/a.jpg"


def test_a_file_in_the_place_of_a_folder_and_the_reverse(uploads, tmp_path):
    (tmp_path / "film").write_bytes(b"")
    with pytest.raises(NameRefused):
        uploads.create(wish("a.jpg", 1, folder="film/x"))
    (tmp_path / "song").mkdir()
    assert uploaded(uploads, b"x", "song") == "song-2"
    upload = uploads.create(wish("a.jpg", 1, folder="late")).id
    writer = uploads.writer(upload, ANNA, 0)
    writer.write(b"x")
    writer.close()
    (tmp_path / "late").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(NameRefused):
            uploads.finish(upload, ANNA)
    (tmp_path / "late").unlink()
    assert uploads.finish(upload, ANNA) == "late/a.jpg"


def test_a_link_in_the_store_leads_nowhere(uploads, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (tmp_path / "up").symlink_to(outside)
    (tmp_path / "a.jpg").symlink_to(outside / "a.jpg")
    for folder in ("up", "up/deeper"):
        with pytest.raises(NameRefused):
            uploads.create(wish(length=1, folder=folder))
    upload = begun(uploads, folder="late/deeper")
    (tmp_path / "late").symlink_to(outside)
    with pytest.raises(NameRefused) as refused:
        uploads.finish(upload, ANNA)
    assert str(tmp_path) not in str(refused.value), "a path of the machine"
    assert uploaded(uploads, b"x") == "a-2.jpg"
    assert list(outside.iterdir()) == []


# Quotas


def test_a_quota_counts_what_is_there_and_what_is_announced(uploads, tmp_path):
    anna = ANNA._replace(quota_bytes=1000)
    uploaded(uploads, b"x" * 400, "one", person=anna)
    announced = uploads.create(wish("two", 500, person=anna)).id
    assert uploads.left_bytes(anna) == 100
    with pytest.raises(QuotaSpent):
        uploads.create(wish("three", 101, person=anna))
    uploads.create(wish("three", 100, person=anna))
    uploads.create(wish("empty", 0, person=anna))
    uploads.create(wish("of bert", 5000, person=BERT))
    uploads.remove(announced, anna)
    assert uploads.left_bytes(anna) == 500
    assert uploads.left_bytes(BERT) is None
    assert uploaded(uploads, b"x" * 400, "one", person=anna) == "one", "the file is there: nothing is added"
    assert uploads.left_bytes(anna) == 500


def test_a_file_of_unknown_length_ends_at_the_quota(uploads):
    anna = ANNA._replace(quota_bytes=20 * MIB)
    upload = uploads.create(wish(person=anna)).id
    writer = uploads.writer(upload, anna, 0)
    block = bytes(MIB)
    for _ in range(20):
        writer.write(block)
    with pytest.raises(QuotaSpent):
        writer.write(b"x")
    assert writer.close() == 20 * MIB
    assert uploads.left_bytes(anna) == 0
    uploads.finish(upload, anna)
    assert uploads.left_bytes(anna) == 0


def test_a_quota_holds_in_several_processes_and_threads(uploads, tmp_path):
    anna = ANNA._replace(quota_bytes=100)
    others = [uploads, Uploads(tmp_path)]
    made, refused = [], []

    def create(uploads):
        for _ in range(10):
            try:
                made.append(uploads.create(wish(length=10, person=anna)).id)
            except QuotaSpent:
                refused.append(1)

    threads = [threading.Thread(target=create, args=[others[number % 2]]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    others[1].close()
    assert (len(made), len(refused)) == (10, 30)


def test_a_person_has_so_many_unfinished_uploads(uploads, monkeypatch):
    monkeypatch.setattr(quotas, "MOST_UNFINISHED", 3)
    for number in range(3):
        uploads.create(wish(str(number), 1))
    with pytest.raises(TooManyUploads):
        uploads.create(wish("more", 1))
    uploads.create(wish("more", 1, person=BERT))


# One writer at a time


def test_the_newest_writer_goes_on_and_the_one_before_is_told(uploads, tmp_path):
    upload = begun(uploads, DATA[:1000])
    told = []
    first = uploads.writer(upload, ANNA, 1000, at_takeover=lambda: told.append("first"))
    first.write(DATA[1000:2000])
    second = uploads.writer(upload, ANNA, 2000, at_takeover=lambda: told.append("second"))
    for call in (lambda: first.write(b"x"), first.checkpoint, first.close, first.drop):
        with pytest.raises(TakenOver):
            call()
    assert told == ["first"]
    second.write(DATA[2000:])
    assert uploads.look(upload, ANNA).offset == len(DATA)
    assert uploads.facts(upload, ANNA).offset == len(DATA)
    assert told == ["first", "second"]
    assert uploads.finish(upload, ANNA) == "a.jpg"
    assert uploads.look(upload, ANNA).offset == len(DATA)
    assert (tmp_path / "a.jpg").read_bytes() == DATA


def test_many_writers_at_once_leave_one_right_file(uploads, tmp_path):
    upload, data = uploads.create(wish(length=20_000)).id, content(20_000)
    over = threading.Event()

    def go_on():
        while not over.is_set():
            try:
                writer = uploads.writer(upload, ANNA, offset := uploads.facts(upload, ANNA).offset)
                for start in range(offset, len(data), 500):
                    writer.write(data[start : start + 500])
                writer.close()
                over.set()
            except (TakenOver, OffsetConflict, UploadInUse):
                pass

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert over.is_set()
    uploads.finish(upload, ANNA)
    assert (tmp_path / "a.jpg").read_bytes() == data


def test_an_upload_that_is_finished_while_its_facts_are_looked_up_is_told_as_finished(uploads, monkeypatch):
    upload = begun(uploads)
    locked = uploads._lock

    def finished_before(*arguments):
        monkeypatch.setattr(uploads, "_lock", locked)
        uploads.finish(upload, ANNA)
        return locked(*arguments)

    monkeypatch.setattr(uploads, "_lock", finished_before)
    assert uploads.facts(upload, ANNA).is_published


OTHER = """
    import sys, time
    from pathlib import Path
    sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
    from uploading import ANNA
    from mediacrawl.server.uploads.uploads import Uploads
    from mediacrawl.server.uploads.problems import TakenOver
    uploads = Uploads(Path(sys.argv[2]))
    writer = uploads.writer(sys.argv[3], ANNA, int(sys.argv[4]), at_takeover=lambda: print("taken", flush=True))
    writer.write(b"x" * 1000)
    print("written", flush=True)
    sys.stdin.read()
    try:
        writer.write(b"y")
    except TakenOver:
        print("over", flush=True)
"""


def other_process(store, upload, offset):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OTHER), Path(__file__).parent, store, upload, str(offset)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "written\n"
    return process


def test_a_writer_of_another_process_is_ended_too(uploads, tmp_path):
    upload = begun(uploads, b"x" * 1000)
    with other_process(tmp_path, upload, 1000) as process:
        assert uploads.facts(upload, ANNA).offset == 2000
        assert process.stdout.readline() == "taken\n"
        assert process.communicate("")[0] == "over\n"
    assert uploads.facts(upload, ANNA).offset == 2000
    assert list((tmp_path / HIDDEN / "handovers").iterdir()) == []


def test_what_is_no_request_among_the_requests_of_processes_ends_none(uploads, tmp_path):
    upload = begun(uploads, b"x" * 1000)
    for number in range(20):
        (tmp_path / HIDDEN / "handovers" / str(number)).mkdir(parents=True)
    with other_process(tmp_path, upload, 1000) as process:
        assert uploads.facts(upload, ANNA).offset == 2000
        process.communicate("")


def test_the_offset_in_a_conflict_is_durable(uploads, tmp_path):
    upload, steps = begun(uploads, b"x" * 1000), []
    with other_process(tmp_path, upload, 1000) as process:
        process.kill()
        process.wait()
        uploads._store.parts.at_step = steps.append
        with pytest.raises(OffsetConflict) as conflict:
            uploads.writer(upload, ANNA, 1000)
    assert (conflict.value.offset, steps) == (2000, ["part-sync", "part-record"])


def test_a_process_that_does_not_answer_holds_an_upload_until_it_ends(uploads, tmp_path, monkeypatch):
    from mediacrawl.server.uploads import held_parts

    monkeypatch.setattr(held_parts, "_HANDED_OVER_WITHIN_S", 0.3)
    upload = begun(uploads, b"x" * 1000)
    with other_process(tmp_path, upload, 1000) as process:
        process.send_signal(signal.SIGSTOP)
        for call in (lambda: uploads.facts(upload, ANNA), lambda: uploads.writer(upload, ANNA, 1000)):
            with pytest.raises(UploadInUse):
                call()
        process.kill()
        process.wait()
        assert uploads.facts(upload, ANNA).offset == 2000, "what was written counts after a kill"


# Joined uploads


def partial(uploads, data, **more):
    facts = uploads.create(wish("part", len(data), concat="partial", **more))
    writer = uploads.writer(facts.id, ANNA, 0)
    writer.write(data)
    writer.close()
    return facts.id


def test_uploads_are_joined_to_one(uploads, tmp_path):
    ids = [partial(uploads, DATA[start : start + 100_000]) for start in range(0, len(DATA), 100_000)]
    with pytest.raises(NotWhole):
        uploads.finish(ids[0], ANNA)
    facts = uploads.join(wish("film.mkv", sha256=sha256(DATA)), ids)
    assert (facts.path, facts.length_bytes, facts.offset, facts.is_published) == (
        "film.mkv",
        len(DATA),
        len(DATA),
        True,
    )
    assert (tmp_path / "film.mkv").read_bytes() == DATA
    assert (parts(tmp_path), [row.state for row in rows(tmp_path)]) == ([], ["done"])
    assert uploads.join(wish("film.mkv"), ids).id == facts.id, "a client that has lost the response asks again"
    assert uploads.facts(ids[0], ANNA).offset == 100_000
    for others in (ids[::-1], ids[:1], ids[1:]):  # which would be other files
        with pytest.raises(NoSuchUpload):
            uploads.join(wish("film.mkv"), others)


def test_uploads_that_cannot_be_joined_stay(uploads, tmp_path):
    whole, half = partial(uploads, DATA), uploads.create(wish(length=5, concat="partial")).id
    for ids in ([whole, half], [whole, whole], [], [begun(uploads)], [whole] * 101):
        with pytest.raises(NotWhole):
            uploads.join(wish("film.mkv"), ids)
    with pytest.raises(NoSuchUpload):
        uploads.join(wish("film.mkv", person=BERT), [whole])
    with pytest.raises(ChecksumMismatch):
        uploads.join(wish("film.mkv", sha256=sha256(b"other")), [whole])
    assert files(tmp_path) == []
    assert uploads.facts(whole, ANNA).is_whole


def test_joined_uploads_fit_in_a_quota_once(uploads):
    anna = ANNA._replace(quota_bytes=2 * len(DATA))
    ids = [partial(uploads, DATA[:100_000], person=anna), partial(uploads, DATA[100_000:], person=anna)]
    uploads.join(wish("film.mkv", person=anna), ids)
    assert uploads.left_bytes(anna) == len(DATA)


# Crashes and a full disk

KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
    from uploading import ANNA, wish, content
    from mediacrawl.server.uploads.uploads import Uploads
    uploads = Uploads(Path(sys.argv[2]))
    step, data = sys.argv[3], content(300_000)
    facts = uploads.create(wish(length=len(data)))
    print(facts.id, flush=True)
    writer = uploads.writer(facts.id, ANNA, 0)
    writer.write(data)
    if sys.argv[4] == "closed":
        writer.close()
        writer = None

    def die(name):
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    uploads._store.at_step = uploads._store.parts.at_step = die
    uploads.finish(facts.id, ANNA, writer)
"""
STEPS = ["file-sync", "ledger-claim", "file-rename", "folder-sync", "ledger-done", "part-forget"]


@pytest.mark.parametrize("writer", ["closed", "open"])
@pytest.mark.parametrize("step", STEPS)
def test_an_upload_is_published_or_unfinished_after_a_kill_at_each_step(tmp_path, step, writer):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), Path(__file__).parent, tmp_path, step, writer]
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    upload = killed.stdout.strip()
    uploads = Uploads(tmp_path)
    try:
        facts = uploads.facts(upload, ANNA)
        assert (facts.offset, facts.is_whole) == (len(DATA), True)
        assert files(tmp_path) == (["a.jpg"] if facts.is_published else [])
        assert uploads.finish(upload, ANNA) == "a.jpg"
        assert (tmp_path / "a.jpg").read_bytes() == DATA
        (row,) = rows(tmp_path)
        assert (row.state, row.sha256, parts(tmp_path)) == ("done", sha256(DATA), [])
        assert uploaded(uploads, DATA) == "a.jpg"  # for a client that begins anew, as it has had no answer
    finally:
        uploads.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_client_that_has_had_no_answer_begins_anew_with_the_same_name(tmp_path, step):
    """It does not know the upload that a kill has left."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED), Path(__file__).parent, tmp_path, step, "closed"]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    uploads = Uploads(tmp_path)
    try:
        assert uploaded(uploads, DATA) == "a.jpg"
        assert files(tmp_path) == ["a.jpg"]
        for left in uploads.list_unfinished(ANNA):
            assert uploads.finish(left.id, ANNA) == "a.jpg"
        assert (files(tmp_path), parts(tmp_path)) == (["a.jpg"], [])
    finally:
        uploads.close()


def test_an_upload_whose_publication_failed_leaves_its_name_to_others(uploads, monkeypatch):
    def full(*_args, **_options):
        raise DiskFull("no space left on device")

    upload = begun(uploads)
    with monkeypatch.context() as patched:
        patched.setattr(uploads._store, "rename_in", full)
        with pytest.raises(DiskFull):
            uploads.finish(upload, ANNA)
    assert uploaded(uploads, DATA) == "a.jpg"
    assert uploads.finish(upload, ANNA) == "a.jpg"


def test_a_full_disk_ends_a_writer_and_what_is_durable_stays(uploads, tmp_path, monkeypatch):
    upload = begun(uploads, DATA[:200_000])
    writer = uploads.writer(upload, ANNA, 200_000)
    written = os.pwrite

    def full(fd, data, offset):
        if offset >= 250_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(fd, data[: 250_000 - offset], offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(DiskFull):
            writer.write(DATA[200_000:])
    offset = writer.close()
    assert offset >= 200_000
    assert uploads.facts(upload, ANNA).offset >= offset
    offset = uploads.facts(upload, ANNA).offset
    writer = uploads.writer(upload, ANNA, offset)
    writer.write(DATA[offset:])
    writer.close()
    assert uploads.finish(upload, ANNA) == "a.jpg"
    assert (tmp_path / "a.jpg").read_bytes() == DATA
    assert rows(tmp_path)[0].sha256 == sha256(DATA)


def test_a_file_that_is_larger_than_the_disk_is_refused_before_its_first_byte(uploads, tmp_path):
    with pytest.raises(DiskFull):
        uploads.create(wish(length=1 << 50))
    assert rows(tmp_path) == []


def test_a_store_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(MachineError):
        Uploads(tmp_path / "store")


def test_a_person_without_a_limit_has_none():
    assert Person("x").quota_bytes is None

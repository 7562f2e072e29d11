"""The commands of a store with files that people have uploaded: they have no URL, and stay where they are."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from crawling import run

sys.path.append(str(Path(__file__).parents[1] / "server"))  # for the wishes of `uploading`

from uploading import ANNA, content, sha256, uploaded, wish

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.ledger.upload_keys import UPLOAD
from mediacrawl.server.uploads.problems import NameRefused
from mediacrawl.server.uploads.uploads import Uploads
from mediacrawl.store.local import HIDDEN

DATA = content(300_000)


@pytest.fixture
def store(tmp_path):
    """A store with two uploaded files, and an upload that is not finished."""
    root = tmp_path / "store"
    root.mkdir()
    uploads = Uploads(root)
    try:
        uploaded(uploads, DATA, "a.jpg", folder="pictures")
        uploaded(uploads, b"text", "b.txt", folder="~anna")
        facts = uploads.create(wish("film.mkv", len(DATA)))
        writer = uploads.writer(facts.id, ANNA, 0)
        writer.write(DATA[:200_000])
        writer.close()
    finally:
        uploads.close()
    return root


def rows(store):
    ledger = SqliteLedger(store / HIDDEN / LEDGER_NAME, read_only=True)
    try:
        return {row.path: row for row in ledger.entries(prefix=UPLOAD)}
    finally:
        ledger.close()


def test_status_counts_uploads_apart(command, store):
    told = {"done": 2, "partial": 0, "pending": 0, "failed": 0, "bytes": 300_004, "uploads": 1}
    assert json.loads(command("status", "--json").out) == told
    assert command("status").out.endswith("pending 0, failed 0, unfinished uploads 1\n")


def test_the_manifest_names_who_and_when_and_no_url(command, store):
    first, second = map(json.loads, sorted(command("manifest").out.splitlines(), key=lambda line: "~anna" in line))
    assert (first["url"], first["uploaded_by"], first["path"]) == ("", "anna", "pictures/a.jpg")
    assert (first["size"], first["sha256"]) == (len(DATA), sha256(DATA))
    assert first["key"].startswith("upload:anna/")
    assert first["finished_at"]
    assert second["path"] == "~anna/b.txt"


def test_verify_reads_them_and_passes_over_the_unfinished_one(command, store):
    done = command("verify")
    assert (done.status, done.out) == (0, "damaged 0, unknown 0\n")


@pytest.mark.parametrize("repair", [False, True])
def test_a_damaged_upload_is_told_and_left_where_it_is(command, store, tmp_path, repair):
    altered = store / "pictures/a.jpg"
    altered.write_bytes(DATA[:-1] + b"x")
    os.truncate(store / "~anna/b.txt", 2)
    key = rows(store)["pictures/a.jpg"].key
    done = run(tmp_path, "verify", "--repair") if repair else command("verify")
    assert done.status == 1
    assert f"altered: pictures/a.jpg ({key}); uploaded by anna, so there is no URL to fetch it from: " in done.out
    assert "restore it from a copy, or remove its row with `forget`" in done.out
    assert "truncated: ~anna/b.txt (upload:anna/" in done.out
    assert altered.read_bytes() == DATA[:-1] + b"x"
    assert (store / "~anna/b.txt").read_bytes() == b"te"
    assert not list((store / HIDDEN).glob("quarantine/*"))
    assert {row.state for row in rows(store).values()} == {"done", "pending"}


def test_retry_never_fetches_them(store, tmp_path, command):
    ledger = SqliteLedger(store / HIDDEN / LEDGER_NAME)
    for row in list(ledger.entries(prefix=UPLOAD)):
        ledger.mark_corrupt(row.key, "altered")
    ledger.close()
    done = run(tmp_path, "retry")
    assert done.status == 0, done.err
    assert (store / "pictures/a.jpg").read_bytes() == DATA
    assert not command("status", "--json").err


def test_forget_frees_the_quota_of_a_file(command, store):
    key = rows(store)["pictures/a.jpg"].key
    assert command("forget", "--files", key).out == f"forgotten: {key}\n"
    assert not (store / "pictures/a.jpg").exists()
    uploads = Uploads(store)
    try:
        assert uploads.left_bytes(ANNA._replace(quota_bytes=1_000_000)) == 1_000_000 - 4 - len(DATA)
    finally:
        uploads.close()


def test_forget_missing_leaves_unfinished_uploads(command, store):
    """An attempt to give one its name has failed: its row has a path at which no file is."""
    uploads = Uploads(store)
    try:
        upload = uploads.create(wish("x", 4, folder="late")).id
        writer = uploads.writer(upload, ANNA, 0)
        writer.write(b"text")
        writer.close()
        (store / "late").write_bytes(b"")
        with pytest.raises(NameRefused):
            uploads.finish(upload, ANNA)
        (store / "late").unlink()
        assert command("forget", "--missing").out == ""
        assert uploads.finish(upload, ANNA) == "late/x"
    finally:
        uploads.close()


def test_a_damaged_row_of_an_upload_is_named(command, store):
    key = rows(store)["pictures/a.jpg"].key
    with closing(sqlite3.connect(store / HIDDEN / LEDGER_NAME, isolation_level=None)) as database:
        database.execute("UPDATE files SET sha256 = x'00' WHERE key = ?", (key,))
    assert f"damaged row: {key} (sha256)" in command("verify").out

"""`mediacrawl verify`: every file is read again, and what is not as the ledger says is told, fetched, taken in."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import fork_server
import pytest
from crawling import Running, environment, files_in, run, sha256
from origin import status

from mediacrawl.archive import Archive
from mediacrawl.commands import verify
from mediacrawl.ledger.base import Entry, State
from mediacrawl.store.local import LocalStore

BODIES = {f"{name}.jpg": b"\xff\xd8\xff" + name.encode() * 3997 for name in "abcd"}
JPEG = "image/jpeg"
NEXT_STEP = "restore it from a copy, or remove its row with `forget`"


@pytest.fixture
def filled(command, origin):
    """A store with a.jpg to d.jpg; `path(name)` is a file, `url(name)` where it came from."""
    urls = [origin.add(f"/{name}", body, content_type=JPEG) for name, body in BODIES.items()]
    root = command("get", *urls).folder / "store"
    origin.forget()
    folder = "get/127.0.0.1"
    return SimpleNamespace(
        root=root,
        path=lambda name: root / folder / name,
        name=lambda name: f"{folder}/{name}",
        url=lambda name: origin.url(f"/{name}"),
        all={f"{folder}/{name}": sha256(body) for name, body in BODIES.items()},
    )


def alter(path):
    """Another byte in the middle; the size stays."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


slow = pytest.mark.slow

DAMAGES = {
    "missing": lambda path: path.unlink(),
    "truncated": lambda path: os.truncate(path, 10),
    "altered": alter,
}


# --- what it finds ----------------------------------------------------------------------------------


def test_a_store_as_it_should_be_is_status_0_and_asks_nobody(command, filled, origin):
    done = command("verify")
    assert (done.status, done.out, done.err) == (0, "damaged 0, unknown 0\n", "")
    assert origin.requests == []


def test_missing_truncated_and_altered_are_told_apart(command, filled, origin):
    for name, damage in zip(("a.jpg", "b.jpg", "c.jpg"), DAMAGES.values(), strict=True):
        damage(filled.path(name))
    done = command("verify")
    assert done.status == 1
    assert done.out.splitlines() == [
        f"missing: {filled.name('a.jpg')} ({filled.url('a.jpg')})",
        f"truncated: {filled.name('b.jpg')} ({filled.url('b.jpg')})",
        f"altered: {filled.name('c.jpg')} ({filled.url('c.jpg')})",
        "damaged 3, unknown 0",
    ]
    assert origin.requests == []
    assert command("verify").out == done.out  # looking changes nothing


def test_a_file_that_was_copied_back_is_known_again_with_its_digest(command, filled):
    """The row has the identity of the file that was read: a server sends the digest for no other."""
    original = filled.path("a.jpg")
    original.with_name("copy").write_bytes(original.read_bytes())
    original.with_name("copy").replace(original)
    alter(filled.path("b.jpg"))
    assert command("verify").status == 1
    store = LocalStore(filled.root)
    archive = Archive.open(store)
    rows = {row.path.rpartition("/")[2]: row for row in archive.ledger.entries()}
    archive.close()
    identities = {name: json.dumps(store.identity(filled.name(name))) for name in BODIES}
    assert {name: row.identity == identities[name] for name, row in rows.items()} == dict.fromkeys(BODIES, True) | {
        "b.jpg": False
    }


def test_a_file_that_has_grown_is_altered(command, filled):
    with filled.path("d.jpg").open("ab") as file:
        file.write(b"more")
    assert command("verify").out.startswith(f"altered: {filled.name('d.jpg')} ")


def test_a_folder_in_the_place_of_a_file_is_damage(command, filled):
    filled.path("a.jpg").unlink()
    filled.path("a.jpg").mkdir()
    done = command("verify")
    assert (done.status, done.out.splitlines()[-1]) == (1, "damaged 1, unknown 0")


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
def test_a_file_that_was_put_back_is_noticed(command, filled, origin, state):
    """Somebody found it in the backup after a crawl (pending) or a repair (failed) had missed it."""
    body = filled.path("a.jpg").read_bytes()
    filled.path("a.jpg").unlink()
    archive = Archive.open(LocalStore(filled.root))
    if state == State.PENDING:
        archive.lookup([filled.url("a.jpg")])
    else:
        archive.ledger.mark_corrupt(filled.url("a.jpg"), "missing")
    assert archive.ledger.lookup([filled.url("a.jpg")])[filled.url("a.jpg")].state == state
    archive.close()
    assert command("verify").status == 1

    filled.path("a.jpg").write_bytes(body)
    assert command("verify").out == "damaged 0, unknown 0\n"
    assert json.loads(command("status", "--json").out)["done"] == len(BODIES)
    assert command("get", filled.url("a.jpg")).status == 0
    assert origin.requests == []


def test_another_file_in_its_place_is_not_taken_for_the_one_that_was_put_back(command, filled, ledger):
    alter(filled.path("a.jpg"))
    ledger.mark_corrupt(filled.url("a.jpg"), "altered")
    assert command("verify").status == 1
    assert ledger.lookup([filled.url("a.jpg")])[filled.url("a.jpg")].state == State.FAILED


def test_a_file_that_a_crawl_replaces_while_it_is_read_is_not_damaged(command, filled, ledger, monkeypatch):
    """The row that was read first is of the version before."""
    compared, seen = verify.compared, []

    def replaced_meanwhile(store, entry, bar):
        if entry.url == filled.url("a.jpg") and not seen:
            new = b"a new version"
            filled.path("a.jpg").write_bytes(new)
            claimed = Entry(entry.key, entry.url, path=entry.path, size_bytes=len(new), sha256=sha256(new))
            ledger.claim(claimed)
            ledger.finish([claimed], 5.0)
        if entry.url == filled.url("a.jpg"):
            seen.append(compared(store, entry, bar))
            return seen[-1]
        return compared(store, entry, bar)

    monkeypatch.setattr(verify, "compared", replaced_meanwhile)
    done = command("verify")
    assert seen == ["truncated", None]
    assert (done.status, done.out) == (0, "damaged 0, unknown 0\n")


# --- what a person sees of it -----------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_there_is_a_bar_that_keeps_out_of_the_lines(command, filled, monkeypatch):
    alter(filled.path("a.jpg"))
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    done = command("verify")
    assert "100%" in terminal.getvalue()
    assert done.out.splitlines() == [
        f"altered: {filled.name('a.jpg')} ({filled.url('a.jpg')})",
        "damaged 1, unknown 0",
    ]


def test_ctrl_c_while_files_are_read_is_status_3_and_one_line(command, filled, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(verify, "compared", interrupted)
    done = command("verify")
    assert (done.status, done.lines) == (3, ["mediacrawl: interrupted"])


@pytest.mark.parametrize("words", [("--quick",), ("store",), ("--repair", "http://127.0.0.1/a.jpg")])
def test_what_it_does_not_know_is_refused(command, filled, words):
    done = command("verify", *words)
    assert (done.status, done.out) == (2, "")


# --- what nobody fetched ----------------------------------------------------------------------------


@pytest.fixture
def strange(filled):
    """Files that the ledger does not know, some where nobody may look."""
    for name in ("own/Müller & Söhne.jpg", "zz.jpg", "get/127.0.0.1/e.jpg"):
        path = filled.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    for name in ("x.jpg", "quarantine/y.jpg", "own/z.jpg"):
        path = filled.root / ".mediacrawl" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not for publication")
    return filled


def test_files_that_the_ledger_does_not_know_are_listed_and_no_damage(command, strange):
    done = command("verify")
    assert done.status == 0
    *unknown, last = done.out.splitlines()
    assert sorted(unknown) == [
        "unknown: get/127.0.0.1/e.jpg",
        "unknown: own/Müller & Söhne.jpg",
        "unknown: zz.jpg",
    ]
    assert last == "damaged 0, unknown 3"
    assert command("verify").out.splitlines()[-1] == last


def test_what_was_adopted_is_verified_and_in_the_manifest_from_then_on(command, strange):
    assert command("verify", "--adopt").out.splitlines()[-1] == "damaged 0, unknown 3 (3 adopted)"
    assert command("verify").out == "damaged 0, unknown 0\n"
    rows = {row["path"]: row for row in map(json.loads, command("manifest").out.splitlines())}
    assert {path: row["sha256"] for path, row in rows.items()} == files_in(strange.root)
    assert rows["zz.jpg"]["size"] == len("zz.jpg")

    alter(strange.root / "zz.jpg")
    done = command("verify")
    assert done.status == 1
    assert done.out.startswith("altered: zz.jpg ")


def test_adopting_takes_in_a_folder_that_never_was_a_store(command, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.jpg").write_bytes(b"a")
    assert command("verify", store="old").out == "unknown: a.jpg\ndamaged 0, unknown 1\n"
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["a.jpg"]
    assert command("verify", "--adopt", store="old").status == 0
    assert command("verify", store="old").out == "damaged 0, unknown 0\n"


def test_a_crawl_never_overwrites_what_was_adopted(command, origin, tmp_path):
    path = tmp_path / "store" / "get" / "127.0.0.1" / "a.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    command("verify", "--adopt")
    command("get", origin.add("/a.jpg", BODIES["a.jpg"], content_type=JPEG))
    assert sorted(files_in(tmp_path / "store").values()) == sorted([sha256(b"mine"), sha256(BODIES["a.jpg"])])
    assert path.read_bytes() == b"mine"


def test_a_name_that_is_no_text_is_shown_and_not_adopted(command, filled):
    (filled.root / os.fsdecode(b"bad\xff.jpg")).write_bytes(b"from another system")
    assert command("verify").out == "unknown: bad\\xff.jpg\ndamaged 0, unknown 1\n"
    done = command("verify", "--adopt")
    assert done.status == 0
    assert done.out.splitlines() == [
        "unknown: bad\\xff.jpg (not adopted: its name is not UTF-8)",
        "damaged 0, unknown 1 (0 adopted)",
    ]


def test_of_two_names_that_differ_in_case_one_is_adopted(command, tmp_path):
    """The ledger keeps paths apart that a file system of another machine would not."""
    (tmp_path / "store").mkdir()
    for name in ("A.jpg", "a.jpg"):
        (tmp_path / "store" / name).write_bytes(name.encode())
    done = command("verify", "--adopt")
    assert done.status == 0
    assert done.out.splitlines()[-1] == "damaged 0, unknown 2 (1 adopted)"
    assert "unknown: a.jpg (not adopted: another file has the same name" in done.out


# --- repair -----------------------------------------------------------------------------------------


@pytest.fixture
def listed(origin, tmp_path):
    """A crawled list whose rows have wishes: `a` all of them, `b` none, `d` a digest."""
    for name, body in BODIES.items():
        origin.add(f"/{name}", body, content_type=JPEG)
    wishes = {
        "a.jpg": {
            "filename": "Erstes Bild.jpg",
            "referer": "http://127.0.0.1/page",
            "sha256": sha256(BODIES["a.jpg"]),
        },
        "d.jpg": {"sha256": sha256(BODIES["d.jpg"])},
    }
    rows = [{"url": origin.url(f"/{name}")} | wishes.get(name, {}) for name in BODIES]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(tmp_path, "crawl", "urllist", "-a", "file=list.jsonl")
    assert done.status == 0, str(done)
    origin.forget()
    return done.store


def media(origin):
    return sorted(request.path for request in origin.requests if request.path != "/robots.txt")


def test_repair_fetches_what_is_damaged_and_nothing_else_with_its_name_referer_and_digest(
    command, listed, origin, tmp_path
):
    folder = tmp_path / "store" / "urllist" / "127.0.0.1"
    (folder / "Erstes Bild.jpg").unlink()
    alter(folder / "b.jpg")
    os.truncate(folder / "d.jpg", 10)
    origin.replace("/d.jpg", b"\0not what the list promises" * 100)

    done = run(tmp_path, "verify", "--repair")
    assert done.status == 1, str(done)
    quarantine = tmp_path / "store" / ".mediacrawl" / "quarantine"
    assert done.out.splitlines()[-1] == f"damaged 3 (2 set aside in {quarantine}), unknown 0"
    assert set(media(origin)) == {"/a.jpg", "/b.jpg", "/d.jpg"}
    assert origin.requests_for("/a.jpg")[0].headers["referer"] == "http://127.0.0.1/page"
    assert {name: digest for name, digest in done.store.items() if name != "urllist/127.0.0.1/d.jpg"} == {
        name: digest for name, digest in listed.items() if name != "urllist/127.0.0.1/d.jpg"
    }
    assert not (folder / "d.jpg").exists()  # nor is it published, what is not what the list promised
    assert f"{origin.url('/d.jpg')}: " in done.err

    origin.add("/d.jpg", BODIES["d.jpg"], content_type=JPEG)
    origin.forget()
    again = run(tmp_path, "verify", "--repair")
    assert (again.status, again.store, media(origin)) == (0, listed, ["/d.jpg"]), str(again)
    assert command("verify").out == "damaged 0, unknown 0\n"
    spiders = [json.loads(line)["spider"] for line in command("manifest").out.splitlines()]
    assert spiders == ["urllist"] * len(BODIES)


def test_repair_of_what_is_whole_does_nothing(command, filled, origin):
    assert command("verify", "--repair").out == "damaged 0, unknown 0\n"
    assert origin.requests == []


# --- a repair that fails ------------------------------------------------------------------------------


def aside(root):
    """What is set aside, by the name it had."""
    folder = root / ".mediacrawl" / "quarantine"
    paths = folder.iterdir() if folder.exists() else ()
    return {path.name.partition("-")[2]: path.read_bytes() for path in paths}


@pytest.mark.parametrize("damage", ["altered", *(pytest.param(one, marks=slow) for one in ("missing", "truncated"))])
def test_a_damaged_file_whose_repair_fails_has_no_name_any_more_and_its_bytes_are_kept(
    command, filled, origin, tmp_path, damage
):
    path = filled.path("a.jpg")
    DAMAGES[damage](path)
    wrong = {"a.jpg": path.read_bytes()} if path.exists() else {}
    origin.fault("/a.jpg", status(404, times=2))
    others = {name: digest for name, digest in filled.all.items() if name != filled.name("a.jpg")}

    for found, said in ((damage, f" (1 set aside in {filled.root}/.mediacrawl/quarantine)"), ("missing", "")):
        done = run(tmp_path, "verify", "--repair")
        assert done.status == 1, str(done)
        assert done.out.splitlines() == [
            f"{found}: {filled.name('a.jpg')} ({filled.url('a.jpg')})",
            f"damaged 1{said if wrong else ''}, unknown 0",
        ]
        assert (done.store, aside(filled.root)) == (others, wrong)
        again = command("verify")
        assert (again.status, again.out.splitlines()[0]) == (
            1,
            f"missing: {filled.name('a.jpg')} ({filled.url('a.jpg')})",
        )

    done = run(tmp_path, "verify", "--repair")
    assert (done.status, done.store, aside(filled.root)) == (0, filled.all, wrong), str(done)
    assert command("verify").out == "damaged 0, unknown 0\n"


@slow
def test_what_is_damaged_again_is_set_aside_beside_what_was_before(filled, origin, tmp_path):
    for size in (10, 20):
        os.truncate(filled.path("a.jpg"), size)
        assert run(tmp_path, "verify", "--repair").status == 0
    assert sorted(map(len, aside(filled.root).values())) == [10, 20]


def test_without_repair_a_damaged_file_stays_where_it_is(command, filled):
    alter(filled.path("a.jpg"))
    before = files_in(filled.root)
    assert command("verify").status == 1
    assert (files_in(filled.root), aside(filled.root)) == (before, {})


def test_a_folder_in_the_place_of_a_file_is_not_set_aside(filled, tmp_path):
    filled.path("a.jpg").unlink()
    filled.path("a.jpg").mkdir()
    assert run(tmp_path, "verify", "--repair").status == 1
    assert filled.path("a.jpg").is_dir()


def test_an_altered_file_that_nobody_can_fetch_stays_where_it_is(command, tmp_path):
    path = tmp_path / "store" / "mine.jpg"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    command("verify", "--adopt")
    path.write_bytes(b"mine, by a better photographer")
    for _ in range(2):  # nothing is written into its row
        done = run(tmp_path, "verify", "--repair")
        assert done.status == 1
        assert done.out.splitlines() == [
            "altered: mine.jpg (file:mine.jpg); adopted, so there is no URL to fetch it from: " + NEXT_STEP,
            "damaged 1, unknown 0",
        ]
        assert "File failed" not in done.err, str(done)
    assert path.read_bytes() == b"mine, by a better photographer"
    assert command("status", "--failed").out == ""
    assert command("forget", "file:mine.jpg").status == 0
    command("verify", "--adopt")
    assert command("verify").status == 0, "accepted as it is"


LOST = "verify --repair removes it: its file, whose URL is lost, is fetched again when it is wanted again"


def change_row(filled, name, **columns):
    with closing(sqlite3.connect(filled.root / ".mediacrawl" / "ledger.sqlite3")) as db, db:
        for column, value in columns.items():
            db.execute(f"UPDATE files SET {column} = ? WHERE url LIKE ?", (value, f"%/{name}"))


def test_a_damaged_row_is_damage_and_its_file_is_not_done(command, filled, tmp_path, origin):
    change_row(filled, "a.jpg", path="../x")
    change_row(filled, "b.jpg", size_bytes=b"many", page=b"\xff")
    change_row(filled, "c.jpg", url=b"\xff")
    done = command("verify")
    assert done.status == 1
    assert done.out.splitlines() == [
        f"damaged row: {filled.url('a.jpg')} (path), mend it with: verify --repair",
        f"damaged row: {filled.url('b.jpg')} (page), mend it with: verify --repair",
        f"damaged row: {filled.url('c.jpg')} (url), {LOST}",
        "damaged 3, unknown 0",
    ]
    assert len(command("manifest").out.splitlines()) == 2
    assert json.loads(command("status", "--json").out)["done"] == 2
    assert origin.requests == []
    assert run(tmp_path, "verify", "--repair").status == 1, "one cannot be repaired"
    assert [request.path for request in origin.requests if request.path != "/robots.txt"] == ["/a.jpg"]
    again = command("verify")
    assert (again.status, again.err) == (0, "")
    assert json.loads(command("status", "--json").out)["done"] == 3


def put_back(filled, _ledger):
    filled.path("a.jpg").write_bytes(BODIES["a.jpg"])


def replaced(filled, ledger):
    row = ledger.find(filled.url("a.jpg"))
    claimed = Entry(row.key, row.url, path=row.path, size_bytes=3, sha256=sha256(b"new"))
    ledger.claim(claimed)
    filled.path("a.jpg").unlink()
    filled.path("a.jpg").write_bytes(b"new")
    ledger.finish([claimed], 5.0)


def being_replaced(filled, ledger):
    row = ledger.find(filled.url("a.jpg"))
    ledger.claim(Entry(row.key, row.url, path=row.path, size_bytes=3, sha256=sha256(b"new")))


@pytest.mark.parametrize("meanwhile", [put_back, replaced, being_replaced])
@pytest.mark.parametrize("when", ["before the row is looked at", "after it"])
def test_only_the_file_that_was_read_is_set_aside(filled, ledger, monkeypatch, meanwhile, when):
    alter(filled.path("a.jpg"))
    archive = Archive.open(LocalStore(filled.root))
    compared, lookup, done = verify.compared, archive.ledger.lookup, []

    def and_then(found):
        if not done:
            done.append(meanwhile(filled, ledger))
        return found

    if when == "after it":
        monkeypatch.setattr(archive.ledger, "lookup", lambda keys: and_then(lookup(keys)))
    else:
        monkeypatch.setattr(verify, "compared", lambda *words: and_then(compared(*words)))
    damage = verify.Command()._check(archive, repair=True)
    expected = b"new" if meanwhile is replaced else filled.path("a.jpg").read_bytes()
    archive.close()
    assert done
    assert (damage, aside(filled.root)) == ((0, 0), {})
    assert filled.path("a.jpg").read_bytes() == expected


def test_a_file_that_is_written_all_the_time_is_wanted_again_and_the_command_ends(filled, ledger, monkeypatch):
    compared, looks = verify.compared, []

    def and_written(store, entry, bar):
        found = compared(store, entry, bar)
        if entry.url == filled.url("a.jpg"):
            looks.append(found)
            with filled.path("a.jpg").open("ab") as file:
                file.write(b"x")
        return found

    monkeypatch.setattr(verify, "compared", and_written)
    filled.path("a.jpg").write_bytes(b"")
    archive = Archive.open(LocalStore(filled.root))
    assert verify.Command()._check(archive, repair=True) == (1, 0)
    archive.close()
    assert 1 < len(looks) < 10
    assert ledger.find(filled.url("a.jpg")).state == State.FAILED


# `mediacrawl.cli.main.main`, but for a store that kills the process when it comes to a step.
_DYING = """
import os, signal, sys
from mediacrawl.store.local import LocalStore

step = sys.argv.pop(1)


def at_step(reached):
    if reached == step:
        os.kill(os.getpid(), signal.SIGKILL)


genuine = LocalStore.__init__
LocalStore.__init__ = lambda store, root, **more: genuine(store, root, at_step, **more)
from mediacrawl.cli.main import main
main()
"""


def killed_at(step, folder, *words):
    command, *rest = words
    code = ["-c", _DYING, step, command, "-s", "FILES_STORE=store", *rest]
    process = fork_server.start(code, folder, environment(), subprocess.DEVNULL)
    with Running(process, folder, None) as running:
        assert running.wait().status == -signal.SIGKILL


@pytest.mark.parametrize(
    ("words", "step", "found"),
    [
        (("verify", "--repair"), "rename", "truncated"),
        (("get", "a.jpg"), "sync", "missing"),
        (("verify", "--repair"), "ledger", "missing"),
        pytest.param(("get", "a.jpg"), "rename", "truncated", marks=slow),
        pytest.param(("verify", "--repair"), "sync", "missing", marks=slow),
        pytest.param(("get", "a.jpg"), "ledger", "missing", marks=slow),
    ],
)
def test_after_a_kill_at_any_step_the_same_command_ends_right(command, filled, words, step, found):
    folder = filled.root.parent
    os.truncate(filled.path("a.jpg"), 10)
    steps = {"rename": "aside-rename", "sync": "aside-sync", "ledger": "ledger-damage"}
    if words[0] == "get":
        words = ("get", filled.url("a.jpg"))
        steps["ledger"] = "ledger-lose"
    killed_at(steps[step], folder, *words)
    assert filled.path("a.jpg").exists() == (found == "truncated")
    assert len(aside(filled.root)) == (found != "truncated")
    done = command("verify")
    assert (done.status, done.out.partition(":")[0]) == (1, found)

    done = run(folder, *words)

    assert (done.status, done.store) == (0, filled.all), str(done)
    assert aside(filled.root) == {"a.jpg": BODIES["a.jpg"][:10]}
    assert command("verify").out == "damaged 0, unknown 0\n"

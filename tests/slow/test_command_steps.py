"""The stop at each step, with the real command: it is killed exactly there, and the same command ends right."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest
from crawling import QUICK, Running, environment, files_in, parts_in, run, sha256
from fetch_job import STEPS
from origin import Origin, Pattern, limit_per_connection

from mediacrawl.backends import LEDGER_NAME
from mediacrawl.headers import ETag, Validators
from mediacrawl.ledger.base import State
from mediacrawl.ledger.sqlite import SqliteLedger
from mediacrawl.store.local import LocalStore
from mediacrawl.store.parts import PartRecord

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
# `mediacrawl.cli.main.main`, but for a store that kills the process when it comes to a step for the n-th time.
_DYING = """
import os, signal, sys
from mediacrawl.store import local
from mediacrawl.store.local import LocalStore

step, left = sys.argv[1], int(sys.argv[2])
sys.argv[1:3] = []


def at_step(reached):
    global left
    left -= reached == step
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


genuine = LocalStore.__init__
LocalStore.__init__ = lambda store, root, **more: genuine(store, root, at_step, **more)
from mediacrawl.cli.main import main
main()
"""
SMALL = b"\1\2small " * 100
OLD, NEW = b"\1old version", b"\1new version"
# One of each is large enough for segments, and its bytes come so slowly that there are checkpoints.
LARGE, OLD_LARGE, NEW_LARGE = Pattern(24 * MIB, 1), Pattern(MIB, 2), Pattern(MIB, 3)
# Of these, a part of an older version is there.
HALVES = {"first.mp4": Pattern(MIB, 4), "second.mp4": Pattern(MIB, 5)}
SETTINGS = QUICK | {
    "FILES_STORE": "store",
    "FILES_EXPIRES": 0,
    "MEDIACRAWL_SEGMENT_MIN_BYTES": 8 * MIB,
    "ROBOTSTXT_OBEY": False,
}
RESULT = {
    "small.jpg": sha256(SMALL),
    "small-2.jpg": sha256(SMALL[1:]),
    "large.mp4": LARGE.sha256(),
    "changed.jpg": sha256(NEW),
    "changed.mp4": NEW_LARGE.sha256(),
    **{name: body.sha256() for name, body in HALVES.items()},
}
VERSIONS = {name: {digest} for name, digest in RESULT.items()}
VERSIONS["changed.jpg"].add(sha256(OLD))
VERSIONS["changed.mp4"].add(OLD_LARGE.sha256())
VERSIONS["small-2.jpg"] = VERSIONS["small.jpg"] = {sha256(SMALL), sha256(SMALL[1:])}  # who comes first has the name


def crawl(folder):
    (folder / "urls.txt").touch()
    options = [word for name, value in SETTINGS.items() for word in ("-s", f"{name}={value}")]
    return ["crawl", "urllist", "-a", "file=urls.txt", *options]


def dying(folder, step, number):
    process = subprocess.Popen(
        [sys.executable, "-c", _DYING, step, str(number), *crawl(folder)],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return Running(process, folder, None)


def published(folder):
    """Name -> sha256. All of them lie in one folder."""
    return {path.rpartition("/")[2]: digest for path, digest in files_in(folder / "store").items()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A job whose store has the old versions; then the origin has new ones, and more."""
    folder = tmp_path_factory.mktemp("job")
    with Origin() as origin:
        changed = {"/changed.jpg": OLD, "/changed.mp4": OLD_LARGE}
        urls = [origin.add(path, body, content_type="image/jpeg") for path, body in changed.items()]
        (folder / "urls.txt").write_text("\n".join(urls))
        done = run(folder, *crawl(folder))
        assert done.status == 0, str(done)
        assert set(published(folder)) == {"changed.jpg", "changed.mp4"}
        origin.replace("/changed.jpg", NEW)
        origin.replace("/changed.mp4", NEW_LARGE)
        urls += [
            origin.add("/small.jpg", SMALL, content_type="image/jpeg"),
            origin.add("/more/small.jpg", SMALL[1:], content_type="image/jpeg"),
            origin.add("/large.mp4", LARGE, content_type="video/mp4", faults=[limit_per_connection(6_000_000)]),
        ]
        for name, body in HALVES.items():
            urls.append(origin.add(f"/{name}", body, content_type="video/mp4"))
            plant(folder / "store", urls[-1])
        (folder / "urls.txt").write_text("\n".join(urls))
        yield folder


def plant(root, url):
    """What an earlier run had of another version."""
    with LocalStore(root).parts.open(url) as part:
        part.begin(PartRecord(validators=Validators(ETag("old")).to_dict(), complete_length=MIB))
        part.write_at(0, bytes(MIB // 2))
        part.mark((0, MIB // 2))


@pytest.mark.parametrize("step", STEPS)
def test_a_command_that_is_killed_at_a_step_ends_right_when_it_is_run_again(prepared, tmp_path, step):
    folder = shutil.copytree(prepared, tmp_path / "job")
    with dying(folder, step, 2) as running:
        assert running.wait().status == -signal.SIGKILL
    for name, digest in published(folder).items():
        assert digest in VERSIONS[name], f"{name} is no whole version"

    done = run(folder, *crawl(folder))

    assert done.status == 0, str(done)
    assert_through(folder)


def assert_through(folder):
    found = files_in(folder / "store")
    assert sorted(found.values()) == sorted(RESULT.values())
    assert all(digest in VERSIONS[name] for name, digest in published(folder).items())
    assert {"changed.jpg": sha256(NEW), "changed.mp4": NEW_LARGE.sha256()}.items() <= published(folder).items()
    assert parts_in(folder / "store") == []
    ledger = SqliteLedger(folder / "store" / ".mediacrawl" / LEDGER_NAME)
    assert {row.path: row.sha256 for row in ledger.entries(State.DONE)} == found
    assert len(list(ledger.entries())) == len(found)
    assert ledger.is_intact()
    ledger.close()

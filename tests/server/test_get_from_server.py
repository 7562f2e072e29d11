"""`mediacrawl get -r` from a real `mediacrawl serve`, with an application password."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ftp_server import run_with_people
from serve_process import Serve, run

from mediacrawl.archive import Archive
from mediacrawl.store.local import LocalStore

pytestmark = pytest.mark.slow

FILES = {
    "a.txt": b"hello\n",
    "films/b.mp4": b"\x00\x00\x00\x18ftypmp42" + b"b" * 100_000,
    "films/old/c \u00e9%#&;'.bin": b"\1\2\3",
    "~bert/secret.bin": b"\1secret",
    "~anna/own.bin": b"\1own",
}
SEEN = {path: body for path, body in FILES.items() if not path.startswith("~bert")}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("served") / "store"
    Archive.open(LocalStore(root)).close()
    for path, body in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
    for name in ("anna", "bert"):
        status, _, errors = run("user", "add", name, "-s", f"FILES_STORE={root}", input="correct horse battery\n")
        assert status == 0, errors
    return root


@pytest.fixture(scope="module")
def server(store):
    with Serve(store) as server:
        yield server


@pytest.fixture(scope="module")
def password(store, server):
    return run_with_people(store, 'print(people.make_application_password("anna", "laptop"))')[0]


def get(folder, *words, **more):
    return run("get", *words, "-s", f"FILES_STORE={folder}", **more)


def files_of(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).digest()
        for path in Path(root).rglob("*")
        if path.is_file() and ".mediacrawl" not in path.parts
    }


def test_a_person_mirrors_what_that_person_may_see(server, password, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login anna password {password}\n")
    url = f"http://127.0.0.1:{server.port}/"
    for _ in range(2):
        status, out, errors = get(tmp_path / "mirror", "-r", url, "-o", ".", env={"NETRC": str(netrc)})
        assert status == 0, errors
    assert files_of(tmp_path / "mirror") == {path: hashlib.sha256(body).digest() for path, body in SEEN.items()}
    assert out.count("already there: ") == len(SEEN)


def test_one_file_comes_with_the_password_in_its_url(server, password, tmp_path):
    url = f"http://anna:{password}@127.0.0.1:{server.port}/files/films/b.mp4"
    assert get(tmp_path / "one", url)[0] == 0
    assert list(files_of(tmp_path / "one").values()) == [hashlib.sha256(FILES["films/b.mp4"]).digest()]


@pytest.mark.parametrize(
    ("person", "path", "said"),
    [("", "/files/", "HTTP 401"), ("anna:wrong@", "/files/", "HTTP 401"), ("anna:{}@", "/files/~bert/", "HTTP 404")],
)
def test_others_are_told_in_one_line(server, password, tmp_path, person, path, said):
    url = f"http://{person.format(password)}127.0.0.1:{server.port}{path}"
    status, _, errors = get(tmp_path / "none", "-r", url, "--no-netrc")
    assert status == 1
    assert sum(said in line for line in errors.splitlines()) == 1, errors
    assert password not in errors
    assert files_of(tmp_path / "none") == {}

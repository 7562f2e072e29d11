"""The same table of requests, over each door, in a real server."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from archive_job import publish
from hostile_paths import HOSTILE, SECRET, make_traps
from range_requests import BODIES, BODY, CASES, MODIFIED, check
from serving import COMMANDS, GUARDED, Server

from mediacrawl.archive import Archive
from mediacrawl.server.rsgi import rsgi_app
from mediacrawl.server.site import StoreSite, text_response
from mediacrawl.server.wsgi import WsgiFiles, wsgi_app
from mediacrawl.store.local import LocalStore

BIG = os.urandom(1 << 16) * 64  # 4 MiB


def made_store(root):
    """A store whose ledger knows the files of the table."""
    archive = Archive.open(LocalStore(root))
    rows = publish(archive, {name: (name, body) for name, body in {**BODIES, "big.mp4": BIG}.items()})
    for row in rows:
        os.utime(root / row.path, (MODIFIED, MODIFIED))
    archive.ledger.record_identities(archive._identified(rows))
    archive.close()
    (root / 'strange "name" é;%41.jpg').write_bytes(BODY)
    (root / "page.html").write_text("<script>alert(1)</script>")
    return make_traps(root)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("doors") / "store")


def in_process(app):
    """A door without a server, checked by the standard library's validator."""

    def ask(path, headers=(), method="GET", **more):
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
        }
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in dict(headers).items()}
        setup_testing_defaults(environ)
        environ["wsgi.input"] = BytesIO()
        started = []
        result = validator(app)(environ | more, lambda *head: started.append(head) or (lambda _: None))
        content = b"".join(result)
        result.close()
        ((status, fields),) = started
        return int(status[:3]), {name.lower(): value for name, value in fields}, content

    return ask


@pytest.fixture(scope="module", params=["in process", *COMMANDS])
def door(request, store):
    """Each door: `ask`, and its `kind`."""
    if request.param == "in process":
        app = wsgi_app(str(store))
        yield SimpleNamespace(ask=in_process(app), kind=request.param, server=None)
        app.site.close()
        return
    with Server(request.param, store) as server:
        yield SimpleNamespace(ask=server.ask, kind=request.param, server=server)


def test_each_request_has_the_response_of_the_rfc(door):
    assert len(CASES) > 100
    wrong = []
    for case in CASES:
        if door.kind != "in process" and any(value.strip() != value for value in case.headers.values()):
            continue  # no server keeps the blanks around a value
        try:
            check(case, *door.ask(f"/{case.name}", case.headers, case.method))
        except AssertionError as error:
            wrong.append((case, str(error)))
    assert wrong == []


def test_a_body_of_many_blocks_is_whole(door):
    assert door.ask("/big.mp4")[2] == BIG
    assert door.ask("/big.mp4", {"Range": "bytes=70000-4000000"})[2] == BIG[70000:4000001]
    _, fields, content = door.ask("/big.mp4", {"Range": "bytes=3000000-,5-2000000"})
    assert int(fields["content-length"]) == len(content)
    assert BIG[3000000:] in content
    assert BIG[5:2000001] in content


def test_a_page_of_the_store_is_saved_and_sandboxed(door):
    status, fields, _ = door.ask("/page.html")
    assert (status, fields["content-type"]) == (200, "text/html")
    assert fields["content-disposition"] == "attachment; filename=\"page.html\"; filename*=UTF-8''page.html"
    assert fields["content-security-policy"].startswith("sandbox")


def test_a_file_that_the_ledger_does_not_know_has_a_date_and_no_tag(door):
    name = 'strange "name" é;%41.jpg'
    path = f"/{name}" if door.kind == "in process" else "/" + quote(name)
    status, fields, content = door.ask(path)
    assert (status, content) == (200, BODY)
    assert ("etag" in fields) == door.kind.startswith("django"), "the project of the test reads the file"
    assert re.fullmatch(
        r"inline; filename=\"[^\"]*\"; filename\*=UTF-8''[^;]*%C3%A9%3B%2541\.jpg", fields["content-disposition"]
    )


def test_no_hostile_path_is_served(door):
    prefixes = ["/view/", "/pattern/"] if door.kind.startswith("django") else ["/"]
    for prefix in prefixes:
        picture = door.ask(f"{prefix}a/b/c.jpg")
        assert (picture[0], picture[2]) == (200, b"picture")
        for path in HOSTILE:
            for sent in sent_as(door, path):
                status, _, content = door.ask(prefix + sent)
                assert status in {301, 400, 404, 414}, path
                assert SECRET not in content


def sent_as(door, path):
    """The forms in which clients send a path."""
    if door.server is None:
        return [] if "\ud800" in path else [path]
    texts = {quote(path, safe="/\\:%;", errors="replace"), quote(path, safe="", errors="replace")}
    return [text for text in texts if len(text) < 8000]


def test_what_is_no_file_and_other_methods(door):
    assert door.ask("/nothing.jpg")[0] == 404
    assert door.ask("/.mediacrawl/ledger.sqlite3")[0] == 404
    if not door.kind.startswith("django"):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, fields, _ = door.ask("/body.bin", method=method)
            assert (status, fields["allow"]) == (405, "GET, HEAD")
        status, fields, content = door.ask("/nothing.jpg", method="HEAD")
        assert (status, content) == (404, b"")
        assert door.ask("/body.bin")[1]["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("kind", "turns"),
    [
        ("gunicorn", 80),
        ("granian", 80),
        ("aiohttp", 80),
        *(pytest.param(kind, 1000, marks=pytest.mark.slow) for kind in COMMANDS),
    ],
)
def test_a_replaced_file_is_never_mixed(kind, turns, tmp_path):
    """Ranges, whole files and multipart bodies, while another version comes every moment."""
    (tmp_path / "store").mkdir()
    file, size = tmp_path / "store" / "a.mp4", 1_000_000
    versions = [bytes([letter]) * size for letter in b"abcdefgh"]
    file.write_bytes(versions[0])
    stop = threading.Event()

    def replace():
        turn = 0
        while not stop.is_set():
            turn += 1
            new = tmp_path / "new"
            new.write_bytes(versions[turn % 8])
            new.replace(file)

    with Server(kind, tmp_path / "store") as server:
        replacing = threading.Thread(target=replace)
        replacing.start()
        seen, connection = set(), server.connection()
        try:
            for turn in range(turns):
                start = turn * 991 % 900_000
                wanted = [
                    {"Range": f"bytes={start}-{start + 99_999}"},
                    {"Range": f"bytes={start}-{start + 9}"},
                    {"Range": f"bytes={start}-{start + 70_000},0-{start // 2 + 1}"},
                    {},
                ][turn % 40 % 4 if turn % 40 < 8 else turn % 2]
                status, fields, content = server.ask("/a.mp4", wanted, connection=connection)
                assert status == (206 if wanted else 200)
                assert int(fields["content-length"]) == len(content)
                if "multipart" in fields["content-type"]:
                    content = b"".join(part.partition(b"\r\n\r\n")[2] for part in content.split(b"\r\n--")[:-1])
                letters = set(content)
                assert len(letters) == 1, "of two versions"
                seen |= letters
        finally:
            stop.set()
            replacing.join()
            connection.close()
    assert len(seen) > 2


HEADS = [
    b"GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1",
    b"GET /body.bin%0d%0aX-Evil:%20yes HTTP/1.1",
    b"GET /x%0aX-Evil:%20yes HTTP/1.1",
    b"GET /%E5%98%8A%E5%98%8DX-Evil:yes HTTP/1.1",
    b"GET /body.bin?%0d%0aX-Evil:%20yes HTTP/1.1",
]


def test_no_header_comes_from_a_path_or_a_field(door):
    if door.server is None:
        return
    for head in HEADS:
        answer = door.server.raw(head + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        fields = answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
        assert not any(field.startswith((b"x-evil", b"set-cookie")) for field in fields), head
    for field in (b"If-Range", b"Range", b"If-None-Match", b"Want-Repr-Digest"):
        head = (
            b"GET /body.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            + field
            + b": bytes=\xff\xfe\xc3\r\n\r\n"
        )
        assert door.server.raw(head).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    head = b"GET /body.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-Match: \xff\r\n\r\n"
    assert door.server.raw(head).startswith((b"HTTP/1.1 412 ", b"HTTP/1.1 400 "))
    twice = b"Range: bytes=0-1\r\nRange: bytes=3-4\r\n"
    head = b"GET /body.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + twice + b"\r\n"
    assert door.server.raw(head).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))


def test_clients_that_stop_reading_cost_no_memory(door, store):
    """Also for a multipart body, which cannot be left to `sendfile`."""
    if door.kind not in {"granian", "django under uvicorn"}:
        return  # a thread each, for which there are not enough
    with (store / "huge.mp4").open("wb") as file:
        file.truncate(64 << 20)
    head = b"GET /huge.mp4 HTTP/1.1\r\nHost: localhost\r\n"
    if door.kind.startswith("django"):
        head = head.replace(b"/huge", b"/view/huge")  # the other view reads the file for its digest
    wanted = [b"", b"Range: bytes=0-30000000,40000000-\r\n"]
    stalled = []
    for turn in range(60):
        if turn == 20:
            before = door.server.memory_mib()
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(str(door.server.socket))
        sock.sendall(head + wanted[turn % 2] + b"\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 20")
        stalled.append(sock)
    assert door.ask("/ten.bin")[2] == BODIES["ten.bin"]
    grown = door.server.memory_mib() - before
    for sock in stalled:
        sock.close()
    assert grown < 100, "40 bodies have 2,400 MiB"
    assert door.ask("/ten.bin")[2] == BODIES["ten.bin"]


@pytest.mark.parametrize(("kind", "more"), [("granian", ()), ("aiohttp", ()), ("gunicorn", ("--threads", "256"))])
def test_with_two_hundred_slow_readers_others_are_served(kind, more, tmp_path):
    with (tmp_path / "huge.mp4").open("wb") as file:
        file.truncate(64 << 20)
    (tmp_path / "ten.bin").write_bytes(BODIES["ten.bin"])
    wanted = [b"", b"Range: bytes=0-30000000,40000000-\r\n"]
    with Server(kind, tmp_path, *more) as server, ExitStack() as open_until_the_end:
        assert server.ask("/ten.bin")[0] == 200
        before, readers = server.memory_mib(), []
        for turn in range(200):
            sock = open_until_the_end.enter_context(socket.socket(socket.AF_UNIX))
            sock.settimeout(30)
            sock.connect(str(server.socket))
            sock.sendall(b"GET /huge.mp4 HTTP/1.1\r\nHost: localhost\r\n" + wanted[turn % 2] + b"\r\n")
            readers.append(sock)
        for _ in range(3):
            for sock in readers:
                assert sock.recv(5000)
            assert server.ask("/ten.bin")[2] == BODIES["ten.bin"]
        assert server.memory_mib() - before < 400, "200 bodies have 12,000 MiB"


def test_a_file_that_shrinks_breaks_the_connection(door, store):
    """A client must not take the next response for the rest of this one."""
    if door.server is None:
        return
    file = store / "shrinking.mp4"
    file.write_bytes(BIG)
    for wanted in (b"", b"Range: bytes=0-4000000\r\n", b"Range: bytes=0-1000000,1100000-\r\n"):
        file.write_bytes(BIG)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(door.server.socket))
            sock.sendall(b"GET /shrinking.mp4 HTTP/1.1\r\nHost: localhost\r\n" + wanted + b"\r\n")
            received = len(sock.recv(100))
            os.truncate(file, 10_000)
            while data := sock.recv(65536):
                received += len(data)
        assert received < len(BIG)
    file.unlink()


# Who may read, and what fails


def test_a_check_decides_with_the_request_and_before_the_disk(store):
    seen = []

    def refuse(request):
        seen.append((request.method, request.path, request.field("cookie")))
        return None if request.field("cookie") == "me" else text_response(403, "Log in first.")

    app = wsgi_app(store, refuse=refuse)
    ask = in_process(app)
    assert ask("/body.bin")[0] == 403
    assert ask("/.mediacrawl/nothing")[0] == 403
    assert ask("/body.bin", {"Cookie": "me"})[2] == BODY
    assert ask("/body.bin", method="POST")[0] == 405
    assert seen == [("GET", "body.bin", None), ("GET", ".mediacrawl/nothing", None), ("GET", "body.bin", "me")]
    app.site.close()


SPELLINGS = [
    "/private/a.jpg",
    "/private/a.jpg?x=/public/b.jpg",
    "/private/a.jpg#/public/b.jpg",
    "/private/a.jpg;x",
    "//private/a.jpg",
    "///private/a.jpg",
    "/./private/a.jpg",
    "/public/../private/a.jpg",
    "/public/%2e%2e/private/a.jpg",
    "/public/..%2fprivate%2fa.jpg",
    "/public/%252e%252e/private/a.jpg",
    "/public%00/../private/a.jpg",
    "/%70rivate/a.jpg",
    "/%2570rivate/a.jpg",
    "/private%2fa.jpg",
    "/private%252fa.jpg",
    "/%2fprivate/a.jpg",
    "/private//a.jpg",
    "/private/./a.jpg",
    "/private/a.jpg/",
    "/private/a.jpg%00",
    "/%00private/a.jpg",
    "/%20private/a.jpg",
    "/private%20/a.jpg",
    "/private\\a.jpg",
    "/PRIVATE/a.jpg",
    "/%ef%bd%90rivate/a.jpg",
    "/%c0%af/private/a.jpg",
    "/private%c0%afa.jpg",
    "http://localhost/private/a.jpg",
    "http://localhost//private/a.jpg",
    "private/a.jpg",
]
MORE_FIELDS = [
    "",
    "X-Original-URL: /private/a.jpg\r\n",
    "X-Forwarded-Prefix: /public\r\n",
    "SCRIPT_NAME: /public\r\n",
    "PATH_INFO: /private/a.jpg\r\n",
    "X-HTTP-Method-Override: GET\r\n",
]


@pytest.mark.parametrize("kind", GUARDED)
def test_no_spelling_of_a_path_gets_round_a_check(kind, tmp_path):
    """The check sees the path that is opened, and a path has only one spelling that opens it."""
    for name, body in (("private/a.jpg", SECRET), ("public/b.jpg", b"picture")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(body)
    (tmp_path / "public" / "link").symlink_to("../private")
    spellings = [*SPELLINGS, "/public/link/a.jpg", "/public/private/a.jpg"]
    with Server(kind, tmp_path, commands=GUARDED) as server:
        assert server.ask("/public/b.jpg")[2] == b"picture"
        assert server.ask("/private/a.jpg", {"Cookie": "me"})[2] == SECRET
        status, _, content = server.ask("/public/b.jpg", {"Cookie": "broken"})
        assert status == 500
        assert b"picture" not in content
        assert server.ask("/private/a.jpg")[::2] == (403, b"Log in first.\n")
        for more in MORE_FIELDS:
            head = f"GET /public/b.jpg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n"
            assert SECRET not in server.raw(head.encode()), head
        for method in ("GET", "HEAD", "POST", "get"):
            for path in spellings:
                for more in MORE_FIELDS:
                    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n"
                    answer = server.raw(head.encode())
                    assert SECRET not in answer, head
                    assert not answer.startswith(b"HTTP/1.1 20"), head


def test_a_machine_without_descriptors_is_unavailable(store, monkeypatch, caplog):
    site = StoreSite(store)
    monkeypatch.setattr(site.files, "open", lambda _path: (_ for _ in ()).throw(OSError(24, "Too many open files")))
    status, fields, _ = in_process(WsgiFiles(site))("/body.bin")
    assert (status, fields["retry-after"]) == (503, "10")
    assert [record.getMessage() for record in caplog.records] == ["cannot read 'body.bin': Too many open files"]
    site.close()


@pytest.mark.parametrize("app", [wsgi_app, rsgi_app])
def test_an_empty_folder_is_not_the_working_directory(app, store, monkeypatch):
    monkeypatch.chdir(store)
    for empty in ("", Path()):
        with pytest.raises(ValueError, match="empty"):
            app(empty)
    found = app(".")
    assert found.site.files.root == store
    found.site.close()


@pytest.mark.parametrize("server", ["uWSGI", "mod_wsgi", ""])
def test_a_descriptor_is_given_to_servers_that_send_a_part_of_it_as_they_should(store, server):
    given = []

    def wrapper(file, size):
        given.append(hasattr(file, "fileno"))
        return iter(lambda: file.read(size), b"")

    app = wsgi_app(str(store))
    for headers, body in (({}, BODY), ({"HTTP_RANGE": "bytes=0-9"}, BODY[:10])):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/body.bin", "SERVER_SOFTWARE": server, **headers}
        content = app(environ | {"wsgi.file_wrapper": wrapper}, lambda *_: None)
        assert b"".join(content) == body
    assert given == [True, False]
    app.site.close()


def test_without_django_one_line_says_what_to_install():
    code = (
        "import sys; sys.modules['django'] = None\n"
        "from mediacrawl.errors import PackageMissing\n"
        "try:\n    import mediacrawl.server.django\n"
        "except PackageMissing as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "the Django view needs Django: pip install 'mediacrawl[serve]'\n"

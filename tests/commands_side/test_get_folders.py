"""`mediacrawl get -r`: the files below a folder of a `mediacrawl serve`, and folders that lie."""

from __future__ import annotations

import base64
import json

import pytest
from crawling import BIG, STALLS_AT, sha256, start
from listed_folders import ListedFolders, answer_json, file_entry, folder_entry
from origin import Origin, stall_after, status

from mediacrawl.download.documents import Document
from mediacrawl.fetch.folder_walk import FolderWalk
from mediacrawl.fetch.request import FileRequest

FILES = {
    "a.bin": b"\1a",
    "films/b.mp4": b"\0\0\0\x18ftypmp42" + b"b" * 100,
    "films/old/c.mp4": b"\0\0\0\x18ftypmp42" + b"c" * 100,
    "films/old/d \u00e9%#?&;'.mp4": b"\0\0\0\x18ftypmp42" + b"d" * 100,
    "music/e.flac": b"fLaC\0" + b"e" * 100,
}
HERE = "get/127.0.0.1/"
BASIC = "Basic " + base64.b64encode(b"anna:one-two").decode()


def stored(files, below=HERE):
    return {below + path: sha256(body) for path, body in files.items()}


@pytest.fixture
def server(origin):
    return ListedFolders(origin, FILES)


def safe(files):
    """The names as the store has them."""
    return {path.replace("?", "_"): body for path, body in files.items()}


@pytest.mark.parametrize("option", ["-r", "--recursive"])
def test_all_files_below_a_folder_keep_their_paths(command, server, option):
    done = command("get", option, server.url())
    assert (done.status, done.store, done.err) == (0, stored(safe(FILES)), ""), str(done)
    assert [request.target for request in server.asked()] == ["/files/", "/files/?from=2"]


def test_a_folder_below_keeps_the_path_that_it_has_on_the_server(command, server):
    done = command("get", "-r", server.url("music"))  # without the slash
    assert (done.status, done.store) == (0, stored({"music/e.flac": FILES["music/e.flac"]})), str(done)


def test_o_names_the_folder_that_receives_them(command, server):
    done = command("get", "-r", server.url("films/old/"), "-o", "here/x")
    assert done.store == stored(
        {"c.mp4": FILES["films/old/c.mp4"], "d \u00e9%#_&;'.mp4": FILES[list(FILES)[3]]}, "here/x/"
    )


def test_o_with_a_dot_is_the_store_itself(command, server):
    done = command("get", "-r", server.url("music/"), "-o", ".")
    assert done.store == stored({"e.flac": FILES["music/e.flac"]}, "")


def test_several_folders_come_one_after_another(command, server):
    done = command("get", "-r", server.url("music/"), server.url("films/old/"), server.url("films/"))
    wanted = {path: body for path, body in FILES.items() if "/" in path}
    assert (done.status, done.store) == (0, stored(safe(wanted))), str(done)


def test_the_start_page_of_a_server_leads_to_its_files(command, server):
    server.origin.redirect("/", "/files/")
    done = command("get", "-r", server.origin.url("/"))
    assert (done.status, done.store) == (0, stored(safe(FILES))), str(done)


def test_what_is_there_is_not_asked_for_again(command, server):
    command("get", "-r", server.url())
    server.origin.forget()
    done = command("get", "-r", server.url())
    assert done.status == 0
    assert done.out.count("already there: ") == len(FILES)
    assert {request.path for request in server.origin.requests} == {
        "/files/", "/files/films/", "/files/films/old/", "/files/music/",
    }  # fmt: skip


@pytest.mark.parametrize("lists_sha256", [True, False], ids=["sha256", "size"])
def test_a_file_that_was_replaced_there_comes_again(command, server, lists_sha256):
    server.lists_sha256 = lists_sha256
    command("get", "-r", server.url())
    server.put("a.bin", b"\2another")
    server.origin.forget()
    done = command("get", "-r", server.url())
    assert done.status == 0
    assert sha256(b"\2another") in done.store.values()
    assert [request.path for request in server.origin.requests if not request.path.endswith("/")] == ["/files/a.bin"]


def test_a_file_that_is_the_same_is_not_asked_for_however_old(command, server):
    command("get", "-r", server.url())
    server.origin.forget()
    done = command("get", "-r", server.url(), "-s", "FILES_EXPIRES=0")
    assert done.status == 0
    assert all(request.path.endswith("/") for request in server.origin.requests)


def test_a_file_with_other_bytes_than_listed_is_a_failure(command, server):
    server.origin.replace("/files/a.bin", b"\3!")
    done = command("get", "-r", server.url())
    assert done.status == 1
    assert sum("a.bin" in line for line in done.lines) == 1, str(done)
    assert len(done.store) == len(FILES) - 1


def test_a_file_that_is_not_there_is_counted_and_told(command, server):
    server.origin.remove("/files/films/b.mp4")
    done = command("get", "-r", server.url())
    assert done.status == 1
    assert "failed 1" in done.lines[0]
    assert f"{server.url('films/b.mp4')}: HTTP 404" in done.err
    assert len(done.store) == len(FILES) - 1


def test_a_folder_that_cannot_be_read_is_one_failure_and_others_are_walked(command, server):
    server.origin.fault("/files/films/", status(500, times=None))
    done = command("get", "-r", server.url(), "-s", "MEDIACRAWL_RETRY_TIMES=1")
    assert done.status == 1
    assert "failed 1" in done.lines[0]
    assert f"{server.url('films/')}: HTTP 500" in done.err
    assert "try the failed ones again with: " in done.err
    assert set(done.store) == {HERE + "a.bin", HERE + "music/e.flac"}
    assert len(server.asked("films/")) == 2


def test_a_folder_that_cannot_be_read_at_first_is_read_again(command, server):
    server.origin.fault("/files/films/", status(503), status(500))
    assert command("get", "-r", server.url()).status == 0


@pytest.mark.parametrize("how", ["URL", "netrc", "header"])
def test_the_folder_and_its_files_are_asked_for_with_the_credentials(command, server, how, tmp_path, monkeypatch):
    server.authorization = BASIC
    words, url = (), server.url()
    if how == "URL":
        url = url.replace("//", "//anna:one-two@")
    elif how == "netrc":
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password one-two\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    else:
        words = ("--header", f"Authorization: {BASIC}")
    done = command("get", "-r", url, *words)
    assert (done.status, done.store) == (0, stored(safe(FILES))), str(done)
    assert {request.headers.get("authorization") for request in server.origin.requests} == {BASIC}
    assert "one-two" not in done.out + done.err


@pytest.mark.parametrize("words", [("-r", ""), ("a.bin",), ("-i", "list")], ids=["a folder", "a file", "a list"])
def test_without_credentials_one_line_says_what_to_do(command, server, words, tmp_path):
    server.authorization = BASIC
    server.origin.fault("/files/a.bin", status(401, times=None))
    (tmp_path / "list").write_text(server.url("a.bin"))
    *options, last = words
    done = command("get", *options, last if "-i" in options else server.url(last))
    assert (done.status, done.store) == (1, {})
    (line,) = [line for line in done.lines if "401" in line]
    assert "application password" in line
    assert "'machine 127.0.0.1 login NAME password PASSWORD' in ~/.netrc" in line
    assert "http://NAME:PASSWORD@" in line


def test_the_page_of_a_folder_is_told_with_the_option_for_folders(command, origin):
    origin.page("/files/", "<!doctype html><title>Files</title>")
    origin.page("/films", "<!doctype html><title>Films</title>")
    origin.redirect("/", "/files/")
    for path, is_folder in (("/files/", True), ("/files/?sort=size", True), ("/", True), ("/films", False)):
        done = command("get", origin.url(path))
        assert done.status == 1
        assert ("if this is a folder of mediacrawl serve, -r fetches the files in it" in done.err) == is_folder, path


def test_wrong_credentials_are_in_no_line(command, server):
    server.authorization = BASIC
    done = command("get", "-r", server.url().replace("//", "//anna:wrong-one@"))
    assert done.status == 1
    assert "wrong-one" not in done.out + done.err


@pytest.mark.parametrize(
    "make",
    [
        lambda origin: origin.add("/x/", b"\0\0\0\x18ftypmp42" * 9, content_type="video/mp4"),
        lambda origin: origin.page("/x/", "<title>Files</title>"),
        lambda origin: origin.add("/x/", b"{}", content_type=None),
        lambda origin: origin.on("/x/", lambda _: answer_json([])),
        lambda origin: origin.on("/x/", lambda _: answer_json({"entries": []})),
        lambda origin: origin.on("/x/", lambda _: answer_json(b"{" + b'"a":[' * 100_000)),
        lambda origin: origin.on("/x/", lambda _: answer_json(b'{"folder": ' + b"9" * 5000 + b"}")),
        lambda origin: origin.on("/x/", lambda _: answer_json(b"\xff\xfe\0")),
    ],
    ids=["a film", "a page", "no type", "a list", "another object", "deep", "a long number", "no text"],
)
def test_a_url_that_is_no_folder_is_one_line(command, origin, make):
    make(origin)
    done = command("get", "-r", origin.url("/x/"))
    assert (done.status, done.store) == (1, {})
    (line,) = [line for line in done.lines if origin.url("/x/") in line and "no folder of mediacrawl serve" in line]
    assert len(line) < 300


def test_a_url_that_is_not_there_is_one_line(command, origin):
    done = command("get", "-r", origin.url("/nothing"))
    assert (done.status, done.store) == (1, {})
    assert f"{origin.url('/nothing/')}: HTTP 404" in done.err


ENTRIES_THAT_LIE = {
    "upwards": file_entry("a", href="../a"),
    "upwards after a name": file_entry("a", href="b/../../a"),
    "escaped dots": file_entry("..", href="%2e%2e"),
    "an escaped slash": file_entry("a", href="..%2fa"),
    "an escaped NUL": file_entry("a", href="a%00"),
    "another path": file_entry("a", href="/other/a"),
    "two segments": file_entry("a", href="b/a"),
    "another host": file_entry("a", href="http://localhost:9/files/a"),
    "another host without a scheme": file_entry("a", href="//localhost:9/files/a"),
    "another scheme": file_entry("a", href="file:///etc/passwd"),
    "other credentials": file_entry("a", href="http://eve:x@127.0.0.1/files/a"),
    "a query": file_entry("a", href="a?x=1"),
    "a fragment": file_entry("a", href="a#x"),
    "the folder itself": folder_entry("a", href="./"),
    "the folder by a query": folder_entry("a", href="?"),
    "nothing": folder_entry("a", href=""),
    "no href": folder_entry("a", href=None),
    "control characters": file_entry("a", href="a\x1b[31m"),
    "a line end": file_entry("a", href="a\nb"),
    "a file that is a folder": file_entry("a", href="a/"),
    "another kind": file_entry("a", kind="device\x1b[31m"),
    "a kind that is a list": file_entry("a", kind=["file"]),
    "a kind that is an object": file_entry("a", kind={}),
    "a name without end": file_entry("a", href="a" * 20_000),
    "a size below 0": file_entry("a", size=-1),
    "a size that is a text": file_entry("a", size="9"),
    "a digest that is none": file_entry("a", sha256="0" * 63),
    "a text": "a",
}


@pytest.mark.parametrize("lie", ENTRIES_THAT_LIE)
def test_a_folder_with_an_entry_that_lies_is_refused_in_one_line(command, origin, lie, tmp_path):
    entries = [file_entry("good", b"\1"), ENTRIES_THAT_LIE[lie]]
    origin.add("/files/good", b"\1")
    origin.on("/files/", lambda _: answer_json({"folder": "", "entries": entries, "next": None}))
    done = command("get", "-r", origin.url("/files/"))
    assert (done.status, done.store) == (1, {}), str(done)
    (line,) = [line for line in done.lines if "no folder of mediacrawl serve" in line]
    assert line.isprintable()
    assert [request.path for request in origin.requests] == ["/files/"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("following", ["/other/", "http://localhost:9/files/?a", "../?a", "?a#b", "a", 7, "?\x1b"])
def test_a_next_page_of_another_folder_is_refused(command, origin, following):
    page = {"folder": "", "entries": [], "next": following}
    origin.on("/files/", lambda _: answer_json(page))
    done = command("get", "-r", origin.url("/files/"))
    assert (done.status, len(origin.requests)) == (1, 1), str(done)
    assert "the next page is none of the folder" in done.err


@pytest.mark.parametrize("has_entries", [True, False], ids=["a circle", "empty pages"])
def test_pages_without_end_are_refused(command, origin, has_entries):
    entries = [file_entry("a", b"\1")] if has_entries else []
    origin.add("/files/a", b"\1")
    origin.on("/files/", lambda _: answer_json({"folder": "", "entries": entries, "next": "?a"}))
    done = command("get", "-r", origin.url("/files/"))
    assert done.status == 1
    assert "the pages of the folder have no end" in done.err
    assert len([request for request in origin.requests if request.path == "/files/"]) <= 2


def test_folders_in_folders_without_end_are_left_out(command, origin, monkeypatch):
    monkeypatch.setattr("mediacrawl.fetch.folder_walk._MOST_DEEP", 4)
    for depth in range(7):
        folder = "a/" * depth
        page = {"folder": folder, "entries": [folder_entry("a")], "next": None}
        origin.on(f"/files/{folder}", lambda _, page=page: answer_json(page))
    done = command("get", "-r", origin.url("/files/"))
    assert done.status == 1
    assert "more than 4 folders in each other" in done.err
    assert len(origin.requests) == 5


def test_more_folders_than_a_person_has_are_left_out(command, origin, monkeypatch):
    monkeypatch.setattr("mediacrawl.fetch.folder_walk._MOST_FOLDERS", 3)
    page = {"folder": "", "entries": [folder_entry(name) for name in "abcd"], "next": None}
    origin.on("/files/", lambda _: answer_json(page))
    done = command("get", "-r", origin.url("/files/"))
    assert (done.status, len(origin.requests)) == (1, 1)
    assert "more than 3 folders" in done.err


def test_a_page_that_is_too_large_is_refused(command, origin, monkeypatch):
    monkeypatch.setattr("mediacrawl.fetch.folder_walk._MOST_BYTES", 1 << 20)
    origin.on("/files/", lambda _: answer_json(b" " * (2 << 20)))
    done = command("get", "-r", origin.url("/files/"))
    assert done.status == 1
    assert "more than 1 MiB" in done.err


def test_names_that_no_file_should_have_are_made_safe(command, origin):
    names = [".mediacrawl", "CON", "a\\b", "c\x1b[31m", "d\u202egpj.exe", "e:f", "\udcff"]
    entries = []
    for name in names:
        body = f"\1{name!r}".encode()
        entry = file_entry("x", body)
        entry["href"] = "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "surrogateescape"))
        origin.add(f"/files/{entry['href']}", body)
        entries.append(entry)
    origin.on("/files/", lambda _: answer_json({"folder": "", "entries": entries, "next": None}))
    done = command("get", "-r", origin.url("/files/"))
    assert done.status == 0, str(done)
    assert set(done.store) == {
        HERE + name for name in ("mediacrawl", "_CON", "a_b", "c[31m", "dgpj.exe", "e_f", "file")
    }
    assert done.out.replace("\n", "").isprintable()


@pytest.mark.parametrize("path", ["films/", "films/b.mp4"], ids=["a folder", "a file"])
def test_a_redirect_to_another_origin_is_not_followed(command, server, path):
    with Origin() as other:
        other.add("/files/", b"\1of another server")
        server.origin.redirect(f"/files/{path}", other.url("/files/"))
        done = command("get", "-r", server.url())
        assert (done.status, other.requests) == (1, []), str(done)
        assert f"{server.url(path)}: redirect to {other.url('/files/')}: is refused, it is another origin" in done.err
        assert HERE + "a.bin" in done.store


def test_a_redirect_to_another_folder_is_refused(command, server):
    server.origin.redirect("/files/films/", "/files/")
    done = command("get", "-r", server.url())
    assert done.status == 1
    assert "it is another folder" in done.err
    assert len(done.store) == 2


@pytest.mark.parametrize(
    "words",
    [("-r", "-i", "list"), ("-r", "http://h/", "--key", "k"), ("-r",), ("-r", "http://h/", "http://i/", "-o", "x")],
)
def test_what_makes_no_sense_with_it_is_refused(command, words, tmp_path):
    (tmp_path / "list").write_text("http://127.0.0.1:9/a\n")
    done = command("get", *words)
    assert done.status == 2
    assert not (tmp_path / "store").exists()


def test_a_run_that_is_interrupted_goes_on(server, tmp_path):
    server.put("films/big.bin", BIG.read())
    server.origin.fault("/files/films/big.bin", stall_after(STALLS_AT))
    running = start(tmp_path, "get", "-r", server.url(), "-n", "1")
    server.origin.wait_for(lambda: server.origin.bytes_sent("/files/films/big.bin") >= STALLS_AT)
    running.interrupt()
    assert running.wait().status == 3
    server.origin.forget()
    again = start(tmp_path, "get", "-r", server.url()).wait()
    assert again.status == 0, str(again)
    assert again.store == stored(safe(server.files))
    assert server.origin.bytes_sent("/files/films/big.bin") < BIG.size


def test_an_interrupt_ends_a_folder_that_does_not_come(server, tmp_path):
    hangs = {"folder": "", "entries": [], "next": None}
    server.origin.on("/files/", lambda _: answer_json(hangs), faults=[stall_after(5)])
    running = start(tmp_path, "get", "-r", server.url())
    server.origin.wait_for(lambda: any(request.stalled for request in server.origin.requests))
    running.interrupt()
    assert running.wait().status == 3


def test_a_page_with_very_many_files_is_taken_in_blocks(monkeypatch):
    content = json.dumps({"folder": "", "entries": [file_entry(f"f{number}") for number in range(600)], "next": None})
    document = Document("http://h/files/", "application/json", content.encode())
    monkeypatch.setattr("mediacrawl.fetch.folder_walk.read_document", lambda *_, **__: document)
    first = FileRequest.of_url("http://h/files/")
    walk = FolderWalk(None, first, None, owner="get", request_of=FileRequest.of_url, cancel=None)
    assert [len(block) for block in walk.blocks()] == [250, 250, 100]

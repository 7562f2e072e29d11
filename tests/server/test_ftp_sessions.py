"""What clients of FTP see, get and may do: people, folders, downloads, complete uploads."""

from __future__ import annotations

import ftplib
import socket
import struct
from contextlib import suppress

import pytest
from crawling import wait_until
from ftp_server import FtpServer, TlsClient, begin, certificate, cut, receive, run_with_people, send, trusting
from serve_process import LIMIT_S, is_running

from mediacrawl.errors import DiskFull, StoreNotWritable
from mediacrawl.server.ftp.transferred_files import ReceivedFile
from mediacrawl.server.uploads.problems import QuotaSpent, TakenOver
from mediacrawl.server.uploads.records import UploadFacts

FILM = bytes(range(256)) * 8_000 + b"\r\n\n\r"
PEOPLE = {
    "anna": {"can_upload": True},
    "bert": {},
    "carl": {"can_read": False, "can_upload": True},
    "dora": {"can_upload": True},
    "erin": {"can_upload": True, "quota_bytes": 50_000},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("ftp") / "store"
    for folder in ("films", "~anna", "~bert", ".secret"):
        (root / folder).mkdir(parents=True)
    (root / "films" / "long.mp4").write_bytes(FILM)
    (root / "films" / "line\nend.mp4").write_bytes(b"x")
    (root / "a.jpg").write_bytes(b"picture")
    (root / "~anna" / "own.jpg").write_bytes(b"of anna")
    (root / "~bert" / "own.jpg").write_bytes(b"of bert")
    (root / ".secret" / "a.jpg").write_bytes(b"hidden")
    (root.parent / "outside.jpg").write_bytes(b"outside")
    (root / "link.jpg").symlink_to(root.parent / "outside.jpg")
    (root / "linked").symlink_to(root.parent)
    return root


@pytest.fixture(scope="module")
def server(store, tmp_path_factory):
    """With TLS, and without it for clients that do not want it."""
    pem = certificate(tmp_path_factory.mktemp("tls"))
    options = ["--ftp-tls-cert", pem, "--ftp-tls-key", pem, "--ftp-without-tls"]
    with FtpServer(store, PEOPLE, *options) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def anna(server, request):
    with server.ftp("anna", tls=request.param) as client:
        yield client


def refused(code, call, *arguments):
    """Expect a refusal in one line; return it."""
    with pytest.raises(ftplib.all_errors) as error:
        call(*arguments)
    said = str(error.value)
    assert said.startswith(code), said
    assert "\n" not in said
    return said


def ask(client, command):
    """Send a command, after the one for a data connection if it needs one."""
    if command.split()[0] in {"APPE", "LIST", "MLSD", "NLST", "RETR", "STOR"}:
        client.transfercmd(command).close()
    else:
        client.voidcmd(command)


# --- people


@pytest.mark.parametrize("password", ["", "wrong", "correct horse"])
def test_only_an_application_password_logs_in(server, password):
    said = refused("530", lambda: server.ftp("anna", password=password))
    assert "application password is wrong" in said


def test_a_person_needs_a_login_for_everything(server):
    client = ftplib.FTP()
    client.connect("127.0.0.1", server.ftp_port, timeout=LIMIT_S)
    for command in ("PWD", "LIST", "SIZE a.jpg", "RETR a.jpg", "STOR b.jpg", "PASV", "STAT a.jpg", "ALLO 1"):
        refused("530", client.voidcmd, command)
    client.quit()


def test_each_person_sees_the_common_folder_and_their_own(server):
    with server.ftp("anna") as anna, server.ftp("bert") as bert, server.ftp("carl") as carl:
        assert sorted(anna.nlst()) == ["a.jpg", "films", "~anna"]
        assert sorted(bert.nlst()) == ["a.jpg", "films", "~bert"]
        assert carl.nlst() == ["~carl"]
        assert receive(anna, "~anna/own.jpg") == b"of anna"
        assert carl.nlst("~carl") == []
        for client, paths in (
            (anna, ["~bert/own.jpg", "films/../~bert/own.jpg", "~bert", "~Anna/own.jpg"]),
            (carl, ["a.jpg", "films/long.mp4", "films"]),
        ):
            for path in paths:
                for command in ("RETR", "SIZE", "MDTM", "MLST", "CWD"):
                    refused("550", ask, client, f"{command} {path}")


@pytest.mark.parametrize(
    "path",
    [
        "link.jpg",
        "linked",
        "linked/outside.jpg",
        ".secret/a.jpg",
        ".mediacrawl/secret_key",
        ".mediacrawl",
        "../a",
        "x",
    ],
)
def test_hidden_folders_and_links_are_not_there(anna, path):
    if not path.startswith(".."):
        assert path not in anna.nlst()
    for command in ("RETR", "SIZE", "MDTM", "MLST", "MLSD", "LIST", "NLST", "STAT", "CWD"):
        refused("550", ask, anna, f"{command} {path}")


def test_a_login_that_is_withdrawn_ends_the_session_and_publishes_nothing(server, store):
    client = server.ftp("dora")
    conn = begin(client, "withdrawn.mp4", b"half")
    run_with_people(
        store,
        "for one in people.application_passwords('dora'):\n"
        "    people.revoke_application_password('dora', one.number)",
    )
    conn.close()
    client.voidresp()
    refused("421", client.voidcmd, "NOOP")
    assert client.file.readline() == ""
    client.close()
    assert not (store / "withdrawn.mp4").exists()
    refused("530", lambda: server.ftp("dora"))


# --- folders and downloads


def test_folders_are_listed_with_sizes_and_times(anna, store):
    facts = dict(anna.mlsd("films"))
    assert list(facts) == ["long.mp4"], "a line end in a name would forge an entry"
    assert facts["long.mp4"]["size"] == str(len(FILM))
    assert facts["long.mp4"]["type"] == "file"
    modified = facts["long.mp4"]["modify"]
    assert anna.voidcmd("MDTM films/long.mp4") == f"213 {modified}"
    lines = []
    anna.dir(lines.append)
    assert all(line.split()[2:4] == ["ftp", "ftp"] for line in lines), "users of the machine are told"
    assert "type=dir" in anna.voidcmd("MLST films")
    anna.cwd("films")
    assert anna.pwd() == "/films"
    assert anna.nlst() == ["long.mp4"]
    anna.cwd("..")
    anna.cwd("/films/../~anna")
    assert anna.pwd() == "/~anna"


@pytest.mark.parametrize("offset", [None, 1, 100_000, len(FILM)])
def test_a_download_is_continued(anna, offset):
    assert anna.voidcmd("SIZE films/long.mp4") == f"213 {len(FILM)}"
    assert receive(anna, "films/long.mp4", rest=offset) == FILM[offset or 0 :]


def test_a_download_beyond_the_end_is_refused(anna):
    anna.voidcmd("TYPE I")
    refused("554", anna.transfercmd, "RETR films/long.mp4", len(FILM) + 1)


def test_the_ascii_type_changes_no_byte(anna):
    anna.voidcmd("TYPE A")
    found = []
    with anna.transfercmd("RETR films/long.mp4") as conn:
        while data := conn.recv(65536):
            found.append(data)
    anna.voidresp()
    assert b"".join(found) == FILM


@pytest.mark.parametrize("use_passive", [True, False])
def test_both_kinds_of_data_connections(server, use_passive):
    with server.ftp() as client:
        client.set_pasv(use_passive)
        assert receive(client, "a.jpg") == b"picture"


def test_the_server_connects_to_the_client_alone(server):
    with server.ftp() as client:
        assert "foreign address" in refused("501", client.voidcmd, "PORT 192,0,2,1,200,0")
        assert "privileged port" in refused("501", client.voidcmd, "PORT 127,0,0,1,0,22")


def test_a_client_that_has_to_use_tls_is_not_served_without(store, tmp_path):
    pem = certificate(tmp_path)
    (tmp_path / "store").mkdir()
    options = ["--ftp-tls-cert", pem, "--ftp-tls-key", pem, "--ftp-passive-ports", f"{_free_port()}"]
    with FtpServer(tmp_path / "store", {"anna": {"can_upload": True}}, *options) as server:
        assert server.tls == "with TLS"
        refused("550", server.ftp)
        client = TlsClient(context=trusting())
        client.connect("127.0.0.1", server.ftp_port, timeout=LIMIT_S)
        client.sock.sendall(b"AUTH TLS\r\nUSER anna\r\n")  # the second command may be that of somebody on the way
        assert client.getresp().startswith("234")
        client.sock = client.context.wrap_socket(client.sock)
        client.file = client.sock.makefile("r", encoding="utf-8")
        client.sendcmd("NOOP")
        client.login("anna", server.passwords["anna"], secure=False)
        refused("550", client.voidcmd, "PASV")
        client.prot_p()
        conn = begin(client, "a.jpg", b"picture")
        assert conn.version() == "TLSv1.2", "with tickets of TLS 1.3, the end of an upload may be lost"
        conn.unwrap()
        conn.close()
        client.voidresp()
        client.quit()
        assert (tmp_path / "store" / "a.jpg").read_bytes() == b"picture"
        with server.ftp(tls=True) as client:
            conn = begin(client, "half.jpg", b"half")
            processes = server.processes()
            assert server.end() == 0, "also with a client that is sending"
            cut(conn)
            client.close()
        wait_until(lambda: not any(map(is_running, processes)))
        assert "Traceback" not in "".join(server.log)
        assert not (tmp_path / "store" / "half.jpg").exists()


def _free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# --- uploads that are whole


def test_an_upload_gets_its_name_with_the_next_command(anna, server, store):
    kind = type(anna).__name__
    send(anna, f"films/{kind}.mp4", FILM)
    assert not (store / "films" / f"{kind}.mp4").exists()
    send(anna, f"~anna/{kind}.mp4", b"own")
    assert (store / "films" / f"{kind}.mp4").read_bytes() == FILM
    anna.cwd("~anna")
    assert (store / "~anna" / f"{kind}.mp4").read_bytes() == b"own"
    assert receive(anna, f"{kind}.mp4") == b"own"
    server.line_with(f"PUBLISH /~anna/{kind}.mp4")


def test_an_upload_gets_its_name_while_the_client_waits(anna, store):
    path = store / f"waiting-{type(anna).__name__}.mp4"
    send(anna, path.name, b"whole")
    wait_until(path.exists)
    assert path.read_bytes() == b"whole"


def test_a_client_that_asks_about_its_upload_and_leaves_has_sent_it(anna, store):
    path = store / f"asked-{type(anna).__name__}.mp4"
    send(anna, path.name, b"whole")
    assert anna.size(path.name) == 5
    assert "size=5;" in anna.voidcmd(f"MLST {path.name}")
    anna.quit()
    wait_until(path.exists)


def test_a_client_names_its_upload_when_it_is_whole(anna, store):
    """As rclone does; it also tells when the file was changed."""
    kind = type(anna).__name__
    send(anna, f"films/{kind}.partial", b"whole")
    assert anna.voidcmd(f"MFMT 20200102030405 films/{kind}.partial") == (
        f"213 Modify=20200102030405; /films/{kind}.partial"
    )
    anna.rename(f"films/{kind}.partial", f"films/named-{kind}.mp4")
    assert anna.size(f"films/named-{kind}.mp4") == 5
    refused("501", anna.voidcmd, f"MFMT 2020 films/named-{kind}.mp4")
    assert f"named-{kind}.mp4" in anna.nlst("films")
    path = store / "films" / f"named-{kind}.mp4"
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mtime == 1577934245
    assert not (store / "films" / f"{kind}.partial").exists()


def test_an_upload_gets_no_name_in_another_place(anna, store):
    kind = type(anna).__name__
    for path in ("~bert/a.mp4", ".mediacrawl/a.mp4", "nothing/a.mp4", "films", "linked/a.mp4", "~bert\\a.mp4"):
        send(anna, f"{kind}.partial", path.encode())
        refused("550", anna.rename, f"{kind}.partial", path)
        anna.delete(f"{kind}.partial")
    assert not list(store.glob(f"{kind}*"))
    assert sorted(path.name for path in (store / "~bert").iterdir()) == ["own.jpg"]


def test_what_is_published_is_neither_changed_nor_removed(anna, store):
    before = sorted(store.rglob("*"))
    for command in (
        "DELE a.jpg",
        "DELE films",
        "RMD films",
        "RNFR a.jpg",
        "APPE a.jpg",
        "SITE CHMOD 777 a.jpg",
        "MFMT 20200101000000 a.jpg",
    ):
        if command.startswith("RNFR"):
            anna.sendcmd(command)
            refused("550", anna.voidcmd, "RNTO b.jpg")
        elif command.startswith("APPE"):
            anna.voidcmd("TYPE I")
            refused("550", anna.transfercmd, command)
        else:
            refused("5", anna.voidcmd, command)
    anna.voidcmd("TYPE I")
    refused("550", anna.transfercmd, "STOR a.jpg", 3)
    assert (store / "a.jpg").read_bytes() == b"picture"
    assert sorted(store.rglob("*")) == before


def test_another_file_of_the_same_name_gets_a_number(server, store):
    with server.ftp() as client:
        for content in (b"first", b"second", b"second"):
            send(client, "twice.mp4", content)
            client.cwd("/")
        assert sorted(path.name for path in store.glob("twice*")) == ["twice-1.mp4", "twice.mp4"] or sorted(
            path.name for path in store.glob("twice*")
        ) == ["twice-2.mp4", "twice.mp4"]
        assert (store / "twice.mp4").read_bytes() == b"first"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("bert", "b.jpg"),
        ("bert", "~bert/b.jpg"),
        ("carl", "b.jpg"),
        ("carl", "~bert/b.jpg"),
        ("anna", "~bert/b.jpg"),
        ("anna", ".mediacrawl/b.jpg"),
        ("anna", "linked/b.jpg"),
        ("anna", "nothing/b.jpg"),
        ("anna", "films"),
        ("anna", "~bert\\b.jpg"),
        ("anna", "a.jpg/b.jpg"),
    ],
)
def test_an_upload_to_another_place_is_refused(server, store, name, path):
    before = sorted(store.rglob("*"))
    with server.ftp(name) as client:
        client.voidcmd("TYPE I")
        refused("55", client.transfercmd, f"STOR {path}")
        refused("550", client.voidcmd, f"MKD {path}")
    assert [one for one in sorted(store.rglob("*")) if ".mediacrawl" not in one.parts] == [
        one for one in before if ".mediacrawl" not in one.parts
    ]


def test_folders_are_made(anna, store):
    name = type(anna).__name__
    for path in (f"made {name}", f"made {name}/in it", f"~anna/made {name}"):
        assert anna.mkd(path) == f"/{path}"
        assert (store / path).is_dir()
        refused("550", anna.mkd, path)
    for path in ("CON", "a:b", ".hidden", "~zoe", "x/y"):
        refused("550", anna.mkd, path)
        assert not (store / path).exists()


def test_the_first_file_of_an_own_folder_makes_it(server, store):
    with server.ftp("carl") as client:
        client.cwd("~carl")
        client.mkd("films")
        send(client, "films/a.mp4", b"of carl")
    wait_until((store / "~carl" / "films" / "a.mp4").exists)


def test_an_announced_length_has_to_come(anna, store):
    path = f"announced-{type(anna).__name__}.mp4"
    anna.voidcmd("ALLO 10")
    assert "expected 10 bytes" in refused("426", send, anna, path, b"nine byte")
    assert anna.nlst()
    assert not (store / path).exists()
    assert anna.size(path) == 9
    send(anna, path, b"s", rest=9)
    anna.nlst()
    assert (store / path).read_bytes() == b"nine bytes"


def test_a_quota_holds_and_what_was_sent_within_it_stays(server, store):
    with server.ftp("erin") as client:
        client.voidcmd("ALLO 50001")
        client.voidcmd("TYPE I")
        assert "50,000 are left" in refused("552", client.transfercmd, "STOR large.mp4")
        conn = begin(client, "large.mp4", b"x" * 40_000)
        with suppress(OSError):
            conn.sendall(b"x" * 4_000_000)
        conn.close()
        assert "SIZE tells how many bytes are safe" in refused("552", client.voidresp)
        size = client.size("large.mp4")
        assert 0 <= size <= 50_000
        client.delete("large.mp4")
        send(client, "small.mp4", b"x" * 50_000)
        client.nlst()
        assert (store / "small.mp4").stat().st_size == 50_000
        send(client, "none.mp4", b"")
        refused("552", send, client, "one.mp4", b"x")
    assert not (store / "large.mp4").exists()


class FailingWriter:
    """The writer of an upload, at a machine where something fails."""

    offset = 0

    def __init__(self, error):
        self._error = error

    def write(self, data):
        raise self._error

    def close(self):
        return 7


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DiskFull("/srv/archive is full"), 452, "there is no room left on the disk of the server"),
        (StoreNotWritable("cannot write in /srv/archive"), 451, "the server cannot write or read now"),
        (QuotaSpent("spent"), 552, "spent"),
        (TakenOver("taken over"), 426, "taken over"),
    ],
)
def test_a_transfer_that_fails_tells_why_and_writes_nothing_more(error, code, said):
    file = ReceivedFile("a", UploadFacts("id", "anna", "a", None, 0, 0.0), FailingWriter(error), None)
    file.write(b"1")
    file.write(b"2")
    file.close()
    assert (file.failure, file.offset) == (error, 7)
    assert file.refusal().startswith(f"{code} {said}")
    assert "/srv/archive" not in file.refusal()


def test_a_session_has_one_transfer_at_a_time(server, store):
    """The bytes of one file would go to another one."""
    with server.ftp() as client:
        conn = begin(client, "first.mp4", b"first")
        for command in ("STOR second.mp4", "APPE first.mp4", "RETR a.jpg", "LIST"):
            refused("450", client.voidcmd, command)
        conn.sendall(b" file")
        conn.close()
        client.voidresp()
        client.voidcmd("PASV")
        assert client.sendcmd("STOR second.mp4").startswith("150")
        assert receive(client, "a.jpg") == b"picture"
        assert (store / "first.mp4").read_bytes() == b"first file"
        client.delete("second.mp4")


def test_a_transfer_without_a_data_connection_is_refused(server):
    with server.ftp() as client:
        for command in ("STOR b.jpg", "RETR a.jpg", "LIST"):
            assert "PASV" in refused("425", client.voidcmd, command)


def test_a_data_connection_that_is_reset_before_it_is_accepted_is_told(server):
    """The reset comes before the reply, in some of these trials."""
    for _ in range(20):
        with server.ftp() as client:
            conn = begin(client, "early.mp4", b"x" * 100_000)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conn.close()
            refused("426", client.voidresp)


def test_a_command_with_control_characters_is_refused(server):
    with server.ftp() as client:
        client.sock.sendall(b"MKD a\nb\r\n")
        refused("501", client.voidresp)
        client.sock.sendall(b"CWD \xff\xfe\r\n")
        refused("550", client.voidresp)


def test_a_command_that_is_too_long_is_refused(server):
    client = server.ftp()
    client.sock.sendall(b"X" * 5000 + b"\r\n")
    refused("500", client.voidresp)
    client.close()


def test_a_login_over_tls_that_fails_leaves_no_traceback(server):
    with socket.create_connection(("127.0.0.1", server.ftp_port), timeout=LIMIT_S) as sock:
        assert sock.recv(100).startswith(b"220")
        sock.sendall(b"AUTH TLS\r\n")
        assert sock.recv(100).startswith(b"234")
        sock.sendall(b"this is no TLS\r\n" * 10)
        with suppress(ConnectionResetError):
            while sock.recv(1000):
                pass
    with server.ftp(tls=True) as client:
        client.voidcmd("NOOP")
    log = "".join(server.log)
    assert "Traceback" not in log, log

"""Uploads by FTP that are cut in each way: never published, and continued to the same file."""

from __future__ import annotations

import ftplib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from crawling import wait_until
from ftp_server import FtpProcess, FtpServer, begin, certificate, cut, send
from serve_process import LIMIT_S

from mediacrawl.errors import UsageProblem
from mediacrawl.server.ports import free_port

CONTENT = random.Random(1).randbytes(3_000_000)
HALF = 1_234_567


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("ftp") / "store"
    root.mkdir()
    return root


@pytest.fixture(scope="module")
def server(store, tmp_path_factory):
    pem = certificate(tmp_path_factory.mktemp("tls"))
    options = ["--ftp-tls-cert", pem, "--ftp-tls-key", pem, "--ftp-without-tls"]
    with FtpServer(store, {"anna": {"can_upload": True}, "bert": {"can_upload": True}}, *options) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def tls(request):
    return request.param


def killed(server, path, tls):
    """A client that is killed in the middle."""
    code = (
        "import sys, time\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from ftp_server import TlsClient, begin, ftplib, trusting\n"
        f"client = TlsClient(context=trusting()) if {tls} else ftplib.FTP()\n"
        f"client.connect('127.0.0.1', {server.ftp_port}); client.login('anna', {server.passwords['anna']!r})\n"
        f"{tls} and client.prot_p()\n"
        "import test_ftp_interrupted as own\n"
        f"conn = begin(client, {path!r}, own.CONTENT[:own.HALF])\n"
        "print('half', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"half\n"
        process.kill()


def aborted(server, path, tls):
    """A client that aborts, and stays."""
    with server.ftp(tls=tls) as client:
        conn = begin(client, path, CONTENT[:HALF])
        if client.abort().startswith("426"):  # bytes had come already
            client.voidresp()
        cut(conn)
        client.nlst()


def aborted_late(server, path, tls):
    """A client that closes the data connection, and then aborts."""
    with server.ftp(tls=tls) as client:
        conn = begin(client, path, CONTENT[:HALF])
        if tls:
            conn.unwrap()
        conn.close()
        client.voidresp()
        client.putcmd("ABOR")
        client.getmultiline()
        client.nlst()


def gone(server, path, tls):
    """A client whose connections are both cut off."""
    client = server.ftp(tls=tls)
    conn = begin(client, path, CONTENT[:HALF])
    client.file.close()
    cut(client.sock)
    cut(conn)


def reset(server, path, tls):
    """A data connection that is reset, of a client that goes on."""
    import socket
    import struct

    with server.ftp(tls=tls) as client:
        conn = begin(client, path, CONTENT[:HALF])
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        cut(conn)
        with pytest.raises(ftplib.Error, match="426"):
            client.voidresp()
        client.nlst()


def unclosed(server, path, tls):
    """A connection of TLS that ends without an alert, of a client that goes on."""
    with server.ftp(tls=True) as client:
        conn = begin(client, path, CONTENT[:HALF])
        cut(conn)
        with pytest.raises(ftplib.Error, match="426"):
            client.voidresp()
        client.nlst()


WAYS = [killed, aborted, aborted_late, gone, reset, unclosed]


def check_continued(server, store, path, tls):
    """Continue an upload as a new client does, and check that there is one file, and it is equal."""
    with server.ftp(tls=tls) as client:
        size = client.size(path)
        assert 0 <= size <= HALF
        assert client.size(path) == size
        assert not (store / path).exists()
        send(client, path, CONTENT[size:], rest=size or None)
        client.nlst()
    stem = path.partition(".")[0]
    assert [one.name for one in store.glob(f"{stem}*")] == [path]
    assert (store / path).read_bytes() == CONTENT


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_an_interrupted_upload_is_not_published_and_is_continued(server, store, way, tls):
    path = f"{way.__name__}-{tls}.mp4"
    way(server, path, tls)
    check_continued(server, store, path, tls)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_twenty_of_each(server, store, way, tls):
    for number in range(20):
        path = f"{way.__name__}-{tls}-{number}.mp4"
        way(server, path, tls)
        check_continued(server, store, path, tls)


def test_a_client_that_is_silent_is_replaced(server, store, tls):
    """Its network is gone, and so the server hears nothing of it."""
    path = f"silent-{tls}.mp4"
    silent = server.ftp(tls=tls)
    conn = begin(silent, path, CONTENT[:HALF])
    check_continued(server, store, path, tls)
    with pytest.raises(OSError):
        conn.sendall(CONTENT * 100)
    cut(conn)
    silent.close()
    assert (store / path).read_bytes() == CONTENT


def test_an_upload_is_continued_on_the_same_connection(server, store, tls):
    """It is published once, and whole; the end of its first half looks as that of a file."""
    for number, command in enumerate(("STOR", "APPE")):
        path = f"same-{number}-{tls}.mp4"
        with server.ftp(tls=tls) as client:
            send(client, path, CONTENT[:HALF])
            assert client.size(path) == HALF
            rest = HALF if command == "STOR" else None
            send(client, path, CONTENT[HALF:], rest=rest, command=command)
            client.nlst()
        assert [one.name for one in store.glob(f"same-{number}-{tls}*")] == [path]
        assert (store / path).read_bytes() == CONTENT


def test_an_upload_that_is_begun_anew_replaces_its_first_half(server, store):
    with server.ftp() as client:
        send(client, "anew.mp4", CONTENT[:HALF])
        send(client, "anew.mp4", CONTENT)
        client.nlst()
    assert [one.name for one in store.glob("anew*")] == ["anew.mp4"]
    assert (store / "anew.mp4").read_bytes() == CONTENT


def test_bytes_that_do_not_begin_where_the_upload_ends_are_refused(server, store):
    with server.ftp() as client:
        aborted(server, "gap.mp4", False)
        size = client.size("gap.mp4")
        for offset in (size + 1, size - 1):
            with pytest.raises(ftplib.error_perm, match=f"the upload has {size} bytes"):
                send(client, "gap.mp4", CONTENT[offset:], rest=offset)
        with pytest.raises(ftplib.error_perm, match="no unfinished upload"):
            send(client, "nothing.mp4", CONTENT, rest=5)
        assert client.size("gap.mp4") == size


def test_an_unfinished_upload_is_seen_by_its_person_alone(server, store):
    aborted(server, "unseen.mp4", False)
    with server.ftp() as anna, server.ftp("bert") as bert:
        assert "unseen.mp4" in anna.nlst()
        assert "unseen.mp4" not in bert.nlst()
        with pytest.raises(ftplib.error_perm, match="not whole yet"):
            anna.retrbinary("RETR unseen.mp4", lambda _: None)
        with pytest.raises(ftplib.error_perm):
            bert.size("unseen.mp4")
        with pytest.raises(ftplib.error_perm):
            bert.delete("unseen.mp4")
        anna.delete("unseen.mp4")
        assert "unseen.mp4" not in anna.nlst()


def test_an_append_whose_upload_has_gone_is_refused(server):
    """Its bytes would be the beginning of a file."""
    aborted(server, "appended.mp4", False)
    with server.ftp() as client:
        size = client.size("appended.mp4")
        with server.ftp() as other:
            other.delete("appended.mp4")
        with pytest.raises(ftplib.error_perm, match="no unfinished upload"):
            send(client, "appended.mp4", CONTENT[size:], command="APPE")


def test_a_file_is_fetched_whole_while_an_upload_of_its_name_is_unfinished(server, store, tmp_path):
    with server.ftp() as client:
        send(client, "twice.mp4", CONTENT)
        client.nlst()
        cut(begin(client, "twice.mp4", CONTENT[:HALF]))
    wait_until(partial(is_listed_twice, server))
    with (
        server.ftp() as client,
        pytest.raises(ftplib.error_perm, match="and an unfinished upload of its name"),
    ):
        client.size("twice.mp4")
    run([sys.executable, "-m", "mediacrawl", "get", server.url("twice.mp4"), "-s", f"FILES_STORE={tmp_path}"])
    got = [path for path in tmp_path.rglob("*.mp4") if path.is_file()]
    assert [path.read_bytes() for path in got] == [CONTENT], list(tmp_path.rglob("*"))
    with server.ftp() as client:
        client.delete("twice.mp4")


def is_listed_twice(server):
    with server.ftp() as client:
        try:
            client.size("twice.mp4")
        except ftplib.error_perm:
            return True
    return False


def kill_ftp_process(server):
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in server.processes()}
    (pid,) = [pid for pid, words in commands.items() if b"server.ftp.process" in words]
    lines = len(server.log)
    os.kill(pid, signal.SIGKILL)
    return lines


def test_a_killed_server_keeps_its_port_and_loses_no_byte_that_it_has_told(server, store):
    path, told = "killed.mp4", 0
    for _ in range(2):
        client = server.ftp()
        conn = begin(client, path, CONTENT[told : told + HALF // 2], rest=told or None)
        stop = told + HALF // 2
        wait_until(partial(is_listed, server, path, stop))
        lines = kill_ftp_process(server)
        with pytest.raises(UsageProblem, match="another program listens there"):
            free_port("127.0.0.1", server.ftp_port)
        cut(conn)
        client.close()
        server.line_with("FTP server runs again", lines)
        told = check_told(server, path, stop, 0)
    with server.ftp() as client:
        send(client, path, CONTENT[told:], rest=told or None)
        client.nlst()
    assert (store / path).read_bytes() == CONTENT


def is_listed(server, path, size):
    return size_now(server, path) == size


def check_told(server, path, told, step):
    """Return what is told now of an upload: no byte less than before."""
    with server.ftp() as client:
        size = client.size(path) if path in client.nlst() else 0
    assert told <= size <= told + step
    return size


@pytest.mark.slow
def test_thirty_kills_of_the_server_within_one_upload(server, store):
    """The process alone, as the server waits longer after each kill."""
    path, told, step = "thirty.mp4", 0, len(CONTENT) // 35
    for number in range(30):
        with FtpProcess(server) as process:
            client = process.ftp()
            conn = begin(client, path, CONTENT[told : told + step * (number % 3)], rest=told or None)
            process.kill()
            cut(conn)
            client.close()
        told = check_told(server, path, told, 2 * step)
    with server.ftp() as client:
        send(client, path, CONTENT[told:], rest=told or None)
        client.nlst()
    assert [one.name for one in store.glob("thirty*")] == [path]
    assert (store / path).read_bytes() == CONTENT


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def words(program, *more):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return [program, *map(str, more)]


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, **more)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def killed_when(process, has_begun):
    """Kill a program once it has begun to transfer."""
    wait_until(has_begun)
    process.kill()
    process.communicate()


def size_now(server, path):
    """The size in a listing, which does not end the transfer."""
    folder, _, name = path.rpartition("/")
    with server.ftp() as client, suppress(ftplib.error_perm):  # there is no such folder yet
        return int(dict(client.mlsd(folder)).get(name, {}).get("size", 0))
    return 0


def test_curl_continues_an_upload_and_a_download(server, store, film, tls):
    secure = ["--ssl-reqd", "--insecure"] if tls else []
    curl = words("curl", "--silent", "--show-error", *secure)
    path = f"curl-{tls}.mp4"
    process = subprocess.Popen([*curl, "--limit-rate", "300k", "-T", film, server.url(path)])
    killed_when(process, lambda: size_now(server, path))
    assert not (store / path).exists()
    run([*curl, "-C", "-", "-T", film, server.url(path)])
    wait_until((store / path).exists)
    assert sha256(store / path) == sha256(film)
    got = film.with_name("got.mp4")
    process = subprocess.Popen([*curl, "--limit-rate", "300k", "-o", got, server.url(path)])
    killed_when(process, lambda: got.exists() and got.stat().st_size)
    run([*curl, "-C", "-", "-o", got, server.url(path)])
    assert sha256(got) == sha256(film)


def test_wget_continues_a_download(server, store, film, tls):
    (store / "wget.mp4").write_bytes(CONTENT)
    if tls and "+ftps" not in run(words("wget", "--version")):
        pytest.skip("this wget speaks no FTPS")
    wget = words("wget", "--quiet", "--no-check-certificate", "-O", film.with_name("got.mp4"))
    got = film.with_name("got.mp4")
    process = subprocess.Popen([*wget, "--limit-rate", "300k", server.url("wget.mp4")])
    killed_when(process, lambda: got.exists() and got.stat().st_size)
    run([*wget, "-c", server.url("wget.mp4")])
    assert sha256(got) == sha256(film)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "sent"
    (root / "in it").mkdir(parents=True)
    for number, name in enumerate(("a.bin", "b.bin", "in it/c.bin")):
        (root / name).write_bytes(random.Random(number).randbytes(1_000_000 * (number + 1)))
    return root


def contents(folder):
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_a_record_of_tls_for_each_byte_takes_no_quadratic_time(server, store):
    """A client that limits its rate sends small ones: the server took half a minute for each 256 KiB."""
    data = random.Random(1).randbytes(150_000)
    with server.ftp(tls=True) as client:
        client.voidcmd("TYPE I")
        with client.transfercmd("STOR tiny records.bin") as connection:
            for byte in data:
                connection.send(bytes([byte]))
            connection.unwrap()
        client.voidresp()
        client.voidcmd("NOOP")
    assert (store / "tiny records.bin").read_bytes() == data


@pytest.mark.slow
def test_lftp_continues_a_mirror_in_both_directions(server, store, folder, tls):
    setting = f"set ftp:ssl-force {'yes' if tls else 'no'}; set ftp:ssl-allow {'yes' if tls else 'no'}"
    start = f"{setting}; set ssl:verify-certificate no; set ftp:ssl-protect-data yes; open {server.url('')};"
    lftp = words("lftp", "-c")
    there, back = f"lftp-{tls}", folder.with_name("back")
    process = subprocess.Popen([*lftp, f"{start} set net:limit-rate 0:400000; mirror -R {folder} {there}"])
    killed_when(process, lambda: size_now(server, f"{there}/b.bin"))
    assert not (store / there / "b.bin").exists()
    run([*lftp, f"{start} mirror -R -c --parallel=2 {folder} {there}"])
    wait_until(lambda: contents(store / there) == contents(folder))
    process = subprocess.Popen([*lftp, f"{start} set net:limit-rate 400000; mirror {there} {back}"])
    killed_when(process, (back / "b.bin").exists)
    run([*lftp, f"{start} mirror -c {there} {back}"])
    assert contents(back) == contents(folder)


@pytest.mark.slow
def test_rclone_copies_in_both_directions(server, store, folder):
    hidden = run(words("rclone", "obscure", server.passwords["anna"])).strip()
    place = f"host=127.0.0.1,port={server.ftp_port},user=anna,pass='{hidden}',explicit_tls=true,no_check_certificate"
    remote = f":ftp,{place}=true:rclone"
    process = subprocess.Popen([*words("rclone", "copy", "--bwlimit", "500k", "--transfers", 1), folder, remote])
    killed_when(process, lambda: size_now(server, "rclone/b.bin"))
    assert not (store / "rclone" / "b.bin").exists()
    run([*words("rclone", "copy"), folder, remote])
    wait_until(lambda: contents(store / "rclone") == contents(folder))
    for path in folder.rglob("*.bin"):
        assert (store / "rclone" / path.relative_to(folder)).stat().st_mtime == int(path.stat().st_mtime)
    run([*words("rclone", "copy"), remote, folder.with_name("back")])
    assert contents(folder.with_name("back")) == contents(folder)

"""Files of FTP servers on real sockets: resumed, changed in between, of servers that lack a command, or that lie."""

from __future__ import annotations

import hashlib
import socket
import threading
import time

import pytest
from certificates import Authority
from fetching import AT_ONCE, Rig, When, stop_after
from ftp_origin import FtpOrigin, drop_after, end_early, refuse, run_at, send_from_0, send_more, unknown
from origin import Pattern, dead_port
from private_addresses import Listener
from proxy_servers import HttpProxy, SocksProxy

from mediacrawl.download.downloader import Downloader, Policy
from mediacrawl.download.resume import OVERLAP_BYTES, UNIDENTIFIED_OVERLAP_BYTES
from mediacrawl.download.retry import Backoff
from mediacrawl.errors import (
    AddressRefused,
    ConnectError,
    ConnectionLost,
    FtpReplyError,
    Interrupted,
    InvalidResponse,
    NoResponse,
    TransferError,
    UnsupportedURL,
)
from mediacrawl.transport import addresses
from mediacrawl.transport.connection_limits import ConnectionLimit, HostConnections
from mediacrawl.transport.ftp import FtpTransport
from mediacrawl.transport.netrc_file import read_netrc

TOTAL, HAVE = 700_000, 400_000
BODY, OTHER = Pattern(TOTAL, 1).read(), Pattern(TOTAL, 2).read()
LONGER = Pattern(TOTAL + 100_000, 1).read()
REST, OVERLAP = str(HAVE - OVERLAP_BYTES), str(HAVE - UNIDENTIFIED_OVERLAP_BYTES)
ONCE = Backoff(times=0)


@pytest.fixture
def ftp(tmp_path):
    with FtpOrigin(tmp_path / "ftp") as running:
        yield running


@pytest.fixture
def rig(tmp_path):
    running = Rig(tmp_path / "store", None, FtpTransport())
    yield running
    running.close()


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """An authority, and the file of a server that it vouches for."""
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder)
    authority.context("127.0.0.1", "localhost")
    return authority, folder / "server1.pem"


def interrupt(rig, ftp, url, have=HAVE, **more):
    """A run that gets this far, and loses its connection."""
    ftp.faults.insert(0, drop_after(have))
    with pytest.raises(ConnectionLost):
        rig.fetch(url, downloader=rig.downloader(backoff=ONCE, **more))
    assert rig.planted_bytes() == have
    ftp.commands.clear()


# --- resuming ---------------------------------------------------------------------------------------


RESUMED = {
    "all is known": ([], BODY, [REST], HAVE),
    "no SIZE, but MLST": (unknown("SIZE"), BODY, [REST], HAVE),
    "no MDTM, but MLST": (unknown("MDTM"), BODY, [REST], HAVE),
    "no time at all": (unknown("MDTM", "MLST"), BODY, [OVERLAP], HAVE),
    "no size at all": (unknown("SIZE", "MLST"), BODY, [], 0),
    "neither size nor time": (unknown("SIZE", "MDTM", "MLST"), BODY, [], 0),
    "a size that is refused": ([refuse("SIZE", "550 SIZE not allowed in ASCII mode.")], BODY, [], 0),
    "no REST": (unknown("REST"), BODY, [REST], HAVE),
    "no EPSV": (unknown("EPSV"), BODY, [REST], HAVE),
    "another file of the same length": ([], OTHER, [], 0),
    "a longer file": ([], LONGER, [], 0),
    "a shorter file": ([], BODY[:300_000], [], 0),
    "another file of a server without times": (unknown("MDTM", "MLST"), OTHER, [OVERLAP], 0),
    "a longer file of a server without times": (unknown("MDTM", "MLST"), LONGER, [OVERLAP], 0),
    "a shorter file of a server without times": (unknown("MDTM", "MLST"), BODY[:300_000], [], 0),
    "REST that is accepted and ignored": ([send_from_0()], BODY, [REST], 0),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_file_is_resumed_where_it_is_the_same_and_fetched_anew_where_it_is_not(rig, ftp, name):
    faults, later, rests, saved = RESUMED[name]
    url = ftp.add("a/b.bin", BODY, age_s=5_000)
    ftp.faults += faults
    interrupt(rig, ftp, url)
    if later != BODY:
        ftp.add("a/b.bin", later, age_s=2_000)
    arrived = rig.bring(url)
    assert arrived.data == later
    assert ftp.asked("REST")[: len(rests) or None] == rests
    assert arrived.fetched.saved_bytes == saved
    assert (arrived.fetched.status, arrived.fetched.url) == (200, url)


def test_a_lost_connection_is_resumed_within_the_run(rig, ftp):
    url = ftp.add("a.bin", BODY)
    ftp.faults += [drop_after(200_000), drop_after(HAVE)]
    assert rig.bring(url).data == BODY
    assert ftp.asked("REST") == [str(200_000 - OVERLAP_BYTES), REST]


def test_a_file_that_is_unchanged_is_not_sent_again(rig, ftp):
    url = ftp.add("a.bin", BODY)
    first = rig.bring(url).fetched
    assert first.validators.etag is not None
    ftp.commands.clear()
    again = rig.fetch(url, revalidate=first.validators)
    assert (again.part, again.status, ftp.asked("RETR")) == (None, 304, [])
    ftp.add("a.bin", OTHER, age_s=10)
    changed = rig.fetch(url, revalidate=first.validators)
    assert rig.publish(changed) == OTHER


@pytest.mark.parametrize("size", [0, 1, 65_536, TOTAL])
@pytest.mark.parametrize("lacks", [(), ("SIZE", "MLST")], ids=["size", "no size"])
def test_a_file_of_any_size_is_complete(rig, ftp, size, lacks):
    url = ftp.add("a.bin", BODY[:size])
    ftp.faults += unknown(*lacks)
    assert rig.bring(url).data == BODY[:size]


@pytest.mark.parametrize("path", ["a b#c?d.bin", "caf\u00e9/\u6771.bin", "%41.bin", "a;b.bin", "-x.bin", "\xff.bin"])
def test_a_path_is_sent_with_the_bytes_of_its_name(rig, ftp, path):
    url = ftp.add(path, BODY[:1000])
    assert rig.bring(url).data == BODY[:1000]


def test_an_absolute_path_begins_with_a_second_slash(rig, ftp):
    ftp.add("a.bin", BODY[:1000])
    assert rig.bring(f"ftp://{ftp.netloc}//a.bin").data == BODY[:1000]
    assert ftp.asked("RETR") == [str(ftp.folder / "a.bin")] or ftp.asked("RETR")[0].endswith("/a.bin")


# --- a file that changes, and servers that lie ------------------------------------------------------


def changed(ftp):
    return lambda: ftp.add("a.bin", Pattern(3_000_000, 5).read(), age_s=1)


def test_a_file_that_is_changed_while_it_is_sent_is_fetched_anew(rig, ftp):
    url = ftp.add("a.bin", Pattern(3_000_000, 4).read())
    ftp.faults.append(run_at(1_000_000, changed(ftp)))
    assert rig.bring(url).data == Pattern(3_000_000, 5).read()
    assert len(ftp.asked("RETR")) == 2


LIES = {
    "a body that ends early, and is called complete": end_early(HAVE, times=None),
    "more bytes than the size": send_more(b"more", times=None),
}


@pytest.mark.parametrize("name", LIES)
def test_a_body_of_another_length_than_its_size_is_a_failure(rig, ftp, name):
    url = ftp.add("a.bin", BODY)
    ftp.faults.append(LIES[name])
    with pytest.raises(ConnectionLost):
        rig.bring(url, downloader=rig.downloader(backoff=ONCE))
    assert not list(rig.store.root.glob("file*"))


def test_a_body_without_a_size_that_ends_early_without_a_reply_is_a_failure(rig, ftp):
    url = ftp.add("a.bin", BODY)
    ftp.faults += [*unknown("SIZE", "MLST"), drop_after(HAVE, times=None)]
    with pytest.raises(ConnectionLost):
        rig.bring(url, downloader=rig.downloader(backoff=ONCE))


# --- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "status", "words"),
    [
        (refuse("RETR", "550 No such file or directory."), FtpReplyError, 404, "FTP 550 No such file or directory."),
        (refuse("RETR", "550 Not enough privileges."), FtpReplyError, 403, "FTP 550 Not enough privileges."),
        (refuse("RETR", "450 Busy"), FtpReplyError, 500, "FTP 450 Busy"),
        (refuse("RETR", "425 No data connection"), NoResponse, None, "FTP 425 No data connection"),
        (refuse("RETR", "426 Aborted"), NoResponse, None, "FTP 426 Aborted"),
        (refuse("USER", "421 Too many users"), FtpReplyError, 503, "FTP 421 Too many users"),
        (refuse("PASS", "530 Login incorrect."), FtpReplyError, 401, "FTP 530 Login incorrect; name the user as"),
        (refuse("USER", "332 Account"), FtpReplyError, 401, "FTP 332 Account"),
        (refuse("USER", "550 SSL/TLS required"), FtpReplyError, 401, "with TLS the URL begins with ftps://127.0.0.1"),
        (refuse("RETR", "226 Here you are"), TransferError, None, ""),
        (refuse("PASV", "227 Entering (1,2,3)"), InvalidResponse, None, "no reply of an FTP server"),
        (refuse("EPSV", "229 Entering (|||99999|)"), InvalidResponse, None, "no reply of an FTP server"),
        (refuse("REST", "250 Fine"), InvalidResponse, None, "no reply of an FTP server: 250 Fine"),
    ],
)
def test_a_refusal_is_one_line_with_the_reply(rig, ftp, fault, kind, status, words):
    url = ftp.add("a.bin", BODY)
    if fault.command == "REST":
        interrupt(rig, ftp, url)
    if fault.command == "PASV":
        ftp.faults += unknown("EPSV")
    ftp.faults.append(fault)
    with pytest.raises(kind) as caught:
        rig.fetch(url, downloader=rig.downloader(backoff=ONCE, stall_s=1.0))
    assert caught.value.http_status == status
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{url}: ")


def test_a_server_that_is_busy_is_asked_again(rig, ftp):
    url = ftp.add("a.bin", BODY)
    ftp.faults.append(refuse("RETR", "450 Busy", times=2))
    assert rig.bring(url).data == BODY


def test_a_file_that_is_missing_costs_no_login(rig, ftp):
    url = ftp.add("a.bin", BODY)
    with pytest.raises(FtpReplyError):
        rig.fetch(ftp.url("missing.bin"), key="missing")
    assert rig.bring(url).data == BODY
    assert len(ftp.asked("USER")) == 1


def test_a_connection_that_the_server_has_closed_is_replaced(rig, ftp):
    urls = [ftp.add(f"{number}.bin", BODY) for number in range(2)]
    assert rig.bring(urls[0]).data == BODY
    ftp.faults.append(refuse("SIZE", "421 Timeout", times=1))
    assert rig.bring(urls[1], key="other").data == BODY
    assert len(ftp.asked("USER")) == 2


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "ftp://127.0.0.1/a/", "ftp://127.0.0.1/a%0aDELE%20b"])
def test_no_connection_is_made_for_a_folder_or_for_a_path_with_a_line_end(rig, url):
    with pytest.raises(UnsupportedURL):
        rig.fetch(url)


def test_a_host_without_a_server_is_a_connection_that_is_not_made(rig):
    with pytest.raises(ConnectError, match=r"connection refused by 127\.0\.0\.1"):
        rig.fetch(f"ftp://127.0.0.1:{dead_port()}/a")


class Scripted:
    """Says these bytes to whoever connects, and then what `talk` says."""

    def __init__(self, greeting, talk=None):
        self._greeting, self._talk = greeting, talk

    def __enter__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self):
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            with sock:
                try:
                    sock.sendall(self._greeting)
                    if self._talk is not None:
                        self._talk(sock)
                    self._over.wait(60)
                except OSError:
                    pass

    def __exit__(self, *_exc):
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", InvalidResponse),
        (b"220-" + b"x" * 20_000 + b"\r\n", InvalidResponse),
        (b"220-x\r\n" * 20_000, InvalidResponse),
        (b"220", ConnectionLost),
    ],
    ids=["HTTP", "a long line", "lines without end", "silence"],
)
def test_a_server_of_another_kind_is_an_honest_failure(rig, greeting, kind):
    with Scripted(greeting) as server, pytest.raises(kind):
        rig.fetch(f"ftp://127.0.0.1:{server.port}/a", downloader=rig.downloader(backoff=ONCE, stall_s=0.3))


def test_a_greeting_that_drips_is_cut(rig, monkeypatch):
    def drip(sock):
        while True:
            sock.sendall(b"220-x\r\n")
            time.sleep(0.05)

    with Scripted(b"", drip) as server, pytest.raises(NoResponse):
        rig.fetch(f"ftp://127.0.0.1:{server.port}/a", downloader=rig.downloader(backoff=ONCE, stall_s=0.2))


@pytest.mark.parametrize("is_cut", [True, False], ids=["is cut", "drips"])
def test_a_reply_behind_a_file_that_does_not_end_is_none(rig, is_cut):
    """All bytes have come; that they are all of the file, the server has not said."""

    def talk(sock):
        replies = {b"USER": "230 ok", b"SIZE": "213 3", b"MDTM": "213 20260101000000", b"RETR": "150 here"}
        with socket.create_server(("127.0.0.1", 0)) as listener, sock.makefile("rb") as commands:
            replies[b"EPSV"] = f"229 (|||{listener.getsockname()[1]}|)"
            for line in commands:
                sock.sendall(f"{replies.get(line.split()[0], '200 ok')}\r\n".encode())
                if line.startswith(b"RETR"):
                    with listener.accept()[0] as data:
                        data.sendall(b"abc")
                    if is_cut:
                        sock.sendall(b"226")
                        sock.shutdown(socket.SHUT_RDWR)
                    while True:
                        sock.sendall(b"2")
                        time.sleep(0.05)

    with Scripted(b"220 hello\r\n", talk) as server, pytest.raises(ConnectionLost):
        rig.fetch(f"ftp://127.0.0.1:{server.port}/a", downloader=rig.downloader(backoff=ONCE, stall_s=0.2))


# --- where the data comes from ----------------------------------------------------------------------


def test_the_address_of_a_passive_reply_is_not_connected_to(rig, ftp):
    """A server could have this machine connect to any other: the data comes from the host of the commands."""
    url = ftp.add("a.bin", BODY)
    with Listener() as listener:
        high, low = divmod(listener.port, 256)
        ftp.faults += [*unknown("EPSV"), refuse("PASV", f"227 Entering (127,0,0,2,{high},{low})")]
        with pytest.raises(TransferError):
            rig.fetch(url, downloader=rig.downloader(backoff=ONCE, stall_s=0.5))
        assert listener.connections <= 1  # 127.0.0.1 at that port, never 127.0.0.2: it listens at all addresses
    assert not list(rig.store.root.glob("file*"))


def test_neither_commands_nor_data_come_from_a_private_address_where_only_public_ones_are_allowed(
    tmp_path, ftp, monkeypatch
):
    rig = Rig(tmp_path / "guarded", None, FtpTransport(block_private=True))
    url = ftp.add("a.bin", BODY)
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 is not a public address"):
        rig.fetch(url)
    assert ftp.commands == []
    asked = []

    def is_public(address):
        asked.append(address)
        return len(asked) == 1  # the connection for commands, and not that for data

    monkeypatch.setattr(addresses, "is_public", is_public)
    with pytest.raises(AddressRefused):
        rig.fetch(url)
    assert ftp.asked("RETR") == []
    rig.close()


@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
def test_commands_and_data_go_through_a_proxy(rig, ftp, kind):
    url = ftp.add("a.bin", BODY)
    with kind("me", "s3cret") as proxy:
        assert rig.bring(url, proxy=proxy.url("me:s3cret")).data == BODY
        assert len(proxy.targets) == 2
        assert {target.rpartition(":")[0] for target in proxy.targets} == {"127.0.0.1"}
        with pytest.raises(TransferError) as caught:
            rig.fetch(url, proxy=proxy.url("me:wrong"), key="other")
        assert "wrong" not in str(caught.value)
        assert "refused the user name or the password" in str(caught.value)


def test_a_proxy_that_ftp_cannot_use_is_named(rig):
    with pytest.raises(TransferError, match="is of a kind that FTP cannot use: name one of http or socks5"):
        rig.fetch("ftp://far.invalid/a", proxy="https://me:s3cret@127.0.0.1:1")


# --- users ------------------------------------------------------------------------------------------


@pytest.fixture
def private(tmp_path):
    with FtpOrigin(tmp_path / "private", "m@h", "s3:cret") as running:
        yield running


def test_the_user_of_the_url_logs_in_and_no_error_says_the_password(rig, private):
    url = private.add("a.bin", BODY, login="m%40h:s3%3Acret")
    assert rig.bring(url).data == BODY
    assert rig.fetch(url, key="again").url == private.url("a.bin")
    wrong = url.replace("cret", "wrong")
    with pytest.raises(FtpReplyError) as caught:
        rig.fetch(wrong, key="other")
    assert caught.value.http_status == 401
    assert "wrong" not in str(caught.value)


def test_the_user_of_netrc_logs_in(tmp_path, rig, private, monkeypatch):
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login m@h password s3:cret\n")
    monkeypatch.setenv("NETRC", str(path))
    downloader = Downloader(rig.store, rig.transport, Policy(backoff=AT_ONCE), netrc=read_netrc())
    assert rig.bring(private.add("a.bin", BODY), downloader=downloader).data == BODY


def test_two_users_share_no_connection(rig, private):
    url = private.add("a.bin", BODY, login="m%40h:s3%3Acret")
    assert rig.bring(url).data == BODY
    with pytest.raises(FtpReplyError):
        rig.fetch(private.url("a.bin", login="m%40h"), key="other")


# --- TLS --------------------------------------------------------------------------------------------


def test_ftps_is_encrypted_verified_and_resumed(tmp_path, certified):
    authority, file = certified
    rig = Rig(tmp_path / "tls", None, FtpTransport(verify=str(authority.file)))
    with FtpOrigin(tmp_path / "ftps", certificate=file, tls_required=True) as ftp:
        url = ftp.add("a.bin", BODY, scheme="ftps")
        interrupt(rig, ftp, url)
        arrived = rig.bring(url)
        assert (arrived.data, arrived.fetched.saved_bytes) == (BODY, HAVE)
        assert ftp.asked("PROT") == ["P"]
        plain = ftp.url("a.bin")
        with pytest.raises(FtpReplyError, match=f"with TLS the URL begins with ftps://{ftp.netloc}/"):
            rig.fetch(plain, key="plain")
    rig.close()


def test_a_certificate_of_an_unknown_authority_is_refused_before_the_password_is_sent(tmp_path, certified):
    rig = Rig(tmp_path / "tls", None, FtpTransport())
    with FtpOrigin(tmp_path / "ftps", "me", "s3cret", certificate=certified[1]) as ftp:
        with pytest.raises(ConnectError, match=r"TLS failed: the certificate of 127\.0\.0\.1 is not accepted"):
            rig.fetch(ftp.add("a.bin", BODY, scheme="ftps", login="me:s3cret"))
        assert ftp.asked("USER") == ftp.asked("PASS") == []
    rig.close()


def test_a_server_without_tls_gets_no_password_over_ftps(rig, ftp):
    with pytest.raises(ConnectError, match="TLS failed: the server refuses it"):
        rig.fetch(ftp.add("a.bin", BODY, scheme="ftps", login="me:s3cret"))
    assert ftp.asked("PASS") == []


# --- limits and stops -------------------------------------------------------------------------------


def test_one_connection_serves_many_files_and_is_closed_where_another_host_needs_its_permit(tmp_path, ftp):
    transport = FtpTransport()
    rig = Rig(tmp_path / "limited", None, transport)
    connections = HostConnections(ConnectionLimit(1), transport.close_idle)
    downloader = Downloader(rig.store, transport, Policy(backoff=AT_ONCE), connections=connections)
    for number in range(5):
        assert rig.bring(ftp.add(f"{number}.bin", BODY), downloader=downloader, key=str(number)).data == BODY
    assert len(ftp.asked("USER")) == 1
    with FtpOrigin(tmp_path / "other", "me", "s3cret") as other:  # the same host, another port
        assert rig.bring(other.add("a.bin", BODY, login="me:s3cret"), downloader=downloader).data == BODY
    assert transport.close_idle("127.0.0.1", 0.0) is True
    assert transport.close_idle("127.0.0.1", 0.0) is False
    rig.close()


def test_a_stop_wakes_up_a_transfer_that_waits_and_keeps_its_bytes(rig, ftp):
    url = ftp.add("a.bin", BODY)
    held = threading.Event()
    sent = 6 * 65_536  # blocks of the server
    ftp.faults.append(run_at(sent, lambda: held.wait(60)))
    stopped = threading.Event()
    try:
        with stop_after(stopped) as cancel, pytest.raises(Interrupted):
            rig.fetch(url, cancel=cancel, progress=When(sent, stopped.set))
    finally:
        held.set()
    assert rig.planted_bytes() == sent
    ftp.faults.clear()
    assert rig.bring(url).fetched.saved_bytes == sent


def test_a_stop_wakes_up_a_wait_for_a_reply(rig):
    transport = rig.transport
    with Scripted(b"") as server:
        waiting = threading.Event()

        def abort():
            waiting.wait(30)
            while not transport._watch._waiting:
                threading.Event().wait(0.005)
            transport.abort()

        thread = threading.Thread(target=abort)
        thread.start()
        waiting.set()
        with pytest.raises(NoResponse):
            rig.fetch(f"ftp://127.0.0.1:{server.port}/a", downloader=rig.downloader(backoff=ONCE))
        thread.join()


def test_several_connections_are_not_used_for_a_file(rig, ftp):
    url = ftp.add("a.bin", Pattern(9_000_000, 1).read())
    fetched = rig.bring(url, connections=8).fetched
    assert fetched.sha256 == hashlib.sha256(Pattern(9_000_000, 1).read()).hexdigest()
    assert len(ftp.asked("RETR")) == 1

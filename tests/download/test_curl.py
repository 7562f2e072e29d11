"""What is libcurl's own: driven by who waits, woken by who stops; TLS, HTTP/2, and what goes out."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import itertools
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from origin import Pattern, slow, stall_after
from transports import TRANSPORTS, transport_class

from mediacrawl.errors import ConnectError, ConnectionLost, InvalidResponse, ProxyRefused
from mediacrawl.transport import addresses
from mediacrawl.transport.requests_transport import RequestsTransport

curl = pytest.importorskip("mediacrawl.transport.curl", exc_type=ImportError)

LONG_S = 3600.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def transport():
    made = curl.CurlTransport()
    yield made
    made.close()


def get(transport, url, headers=None, *, proxy=None, timeout_s=30.0):
    return transport.get(url, headers or {}, proxy=proxy, timeout_s=timeout_s)


def read(transport, url, **more):
    answer = get(transport, url, **more)
    try:
        return b"".join(answer.blocks())
    finally:
        answer.close()


@contextlib.contextmanager
def serving(*talks):
    """A server that lets each of the functions have one connection, in turn."""

    def run():
        for talk in talks:
            sock, _ = listener.accept()
            with sock, contextlib.suppress(OSError):
                talk(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(30)


# --- a stop ---------------------------------------------------------------------------------------


def test_a_stop_wakes_who_waits_for_a_head_and_is_for_good(transport, origin):
    def stop():
        origin.wait_for(lambda: origin.requests)  # on a busy machine it has not been sent before
        transport.abort()

    url = origin.add("/a", b"x", delay_s=LONG_S)
    threading.Timer(0.05, stop).start()
    with pytest.raises(ConnectionLost, match="stopped"):
        get(transport, url, timeout_s=LONG_S)
    with pytest.raises(ConnectionLost, match="stopped"):
        get(transport, url)
    assert len(origin.requests) == 1


def test_a_stop_wakes_who_waits_for_a_connection(transport):
    def say_nothing(sock):
        threading.Timer(0.05, transport.abort).start()
        while sock.recv(4096):
            pass

    with serving(say_nothing) as port, pytest.raises(ConnectionLost, match="stopped"):
        get(transport, f"https://127.0.0.1:{port}/", timeout_s=LONG_S)


def test_a_stop_ends_the_wait_for_the_short_body_of_a_redirect(transport):
    def say_half(sock):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 9\r\n\r\nhalf")
        threading.Timer(0.05, transport.abort).start()
        while sock.recv(4096):
            pass

    with serving(say_half) as port:
        answer = get(transport, f"http://127.0.0.1:{port}/", timeout_s=LONG_S)
        answer.close()
    assert answer.status == 302


def test_an_abort_says_so_after_all_that_has_come(transport, origin):
    answer = get(transport, origin.add("/a", Pattern(700_000, 1), faults=[stall_after(1000)]), timeout_s=LONG_S)
    blocks, came = answer.blocks(), b""
    while len(came) < 1000:
        came += next(blocks)
    answer.abort()
    with pytest.raises(ConnectionLost, match="ended before the end of the body"):
        next(blocks)
    answer.close()


def test_a_stop_of_heads_leaves_a_body_to_come_to_its_end(transport, origin):
    body = Pattern(2_000_000, 1)
    answer = get(transport, origin.add("/a", body, faults=[slow(20_000_000)]))
    transport.abort()
    assert b"".join(answer.blocks()) == body.read()
    answer.close()


# --- heads ----------------------------------------------------------------------------------------


def test_interim_answers_are_passed_over(transport, origin):
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    answer = get(transport, origin.on("/a", lambda _: interim + OK))
    assert (answer.status, answer.headers) == (200, {"content-length": "2"})
    assert b"".join(answer.blocks()) == b"ok"
    answer.close()


def test_odd_heads_are_read_for_what_they_mean(transport, origin):
    raw = b"HTTP/1.1 404\r\nX-Folded: a\r\n  b\r\nX-\xe9:  \x85 c \t\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n"
    answer = get(transport, origin.on("/a", lambda _: raw))
    answer.close()
    assert (answer.status, answer.reason) == (404, "Not Found")
    assert answer.headers["x-folded"] == "a b"
    assert (answer.headers["x-empty"], answer.headers["x-é"]) == ("", "\x85 c")


def test_what_trails_a_body_is_no_header(transport, origin):
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nETag: late\r\n\r\n"
    answer = get(transport, origin.on("/a", lambda _: raw))
    assert b"".join(answer.blocks()) == b"ok"
    assert "etag" not in answer.headers
    answer.close()


def test_a_header_line_without_end_is_an_error(transport, origin):
    raw = b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 700_000 + b"\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(InvalidResponse, match="larger than libcurl accepts"):
        get(transport, origin.on("/a", lambda _: raw))


def test_a_head_that_drips_is_given_up(transport):
    def drip(sock):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(600):
            sock.sendall(b"X-%d: 1\r\n" % number)
            time.sleep(0.05)

    began = time.monotonic()
    with serving(drip) as port, pytest.raises(ConnectionLost, match="no complete response head within 1 s"):
        get(transport, f"http://127.0.0.1:{port}/", timeout_s=0.5)
    assert time.monotonic() - began < 20


# --- what goes out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a b", "/a%20b"),
        ("/é?q=ü", "/%C3%A9?q=%C3%BC"),
        ("/%7Ea/%2F%e4%E4", "/%7Ea/%2F%e4%E4"),
        ("/%2Da?%2d", "/%2Da?%2d"),
        ("/a%20b%E4?q=%26", "/a%20b%E4?q=%26"),
        ("/%zz", "/%zz"),
        ("/a/../b/./c", "/b/c"),
        ("/a?b=[1]&c=|{}'\"", "/a?b=[1]&c=|{}'%22"),
        ("/a#b", "/a"),
        ("/a?", "/a?"),
        ("/a?x&y=&b+c&a&x", "/a?x&y=&b+c&a&x"),
        ("//a//b/", "//a//b/"),
        ("/a\\b?\\", "/a/b?\\"),
        ("/\udc95\\", "/%95%5C"),
        ("?a=1", "/?a=1"),
        ("", "/"),
    ],
)
def test_both_transports_ask_for_the_same(kind, origin, path, target):
    transport = transport_class(kind)()
    for url in (f"http://{origin.netloc}{path}", f"http://{origin.netloc}/%e4", f"http://{origin.netloc}/plain"):
        get(transport, url).close()
    transport.close()
    assert [request.target for request in origin.requests] == [target, "/%e4", "/plain"]


@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize("target", ["/%7Ea/%e4?", "/a?b&c=", "/plain", "/[1]|?{'}"])
def test_a_proxy_is_asked_for_the_url_as_written(kind, origin, target):
    transport = transport_class(kind)()
    for url in (f"http://h.test{target}", f"http://h.test/%e4{target}"):
        get(transport, url, proxy=f"http://{origin.netloc}").close()
    transport.close()
    assert [request.target for request in origin.requests] == [f"http://h.test{target}", f"http://h.test/%e4{target}"]


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_both_transports_send_the_same_credentials(kind, origin):
    transport = transport_class(kind)()
    url = origin.add("/a", b"ok").replace("://", "://m%C3%A9:p%40w@")
    assert read(transport, url, headers={"Authorization": "Bearer 1"}) == b"ok"
    transport.close()
    assert origin.requests[0].headers["authorization"] == "Basic bek6cEB3"


def test_nothing_is_added_and_an_empty_header_is_sent(transport, origin):
    url = origin.add("/a", b"ok")
    read(transport, url)
    read(transport, url, headers={"X-Empty": "", "Accept": "image/*"})
    read(transport, url)
    sent = [request.headers for request in origin.requests]
    host = {"host": origin.netloc}
    assert sent == [host, host | {"x-empty": "", "accept": "image/*"}, host]


# --- connections ------------------------------------------------------------------------------------


def test_answers_that_are_open_at_a_time_do_not_mix(transport, origin):
    bodies = [Pattern(3_000_000, seed) for seed in range(3)]
    answers = [get(transport, origin.add(f"/{n}", body)) for n, body in enumerate(bodies)]
    blocks = [answer.blocks() for answer in answers]
    came = [b"".join(block for block in turn if block) for turn in zip(*itertools.zip_longest(*blocks), strict=True)]
    for answer in answers:
        answer.close()
    assert came == [body.read() for body in bodies]
    assert origin.connections == 3


def test_many_threads_share_few_connections(transport, origin):
    body = Pattern(30_000, 1)
    url, wrong = origin.add("/a", body), []

    def work():
        for _ in range(25):
            came = read(transport, url)
            wrong.extend([came] if came != body.read() else [])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (wrong, len(origin.requests)) == ([], 200)
    assert origin.connections <= 8


def test_a_connection_that_the_server_has_closed_meanwhile_is_no_error(transport):
    def once(sock):
        sock.recv(4096)
        sock.sendall(OK)

    with serving(once, once) as port:
        assert [read(transport, f"http://127.0.0.1:{port}/") for _ in range(2)] == [b"ok", b"ok"]


def open_files():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_after_a_close_nothing_is_left_open(origin):
    url = origin.add("/a", Pattern(700_000, 1))
    before = open_files()
    transport = curl.CurlTransport()
    read(transport, url)
    answer = get(transport, url)
    transport.close()  # while an answer is open: it is closed when that is
    assert b"".join(answer.blocks()) == Pattern(700_000, 1).read()
    answer.close()
    origin.close()
    assert open_files() <= before


def test_a_reader_that_is_slow_holds_little_in_memory(transport, origin):
    answer = get(transport, origin.add("/a", Pattern(50_000_000, 1)))
    line, blocks = answer._line, answer.blocks()
    for _ in range(5):
        next(blocks)
        assert sum(map(len, line.body)) <= 1024 * 1024
    answer.close()


def test_a_public_address_is_connected_to_and_a_proxy_is_trusted(origin, monkeypatch):
    transport = curl.CurlTransport(block_private=True)
    origin.on("/b", lambda _: OK)
    assert read(transport, "http://nowhere.invalid/b", proxy=f"http://{origin.netloc}") == b"ok"
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    assert read(transport, origin.add("/a", b"ok")) == b"ok"
    transport.close()


# --- TLS, proxies for it, HTTP/2 ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Paths of a self-signed certificate for this machine, and of its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(pem)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "cert.pem", folder / "key.pem"


def over_tls(certificate, talk):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def run(sock):
        with context.wrap_socket(sock, server_side=True) as secured:
            talk(secured)

    return run


def answer_ok(sock):
    sock.recv(4096)
    sock.sendall(OK)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize("verify", [True, False, "path"])
def test_a_certificate_counts_if_it_is_to(kind, certificate, verify):
    transport = transport_class(kind)(verify=str(certificate[0]) if verify == "path" else verify)
    with serving(over_tls(certificate, answer_ok)) as port:
        url = f"https://127.0.0.1:{port}/"
        if verify is True:
            with pytest.raises(ConnectError, match=r"TLS failed: .*certificate"):
                read(transport, url)
        else:
            assert read(transport, url) == b"ok"
    transport.close()


class Theirs(requests.Session):
    pass


@pytest.mark.parametrize("kind", [*TRANSPORTS, "session"])
@pytest.mark.parametrize("ends", ["with close_notify", "without", "with RST"])
def test_a_body_without_a_length_is_complete_after_close_notify_only(kind, certificate, ends):
    """RFC 9112 9.8: any other end may be that of a connection that broke."""

    def talk(sock):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 50_000)
        if ends == "with close_notify":
            with contextlib.suppress(OSError):  # the client need not answer it
                sock.unwrap()
        elif ends == "with RST":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    made = (lambda **more: RequestsTransport(Theirs, **more)) if kind == "session" else transport_class(kind)
    transport = made(verify=str(certificate[0]))
    with serving(over_tls(certificate, talk)) as port:
        url = f"https://127.0.0.1:{port}/"
        if ends == "with close_notify":
            assert len(read(transport, url)) == 50_000
        else:
            with pytest.raises(ConnectionLost):
                read(transport, url)
    transport.close()


@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n\r\n12345", b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n"]
)
def test_a_body_that_says_where_it_ends_needs_no_close_notify(kind, certificate, framing):
    def talk(sock):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + framing)

    transport = transport_class(kind)(verify=str(certificate[0]))
    with serving(over_tls(certificate, talk)) as port:
        assert read(transport, f"https://127.0.0.1:{port}/") == b"12345"
    transport.close()


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_tunnel_through_a_proxy_leaves_no_trace_in_the_head(kind, certificate):
    asked = []

    def tunnel(sock):
        asked.append(sock.recv(4096))
        sock.sendall(b"HTTP/1.1 200 Connection established\r\nX-Proxy: 1\r\n\r\n")
        over_tls(certificate, answer_ok)(sock)

    transport = transport_class(kind)(verify=str(certificate[0]))
    with serving(tunnel) as port:
        answer = get(transport, "https://127.0.0.1:1/", {"Cookie": "c=1"}, proxy=f"http://me:pw@127.0.0.1:{port}")
        assert b"".join(answer.blocks()) == b"ok"
        answer.close()
    transport.close()
    assert (answer.status, answer.headers) == (200, {"content-length": "2"})
    assert asked[0].startswith(b"CONNECT 127.0.0.1:1 ")
    assert b"Proxy-Authorization: Basic bWU6cHc=" in asked[0]
    assert b"Cookie" not in asked[0]


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_proxy_that_refuses_says_so(kind):
    def refuse(sock):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    transport = transport_class(kind)()
    with serving(refuse) as port, pytest.raises(ProxyRefused, match=r"the proxy http://127.* refused .*407"):
        get(transport, "https://127.0.0.1:1/", proxy=f"http://me:pw@127.0.0.1:{port}")
    transport.close()


_NGINX = """
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off; default_type video/mp4;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {certificate}; ssl_certificate_key {key}; root {folder}/files;
  }}
}}
"""


@pytest.fixture
def http2(certificate, tmp_path):
    """The URL of a folder that is served over HTTP/2, and the folder."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("there is no nginx")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "files").mkdir()
    conf = tmp_path / "nginx.conf"
    facts = {"folder": tmp_path, "port": port, "certificate": certificate[0], "key": certificate[1]}
    conf.write_text(_NGINX.format(**facts, user="" if os.geteuid() else "user root;"))
    server = subprocess.Popen([nginx, "-c", conf, "-p", tmp_path], stderr=subprocess.DEVNULL)
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.01)
    if server.poll() is not None:
        pytest.skip("nginx does not start")
    yield f"https://127.0.0.1:{port}", tmp_path / "files"
    server.terminate()
    server.wait()


def test_http_2_brings_the_same_bytes_and_words(http2, certificate):
    url, folder = http2
    body = Pattern(5_000_000, 1).read()
    (folder / "a.mp4").write_bytes(body)
    transport = curl.CurlTransport(verify=str(certificate[0]))
    answer = get(transport, f"{url}/a.mp4", {"Range": "bytes=1000000-", "X-A": "1"})
    line = answer._line
    assert line.head[0].startswith(b"HTTP/2 206")
    assert (answer.status, answer.reason) == (206, "Partial Content")
    assert answer.headers["content-range"] == "bytes 1000000-4999999/5000000"
    assert b"".join(answer.blocks()) == body[1_000_000:]
    answer.close()
    half = get(transport, f"{url}/a.mp4")
    next(half.blocks())
    half.close()  # ends its stream, not the connection
    missing = get(transport, f"{url}/none")
    assert (missing.status, missing.reason) == (404, "Not Found")
    missing.close()
    transport.close()


# --- what comes after a broken answer, and before a whole one -----------------------------------------

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"


def says(*pieces):
    """Answers a request with these bytes, then listens until the other side hangs up."""

    def talk(sock):
        sock.recv(4096)
        for piece in pieces:
            sock.sendall(piece)
        while sock.recv(4096):
            pass

    return talk


@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize("size", [b"zz\r\n", b"0x0\r\n\r\n"])
def test_what_follows_a_chunk_without_size_is_no_answer_to_the_next(kind, size):
    transport = transport_class(kind)()
    broken = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size, FORGED)
    with serving(broken, answer_ok) as port:
        with pytest.raises(ConnectionLost):
            read(transport, f"http://127.0.0.1:{port}/a")
        assert read(transport, f"http://127.0.0.1:{port}/b") == b"ok"
        transport.close()


def test_what_follows_a_body_within_one_record_of_tls_is_no_answer_to_the_next(certificate):
    transport = RequestsTransport(verify=str(certificate[0]))  # libcurl 7.88 takes it for one
    body = b"a" * 200_000  # read in blocks of its own; what follows comes with its last bytes
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 200005\r\n\r\n"
    more = over_tls(certificate, says(head + body, b"abcde" + FORGED))
    with serving(more, over_tls(certificate, answer_ok)) as port:
        assert len(read(transport, f"https://127.0.0.1:{port}/a")) == 200_005
        assert read(transport, f"https://127.0.0.1:{port}/b") == b"ok"
        transport.close()


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_interim_answers_that_come_one_by_one_are_passed_over(kind):
    transport = transport_class(kind)()
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    with serving(says(b"HTTP/1.1 102 Processing\r\n\r\n", early, OK)) as port:
        answer = get(transport, f"http://127.0.0.1:{port}/a")
        assert (answer.status, b"".join(answer.blocks())) == (200, b"ok")
        answer.close()
        transport.close()


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_blank_behind_chunked_changes_nothing(kind):
    transport = transport_class(kind)()
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with serving(says(raw)) as port:
        assert read(transport, f"http://127.0.0.1:{port}/a") == b"ok"
        transport.close()


@pytest.mark.parametrize("more", [b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: x"])
def test_a_transfer_coding_that_nobody_asked_for_is_not_taken_for_the_file(more):
    transport = RequestsTransport()
    with serving(says(b"HTTP/1.1 200 OK\r\n" + more + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")) as port:
        with pytest.raises(InvalidResponse, match=r"Transfer-Encoding '(gzip, chunked|x)'"):
            read(transport, f"http://127.0.0.1:{port}/a")
        transport.close()


@pytest.mark.parametrize("more", [b"Content-Length: 3\r\nContent-Length: 4", b"Transfer-Encoding: chunked"])
def test_how_a_body_would_end_does_not_matter_where_there_is_none(more):
    transport = RequestsTransport()
    with serving(says(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n" + more + b"\r\n\r\n")) as port:
        answer = get(transport, f"http://127.0.0.1:{port}/a")
        answer.close()
        transport.close()
    assert (answer.status, answer.headers["etag"]) == (304, "x")


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_folded_field_is_one_line(kind):
    transport = transport_class(kind)()
    raw = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\n b=2\r\nContent-Length: 0\r\n\r\n"
    with serving(says(raw)) as port:
        answer = get(transport, f"http://127.0.0.1:{port}/a")
        answer.close()
        transport.close()
    assert answer.headers["set-cookie"] == "a=1 b=2"


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_an_abort_gives_no_ciphertext_for_a_body(kind, certificate):
    """`SSLSocket.shutdown` takes the TLS away, and what is still to be read comes as it came over the wire."""
    transport = transport_class(kind)(verify=str(certificate[0]))
    pieces = [b"a" * 16_000] * 60
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"
    came = b""
    with serving(over_tls(certificate, says(head, *pieces))) as port:
        answer = get(transport, f"https://127.0.0.1:{port}/a")
        blocks = answer.blocks()
        came += next(blocks)
        answer.abort()
        with contextlib.suppress(ConnectionLost):
            for block in blocks:
                came += block
        answer.close()
        transport.close()
    assert set(came) == {ord("a")}


@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize("record_bytes", [1, 1000, 16_383, 16_384, 70_000])
def test_a_body_over_tls_is_the_same_in_records_of_every_size(kind, certificate, record_bytes):
    transport = transport_class(kind)(verify=str(certificate[0]))
    body = Pattern(min(1_300_000, 3000 * record_bytes)).read()
    records = [body[start : start + record_bytes] for start in range(0, len(body), record_bytes)]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serving(over_tls(certificate, says(head, *records))) as port:
        assert read(transport, f"https://127.0.0.1:{port}/a") == body
        transport.close()


@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize("end", ["closed", "reset", "silent"])
def test_what_has_come_over_tls_before_an_end_that_is_too_early_is_handed_on(kind, certificate, end):
    transport = transport_class(kind)(verify=str(certificate[0]))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"
    arrived, came = threading.Event(), b""

    def talk(sock):
        sock.recv(4096)
        sock.sendall(head + b"a" * 60_000)
        arrived.wait(60)  # else a reset may take with it what is on its way
        if end == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if end == "silent":
            sock.recv(1)

    with serving(over_tls(certificate, talk)) as port:
        answer = get(transport, f"https://127.0.0.1:{port}/a", timeout_s=1.0 if end == "silent" else LONG_S)
        blocks = answer.blocks()
        while len(came) < 60_000:
            came += next(blocks)
        arrived.set()
        with pytest.raises(ConnectionLost):
            next(blocks)
        answer.close()
        transport.close()
    assert came == b"a" * 60_000


def test_records_that_are_there_come_as_one_block(certificate):
    """A block costs more than a record; one that is not there yet is not waited for."""
    transport = transport_class("requests")(verify=str(certificate[0]))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n"
    sent, go_on = threading.Event(), threading.Event()

    def talk(sock):
        sock.recv(4096)
        sock.sendall(head)
        sock.sendall(b"a" * 30_000)
        sent.set()
        go_on.wait(60)
        sock.sendall(b"b" * 40_000)

    with serving(over_tls(certificate, talk)) as port:
        answer = get(transport, f"https://127.0.0.1:{port}/a", timeout_s=LONG_S)
        blocks = answer.blocks()
        assert sent.wait(60)
        assert next(blocks) == b"a" * 30_000
        go_on.set()
        assert b"".join(blocks) == b"b" * 40_000
        answer.close()
        transport.close()

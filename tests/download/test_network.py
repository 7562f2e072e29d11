"""The way of a request through the user's network, with both transports: proxies, and the addresses of a host."""

from __future__ import annotations

import base64
import contextlib
import errno
import socket
import sys

import pytest
from certificates import Authority, TlsFront
from origin import dead_port
from proxy_servers import HttpProxy, RealProxy, SocksProxy
from transports import TRANSPORTS, transport_class

from mediacrawl.errors import ConnectError, PackageMissing, ProxyRefused, TransferError
from mediacrawl.transport import connecting
from mediacrawl.transport.connecting import ATTEMPT_DELAY_S, Winners, connect

SOCKS = ["socks5", "socks5h", "socks4", "socks4a"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=TRANSPORTS)
def make(request, authority):
    """Makes a transport that trusts the authority of the tests."""
    with contextlib.ExitStack() as stack:

        def made(**more):
            transport = transport_class(request.param)(**{"verify": str(authority.file)} | more)
            stack.callback(transport.close)
            return transport

        made.kind = request.param
        yield made


def read(transport, url, proxy=None, timeout_s=30.0):
    answer = transport.get(url, {}, proxy=proxy, timeout_s=timeout_s)
    try:
        return b"".join(answer.blocks())
    finally:
        answer.close()


@pytest.fixture
def urls(origin, authority):
    """The URLs of a file by scheme."""
    url = origin.add("/a", b"ok")
    with TlsFront(authority.context("127.0.0.1", "a.test"), origin.netloc) as front:
        yield {"http": url, "https": f"https://{front.netloc}/a"}


# --- proxies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("credentials", ["", "me:s%3Ac%2Fr%40t"])
def test_a_proxy_of_http_brings_a_file(make, urls, scheme, credentials):
    with HttpProxy(*(("me", "s:c/r@t") if credentials else ())) as proxy:
        transport = make()
        assert [read(transport, urls[scheme], proxy.url(credentials)) for _ in range(2)] == [b"ok", b"ok"]
        assert set(proxy.targets) == {urls[scheme].split("/")[2]}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", SOCKS)
def test_a_proxy_of_socks_brings_a_file(make, urls, scheme, kind):
    with SocksProxy() as proxy:
        assert read(make(), urls[scheme], proxy.url(scheme=kind)) == b"ok"
        assert proxy.targets == [urls[scheme].split("/")[2]]


@pytest.mark.parametrize("kind", ["socks5h", "socks4a"])
def test_these_proxies_resolve_the_name(make, origin, kind):
    port = origin.add("/a", b"ok").split(":")[2].split("/")[0]
    with SocksProxy() as proxy:
        assert read(make(), f"http://nowhere.invalid:{port}/a", proxy.url(scheme=kind)) == b"ok"
        assert proxy.targets == [f"nowhere.invalid:{port}"]


@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("credentials", ["me:secret", "me:wr0ng", "", "you:secret"])
def test_a_password_is_right_or_the_error_names_the_proxy(make, urls, kind, scheme, credentials, origin):
    with (HttpProxy if kind == "http" else SocksProxy)("me", "secret") as proxy:
        url = proxy.url(credentials, kind)
        if credentials == "me:secret":
            assert read(make(), urls[scheme], url) == b"ok"
            return
        with pytest.raises(ProxyRefused) as caught:
            read(make(), urls[scheme], url)
        assert proxy.url(scheme=kind) in caught.value.reason
        assert "wr0ng" not in str(caught.value)
        assert (caught.value.transient, caught.value.permanent, proxy.targets) == (False, False, [])
    assert origin.requests == []


def test_the_user_of_socks_4_is_sent(make, urls):
    with SocksProxy("me") as proxy:
        assert read(make(), urls["http"], proxy.url("me", "socks4a")) == b"ok"
        with pytest.raises(TransferError, match=f"the proxy socks4a://{proxy.netloc} failed"):
            read(make(), urls["http"], proxy.url("you", "socks4a"))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", *SOCKS])
def test_a_proxy_that_is_not_there_is_named_and_nothing_goes_out_directly(make, urls, origin, scheme, kind):
    port = dead_port()
    with pytest.raises(ConnectError, match=rf"the proxy {kind}://127\.0\.0\.1:{port} ") as caught:
        read(make(), urls[scheme], f"{kind}://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(caught.value)
    assert (caught.value.permanent, origin.requests) == (False, [])


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_a_proxy_whose_name_does_not_resolve_is_named(make, urls, kind):
    words = rf"the proxy {kind}://nowhere\.invalid:3128"
    with pytest.raises(ConnectError, match=words):
        read(make(), urls["http"], f"{kind}://nowhere.invalid:3128")


@pytest.mark.parametrize(("fault", "error"), [
    ("ends", ConnectError),
    ("403 Filtered", ProxyRefused),
    ("502 Bad Gateway", ConnectError),
    ("503 Service Unavailable", ConnectError),
])  # fmt: skip
def test_a_tunnel_that_fails_is_the_proxys(make, urls, fault, error):
    with HttpProxy(fault=fault) as proxy, pytest.raises(error, match=f"the proxy {proxy.url()} ") as caught:
        read(make(), urls["https"], proxy.url())
    assert urls["https"].split("/")[2] in caught.value.reason
    assert fault.partition(" ")[0] in caught.value.reason.replace("ended", "ends")
    assert (caught.value.transient, caught.value.permanent) == (error is ConnectError, False)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("fault", ["ends", "5"])
def test_a_proxy_of_socks_that_fails_is_named(make, urls, scheme, fault):
    with SocksProxy(fault=fault) as proxy, pytest.raises(ConnectError, match=f"proxy {proxy.url()}") as caught:
        read(make(), urls[scheme], proxy.url())
    assert caught.value.permanent is False


@pytest.mark.parametrize("proxy", ["socks9://me:s3cret@p.test:1", "http://me:s3cret@:1", "ftp://me:s3cret@p.test"])
def test_what_is_no_proxy_fails_no_file_for_good_and_goes_nowhere(make, urls, origin, proxy):
    with pytest.raises(ProxyRefused, match="is not the URL of a proxy") as caught:
        read(make(), urls["http"], proxy)
    assert (caught.value.permanent, origin.requests, "s3cret" in str(caught.value)) == (False, [], False)


def test_a_proxy_may_have_no_scheme(make, urls):
    with HttpProxy("me", "s3cret") as proxy:
        assert read(make(), urls["http"], f"me:s3cret@{proxy.netloc}") == b"ok"


def test_a_connection_that_breaks_names_the_proxy(make, urls):
    with HttpProxy(fault="ends") as proxy, pytest.raises(TransferError, match=f"the proxy {proxy.url()}"):
        read(make(), urls["http"], proxy.url())


def test_socks_without_its_package_is_refused_in_one_line(urls, origin, monkeypatch):
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    transport = transport_class("requests")()
    with pytest.raises(PackageMissing, match=r"^the proxy socks5://127.0.0.1:1 needs .*mediacrawl\[socks\]"):
        read(transport, urls["http"], "socks5://me:secret@127.0.0.1:1")
    transport.close()
    assert origin.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("credentials", ["me:secret", "me:wr0ng"])
def test_a_real_proxy_takes_the_right_password_only(make, urls, origin, tmp_path, scheme, kind, credentials):
    with RealProxy(tmp_path, kind, "me", "secret") as proxy:
        transport, url = make(), proxy.url(credentials, kind)
        if credentials == "me:secret":
            assert read(transport, urls[scheme], url) == b"ok"
        elif (scheme, kind) == ("http", "http"):  # tinyproxy takes 401 for 407
            answer = transport.get(urls[scheme], {}, proxy=url, timeout_s=30.0)
            answer.close()
            assert (answer.status, answer.reason) == (401, f"Unauthorized, through the proxy {proxy.url()}")
        else:
            with pytest.raises(ProxyRefused, match=f"the proxy {proxy.url(scheme=kind)} "):
                read(transport, urls[scheme], url)
    assert bool(origin.requests) == (credentials == "me:secret")


# --- certificates -----------------------------------------------------------------------------------


@pytest.fixture
def plain(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("through", ["", "http", "socks5h"])
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_environment_names_authorities(make, urls, authority, monkeypatch, plain, name, through):
    monkeypatch.setenv(name, str(authority.rehashed() if name == "SSL_CERT_DIR" else authority.file))
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context((HttpProxy if through == "http" else SocksProxy)()) if through else None
        assert read(make(verify=True), urls["https"], proxy and proxy.url()) == b"ok"


@pytest.mark.parametrize(("names", "days", "reason", "advice"), [
    (("127.0.0.1",), 1, "issuer", "MEDIACRAWL_VERIFY_TLS=FILE trusts"),
    (("b.test",), 1, "127.0.0.1", "-s MEDIACRAWL_VERIFY_TLS=False"),
    (("127.0.0.1",), -1, "expired", "the clock of this machine right.*VERIFY_TLS=False"),
])  # fmt: skip
def test_a_bad_certificate_names_the_host_the_reason_and_what_to_set(
    make, authority, origin, plain, names, days, reason, advice
):
    verify = True if reason == "issuer" else str(authority.file)
    with TlsFront(authority.context(*names, days=days), origin.netloc) as front:
        words = rf"certificate of 127\.0\.0\.1 is not accepted: .*{reason}.*; .*{advice}"
        with pytest.raises(ConnectError, match=words):
            read(make(verify=verify), f"https://{front.netloc}/a")
    assert origin.requests == []


# --- the addresses of a host ------------------------------------------------------------------------


@contextlib.contextmanager
def black_hole(host, port=0):
    """An address that answers no connection: its queue of connections is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # former connections do not hold the port
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def black_holes(*hosts):
    """Addresses that answer no connection, at one port of all of them."""
    while True:
        with contextlib.ExitStack() as stack:
            port = 0
            try:
                for host in hosts:
                    port = stack.enter_context(black_hole(host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue  # another process has this port of the second address
            yield port
            return


def resolving(monkeypatch, *addresses):
    """Have each name with `.test` resolve to these addresses, in this order."""
    asked = []

    def getaddrinfo(host, port, *given, **named):
        if not str(host).endswith(".test"):
            return genuine(host, port, *given, **named)
        asked.append(host)
        return [info for address in addresses for info in genuine(address, port, 0, socket.SOCK_STREAM)]

    genuine = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture
def waits(monkeypatch):
    """The time limits of all waits for connections, in seconds."""
    seen = []

    class Recording(connecting.selectors.PollSelector):
        def select(self, timeout=None):
            seen.append(timeout)
            return super().select(timeout)

    monkeypatch.setattr(connecting.selectors, "PollSelector", Recording)
    return seen


def test_an_address_that_does_not_answer_costs_one_delay_and_only_once(origin, monkeypatch, waits):
    port = int(origin.netloc.rpartition(":")[2])
    winners = Winners()
    with black_hole("::1", port):
        resolving(monkeypatch, "::1", "127.0.0.1")
        for turn in range(3):
            waits.clear()
            with connect("a.test", port, 60.0, (), winners) as sock:
                assert sock.getpeername() == ("127.0.0.1", port)
                assert sock.gettimeout() == 60.0
            assert sum(wait <= ATTEMPT_DELAY_S for wait in waits) == (1 if turn == 0 else len(waits))
            assert len(waits) == (2 if turn == 0 else 1)
        assert winners.get(("a.test", port)) == ("127.0.0.1", port)


@pytest.mark.parametrize("addresses", [
    ["127.0.0.2", "127.0.0.1"],
    ["::1", "127.0.0.2", "127.0.0.1"],
    ["127.0.0.1", "::1"],
    ["::1", "127.0.0.1"],
])  # fmt: skip
def test_an_address_that_refuses_costs_nothing(origin, monkeypatch, addresses):
    port = int(origin.netloc.rpartition(":")[2])
    monkeypatch.setattr(connecting, "ATTEMPT_DELAY_S", 1000.0)
    resolving(monkeypatch, *addresses)
    with connect("a.test", port, 60.0, (), Winners()) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)


@pytest.mark.parametrize(("addresses", "error"), [
    (["127.0.0.1"], ConnectionRefusedError),
    (["::1", "127.0.0.1"], ConnectionRefusedError),
    ([], OSError),
])  # fmt: skip
def test_without_an_address_that_answers_the_error_says_most(monkeypatch, addresses, error):
    resolving(monkeypatch, *addresses)
    monkeypatch.setattr(connecting, "ATTEMPT_DELAY_S", 0.01)
    with pytest.raises(error):
        connect("a.test", dead_port(), 0.5, (), Winners())


def test_all_addresses_together_have_the_time_limit(monkeypatch):
    with black_holes("::1", "127.0.0.1") as port:
        resolving(monkeypatch, "::1", "127.0.0.1")
        with pytest.raises(TimeoutError):
            connect("a.test", port, 0.05, (), Winners())


def test_an_address_is_forgotten_when_it_fails(origin, monkeypatch):
    port = int(origin.netloc.rpartition(":")[2])
    winners = Winners()
    winners.note(("a.test", port), ("127.0.0.2", port))
    resolving(monkeypatch, "127.0.0.1", "127.0.0.2")
    with connect("a.test", port, 60.0, (), winners) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
    assert winners.get(("a.test", port)) is None


def test_no_more_than_some_hosts_are_remembered():
    winners = Winners()
    for number in range(5000):
        winners.note((f"{number}.test", 80), ("127.0.0.1", 80))
    assert winners.get(("4999.test", 80)) == ("127.0.0.1", 80)
    assert len(winners._kept) <= 1024


def test_a_transport_takes_the_address_that_answers(make, origin, monkeypatch):
    port = int(origin.netloc.rpartition(":")[2])
    origin.add("/a", b"ok", content_type="image/png")
    with black_hole("::1", port):
        resolving(monkeypatch, "::1", "127.0.0.1")
        if make.kind == "curl":  # libcurl resolves by itself
            curl = pytest.importorskip("mediacrawl.transport.curl")
            handle = curl._easy_handle

            def with_addresses(*given):
                easy = handle(*given)
                easy.setopt(curl.pycurl.RESOLVE, [f"a.test:{port}:[::1],127.0.0.1"])
                return easy

            monkeypatch.setattr(curl, "_easy_handle", with_addresses)
        transport = make(connect_timeout_s=60.0)
        for _ in range(2):
            assert read(transport, f"http://a.test:{port}/a") == b"ok"
            transport.close_idle("a.test", 0.0)
        if make.kind == "curl":
            assert list(transport._slow_hosts) == [f"http://a.test:{port}"]


def test_the_connection_has_a_time_limit_of_its_own(make):
    with black_hole("127.0.0.1") as port, pytest.raises(ConnectError, match=r"no connection within 0\.05 s"):
        read(make(connect_timeout_s=0.05), f"http://127.0.0.1:{port}/", timeout_s=60.0)


def test_the_handshake_of_tls_is_within_that_limit(make):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConnectError, match=r"no connection within 0\.05 s"):
            read(make(connect_timeout_s=0.05), f"https://127.0.0.1:{port}/", timeout_s=60.0)


def test_the_password_of_a_proxy_does_not_reach_the_origin(make, urls, origin):
    with HttpProxy("me", "secret") as proxy:
        for url in urls.values():
            read(make(), url, proxy.url("me:secret"))
    sent = [" ".join(f"{name}: {value}" for name, value in request.headers.items()) for request in origin.requests]
    secret = base64.b64encode(b"me:secret").decode()
    assert len(sent) == 2
    assert not [line for line in sent if "proxy" in line.lower() or secret in line]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_setting_trusts_nothing_else(make, authority, origin, tmp_path, plain, monkeypatch, kind):
    """Neither the authorities of the environment, nor those that a library was built with."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    other = Authority(tmp_path)
    transport = make(verify=str(other.file if kind == "file" else other.rehashed()))
    for trusted, is_good in ((other, True), (authority, False)):
        origin.add("/a", b"ok")
        with TlsFront(trusted.context("127.0.0.1"), origin.netloc) as front:
            if is_good:
                assert read(transport, f"https://{front.netloc}/a") == b"ok"
            else:
                with pytest.raises(ConnectError, match="is not accepted"):
                    read(transport, f"https://{front.netloc}/a")

from __future__ import annotations

import socket

import pytest
from origin import body_without_end, headers_without_end, one_byte_per_s, redirect

from mediacrawl.download.downloader import Downloader, Policy
from mediacrawl.download.request import TransferRequest
from mediacrawl.download.retry import Backoff
from mediacrawl.download.sockets import HeadWatch, is_public
from mediacrawl.errors import AddressRefused, TooLarge, TransferBroken
from mediacrawl.store.local import LocalStore


@pytest.fixture
def fetch(tmp_path, transport_kind):
    """A way to fetch with a policy, and with or without private addresses."""
    opened = []

    def fetch_(url, *, block_private=False, **policy):
        store = LocalStore(tmp_path / "store")
        store.open()
        transport = transport_kind(block_private=block_private)
        opened.append(transport)
        downloader = Downloader(store, transport, Policy(backoff=Backoff(times=1, base_s=0.001), **policy))
        fetched = downloader.fetch(TransferRequest(url, url))
        fetched.part.close()
        return fetched

    yield fetch_
    for transport in opened:
        transport.close()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("", False),
        ("example.org", False),
    ],
)
def test_an_address_is_public_or_not(address, public):
    assert is_public(address) is public


def test_a_private_address_is_refused_before_anything_is_sent(origin, fetch):
    url = origin.add("/a.jpg", b"x" * 100, content_type="image/jpeg")
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 is not a public address"):
        fetch(url, block_private=True)
    assert origin.requests == []


def test_the_name_does_not_count_but_the_address_does(origin, fetch):
    url = origin.add("/a.jpg", b"x" * 100, content_type="image/jpeg").replace("127.0.0.1", "localhost")
    with pytest.raises(AddressRefused):
        fetch(url, block_private=True)


def test_private_addresses_are_no_matter_unless_asked_for(origin, fetch):
    origin.add("/a.jpg", b"x" * 100, content_type="image/jpeg")
    url = origin.add("/r.jpg", faults=[redirect("/a.jpg")])
    assert fetch(url).size_bytes == 100


def test_a_head_without_end_is_an_error_and_not_for_ever(origin, fetch):
    url = origin.add("/a.jpg", b"x", faults=[headers_without_end(times=None)])
    with pytest.raises(TransferBroken):
        fetch(url, stall_s=1.0)


def test_a_body_without_end_stops_at_the_maximal_size_and_leaves_nothing(origin, fetch, tmp_path):
    url = origin.add("/a.jpg", b"x" * 65_536, content_type="image/jpeg", faults=[body_without_end(times=None)])
    with pytest.raises(TooLarge):
        fetch(url, max_bytes=1_000_000)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_one_byte_a_second_is_given_up(origin, fetch):
    url = origin.add("/a.jpg", b"x" * 5000, content_type="image/jpeg", faults=[one_byte_per_s(times=None)])
    with pytest.raises(TransferBroken, match=r"stalled|no byte"):
        fetch(url, stall_s=1.5, stall_bytes=1024)


def test_a_head_that_drips_is_cut_when_its_time_is_over():
    """Each line comes in time, the head never ends: without the watch this would hold the thread for ever."""
    watch = HeadWatch()
    ours, theirs = socket.socketpair()
    with ours, theirs, watch.watching(ours, 0.05):
        assert ours.recv(1) == b""  # cut, not closed
    watch.close()


def test_a_stop_cuts_heads_that_are_about_to_be_waited_for():
    watch = HeadWatch()
    watch.cut_all()
    ours, theirs = socket.socketpair()
    with ours, theirs, watch.watching(ours, 3600.0):
        assert ours.recv(1) == b""
    watch.close()


def test_a_stop_cuts_heads_that_are_waited_for():
    watch = HeadWatch()
    ours, theirs = socket.socketpair()
    with ours, theirs, watch.watching(ours, 3600.0):
        watch.cut_all()
        assert ours.recv(1) == b""
    watch.close()

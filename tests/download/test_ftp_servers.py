"""Files of another FTP server than pyftpdlib: resumed, changed in between, with TLS sessions that it requires."""

from __future__ import annotations

import threading

import pytest
from certificates import Authority
from fetching import Rig, When, stop_after
from origin import Pattern
from real_ftp_server import RealFtpServer

from mediacrawl.errors import FtpReplyError, Interrupted
from mediacrawl.transport.ftp import FtpTransport

BODY, OTHER = Pattern(3_000_000, 1).read(), Pattern(3_000_000, 2).read()
HAVE = 1_000_000


@pytest.fixture(params=["plain", "TLS"])
def served(request, tmp_path):
    """A server, and what fetches from it."""
    authority = Authority(tmp_path)
    authority.context("127.0.0.1")
    certificate = tmp_path / "server1.pem" if request.param == "TLS" else None
    with RealFtpServer(tmp_path, certificate=certificate, rate=20_000_000) as server:
        rig = Rig(tmp_path / "store", None, FtpTransport(verify=str(authority.file)))
        yield server, rig
        rig.close()


def interrupt(rig, url):
    """A run that is stopped in the middle."""
    stopped = threading.Event()
    with stop_after(stopped) as cancel, pytest.raises(Interrupted):
        rig.fetch(url, cancel=cancel, progress=When(HAVE, stopped.set))
    assert HAVE <= rig.planted_bytes() < len(BODY)


def test_a_file_is_resumed(served):
    server, rig = served
    url = server.add("a b/c.bin", BODY)
    interrupt(rig, url)
    arrived = rig.bring(url)
    assert arrived.data == BODY
    assert arrived.fetched.saved_bytes >= HAVE
    assert rig.fetch(url, key="again", revalidate=arrived.fetched.validators).status == 304


def test_a_file_that_has_changed_is_fetched_anew(served):
    server, rig = served
    url = server.add("a.bin", BODY, age_s=5_000)
    interrupt(rig, url)
    server.add("a.bin", OTHER, age_s=1_000)
    arrived = rig.bring(url)
    assert (arrived.data, arrived.fetched.saved_bytes) == (OTHER, 0)


def test_a_file_that_is_not_there_is_a_failure(served):
    server, rig = served
    with pytest.raises(FtpReplyError, match="FTP 550 Failed to open file"):
        rig.fetch(server.url("gone.bin"))
    assert rig.bring(server.add("a.bin", BODY)).data == BODY

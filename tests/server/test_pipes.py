"""A body that neither memory nor a path can give to granian goes through a pipe, as fast as it is read."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from range_requests import parts_of

from mediacrawl.server import descriptors, response_pipe
from mediacrawl.server.rsgi import rsgi_app

BIG = os.urandom(1000) * 1000


class Protocol:
    """What granian does with a path: it opens and reads it in a thread, up to `most` bytes."""

    def __init__(self, most=None):
        self._most = most
        self.content, self.status, self.headers = b"", None, {}
        self.reading = None

    def response_file(self, status, headers, path):
        self.status, self.headers = status, dict(headers)
        if self._most != 0:
            self.reading = threading.Thread(target=self._read, args=[path])
            self.reading.start()

    def _read(self, path):
        with Path(path).open("rb", buffering=0) as file:
            while (self._most is None or len(self.content) < self._most) and (data := file.read(131_072)):
                self.content += data

    def response_bytes(self, status, headers, body):
        self.status, self.headers, self.content = status, dict(headers), body


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setattr(descriptors, "_HAS_PROC", False)  # as on macOS
    monkeypatch.setattr(response_pipe, "OPENED_WITHIN_S", 0.1)
    (tmp_path / "a.mp4").write_bytes(BIG)
    app = rsgi_app(str(tmp_path))
    yield app
    app.close()
    app.site.close()


def ask(app, protocol, wanted=""):
    headers = {"range": wanted} if wanted else {}
    scope = SimpleNamespace(proto="http", method="GET", path="/a.mp4", headers=headers)
    asyncio.run(app.__rsgi__(scope, protocol))
    if protocol.reading is not None:
        protocol.reading.join()
    return protocol


def descriptors_open():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_kind_of_body_is_whole(app):
    assert ask(app, Protocol()).content == BIG
    assert ask(app, Protocol(), "bytes=5-900000").content == BIG[5:900001]
    several = ask(app, Protocol(), "bytes=700000-,5-500000")
    assert [data for _, data in parts_of(several.headers["Content-Type"], several.content)] == [
        BIG[700000:],
        BIG[5:500001],
    ]
    assert ask(app, Protocol(), "bytes=5-9").content == BIG[5:10]


@pytest.mark.parametrize("most", [0, 1, 300_000])
def test_a_reader_that_leaves_or_never_comes_ends_the_response(app, most):
    ask(app, Protocol())
    before = descriptors_open()
    protocol = ask(app, Protocol(most))
    assert protocol.status == 200
    assert len(protocol.content) < len(BIG)
    assert descriptors_open() == before


def test_a_file_that_shrinks_ends_the_pipe_early(app, tmp_path, caplog):
    class Cutting(Protocol):
        def response_file(self, *arguments):
            os.truncate(tmp_path / "a.mp4", 400_000)
            super().response_file(*arguments)

    assert ask(app, Cutting()).content == BIG[:400_000]
    assert "has become shorter" in caplog.text

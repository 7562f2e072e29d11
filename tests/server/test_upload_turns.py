"""The requests for one upload are carried out one after the other, and those that wait hold up no other upload."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest
from uploading import ANNA, CHUNK, TUS

from mediacrawl.errors import DiskFull
from mediacrawl.server.accounts.access import Identified
from mediacrawl.server.options import ServeOptions
from mediacrawl.server.proxies import Client
from mediacrawl.server.routing import Part, RequestHead, RoutedRequest
from mediacrawl.server.uploads import rsgi
from mediacrawl.server.uploads.records import UploadFacts
from mediacrawl.server.uploads.rsgi import RsgiUploads

LIMIT_S = 60


class Uploads:
    """Uploads of 10 bytes, of which nothing is there. `calls` has what was called; `gate` ends the slow calls."""

    def __init__(self):
        self.calls = []
        self.is_called, self.gate = threading.Event(), threading.Event()

    def _called(self, name, upload):
        self.calls.append(name)
        if upload.startswith("slow"):
            self.is_called.set()
            assert self.gate.wait(LIMIT_S)
        return UploadFacts(upload, "anna", "a.jpg", 10, 0, time.time())

    def look(self, upload, _person):
        return self._called("look", upload)

    def facts(self, upload, _person):
        return self._called("facts", upload)

    def create(self, wish):
        return self._called("create", "new")._replace(length_bytes=wish.length_bytes)

    def finish(self, upload, _person):
        self._called("finish", upload)
        raise DiskFull("no space left")

    def remove(self, upload, _person):
        self._called("remove", upload)

    def join(self, wish, ids):
        return self._called("join", ids[0])

    def writer(self, upload, _person, _offset, **_more):
        self._called("writer", upload)
        return SimpleNamespace(offset=0, close=lambda: 0, drop=lambda: 0)


class Connection:
    """A connection of granian, of a request without content, or with content that never comes."""

    status = None

    def __init__(self, *, is_stalled=False):
        self.is_stalled = is_stalled

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.is_stalled:
            await asyncio.Event().wait()
        raise StopAsyncIteration

    def response_empty(self, status, _headers):
        self.status = status

    def response_bytes(self, status, _headers, _body):
        self.status = status


@pytest.fixture
def uploads():
    return Uploads()


@pytest.fixture
def door(uploads, tmp_path, monkeypatch):
    """The uploads of a server with at most 16 connections."""

    async def identify(request):
        return Identified(ANNA._replace(name=request.field("name") or "anna"), is_basic=True)

    monkeypatch.setattr(rsgi, "most_connections", lambda: 16)
    found = RsgiUploads(ServeOptions(store=tmp_path), identify)
    found._opened = SimpleNamespace(get=lambda: uploads, close=lambda: None)
    yield found
    uploads.gate.set()
    found.close()


async def answered(door, method, upload, *, is_stalled=False, **fields):
    """Return the status of the response."""
    connection = Connection(is_stalled=is_stalled)
    told = {name.lower(): value for name, value in (TUS | fields).items()}
    head = RequestHead(method, f"/uploads/{upload}", "", "http", "localhost", told.get)
    await door.respond(head, RoutedRequest(Client("", "http", "localhost"), Part.UPLOADS, upload), connection)
    return connection.status


async def called(uploads):
    assert await asyncio.to_thread(uploads.is_called.wait, LIMIT_S)


JOIN = {"Upload-Concat": "final;/uploads/slow-one /uploads/slow-two"}


@pytest.mark.parametrize(
    ("first", "many"),
    [
        (("HEAD", "slow-one"), ("HEAD", "slow-one")),
        (("POST", ""), ("HEAD", "slow-two")),
        (("POST", ""), ("POST", "")),
    ],
)
def test_many_requests_for_an_upload_hold_up_no_other_one(door, uploads, first, many):
    async def ask():
        waiting = [asyncio.create_task(answered(door, *first, **JOIN))]
        await called(uploads)
        waiting += [asyncio.create_task(answered(door, *many, **JOIN)) for _ in range(40)]
        assert await asyncio.wait_for(answered(door, "HEAD", "another"), LIMIT_S) == 200
        other = answered(door, "POST", "", **{"Upload-Concat": "final;/uploads/other"})
        assert await asyncio.wait_for(other, LIMIT_S) == 201
        uploads.gate.set()
        assert set(await asyncio.gather(*waiting)) <= {200, 201}

    asyncio.run(ask())


def test_requests_for_an_upload_are_carried_out_in_their_order(door, uploads):
    """Else one that has waited longer for a thread would take over from the one that came after it."""

    async def ask():
        chunk = CHUNK | {"Upload-Offset": "0", "Content-Length": "0"}
        patch = asyncio.create_task(answered(door, "PATCH", "slow-one", **chunk))
        await called(uploads)
        head = asyncio.create_task(answered(door, "HEAD", "slow-one"))
        assert await answered(door, "HEAD", "another") == 200
        uploads.gate.set()
        assert await asyncio.gather(patch, head) == [204, 200]

    asyncio.run(ask())
    uploads.calls.remove("facts")
    assert uploads.calls == ["look", "writer", "facts"]


def test_slow_content_leaves_connections_to_others(door):
    """Half of all for pages and files, and half of the others for other people."""
    chunk = CHUNK | {"Upload-Offset": "0", "Content-Length": "10"}

    async def ask():
        names = [name for name in ("anna", "bert", "carl") for _ in range(5)]
        asked = [
            asyncio.create_task(answered(door, "PATCH", f"{name}{number}", **chunk, name=name, is_stalled=True))
            for number, name in enumerate(names)
        ]
        while sum(task.done() for task in asked) < len(asked) - 8:
            await asyncio.wait([task for task in asked if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in asked if task.done()} == {503}
        stalled = [name for name, task in zip(names, asked, strict=True) if not task.done()]
        assert max(map(stalled.count, names)) == 4
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)

    asyncio.run(ask())


def test_a_creation_whose_file_cannot_get_its_name_leaves_nothing(door, uploads):
    """Its client is not told where the upload is, and begins anew."""
    assert asyncio.run(answered(door, "POST", "", **{"Upload-Length": "0"})) == 507
    assert uploads.calls == ["create", "finish", "remove"]

"""A server of tus 1.0.0 on loopback, in memory, that obeys the protocol and has faults with names.

with TusOrigin() as origin:
    origin.faults.append(drop_content_after(100_000))
    ... origin.url ...
assert origin.files == {"a.jpg": body}
"""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 60.0


@dataclass
class TusUpload:
    """An upload, unfinished or not."""

    length: int
    metadata: dict[str, bytes]
    data: bytearray = field(default_factory=bytearray)

    @property
    def is_whole(self) -> bool:
        return len(self.data) == self.length


@dataclass
class TusFault:
    """What the server does with a request of a method, as often as `times` says.

    Attributes:
        status: of the response; 0: the request is carried out.
        take_bytes: how much of the content is taken, before the connection is closed without a response.
        action: is called first.
        then: is called once the content was taken.
    """

    method: str
    status: int = 0
    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    take_bytes: int | None = None
    is_dropped: bool = True
    action: Callable[[], object] | None = None
    then: Callable[[], object] | None = None
    times: int | None = 1

    def applies(self, method: str) -> bool:
        if method != self.method or self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True


def refuse(method: str, status: int, text: str = "", *headers: tuple[str, str], times: int | None = 1) -> TusFault:
    """Respond with a status, and do nothing."""
    return TusFault(method, status, text, headers, times=times)


def drop_content_after(size_bytes: int, *, times: int | None = 1) -> TusFault:
    """Take so many bytes of a PATCH, then break the connection."""
    return TusFault("PATCH", take_bytes=size_bytes, times=times)


def stop_after(size_bytes: int, stop: Callable[[], object]) -> TusFault:
    """Take so many bytes of a PATCH, and stop the client, whose other bytes are never read."""
    return TusFault("PATCH", take_bytes=size_bytes, then=stop)


def take_only(size_bytes: int, *, times: int | None = None) -> TusFault:
    """Take so many bytes of each PATCH, and say so: what the protocol allows."""
    return TusFault("PATCH", take_bytes=size_bytes, is_dropped=False, times=times)


def run_before(method: str, action: Callable[[], object]) -> TusFault:
    """Do something before a request is carried out."""
    return TusFault(method, action=action)


class TusOrigin:
    """The server.

    Attributes:
        uploads: by the path of their URL.
        requests: method, path, and the offset that was sent or None, of each request.
        faults: the first that applies to a request counts.
        location: makes the value of `Location` from the path of an upload.
        authorization: the header that is wanted; None: none.
    """

    def __init__(self, authorization: str | None = None) -> None:
        self.uploads: dict[str, TusUpload] = {}
        self.requests: list[tuple[str, str, int | None]] = []
        self.faults: list[TusFault] = []
        self.location: Callable[[str], str] = str
        self.authorization = authorization
        self._numbers = count()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"origin": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/tus/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE_S)
        self._server.server_close()

    @property
    def files(self) -> dict[str, bytes]:
        """The complete files by the names that the client gave them."""
        whole = (upload for upload in self.uploads.values() if upload.is_whole)
        return {upload.metadata["filename"].decode(): bytes(upload.data) for upload in whole}

    def asked(self, method: str) -> list[int | None]:
        """The offsets of the requests of a method."""
        return [offset for name, _, offset in list(self.requests) if name == method]

    def create(self, length: int, metadata: dict[str, bytes]) -> str:
        path = f"/tus/{next(self._numbers)}"
        self.uploads[path] = TusUpload(length, metadata)
        return path


class _Handler(BaseHTTPRequestHandler):
    origin: TusOrigin
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, *headers: tuple[str, str], text: str = "") -> None:
        self.send_response(status)
        self.send_header("Tus-Resumable", "1.0.0")
        for name, value in headers:
            self.send_header(name, value)
        if text:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        if status != 204:
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def _begin(self) -> TusFault | None:
        """Note a request; return its fault. A fault with a status has been answered."""
        offset = self.headers.get("Upload-Offset")
        self.origin.requests.append((self.command, self.path, int(offset) if offset else None))
        fault = next((fault for fault in self.origin.faults if fault.applies(self.command)), None)
        if fault is not None and fault.action is not None:
            fault.action()
        if fault is not None and fault.status:
            self.close_connection = True
            self.answer(fault.status, *fault.headers, text=fault.text)
        return fault

    def _is_refused(self) -> bool:
        """Refuse a request without credentials or without the version."""
        if self.origin.authorization is not None and self.headers.get("Authorization") != self.origin.authorization:
            self.close_connection = True
            self.answer(401, text="Who are you?")
            return True
        if self.headers.get("Tus-Resumable") != "1.0.0":
            self.close_connection = True
            self.answer(412, ("Tus-Version", "1.0.0"))
            return True
        return False

    def do_OPTIONS(self) -> None:
        fault = self._begin()
        if fault is None or not fault.status:
            self.answer(204, ("Tus-Version", "1.0.0,0.2.2"), ("Tus-Extension", "creation"))

    def do_GET(self) -> None:
        fault = self._begin()
        if fault is None or not fault.status:
            self.answer(404, text="There is nothing.")

    def do_POST(self) -> None:
        fault = self._begin()
        if (fault is not None and fault.status) or self._is_refused():
            return
        pairs = (pair.split(" ") for pair in (self.headers.get("Upload-Metadata") or "").split(",") if pair)
        metadata = {name: base64.b64decode(value[0] if value else "") for name, *value in pairs}
        path = self.origin.create(int(self.headers["Upload-Length"]), metadata)
        self.answer(201, ("Location", self.origin.location(path)))

    def do_HEAD(self) -> None:
        fault = self._begin()
        if (fault is not None and fault.status) or self._is_refused():
            return
        upload = self.origin.uploads.get(self.path)
        if upload is None:
            self.answer(404)
            return
        sizes = ("Upload-Offset", str(len(upload.data))), ("Upload-Length", str(upload.length))
        self.answer(200, *sizes, ("Cache-Control", "no-store"))

    def do_PATCH(self) -> None:
        fault = self._begin()
        if (fault is not None and fault.status) or self._is_refused():
            return
        upload, size = self.origin.uploads.get(self.path), int(self.headers["Content-Length"])
        if upload is None or self.headers["Content-Type"] != "application/offset+octet-stream":
            self.close_connection = True
            self.answer(404 if upload is None else 415)
            return
        if int(self.headers["Upload-Offset"]) != len(upload.data):
            self.close_connection = True
            self.answer(409)
            return
        limit = size if fault is None or fault.take_bytes is None else min(size, fault.take_bytes)
        upload.data += self._content(limit)
        if fault is not None and fault.then is not None:
            fault.then()
            self._content(size)  # until the client is gone
        if limit < size and fault is not None and fault.is_dropped:
            self.close_connection = True
            return
        self._content(size - limit)
        self.answer(204, ("Upload-Offset", str(len(upload.data))))

    def _content(self, size: int) -> bytes:
        """Read so many bytes of the content, or those that come before the connection ends."""
        found = bytearray()
        while len(found) < size and (block := self.rfile.read1(min(size - len(found), 65_536))):
            found += block
        return bytes(found)

"""The demo site's server: small, and as compliant with RFC 9110 as a good static server, except for two files.

The first file is slow, so that a progress bar is visible. The connection of the second file breaks in the middle the
first time, so that a crawl has a transfer to resume. ETag and Last-Modified are the same in every process: a second
crawl skips the files that the first crawl fetched, and resumes its part files. Only the port may differ.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from mediacrawl.demo import content
from mediacrawl.headers.ranges import parse_range
from mediacrawl.headers.validators import ETag

LAST_MODIFIED_AT = 1_714_557_600  # 1 May 2024, 10:00 UTC
RATE_VARIABLE = "MEDIACRAWL_DEMO_BYTES_PER_S"
DEFAULT_BYTES_PER_S = 450_000  # of the slow file: it takes between two and three seconds
_SLICE_BYTES = 1 << 16
_IDLE_S = 30.0


class DemoSite:
    """Serves on 127.0.0.1 from daemon threads of this process, between `start` and `stop` or in a `with` block.

    Args:
        port: 0 for any free port; a fixed port keeps the URLs the same from run to run.
        slow_bytes_per_s: the rate of the slow file; None for the environment's MEDIACRAWL_DEMO_BYTES_PER_S, or,
            without it, a rate at which the file takes between two and three seconds. 0 means no limit.
        breaks: whether the first response for one picture breaks off in the middle.
    """

    def __init__(self, port: int = 0, *, slow_bytes_per_s: float | None = None, breaks: bool = True) -> None:
        if slow_bytes_per_s is None:
            slow_bytes_per_s = float(os.environ.get(RATE_VARIABLE) or DEFAULT_BYTES_PER_S)
        self.slow_bytes_per_s = slow_bytes_per_s
        self._wanted_port = port
        self._to_break = {content.BREAKS} if breaks else set()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """Path (percent-decoded, with its query) -> bytes, of all media that are served."""
        return {path: file.body for path, file in content.files().items()}

    @property
    def wanted(self) -> dict[str, bytes]:
        """The part of `files` that a complete crawl fetches: of several sizes of a picture only the largest."""
        return {path: file.body for path, file in content.files().items() if file.wanted}

    @property
    def pages(self) -> dict[str, bytes]:
        """Path -> bytes as encoded, in the order in which each page links to the next."""
        return {path: body for path, (body, _) in content.pages().items()}

    @property
    def port(self) -> int:
        """The port of the server. Raises RuntimeError before `start` and after `stop`."""
        if self._server is None:
            raise RuntimeError("the demo site is not running: call start() first")
        return self._server.server_port

    @property
    def url(self) -> str:
        """The URL of the first page, which leads to the other pages."""
        return f"http://127.0.0.1:{self.port}{content.FIRST_PAGE}"

    def start(self) -> Self:
        """Start the server, and return when it accepts connections. Raises OSError if the port is taken."""
        self._server = _Server(self._wanted_port, self.slow_bytes_per_s, self._to_break)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="demo-site", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """End all responses and close all sockets. A second call does nothing."""
        server, thread, self._server = self._server, self._thread, None
        if server is None or thread is None:
            return
        server.shutdown()
        server.server_close()
        thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()


@dataclass(frozen=True, slots=True)
class _Resource:
    body: bytes
    content_type: str
    disposition: str | None
    etag: ETag

    @classmethod
    def make(cls, body: bytes, content_type: str, disposition: str | None = None) -> _Resource:
        return cls(body, content_type, disposition, ETag(hashlib.sha256(body).hexdigest()[:20]))


class _Server(ThreadingHTTPServer):
    """Uses daemon threads, so that no process waits for a forgotten `stop`; the base class joins only others."""

    def __init__(self, port: int, slow_bytes_per_s: float, to_break: set[str]) -> None:
        self.resources = {path: _Resource.make(*page) for path, page in content.pages().items()}
        for path, file in content.files().items():
            self.resources[path] = _Resource.make(file.body, file.content_type, file.disposition)
        self.slow_bytes_per_s = slow_bytes_per_s
        self.to_break = to_break
        self.ending = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def breaks_now(self, path: str) -> bool:
        """Return whether the response for a path is to break off: True once for each path that is to break."""
        with self._lock:
            found = path in self.to_break
            self.to_break.discard(path)
            return found

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="demo-site", daemon=True
        )
        with self._lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def server_close(self) -> None:
        self.ending.set()
        with self._lock:
            left = dict(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in left.values():
            thread.join()
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that disconnects; the base class would print a traceback into the crawl's log."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "mediacrawl-demo"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = _SLICE_BYTES  # head and first bytes are sent in one packet
    timeout = _IDLE_S
    server: _Server

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: the crawl's log is about the crawl."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        query = urlsplit(self.path).query
        name = f"{path}?{unquote(query)}" if query else path
        resource = self.server.resources.get(name)
        if resource is None:
            self._send_text(HTTPStatus.NOT_FOUND, with_body=with_body)
        elif self._is_not_modified(resource):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self._send_validators(resource)
            self.end_headers()
        else:
            self._send_resource(name, resource, with_body=with_body)

    def _is_not_modified(self, resource: _Resource) -> bool:
        """Return whether to respond with 304 (RFC 9110, 13.2.2).

        If-None-Match decides; without it, If-Modified-Since.
        """
        tags = self.headers.get("If-None-Match")
        if tags is not None:
            return tags.strip() == "*" or resource.etag.opaque in _opaque_tags(tags)
        since = _seconds(self.headers.get("If-Modified-Since"))
        return since is not None and since >= LAST_MODIFIED_AT

    def _ranges(self, resource: _Resource) -> list[tuple[int, int]] | None:
        if self.command != "GET":
            return None  # 14.2: Range is for GET alone
        condition = self.headers.get("If-Range")
        if condition is not None and not _if_range_holds(condition, resource.etag):
            return None
        ranges = parse_range(self.headers.get("Range"), len(resource.body))
        return None if ranges and len(ranges) > 1 else ranges  # several: 14.2 allows the complete body

    def _send_resource(self, name: str, resource: _Resource, *, with_body: bool) -> None:
        size = len(resource.body)
        ranges = self._ranges(resource)
        if ranges == []:
            self._send_text(HTTPStatus(416), ("Content-Range", f"bytes */{size}"))
            return
        start, stop = ranges[0] if ranges else (0, size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if ranges else HTTPStatus.OK)
        if ranges:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Type", resource.content_type)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self._send_validators(resource)
        if resource.disposition is not None:
            self.send_header("Content-Disposition", resource.disposition)
        self.end_headers()
        if with_body:
            self._send_body(name, memoryview(resource.body)[start:stop])

    def _send_validators(self, resource: _Resource) -> None:
        self.send_header("ETag", resource.etag.to_header())
        self.send_header("Last-Modified", formatdate(LAST_MODIFIED_AT, usegmt=True))

    def _send_text(self, status: HTTPStatus, *fields: tuple[str, str], with_body: bool = True) -> None:
        body = f"{status} {status.phrase}\n".encode()
        self.send_response(status)
        for field, value in fields:
            self.send_header(field, value)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _send_body(self, name: str, view: memoryview) -> None:
        if self.server.breaks_now(name):
            view = view[: len(view) // 2]
            self.close_connection = True
        rate = self.server.slow_bytes_per_s if name == content.SLOW else 0
        step = max(1, min(_SLICE_BYTES, int(rate / 20))) if rate else _SLICE_BYTES
        began = time.monotonic()
        for at in range(0, len(view), step):
            if rate and self.server.ending.wait(max(0.0, began + at / rate - time.monotonic())):
                self.close_connection = True
                return
            self.wfile.write(view[at : at + step])
            self.wfile.flush()


def _if_range_holds(value: str, etag: ETag) -> bool:
    """Return whether If-Range holds: by the strong comparison, or by the exact date (RFC 9110, 13.1.5).

    The date of this site is old enough to be strong.
    """
    tag = ETag.from_header(value)
    return etag.strong_match(tag) if tag else _seconds(value) == LAST_MODIFIED_AT


def _opaque_tags(value: str) -> set[str]:
    """Return the tags of If-None-Match, without the weak flag, as the comparison is weak.

    The ETags of this site hold no comma, so that a split finds them.
    """
    tags = (ETag.from_header(part) for part in value.split(","))
    return {tag.opaque for tag in tags if tag}


def _seconds(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None

"""A proxy between a browser and a server, for tests: it forwards requests, and has faults that a test names."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

LIMIT_S = 60
_BLOCK = 64 * 1024
_OF_CONNECTION = {"connection", "keep-alive", "transfer-encoding"}


class Seen(NamedTuple):
    """A request for an upload, and the status of its answer; 0 if it got none."""

    method: str
    path: str
    offset: int | None
    body: int
    status: int


class FaultyProxy:
    """The faults concern requests of tus, below `/uploads/`. `seen` has these requests, in the order of their ends.

    A fault is armed by a method of its name, for the next requests of some methods.
    """

    def __init__(self, port):
        self.target = port
        self.seen = []
        self._faults = []
        self._changed = threading.Condition()
        self._is_held = False
        self._may_go_on = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do(self):
                proxy._respond(self)

            do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = do_OPTIONS = do  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                """Say nothing: browsers end connections."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._may_go_on.set()
        self._server.shutdown()
        self._thread.join(LIMIT_S)
        self._server.server_close()

    # --- faults ---

    def answer(self, status, *methods, times=1, headers=()):
        """Answer in the place of the server."""
        self._arm("answer", methods, times, status=status, headers=list(headers))

    def drop_after(self, count, *methods, times=1):
        """Forward so many bytes of a content, and end both connections."""
        self._arm("drop_after", methods, times, count=count)

    def lose_answer(self, *methods, times=1):
        """Forward the request; end the connection in the place of the answer."""
        self._arm("lose_answer", methods, times)

    def limit_content(self, most):
        """Refuse each larger content, as nginx does."""
        self._arm("limit_content", (), 1_000_000, most=most)

    def hold_after(self, count, *methods):
        """Forward so many bytes of a content, and wait for `go_on`."""
        self._may_go_on.clear()
        self._is_held = False
        self._arm("hold_after", methods, 1, count=count)

    def heal(self):
        """End all faults."""
        with self._changed:
            self._faults.clear()
        self.go_on()

    def wait_for_hold(self):
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_held, LIMIT_S)

    def go_on(self):
        self._may_go_on.set()

    def wait_for(self, condition):
        """Wait until `condition`, of all requests seen, is true."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.seen), LIMIT_S), self.seen

    def _arm(self, name, methods, times, **facts):
        with self._changed:
            self._faults.append({"name": name, "methods": methods, "left": times} | facts)

    def _fault(self, method, length):
        with self._changed:
            for fault in self._faults:
                is_meant = not fault["methods"] or method in fault["methods"]
                if is_meant and fault["left"] and length > fault.get("most", -1):
                    fault["left"] -= 1
                    return fault
        return {"name": ""}

    # --- forwarding ---

    def _respond(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        is_upload = "/uploads/" in handler.path and handler.command != "GET"
        fault = self._fault(handler.command, length) if is_upload else {"name": ""}
        status = 0
        try:
            status = self._forwarded(handler, length, fault)
        except (OSError, http.client.HTTPException):
            handler.close_connection = True
        finally:
            if is_upload:
                offset = handler.headers.get("Upload-Offset")
                seen = Seen(handler.command, handler.path, offset and int(offset), length, status)
                with self._changed:
                    self.seen.append(seen)
                    self._changed.notify_all()

    def _forwarded(self, handler, length, fault):
        """Return the status that was sent; 0: none, and the connection ends."""
        name = fault["name"]
        if name in {"answer", "limit_content"}:
            handler.rfile.read(length)
            return self._send(
                handler, fault.get("status", 413), fault.get("headers", []), b"<html>an answer of a proxy"
            )
        upstream = http.client.HTTPConnection("127.0.0.1", self.target, timeout=LIMIT_S)
        try:
            upstream.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for field, value in handler.headers.items():
                if field.lower() not in _OF_CONNECTION:
                    upstream.putheader(field, value)
            upstream.endheaders()
            if not self._body(handler, upstream, length, fault):
                handler.close_connection = True
                return 0
            answer = upstream.getresponse()
            content = answer.read()
            if name == "lose_answer":
                handler.close_connection = True
                return 0
            return self._send(handler, answer.status, answer.getheaders(), content)
        finally:
            upstream.close()

    def _body(self, handler, upstream, length, fault):
        """Forward a content; return whether to read the answer."""
        left = length
        stop = fault["count"] if fault["name"] in {"drop_after", "hold_after"} else length + 1
        while left:
            data = handler.rfile.read(min(_BLOCK, left, max(1, stop - (length - left))))
            if not data:
                return False
            upstream.send(data)
            left -= len(data)
            if length - left >= stop:
                if fault["name"] == "drop_after":
                    return False
                self._hold()
                stop = length + 1
        return True

    def _hold(self):
        with self._changed:
            self._is_held = True
            self._changed.notify_all()
        assert self._may_go_on.wait(LIMIT_S)

    @staticmethod
    def _send(handler, status, headers, content):
        handler.send_response_only(status)
        has_length = False
        for field, value in headers:
            if field.lower() not in _OF_CONNECTION:
                handler.send_header(field, value)
                has_length |= field.lower() == "content-length"
        if not has_length and status not in {204, 304}:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)
        return status

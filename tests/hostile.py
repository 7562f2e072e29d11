"""Text that steers a terminal, a server that sends it in each part of a response, and what finds it in an output."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import unicodedata
from typing import Self

# In the order: CSI, OSC, C1 CSI, BEL, a bidirectional override and isolate, a line separator, a byte order mark.
STEERING = "\x1b[31m\x1b]0;owned\x07\x9b2J\x08\x7f\u202egpj\u2066\u2028\ufeff\u061c"
FORGED = "FORGED LINE"
# With line ends, for places that may hold them.
LINES = f"{STEERING}\r\n{FORGED}\n"
_SHOWN = "\u200c\u200d"  # Persian and emoji need them
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Signs of scripts, which are shown, although their category is Cf.
_SIGNS = {*map(chr, range(0x600, 0x606)), *"\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"}
_SIGNS |= {*map(chr, range(0x13430, 0x13440)), *map(chr, range(0x1BCA0, 0x1BCA4)), *map(chr, range(0x1D173, 0x1D17B))}


def steering_in(text: str | bytes, *allowed: str) -> list[str]:
    """Each character that steers a terminal, but those that are allowed; each byte that is not UTF-8."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    kept = {*_SHOWN, *_SIGNS, *allowed}
    return [repr(one) for one in text if unicodedata.category(one) in _INVISIBLE and one not in kept]


def faults_of(output: bytes) -> list[str]:
    """The lines of an output that steer a terminal, and those that were forged."""
    lines = output.decode("utf-8", "surrogateescape").split("\n")
    return [repr(line) for line in lines if steering_in(line) or line.strip().startswith(FORGED)]


class HostileServer:
    """Sends the bytes that belong to the path of a request, and closes the connection."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                path = self.rfile.readline().split(b" ")[1].decode("latin-1").partition("?")[0]
                while self.rfile.readline().strip():
                    pass
                with contextlib.suppress(OSError):
                    self.wfile.write(answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def hostile_answers() -> dict[str, bytes]:
    """By path: what steers a terminal in one part of a response."""
    text = STEERING.encode()
    image = b"Content-Type: image/jpeg\r\nContent-Length: 4\r\n\r\n\xff\xd8\xff\xe0"
    end = b"Content-Length: 0\r\n\r\n"
    return {
        "/robots.txt": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nUser-agent: *\nDisallow: /no" + text,
        "/phrase.jpg": b"HTTP/1.1 404 " + text + b"\r\n" + end,
        "/mojibake.jpg": "HTTP/1.1 403 Café 漢字\r\n".encode() + end,
        "/c1.jpg": b"HTTP/1.1 500 \x9b2J\x85\r\n" + end,
        "/status-line.jpg": text + b" 200 OK\r\n" + end,
        "/begins-http.jpg": b"HTTP/1.1 2" + text + b"\r\n" + end,
        "/te.jpg": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + text + b"\r\n" + image,
        "/ce.jpg": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, " + text + b"\r\n" + image,
        "/ct.jpg": b"HTTP/1.1 200 OK\r\nContent-Type: text/html; " + text + b"\r\nContent-Length: 6\r\n\r\n<html>",
        "/location.jpg": b"HTTP/1.1 302 Found\r\nLocation: /" + text + b"\r\n" + end,
        "/scheme.jpg": b"HTTP/1.1 302 Found\r\nLocation: x" + text + b"://h/\r\n" + end,
        "/host.jpg": b"HTTP/1.1 302 Found\r\nLocation: http://" + text + b"/\r\n" + end,
        "/disposition.jpg": b"HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename=" + text + b"\r\n" + image,
        "/retry-after.jpg": b"HTTP/1.1 503 " + text + b"\r\nRetry-After: " + text + b"\r\n" + end,
        "/name.jpg": b"HTTP/1.1 200 OK\r\n" + text + b": 1\r\nContent-Length\x1b: 4\r\n" + image,
        "/two.jpg": b"HTTP/1.1 200 OK\r\nETag: " + text + b'\r\nETag: "x"\r\n' + image,
        "/range.jpg": b"HTTP/1.1 206 " + text + b"\r\nContent-Range: bytes " + text + b"\r\n" + image,
        "/chunk.jpg": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;" + text + b"\r\nabcd\r\n" + text,
        "/etag.jpg": b"HTTP/1.1 200 OK\r\nETag: " + text + b"\r\n" + image,
    }

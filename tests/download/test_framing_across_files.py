"""However a server frames one response, no byte of it is taken for the response to the next request."""

import contextlib
import socket
import threading

import pytest

from mediacrawl.errors import TransferError

FIRST, SECOND = b"first", b"second file"
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
CHUNKS = b"5\r\nfirst\r\n0\r\n\r\n"


def head(*fields):
    return b"HTTP/1.1 200 OK\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


TRICKS = {
    "a second response behind a length": head(b"Content-Length: 5") + FIRST,
    "a second response behind chunks": head(b"Transfer-Encoding: chunked") + CHUNKS,
    "a length and chunks": head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + CHUNKS,
    "chunks and a longer length": head(b"Transfer-Encoding: chunked", b"Content-Length: 60") + CHUNKS,
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 60") + FIRST,
    "the same length twice": head(b"Content-Length: 5", b"Content-Length: 5") + FIRST,
    "a list of lengths": head(b"Content-Length: 5, 60") + FIRST,
    "a length with a sign": head(b"Content-Length: +5") + FIRST,
    "a hexadecimal length": head(b"Content-Length: 0x5") + FIRST,
    "a huge length": head(b"Content-Length: " + b"9" * 40) + FIRST,
    "an extension of a chunk": head(b"Transfer-Encoding: chunked") + b'5;a="\r\nfirst\r\n0;b\r\n\r\n',
    "a chunk of a hexadecimal text": head(b"Transfer-Encoding: chunked") + b"0x5\r\nfirst\r\n0\r\n\r\n",
    "lines that end with LF": head(b"Transfer-Encoding: chunked").replace(b"\r", b"") + CHUNKS.replace(b"\r", b""),
    "a bare CR in a field": head(b"A: b\rContent-Length: 60", b"Content-Length: 5") + FIRST,
    "a coding behind a blank": head(b"Transfer-Encoding : chunked", b"Content-Length: 5") + FIRST,
    "a coding on a continued line": head(b"Transfer-Encoding:\r\n chunked", b"Content-Length: 60") + CHUNKS,
    "identity and chunked": head(b"Transfer-Encoding: identity, chunked", b"Content-Length: 60") + CHUNKS,
    "no content with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n" + FIRST,
    "trailers that look like a head": head(b"Transfer-Encoding: chunked")
    + b"5\r\nfirst\r\n0\r\nContent-Length: 60\r\n\r\n",
}


class Server:
    """Answers the request for `/first` with given bytes, and each other one with `SECOND`."""

    def __init__(self, answer):
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection, contextlib.suppress(OSError):
            received = b""
            while block := connection.recv(65536):
                received += block
                while b"\r\n\r\n" in received:
                    request, _, received = received.partition(b"\r\n\r\n")
                    ours = self._answer if b" /first " in request else head(b"Content-Length: 11") + SECOND
                    connection.sendall(ours)

    def close(self):
        self._listener.close()


@pytest.mark.parametrize("name", TRICKS)
def test_the_next_file_has_its_own_bytes(transport_kind, name):
    server = Server(TRICKS[name] + SMUGGLED)
    transport = transport_kind()
    try:
        assert fetched(transport, f"{server.url}/first") in (None, b"", FIRST)
        for _ in range(2):
            assert fetched(transport, f"{server.url}/second") == SECOND
    finally:
        transport.close()
        server.close()


def fetched(transport, url):
    """The body; None if the response was refused."""
    try:
        answer = transport.get(url, {}, proxy=None, timeout_s=10.0)
    except TransferError:
        return None
    try:
        return b"".join(answer.blocks())
    except TransferError:
        return None
    finally:
        answer.close()

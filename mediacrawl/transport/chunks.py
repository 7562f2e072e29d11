"""Decode the transfer coding `chunked` (RFC 9112 7.1) strictly: a size that is read wrongly makes a wrong file.

`int` and libcurl accept more than hexadecimal digits: `int` a sign, `0x` and `_`, and libcurl any text behind the
digits, so that it reads `0x1000` as the size 0, which ends the body.
"""

from __future__ import annotations

import re
from http.client import HTTPException

LONGEST_CHUNK_LINE = 65_536
MALFORMED_CHUNK = "a chunk of the body is malformed"

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\0\r\n]*)?\r?\n")
_LARGEST = 2**63 - 1
_FREE_BYTES = 1024 * 1024  # of the lines before chunks
_FREE_BYTES_OF_CHUNK = 32
_MOST_TIMES = 16  # the data of the body


def chunk_size(line: bytes) -> int:
    """Parse the line before a chunk. Blanks behind the size are accepted, as old servers pad it.

    Raises:
        HTTPException: the line is malformed.
    """
    match = _SIZE_LINE.fullmatch(line)
    size_bytes = int(match[1], 16) if match is not None else _LARGEST + 1
    if size_bytes > _LARGEST:
        raise HTTPException(MALFORMED_CHUNK)
    return size_bytes


def check_end(size_line: bytes, line: bytes) -> None:
    """Check the line end behind the data of a chunk: that of the line before the chunk, or CRLF.

    A lone LF is no line end where CRLF is used: with a size that is too large by one, it would be the end of a CRLF.

    Raises:
        HTTPException: other bytes follow the data than a line end.
    """
    if line != b"\r\n" and (line != b"\n" or size_line.endswith(b"\r\n")):
        raise HTTPException(MALFORMED_CHUNK)


class ChunkLines:
    """A count of the lines before chunks, which ends a body that consists of chunk extensions (RFC 9112 7.1.1).

    A server could send megabytes of them with each byte of data: the body would neither stall nor be too large.
    """

    def __init__(self) -> None:
        self._room_bytes = _FREE_BYTES

    def size(self, line: bytes) -> int:
        """Parse the line before a chunk, as `chunk_size` does.

        Raises:
            HTTPException: the line is malformed, or the extensions are many times as long as the data.
        """
        size_bytes = chunk_size(line)
        self._room_bytes -= max(0, len(line) - _FREE_BYTES_OF_CHUNK)
        if self._room_bytes < 0:
            raise HTTPException("the chunk extensions are longer than the data of the body")
        self._room_bytes += _MOST_TIMES * size_bytes
        return size_bytes


class ChunkDecoder:
    """A decoder of a chunked body that is received in pieces.

    Attributes:
        is_through: whether the last chunk was received, so that the body is complete (RFC 9112 8).
    """

    def __init__(self) -> None:
        self.is_through = False
        self._left_bytes = 0  # of the current chunk
        self._size_line = b""  # of a chunk whose line end is still to be received
        self._line = b""  # the beginning of a line
        self._lines = ChunkLines()

    def decode(self, data: bytes) -> list[bytes]:
        """Return the data of the chunks in a piece of the body. Bytes behind the last chunk are ignored.

        Raises:
            HTTPException: a chunk is malformed, or the extensions are many times as long as the data.
        """
        pieces: list[bytes] = []
        at = 0
        while at < len(data) and not self.is_through:
            if self._left_bytes:
                piece = data[at : at + self._left_bytes]
                pieces.append(piece)
                self._left_bytes -= len(piece)
                at += len(piece)
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:end]
            at = end
            if self._line.endswith(b"\n"):
                self._take_line()
            elif len(self._line) > LONGEST_CHUNK_LINE:
                raise HTTPException(MALFORMED_CHUNK)
        return pieces

    def _take_line(self) -> None:
        line, self._line = self._line, b""
        if self._size_line:
            check_end(self._size_line, line)
            self._size_line = b""
            return
        self._left_bytes, self._size_line = self._lines.size(line), line
        self.is_through = not self._left_bytes

"""Pictures, sounds and videos generated with the standard library alone; the bytes are the same each time.

Every function is pure and fast (well under 0.2 s), and its result opens in any viewer or player.
"""

from __future__ import annotations

import array
import functools
import io
import itertools
import math
import struct
import sys
import wave
import zlib

SAMPLES_PER_S = 22_050
SEMITONE = 2 ** (1 / 12)


# Pictures: a plasma is a picture of one byte for each pixel, coloured by a palette of 256 colours.


@functools.cache
def palette(hue: float) -> tuple[bytes, ...]:
    """Return 256 RGB colours that change gradually and end near the first colour."""
    turn = 2 * math.pi
    return tuple(
        bytes(round(127.5 + 127.5 * math.sin(turn * (hue + third / 3 + index / 256))) for third in range(3))
        for index in range(256)
    )


def plasma(width: int, height: int, phase: float = 0.0) -> list[bytes]:
    """Return rows of palette indices: the sum of three waves, along x, along y and along the diagonal."""
    across = [int(128 + 127 * math.sin(x / width * 7 + phase)) for x in range(width)]
    slant = [int(64 + 63 * math.sin(i / (width + height) * 19 - phase)) for i in range(width + height)]
    rows = []
    for y in range(height):
        down = int(128 + 127 * math.sin(y / height * 5 - phase))
        rows.append(bytes([(a + down + s) & 255 for a, s in zip(across, slant[y:], strict=False)]))
    return rows


def png(width: int, height: int, *, hue: float = 0.0, phase: float = 0.0) -> bytes:
    """Return a PNG of colour type 3: an eight-bit palette index for each pixel (PNG 3rd edition, 11.2)."""
    lines = b"".join(b"\0" + row for row in plasma(width, height, phase))  # filter type 0 before each line
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _png_chunk(b"PLTE", b"".join(palette(hue))),
            _png_chunk(b"IDAT", zlib.compress(lines, 6)),
            _png_chunk(b"IEND", b""),
        )
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def svg(width: int, height: int) -> bytes:
    circles = "".join(
        f'<circle cx="{width / 2:g}" cy="{height / 2:g}" r="{height / 2 - step * height / 16:g}"'
        f' fill="hsl({step * 45} 80% 60%)"/>'
        for step in range(8)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">{circles}</svg>\n'
    ).encode()


def gif(width: int, height: int, frames: int, *, hue: float = 0.0) -> bytes:
    """Return a GIF89a that loops for ever: 128 colours, ten frames a second."""
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    pictures = b"".join(
        b"\x21\xf9\x04\x04" + struct.pack("<HBB", 10, 0, 0)  # a delay of ten hundredths of a second
        + b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + _gif_pixels(b"".join(plasma(width, height, 2 * math.pi * frame / frames)))
        for frame in range(frames)
    )  # fmt: skip
    screen = struct.pack("<HHBBB", width, height, 0b1111_0110, 0, 0)
    return b"GIF89a" + screen + b"".join(palette(hue)[::2]) + loop + pictures + b"\x3b"


def _gif_pixels(pixels: bytes) -> bytes:
    """Encode pixels in LZW without compression.

    Codes stay eight bits wide, as the table is cleared before they grow to nine. With a minimum code size of 7, code
    128 clears and code 129 ends; the table reaches 256 after 127 codes.
    """
    halved = bytes(pixel >> 1 for pixel in pixels)
    codes = b"".join(b"\x80" + halved[at : at + 120] for at in range(0, len(halved), 120)) + b"\x81"
    blocks = (codes[at : at + 255] for at in range(0, len(codes), 255))
    return b"\x07" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


# Sound


def wav(melody: str, note_s: float = 0.25) -> bytes:
    """Return a mono WAV of 16 bits: each character is a note, `a` the lowest, in semitones; a space is a rest."""
    notes: dict[str, array.array[int]] = {note: _note(note, note_s) for note in set(melody)}
    samples = array.array("h", itertools.chain.from_iterable(notes[note] for note in melody))
    if sys.byteorder == "big":
        samples.byteswap()
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLES_PER_S)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def _note(note: str, note_s: float) -> array.array[int]:
    count = int(SAMPLES_PER_S * note_s)
    if note == " ":
        return array.array("h", bytes(2 * count))
    step = 2 * math.pi * 220 * SEMITONE ** (ord(note) - ord("a")) / SAMPLES_PER_S
    return array.array("h", (int(12_000 * math.exp(-3 * i / count) * math.sin(step * i)) for i in range(count)))


# Video


def avi(width: int, height: int, frames: int, *, frames_per_s: int = 10, hue: float = 0.0) -> bytes:
    """Return a RIFF AVI of raw 24-bit frames, with an index.

    `width` must be a multiple of four, so that lines need no padding.
    """
    colours = [colour[::-1] for colour in palette(hue)]  # a DIB is blue, green, red, from the bottom up
    pictures = [
        b"".join(
            colours[pixel] for row in reversed(plasma(width, height, 2 * math.pi * frame / frames)) for pixel in row
        )
        for frame in range(frames)
    ]
    return avi_of(pictures, width, height, frames_per_s)


def avi_of(pictures: list[bytes], width: int, height: int, frames_per_s: int) -> bytes:
    size = width * height * 3
    per_s = size * frames_per_s
    main = struct.pack(
        "<14I", 1_000_000 // frames_per_s, per_s, 0, 0x10, len(pictures), 0, 1, size, width, height, 0, 0, 0, 0
    )  # 0x10: the file has an index
    stream = struct.pack(
        "<4s4sIHH8I4H", b"vids", b"DIB ", 0, 0, 0, 0, 1, frames_per_s, 0, len(pictures), size, 0, 0,
        0, 0, width, height,
    )  # fmt: skip
    bitmap = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 0, 0, 0, 0)
    header = _list(b"hdrl", _chunk(b"avih", main) + _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", bitmap)))
    movie = _list(b"movi", b"".join(_chunk(b"00db", picture) for picture in pictures))
    index = b"".join(
        struct.pack("<4sIII", b"00db", 0x10, 4 + number * (size + 8), size) for number in range(len(pictures))
    )  # 0x10: a key frame; offsets count from the word `movi`
    return _chunk(b"RIFF", b"AVI " + header + movie + _chunk(b"idx1", index))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _list(kind: bytes, data: bytes) -> bytes:
    return _chunk(b"LIST", kind + data)

"""What is served: files made from a seed, and what each must look like when it has arrived."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SEED = 20_250_101
MIB = 1024 * 1024
_POOL_BYTES = 8 * MIB  # random bytes that small files are cut from, each after a head of its own


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one file: its size and the digest of its bytes."""

    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one run has to bring.

    Attributes:
        urls: in the order of the list.
        files: name to facts, one for each URL; names are unique.
    """

    urls: tuple[str, ...]
    files: Mapping[str, Facts]

    @property
    def size_bytes(self) -> int:
        """All bytes together."""
        return sum(facts.size_bytes for facts in self.files.values())

    def part(self, start: int, stop: int) -> Wanted:
        """The files from `start` to before `stop`."""
        urls = self.urls[start:stop]
        names = [url.rpartition("/")[2] for url in urls]
        return Wanted(urls, {name: self.files[name] for name in names})


def small_files(folder: Path, url: str, count: int, sizes_bytes: tuple[int, int]) -> Wanted:
    """PNG pictures of one pixel with random bytes behind it, so that image tools take them too."""
    folder.mkdir(parents=True)
    files = {}
    for number, body in enumerate(_bodies(count, sizes_bytes)):
        name = f"{number:06}.png"
        (folder / name).write_bytes(body)
        files[name] = Facts(len(body), hashlib.sha256(body).digest())
    return Wanted(tuple(f"{url}/{name}" for name in files), files)


def large_files(folder: Path, url: str, count: int, size_bytes: int) -> Wanted:
    """Files of that size; no two blocks of 1 MiB are alike, so that a misplaced one is seen."""
    folder.mkdir(parents=True)
    files = {
        f"large-{number}.bin": _large_file(folder / f"large-{number}.bin", size_bytes) for number in range(count)
    }
    return Wanted(tuple(f"{url}/{name}" for name in files), files)


def site(
    folder: Path, url: str, pages: int, images_per_page: int, sizes_bytes: tuple[int, int]
) -> tuple[str, Wanted]:
    """A gallery of pages with `rel=next`. Gives the first page's URL, and the images."""
    images = small_files(folder / "images", f"{url}/images", pages * images_per_page, sizes_bytes)
    names = list(images.files)
    for number in range(pages):
        shown = names[number * images_per_page : (number + 1) * images_per_page]
        following = f"page-{number + 1}.html" if number + 1 < pages else None
        (folder / f"page-{number}.html").write_text(_page(number, shown, following), encoding="utf-8")
    return f"{url}/page-0.html", images


def _bodies(count: int, sizes_bytes: tuple[int, int]) -> Iterator[bytes]:
    chance = random.Random(SEED)
    pool = chance.randbytes(_POOL_BYTES)
    for number in range(count):
        head = _PIXEL + struct.pack(">Q", number)
        length = max(0, chance.randint(*sizes_bytes) - len(head))
        start = chance.randrange(_POOL_BYTES - length)
        yield head + pool[start : start + length]


def _large_file(path: Path, size_bytes: int) -> Facts:
    block = bytearray(random.Random(path.name).randbytes(MIB))
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for start in range(0, size_bytes, MIB):
            block[:8] = struct.pack(">Q", start)
            piece = block[: size_bytes - start]
            stream.write(piece)
            digest.update(piece)
    return Facts(size_bytes, digest.digest())


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_PIXEL = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\x80\x80\x80"))
    + _chunk(b"IEND", b"")
)

_PROSE = "morning light over the harbour with boats that wait for wind and a dog asleep on warm stone"


def _page(number: int, images: list[str], following: str | None) -> str:
    """About 10 kB of what pages are made of."""
    chance = random.Random(number)
    figures = "\n".join(
        f'<figure class="card"><a href="images/{name}"><img src="images/{name}" alt="{name}"></a>'
        f"<figcaption>{_text(chance, 80)}</figcaption></figure>"
        for name in images
    )
    link = f'<nav class="pager"><a rel="next" href="{following}">next</a></nav>' if following else ""
    prose = "\n".join(f"<p>{_text(chance, 60)}</p>" for _ in range(8))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Gallery {number}</title></head>'
        f"<body><main>{figures}\n{prose}</main>{link}</body></html>"
    )


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(_PROSE.split(), k=words))

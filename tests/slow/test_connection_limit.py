"""Promise to a server: never more connections to it than were allowed, counted there, idle ones included.

In full, 100 runs: lists, galleries and large files, in threads and worker processes, with helpers, over both
transports, of an origin whose connections break.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from crawling import run
from drawing import FULL, chance_for, drawn
from origin import (
    Origin,
    Pattern,
    chunked,
    drop_after,
    header,
    limit_per_connection,
    redirect,
    reset_on_connect,
    status,
)

if TYPE_CHECKING:
    import random
    from pathlib import Path

pytestmark = pytest.mark.slow

SMALL = 150  # more than threads take before there are worker processes
LARGE = 12
LARGE_BYTES = 6_000_000


def breaking(chance: random.Random, size: int, elsewhere: str) -> list[object]:
    """What goes wrong once with a file, if anything."""
    often = [[]] * 10
    return chance.choice(
        [
            *often,
            [drop_after(size // 2)],
            [reset_on_connect()],
            [status(500)],
            [status(404, body=b"<h1>Not here</h1>" * 2000)],
            [header("Connection", "close")],
            [chunked()],
            [redirect(elsewhere)],
        ]
    )


def small_ones(origin: Origin, chance: random.Random) -> list[str]:
    return [
        origin.add(
            f"/{number}.png",
            Pattern(3000 + number, number),
            content_type="image/png",
            faults=breaking(chance, 3000, f"/{(number + 1) % SMALL}.png"),
            delay_s=0.005,
        )
        for number in range(SMALL)
    ]


def large_ones(origin: Origin, chance: random.Random) -> list[str]:
    """Each needs helpers."""
    return [
        origin.add(
            f"/{number}.mp4",
            Pattern(LARGE_BYTES, number),
            content_type="video/mp4",
            faults=[
                limit_per_connection(20_000_000),
                *chance.choice([[], [], [drop_after(chance.randrange(LARGE_BYTES))], [reset_on_connect()]]),
            ],
        )
        for number in range(LARGE)
    ]


def of_a_list(origin: Origin, chance: random.Random, folder: Path) -> list[str]:
    (folder / "list").write_text("\n".join(small_ones(origin, chance)))
    return ["crawl", "urllist", "-a", "file=list"]


def of_get(origin: Origin, chance: random.Random, folder: Path) -> list[str]:
    (folder / "list").write_text("\n".join(small_ones(origin, chance)))
    return ["get", "-i", "list"]


def of_large_files(origin: Origin, chance: random.Random, folder: Path) -> list[str]:
    (folder / "list").write_text("\n".join(large_ones(origin, chance)))
    return ["get", "-i", "list"]


def of_large_files_in_a_crawl(origin: Origin, chance: random.Random, folder: Path) -> list[str]:
    (folder / "list").write_text("\n".join(large_ones(origin, chance) + small_ones(origin, chance)))
    return ["crawl", "urllist", "-a", "file=list"]


def of_a_gallery(origin: Origin, chance: random.Random, _folder: Path) -> list[str]:
    small_ones(origin, chance)
    pages, each = 15, SMALL // 15
    for page in range(pages):
        images = "".join(f'<img src="/{number}.png">' for number in range(page * each, (page + 1) * each))
        following = f'<a rel="next" href="/p{page + 1}">next</a>' if page + 1 < pages else ""
        origin.page(f"/p{page}", images + following)
    return ["crawl", "site", "-a", f"url={origin.url('/p0')}"]


KINDS = [of_a_list, of_get, of_a_gallery, of_large_files, of_large_files_in_a_crawl]
CELLS = [
    pytest.param(kind, limit, transport, turn, id=f"{kind.__name__}-{limit}-{transport}-{turn}")
    for kind, limit, transport, turn in product(KINDS, (1, 2, 4, 7), ("requests", "curl"), range(3 if FULL else 1))
]


@pytest.mark.parametrize(("kind", "limit", "transport", "turn"), drawn(CELLS, 15, "connections"))
def test_it_is_never_passed(kind, limit, transport, turn, tmp_path):
    with Origin() as origin:
        words = kind(origin, chance_for(f"{kind.__name__}-{limit}-{transport}-{turn}"), tmp_path)
        done = run(
            tmp_path,
            *words,
            settings={
                "CONCURRENT_REQUESTS_PER_DOMAIN": limit,
                "MEDIACRAWL_TRANSPORT": transport,
                "MEDIACRAWL_SEGMENT_MIN_BYTES": 2_000_000,
                "MEDIACRAWL_SEGMENT_PROBE_S": 0.05,
                "MEDIACRAWL_CONNECTIONS_PER_FILE": 4,
                "ROBOTSTXT_OBEY": False,
            },
        )
        print(f"at most {origin.peak_open} of {limit} open at one time, {origin.connections} in all")
        assert 1 <= origin.peak_open <= limit, str(done)
        assert done.status in {0, 1}, str(done)  # a 404 fails its file


@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize("connections", [1, 2, 4, 16])
def test_nor_by_the_connections_of_one_file(connections, transport, tmp_path):
    with Origin() as origin:
        chance = chance_for(f"{connections}-{transport}")
        body = Pattern(24_000_000, 1)
        url = origin.add(
            "/a.mp4",
            body,
            content_type="video/mp4",
            faults=[
                limit_per_connection(12_000_000),
                *(drop_after(chance.randrange(24_000_000)) for _ in range(3)),
                *(reset_on_connect() for _ in range(2)),
            ],
        )
        settings = {"MEDIACRAWL_TRANSPORT": transport, "MEDIACRAWL_SEGMENT_MIN_BYTES": 2_000_000}
        settings |= {"MEDIACRAWL_SEGMENT_PROBE_S": 0.05}
        done = run(tmp_path, "get", "-n", str(connections), url, settings=settings)
        print(f"at most {origin.peak_open} of {connections} open at one time, {origin.connections} in all")
        assert (done.status, list(done.store.values())) == (0, [body.sha256()]), str(done)
        assert origin.peak_open <= connections

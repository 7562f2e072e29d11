"""The work, and who does it. One function for each group that `--only` can name."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchmarks import data, peers
from benchmarks.data import MIB, Wanted
from benchmarks.server import LIMIT_BYTES_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.peers import Contender, Tools
    from benchmarks.server import Nginx
    from mediacrawl.ledger.base import Entry

_PICTURE_BYTES = (10 * 1024, 30 * 1024)
_TINY_BYTES = (100, 200)
NOTHING = Wanted((), {})
ONE_FILE = "1 file"
ONE_LINE = "mediacrawl, list of one line"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    single_bytes: int = 2048 * MIB
    small: int = 10_000
    many: int = 100_000
    limited_bytes: tuple[int, ...] = (100 * MIB, 1024 * MIB)
    segments: tuple[int, ...] = (1, 4, 8, 16)
    forty: int = 40
    forty_bytes: int = 8 * MIB
    second: tuple[int, int] = (10_000, 200_000)
    pages: int = 500
    images_per_page: int = 10
    cost_files: tuple[int, ...] = (1_000, 10_000, 100_000)
    ledger_rows: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    ledger_new: int = 1_000


FULL = Sizes()
SMALL = Sizes(
    single_bytes=32 * MIB,
    small=200,
    many=400,
    limited_bytes=(4 * MIB, 8 * MIB),
    segments=(1, 16),
    forty=4,
    forty_bytes=MIB,
    second=(100, 1_000),
    pages=5,
    cost_files=(50, 100, 400),
    ledger_rows=(100, 1_000, 10_000),
    ledger_new=50,
)


@dataclass(frozen=True, slots=True)
class Workload:
    """One table.

    Attributes:
        name: key of the results.
        title: heading of the table.
        unit: what the rate counts, `files` or `bytes`; empty: no rate.
        ideal_s: what the limit of each connection would allow, by contender.
        limited: whether each connection is, so that their number matters.
        compare: whether the table sets ours against the others.
        warm_round: whether one round comes first, uncounted; what lasts long, or waits for the server, needs none.
        empty_memory: whether what earlier workloads left on a tmpfs goes first. The system lets less wait for a disk
            the more memory is taken: 2 GiB were slowed down half-way by 13 GiB of small files that lay in memory.
        timeout_s: what takes longer is killed, and has no time.
        missing: why it cannot be done here, if so.
    """

    name: str
    title: str
    contenders: list[Contender]
    wanted: Wanted = NOTHING
    unit: str = "files"
    ideal_s: dict[str, float] = field(default_factory=dict)
    limited: bool = False
    compare: bool = True
    warm_round: bool = True
    empty_memory: bool = False
    timeout_s: float = 1800.0
    missing: str | None = None


class Served:
    """The files that nginx serves, made when they are first wanted."""

    def __init__(self, folder: Path, server: Nginx) -> None:
        self.folder = folder
        self.server = server
        self._trees: dict[str, Wanted] = {}

    def small(self, count: int, kind: str = "small", sizes_bytes: tuple[int, int] = _PICTURE_BYTES) -> Wanted:
        """That many pictures of 10 to 30 KiB; always the same ones."""
        for name, tree in self._trees.items():
            if name.startswith(kind) and len(tree.urls) >= count:
                return tree.part(0, count)
        name = f"{kind}-{count}"
        tree = data.small_files(self.folder / name, f"{self.server.url}/{name}", count, sizes_bytes)
        self._trees[name] = tree
        return tree

    def tiny(self, count: int) -> Wanted:
        """That many files of 100 to 200 bytes."""
        return self.small(count, "tiny", _TINY_BYTES)

    def large(self, count: int, size_bytes: int, *, limited: bool = False) -> Wanted:
        """That many files of that size; `limited`: each connection gets `LIMIT_BYTES_PER_S`."""
        name = f"large-{count}-{size_bytes}"
        if not (self.folder / name).exists():
            self._trees[name] = data.large_files(self.folder / name, "", count, size_bytes)
        base = self.server.limited_url if limited else self.server.url
        files = self._trees[name].files
        return Wanted(tuple(f"{base}/{name}/{file}" for file in files), files)

    def over_tls(self, wanted: Wanted) -> Wanted:
        """Give the same files their URLs at the server's TLS port."""
        paths = (url.removeprefix(self.server.url) for url in wanted.urls)
        return Wanted(tuple(f"{self.server.tls_url}{path}" for path in paths), wanted.files)

    def site(self, pages: int, images_per_page: int) -> tuple[str, Wanted]:
        """The first page of a gallery, and its images."""
        return data.site(self.folder / "site", f"{self.server.url}/site", pages, images_per_page, _PICTURE_BYTES)

    def drop_large(self) -> None:
        """Give back the memory of large files."""
        for name in [name for name in self._trees if name.startswith("large")]:
            del self._trees[name]
            shutil.rmtree(self.folder / name)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a group is made of."""

    served: Served
    sizes: Sizes
    tools: Tools

    def tls_tools(self) -> Tools:
        """Let the programs trust the certificate of the server."""
        return replace(self.tools, trusted=self.served.server.certificate)

    def tls_settings(self) -> dict[str, object]:
        """Let ours do so."""
        return {"MEDIACRAWL_VERIFY_TLS": self.served.server.certificate}


def single(scene: Scene) -> list[Workload]:
    """One large file through one connection."""
    title = f"One file of {scene.sizes.single_bytes // MIB:,} MiB, one connection"
    wanted = scene.served.large(1, scene.sizes.single_bytes)
    return [Workload("single", title, _single(scene.tools), wanted, "bytes", empty_memory=True)]


def tls_single(scene: Scene) -> list[Workload]:
    """Bring the same over TLS."""
    title = f"One file of {scene.sizes.single_bytes // MIB:,} MiB, one connection, TLS"
    wanted = scene.served.over_tls(scene.served.large(1, scene.sizes.single_bytes))
    contenders = _single(scene.tls_tools(), **scene.tls_settings())
    missing = scene.served.server.no_tls
    return [Workload("tls-single", title, contenders, wanted, "bytes", empty_memory=True, missing=missing)]


def _single(tools: Tools, **settings: object) -> list[Contender]:
    return [
        peers.curl_null(tools),
        peers.curl_file(tools),
        peers.wget2_one(tools),
        peers.aria2c_segments(tools, 1, peers.ARIA_ONE),
        peers.ours_get(1, peers.OURS_BARE, MEDIACRAWL_FSYNC=False, MEDIACRAWL_SHA256=False, **settings),
        peers.ours_get(1, **settings),
    ]


def small(scene: Scene) -> list[Workload]:
    """Small files, everybody."""
    contenders = [
        peers.scrapy_list(),
        peers.stock(peers.scrapy_list()),
        peers.gallery_dl(scene.tools),
        peers.img2dataset(scene.tools),
        peers.aria2c_list(scene.tools),
        peers.wget2_list(scene.tools),
        peers.curl_list(scene.tools),
        peers.wget_list(scene.tools),
        peers.ours_list(),
        peers.ours_curl_list(),
        peers.ours_get_list(),
    ]
    wanted = scene.served.small(scene.sizes.small)
    return [Workload("small", f"{len(wanted.urls):,} files of 10-30 KiB", contenders, wanted)]


def tls_small(scene: Scene) -> list[Workload]:
    """Bring small files over TLS. Scrapy looks at no certificate unless it is told to."""
    tools, settings = scene.tls_tools(), scene.tls_settings()
    contenders = [
        peers.scrapy_list(),
        peers.aria2c_list(tools),
        peers.wget2_list(tools),
        peers.curl_list(tools),
        peers.ours_list(**settings),
        peers.ours_curl_list(**settings),
        peers.ours_get_list(**settings),
    ]
    wanted = scene.served.over_tls(scene.served.small(scene.sizes.small))
    title = f"{len(wanted.urls):,} files of 10-30 KiB, TLS"
    return [Workload("tls-small", title, contenders, wanted, missing=scene.served.server.no_tls)]


def many(scene: Scene) -> list[Workload]:
    """Ten times as many, the fast ones."""
    contenders = [
        peers.aria2c_list(scene.tools),
        peers.wget2_list(scene.tools),
        peers.curl_list(scene.tools),
        peers.ours_list(),
        peers.ours_curl_list(),
        peers.ours_get_list(),
    ]
    wanted = scene.served.small(scene.sizes.many)
    title = f"{len(wanted.urls):,} files of 10-30 KiB"
    return [Workload("many", title, contenders, wanted, warm_round=False)]


def limit(scene: Scene) -> list[Workload]:
    """One file from a server that limits each connection. The large one only with the most segments: it lasts."""
    first, *larger = scene.sizes.limited_bytes
    workloads = [_limited(scene.served, scene.tools, first, segments) for segments in scene.sizes.segments]
    return workloads + [
        _limited(scene.served, scene.tools, size_bytes, scene.sizes.segments[-1]) for size_bytes in larger
    ]


def _limited(served: Served, tools: Tools, size_bytes: int, segments: int) -> Workload:
    contenders = [
        peers.aria2c_segments(tools, segments),
        peers.axel(tools, segments),
        peers.ours_get(segments),
    ]
    return Workload(
        f"limit-{size_bytes // MIB}-{segments}",
        f"{size_bytes // MIB:,} MiB, each connection limited to 10 MiB/s, {segments} connections",
        contenders,
        served.large(1, size_bytes, limited=True),
        "bytes",
        {contender.name: size_bytes / (segments * LIMIT_BYTES_PER_S) for contender in contenders},
        limited=True,
        warm_round=False,
    )


def forty(scene: Scene) -> list[Workload]:
    """Several large files with that limit. Who may open more connections gets more: so 16, 32 and 64, each beside
    peers with as many.
    """
    each: dict[str, object] = {"MEDIACRAWL_SEGMENT_PROBE_S": 0, "MEDIACRAWL_SEGMENT_MIN_BYTES": 2 * MIB}
    contenders = [
        peers.scrapy_list(16, peers.SCRAPY_16),
        peers.scrapy_list(),
        peers.wget2_list(scene.tools),
        peers.aria2c_list(scene.tools, "-x4", name=peers.ARIA_FORTY),
        peers.aria2c_list(scene.tools, "-x4", "-s4", "-k1M", name=peers.ARIA_64),
        peers.ours_list(connections=16),
        peers.ours_list(peers.OURS_32, 32, CONCURRENT_REQUESTS=32, MEDIACRAWL_CONCURRENT_TRANSFERS=32),
        peers.ours_list(peers.OURS_FOUR_EACH, 16, **each),
        peers.ours_list(peers.OURS_64, 64, **each),
        peers.ours_get_list(peers.OURS_GET_FOUR_EACH, 16, **each),
        peers.ours_get_list(peers.OURS_GET_64, 64, **each),
    ]
    title = f"{scene.sizes.forty} files of {scene.sizes.forty_bytes // MIB} MiB, each connection limited to 10 MiB/s"
    wanted = scene.served.large(scene.sizes.forty, scene.sizes.forty_bytes, limited=True)
    return [Workload("forty", title, contenders, wanted, "bytes", limited=True)]


def second(scene: Scene) -> list[Workload]:
    """Everything is there already. The list of one line, in the same store, is what the start alone costs."""
    few, lots = scene.sizes.second
    few_wanted, lots_wanted = scene.served.small(few), scene.served.tiny(lots)
    contenders = [
        peers.scrapy_list(kept="scrapy"),
        peers.gallery_dl(scene.tools, kept="gallery-dl"),
        peers.aria2c_list(scene.tools, kept="aria2c", name="aria2c -j16 -c"),
        peers.wget2_list(scene.tools, name="wget2 --max-threads=16 -nc", kept="wget2"),
        peers.wget_list(scene.tools, name="wget -nc", kept="wget"),
        *_second_ours(few_wanted),
    ]
    title = "Second run, {:,} finished files"
    return [
        Workload("second-few", title.format(few), contenders, few_wanted),
        Workload("second-lots", title.format(lots), _second_ours(lots_wanted), lots_wanted, compare=False),
    ]


def _second_ours(wanted: Wanted) -> list[Contender]:
    one = wanted.part(0, 1)
    return [peers.ours_list(kept="ours"), peers.ours_list(ONE_LINE, kept="ours", wanted=lambda _: one)]


def site(scene: Scene) -> list[Workload]:
    """Pages with images; once with the XPaths that the peer's spider has, once as a user types it."""
    start_url, images = scene.served.site(scene.sizes.pages, scene.sizes.images_per_page)
    contenders = [
        peers.scrapy_site(start_url),
        peers.scrapy_same_site(start_url),
        peers.stock(peers.scrapy_site(start_url)),
        peers.ours_site(start_url),
        peers.ours_site(start_url, "mediacrawl, given XPaths", media="//figure//img", next='//a[@rel="next"]'),
        peers.ours_in_peer(start_url),
    ]
    title = f"Crawl of {scene.sizes.pages} pages with {len(images.urls):,} images"
    return [Workload("site", title, contenders, images)]


def cost(scene: Scene) -> list[Workload]:
    """Ours alone: does a file cost more when there are many, or when the ledger is long?"""
    counts = (1, *scene.sizes.cost_files)
    by_files = [_cost_of(scene.served, count) for count in counts]
    by_rows = [_cost_beside(scene.served, rows, scene.sizes.ledger_new) for rows in scene.sizes.ledger_rows]
    new = f"{scene.sizes.ledger_new:,} new files of 10-30 KiB"
    return [
        Workload("cost-files", "Cost against work: files of 10-30 KiB", by_files, compare=False, warm_round=False),
        Workload("cost-ledger", f"Cost against work: {new}, rows in the ledger before", by_rows, compare=False),
    ]


def files_label(count: int) -> str:
    """The contender's name for so many files."""
    return ONE_FILE if count == 1 else f"{count:,} files"


def rows_label(rows: int) -> str:
    """The contender's name for a ledger of so many rows."""
    return f"{rows:,} rows"


def _cost_of(served: Served, count: int) -> Contender:
    wanted = served.small(count)
    return peers.ours_list(files_label(count), wanted=lambda _: wanted)


def _cost_beside(served: Served, rows: int, new: int) -> Contender:
    """Each round fetches files that the store has not seen; that makes the ledger a little longer."""
    return peers.ours_list(
        rows_label(rows),
        wanted=lambda turn: served.small(new * (turn + 1)).part(new * turn, new * (turn + 1)),
        kept=f"ledger-{rows}",
        prepare=lambda folder: write_ledger(folder, rows),
    )


def write_ledger(folder: Path, rows: int) -> None:
    """A store whose ledger has that many finished files, in 1,000 folders."""
    from mediacrawl.backends import LEDGER_NAME  # noqa: PLC0415 - only here is our package needed
    from mediacrawl.ledger.sqlite import SqliteLedger  # noqa: PLC0415
    from mediacrawl.store.local import LocalStore  # noqa: PLC0415

    hidden = LocalStore(folder).hidden
    hidden.mkdir(parents=True, exist_ok=True)
    ledger = SqliteLedger(hidden / LEDGER_NAME)
    try:
        for start in range(0, rows, 10_000):
            entries = [_ledger_row(number) for number in range(start, min(rows, start + 10_000))]
            with ledger.transaction():
                for entry in entries:
                    ledger.claim(entry)
                ledger.finish(entries, time.time())
    finally:
        ledger.close()


def _ledger_row(number: int) -> Entry:
    from mediacrawl.ledger.base import Entry  # noqa: PLC0415

    url = f"http://archive.example/{number // 1000:04}/{number:07}.jpg"
    return Entry(
        url,
        url,
        spider="urllist",
        path=f"urllist/archive.example/{number // 1000:04}/{number:07}.jpg",
        size_bytes=20_000,
        sha256=f"{number:064x}",
        validators=f'{{"etag": "\\"{number:x}-4e20\\""}}',
        content_type="image/jpeg",
        http_status=200,
    )


def start(scene: Scene) -> list[Workload]:
    """How long a command takes that does nothing, or next to nothing."""
    contenders = [
        peers.scrapy_start("scrapy version", "version", in_project=False),
        peers.scrapy_start("scrapy version, in the project", "version", in_project=True),
        peers.scrapy_start("scrapy status", "status", in_project=True, ours=True),
        peers.scrapy_start("scrapy get --help", "get", "--help", in_project=True, ours=True),
    ]
    wanted = scene.served.small(1)
    get = [peers.ours_get(None, peers.OURS_GET_NEW), peers.ours_get(None, peers.OURS_GET_THERE, kept="ours")]
    return [
        Workload("start", "Start-up", contenders, unit="", compare=False),
        Workload("start-get", "Start-up of `get`: one small file", get, wanted, unit="", compare=False),
    ]


GROUPS: dict[str, Callable[[Scene], list[Workload]]] = {
    function.__name__.replace("_", "-"): function
    for function in (single, small, many, tls_single, tls_small, limit, forty, second, site, cost, start)
}

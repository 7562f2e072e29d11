"""What must be reached and what is aimed at, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.data import MIB
from benchmarks.results import Key, Results
from benchmarks.workloads import ONE_FILE, ONE_LINE, files_label, rows_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.workloads import Sizes

MUST, AIM = "must", "aim"


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the table of bars.

    Attributes:
        group: of `--only`; bars of groups that did not run are left out.
        kind: `must` or `aim`.
        work: what is done.
        wording: the bar, for a person.
        bound: at least so much, or at most if `at_most`.
        figure: from the results and the name of a file system; None where something has no time.
    """

    group: str
    kind: str
    work: str
    wording: str
    bound: float
    figure: Callable[[Results, str], float | None]
    at_most: bool = False

    def reached(self, value: float | None) -> bool | None:
        """None: nobody knows."""
        if value is None:
            return None
        return value <= self.bound if self.at_most else value >= self.bound


def all_bars(sizes: Sizes) -> list[Bar]:
    """In the order of the workloads."""
    return [
        *_single(),
        *_small(),
        *_limit(sizes),
        *_forty(),
        *_second(sizes),
        *_site(),
        *_cost(sizes),
        *_start(),
    ]


def _speed(workload: str, than: str, ours: str = peers.OURS, figure: str = "wall_s") -> Callable[..., float | None]:
    """How many times as fast as a peer."""
    return lambda results, place: results.times_as_fast(Key(workload, place, ours), than, figure)


def _single() -> Iterator[Bar]:
    def bar(kind: str, bound: float, than: str, ours: str) -> Bar:
        work = "2 GiB, sha256 and fsync off" if ours == peers.OURS_BARE else "2 GiB, sha256 and fsync on"
        return Bar("single", kind, work, f"{bound:g} times {than}", bound, _speed("single", than, ours))

    yield bar(MUST, 0.65, peers.CURL_NULL, peers.OURS_BARE)
    yield bar(MUST, 2, peers.ARIA_ONE, peers.OURS_BARE)
    yield bar(AIM, 0.95, peers.CURL_NULL, peers.OURS_BARE)
    yield bar(AIM, 1, peers.WGET2, peers.OURS_BARE)
    yield bar(MUST, 1, peers.ARIA_ONE, peers.OURS)
    hidden = _speed("single", peers.OURS_BARE)
    yield Bar("single", AIM, "2 GiB, sha256 and fsync on", "both hidden: 0.95 times the run without", 0.95, hidden)


def _small() -> Iterator[Bar]:
    for bound, than in ((3, peers.SCRAPY), (2, peers.IMG2DATASET), (2.5, peers.GALLERY_DL)):
        work = "10,000 small files, ledger and sha256"
        yield Bar("small", MUST, work, f"{bound:g} times {than}", bound, _speed("small", than))
    for kind, than in ((MUST, peers.ARIA_16), (AIM, peers.WGET2_16), (AIM, peers.CURL_16)):
        work = "100,000 small files, fastest transport"
        yield Bar("many", kind, work, f"1 times {than}", 1, _fastest("many", than))


def _fastest(workload: str, than: str) -> Callable[[Results, str], float | None]:
    def figure(results: Results, place: str) -> float | None:
        names = (peers.OURS, peers.OURS_CURL, peers.OURS_GET)
        speeds = [results.times_as_fast(Key(workload, place, ours), than) for ours in names]
        return max((speed for speed in speeds if speed is not None), default=None)

    return figure


def _limit(sizes: Sizes) -> Iterator[Bar]:
    segments = sizes.segments[-1]
    than = peers.ARIA_SEGMENTS.format(n=segments)
    for size_bytes in sizes.limited_bytes:
        workload = f"limit-{size_bytes // MIB}-{segments}"
        for figure, of in (("wall_s", "whole run"), ("window_s", "transfer window")):
            work = f"per-connection limit, {size_bytes // MIB:,} MiB, {segments} segments, {of}"
            yield Bar("limit", MUST, work, f"1 times {than}", 1, _speed(workload, than, figure=figure))
            yield Bar(
                "limit", AIM, work, "0.95 of the ideal", 0.95, _of_ideal(workload, size_bytes, segments, figure)
            )


def _of_ideal(workload: str, size_bytes: int, segments: int, figure: str) -> Callable[[Results, str], float | None]:
    from benchmarks.server import LIMIT_BYTES_PER_S  # noqa: PLC0415

    def share(results: Results, place: str) -> float | None:
        took_s = results.median(Key(workload, place, peers.OURS), figure)
        return size_bytes / (segments * LIMIT_BYTES_PER_S) / took_s if took_s else None

    return share


def _forty() -> Iterator[Bar]:
    work = "40 files of 8 MiB with that limit"
    for kind, than, ours, connections in (
        (MUST, peers.SCRAPY_16, peers.OURS, "16 connections"),
        (MUST, peers.SCRAPY, peers.OURS_32, "32 connections"),
        (MUST, peers.WGET2_16, peers.OURS, "16 connections"),
        (MUST, peers.WGET2_16, peers.OURS_FOUR_EACH, "16 connections, up to 4 for a file at once"),
        (MUST, peers.WGET2_16, peers.OURS_64, "64 connections, up to 4 for a file at once"),
        (MUST, peers.WGET2_16, peers.OURS_GET_FOUR_EACH, "16 connections, up to 4 for a file at once, `get -i`"),
        (AIM, peers.ARIA_FORTY, peers.OURS_FOUR_EACH, "16 connections, up to 4 for a file at once"),
        (AIM, peers.ARIA_FORTY, peers.OURS_GET_FOUR_EACH, "16 connections, up to 4 for a file at once, `get -i`"),
        (AIM, peers.ARIA_64, peers.OURS_64, "64 connections, up to 4 for a file at once"),
        (AIM, peers.ARIA_64, peers.OURS_GET_64, "64 connections, up to 4 for a file at once, `get -i`"),
    ):
        yield Bar("forty", kind, f"{work}, {connections}", f"1 times {than}", 1, _speed("forty", than, ours))


def _second(sizes: Sizes) -> Iterator[Bar]:
    few, lots = sizes.second

    def requests(results: Results, place: str) -> float | None:
        runs = results.right(Key("second-few", place, peers.OURS))
        return max((run.requests for run in runs), default=None)

    def urls_per_s(results: Results, place: str) -> float | None:
        start = Key("second-lots", place, ONE_LINE)
        net_s = results.net_s(Key("second-lots", place, peers.OURS), start)
        return (lots - 1) / net_s if net_s and net_s > 0 else None

    def more_mib(results: Results, place: str) -> float | None:
        memory = [
            results.median(Key(workload, place, peers.OURS), "peak_tree_bytes")
            for workload in ("second-lots", "second-few")
        ]
        return (memory[0] - memory[1]) / MIB if memory[0] is not None and memory[1] is not None else None

    work = f"second run, {few:,} finished"
    yield Bar("second", MUST, work, "no request", 0, requests, at_most=True)
    yield Bar("second", MUST, work, f"3 times {peers.SCRAPY}, whole process", 3, _speed("second-few", peers.SCRAPY))
    work = f"second run, {lots:,} finished"
    yield Bar("second", MUST, work, "20,000 URLs/s after start", 20_000, urls_per_s)
    yield Bar("second", AIM, work, "50,000 URLs/s after start", 50_000, urls_per_s)
    yield Bar("second", MUST, work, f"at most 20 MiB more than {few:,}", 20, more_mib, at_most=True)


def _site() -> Iterator[Bar]:
    work = "500 pages, 5,000 images, `crawl site`"
    for kind, bound in ((MUST, 1.5), (AIM, 3)):
        for than in (peers.SCRAPY_SAME, peers.SCRAPY):
            yield Bar("site", kind, work, f"{bound:g} times {than}", bound, _speed("site", than))


def cost_per_file_s(results: Results, place: str, count: int) -> float | None:
    """Seconds for each file of a run of so many, without what a run of one file takes."""
    start = Key("cost-files", place, ONE_FILE)
    net_s = results.net_s(Key("cost-files", place, files_label(count)), start)
    return net_s / (count - 1) if net_s is not None else None


def cost_beside_s(results: Results, place: str, rows: int, new: int) -> float | None:
    """The same of new files, with so many rows in the ledger before."""
    start = Key("cost-files", place, ONE_FILE)
    net_s = results.net_s(Key("cost-ledger", place, rows_label(rows)), start)
    return net_s / (new - 1) if net_s is not None else None


def _cost(sizes: Sizes) -> Iterator[Bar]:
    files, rows = sizes.cost_files, sizes.ledger_rows

    def by_files(results: Results, place: str) -> float | None:
        return _quotient(*(cost_per_file_s(results, place, count) for count in (files[-1], files[0])))

    def by_rows(results: Results, place: str) -> float | None:
        return _quotient(*(cost_beside_s(results, place, count, sizes.ledger_new) for count in (rows[-1], rows[0])))

    work = f"cost for each file at {files[-1]:,} against {files[0]:,}"
    yield Bar("cost", MUST, work, "within 1.2", 1.2, by_files, at_most=True)
    work = f"cost for each file, ledger of {rows[-1]:,} rows against {rows[0]:,}"
    yield Bar("cost", MUST, work, "within 1.2", 1.2, by_rows, at_most=True)


def _start() -> Iterator[Bar]:
    for command in ("scrapy status", "scrapy get --help"):
        for base in ("scrapy version", "scrapy version, in the project"):
            yield Bar(
                "start", MUST, f"`{command}`", f"within 1.3 of `{base}`", 1.3, _slower(command, base), at_most=True
            )


def _slower(command: str, base: str) -> Callable[[Results, str], float | None]:
    return lambda results, place: _quotient(*(results.median(Key("start", place, name)) for name in (command, base)))


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None

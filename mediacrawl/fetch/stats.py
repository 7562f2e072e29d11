"""What a run did, counted for the summary, the exit status and the progress line."""

from __future__ import annotations

from collections import Counter, OrderedDict

from mediacrawl.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, MediacrawlError

_EXAMPLES = 10
_REASONS = 1000


def size_text(size_bytes: float) -> str:
    """A size for a person, in powers of 1000: `1.5MB`."""
    from tqdm import tqdm  # noqa: PLC0415 - takes as long to import as all of urllib3

    return f"{tqdm.format_sizeof(size_bytes)}B" if size_bytes >= 1000 else f"{size_bytes:.0f}B"


class Recent:
    """The last so many keys: enough to see that many pages show the same logo, in memory that does not grow."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._keys: OrderedDict[int, None] = OrderedDict()

    def add(self, key: str) -> bool:
        """Note a key; False if it was among them."""
        mark = hash(key)
        is_new = mark not in self._keys
        self._keys[mark] = None
        self._keys.move_to_end(mark)
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)
        return is_new


class RunStats:
    """Counts of one run. Memory is bounded: reasons are counted, a few examples kept.

    Attributes:
        wanted: files asked for.
        new, resumed, present: arrived whole; arrived with bytes from before; needed nothing.
        saved_bytes: did not travel again.
        new_bytes: of files that arrived.
        known_failed: of those that failed, those that were not asked for, as they are known to fail for good.
        pages_failed: pages that could not be fetched.
        fatal: why this machine could not go on.
        stopped: the run ended before it was through.
    """

    def __init__(self) -> None:
        self.wanted = 0
        self.new = self.resumed = self.present = self.failed = 0
        self.new_bytes = self.saved_bytes = 0
        self.known_failed = self.pages_failed = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []
        self.fatal: MediacrawlError | None = None
        self.stopped = False

    def stop(self) -> None:
        """Note that the run ends before it is through."""
        self.stopped = True

    def give_up(self, error: MediacrawlError) -> None:
        """Note why this machine cannot go on; the first reason counts."""
        self.fatal = self.fatal or error

    @property
    def settled(self) -> int:
        """Files of which the outcome is known."""
        return self.new + self.resumed + self.present + self.failed

    @property
    def unsettled(self) -> int:
        """Wanted files of which nothing is known. After a run that came to its end there is none, or we are wrong."""
        return max(0, self.wanted - self.settled)

    def count_wanted(self, files: int) -> None:
        """Count files that are asked for; each is counted once more when its outcome is known."""
        self.wanted += files

    def count_present(self, files: int = 1) -> None:
        """Count files that needed nothing."""
        self.present += files

    def count_arrived(self, size_bytes: int, saved_bytes: int) -> None:
        """Count a file that arrived, of which so many bytes were here before."""
        self.resumed += saved_bytes > 0
        self.new += saved_bytes == 0
        self.new_bytes += size_bytes
        self.saved_bytes += saved_bytes

    def count_failure(self, url: str, reason: str, *, known: bool = False) -> None:
        """One file that did not arrive."""
        self.failed += 1
        self.known_failed += known
        self._count_reason(url, reason)

    def count_page_failure(self, url: str, reason: str) -> None:
        """One page that could not be fetched: what it links to is unknown."""
        self.pages_failed += 1
        self._count_reason(url, f"page: {reason}")

    def _count_reason(self, url: str, reason: str) -> None:
        if len(self.reasons) < _REASONS or reason in self.reasons:
            self.reasons[reason] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{url}: {reason}")

    @property
    def exit_status(self) -> int:
        """0 all there, 1 some failed, 3 interrupted, 2 wrong usage, 4 this machine could not go on."""
        if self.fatal is not None:
            return self.fatal.exit_status
        if self.stopped:
            return EXIT_INTERRUPTED
        return EXIT_FAILED if self.failed or self.pages_failed or self.unsettled else EXIT_OK

    def lines(self, again: str, again_permanent: str = "") -> list[str]:
        """The summary for a person, with two commands: `again` goes on or tries again, `again_permanent` asks also
        for what is known to fail for good.
        """
        counts = f"new {self.new}, resumed {self.resumed}, already there {self.present}, failed {self.failed}"
        arrived = f"; {size_text(self.new_bytes)} arrived" if self.new_bytes else ""
        saved = f", {size_text(self.saved_bytes)} of it did not travel again" if self.saved_bytes else ""
        lines = [counts + arrived + saved]
        if self.pages_failed:
            lines.append(f"pages that could not be fetched: {self.pages_failed}")
        if sum(self.reasons.values()) > len(self.examples):
            lines += [f"  {count} x {reason}" for reason, count in self.reasons.most_common(_EXAMPLES)]
            lines.append("  for example:")
        lines += [f"  {example}" for example in self.examples]
        if self.fatal is not None:
            lines.append(f"stopped: {self.fatal}")
        elif self.stopped:
            lines.append(f"interrupted, nothing is lost; go on with: {again}")
        elif self.failed or self.pages_failed or self.unsettled:
            if self.unsettled:
                lines.append(f"files that are neither there nor known to have failed: {self.unsettled}")
            if self.known_failed:
                lines.append(f"ask for what is known to fail for good with: {again_permanent}")
            if self.failed > self.known_failed or self.pages_failed or self.unsettled:
                lines.append(f"try the failed ones again with: {again}")
        return lines

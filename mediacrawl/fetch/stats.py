"""Counts of a run, for the summary, the exit status and the progress line."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from mediacrawl.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, MediacrawlError
from mediacrawl.fetch.site_counts import SiteCounts
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from mediacrawl.fetch.request import FileResult

_EXAMPLES = 10
_REASONS = 1000
FORBIDDEN = "forbidden by robots.txt"  # the reason of what is requested again for nothing


def size_text(size_bytes: float) -> str:
    """Return a size as text for a person, in powers of 1000 and with three digits: `1.50MB`.

    tqdm has the same, but takes as long to import as all of urllib3.
    """
    if size_bytes < 1000:
        return f"{size_bytes:.0f}B"
    size, units = size_bytes / 1000, iter("MGTPE")
    unit = "k"
    while size >= 999.5 and (larger := next(units, "")):
        size, unit = size / 1000, larger
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}{unit}B"


class Recent:
    """The most recent keys: enough to recognise a logo that many pages show, in bounded memory."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._keys: OrderedDict[int, None] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        """Return whether the key is among the recent keys."""
        return hash(key) in self._keys

    @property
    def has_any(self) -> bool:
        """Whether any key has been added."""
        return bool(self._keys)

    def discard(self, key: Hashable) -> None:
        """Remove a key, if it is there."""
        self._keys.pop(hash(key), None)

    def add(self, key: Hashable) -> bool:
        """Add a key. Return False if the key was among the recent keys."""
        mark = hash(key)
        is_new = mark not in self._keys
        self._keys[mark] = None
        self._keys.move_to_end(mark)
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)
        return is_new


class PageStats:
    """Counts of the pages of a crawl that were read, or that were left out on purpose.

    Attributes:
        read: pages in which a spider looked for media.
        media: links to media that these pages have.
        hosts: the hosts of these pages.
        goes_on: whether the crawl goes on with a job, so that earlier runs have read pages as well.
        lack_media: the crawl is complete, and neither these pages nor those of earlier runs of the job have media.
        had_media: the crawl is complete, and only the pages of earlier runs of the job have media.
        forbidden: pages that robots.txt forbids; they are among the failed pages.
    """

    def __init__(self) -> None:
        self.read = self.media = self.forbidden = 0
        self.hosts: set[str] = set()
        self.goes_on = self.lack_media = self.had_media = False
        self._wanted = "media"
        self._left_out: Counter[str] = Counter()  # by reason
        self._examples: dict[str, str] = {}
        self._recent = Recent()
        self._matches: Counter[str] = Counter()  # by argument: links that an XPath of the user has selected

    def want(self, kinds: Iterable[str]) -> None:
        """Note that only these kinds of media are wanted; none of them for all kinds."""
        self._wanted = " or ".join(kinds) or "media"

    def go_on(self) -> None:
        """Note that the crawl goes on with a job."""
        self.goes_on = True

    def count_matches(self, argument: str, links: int) -> None:
        """Count the links that the XPath of an argument has selected on one page."""
        self._matches[argument] += links

    def count_read(self, host: str, media: int) -> None:
        """Count a page that was read, and its links to media."""
        self.read += 1
        self.count_read_in_part(host, media)

    def count_read_in_part(self, host: str, media: int) -> None:
        """Count the links to media of a page that counts as a failure, as its rest is not known."""
        self.media += media
        self.hosts.add(host)

    def count_forbidden(self) -> None:
        """Count a failed page that robots.txt forbids."""
        self.forbidden += 1

    def end(self, *, has_earlier_media: bool) -> None:
        """Note that the crawl is complete, and whether the ledger has media of an earlier run."""
        found_nothing = bool(self.read) and not self.media
        self.lack_media = found_nothing and not has_earlier_media
        self.had_media = found_nothing and has_earlier_media

    def count_left_out(self, url: str, reason: str) -> None:
        """Count a page that a setting, a middleware or the spider leaves out on purpose; each page once.

        Args:
            url: without credentials.
            reason: in a few words.
        """
        if self._recent.add((url, reason)) and (len(self._left_out) < _REASONS or reason in self._left_out):
            self._left_out[reason] += 1
            self._examples.setdefault(reason, url)

    def count_others_left_out(self, pages: int, reason: str) -> None:
        """Count further pages that are left out for a reason which `count_left_out` has counted."""
        if reason in self._left_out:
            self._left_out[reason] += pages

    def lines(self) -> Iterator[str]:
        """Yield the lines of the summary: one for each reason to leave pages out, and what to do without media."""
        if not self.goes_on:
            for argument in sorted(argument for argument, links in self._matches.items() if not links):
                yield f"{argument}: the XPath has selected nothing on any page"
        reasons = self._left_out.most_common()
        for reason, count in reasons[:_EXAMPLES]:
            yield f"pages left out: {count}, {reason}; for example {self._examples[reason]}"
        if others := reasons[_EXAMPLES:]:
            yield f"pages left out for other reasons: {sum(count for _, count in others)}"
        if self.lack_media:
            yield f"no {self._wanted} found on any page"
            yield "  if a browser shows media there: name them with -a media=XPATH, or send the cookies of a login"
            yield "  with -s MEDIACRAWL_COOKIES=cookies.txt; what JavaScript adds to a page cannot be found"
        if self.had_media:
            yield f"no {self._wanted} found in this run, only by earlier runs of the job"


class RunStats:
    """Counts of one run. Memory is bounded: reasons are counted, and a few examples are kept.

    Attributes:
        wanted: wanted files.
        new, resumed, present: files fetched completely in this run; files fetched with bytes of an earlier run; files
            that needed no transfer.
        saved_bytes: bytes that were not transferred again.
        new_bytes: size of the files that were fetched.
        permanent_failed: failed files that the same command does not request again.
        unusable: failed entries for which no command can send a request, such as a line that is no URL.
        passed_over: files that a retry did not want, as their failure is permanent; they are not among the wanted.
        pages_failed: pages that could not be read.
        forbidden: failed files that robots.txt forbids.
        pages: counts of the other pages.
        site: counts that only the crawl of a site has.
        fatal: why this machine could not go on.
        stopped: whether the run ended before it was complete.
    """

    def __init__(self) -> None:
        self.wanted = 0
        self.new = self.resumed = self.present = self.failed = 0
        self.new_bytes = self.saved_bytes = 0
        self.permanent_failed = self.unusable = self.passed_over = self.pages_failed = self.forbidden = 0
        self.pages = PageStats()
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []
        self.hosts: dict[tuple[str, str], str] = {}  # by host and reason: the line of the first file
        self.files_of_hosts: Counter[tuple[str, str]] = Counter()
        self.site = SiteCounts()
        self.fatal: MediacrawlError | None = None
        self.stopped = False

    def stop(self) -> None:
        """Note that the run ends before it is complete."""
        self.stopped = True

    def give_up(self, error: MediacrawlError) -> None:
        """Note why this machine cannot go on; the first reason counts."""
        self.fatal = self.fatal or error

    @property
    def settled(self) -> int:
        """Files with a known outcome."""
        return self.new + self.resumed + self.present + self.failed + self.site.pages

    @property
    def unsettled(self) -> int:
        """Wanted files without a known outcome. After a complete run there is none, unless mediacrawl has a bug."""
        return max(0, self.wanted - self.settled)

    def count_wanted(self, files: int) -> None:
        """Count wanted files. Each file is counted once more when its outcome is known."""
        self.wanted += files

    def count_present(self, files: int = 1) -> None:
        """Count files that needed no transfer."""
        self.present += files

    def count_arrived(self, size_bytes: int, saved_bytes: int) -> None:
        """Count a file that was fetched, of which `saved_bytes` were on the disk before."""
        self.resumed += saved_bytes > 0
        self.new += saved_bytes == 0
        self.new_bytes += size_bytes
        self.saved_bytes += saved_bytes

    def count_failure(
        self, url: str, reason: str, *, permanent: bool = False, unusable: bool = False, host: str | None = None
    ) -> None:
        """Count a file that could not be fetched.

        Args:
            url: without credentials; or the place in a list.
            reason: in a few words.
            permanent: the same command does not request the file again.
            unusable: no command can send a request for it.
            host: host that was given up, so that all its files fail; None if only this file failed.
        """
        self.failed += 1
        self.forbidden += reason.casefold() == FORBIDDEN
        self.permanent_failed += permanent
        self.unusable += unusable
        if host is None or (len(self.hosts) >= _REASONS and (host, reason) not in self.hosts):
            self._count_reason(url, reason)
        else:
            self.hosts.setdefault((host, reason), f"{url}: {reason}")
            self.files_of_hosts[host, reason] += 1

    def count_failed(self, result: FileResult) -> None:
        """Count the result of a file that could not be fetched."""
        self.count_failure(
            result.url,
            result.reason,
            permanent=result.is_permanent_failure,
            unusable=result.is_unusable,
            host=result.host,
        )

    def count_passed_over(self) -> None:
        """Count a file that a retry did not want, as its failure is permanent."""
        self.passed_over += 1

    def count_page_failure(self, url: str, reason: str) -> None:
        """Count a page that could not be read, so that its links are unknown."""
        self.pages_failed += 1
        if reason == FORBIDDEN:
            self.pages.count_forbidden()
        self._count_reason(url, f"page: {reason}")

    def withdraw_page_failure(self, url: str, reason: str) -> None:
        """Forget a page that was read after all; the arguments are those of `count_page_failure`."""
        self.pages_failed -= 1
        self.reasons.subtract([f"page: {reason}"])
        self.reasons = +self.reasons
        if (example := f"{url}: page: {reason}") in self.examples:
            self.examples.remove(example)

    def _count_reason(self, url: str, reason: str) -> None:
        if len(self.reasons) < _REASONS or reason in self.reasons:
            self.reasons[reason] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{url}: {reason}")

    @property
    def exit_status(self) -> int:
        """Exit status: 0 all present, 1 some failed, 2 wrong usage, 3 interrupted, 4 this machine could not go on."""
        if self.fatal is not None:
            return self.fatal.exit_status
        if self.stopped:
            return EXIT_INTERRUPTED
        has_failed = self.failed or self.pages_failed or self.unsettled
        return EXIT_FAILED if has_failed or self.pages.lack_media or self.site.is_login_wall else EXIT_OK

    def _lines_of_hosts(self) -> list[str]:
        """Return a line for each host that was given up; at most `_EXAMPLES`, then a line for all others."""
        failed = self.files_of_hosts.most_common()
        lines = [
            f"  {self.hosts[host, reason]}" if files == 1 else f"  {files} files of {host}: {reason}"
            for (host, reason), files in failed[:_EXAMPLES]
        ]
        if others := failed[_EXAMPLES:]:
            files = sum(files for _, files in others)
            lines.append(f"  {files} files of {len(others)} other hosts that failed")
        return lines

    def lines(self, resume: str, again: str = "", permanent: str = "") -> list[str]:
        """Return the lines of the summary for a person, with visible texts of servers, pages and lists.

        Args:
            resume: command that continues the run.
            again: command that requests failed files again, except permanent failures; `resume` if it is empty.
            permanent: command that requests permanent failures again; `again` if it is empty.
        """
        again = again or resume
        counts = f"new {self.new}, resumed {self.resumed}, already there {self.present}, failed {self.failed}"
        arrived = f"; {size_text(self.new_bytes)} arrived" if self.new_bytes else ""
        saved = f", {size_text(self.saved_bytes)} of it did not travel again" if self.saved_bytes else ""
        pages = f"; pages read: {self.pages.read}" if self.pages.read else ""
        lines = [counts + arrived + saved + pages]
        if self.pages_failed:
            lines.append(f"pages that could not be read: {self.pages_failed}")
        lines += self.site.lines(resume)
        lines += self._lines_of_hosts()
        if sum(self.reasons.values()) > len(self.examples):
            lines += [f"  {count} x {reason}" for reason, count in self.reasons.most_common(_EXAMPLES)]
            lines.append("  for example:")
        lines += [f"  {example}" for example in self.examples]
        lines += self.pages.lines()
        if self.fatal is not None:
            lines.append(f"stopped: {self.fatal}")
        elif self.stopped:
            lines.append(f"interrupted, nothing is lost; go on with: {resume}")
        else:
            lines += self._advice(again, permanent or again)
        return list(map(visible, lines))

    def _advice(self, again: str, permanent: str) -> Iterator[str]:
        """Yield what to do after a complete run. Each command requests again what its line says."""
        if self.unsettled:
            yield f"files that are neither there nor known to have failed: {self.unsettled}"
        if self.passed_over:
            yield f"permanent failures that were not requested: {self.passed_over}"
        pages = self.pages_failed - self.pages.forbidden
        files = self.failed - self.permanent_failed - self.unusable - self.forbidden
        is_again = bool(files > 0 or pages or self.unsettled or self.site.is_login_wall)
        if self.pages.forbidden or self.forbidden:
            yield f"to request what robots.txt forbids: {again} -s ROBOTSTXT_OBEY=False"
        if self.permanent_failed or self.passed_over:
            if permanent != again:
                yield f"to request permanent failures again: {permanent}"
            else:
                is_again = True
        if is_again:
            yield f"try the failed ones again with: {again}"
        elif self.unusable and not self.permanent_failed:
            yield "nothing can be requested for these: correct them first"

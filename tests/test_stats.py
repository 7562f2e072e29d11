import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from mediacrawl.errors import DiskFull, JobInUse, UsageProblem
from mediacrawl.fetch.stats import Recent, RunStats, size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (0.4, "0B"),
        (999, "999B"),
        (1000, "1.00kB"),
        (1_500_000, "1.50MB"),
        (12_345_678, "12.3MB"),
        (123_456_789, "123MB"),
        (5e12, "5.00TB"),
    ],
)
def test_a_size_is_written_for_a_person(size_bytes, text):
    assert size_text(size_bytes) == text


@given(st.floats(1000, 9e20))
def test_a_size_is_written_as_tqdm_writes_it_in_bars(size_bytes):
    assert size_text(size_bytes) == f"{tqdm.format_sizeof(size_bytes)}B"


def report_of(**facts):
    report = RunStats()
    for name, value in facts.items():
        assert hasattr(report, name)
        setattr(report, name, value)
    return report


# Exit status


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (RunStats(), 0),
        (report_of(wanted=3, new=1, resumed=1, present=1), 0),
        (report_of(new=5, failed=1), 1),
        (report_of(new=5, pages_failed=1), 1),
        (report_of(wanted=6, new=5), 1),
        (report_of(wanted=6, new=5, stopped=True), 3),
        (report_of(stopped=True), 3),
        (report_of(failed=1, stopped=True), 3),
        (report_of(fatal=UsageProblem("")), 2),
        (report_of(fatal=DiskFull("")), 4),
        (report_of(fatal=JobInUse(""), stopped=True, failed=1), 4),
    ],
)
def test_the_exit_status_tells_what_to_do(report, status):
    assert report.exit_status == status


def test_a_file_is_settled_whatever_became_of_it():
    assert report_of(wanted=99, new=1, resumed=20, present=300, failed=4000, pages_failed=7).settled == 4321


# Counting


def test_failures_are_counted_by_reason_with_examples():
    report = RunStats()
    for n in range(3):
        report.count_failure(f"http://h/{n}", "HTTP 404")
    report.count_page_failure("http://h/", "HTTP 500")
    assert (report.failed, report.pages_failed) == (3, 1)
    assert dict(report.reasons) == {"HTTP 404": 3, "page: HTTP 500": 1}
    assert report.examples == [
        "http://h/0: HTTP 404",
        "http://h/1: HTTP 404",
        "http://h/2: HTTP 404",
        "http://h/: page: HTTP 500",
    ]


def test_memory_is_bounded_however_much_fails():
    report = RunStats()
    for n in range(5000):
        report.count_failure(f"http://h/{n}", f"reason {n}")
    report.count_failure("http://h/again", "reason 0")
    assert report.failed == 5001
    assert len(report.reasons) == 1000
    assert report.reasons["reason 0"] == 2, "a reason that is known is still counted"
    assert len(report.examples) == 10


def test_the_last_keys_are_remembered_and_no_more():
    recent = Recent(size=3)
    assert [recent.add(key) for key in "abca"] == [True, True, True, False]
    assert recent.add("d"), "drops b, the one that was not seen for longest"
    assert [recent.add(key) for key in "acd"] == [False, False, False]
    assert recent.add("b")
    assert len(recent._keys) == 3


# The summary

AGAIN = "scrapy crawl gallery"


def test_the_summary_of_a_good_run_is_one_line():
    report = report_of(wanted=4, new=1, resumed=2, present=1, new_bytes=5_000_000, saved_bytes=2_000)
    assert report.lines(AGAIN) == [
        "new 1, resumed 2, already there 1, failed 0; 5.00MB arrived, 2.00kB of it did not travel again"
    ]


def test_a_run_that_found_all_there_claims_nothing_else():
    assert report_of(present=7).lines(AGAIN) == ["new 0, resumed 0, already there 7, failed 0"]


def test_the_summary_of_a_failed_run_says_what_failed_why_and_how_to_go_on():
    report = report_of(new=1, new_bytes=10)
    report.count_failure("http://h/a", "HTTP 404 Not Found")
    report.count_page_failure("http://h/", "HTTP 500")
    lines = report.lines(AGAIN)
    assert lines[0] == "new 1, resumed 0, already there 0, failed 1; 10B arrived"
    assert lines[-1] == f"try the failed ones again with: {AGAIN}"
    assert "pages that could not be read: 1" in lines
    assert "  http://h/a: HTTP 404 Not Found" in lines
    assert "  http://h/: page: HTTP 500" in lines


def test_the_summary_says_how_many_files_are_lost_sight_of():
    """There should be none; else status 1 would have no reason that a person can see."""
    lines = report_of(wanted=6, new=4).lines("again")
    assert lines[1:] == [
        "files that are neither there nor known to have failed: 2",
        "try the failed ones again with: again",
    ]


FAILED = {
    "transient": {},
    "permanent": {"permanent": True},
    "unusable": {"unusable": True},
}
AGAIN_LINE, PERMANENT_LINE = "try the failed ones again with: again", "to request permanent failures again: permanent"
UNUSABLE_LINE = "nothing can be requested for these: correct them first"


@pytest.mark.parametrize(
    ("failed", "facts", "advice"),
    [
        (["transient"], {}, [AGAIN_LINE]),
        (["permanent"], {}, [PERMANENT_LINE]),
        (["transient", "permanent"], {}, [PERMANENT_LINE, AGAIN_LINE]),
        (["unusable"], {}, [UNUSABLE_LINE]),
        (["unusable", "transient"], {}, [AGAIN_LINE]),
        (["unusable", "permanent"], {}, [PERMANENT_LINE]),
        (["permanent"], {"pages_failed": 1}, ["pages that could not be read: 1", PERMANENT_LINE, AGAIN_LINE]),
        ([], {"passed_over": 2}, ["permanent failures that were not requested: 2", PERMANENT_LINE]),
        (
            ["transient"],
            {"passed_over": 2},
            ["permanent failures that were not requested: 2", PERMANENT_LINE, AGAIN_LINE],
        ),
        (["transient", "permanent"], {"stopped": True}, ["interrupted, nothing is lost; go on with: resume"]),
    ],
)
def test_each_kind_of_failure_has_its_own_advice(failed, facts, advice):
    report = report_of(**facts)
    for kind in failed:
        report.count_failure("http://h/", kind, **FAILED[kind])
    lines = report.lines("resume", "again", "permanent")[1:]
    assert [line for line in lines if not line.startswith("  ")] == advice


@pytest.mark.parametrize("failed", [["permanent"], ["permanent", "transient"]])
def test_one_command_for_all_is_named_once(failed):
    report = RunStats()
    for kind in failed:
        report.count_failure("http://h/", kind, **FAILED[kind])
    lines = report.lines("resume", "again", "again")[1:]
    assert [line for line in lines if not line.startswith("  ")] == [AGAIN_LINE]


def test_the_summary_of_many_failures_counts_the_reasons_and_shows_a_few():
    report = RunStats()
    for n in range(30):
        report.count_failure(f"http://h/{n}", "HTTP 404" if n % 3 else "HTTP 500")
    lines = report.lines(AGAIN)
    assert lines[1:3] == ["  20 x HTTP 404", "  10 x HTTP 500"]
    assert sum("http://h/" in line for line in lines) == 10


def test_the_summary_stays_short():
    report = RunStats()
    for n in range(500):
        report.count_failure(f"http://h/{n}", f"reason {n}")
    assert len(report.lines(AGAIN)) < 30


@pytest.mark.parametrize(
    ("report", "last"),
    [
        (report_of(stopped=True), f"interrupted, nothing is lost; go on with: {AGAIN}"),
        (report_of(stopped=True, failed=3), f"interrupted, nothing is lost; go on with: {AGAIN}"),
        (report_of(fatal=DiskFull("no space left for /x"), stopped=True), "stopped: no space left for /x"),
    ],
)
def test_the_last_line_says_why_the_run_ended(report, last):
    assert report.lines(AGAIN)[-1] == last


def test_a_host_that_was_given_up_is_named_once():
    report = RunStats()
    for number in range(300):
        report.count_failure(f"http://dead/{number}", "connection refused by dead", host="dead:80")
    report.count_failure("http://gone/1", "no response", host="gone:80")
    report.count_failure("http://h/404", "HTTP 404")
    assert report.lines("again")[1:4] == [
        "  300 files of dead:80: connection refused by dead",
        "  http://gone/1: no response",
        "  http://h/404: HTTP 404",
    ]


def test_of_many_hosts_a_few_are_named_and_the_others_counted():
    report = RunStats()
    for number in range(2500):
        report.count_failure(f"http://h{number % 1250}/", "refused", host=f"h{number % 1250}:80")
    lines = report.lines("again")
    assert lines[1] == "  2 files of h0:80: refused"
    assert lines[11] == "  1980 files of 990 other hosts that failed"
    assert "500 x refused" in lines[12]


def test_a_page_that_was_read_after_all_is_forgotten():
    stats = RunStats()
    for name in ("a", "b"):
        stats.count_page_failure(f"http://h/{name}", "redirected in a circle")
    stats.withdraw_page_failure("http://h/a", "redirected in a circle")
    assert (stats.pages_failed, stats.examples) == (1, ["http://h/b: page: redirected in a circle"])
    stats.withdraw_page_failure("http://h/b", "redirected in a circle")
    assert (stats.exit_status, stats.lines("again")) == (0, RunStats().lines("again"))

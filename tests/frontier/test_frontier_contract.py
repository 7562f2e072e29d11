"""What every frontier must do. A further implementation is one more line in `IMPLEMENTATIONS`."""

from contextlib import suppress

import pytest
from frontiers import add, lease, names

from mediacrawl.backends import open_frontier
from mediacrawl.errors import JobInUse
from mediacrawl.frontier.base import PageKind

IMPLEMENTATIONS = {"sqlite": "sqlite:{folder}/job"}


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())
def opened(request, tmp_path):
    """Opens the frontier of a job; what a test leaves open is closed."""
    frontiers = []

    def opened(owner="gallery", **arguments):
        frontier = open_frontier(request.param.format(folder=tmp_path), owner, **arguments)
        frontiers.append(frontier)
        return frontier

    yield opened
    for frontier in frontiers:
        with suppress(Exception):  # it is closed
            frontier.close(finished=False)


# Order


def test_the_newest_page_comes_first(opened):
    frontier = opened()
    add(frontier, "a", "b", "c")
    assert names(frontier, 1) == ["c"]
    add(frontier, "d")
    assert names(frontier) == ["d", "b", "a"]


def test_breadth_first_the_oldest_page_comes_first(opened):
    frontier = opened(newest_first=False)
    add(frontier, "a", "b", "c")
    assert names(frontier, 1) == ["a"]
    add(frontier, "d")
    assert names(frontier) == ["b", "c", "d"]


def test_the_highest_priority_comes_first(opened):
    frontier = opened()
    for name, priority in {"low": -5, "a": 0, "high": 7, "b": 0, "higher": 8}.items():
        add(frontier, name, priority=priority)
    assert names(frontier) == ["higher", "high", "b", "a", "low"]


@pytest.mark.parametrize(
    ("newest_first", "order"), [(True, ["b", "a", "s1", "s2", "s3"]), (False, ["a", "b", "s1", "s2", "s3"])]
)
def test_start_pages_come_after_the_others_in_the_order_they_were_given(opened, newest_first, order):
    frontier = opened(newest_first=newest_first)
    add(frontier, "s1", "s2", kind=PageKind.START)
    add(frontier, "a")
    add(frontier, "s3", kind=PageKind.START)
    add(frontier, "b")
    assert names(frontier) == order


def test_a_start_page_of_higher_priority_comes_first_all_the_same(opened):
    frontier = opened()
    add(frontier, "a")
    add(frontier, "start", kind=PageKind.START, priority=1)
    assert names(frontier) == ["start", "a"]


@pytest.mark.parametrize("newest_first", [True, False])
def test_the_order_goes_on_in_the_next_run(opened, newest_first):
    frontier = opened(newest_first=newest_first)
    add(frontier, "a", "b")
    frontier.close(finished=False)
    frontier = opened(newest_first=newest_first)
    add(frontier, "c")
    assert names(frontier) == (["c", "b", "a"] if newest_first else ["a", "b", "c"])


# Seen


@pytest.mark.parametrize(
    ("kind", "in_one_run", "in_the_next"),
    [(PageKind.ORDINARY, False, False), (PageKind.AGAIN, True, True), (PageKind.START, True, False)],
)
@pytest.mark.parametrize("through", ["pending", "leased", "done"])
def test_what_counts_as_seen_depends_on_why_a_page_is_wanted(opened, kind, in_one_run, in_the_next, through):
    frontier = opened()
    assert add(frontier, "a", kind=kind) == [True]
    if through != "pending":
        _, ids = lease(frontier)
        frontier.done(ids if through == "done" else [])
    assert add(frontier, "a", kind=kind) == [in_one_run]
    frontier.close(finished=False)
    frontier = opened()
    assert add(frontier, "a", kind=kind) == [in_the_next]


def test_each_kind_is_seen_by_itself(opened):
    frontier = opened()
    assert add(frontier, "a", kind=PageKind.START) == [True]
    assert add(frontier, "a", kind=PageKind.ORDINARY) == [True]
    assert add(frontier, "a", kind=PageKind.AGAIN) == [True]
    assert add(frontier, "a", kind=PageKind.ORDINARY) == [False]
    assert len(frontier) == 3


def test_a_start_page_of_an_unfinished_run_is_not_crawled_twice_by_the_next(opened):
    frontier = opened()
    add(frontier, "start", kind=PageKind.START)
    frontier.close(finished=False)
    frontier = opened()
    assert add(frontier, "start", kind=PageKind.START) == [False]
    assert names(frontier) == ["start"]


# Leases


def test_pages_that_are_leased_or_done_are_not_pending(opened):
    frontier = opened()
    add(frontier, "a", "b", "c")
    assert len(frontier) == 3
    _, ids = lease(frontier, 2)
    assert len(frontier) == 1
    frontier.done(ids)
    assert len(frontier) == 1
    assert names(frontier) == ["a"]
    assert (len(frontier), frontier.lease()) == (0, None)


def test_leased_pages_are_pending_again_in_the_next_run_and_done_ones_are_not(opened):
    frontier = opened()
    add(frontier, "a", "b", "c")
    _, ids = lease(frontier)
    frontier.done(ids[:1])
    frontier.close(finished=False)
    frontier = opened()
    assert len(frontier) == 2
    assert names(frontier) == ["b", "a"]


# Finished and unfinished


@pytest.mark.parametrize(
    ("leave", "finished", "anew"),
    [
        ("nothing", True, True),
        ("nothing", False, False),
        ("pending", True, False),
        ("leased", True, False),
        ("pending", False, False),
    ],
)
def test_only_a_job_that_is_finished_with_nothing_left_begins_anew(opened, leave, finished, anew):
    frontier = opened()
    add(frontier, "a", "b")
    add(frontier, "s", kind=PageKind.START)
    _, ids = lease(frontier, 1 if leave == "pending" else 99)
    frontier.done(ids[: 1 if leave == "leased" else 99])
    frontier.close(finished=finished)
    frontier = opened()
    assert add(frontier, "b") == [anew]
    assert add(frontier, "s", kind=PageKind.START) == [anew]


def test_a_job_that_begins_anew_and_is_interrupted_goes_on(opened):
    opened().close(finished=True)
    frontier = opened()
    add(frontier, "a")
    frontier.close(finished=False)
    assert names(opened()) == ["a"]


# One at a time


def test_a_closed_job_can_be_opened_again(opened):
    for _ in range(3):
        opened().close(finished=False)


def test_a_job_that_is_open_is_refused_and_goes_on(opened):
    frontier = opened()
    add(frontier, "a")
    for _ in range(2):
        with pytest.raises(JobInUse):
            opened()
    assert names(frontier) == ["a"]


def test_a_page_whose_data_are_long_or_empty_comes_back_as_it_was(opened):
    frontier = opened()
    pages = {b"long": bytes(range(256)) * 4000, b"empty": b""}
    for fingerprint, data in pages.items():
        assert frontier.add(fingerprint, data)
    frontier.close(finished=False)
    frontier = opened()
    assert {frontier.lease().data for _ in pages} == set(pages.values())


def test_the_folder_of_another_spider_is_refused_and_left_as_it_is(opened):
    frontier = opened()
    add(frontier, "a")
    frontier.close(finished=False)
    for _ in range(2):
        with pytest.raises(JobInUse, match="belongs to the spider 'gallery', not to 'podcasts'"):
            opened("podcasts")
    assert names(opened()) == ["a"]


def test_the_folder_of_another_spider_is_refused_also_when_its_job_is_finished(opened):
    opened().close(finished=True)
    with pytest.raises(JobInUse, match="belongs to the spider 'gallery'"):
        opened("podcasts")


# Failures


def test_the_failures_of_earlier_runs_are_kept_until_the_page_is_read_or_the_job_ends(opened):
    frontier = opened()
    add(frontier, "a")
    for name in ("a", "b", "c", "d"):
        frontier.note_failure(name.encode(), f"http://h/{name}", "HTTP 500")
    frontier.note_failure(b"d", "http://h/d", "HTTP 404")
    assert frontier.earlier_failures() == []
    frontier.close(finished=False)
    frontier = opened()
    frontier.note_read(b"b")
    frontier.note_failure(b"c", "http://h/c", "HTTP 502")
    assert frontier.earlier_failures() == [("http://h/a", "HTTP 500"), ("http://h/d", "HTTP 404")]
    frontier.done(lease(frontier)[1])
    frontier.close(finished=True)
    assert opened().earlier_failures() == []

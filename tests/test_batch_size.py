"""How many files go together."""

import math

import pytest

from mediacrawl.download.records import Fetched
from mediacrawl.errors import ConnectionLost, HttpStatusError, Interrupted, TransferError
from mediacrawl.fetch.batch_size import BatchSizer


def fetched(took_s):
    return Fetched(None, 200, "http://h/a", took_s=took_s)


def learnt(*took_s):
    pace = BatchSizer()
    for one_s in took_s:
        pace.learn([fetched(one_s)])
    return pace


@pytest.mark.parametrize(
    ("file_s", "waiting", "free", "files"),
    [
        (None, 1000, 16, 1),  # nothing is known
        (0.001, 10, 16, 50),  # a few, and quick: over one connection
        (0.01, 10, 16, 5),
        (0.002, 960, 16, 60),  # to each as many
        (0.01, 960, 16, 25),  # a quarter of a second
        (0.1, 960, 16, 2),
        (3.0, 960, 16, 1),
        (0.00001, 1000, 2, 64),  # what a message holds
        (0.00001, 1, 16, 64),
        (0.01, 960, math.inf, 5),  # as many connections as one likes
    ],
)
def test_a_batch_is_a_fair_share_that_is_worth_it_and_soon_through(file_s, waiting, free, files):
    pace = learnt(file_s) if file_s else learnt()
    assert pace.batch_files(waiting, free) == files


@pytest.mark.parametrize(
    ("took_s", "file_s"),
    [
        ([], 0.0),
        ([0.01], 0.01),
        ([0.01, 0.11], 0.04),
        ([0.01, 60.0], 0.01 + 0.3 * 0.24),  # slow by chance
        ([60.0], 0.25),
    ],
)
def test_a_file_takes_what_the_last_ones_took(took_s, file_s):
    assert learnt(*took_s).file_s == pytest.approx(file_s)


def test_what_had_not_begun_says_nothing():
    pace = learnt(0.02)
    pace.learn([TransferError("http://h/b", "in the way"), None])
    assert pace.file_s == 0.02
    pace.learn([fetched(0.01), TransferError("http://h/b", "in the way"), fetched(0.03)])
    assert pace.file_s == 0.02


def test_what_failed_took_time_too():
    """Else a list of files that are gone would be asked for one by one."""
    error = TransferError("http://h/b", "HTTP 404")
    error.took_s = 0.01
    pace = BatchSizer()
    pace.learn([error])
    assert pace.file_s == 0.01


# Hosts whose connections break

BROKEN = ConnectionLost("http://h/a", "the body ended early")


def test_a_host_that_breaks_off_again_and_again_gets_one_connection():
    pace, seen = BatchSizer(), []
    for _ in range(6):
        seen.append(pace.connections(8))
        pace.learn([BROKEN])
    assert seen == [8, 8, 8, 1, 1, 1]


@pytest.mark.parametrize("answer", [fetched(0.1), HttpStatusError("http://h/a", 404)])
def test_an_answer_of_any_kind_says_that_the_host_is_there(answer):
    pace = BatchSizer()
    pace.learn([BROKEN] * 20)
    pace.learn([answer])
    assert pace.connections(8) == 8


def test_a_stop_says_nothing_of_the_host():
    pace = BatchSizer()
    pace.learn([BROKEN] * 8)
    pace.learn([Interrupted("stopped")])
    assert pace.connections(8) == 1

"""What every ledger must do. A further implementation is one more line in `IMPLEMENTATIONS`."""

import threading

import pytest
from ledgers import CALLS, KEY, LOST_LINK, WANTED, WHOLE, bring_to, row

from mediacrawl.backends import open_ledger
from mediacrawl.errors import StoreNotWritable
from mediacrawl.ledger.base import Entry, State

IMPLEMENTATIONS = {"sqlite": "sqlite:{folder}/ledger.sqlite3"}


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())
def ledger(request, tmp_path):
    ledger = open_ledger(request.param.format(folder=tmp_path))
    yield ledger
    ledger.close()


@pytest.mark.parametrize(
    ("call", "expected"),
    [  # from no row, pending, publishing, done, failed
        ("want", [State.PENDING, State.PENDING, State.PUBLISHING, State.DONE, State.PENDING]),
        ("claim", [State.PUBLISHING, State.PUBLISHING, State.PUBLISHING, State.PUBLISHING, State.PUBLISHING]),
        ("finish", [None, State.DONE, State.DONE, State.DONE, State.DONE]),
        ("settle done", [None, State.DONE, State.DONE, State.DONE, State.DONE]),
        ("settle pending", [None, State.PENDING, State.PENDING, State.PENDING, State.PENDING]),
        ("refresh", [None, State.PENDING, State.PUBLISHING, State.DONE, State.FAILED]),
        ("fail", [State.FAILED, State.FAILED, State.FAILED, State.DONE, State.FAILED]),
        ("lose", [None, State.PENDING, State.PENDING, State.PENDING, State.PENDING]),
        ("damage", [None, State.FAILED, State.FAILED, State.FAILED, State.FAILED]),
        ("forget", [None, None, None, None, None]),
    ],
)
def test_each_call_brings_a_row_from_one_state_to_the_next(ledger, call, expected):
    reached = []
    for state in (None, State.PENDING, State.PUBLISHING, State.DONE, State.FAILED):
        ledger.forget([KEY])
        bring_to(ledger, state)
        CALLS[call](ledger)
        entry = row(ledger)
        reached.append(entry and entry.state)
    assert reached == expected


def test_a_wanted_row_says_where_it_was_found(ledger):
    ledger.record_wanted([WANTED], 1.0)
    assert row(ledger) == WANTED._replace(wanted_at=1.0)


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
def test_a_row_of_a_file_that_is_not_there_has_the_newest_url(ledger, state):
    bring_to(ledger, state)
    ledger.record_wanted([WANTED._replace(url="http://h/a.jpg?token=2")], 2.0)
    assert (row(ledger).url, row(ledger).state, row(ledger).wanted_at) == ("http://h/a.jpg?token=2", "pending", 2.0)
    ledger.record_failure([LOST_LINK._replace(url="http://h/a.jpg?token=3")], 3.0)
    assert row(ledger).url == "http://h/a.jpg?token=3"
    ledger.claim(WHOLE._replace(url="http://h/a.jpg?token=4"))
    assert row(ledger).url == "http://h/a.jpg?token=4"


@pytest.mark.parametrize(
    ("old", "own", "left"),
    [
        (State.FAILED, State.PENDING, {"new": State.PENDING}),
        (State.PENDING, None, {}),
        (State.DONE, State.PENDING, {"new": State.DONE}),
        (State.DONE, None, {"new": State.DONE}),
        (State.DONE, State.DONE, {KEY: State.DONE, "new": State.DONE}),
        (None, State.PENDING, {"new": State.PENDING}),
    ],
)
def test_a_file_has_one_row_once_a_fresh_link_to_it_is_known(ledger, old, own, left):
    fresh = Entry("new", "http://h/a.jpg?token=9", wish='{"filename": "b.jpg"}')
    bring_to(ledger, old)
    if own is not None:
        ledger.record_wanted([fresh], 2.0)
    if own == State.DONE:
        ledger.claim(WHOLE._replace(key="new", path="gallery/h/b.jpg"))
        ledger.finish([fresh], 2.0)
    before = row(ledger)
    ledger.adopt(fresh, [KEY, "unknown"])
    assert {entry.key: entry.state for entry in ledger.entries()} == left
    if left == {"new": State.DONE}:
        assert row(ledger, "new") == before._replace(key="new", url=fresh.url, wish=fresh.wish)


def test_a_finished_row_has_all_facts_of_the_file(ledger):
    ledger.record_wanted([WANTED], 1.0)
    ledger.claim(WHOLE)
    ledger.finish([WHOLE], 2.0)
    assert row(ledger) == WHOLE._replace(state=State.DONE, wanted_at=1.0, finished_at=2.0, checked_at=2.0)


def test_a_file_that_was_published_by_a_run_that_died_has_all_its_facts_too(ledger):
    ledger.claim(WHOLE)
    ledger.settle(KEY, State.DONE, 2.0)
    assert row(ledger) == WHOLE._replace(state=State.DONE, finished_at=2.0, checked_at=2.0)


def test_a_file_that_was_not_published_by_a_run_that_died_has_no_date(ledger):
    ledger.claim(WHOLE)
    ledger.settle(KEY, State.PENDING, 2.0)
    assert row(ledger) == WHOLE._replace(state=State.PENDING)


@pytest.mark.parametrize(("state", "path"), [(State.PENDING, None), (State.DONE, WHOLE.path)])
def test_an_upload_that_was_not_published_holds_no_path(ledger, state, path):
    """Its client may begin anew, under another key."""
    ledger.claim(WHOLE._replace(url=""))
    ledger.settle(KEY, state, 2.0)
    assert row(ledger).path == path
    assert ledger.owner_of(WHOLE.path) == (path and KEY)


def test_an_upload_whose_file_was_lost_keeps_its_path(ledger):
    ledger.claim(WHOLE._replace(url=""))
    ledger.settle(KEY, State.DONE, 2.0)
    ledger.claim(WHOLE._replace(url=""))
    ledger.settle(KEY, State.PENDING, 3.0)
    assert row(ledger).path == WHOLE.path


def test_a_finished_file_that_is_wanted_again_keeps_every_fact(ledger):
    bring_to(ledger, State.DONE)
    before = row(ledger)
    ledger.record_wanted([WANTED._replace(url="http://h/other", page="http://h/2")], 5.0)
    assert row(ledger) == before


def test_a_finished_file_whose_newer_version_fails_keeps_every_fact(ledger):
    bring_to(ledger, State.DONE)
    before = row(ledger)
    ledger.record_failure([LOST_LINK], 5.0)
    assert row(ledger) == before


def test_failures_are_counted_with_the_latest_reason(ledger):
    ledger.record_failure([LOST_LINK], 1.0)
    ledger.record_failure([WANTED._replace(reason="connection refused")], 3.0)
    entry = row(ledger)
    assert (entry.attempts, entry.reason, entry.http_status, entry.permanent) == (
        2,
        "connection refused",
        None,
        False,
    )
    assert (entry.wanted_at, entry.checked_at) == (1.0, 3.0)


def test_success_wipes_out_the_failures_before_it(ledger):
    ledger.record_failure([LOST_LINK], 1.0)
    ledger.claim(WHOLE)
    ledger.finish([WHOLE], 2.0)
    entry = row(ledger)
    assert (entry.attempts, entry.reason, entry.permanent, entry.http_status) == (0, None, False, 200)


def test_an_unchanged_file_was_checked_just_now_and_is_as_old_as_it_was(ledger):
    bring_to(ledger, State.DONE)
    before = row(ledger)
    ledger.record_unchanged([KEY], 9.0)
    assert row(ledger) == before._replace(checked_at=9.0)


def test_a_lost_file_keeps_its_path(ledger):
    bring_to(ledger, State.DONE)
    ledger.mark_missing([KEY])
    assert row(ledger).path == WHOLE.path
    assert ledger.owner_of(WHOLE.path) == KEY


def test_what_is_forgotten_leaves_its_path_to_others(ledger):
    bring_to(ledger, State.DONE)
    ledger.forget([KEY])
    assert ledger.owner_of(WHOLE.path) is None
    ledger.claim(WHOLE._replace(key="other"))
    assert ledger.owner_of(WHOLE.path) == "other"


@pytest.mark.parametrize("same", ["gallery/h/é.jpg", "Gallery/H/É.JPG", "gallery/h/e\u0301.jpg"])
def test_a_path_belongs_to_one_key_also_where_case_and_form_do_not_count(ledger, same):
    ledger.claim(WHOLE._replace(path="gallery/h/é.jpg"))
    assert ledger.owner_of(same) == KEY
    with pytest.raises(StoreNotWritable):
        ledger.claim(WHOLE._replace(key="other", path=same))
    assert row(ledger, "other") is None


def test_a_path_that_nobody_claimed_is_free(ledger):
    bring_to(ledger, State.DONE)
    ledger.record_wanted([Entry("other", "http://h/b.jpg")], 1.0)
    assert ledger.owner_of("gallery/h/b.jpg") is None


def test_a_damaged_file_says_what_is_wrong_keeps_its_path_and_is_asked_for_again(ledger):
    bring_to(ledger, State.DONE)
    ledger.mark_corrupt(KEY, "altered")
    entry = row(ledger)
    assert (entry.reason, entry.permanent, entry.path) == ("altered", False, WHOLE.path)


def test_a_row_is_found_by_its_key_or_its_url_keys_first(ledger):
    ledger.record_wanted([Entry("key", "http://h/1"), Entry("http://h/1", "http://h/2")], 1.0)
    assert ledger.find("unknown", "key").key == "key"
    assert ledger.find("http://h/1").key == "http://h/1"
    assert ledger.find("http://h/2").key == "http://h/1"
    assert ledger.find("http://h/3") is None
    assert ledger.find() is None


def test_strangers_are_the_paths_of_nobody(ledger):
    bring_to(ledger, State.DONE)
    assert ledger.strangers(["b.jpg", WHOLE.path, WHOLE.path.upper(), "a.jpg"]) == ["b.jpg", "a.jpg"]
    assert ledger.strangers([]) == []


def test_any_number_of_keys_is_looked_up(ledger):
    ledger.record_wanted((Entry(f"key {n}", "http://h/") for n in range(1200)), 1.0)
    found = ledger.lookup([f"key {n}" for n in range(-5, 1200)])
    assert set(found) == {f"key {n}" for n in range(1200)}
    assert all(key == entry.key for key, entry in found.items())
    assert ledger.lookup([]) == {}


def test_rows_are_listed_by_key_and_by_state(ledger):
    ledger.record_wanted((Entry(f"{n:04}", "http://h/") for n in range(1100)), 1.0)
    ledger.record_failure([LOST_LINK._replace(key="0500")], 1.0)
    assert [entry.key for entry in ledger.entries()] == [f"{n:04}" for n in range(1100)]
    assert [entry.key for entry in ledger.entries(State.FAILED)] == ["0500"]
    assert len(list(ledger.entries(State.PENDING, State.FAILED))) == 1100
    assert list(ledger.entries(State.PUBLISHING)) == []


def test_rows_of_several_states_come_by_key(ledger):
    ledger.record_wanted((Entry(f"{n:04}", "http://h/") for n in range(1100)), 1.0)
    ledger.record_failure((LOST_LINK._replace(key=f"{n:04}") for n in range(0, 1100, 3)), 1.0)
    rows = list(ledger.entries(State.FAILED, State.PENDING))
    assert [row.key for row in rows] == [f"{n:04}" for n in range(1100)]
    assert {row.state for row in rows[::3]} == {State.FAILED}


def test_a_row_that_changes_its_state_while_they_are_listed_comes_once(ledger):
    ledger.record_failure((LOST_LINK._replace(key=f"{n:04}") for n in range(1100)), 1.0)
    listed = []
    for entry in ledger.entries(State.FAILED, State.PENDING):
        listed.append(entry.key)
        ledger.record_wanted([WANTED._replace(key=entry.key)], 2.0)
        if len(listed) == 10:  # of those that are in hand already
            ledger.record_wanted([WANTED._replace(key="0100")], 2.0)
    assert listed == [f"{n:04}" for n in range(1100)]


def test_rows_may_change_while_they_are_listed(ledger):
    ledger.record_wanted((Entry(f"{n:04}", "http://h/") for n in range(1100)), 1.0)
    seen = 0
    for entry in ledger.entries(State.PENDING):
        ledger.settle(entry.key, State.DONE, 2.0)
        seen += 1
    assert seen == 1100


def test_rows_are_counted_by_state(ledger):
    assert ledger.counts() == {"pending": 0, "publishing": 0, "done": 0, "failed": 0, "bytes": 0}
    for n, state in enumerate([State.PENDING, State.PENDING, State.PUBLISHING, State.DONE, State.DONE, State.FAILED]):
        entry = WHOLE._replace(key=str(n), path=str(n))
        ledger.record_wanted([entry], 1.0)
        if state in {State.PUBLISHING, State.DONE}:
            ledger.claim(entry)
        if state == State.DONE:
            ledger.finish([entry], 1.0)
        if state == State.FAILED:
            ledger.record_failure([entry], 1.0)
    assert ledger.counts() == {"pending": 2, "publishing": 1, "done": 2, "failed": 1, "bytes": 20}


def test_a_transaction_is_all_or_nothing(ledger):
    class Died(BaseException):
        pass

    def die_halfway():
        with ledger.transaction():
            ledger.record_wanted([WANTED], 1.0)
            assert row(ledger) is not None
            raise Died

    with pytest.raises(Died):
        die_halfway()
    assert row(ledger) is None
    bring_to(ledger, State.DONE)
    assert row(ledger).state == State.DONE


def test_rows_of_a_failing_batch_are_not_written(ledger):
    bring_to(ledger, State.DONE)

    def claim_what_is_taken():
        with ledger.transaction():
            ledger.record_wanted([WANTED._replace(key="other")], 1.0)
            ledger.claim(WHOLE._replace(key="other"))

    with pytest.raises(StoreNotWritable, match=r"(?i)unique"):
        claim_what_is_taken()
    assert row(ledger, "other") is None


def test_a_row_can_get_another_key(ledger):
    ledger.record_wanted([WANTED], 1.0)
    before = row(ledger, KEY)
    ledger.change_key(KEY, "other")
    assert row(ledger, KEY) is None
    assert row(ledger, "other") == before._replace(key="other")


def test_finished_rows_are_told_as_far_as_they_are_committed(ledger):
    other = WHOLE._replace(key="http://h/b.jpg", url="http://h/b.jpg", path="b.jpg")
    ledger.record_wanted([WANTED, other], 1.0)
    assert ledger.finished([KEY, other.key, "http://h/c.jpg"]) == {}
    with ledger.transaction():
        ledger.claim(WHOLE)
        assert ledger.finished([KEY]) == {}
    assert ledger.finished([KEY, other.key]) == {KEY: row(ledger, KEY)}
    assert row(ledger, KEY).state == State.PUBLISHING
    ledger.finish([WHOLE], 2.0)
    assert ledger.finished([other.key, KEY]) == {KEY: row(ledger, KEY)}
    assert row(ledger, KEY).state == State.DONE
    ledger.mark_missing([KEY])
    assert ledger.finished([KEY]) == {}


def test_whether_any_of_some_keys_is_known_is_told_as_far_as_it_is_committed(ledger):
    assert not ledger.knows_any([KEY, "http://h/b.jpg"])
    with ledger.transaction():
        ledger.record_wanted([WANTED], 1.0)
        assert not ledger.knows_any([KEY])
    assert ledger.knows_any(["http://h/b.jpg", KEY])
    assert not ledger.knows_any(["http://h/b.jpg"])


def test_what_is_known_or_finished_waits_for_no_transaction_of_another_thread(ledger):
    begun, over = threading.Event(), threading.Event()

    def write():
        with ledger.transaction():
            begun.set()
            over.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait(30)
    assert not ledger.knows_any([KEY])
    assert ledger.finished([KEY]) == {}
    over.set()
    writer.join()


def test_threads_share_one_ledger(ledger):
    def work(name):
        for n in range(50):
            with ledger.transaction():
                ledger.record_wanted([Entry(f"{name} {n}", "http://h/")], 1.0)
                ledger.record_failure([Entry(f"{name} {n}", "http://h/", reason="no")], 1.0)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.counts()["failed"] == 200


def test_a_healthy_file_is_intact(ledger):
    bring_to(ledger, State.DONE)
    assert ledger.is_intact()


def test_rows_are_read_by_the_beginning_of_their_keys(ledger):
    ledger.record_wanted(
        [Entry(key, "http://h") for key in ("upload:a", "upload:a/1", "upload:a/2", "upload:b/1")], 1.0
    )
    ledger.claim(WHOLE._replace(key="upload:a/3"))
    for states in ((), (State.PENDING, State.PUBLISHING), (State.PENDING, State.PUBLISHING, State.DONE)):
        assert [entry.key for entry in ledger.entries(*states, prefix="upload:a/")] == [
            f"upload:a/{number}" for number in (1, 2, 3)
        ]
    assert [entry.key for entry in ledger.entries(State.PENDING, prefix="upload:b/")] == ["upload:b/1"]
    assert list(ledger.entries(prefix="upload:c/")) == []


def test_a_reservation_counts_until_its_file_is_done(ledger):
    entry = Entry("upload:anna/1", "", wish='{"to": "a"}', size_bytes=70)
    ledger.reserve(entry, 1.0)
    ledger.reserve(entry._replace(size_bytes=80, wish='{"to": "b"}'), 2.0)
    ledger.reserve(entry._replace(key="upload:bert/1"), 1.0)
    assert row(ledger, entry.key) == entry._replace(size_bytes=80, wish='{"to": "b"}', wanted_at=1.0)
    assert (ledger.unfinished_total("upload:anna/"), ledger.done_total("upload:anna/")) == ((1, 80), (0, 0))
    assert ledger.unfinished_total("upload:") == (2, 150)
    ledger.claim(WHOLE._replace(key=entry.key, url=""))
    assert ledger.unfinished_total("upload:anna/") == (1, WHOLE.size_bytes)
    ledger.finish([WHOLE._replace(key=entry.key)], 3.0)
    ledger.reserve(entry, 4.0)
    assert row(ledger, entry.key).size_bytes == WHOLE.size_bytes
    assert (ledger.unfinished_total("upload:anna/"), ledger.done_total("upload:anna/")) == ((0, 0), (1, 10))
    ledger.mark_missing([entry.key])
    assert (ledger.unfinished_total("upload:anna/"), ledger.done_total("upload:anna/")) == ((0, 0), (0, 0))

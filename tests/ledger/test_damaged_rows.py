"""A row of the ledger counts as far as it is whole; what is damaged is told, and never ends a run."""

import json
import sqlite3

import pytest

from mediacrawl.errors import StoreNotWritable
from mediacrawl.ledger.base import Entry, State
from mediacrawl.ledger.rows import options_of
from mediacrawl.ledger.sqlite import SqliteLedger

KEY = "http://h/a.jpg"
WHOLE = Entry(KEY, KEY, "http://h/", "get", '{"sha256": "%s"}' % ("a" * 64), State.DONE, "get/h/a.jpg", 5, "a" * 64)
JUNK = (b"\xff\x00", b"", "text", "", 7, -(2**63), 1.5, float("inf"), None)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    ledger = SqliteLedger(path)
    ledger.claim(WHOLE)
    ledger.finish([WHOLE], 1.0)
    ledger.close()
    return path


def change(path, column, value, key=KEY):
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE OR IGNORE files SET {column} = ? WHERE key = ?", (value, key))
    db.close()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "column", [name for name in Entry._fields if name not in ("key", "url", "state", "attempts")]
)
def test_a_column_of_a_wrong_type_counts_as_not_set_and_the_others_count(path, column, read_only, caplog):
    for junk in JUNK:
        change(path, column, junk)
        ledger = SqliteLedger(path, read_only=read_only)
        try:
            (entry,) = ledger.entries()
            found = ledger.lookup([KEY])[KEY]
        finally:
            ledger.close()
        assert entry == found
        assert entry.key == entry.url == KEY
        value = getattr(entry, column)
        assert value is None or isinstance(value, str | int | float)
        if value != junk and column != "permanent" and value is None:
            assert any(f"({column})" in message for message in caplog.messages)
    assert all(str(path) in message for message in caplog.messages)


@pytest.mark.parametrize("column", ["key", "url"])
@pytest.mark.parametrize("junk", [b"\xff", b"", b"http://h/a.jpg"])
def test_a_row_without_key_or_url_counts_as_none_and_its_neighbours_count(path, column, junk):
    ledger = SqliteLedger(path)
    ledger.record_wanted([Entry("http://h/b", "http://h/b")], 1.0)
    ledger._db.execute(f"UPDATE files SET {column} = ? WHERE key = ?", (junk, KEY))
    keys = [entry.key for entry in ledger.entries()]
    assert (keys, ledger.lookup([KEY])) == (["http://h/b"], {})
    if column == "url":
        ledger.record_wanted([WHOLE], 1.0)
        ledger.claim(WHOLE)
        assert ledger.lookup([KEY])[KEY].url == KEY, "the file was fetched anew"
    ledger.close()


@pytest.mark.parametrize(
    "junk", ["/etc/passwd", "../a", "a/../../b", "..", ".mediacrawl/ledger.sqlite3", "a\0b", "", 7, b"a"]
)
def test_a_path_that_leaves_the_store_is_no_path_and_the_file_is_wanted_again(path, junk):
    change(path, "path", junk)
    ledger = SqliteLedger(path)
    entry = ledger.lookup([KEY])[KEY]
    assert (entry.path, entry.state) == ((None, State.PENDING) if junk != 7 else ("7", State.DONE))
    ledger.close()


@pytest.mark.parametrize("junk", ["somewhere", b"done", "", 3])
def test_an_unknown_state_is_that_of_a_file_to_fetch(path, junk):
    change(path, "state", junk)
    ledger = SqliteLedger(path)
    assert ledger.lookup([KEY])[KEY].state == State.PENDING
    ledger.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_text_that_is_not_utf_8_is_read_with_replacement_characters(path, read_only):
    with sqlite3.connect(path) as db:
        db.execute("UPDATE files SET reason = CAST(x'61ff62' AS TEXT), page = CAST(x'fffe' AS TEXT)")
    db.close()
    ledger = SqliteLedger(path, read_only=read_only)
    (entry,) = ledger.entries()
    assert (entry.reason, entry.page) == ("a\ufffdb", "\ufffd\ufffd")
    ledger.close()


def test_a_damaged_row_is_told_once_with_its_file_and_its_key(path, caplog):
    change(path, "size_bytes", "many")
    ledger = SqliteLedger(path)
    for _ in range(3):
        ledger.lookup([KEY])
        list(ledger.entries())
    ledger.close()
    (message,) = caplog.messages
    assert message == f"The ledger {path} is damaged in the row of {KEY!r} (size_bytes): that does not count"


@pytest.mark.parametrize(
    "options",
    [
        *("", "{", "null", "[]", "5", '"a"', "[" * 100_000, '{"a":' * 50_000, "9" * 5_000, "NaN", "\ud800"),
        *('{"filename": 5}', '{"path": ["a"]}', '{"sha256": "short"}', '{"md5": {}}', '{"referer": NaN}'),
        *('{"filename": null}', '{"path": true}', '{"sha256": 1e999}'),
    ],
    ids=lambda options: options[:20],
)
def test_damaged_options_count_as_none_and_are_told_once(options, caplog):
    url = f"http://h/{abs(hash(options))}"
    for _ in range(3):
        assert options_of(Entry("k", url, wish=options)) == {}
    assert len(caplog.messages) == bool(options)
    assert all(url in message for message in caplog.messages)


def test_whole_options_count():
    options = {"filename": "ü.jpg", "sha256": "a" * 64, "path": "a/b", "referer": "http://h/"}
    assert options_of(Entry("k", "u", wish=json.dumps(options))) == options


DAMAGED_FILES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5_000]),
    "no database": lambda path: path.write_bytes(b"none" * 5_000),
    "zeros inside": lambda path: path.write_bytes(path.read_bytes()[:4_096] + bytes(len(path.read_bytes()) - 4_096)),
    "no table": lambda path: _execute(path, "DROP TABLE files"),
    "another table": lambda path: _execute(path, "DROP TABLE files", "CREATE TABLE files (a, b)"),
    "a view": lambda path: _execute(path, "DROP TABLE files", "CREATE VIEW files AS SELECT 1 AS key"),
}


def _execute(path, *statements):
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", DAMAGED_FILES)
def test_a_file_that_is_no_ledger_any_more_is_told_in_one_line_with_what_to_do(path, name, read_only):
    DAMAGED_FILES[name](path)
    with pytest.raises(StoreNotWritable) as caught:  # noqa: PT012 - at the latest when it is used
        ledger = SqliteLedger(path, read_only=read_only)
        try:
            list(ledger.entries())
            ledger.lookup([KEY])
            ledger.record_wanted([WHOLE], 1.0)
        finally:
            ledger.close()
    message = str(caught.value)
    assert message.startswith(f"cannot use the ledger {path}: ")
    assert "restore it from a copy, or move it away to begin a new one: then every file is fetched again" in message
    assert "\n" not in message


@pytest.mark.parametrize("size", [2**63 - 1, -(2**63), 1e308, "text", b"\xff"])
def test_sizes_that_no_file_has_are_not_summed(path, size):
    ledger = SqliteLedger(path)
    others = [Entry(f"k{n}", "http://h/b", None, None, None, State.DONE, f"b{n}", 3) for n in range(3)]
    ledger.claim(*others)
    ledger.finish(others, 1.0)
    for key in (KEY, "k0"):
        change(path, "size_bytes", size, key)
    assert ledger.counts() == {"done": 4, "pending": 0, "publishing": 0, "failed": 0, "bytes": 6}
    ledger.close()

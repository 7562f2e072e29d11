"""Text from outside, as a person is shown it."""

from __future__ import annotations

import inspect
import io
import json
import logging
import os
import sys
import unicodedata
from functools import partial

import pytest
from hostile import FORGED, LINES, STEERING, steering_in
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mediacrawl import errors, visible
from mediacrawl.errors import TransferError, describe_error, disk_error, failure_of
from mediacrawl.fetch.stats import RunStats
from mediacrawl.visible import (
    VisibleRecord,
    escape_json,
    make_log_visible,
    text_of_field,
    visible_json,
    visible_lines,
)

ANY = st.text() | st.text(st.sampled_from([*LINES, "a", "é", "\udc9b", "\U000e0041", "\\"]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "Café",
        "漢字",
        "\u3000\u00a0",
        "👩\u200d👩\u200d👧 ✌️",
        "می\u200cخواهم",
        "\u06dd ١٢",
        "a\\x1b",
        "\ue0b0",
    ],
)
def test_ordinary_text_stays(text):
    assert visible.visible(text) == text
    assert visible_json(text) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\r\nb\tc\0", r"a\r\nb\tc\x00"),
        ("\x9b2J\x7f\x85", r"\x9b2J\x7f\x85"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2028\u2029\u2066\u200e\u061c\ufeff", r"\u2028\u2029\u2066\u200e\u061c\ufeff"),
        ("\udc9b\U000e0041", r"\udc9b\U000e0041"),
        ("é\x1b漢", r"é\x1b漢"),
    ],
)
def test_what_steers_a_terminal_is_an_escape(text, shown):
    assert visible.visible(text) == shown


def test_every_character_of_unicode_is_decided():
    assert steering_in(visible.visible("".join(map(chr, range(sys.maxunicode + 1))))) == []
    kept = [chr(code) for code in range(sys.maxunicode + 1) if visible.visible(chr(code)) == chr(code)]
    assert {unicodedata.category(one) for one in kept} & {"Cc", "Cs", "Zl", "Zp"} == set()


@given(ANY)
@example(STEERING)
def test_any_text_is_one_line_that_steers_nothing_and_stays_so(text):
    shown = visible.visible(text)
    assert steering_in(shown) == []
    assert visible.visible(shown) == shown
    assert len(shown.splitlines()) <= 1
    assert all(line.startswith("    ") for line in visible_lines(text).split("\n")[1:] if line)
    assert steering_in(visible_lines(text), "\n") == []


@given(st.recursive(ANY, lambda some: st.lists(some) | st.dictionaries(ANY, some), max_leaves=5))
def test_json_steers_nothing_and_is_read_as_the_same_value(value):
    assert steering_in(visible_json(value)) == []
    assert json.loads(visible_json(value)) == value
    indented = escape_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert (steering_in(indented, "\n"), json.loads(indented)) == ([], value)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [("Café 漢字".encode(), "Café 漢字"), (b"Caf\xe9", "Café"), (b"OK", "OK"), (b"", ""), (b"\xc2\x9b", "\x9b")],
)
def test_the_text_of_a_field_is_utf_8_where_it_can_be(sent, shown):
    assert text_of_field(sent.decode("latin-1")) == shown


# --- errors -----------------------------------------------------------------------------------------


def kinds(above=errors.MediacrawlError):
    return [above, *(below for kind in above.__subclasses__() for below in kinds(kind))]


def made(kind, text):
    """An error of a class, with a text wherever its constructor takes one."""
    numbers = {"status": 500, "http_status": 500, "retry_after_s": 1.0, "wait_s": 1.0, "is_page": True}
    taken = list(inspect.signature(kind.__init__).parameters)[1:]
    return kind(text) if taken == ["args"] else kind(**{name: numbers.get(name, text) for name in taken})


@settings(deadline=None, max_examples=50)  # many errors in each example
@given(ANY)
@example(LINES)
@example("Caf\u00c3\u00a9 \u00c2\u009b2J")
def test_the_message_of_each_error_steers_nothing(text):
    found = [made(kind, text) for kind in kinds()]
    found += [
        disk_error(OSError(28, text), text),
        disk_error(OSError(13, text), text),
        failure_of(text, OSError(text)),
    ]
    found += [one.of_host(text, text) for one in found if isinstance(one, TransferError)]
    for error in found:
        for shown in (str(error), describe_error(error), getattr(error, "reason", "")):
            assert steering_in(shown) == [], type(error)
    assert len(found) > 30


@given(ANY)
def test_the_error_of_a_project_is_one_line(text):
    assert steering_in(describe_error(ValueError(text))) == []


@given(ANY)
@example(LINES)
def test_the_summary_steers_nothing(text):
    report = RunStats()
    for host in (None, text):
        report.count_failure(text, text, host=host)
    report.count_failure(text, text, host=text)
    report.count_page_failure(text, text)
    report.pages.count_left_out(text, text)
    report.pages.count_matches(text, 0)
    report.site.count_page(text)
    report.give_up(errors.MachineError(text))
    assert [steering_in(line) for line in report.lines("again")] == [[]] * len(report.lines("again"))


# --- logs -------------------------------------------------------------------------------------------


def logged(name, *said, error=None, factory=VisibleRecord):
    """What a handler writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    fault = error and (type(error), error, error.__traceback__)
    handler.handle(factory(name, logging.ERROR, "f", 1, said[0], said[1:], fault))
    return stream.getvalue()


@pytest.mark.parametrize("factory", [logging.LogRecord, partial(logging.LogRecord)])
def test_all_records_of_the_process_are_visible(monkeypatch, factory):
    monkeypatch.setattr(logging, "_logRecordFactory", factory)
    for _ in range(2):
        make_log_visible()
    made = logging.getLogRecordFactory()
    assert steering_in(logged("mediacrawl", LINES, factory=made), "\n") == []
    make_log_visible()
    assert logging.getLogRecordFactory() is made


@pytest.mark.parametrize("name", ["mediacrawl.x", "scrapy.core.engine", "site"])
@pytest.mark.parametrize("said", [(LINES,), ("%s: %s", LINES, LINES), ("%(a)s", {"a": LINES})])
def test_a_log_record_steers_nothing_and_forges_no_line(name, said):
    text = logged(name, *said)
    assert steering_in(text, "\n") == []
    first, *others = text.splitlines()
    assert first.startswith("ERROR: ")
    assert all(line.startswith("    ") for line in others if line)
    assert name != "mediacrawl.x" or not others


def test_a_traceback_steers_nothing_and_forges_no_line():
    def fail():
        raise ValueError(LINES)

    try:
        fail()
    except ValueError as error:
        text = logged("scrapy", "failed", error=error)
    assert steering_in(text, "\n") == []
    assert not any(line.startswith(FORGED) for line in text.splitlines())
    assert "in fail" in text


def test_lines_that_scrapy_writes_stay_lines():
    assert logged("scrapy.crawler", "Overridden settings:\n%(s)s", {"s": "{'A': 1,\n 'B': 2}"}).count("\n") == 3


def test_a_record_whose_arguments_do_not_fit_is_left_to_its_handler(capsys):
    assert logged("scrapy", "%d", "x") == ""
    assert "Logging error" in capsys.readouterr().err


# --- names of files ---------------------------------------------------------------------------------


def test_bytes_of_a_name_are_escapes():
    assert visible.visible(os.fsdecode(b"a\xff\x1b")) == r"a\udcff\x1b"

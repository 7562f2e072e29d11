import errno
import inspect
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl import errors
from mediacrawl.errors import (
    ConnectionLost,
    DiskFull,
    HttpStatusError,
    MediacrawlError,
    StoreNotWritable,
    TransferError,
    disk_error,
    redact_url,
)

# From the drawing in the docstring: name, depth, exit status if it is given there.
DRAWN = [
    (match["name"], len(match["indent"]) // 4, match["exit"])
    for match in re.finditer(
        r"^(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)(?:  .*?(?:exit (?P<exit>\d))?)?$", errors.__doc__, re.MULTILINE
    )
]


def test_the_tree_is_as_it_is_drawn():
    parents, drawn = [], {}
    for name, depth, _ in DRAWN:
        del parents[depth:]
        drawn[name] = parents[-1] if parents else "Exception"
        parents.append(name)
    defined = {
        name: kind.__base__.__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception)
    }
    assert drawn == defined
    assert len(drawn) > 10


@pytest.mark.parametrize(("name", "status"), [(name, int(status)) for name, _, status in DRAWN if status])
def test_the_exit_statuses_are_as_they_are_drawn(name, status):
    kind = getattr(errors, name)
    assert kind.exit_status == status
    assert all(below.exit_status == status for below in kind.__subclasses__())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/a?b#c", "http://h/a?b#c"),
        ("http://user:s3cr3t@h:80/a", "http://h:80/a"),
        ("http://user@h/a", "http://h/a"),
        ("http://us@er:s3@cr3t@h/a", "http://h/a"),
        ("http://h/@a?b=c@d", "http://h/@a?b=c@d"),
        ("ftp://user:s3cr3t@h/a", "ftp://h/a"),
        ("http://user:s3cr3t@[h/a", "http://[h/a"),
        ("http://user:s3cr3t@h/a?", "http://h/a?"),
        ("http://[h/a", "http://[h/a"),
        ("", ""),
        ("no url", "no url"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url, shown):
    assert redact_url(url) == shown


@given(st.text())
def test_any_text_can_be_shown(url):
    assert redact_url(redact_url(url)) == redact_url(url)


@pytest.mark.parametrize(
    "kind",
    [kind for kind in TransferError.__subclasses__() if kind is not HttpStatusError],
    ids=lambda kind: kind.__name__,
)
def test_a_transfer_error_is_one_line_without_credentials(kind):
    error = kind("http://user:s3cr3t@h/a", "broken")
    assert str(error) == "http://h/a: broken"
    assert (error.url, error.reason, error.http_status, error.retry_after_s) == ("http://h/a", "broken", None, None)
    assert not (error.transient and error.permanent)


@pytest.mark.parametrize(
    ("status", "transient", "permanent"),
    [
        (400, False, False),
        (401, False, False),
        (403, False, False),
        (404, False, True),
        (408, True, False),
        (410, False, True),
        (416, False, False),
        (425, True, False),
        (429, True, False),
        (500, True, False),
        (501, False, False),
        (503, True, False),
        (505, False, False),
        (599, True, False),
    ],
)
def test_a_status_says_whether_another_try_is_worth_it(status, transient, permanent):
    error = HttpStatusError("http://h/a", status, "Some Phrase", retry_after_s=7.0)
    assert (error.transient, error.permanent) == (transient, permanent)
    assert str(error) == f"http://h/a: HTTP {status} Some Phrase"
    assert (error.http_status, error.retry_after_s) == (status, 7.0)


def test_a_status_without_a_phrase_has_no_blank_at_its_end():
    assert HttpStatusError("http://h/a", 599).reason == "HTTP 599"


def test_what_one_error_is_does_not_rub_off_on_others():
    HttpStatusError("http://h/a", 503)
    assert not HttpStatusError.transient
    assert ConnectionLost.transient


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (
            errno.ENOSPC,
            DiskFull,
            "no space left for /x: nothing is lost, free some space and run the same command again",
        ),
        (
            errno.EDQUOT,
            DiskFull,
            "no space left for /x: nothing is lost, free some space and run the same command again",
        ),
        (errno.EACCES, StoreNotWritable, "cannot write /x: Permission denied"),
        (errno.EROFS, StoreNotWritable, "cannot write /x: Read-only file system"),
    ],
)
def test_an_error_of_the_disk_is_one_line_for_a_person(number, kind, said):
    error = disk_error(OSError(number, os.strerror(number)), "/x")
    assert type(error) is kind
    assert str(error) == said


def test_an_error_without_words_is_said_all_the_same():
    assert str(disk_error(OSError("odd"), "/x")) == "cannot write /x: odd"


def test_every_error_of_ours_can_be_caught_as_one():
    assert all(issubclass(getattr(errors, name), MediacrawlError) for name, _, _ in DRAWN)

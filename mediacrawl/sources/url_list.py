"""URL lists: one URL per line, CSV or JSON Lines. The first line determines the format; lists are read lazily."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import OrderedDict
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.sources.list_entry import COLUMNS, InvalidEntry, ListEntry, digest_problem, key_problem
from mediacrawl.urls import Origin, as_sent, has_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_DELIMITERS = ",;\t"
_BYTES = "surrogateescape"  # a URL is sent with the bytes of the list
_MOST_KEYS = 10_000


def refuse_unreadable(file: str) -> None:
    """Check that a list can be read, before any file is fetched. A pipe is not opened.

    Raises:
        UsageProblem: the list cannot be read.
    """
    if file != "-" and (Path(file).is_file() or Path(file).is_dir() or not Path(file).exists()):
        with opened_list(file):
            pass


@contextmanager
def opened_list(file: str) -> Iterator[TextIO]:
    """Open a list and yield its text stream; `-` is standard input.

    Raises:
        UsageProblem: the list cannot be read.
    """
    if file == "-":
        if sys.stdin is None:
            raise UsageProblem("list -: standard input is closed")
        with _standard_input() as stream:
            yield stream
        return
    try:
        encoding = "utf-8-sig"
        if Path(file).is_file():  # bytes of a pipe cannot be read twice
            with Path(file).open("rb") as raw:
                encoding = "utf-16" if raw.read(2) in {b"\xff\xfe", b"\xfe\xff"} else encoding
        errors = "replace" if encoding == "utf-16" else _BYTES
        stream = Path(file).open(encoding=encoding, errors=errors, newline="")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageProblem(f"list {file}: cannot be read: {error.strerror}") from None
    with stream:
        yield stream


@contextmanager
def _standard_input() -> Iterator[TextIO]:
    """Open standard input through a separate descriptor.

    A thread that waits for a line holds the lock of its stream, and the interpreter needs the lock of `sys.stdin`
    when it ends.
    """
    try:
        fd = os.dup(sys.stdin.fileno())
    except (OSError, ValueError):  # a substitute without a descriptor
        sys.stdin.reconfigure(encoding="utf-8", errors=_BYTES)  # type: ignore[union-attr]
        yield sys.stdin
        return
    with open(fd, encoding="utf-8-sig", errors=_BYTES) as stream:  # noqa: PTH123 - a descriptor has no path
        yield stream


def read_list(stream: TextIO) -> Iterator[ListEntry | InvalidEntry]:
    """Yield an entry, or the reason why it is invalid, for every line but empty lines and `#` comments.

    Only one line is held in memory, and the last ten thousand of the keys that the list gives.
    """
    names = _KeysOfList()
    yield from (names.checked(row) for row in _read(stream))


def _read(stream: TextIO) -> Iterator[ListEntry | InvalidEntry]:
    lines = enumerate(stream, start=1)
    for number, line in lines:
        text = line.strip().lstrip("\ufeff")
        if not text or text.startswith("#"):
            continue
        if text.startswith("{"):
            yield from _rows(chain([(number, line)], lines), _json_facts)
        elif (header := _header(line.lstrip("\ufeff"))) is not None:
            yield from _csv_rows(number, lines, *header)
        else:
            yield from _rows(chain([(number, line)], lines), lambda text: {"url": text})
        return


class _KeysOfList:
    """The keys that the last lines have given, and for which URL: a key stands for one file."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def checked(self, row: ListEntry | InvalidEntry) -> ListEntry | InvalidEntry:
        """Return the row; if an earlier line has its key with another URL, return why it is invalid."""
        if isinstance(row, InvalidEntry) or row.key is None:
            return row
        url, number = self._lines.setdefault(row.key, (row.url, row.number))
        if url != row.url:
            why = (
                f"the key {row.key[:80]!r} is that of line {number}, which has another URL: only that one is fetched"
            )
            return InvalidEntry(row.number, why)
        if len(self._lines) > _MOST_KEYS:
            self._lines.popitem(last=False)
        return row


def _header(line: str) -> tuple[list[str], str] | None:
    """Return the names of the columns and their delimiter; None if the line is not a header."""
    for delimiter in _DELIMITERS:
        try:
            fields = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            continue
        names = [name.strip().lower() for name in fields]
        if "url" in names and len(set(names) & set(COLUMNS)) == len([n for n in names if n in COLUMNS]):
            return names, delimiter
    return None


def _rows(
    lines: Iterator[tuple[int, str]], facts_of: Callable[[str], dict[str, Any]]
) -> Iterator[ListEntry | InvalidEntry]:
    for number, line in lines:
        text = line.strip().lstrip("\ufeff")
        if not text or text.startswith("#"):
            continue
        try:
            yield _row(number, facts_of(text))
        except ValueError as error:
            yield InvalidEntry(number, str(error))


def _csv_rows(
    last: int, lines: Iterator[tuple[int, str]], names: list[str], delimiter: str
) -> Iterator[ListEntry | InvalidEntry]:
    """Yield an entry for each row of CSV. `last` is the number of the header's line."""

    def texts() -> Iterator[str]:
        nonlocal last
        for number, line in lines:
            last = number
            yield line

    reader = csv.reader(texts(), delimiter=delimiter)
    while True:
        number = last + 1  # a field may hold line breaks
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield InvalidEntry(number, f"not CSV: {error}")
            continue
        if not fields or not any(fields) or fields[0].startswith("#"):
            continue
        try:
            if len(fields) > len(names):
                raise ValueError(f"{len(fields)} fields, the header has {len(names)}")
            yield _row(number, dict(zip(names, fields, strict=False)))
        except ValueError as error:
            yield InvalidEntry(number, str(error))


def _json_facts(text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    except ValueError:  # a limit of Python
        raise ValueError("not usable JSON: it has a number of more than 4300 digits") from None
    if not isinstance(facts, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the line is wrong, not the program
    return facts


def _row(number: int, facts: dict[str, Any]) -> ListEntry:
    """Return the entry of a line. Raise ValueError with the reason if no request could be made from the fields."""
    digests = {name: _text(facts, name) for name in ("sha256", "md5")}
    if problem := digest_problem(digests):
        raise ValueError(problem)
    key = _text(facts, "key")
    if key is not None and (problem := key_problem(key)):
        raise ValueError(problem)
    return ListEntry(
        number,
        _url(facts.get("url") or ""),
        filename=_text(facts, "filename"),
        referer=_referer(_text(facts, "referer")),
        headers=_headers(facts.get("headers")),
        key=key,
        **digests,
    )


def _text(facts: dict[str, Any], name: str) -> str | None:
    value = facts.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")  # noqa: TRY004
    return _complete_text(name, value).strip()


def _complete_text(name: str, text: str) -> str:
    """Return the text, with a replacement character for each byte that is not UTF-8.

    Raise ValueError if the text holds half a character (a lone surrogate). JSON can express a lone surrogate, but no
    request can carry it.
    """
    try:
        return text if text.isascii() else text.encode(errors=_BYTES).decode(errors="replace")
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half a character") from None


def _url(written: Any) -> str:
    """Return the URL of an entry as it is sent, with the bytes that the list has."""
    if not isinstance(written, str):
        raise ValueError("url is not a text")  # noqa: TRY004
    if "\n" in written.strip() or "\r" in written.strip():
        raise ValueError("a line break in the URL: perhaps a quote is not closed")
    if has_controls(written):
        raise ValueError(f"a control character in the URL: {redact_url(_complete_text('url', written))[:200]!r}")
    try:
        url = as_sent(written)
    except UnicodeEncodeError:
        raise ValueError("url holds half a character") from None
    if Origin.of(url) is None:
        raise ValueError(f"not an http, https, ftp or ftps URL: {redact_url(_complete_text('url', written))[:200]!r}")
    return url


def _referer(written: str | None) -> str | None:
    """Return the URL of a page as a Referer has it (RFC 9110 10.1.3): as it is sent, without credentials."""
    if written is None:
        return None
    if has_controls(written) or len(written.splitlines()) > 1:
        raise ValueError("a control character in the referer")
    return as_sent(redact_url(written)) or None


def _headers(value: Any) -> dict[str, str]:
    """Return headers, given as a JSON object of texts or, in CSV, as its JSON text."""
    if value in (None, ""):
        return {}
    if isinstance(value, str):
        try:
            value = _json_facts(value)
        except ValueError as error:
            raise ValueError(f"headers: {error}") from None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("headers is not an object of texts")
    if any("\n" in text or "\r" in text for text in chain.from_iterable(value.items())):
        raise ValueError("headers with a line break")
    return {_complete_text("headers", name): _complete_text("headers", text) for name, text in value.items()}

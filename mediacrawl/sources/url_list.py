"""URL lists: one URL a line, CSV or JSON Lines, told apart by their first line, read lazily."""

from __future__ import annotations

import csv
import json
import os
import sys
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.headers import digest_from_hex
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mediacrawl.headers import Digest

COLUMNS = ("url", "filename", "sha256", "md5", "referer", "headers")
KEPT = ("filename", "sha256", "md5", "referer")  # in the ledger, so that a retry asks for the same
_DELIMITERS = ",;\t"


class ListEntry(NamedTuple):
    """One wanted file of a list. `number` is its line, from 1."""

    number: int
    url: str
    filename: str | None = None
    sha256: str | None = None
    md5: str | None = None
    referer: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def is_plain(self) -> bool:
        """A URL and nothing else."""
        return not (self.filename or self.sha256 or self.md5 or self.referer or self.headers or "@" in self.url)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """What the bytes must hash to."""
        return digests_of(self._asdict())

    @property
    def kept(self) -> str | None:
        """What of it the ledger keeps, as JSON."""
        return kept_of(self._asdict())

    def item(self) -> dict[str, Any]:
        """As the pipeline wants it."""
        facts = {name: value for name in COLUMNS[1:] if (value := getattr(self, name))}
        return {"file_urls": [self.url], **facts}


class InvalidEntry(NamedTuple):
    """A line that cannot be used, and why."""

    number: int
    why: str


def digests_of(facts: Mapping[str, Any]) -> tuple[Digest, ...]:
    """What the bytes must hash to, of what is said about a file by name."""
    found = (digest_from_hex(name, text) for name in ("sha256", "md5") if (text := facts.get(name)))
    return tuple(digest for digest in found if digest is not None)


def kept_of(facts: Mapping[str, Any]) -> str | None:
    """What the ledger keeps of that, as JSON."""
    kept = {name: value for name in KEPT if (value := facts.get(name))}
    return json.dumps(kept) if kept else None


def refuse_unreadable(file: str) -> None:
    """Raises `UsageProblem` for a list that cannot be read, before anything is fetched. A pipe is not touched."""
    if file != "-" and (Path(file).is_file() or Path(file).is_dir() or not Path(file).exists()):
        with opened_list(file):
            pass


@contextmanager
def opened_list(file: str) -> Iterator[TextIO]:
    """The text of a list; `-` is standard input. Raises `UsageProblem` if it cannot be read."""
    if file == "-":
        if sys.stdin is None:
            raise UsageProblem("list -: standard input is closed")
        with _standard_input() as stream:
            yield stream
        return
    try:
        encoding = "utf-8-sig"
        if Path(file).is_file():  # what a pipe has given it does not give again
            with Path(file).open("rb") as raw:
                encoding = "utf-16" if raw.read(2) in {b"\xff\xfe", b"\xfe\xff"} else encoding
        stream = Path(file).open(encoding=encoding, errors="replace", newline="")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageProblem(f"list {file}: cannot be read: {error.strerror}") from None
    with stream:
        yield stream


@contextmanager
def _standard_input() -> Iterator[TextIO]:
    """Through a descriptor of its own: a thread that waits for a line holds a lock, and the end of the interpreter
    wants that of `sys.stdin`.
    """
    try:
        fd = os.dup(sys.stdin.fileno())
    except (OSError, ValueError):  # a stand-in, without a descriptor
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        yield sys.stdin
        return
    with open(fd, encoding="utf-8-sig", errors="replace") as stream:  # noqa: PTH123 - it has no path
        yield stream


def read_list(stream: TextIO) -> Iterator[ListEntry | InvalidEntry]:
    """Every line that is not empty and no `#` comment, as a row or as why it is none. Memory: one line."""
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


def _header(line: str) -> tuple[list[str], str] | None:
    """The names of the columns and what separates them; None for what is no header."""
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
    """`last` is the line of the header."""

    def texts() -> Iterator[str]:
        nonlocal last
        for number, line in lines:
            last = number
            yield line.replace("\0", "")

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
    if not isinstance(facts, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the line is wrong, not the program
    return facts


def _row(number: int, facts: dict[str, Any]) -> ListEntry:
    """Raise ValueError with what is wrong for anything that could not be asked for as it stands."""
    digests = {}
    for name in ("sha256", "md5"):
        if text := _text(facts, name):
            if digest_from_hex(name, text) is None:
                raise ValueError(f"{name} is not a digest in hex: {text[:80]!r}")
            digests[name] = text
    return ListEntry(
        number,
        _url(_text(facts, "url") or ""),
        filename=_text(facts, "filename"),
        referer=_text(facts, "referer"),
        headers=_headers(facts.get("headers")),
        sha256=digests.get("sha256"),
        md5=digests.get("md5"),
    )


def _text(facts: dict[str, Any], name: str) -> str | None:
    value = facts.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")  # noqa: TRY004
    return _whole(name, value).strip()


def _whole(name: str, text: str) -> str:
    """JSON may name half a character (a lone surrogate), which no request can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half a character") from None
    return text


def _url(url: str) -> str:
    if "\ufffd" in url:
        raise ValueError("not UTF-8")
    if Origin.of(url) is None:
        raise ValueError(f"not an http or https URL: {redact_url(url)[:200]!r}")
    return url


def _headers(value: Any) -> dict[str, str]:
    """A JSON object of texts, in CSV as JSON text."""
    if value in (None, ""):
        return {}
    if isinstance(value, str):
        value = _json_facts(value)
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("headers is not an object of texts")
    for text in chain.from_iterable(value.items()):
        if "\n" in _whole("headers", text) or "\r" in text:
            raise ValueError("headers with a line break")
    return value

"""The commands that a summary advises: a person can paste them into a shell, and they do what the summary says."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.config import FILES_STORE, LEDGER, RETRY_PERMANENT_DAYS
from mediacrawl.download.requester import ANY_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mediacrawl.config import Settings

_COMMANDS = "mediacrawl.commands"
_PROGRAMS = ("mediacrawl", "scrapy")
# Settings of a crawl that a retry must not have: its pages, its end, its feeds; and the store, which is added.
_OF_ONE_CRAWL = re.compile(r"FILES_STORE|MEDIACRAWL_LEDGER|MEDIACRAWL_FRONTIER|JOBDIR|CLOSESPIDER_.*|FEEDS?(_.*)?")
# Each begins where a name or a word begins, so that no value is searched from each of its characters.
_SECRET = re.compile(
    r"(?<![^=])(?=[^=]*=)([^=]*(?:PASS|SECRET|TOKEN|KEY|AUTH|COOKIE(?!S=|S_))[^=]*=).*", re.IGNORECASE | re.DOTALL
)
_VALUE = re.compile(r"\A([^=:]*[=:]\s*).*", re.DOTALL)  # of a header or a cookie
_URL_CREDENTIALS = re.compile(r"://[^/?#\s]+@")
_ANY_CREDENTIALS = re.compile(r"(?<!\S)(?=\S*@)(\S*?)://\S+@")
_NO_UTF8 = re.compile("[\udc80-\udcff]")  # bytes, as `surrogateescape` decodes them


class Advice(NamedTuple):
    """Commands to go on with after a run. They contain no credentials.

    Attributes:
        resume: continues a run that was interrupted.
        again: requests again what failed, except permanent failures.
        permanent: requests permanent failures again.
    """

    resume: str
    again: str
    permanent: str


def advice_for_crawl(settings: Settings) -> Advice:
    """Return the commands after the crawl of this process. A list on standard input cannot be read again."""
    line, reads_stdin = command_line(), "file=-" in _program()[1]
    permanent = retry_command(settings, permanent=True)
    if _requests_permanent_failures(settings):
        permanent = line
    return Advice(line, retry_command(settings) if reads_stdin else line, permanent)


def advice_for_get(settings: Settings, lists: str | None) -> Advice:
    """Return the commands after `get`; `lists` is the list that it has read.

    A permanent failure of a URL on the command line is always requested again, so that only those of the list count.
    """
    line = command_line()
    if lists == "-":
        return Advice(line, retry_command(settings), retry_command(settings, permanent=True))
    permanent = line if _requests_permanent_failures(settings) else f"{line} -s {RETRY_PERMANENT_DAYS.name}=0"
    return Advice(line, line, permanent)


def _requests_permanent_failures(settings: Settings) -> bool:
    return RETRY_PERMANENT_DAYS.of(settings) == 0 or "--permanent" in _program()[1]


def command_line() -> str:
    """Return the command line of this process, quoted for a shell, without credentials.

    Bytes of a URL that are not UTF-8 are percent-encoded, as they are sent.
    """
    program, words = _program()
    return shlex.join([*program, *_without_credentials(words)])


def retry_command(settings: Settings, *, permanent: bool = False) -> str:
    """Return the command that requests failed files of the store again, with the settings of this command line."""
    program, words = _program()
    has_retry = settings.get("COMMANDS_MODULE", None) == _COMMANDS
    command = program if has_retry and program and Path(program[-1]).name in _PROGRAMS else ["mediacrawl"]
    store = [f"FILES_STORE={FILES_STORE.of(settings)}"]
    ledger = [f"{LEDGER.name}={LEDGER.of(settings)}"] if LEDGER.of(settings) else []
    chosen = [pair for pair in _settings_in(words) if not _OF_ONE_CRAWL.fullmatch(pair.partition("=")[0])]
    options = _without_credentials(word for pair in (*store, *ledger, *chosen) for word in ("-s", pair))
    return shlex.join([*command, "retry", *(["--permanent"] if permanent else []), *options])


def _settings_in(words: Iterable[str]) -> Iterator[str]:
    """Yield `NAME=VALUE` of each setting on the command line."""
    return (value for option, _, value in _values(words) if option in {"-s", "--set"})


def _without_credentials(words: Iterable[str]) -> list[str]:
    return [before + _masked(option, value) for option, before, value in _values(words)]


def _masked(option: str, value: str) -> str:
    """Replace a credential in the value of an option."""
    if option == "--cookie" or (option == "--header" and value.partition(":")[0].strip().lower() not in ANY_ORIGIN):
        return _VALUE.sub(r"\1***", value)
    if option in {"-s", "--set", "-a"}:
        value = _SECRET.sub(r"\1***", value)
    if option in {"-s", "--set"}:  # a password may contain what ends the authority of a URL
        value = _ANY_CREDENTIALS.sub(r"\1://***@", value)
    value = _URL_CREDENTIALS.sub("://***@", value)
    return _NO_UTF8.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", value) if "://" in value else value


def _values(words: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield for each word its option, the text of the word before the value, and the value.

    `-s X`, `-sX`, `--set X` and `--set=X` all give X to an option.
    """
    previous = ""
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals:
            yield name, name + equals, value
        elif word[:2] in {"-s", "-a"} and word[2:]:
            yield word[:2], word[:2], word[2:]
        else:
            yield previous, "", word
        previous = word


def _program() -> tuple[list[str], list[str]]:
    """Return the program that was started, as a shell finds it, and its arguments."""
    python, *words = sys.orig_argv or [""]
    if words[:1] and words[0].startswith("-"):  # `python -m mediacrawl`, perhaps with options of Python
        end = words.index("-m") + 2 if "-m" in words else 2
        return [_named(python), *words[:end]], words[end:]
    return [_named(word) for word in words[:1]], words[1:]


def _named(program: str) -> str:
    """Return the name of a program that `PATH` finds by its name; otherwise its path."""
    path, name = Path(program), Path(program).name
    return program if path.is_absolute() and path.exists() and shutil.which(name) != program else name

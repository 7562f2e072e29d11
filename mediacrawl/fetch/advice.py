"""The commands that a summary advises: a person can paste them into a shell, and they do what the summary says."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.config import FILES_STORE, LEDGER, RETRY_PERMANENT_DAYS, is_secret
from mediacrawl.download.requester import ANY_ORIGIN
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mediacrawl.config import Settings

_COMMANDS = "mediacrawl.commands"
_PROGRAMS = ("mediacrawl", "scrapy")
# Settings of a crawl that a retry must not have: its pages, its end, its feeds; and the store, which is added.
_OF_ONE_CRAWL = re.compile(r"FILES_STORE|MEDIACRAWL_LEDGER|MEDIACRAWL_FRONTIER|JOBDIR|CLOSESPIDER_.*|FEEDS?(_.*)?")
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
    return _joined([*program, *_without_credentials(words)])


def retry_command(settings: Settings, *, permanent: bool = False) -> str:
    """Return the command that requests failed files of the store again, with the settings of this command line."""
    program, words = _program()
    has_retry = settings.get("COMMANDS_MODULE", None) == _COMMANDS
    command = program if has_retry and program and Path(program[-1]).name in _PROGRAMS else ["mediacrawl"]
    store = [f"FILES_STORE={FILES_STORE.of(settings)}"]
    ledger = [f"{LEDGER.name}={LEDGER.of(settings)}"] if LEDGER.of(settings) else []
    chosen = [pair for pair in _settings_in(words) if not _OF_ONE_CRAWL.fullmatch(pair.partition("=")[0])]
    options = _without_credentials(word for pair in (*store, *ledger, *chosen) for word in ("-s", pair))
    return _joined([*command, "retry", *(["--permanent"] if permanent else []), *options])


def _joined(words: Iterable[str]) -> str:
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """Quote a word for a shell, in one line that steers no terminal.

    A character that would is written as the octal escapes of its bytes in `$'…'` (POSIX.1-2024, bash, zsh). For a
    shell that does not know this form, the word is another one, but still a single word: no quote is within it.
    """
    if visible(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    if visible(character) == character and character not in "'\\":
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _settings_in(words: Iterable[str]) -> Iterator[str]:
    """Yield `NAME=VALUE` of each setting on the command line."""
    return (value for option, _, value in _values(words) if option in {"-s", "--set"})


def _without_credentials(words: Iterable[str]) -> list[str]:
    return [before + _masked(option, value) for option, before, value in _values(words)]


def _masked(option: str, value: str) -> str:
    """Replace a credential in the value of an option."""
    if _is_short_for(option, "--cookie") or (
        _is_short_for(option, "--header") and value.partition(":")[0].strip().lower() not in ANY_ORIGIN
    ):
        return _VALUE.sub(r"\1***", value)
    is_setting = option == "-s" or _is_short_for(option, "--set")
    if is_setting or option == "-a":
        name, equals, value = value.partition("=")
        value = name + equals + ("***" if value and is_secret(name) else value)
    if is_setting:  # a password may contain what ends the authority of a URL
        value = _ANY_CREDENTIALS.sub(r"\1://***@", value)
    value = _URL_CREDENTIALS.sub("://***@", value)
    return _NO_UTF8.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", value) if "://" in value else value


def _is_short_for(option: str, name: str) -> bool:
    """Return whether an option is a beginning of this name: Scrapy's parser accepts an abbreviation."""
    return len(option) > len("--") and name.startswith(option)


def _values(words: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield for each word its option, the text of the word before the value, and the value.

    `-s X`, `-sX`, `-s=X`, `--set X` and `--set=X` all give X to an option.
    """
    previous = ""
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals:
            yield name, name + equals, value
        elif word[:2] in {"-s", "-a"} and word[2:]:
            value = word[2:].removeprefix("=")
            yield word[:2], word.removesuffix(value), value
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

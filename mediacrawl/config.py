"""Every option of mediacrawl, defined once: name, default, parser, unit, and the text of its documentation.

`mediacrawl.settings` takes its defaults from here, the code reads a value with `STALL_S.of(settings)`,
the command line of `get` is built from `GET_ARGUMENTS`, and `python -m mediacrawl.config > docs/settings.md` writes
the documentation.
"""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from mediacrawl.errors import UsageProblem, redact_url
from mediacrawl.version import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping

PREFIX = "MEDIACRAWL_"
# Words in the name of a setting or of a spider argument whose value is a secret, or names hosts with a secret.
_SECRET_NAME = re.compile(
    r"PASS|PWD|SECRET|TOKEN|KEY|AUTH|CREDENTIAL|BEARER|JWT|LOGIN|HEADER|COOKIE(?!S\Z|S_)|SESSION(?!_FACTORY)",
    re.IGNORECASE,
)
_LEAST_PAGE_MEMORY = 64 * 1024**2
DEFAULT_USER_AGENT = f"mediacrawl/{__version__}"
_SCRAPY, _STORE, _TRANSFERS = "Scrapy's settings", "Store and ledger", "Transfers"
_RETRIES, _HTTP, _DISPLAY = "Stalls, retries and pauses", "Connections and security", "What a person sees"
_CRAWLS = "Pages of a site"

T = TypeVar("T")


class Settings(Protocol):
    """Scrapy's settings, or any mapping from names to values. A value from a command line is text."""

    def get(self, name: str, default: Any, /) -> Any:
        """Return the value of a setting."""

    def __iter__(self) -> Iterator[Any]: ...


# --- parsers: from text, or from a value of a settings module, to the value that the code uses ---------------------
# Each raises ValueError with the text that follows the name of the option in an error message.


def number(given: Any) -> float:
    """Parse a finite number of 0 or more."""
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise ValueError("must be a number") from None
    except OverflowError:  # an integer of a settings module
        raise ValueError("must be a finite number") from None
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    if value < 0:
        raise ValueError("must be 0 or more")
    return value


def positive(given: Any) -> float:
    """Parse a finite number of more than 0."""
    value = number(given)
    if value == 0:
        raise ValueError("must be more than 0")
    return value


def integer(given: Any) -> int:
    """Parse an integer of 0 or more.

    As in Scrapy, which uses `int`, text must have no fraction, and the fraction of a float is dropped.
    """
    value = number(given)
    if isinstance(given, float):
        return int(given)
    try:
        if int(given) == value:
            return int(given)
    except ValueError:
        pass
    raise ValueError("must be a whole number")


def positive_integer(given: Any) -> int:
    """Parse an integer of 1 or more; a float between 0 and 1 counts as 1."""
    positive(given)
    return max(1, integer(given))


def switch(given: Any) -> bool:
    """Parse True or False in the forms that Scrapy takes."""
    if given in ("True", "true", "False", "false"):
        return bool(given.lower() == "true")
    try:
        return bool(int(given))
    except (TypeError, ValueError):
        raise ValueError("must be True or False") from None


def page_memory(given: Any) -> int:
    """Parse 0, or a number of bytes in which the process that reads pages can start."""
    value = integer(given)
    if 0 < value < _LEAST_PAGE_MEMORY:
        raise ValueError(f"must be 0, or {_LEAST_PAGE_MEMORY} bytes ({_LEAST_PAGE_MEMORY >> 20} MiB) or more")
    return value


def text(given: Any) -> str:
    """Parse text."""
    return str(given)


def folder(given: Any) -> str:
    """Parse the path or URL of a folder."""
    return os.fspath(given) if isinstance(given, os.PathLike) else str(given)


def certificates(given: Any) -> bool | str:
    """Parse True, False, or the path of a file or folder of certificates."""
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if isinstance(given, str) and given.lower() not in {"true", "false", "1", "0"}:
        if not os.path.exists(given):  # noqa: PTH110 - the text need not be a path
            raise ValueError("must be True, False, or the path of a bundle of certificates: there is no such file")
        return given
    return switch(given)


def dotted_path(given: Any) -> str:
    """Parse the dotted path of a callable, or a callable."""
    return given if isinstance(given, str) else f"{given.__module__}.{given.__qualname__}"


# --- options -------------------------------------------------------------------------------------------------------


class Option(NamedTuple, Generic[T]):
    """One setting.

    Attributes:
        name: the name in the settings of Scrapy.
        default: the default in the settings of this project.
        parse: converts a value; raises ValueError with the rest of a message that begins with the name.
        section: the section of the documentation.
        help: the effect of the setting, for the documentation.
        unit: the unit of the value; empty for text and switches.
        elsewhere: the default in other Scrapy projects, where it differs.
        former_names: earlier names, which are refused with a message that gives the present name.
    """

    name: str
    default: T
    parse: Callable[[Any], T]
    section: str
    help: str
    unit: str = ""
    elsewhere: T | None = None
    former_names: tuple[str, ...] = ()

    def of(self, settings: Settings, name: str | None = None) -> T:
        """Return the value in the settings, or the default if the setting is missing.

        Args:
            settings: the settings of a run.
            name: the name of the setting, if a subclass of a pipeline has its own setting.

        Raises:
            UsageProblem: the value cannot be used. The message names the setting, the value, and the expected value.
        """
        given = settings.get(name or self.name, None)
        if given is None or (given == "" and self.parse in _TEXTS):
            return self.default if self.elsewhere is None else self.elsewhere
        try:
            return self.parse(given)
        except ValueError as error:
            raise UsageProblem(f"{name or self.name}={redact_url(str(given))} {error}") from None


_TEXTS = (text, folder, dotted_path)  # parsers for which empty text means that the setting is not set

FILES_STORE = Option(
    "FILES_STORE",
    "downloads",
    folder,
    _STORE,
    "folder; unfinished files and the ledger are in its hidden `.mediacrawl`",
)
FILES_EXPIRES = Option(
    "FILES_EXPIRES", 90, integer, _STORE, "age at which a finished file is revalidated; 0: in each run", "days, whole"
)
FSYNC = Option(
    "MEDIACRAWL_FSYNC",
    True,
    switch,
    _STORE,
    "False: no fsync of files. That is faster, but a power cut (not a kill) may leave files that are not whole, and "
    "loses partial ones",
    former_names=("MEDIACRAWL_SYNC",),
)
SHA256 = Option(
    "MEDIACRAWL_SHA256",
    True,
    switch,
    _STORE,
    "False: files are not hashed unless a digest is promised; `verify` then looks at sizes only",
)
CHECK_CONTENT = Option(
    "MEDIACRAWL_CHECK_CONTENT",
    True,
    switch,
    _STORE,
    "False: any response is stored; else an error page, a JSON or XML document, plain text or a playlist is a "
    "failure where the name or the `Content-Type` is that of an image, audio or video",
)

LEDGER = Option(
    "MEDIACRAWL_LEDGER",
    "",
    folder,
    _STORE,
    "file of the ledger of this store, a path or `sqlite:PATH`; without it in the store. A ledger on a disk of this "
    "machine for a store on a network file system, say",
)
FRONTIER = Option(
    "MEDIACRAWL_FRONTIER",
    "",
    folder,
    _STORE,
    "folder of the pages of a crawl, a path or `sqlite:PATH`; without it `JOBDIR`",
)

CONCURRENT_TRANSFERS = Option(
    "MEDIACRAWL_CONCURRENT_TRANSFERS",
    16,
    positive_integer,
    _TRANSFERS,
    "the most at a time, over all hosts; a file whose host is late with its answer, or is to be asked again later, "
    "does not count",
    "files",
)
PROCESSES = Option(
    "MEDIACRAWL_PROCESSES",
    2,
    integer,
    _TRANSFERS,
    "worker processes, started once a run has wanted more than 64 files; 0 keeps all in one process",
    "processes",
)
CONNECTIONS_PER_FILE = Option(
    "MEDIACRAWL_CONNECTIONS_PER_FILE",
    4,
    positive_integer,
    _TRANSFERS,
    "the most for one large file; each is opened only while the last one made it faster, and within "
    "`CONCURRENT_REQUESTS_PER_DOMAIN`. With a delay or AutoThrottle it is 1",
    "connections",
)
SEGMENT_MIN_BYTES = Option(
    "MEDIACRAWL_SEGMENT_MIN_BYTES",
    32 * 1024**2,
    integer,
    _TRANSFERS,
    "a further connection is opened only while at least this much of a file is missing",
    "bytes",
    former_names=("MEDIACRAWL_SEGMENT_FROM_BYTES",),
)
SEGMENT_PROBE_S = Option(
    "MEDIACRAWL_SEGMENT_PROBE_S",
    2.0,
    number,
    _TRANSFERS,
    "the speed is measured for so long before each further connection; 0: all at once, for servers that are known "
    "to limit each of them",
    "seconds",
    former_names=("MEDIACRAWL_SEGMENT_AFTER_S",),
)

STALL_S = Option(
    "MEDIACRAWL_STALL_S",
    30.0,
    positive,
    _RETRIES,
    "a transfer that gets fewer than `MEDIACRAWL_STALL_BYTES` in this time reconnects and resumes",
    "seconds",
)
STALL_BYTES = Option("MEDIACRAWL_STALL_BYTES", 1024, integer, _RETRIES, "see `MEDIACRAWL_STALL_S`", "bytes")
RETRY_TIMES = Option(
    "MEDIACRAWL_RETRY_TIMES",
    4,
    integer,
    _RETRIES,
    "after so many in a row without a new byte a file fails for this run; if the failures concern its host, all "
    "files of the host do, see [hosts](hosts.md)",
    "retries",
)
BACKOFF_S = Option(
    "MEDIACRAWL_BACKOFF_S",
    0.5,
    number,
    _RETRIES,
    "the wait before the first retry; it doubles each time, and half of it is random",
    "seconds",
)
BACKOFF_MAX_S = Option(
    "MEDIACRAWL_BACKOFF_MAX_S", 60.0, number, _RETRIES, "the longest wait between two retries", "seconds"
)
RETRY_AFTER_MAX_S = Option(
    "MEDIACRAWL_RETRY_AFTER_MAX_S",
    300.0,
    number,
    _RETRIES,
    "the longest wait that a host may ask for with 429 or 503 and `Retry-After`; no process of the run sends it a "
    "request meanwhile. A host that asks for more is not waited for: after a 503 that one file fails, after a 429 "
    "all files of the host; the next run asks it again",
    "seconds",
)
PAGES_WITHOUT_NEW_MEDIA = Option(
    "MEDIACRAWL_PAGES_WITHOUT_NEW_MEDIA",
    20,
    integer,
    _CRAWLS,
    "pages of a pagination in a row without a medium or a detail page that is new in this run, after which the next "
    "page is not asked for; at most 5 pages where nothing but the address changes; 0: no limit, perhaps without end",
    "pages, whole",
)
PAGE_TIME_LIMIT_S = Option(
    "MEDIACRAWL_PAGE_TIME_LIMIT_S",
    60.0,
    number,
    _CRAWLS,
    "processor time in which the links of a page have to be found; a page that takes longer is given up, and counts "
    "as a page that could not be read. This holds for pages of more than 128 KiB, and for smaller ones with an XPath "
    "that may take long; 0: no limit",
    "seconds",
)
PAGE_MEMORY_LIMIT = Option(
    "MEDIACRAWL_PAGE_MEMORY_LIMIT",
    2 * 1024**3,
    page_memory,
    _CRAWLS,
    "memory of the process that reads such a page, 64 MiB or more; a page that needs more is given up; 0: no limit. "
    "Only on Linux",
    "bytes",
)
RETRY_PERMANENT_DAYS = Option(
    "MEDIACRAWL_RETRY_PERMANENT_DAYS",
    30.0,
    number,
    _RETRIES,
    "age at which a failure for good (404, 410, …) is forgotten, and the file asked for again",
    "days",
)

TRANSPORT = Option(
    "MEDIACRAWL_TRANSPORT",
    "requests",
    text,
    _HTTP,
    "or `curl`: HTTP/2 where an https server has it; many small files go a little faster or as fast. Needs the extra "
    "`mediacrawl[curl]`",
)
SESSION_FACTORY = Option(
    "MEDIACRAWL_SESSION_FACTORY",
    "",
    dotted_path,
    _HTTP,
    "dotted path of a callable that makes a `requests.Session` or an object with the same interface",
)
CONNECT_TIMEOUT_S = Option(
    "MEDIACRAWL_CONNECT_TIMEOUT_S",
    15.0,
    positive,
    _HTTP,
    "the time for a connection, all addresses of the host and the handshake of TLS together",
    "seconds",
)
VERIFY_TLS: Option[bool | str] = Option(
    "MEDIACRAWL_VERIFY_TLS",
    True,
    certificates,
    _HTTP,
    "or the path of a file or folder of certificates; True trusts those that the environment names, see "
    "[network.md](network.md). For pages, too, unless your project sets `DOWNLOAD_VERIFY_CERTIFICATES`; the pipeline "
    "alone leaves pages to Scrapy",
)
NETRC = Option(
    "MEDIACRAWL_NETRC",
    True,
    switch,
    _HTTP,
    "send the user names and passwords of `.netrc`, or of the file that `NETRC` names, to the hosts named there",
)
BLOCK_PRIVATE = Option(
    "MEDIACRAWL_BLOCK_PRIVATE",
    False,
    switch,
    _HTTP,
    "open no connection to an address that is not public, for pages, robots.txt and media: by the address that is "
    "really connected to",
)
COOKIE_FILE = Option(
    "MEDIACRAWL_COOKIES",
    "",
    text,
    _HTTP,
    "file of cookies to send to their hosts, for pages and media, in the format of Netscape (cookies.txt): those of "
    "a login in a browser, say. The file is not changed",
)
PAGE_MAXSIZE = Option(
    "MEDIACRAWL_PAGE_MAXSIZE",
    64 * 1024**2,
    integer,
    _HTTP,
    "a larger page is refused; 0 leaves that to `DOWNLOAD_MAXSIZE`. In a Scrapy project of yours the default is 0",
    "bytes",
    elsewhere=0,
)

PROGRESS_S = Option(
    "MEDIACRAWL_PROGRESS_S",
    5.0,
    number,
    _DISPLAY,
    "the time between two progress lines where there is no terminal; 0 for none",
    "seconds",
)

CONCURRENT_REQUESTS_PER_DOMAIN = Option(
    "CONCURRENT_REQUESTS_PER_DOMAIN",
    8,
    integer,
    _SCRAPY,
    "the most that are open to a host at one time, idle ones included: pages, files, further connections of large "
    "files, all processes of a run together; 0: no limit, but a crawl refuses it",
    "connections",
)
DOWNLOAD_DELAY = Option("DOWNLOAD_DELAY", 0.0, number, _SCRAPY, "the wait between two requests to a host", "seconds")
AUTOTHROTTLE_ENABLED = Option(
    "AUTOTHROTTLE_ENABLED", False, switch, _SCRAPY, "as Scrapy's; a file then has one connection"
)
DOWNLOAD_MAXSIZE = Option(
    "DOWNLOAD_MAXSIZE", 1024**4, integer, _SCRAPY, "a larger file is refused and its partial removed", "bytes"
)
DOWNLOAD_WARNSIZE = Option("DOWNLOAD_WARNSIZE", 0, integer, _SCRAPY, "no warning, as media may be large", "bytes")
MEDIA_ALLOW_REDIRECTS = Option(
    "MEDIA_ALLOW_REDIRECTS",
    True,
    switch,
    _SCRAPY,
    "follow redirects of media, to where the robots.txt of their target lets them",
)
ROBOTSTXT_OBEY = Option("ROBOTSTXT_OBEY", True, switch, _SCRAPY, "ask robots.txt before pages and media of a crawl")
LOG_LEVEL = Option("LOG_LEVEL", "WARNING", text, _SCRAPY, "`-L INFO` and `-L DEBUG` tell more")
STATS_DUMP = Option("STATS_DUMP", False, switch, _SCRAPY, "the summary takes its place")
LOGSTATS_INTERVAL = Option("LOGSTATS_INTERVAL", 0.0, number, _SCRAPY, "progress lines say it", "seconds")
TELNETCONSOLE_ENABLED = Option(
    "TELNETCONSOLE_ENABLED",
    False,
    switch,
    _SCRAPY,
    "Scrapy opens a port for it; here only where a user, a project or a spider asks for that",
)
REMOTE_CONTROL_ENABLED = Option("REMOTE_CONTROL_ENABLED", False, switch, _SCRAPY, "the same")
FEED_EXPORT_ENCODING = Option("FEED_EXPORT_ENCODING", "utf-8", text, _SCRAPY, "of feeds in JSON, too")

OPTIONS: tuple[Option[Any], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Option))

# Settings that a project may set, and that have no default in `mediacrawl.settings`: name, default, meaning.
_NOT_SET = (
    (
        "`FILES_URLS_FIELD`, `FILES_RESULT_FIELD`, `FILES_ERRORS_FIELD`",
        "`file_urls`, `files`, `file_errors`",
        "fields of items",
    ),
    (
        "`CONCURRENT_ITEMS`",
        "4 for the spider `site` without `follow`, else 100",
        "items of one page that are processed at a time",
    ),
)


def refuse_unknown_settings(settings: Iterable[Any], options: Iterable[Option[Any]] = OPTIONS) -> None:
    """Raise `UsageProblem` for a name with the prefix `MEDIACRAWL_`, in any case, that is none of the options."""
    names = {option.name: option.name for option in options if option.name.startswith(PREFIX)}
    former = {name: option.name for option in options for name in option.former_names}
    for name in settings:
        if not isinstance(name, str) or not name.upper().startswith(PREFIX) or name in names:
            continue
        if name in former:
            raise UsageProblem(f"{name} is called {former[name]} now: set that instead")
        from difflib import get_close_matches  # noqa: PLC0415 - needed only for an error message

        # The prefix is left out: with it, any two names are alike.
        bare = {known.removeprefix(PREFIX): known for known in names}
        nearest = get_close_matches(name.upper().removeprefix(PREFIX), bare, 1, 0.6)
        hint = f"the nearest one is {bare[nearest[0]]}, " if nearest else ""
        raise UsageProblem(f"there is no setting {name}; {hint}docs/settings.md has all")


def is_secret(name: str) -> bool:
    """Return whether the name of a setting or of a spider argument says that the value is a secret."""
    return _SECRET_NAME.search(name) is not None


def check(settings: Settings, prefix: str = "") -> None:
    """Raise `UsageProblem` for a setting that does not exist, or has a value that cannot be used.

    Values are checked of the settings whose names begin with `prefix`.
    """
    refuse_unknown_settings(settings)
    for option in OPTIONS:
        if option.name.startswith(prefix):
            option.of(settings)


# --- the command line of `get` -------------------------------------------------------------------------------------


class Argument(NamedTuple):
    """One option of a command.

    Attributes:
        flags: the flags as the user types them, first the flag that messages name.
        metavar: the placeholder for the value in the help.
        help: the effect of the option.
        parse: converts a value; raises ValueError with the rest of a message that begins with the flag.
        is_repeated: whether the option can be given several times; its value is a list then.
        sets: the settings that an option without a value sets.
        is_switch: whether the option has no value.
    """

    flags: tuple[str, ...]
    metavar: str
    help: str
    parse: Callable[[Any], Any] = text
    is_repeated: bool = False
    sets: Mapping[str, Any] = {}
    is_switch: bool = False

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the option to a parser, which keeps values as the user typed them."""
        if self.is_switch:
            parser.add_argument(*self.flags, action="store_true", help=self.help)
            return
        more: dict[str, Any] = {"action": "append", "default": []} if self.is_repeated else {}
        parser.add_argument(*self.flags, metavar=self.metavar, help=self.help, **more)

    @property
    def destination(self) -> str:
        """The name of the attribute that a parser sets."""
        return self.flags[-1].lstrip("-").replace("-", "_")

    def of(self, options: argparse.Namespace) -> Any:
        """Return the given value. If the option is missing, return None, or an empty list if it may be repeated.

        Raises:
            UsageProblem: a value cannot be used. The message does not repeat the value, as it may be a credential.
        """
        given = getattr(options, self.destination)
        if self.is_switch:
            return given
        try:
            if self.is_repeated:
                return [self.parse(value) for value in given]
            return None if given is None else self.parse(given)
        except ValueError as error:
            raise UsageProblem(f"{self.flags[0]} {error}") from None


def header_value(given: str) -> str:
    """Parse the value of a header: one line of Latin-1, as HTTP/1.1 carries it (RFC 9110 5.5)."""
    try:
        given.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("has letters that a header cannot carry") from None
    if set(given) & set("\r\n\0"):
        raise ValueError("must be a single line")
    return given


def _header(given: str) -> tuple[str, str]:
    name, colon, value = header_value(given).partition(":")
    if not colon or not name.strip():
        raise ValueError("must be written as 'Name: value'")
    return name.strip(), value.strip()


def _cookie(given: str) -> str:
    name, equals, _ = header_value(given).partition("=")
    if not equals or not name.strip():
        raise ValueError("must be written as NAME=VALUE")
    return given


MOST_CONNECTIONS = 16


def _connections(given: str) -> int:
    try:
        if 1 <= int(given) <= MOST_CONNECTIONS:
            return int(given)
    except ValueError:
        pass
    raise ValueError(f"must be between 1 and {MOST_CONNECTIONS}")


INPUT = Argument(
    ("-i", "--input"),
    "FILE",
    "list of URLs, in the formats of the urllist spider; - is standard input, and a pipe is read as it comes",
)
OUTPUT = Argument(("-o", "--output"), "NAME", "path in the store, for a single URL; without it get/<host>/<name>")
KEY = Argument(
    ("--key",),
    "TEXT",
    "identity of the file, for a single URL: with another URL, a fresh link say, the part is continued under it",
)
USER_AGENT = Argument(("-U", "--user-agent"), "TEXT", "User-Agent to send", header_value)
REFERER = Argument(("--referer",), "URL", "Referer to send", header_value)
COOKIE = Argument(
    ("--cookie",), "NAME=VALUE", "cookie to send to the host of each URL; may be repeated", _cookie, is_repeated=True
)
COOKIES = Argument(
    ("--cookies",),
    "FILE",
    "cookies to send to their hosts, in the format of Netscape (cookies.txt); the file is not changed",
)
HEADER = Argument(("--header",), "'NAME: VALUE'", "header to send; may be repeated", _header, is_repeated=True)
CONNECTIONS = Argument(
    ("-n", "--connections"),
    "N",
    f"connections for one large file, 1 to {MOST_CONNECTIONS}, opened at once",
    _connections,
)
WITHOUT_NETRC = Argument(
    ("--no-netrc",),
    "",
    "do not read .netrc, as with MEDIACRAWL_NETRC=False",
    sets={NETRC.name: False},
    is_switch=True,
)
RECURSIVE = Argument(
    ("-r", "--recursive"),
    "",
    "each URL is a folder of a `mediacrawl serve`: fetch all files below it, each under its path there, so into "
    "get/<host>/<path>; with -o into the folder NAME",
    is_switch=True,
)
GET_ARGUMENTS = (
    *(INPUT, RECURSIVE, OUTPUT, KEY, USER_AGENT, REFERER, COOKIE, COOKIES, HEADER, CONNECTIONS, WITHOUT_NETRC),
)
AT_ONCE = Argument(
    ("-n", "--at-once"), "N", f"files that are sent at a time, 1 to {MOST_CONNECTIONS}; without it 3", _connections
)
JSON = Argument(("--json",), "", "one JSON object for each file on standard output", is_switch=True)
PUSH_ARGUMENTS = (AT_ONCE, JSON, WITHOUT_NETRC)


def settings_with(options: argparse.Namespace, settings: Settings) -> Settings:
    """Return the settings with those that options of the command line set."""
    chosen: dict[str, Any] = {}
    for argument in (*GET_ARGUMENTS, *PUSH_ARGUMENTS):
        if argument.sets and hasattr(options, argument.destination) and argument.of(options):
            chosen |= argument.sets
    return _Overridden(chosen, settings) if chosen else settings


class _Overridden:
    """Settings, some of which have other values."""

    def __init__(self, chosen: Mapping[str, Any], settings: Settings) -> None:
        self._chosen = chosen
        self._settings = settings

    def get(self, name: str, default: Any, /) -> Any:
        return self._chosen[name] if name in self._chosen else self._settings.get(name, default)

    def __iter__(self) -> Iterator[Any]:
        return iter({*self._settings, *self._chosen})


# --- documentation -------------------------------------------------------------------------------------------------

_HEAD = """# Settings

This file is written by `python -m mediacrawl.config > docs/settings.md`; a test compares the two.

All settings of Scrapy hold for crawls. Those below belong to mediacrawl, or have another default here than in Scrapy.
Set one with `-s NAME=VALUE` on the command line of any command, or in the settings of your project. Names are written
in capitals. A switch is True or False (or 1 or 0); a size is a number of bytes, without a unit. A name that begins
with `MEDIACRAWL_`, in capitals or not, and is not in this list is refused, and so is a value that cannot be used:
exit status 2, and nothing is done.

`mediacrawl get`, and programs that call [`fetch`](library.md), ask no robots.txt and keep no delay: `ROBOTSTXT_OBEY`,
`DOWNLOAD_DELAY` and `MEDIACRAWL_PAGE_MAXSIZE` mean nothing to them, nor do Scrapy's other settings.
"""


def settings_markdown() -> str:
    """Return the text of docs/settings.md."""
    parts = [_HEAD]
    for section in dict.fromkeys(option.section for option in OPTIONS):
        rows = [_row(option) for option in OPTIONS if option.section == section]
        if section == _SCRAPY:
            rows += [f"| {names} | {default} | | {meaning} |" for names, default, meaning in _NOT_SET]
        parts.append(
            "\n".join([f"## {section}\n", "| setting | default | unit | meaning |", "|---|---|---|---|", *rows, ""])
        )
    rows = [f"| {_flags(argument)} | {argument.help} |" for argument in GET_ARGUMENTS]
    parts.append("\n".join(["## Options of `mediacrawl get`\n", "| option | meaning |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _row(option: Option[Any]) -> str:
    return f"| `{option.name}` | {_value_text(option)} | {option.unit} | {option.help} |"


def _value_text(option: Option[Any]) -> str:
    value = option.default
    if option.unit == "bytes":
        for size, unit in ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB")):
            if value and value % size == 0:
                return f"{value} ({value // size} {unit})"
    return (
        f"{value:g}" if isinstance(value, float) else f"`{value}`" if isinstance(value, str) and value else str(value)
    )


def _flags(argument: Argument) -> str:
    return ", ".join(f"`{flag} {argument.metavar}`".replace(" `", "`") for flag in argument.flags)


if __name__ == "__main__":
    print(settings_markdown(), end="")  # noqa: T201 - the purpose of running the module

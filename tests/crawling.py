"""Crawls for tests: as processes of their own, as a person starts them, and inside this one, where they cost little.

    done = run(tmp_path, "crawl", "site", "-a", f"url={origin.url('/')}")
    assert done.status == 0
    assert done.store == {"site/127.0.0.1/a.jpg": sha256(body)}

    run_ = start(tmp_path, "get", url)
    origin.wait_for(lambda: origin.bytes_sent("/a.jpg") >= 10_000)
    run_.interrupt()
    assert run_.wait().status == 3

A process starts in `folder`, and its store is `folder/store`. Nothing here sleeps: what a signal waits for is an
event of the origin. `Crawls` keeps one reactor, which cannot be started again, running in a thread of the tests.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import fork_server
import pytest
from origin import Pattern
from scrapy import Request, Spider
from scrapy import signals as scrapy_signals
from scrapy.crawler import Crawler
from scrapy.settings import Settings

from mediacrawl.crawl.context import CrawlContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fork_server import ForkedProcess

    from mediacrawl.fetch.stats import RunStats

PATIENCE_S = 120.0  # no test waits for it: it ends what hangs
# What makes a crawl quick and its standard error short; a test may say otherwise.
QUICK = {"MEDIACRAWL_BACKOFF_S": 0.01, "MEDIACRAWL_PROGRESS_S": 0}
_OUR_ENVIRONMENT = {
    "MEDIACRAWL_DEMO_BYTES_PER_S": "0",
    "PYTHONUNBUFFERED": "1",
    # What a newer Python deprecates is shown, which it is not by itself, and `assert_plain` finds it.
    "PYTHONWARNINGS": "error::ResourceWarning,default::DeprecationWarning,default::PendingDeprecationWarning",
    "COLUMNS": "200",
}
# More than the buffers of two sockets hold: when the origin has sent STALLS_AT, the client has read some of it.
BIG = Pattern(20_000_000, seed=7)
STALLS_AT = 16_000_000
_FOREIGN = ("proxy", "scrapy_", "python")


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def basic_auth(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def files_in(store: Path) -> dict[str, str]:
    """Relative path -> sha256 of all that is published; what is hidden is not."""
    return {
        str(path.relative_to(store)): sha256(path.read_bytes())
        for path in sorted(store.rglob("*"))
        if path.is_file() and ".mediacrawl" not in path.parts
    }


def parts_in(store: Path) -> list[Path]:
    """What is partial, as files."""
    folder = store / ".mediacrawl" / "parts"
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def largest_part_bytes(store: Path) -> int:
    """The size of the largest partial file, while others come and go."""
    sizes = [0]
    for path in parts_in(store):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return max(sizes)


def wait_until(holds: Callable[[], object]) -> None:
    """Looks again and again until it holds: for what tells nobody, as a file on the disk."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it does not come to that"
        threading.Event().wait(0.005)


# --- processes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A process that has ended. `seconds` since the last signal that was sent to it, or since its start."""

    status: int
    out: str
    err: str
    folder: Path
    seconds: float

    @property
    def store(self) -> dict[str, str]:
        return files_in(self.folder / "store")

    @property
    def lines(self) -> list[str]:
        """Of standard error, without empty ones."""
        return [line for line in self.err.splitlines() if line.strip()]

    def __str__(self) -> str:
        return f"status {self.status}\n--- out\n{self.out}\n--- err\n{self.err}"


class Running:
    """A process under way; as a context it is dead at the end, whatever the test did."""

    def __init__(
        self, process: subprocess.Popen[bytes] | ForkedProcess, folder: Path, stdin: bytes | int | None
    ) -> None:
        self.process = process
        self.folder = folder
        self._stdin = stdin if isinstance(stdin, bytes) else None
        self._since = time.monotonic()
        # Read all the time: a pipe that is full would stop the process.
        self._output: tuple[bytes, bytes] = (b"", b"")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._reader.join(PATIENCE_S)

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self._send(signal.SIGINT)

    def kill(self) -> None:
        """As the end of power does, but for what the system still has to write."""
        self._send(signal.SIGKILL)

    def wait(self) -> Done:
        self._reader.join(PATIENCE_S)
        seconds = time.monotonic() - self._since
        if self._reader.is_alive():
            self.process.send_signal(signal.SIGABRT)
            self.process.kill()
            self._reader.join(PATIENCE_S)
            raise TimeoutError(f"still running after {PATIENCE_S} s: {self._text()}")
        out, err = self._text()
        return Done(self.process.returncode, out, err, self.folder, seconds)

    def _send(self, number: signal.Signals) -> None:
        assert self.process.poll() is None, f"ended too early: {self._text()}"
        self._since = time.monotonic()
        self.process.send_signal(number)

    def _read(self) -> None:
        with self.process:
            self._output = self.process.communicate(self._stdin)

    def _text(self) -> tuple[str, str]:
        out, err = self._output
        return out.decode(errors="replace"), err.decode(errors="replace")


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, in whichever of its threads."""
    found = []
    with contextlib.suppress(FileNotFoundError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would lead a crawl astray: proxies, another project's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().startswith(_FOREIGN)}
    kept = {name: value for name, value in kept.items() if "proxy" not in name.lower()}
    return kept | _OUR_ENVIRONMENT | more


def start(
    folder: Path,
    *words: str,
    settings: Mapping[str, object] | None = None,
    stdin: bytes | int | None = None,
    env: Mapping[str, str] | None = None,
    module: str = "mediacrawl",
) -> Running:
    """`python -m mediacrawl WORDS… -s NAME=VALUE…` in `folder`; `settings` come on top of the quick ones. `stdin` is
    what it reads there, or a descriptor.

    With `module="scrapy"` nothing is set but `settings`: the folder is somebody else's project.
    """
    chosen = dict(settings or {}) if module == "scrapy" else {"FILES_STORE": "store"} | QUICK | dict(settings or {})
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts what ends with & like that, and a process inherits it: no signal of ours would arrive.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command, *rest = words
    options = [word for name, value in chosen.items() for word in ("-s", f"{name}={value}")]
    process = fork_server.start(
        ["-m", module, command, *options, *rest],
        folder,
        environment(**(env or {})),
        subprocess.DEVNULL if stdin is None else subprocess.PIPE if isinstance(stdin, bytes) else stdin,
    )
    return Running(process, folder, stdin)


def run_advice(done: Done, begin: str) -> Done:
    """Run the command of the line of a summary that begins so, as it stands there, in a shell."""
    (line,) = [line for line in done.lines if line.startswith(begin)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        line.removeprefix(begin).removeprefix(":"),
        shell=True,
        check=False,
        cwd=done.folder,
        env=environment(PATH=path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    again = Done(ended.returncode, ended.stdout, ended.stderr, done.folder, 0)
    assert_plain(again)
    return again


def run(folder: Path, *words: str, **more: Any) -> Done:
    """Start and wait. No run of these tests may show a traceback or a warning of Python."""
    with start(folder, *words, **more) as running:
        done = running.wait()
    assert_plain(done)
    return done


def together(folder: Path, *commands: tuple[str, ...], **more: Any) -> list[Done]:
    """Several at once, each in a folder of its own: the start of Python is what such a run costs."""
    with contextlib.ExitStack() as stack:
        under_way = []
        for number, words in enumerate(commands):
            own = folder / f"process-{number}"
            own.mkdir()
            under_way.append(stack.enter_context(start(own, *words, **more)))
        done = [running.wait() for running in under_way]
    for one in done:
        assert_plain(one)
    return done


def assert_plain(done: Done) -> None:
    """A person sees no traceback, and no warning that is meant for developers."""
    warnings = ("ResourceWarning", "DeprecationWarning")
    for word in ("Traceback", "Exception ignored", *warnings, "was never retrieved", "Unhandled"):
        assert word not in done.err, str(done)


@contextlib.contextmanager
def file_system_at(folder: Path, options: str = "size=50%") -> Iterator[None]:
    """A file system in memory at a folder, which is made; skips the test where nobody can have one."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# --- in this process --------------------------------------------------------------------------------


@dataclass
class Crawled:
    """A crawl that has ended."""

    crawler: Crawler
    folder: Path
    items: list[Any] = field(default_factory=list)
    reason: str | None = None

    @property
    def report(self) -> RunStats:
        return CrawlContext.of(self.crawler).report

    @property
    def status(self) -> int:
        """What `scrapy crawl` would exit with."""
        return self.report.exit_status

    @property
    def store(self) -> dict[str, str]:
        return files_in(self.folder / "store")

    def stat(self, name: str) -> Any:
        return self.crawler.stats.get_value(name)

    @property
    def files(self) -> list[dict[str, Any]]:
        """Of all items, in one list."""
        return [file for item in self.items for file in item["files"]]

    @property
    def errors(self) -> list[dict[str, str]]:
        return [error for item in self.items for error in item["file_errors"]]


class Crawls:
    """Crawls one after another on one asyncio reactor, in a thread of its own.

    Signals of the system do not reach it; all else is as under `scrapy crawl`. Warnings are errors in it, too.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="reactor", daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def close(self) -> None:
        from twisted.internet import reactor

        assert self._loop is not None
        reactor.callFromThread(reactor.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def crawl(
        self,
        folder: Path,
        spider: type[Spider],
        settings: Mapping[str, object] | None = None,
        *,
        project: str | None = "mediacrawl.settings",
        **arguments: Any,
    ) -> Crawled:
        """Returns when the crawl has ended. `project=None`: nothing but Scrapy's own settings and these."""
        crawler = Crawler(spider, settings_of(folder, settings, project))
        crawled = Crawled(crawler, folder)

        def scraped(item: Any) -> None:
            crawled.items.append(item)

        def closed(reason: str) -> None:
            crawled.reason = reason

        crawler.signals.connect(scraped, scrapy_signals.item_scraped)
        crawler.signals.connect(closed, scrapy_signals.spider_closed)
        self.do(crawler.crawl_async(**arguments))
        return crawled

    def do(self, coroutine: Any) -> Any:
        """Run a coroutine on the reactor; its result, or what it raised."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(PATIENCE_S)
        finally:
            future.cancel()

    def _serve(self) -> None:
        from scrapy.utils.reactor import install_reactor

        install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")
        from twisted.internet import reactor

        self._loop = reactor._asyncioEventloop
        reactor.callWhenRunning(self._ready.set)
        reactor.run(installSignalHandlers=False)


def settings_of(folder: Path, settings: Mapping[str, object] | None = None, project: str | None = None) -> Settings:
    """As on the command line, with the store in `folder/store`."""
    found = Settings()
    if project is not None:
        found.setmodule(project, priority="project")
        found.setdict(QUICK, priority="cmdline")
    found.setdict({"TELNETCONSOLE_ENABLED": False, "REMOTE_CONTROL_ENABLED": False}, priority="project")
    found.setdict({"FILES_STORE": str(folder / "store")} | dict(settings or {}), priority="cmdline")
    return found


def items_spider(*items: Any, of_page: bool = False, **attributes: Any) -> type[Spider]:
    """A spider that yields these items and asks no site for a page.

    `of_page`: they come from a page that is its own URL. Scrapy by itself sees by its heartbeat only that start
    items are through, which takes 5 s.
    """

    class Items(Spider):
        name = "items"

        async def start(self) -> Any:
            if of_page:
                yield Request("data:,", callback=self.parse)
            else:
                for item in items:
                    yield item

        def parse(self, _response: Any) -> Any:
            yield from items

    for name, value in attributes.items():
        setattr(Items, name, value)
    return Items


def item_of(*urls: str, **fields: Any) -> dict[str, Any]:
    return {"file_urls": list(urls), **fields}

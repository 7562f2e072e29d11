"""Every front of mediacrawl, in every mode, behind one face: `wanted` in, what came of it out.

    ran = stage.run(front, mode, [Wanted(url)], {"FILES_EXPIRES": 0})
    assert (ran.status, ran.store) == (0, {sha256(body)})

In this process, crawls share the reactor of the tests, `get` runs in a thread, and worker processes are threads that
have a socket to the crawl, as processes have. As processes, all is what a person starts.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from crawling import PATIENCE_S, QUICK, Crawled, Running, children_of, environment, files_in, settings_of
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from thread_worker import ThreadWorker

from mediacrawl import settings as project_settings
from mediacrawl.archive import Archive
from mediacrawl.cli import plain_get
from mediacrawl.crawl.context import CrawlContext
from mediacrawl.pipelines import MediaFilesPipeline
from mediacrawl.spiders.urllist import UrlListSpider
from mediacrawl.store.local import LocalStore
from mediacrawl.workers import processes as worker_pool
from mediacrawl.workers.executor import TransferExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mediacrawl.fetch.stats import RunStats


class Wanted(NamedTuple):
    """One wanted file, as a list says it."""

    url: str
    filename: str | None = None
    headers: Mapping[str, str] = {}
    key: str | None = None
    sha256: str | None = None
    may_be_page: bool = False  # only items say that

    def line(self) -> str:
        facts = self._asdict() | {"headers": dict(self.headers)}
        facts["file_pages"] = [self.url] if facts.pop("may_be_page") else []
        return json.dumps({name: value for name, value in facts.items() if value})

    def item(self) -> dict[str, Any]:
        facts = json.loads(self.line())
        return {"file_urls": [facts.pop("url")], **facts}


@dataclass(frozen=True)
class Ran:
    """What a run did. `failures` are lines for a person; `err` is all that a person saw."""

    status: int
    new: int
    resumed: int
    present: int
    failed: int
    wanted: int | None
    failures: str
    err: str
    paths: dict[str, str]

    @property
    def store(self) -> set[str]:
        """The sha256 of each published file."""
        return set(self.paths.values())


class Mode(NamedTuple):
    """How it runs."""

    workers: bool
    transport: str

    def __str__(self) -> str:
        return f"{'workers' if self.workers else 'threads'}-{self.transport}"


FRONTS = ("list", "item", "override", "get")
MODES = tuple(Mode(workers, transport) for workers, transport in product((False, True), ("requests", "curl")))


def pairwise(turn: int) -> list[tuple[str, Mode]]:
    """Combinations in which each two values of front, workers and transport meet. `turn` gives the other half."""
    return [
        (front, Mode(workers, "curl" if (number + workers + turn) % 2 else "requests"))
        for number, front in enumerate(FRONTS)
        for workers in (False, True)
    ]


class Override(MediaFilesPipeline):
    """A project's own pipeline: it gives its own paths, so each file takes its own way."""

    def file_path(self, request, response=None, info=None, *, item=None):
        return "own/" + super().file_path(request, response, info, item=item)


class Items(Spider):
    """Yields each wanted file of a file as an item, from a page."""

    name = "items"
    media_offsite = True

    async def start(self):
        yield Request("data:,")

    def parse(self, _response):
        for line in Path(self.file).read_text().splitlines():
            facts = json.loads(line)
            yield {"file_urls": [facts.pop("url")], **facts}


_NO_SPACE = errno.ENOSPC
PIPELINES = {"override": {f"{__name__}.Override": 1}}


def settings_for(front: str, mode: Mode, settings: Mapping[str, object]) -> dict[str, object]:
    """What a person would set for that; robots.txt is a rule of its own."""
    chosen: dict[str, object] = {
        "MEDIACRAWL_PROCESSES": 2 if mode.workers else 0,
        "MEDIACRAWL_TRANSPORT": mode.transport,
        "ROBOTSTXT_OBEY": False,
    }
    if front in PIPELINES:
        chosen["ITEM_PIPELINES"] = PIPELINES[front]
    return QUICK | chosen | dict(settings)


# --- in this process --------------------------------------------------------------------------------


class InProcess:
    """Runs fronts in this process."""

    def __init__(self, folder: Path, crawls: Any, patches: Any, capsys: Any) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}  # of the environment, which `patches` changes
        self._crawls = crawls
        self._patches = patches
        self._capsys = capsys
        ThreadWorker.all.clear()
        patches.setattr(worker_pool, "start_process", ThreadWorker)

    def start(self, front: str, mode: Mode, wanted: Sequence[Wanted], settings: Mapping[str, object]) -> InThread:
        path = self.folder / "list"
        path.write_text("".join(f"{one.line()}\n" for one in wanted))
        chosen = settings_for(front, mode, settings)
        if mode.workers:  # as if there had been many files before
            self._patches.setattr(TransferExecutor.__init__, "__defaults__", (0,))
            self._patches.setattr("mediacrawl.fetch.resources.WORKERS_FROM", 0)
            self._patches.setattr(worker_pool.WorkerProcesses, "start", _start_and_wait)
        else:
            self._patches.setattr("mediacrawl.fetch.resources.WORKERS_FROM", 64)
        self._capsys.readouterr()
        if front == "get":
            return InThread(self, lambda run: self._get(run, path, chosen))
        return InThread(self, lambda run: self._crawl(run, front, path, chosen))

    def _get(self, run: InThread, path: Path, chosen: Mapping[str, object]) -> tuple[int, RunStats]:
        patches, reports = self._patches, []
        patches.setattr(plain_get, "RunStats", lambda made=plain_get.RunStats: reports.append(made()) or reports[-1])

        class Seen(plain_get.ThreadedFetch):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                run.stop = self.stop

        patches.setattr(plain_get, "ThreadedFetch", Seen)
        options = [word for name, value in chosen.items() for word in ("-s", f"{name}={value}")]
        store = ["-s", f"FILES_STORE={self.folder / 'store'}"]
        status = plain_get.run_plain(["-i", str(path), *store, *options], vars(project_settings))
        patches.setattr(plain_get, "ThreadedFetch", Seen.__base__)
        assert status is not None
        return status, reports[-1]

    def _crawl(self, run: InThread, front: str, path: Path, chosen: Mapping[str, object]) -> tuple[int, RunStats]:
        spider, arguments = (Items, {}) if front != "list" else (UrlListSpider, {"items": "none"})
        crawler = Crawler(spider, settings_of(self.folder, chosen, "mediacrawl.settings"))
        run.stop = lambda: self._crawls.do(crawler.stop_async())
        self._crawls.do(crawler.crawl_async(file=str(path), **arguments))
        return Crawled(crawler, self.folder).status, CrawlContext.of(crawler).report

    def result(self, done: tuple[int, RunStats]) -> Ran:
        status, report = done
        out, err = self._capsys.readouterr()
        return Ran(
            status,
            report.new,
            report.resumed,
            report.present,
            report.failed,
            report.wanted,
            "\n".join(report.lines("resume", "again", "permanent")),
            out + err,
            files_in(self.folder / "store"),
        )

    def allow_few_files(self) -> int:
        """Let few files be open; return how many parts may be."""
        self._patches.setattr("mediacrawl.fetch.resources.allow_many_files", lambda: 3)
        return 3

    def kill_workers(self, _running: InThread) -> None:
        for worker in ThreadWorker.all:
            worker.kill()

    @contextlib.contextmanager
    def full_disk(self, _store: Path) -> Iterator[None]:
        """A disk that takes no byte of a part while it is full."""

        def pwrite(_fd: int, _data: Any, _offset: int) -> int:
            raise OSError(_NO_SPACE, os.strerror(_NO_SPACE))

        genuine = os.pwrite
        self._patches.setattr(os, "pwrite", pwrite)
        yield
        self._patches.setattr(os, "pwrite", genuine)


def _start_and_wait(pool: worker_pool.WorkerProcesses) -> bool:
    """`WorkerProcesses.start`, but that there is one when it comes back."""
    with pool._lock:
        if pool._stopped:
            return False
        pool._fill_up()
    until = time.monotonic() + PATIENCE_S
    while not any(worker.is_ready for worker in list(pool._workers)):
        if time.monotonic() > until or pool._stopped or pool.deaths >= worker_pool.MOST_DEATHS:
            return False
        threading.Event().wait(0.005)
    return True


@dataclass
class InThread:
    """A run under way."""

    runner: InProcess
    work: Any
    stop: Any = None
    _done: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._done.append(self.work(self))
        except BaseException as error:
            self._done.append(error)

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self.stop()

    def wait(self) -> Ran:
        self._thread.join(PATIENCE_S)
        assert self._done, "still running"
        if isinstance(self._done[0], BaseException):
            raise self._done[0]
        return self.runner.result(self._done[0])


# --- as processes -----------------------------------------------------------------------------------

# The command, but that worker processes are there from the first file on.
_MAIN = """
import sys
sys.path[:0] = {path!r}
from fronts import _start_and_wait
from mediacrawl.fetch import resources
from mediacrawl.workers.processes import WorkerProcesses
from mediacrawl.workers.executor import TransferExecutor
if {workers}:
    TransferExecutor.__init__.__defaults__ = (0,)
    resources.WORKERS_FROM = 0
    WorkerProcesses.start = _start_and_wait
from mediacrawl.__main__ import run
run()
"""
_SUMMARY = re.compile(r"new (\d+), resumed (\d+), already there (\d+), failed (\d+)")


class AsProcess:
    """Starts fronts as a person does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}  # of the environment
        self._mounted: list[Path] = []
        self._prefix: list[str] = []

    def start(self, front: str, mode: Mode, wanted: Sequence[Wanted], settings: Mapping[str, object]) -> Process:
        (self.folder / "list").write_text("".join(f"{one.line()}\n" for one in wanted))
        chosen = {"FILES_STORE": "store", "SPIDER_MODULES": "mediacrawl.spiders,fronts"}
        chosen |= settings_for(front, mode, settings)
        if "ITEM_PIPELINES" in chosen:
            chosen["ITEM_PIPELINES"] = json.dumps({"fronts.Override": 1})
        words = {
            "list": ["crawl", "urllist", "-a", "file=list", "-a", "items=none"],
            "get": ["get", "-i", "list"],
        }.get(front, ["crawl", "items", "-a", "file=list"])
        options = [word for name, value in chosen.items() for word in ("-s", f"{name}={value}")]
        path = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        code = _MAIN.format(path=path, workers=mode.workers)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            [*self._prefix, sys.executable, "-c", code, words[0], *options, *words[1:]],
            cwd=self.folder,
            env=environment(**self.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return Process(Running(process, self.folder, None))

    def allow_few_files(self) -> int:
        """Let few files be open; return how many parts may be."""
        self._prefix = ["sh", "-c", 'ulimit -n 160; exec "$0" "$@"']
        return 16

    def kill_workers(self, running: Process) -> None:
        for child in children_of(running.running.process.pid):
            os.kill(child, signal.SIGKILL)

    @contextlib.contextmanager
    def full_disk(self, store: Path) -> Iterator[None]:
        """A file system of its own, that something else fills."""
        if os.geteuid() != 0:
            pytest.skip("only root can mount")
        Archive.open(LocalStore(store)).close()
        kept = self.folder / "kept"
        store.rename(kept)
        store.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", store], check=False)
        if mounted.returncode:
            pytest.skip("no mount here")
        self._mounted.append(store)
        shutil.copytree(kept, store, dirs_exist_ok=True)
        filler = store / ".filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        yield
        filler.unlink()

    def close(self) -> None:
        for store in self._mounted:
            subprocess.run(["umount", "-l", store], check=True)


@dataclass
class Process:
    """A run under way."""

    running: Running

    def interrupt(self) -> None:
        self.running.interrupt()

    def wait(self) -> Ran:
        with self.running:
            done = self.running.wait()
        counts = [int(number) for number in (_SUMMARY.findall(done.err) or [("0",) * 4])[-1]]
        if done.status == 0 and not _SUMMARY.search(done.err):  # `get` says nothing more where all is well
            lines = done.out.splitlines()
            there = sum(line.startswith("already there") for line in lines)
            resumed = sum("of them were here" in line for line in lines)
            counts = [len(lines) - there - resumed, resumed, there, 0]
        return Ran(done.status, *counts, None, done.err, done.out + done.err, done.store)


Stage = InProcess | AsProcess

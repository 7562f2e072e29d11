"""Processes of Python that need not import Scrapy: each is forked from a server that has imported it.

    process = start(["-m", "mediacrawl", "get", url], folder, environment(), subprocess.DEVNULL)
    out, err = process.communicate()

The start of Scrapy takes most of a second, and most of what such a run costs. What is started here has all else that
a process has: its own number, arguments, folder, environment and descriptors, signals, an end as the interpreter
ends, and a status. It is no child of this process, though. `SHARED` starts anew in each: tests of how Python starts,
and of what is imported when, start Python.

Run as a script, this is the server: it reads what to start from a socket, and has no threads.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODULES = (
    "scrapy.cmdline",
    "scrapy.commands.crawl",
    "scrapy.core.downloader.handlers.http11",
    "scrapy.core.engine",
    "scrapy.downloadermiddlewares.httpcache",
    "scrapy.extensions.memusage",
    "scrapy.extensions.throttle",
    "scrapy.pqueues",
    "scrapy.robotstxt",
    "scrapy.squeues",
    "tqdm",
    "mediacrawl.addon",
    "mediacrawl.cli.main",
    "mediacrawl.cli.plain_get",
    "mediacrawl.extensions",
    "mediacrawl.ledger.sqlite",
    "mediacrawl.middlewares",
    "mediacrawl.pipelines",
    "mediacrawl.scheduler",
    "mediacrawl.spiders.site",
    "mediacrawl.spiders.urllist",
    "mediacrawl.workers.processes",
)
_OF_PYTHON = {"__main__", "builtins", "sys"}
_LAST = ("asyncio", "twisted")  # they hold the event loop, which Python ends when it warns of nothing any more
_SIZE_BYTES = 8
_SPARED: list[object] = []


class Command(NamedTuple):
    """What to start: the words after `python`, which begin with `-m MODULE` or `-c CODE`."""

    words: Sequence[str]
    folder: str
    environment: Mapping[str, str]


# --- for the tests ----------------------------------------------------------------------------------


class ForkedProcess:
    """A process under way, with what the tests use of `subprocess.Popen`."""

    def __init__(self, status: socket.socket, stdin: int, stdout: int, stderr: int) -> None:
        """Take over the descriptors: of the socket that tells the status, and of pipes, or -1 for none."""
        self.returncode: int | None = None
        self._status = status
        self.pid = _read_number(status)
        self._stdin = open(stdin, "wb", buffering=0) if stdin >= 0 else None  # noqa: SIM115
        self._stdout, self._stderr = open(stdout, "rb"), open(stderr, "rb")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        """Wait for the end; its number is another process's only after that."""
        self.wait()
        for file in (self._stdin, self._stdout, self._stderr, self._status):
            if file is not None:
                file.close()

    def poll(self) -> int | None:
        """Return the status, as `subprocess` has it; None while the process runs."""
        if self.returncode is None:
            with contextlib.suppress(BlockingIOError):
                self.returncode = _read_number(self._status, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = _read_number(self._status, socket.MSG_PEEK)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, data: bytes | None = None) -> tuple[bytes, bytes]:
        """Write what the process reads, and return what it wrote, once it has ended."""
        with ThreadPoolExecutor(2) as readers:
            err = readers.submit(self._stderr.read)
            if self._stdin is not None:
                readers.submit(self._write, self._stdin, data or b"")
            out = self._stdout.read()
        self.wait()
        return out, err.result()

    @staticmethod
    def _write(stdin: object, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError), stdin:  # type: ignore[attr-defined]
            view = memoryview(data)
            while view:
                view = view[stdin.write(view) :]  # type: ignore[attr-defined]


def _read_number(sock: socket.socket, flags: int = 0) -> int:
    data = sock.recv(_SIZE_BYTES, flags)
    if not data:
        raise EOFError("the fork server has ended")
    return int.from_bytes(data, signed=True)


def start(words: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: int) -> ForkedProcess:
    """Start a process whose output is read through pipes; `stdin` is as for `subprocess.Popen`."""
    command = pickle.dumps(Command(tuple(words), str(folder), dict(environment)))
    with contextlib.ExitStack() as given:  # what belongs to the process alone
        ends = [os.pipe(), os.pipe()]
        for _, theirs in ends:
            given.callback(os.close, theirs)
        ours_in = -1
        if stdin == subprocess.PIPE:
            stdin, ours_in = os.pipe()
            given.callback(os.close, stdin)
        elif stdin == subprocess.DEVNULL:
            stdin = os.open(os.devnull, os.O_RDONLY)
            given.callback(os.close, stdin)
        status, theirs = socket.socketpair()
        given.enter_context(theirs)
        server, lock = _server(_read_at_start(environment))
        with lock:
            descriptors = [stdin, ends[0][1], ends[1][1], theirs.fileno()]
            socket.send_fds(server, [len(command).to_bytes(_SIZE_BYTES)], descriptors)
            server.sendall(command)
    return ForkedProcess(status, ours_in, ends[0][0], ends[1][0])


def _read_at_start(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return the variables that Python reads once, when it starts."""
    return frozenset(item for item in environment.items() if item[0].startswith(("PYTHON", "LANG", "LC_")))


@functools.cache
def _server(variables: frozenset[tuple[str, str]]) -> tuple[socket.socket, threading.Lock]:
    """Start the server of this process with these variables, once; it ends with this process."""
    kept = dict(os.environ.items() - _read_at_start(os.environ))
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            cwd=Path(__file__).parent,
            env=kept | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours, threading.Lock()


# --- the server -------------------------------------------------------------------------------------


def serve(control: socket.socket) -> Command:
    """Fork for each command that is asked for; return, in the process that is to run it, the command."""
    imported: dict[str, tuple[types.ModuleType, dict[str, object]]] = {}
    atexit.register(_spare, imported)  # before what the modules register: it comes last
    for name in MODULES:
        importlib.import_module(name)
    assert "twisted.internet.reactor" not in sys.modules, "each process installs a reactor of its own"
    imported |= {
        name: (module, vars(module).copy()) for name, module in sys.modules.items() if name not in _OF_PYTHON
    }
    gc.collect()
    gc.freeze()
    while True:
        size, descriptors, _, _ = socket.recv_fds(control, _SIZE_BYTES, 4)
        _forget_ended()
        if not size:
            os._exit(0)
        command = pickle.loads(control.recv(int.from_bytes(size), socket.MSG_WAITALL))
        if os.fork() == 0:
            control.close()
            *streams, status = descriptors
            _fork_and_tell(socket.socket(fileno=status), streams)
            return command
        for descriptor in descriptors:
            os.close(descriptor)


def _spare(imported: dict[str, tuple[types.ModuleType, dict[str, object]]]) -> None:
    """At the end of a process, leave the modules alone that the server has imported: their end is most of its time.

    What the process itself has put into them ends as it does in any other, with the warnings of what was left open.
    """
    for name, (module, before) in imported.items():
        sys.modules.pop(name, None)
        if name.startswith(_LAST):
            continue
        now = vars(module)
        for key in [key for key, value in now.items() if before.get(key, imported) is not value]:
            if key in before:
                now[key] = before[key]
            else:
                now.pop(key, None)
    _SPARED.append(imported)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_SPARED))


def _fork_and_tell(status: socket.socket, streams: list[int]) -> None:
    """Return in a child with these standard streams; tell its number and its status, and end with whoever asks."""
    child = os.fork()
    if child == 0:
        status.close()
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        for descriptor in streams:
            os.close(descriptor)
        return
    for descriptor in (0, 1, 2, *streams):
        os.close(descriptor)
    status.send(child.to_bytes(_SIZE_BYTES, signed=True))
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    status.send(code.to_bytes(_SIZE_BYTES, signed=True))
    status.recv(1)  # until then the number is no other process's
    os.waitpid(child, 0)
    os._exit(0)


def _forget_ended() -> None:
    """Wait for what has ended, so that its time is counted as spent here."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def run(command: Command) -> None:
    """Become what `python WORDS…` is."""
    os.chdir(command.folder)
    os.environ.clear()
    os.environ.update(command.environment)
    option, what, *rest = command.words
    sys.orig_argv = [sys.executable, *command.words]
    sys.argv = [option, *rest]
    if option == "-m":
        sys.path[0] = os.getcwd()  # noqa: PTH109 - as Python writes it
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    run(serve(socket.socket(fileno=int(sys.argv[1]))))

"""Processes that run a module of this package, and end with the process that has started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

_PR_SET_PDEATHSIG = 1


def start_module(module: str, end: socket.socket) -> subprocess.Popen[bytes]:
    """Start `python -m module SOCKET-NUMBER` in a process that inherits this end of a connection, and no other file.

    The process should call `die_with_parent` first. On Linux it then also ends with the thread that has started it.

    Raises:
        OSError: the system cannot start another process.
    """
    # Ctrl-C sends SIGINT to all processes of a terminal, and the leading process decides on its effect. A child
    # process inherits the blocked signals of the thread that starts it, so that SIGINT cannot interrupt its start.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(  # noqa: S603 - this Python and this package
            # -P: with -m alone, the modules of the current folder, perhaps of somebody else, come before all others.
            [sys.executable, "-P", "-m", module, str(end.fileno())],
            pass_fds=[end.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": _python_path()},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def become_module(module: str, *arguments: str, held: Iterable[signal.Signals] = ()) -> NoReturn:
    """Replace this process with `python -m module ARGUMENTS`: the number of the process and its terminal stay.

    Args:
        module: to run.
        arguments: of its command line.
        held: signals that wait until the module accepts them, by `pthread_sigmask`: before, it has no handlers.

    Raises:
        OSError: the system cannot run this Python again.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-P", "-m", module, *arguments]
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    os.execve(sys.executable, command, os.environ | {"PYTHONPATH": _python_path()})  # noqa: S606 - as above


def die_with_parent() -> None:
    """Arrange for Linux to kill this process when its parent process has ended.

    On other systems, the end of the socket shows that the parent process has ended.
    """
    parent = os.getppid()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _python_path() -> str:
    """Return the import path of this process.

    A child process thereby imports the same modules: this package, and the modules of the user's project. The current
    folder is among them only if this process looks there, too.
    """
    return os.pathsep.join(path or str(Path.cwd()) for path in sys.path)

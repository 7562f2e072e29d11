"""Entry point of `mediacrawl …` and `python -m mediacrawl …`, written to start quickly."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # `server.running.STOPPING`, which is not imported yet
_INTERRUPTED = 3  # `errors.EXIT_INTERRUPTED`, which is not imported yet


def run() -> None:
    """Run `main` as the console script, and end the process with its exit status."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if sys.argv[1:2] == ["serve"]:
        _end_at_signals()
    try:
        main()
    except KeyboardInterrupt:  # before or after the code that stops a run in order
        print("mediacrawl: interrupted; run the same command to go on", file=sys.stderr)  # noqa: T201
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        if sys.argv[1:2] == ["get"] and isinstance(end.code, int):
            _leave(end.code)
        raise


def _end_at_signals() -> None:
    """End this process at a signal as the server would that it becomes: nothing has been begun yet."""
    for number in _STOPPING:
        signal.signal(number, lambda *_: os._exit(0))


def _leave(status: int) -> None:
    """End the process in the order of the interpreter, but without tearing down each module.

    The teardown takes 10 ms, and the operating system frees all memory anyway. Not for a crawl: data that a spider
    has written to a file and left open reaches the disk only in the teardown. The function returns if a step fails:
    the interpreter then ends the process.
    """
    with suppress(AttributeError, OSError, ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # no work is left that could be interrupted
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Run the command, and exit with a status that the README documents."""
    gc.disable()  # imported objects stay alive: a search of them for garbage takes a tenth of the start
    if sys.argv[1:2] == ["get"] and (status := _get()) is not None:
        sys.exit(status)
    from mediacrawl.cli import main as scrapy_command  # noqa: PLC0415

    _enough_imported()
    scrapy_command.main()


def _get() -> int | None:
    """Run `get` without Scrapy. Return None if Scrapy is needed, for help or an error message; see `run_plain`."""
    from mediacrawl import settings  # noqa: PLC0415
    from mediacrawl.cli import plain_get  # noqa: PLC0415

    _enough_imported()
    return plain_get.run_plain(sys.argv[2:], vars(settings))


def _enough_imported() -> None:
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    run()

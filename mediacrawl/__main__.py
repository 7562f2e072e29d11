"""`mediacrawl …` and `python -m mediacrawl …`, started quickly."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

_INTERRUPTED = 3  # `errors.EXIT_INTERRUPTED`, which is not imported yet


def run() -> None:
    """The console script: a process that ends with `main`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    try:
        main()
    except KeyboardInterrupt:  # before anything could stop in order, or after
        print("mediacrawl: interrupted; run the same command to go on", file=sys.stderr)  # noqa: T201
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        if sys.argv[1:2] == ["get"] and isinstance(end.code, int):
            _leave(end.code)
        raise


def _leave(status: int) -> None:
    """End as the interpreter does, in its order, but without taking apart each module: that lasts 10 ms, and all
    memory goes back anyway. Not for a crawl: what a spider has written into a file that it leaves open goes to the
    disk only then. Returns where something is not as usual: then it is left to the interpreter.
    """
    with suppress(AttributeError, OSError, ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left that could be broken off
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Exits with the statuses that the README documents."""
    gc.disable()  # what is imported stays: to look through it for garbage is a tenth of a start
    if sys.argv[1:2] == ["get"] and (status := _get()) is not None:
        sys.exit(status)
    from mediacrawl.cli import main as scrapy_command  # noqa: PLC0415

    _enough_imported()
    scrapy_command.main()


def _get() -> int | None:
    """`get` needs no Scrapy, as long as all goes well; see `run_plain`."""
    from mediacrawl import settings  # noqa: PLC0415
    from mediacrawl.cli import get  # noqa: PLC0415

    _enough_imported()
    return get.run_plain(sys.argv[2:], vars(settings))


def _enough_imported() -> None:
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    run()

"""`mediacrawl …` and `python -m mediacrawl …`, started quickly."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """The console script. Exits with the statuses that the README documents."""
    gc.disable()  # what is imported stays: to look through it for garbage, now and in the end, is a fifth of a start
    if sys.argv[1:2] == ["get"] and (status := _get()) is not None:
        sys.exit(status)
    from mediacrawl import cli  # noqa: PLC0415

    _enough_imported()
    cli.main()


def _get() -> int | None:
    """`get` needs no Scrapy, as long as all goes well; see `run_plain`."""
    from mediacrawl import direct, settings  # noqa: PLC0415

    _enough_imported()
    return direct.run_plain(sys.argv[2:], vars(settings))


def _enough_imported() -> None:
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    main()

"""`mediacrawl …` and `python -m mediacrawl …`, started quickly."""

from __future__ import annotations

import gc


def main() -> None:
    """The console script, see `cli.main`."""
    gc.disable()  # what is imported stays: to look through it for garbage, now and in the end, is a fifth of a start
    from mediacrawl import cli  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    cli.main()


if __name__ == "__main__":
    main()

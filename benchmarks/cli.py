"""The command line: which workloads, how often, where."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.beside import BesidePeers
from benchmarks.harness import say
from benchmarks.workloads import GROUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: everything ran, 1: some run has no time, 2: wrong usage or no server, 3: interrupted."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    harness = BesidePeers(options)
    try:
        harness.run()
    except RuntimeError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 3
    finally:
        harness.remove()
    return int(any(run.fault for runs in harness.results.runs.values() for run in runs))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), metavar="NAME", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--repeat", type=int, metavar="N", help="counted rounds; 5, with --scale small 1")
    parser.add_argument("--scale", choices=("full", "small"), default="full", help="small: a smoke test")
    where = parser.add_argument("--file-system", choices=("tmpfs", "ext4", "both"))
    where.help = "ext4: that of --work-dir, whatever it is; both, with --scale small tmpfs"
    parser.add_argument("--work-dir", type=Path, default=HERE / ".work", help="folder on a disk; %(default)s")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="virtual environment with gallery-dl and others")
    parser.add_argument("--out", type=Path, default=HERE, help="where results.md and the plots go; %(default)s")
    parser.add_argument("--keep", action="store_true", help="leave what was fetched")
    options = parser.parse_args(argv)
    options.arguments = sys.argv[1:] if argv is None else list(argv)
    options.file_system = options.file_system or {"full": "both", "small": "tmpfs"}[options.scale]
    options.only = options.only or list(GROUPS)
    if options.repeat is None:
        options.repeat = {"full": 5, "small": 1}[options.scale]
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    return options

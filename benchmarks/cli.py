"""The command line: which workloads, how often, where."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.against import CHOICE, DEFAULT, AgainstCommit
from benchmarks.beside import BesidePeers
from benchmarks.harness import say
from benchmarks.peers import ROOT
from benchmarks.workloads import GROUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run what the command line asks for; `root` is the clone that `--against` compares.

    Exit status 0: everything ran, 1: some run has no time, 2: wrong usage, no server, or a version that cannot be
    run, 3: interrupted. That a version is slower than another is no error.
    """
    options = _options(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    harness = AgainstCommit(options, root) if options.against is not None else BesidePeers(options)
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


_AGAINST = f"""\
compare the working tree with a commit, in pairs of runs, without peers; --repeat is 10 then, with --scale small 2;
--only is of {", ".join(CHOICE)}; all but second without it"""


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), metavar="NAME", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--repeat", type=int, metavar="N", help="counted rounds; 5, with --scale small 1")
    parser.add_argument("--against", metavar="COMMIT", help=_AGAINST)
    parser.add_argument("--scale", choices=("full", "small"), default="full", help="small: a smoke test")
    where = parser.add_argument("--file-system", choices=("tmpfs", "ext4", "both"))
    where.help = "ext4: that of --work-dir, whatever it is; both, with --scale small tmpfs"
    parser.add_argument("--work-dir", type=Path, default=HERE / ".work", help="folder on a disk; %(default)s")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="virtual environment with gallery-dl and others")
    parser.add_argument("--out", type=Path, default=HERE, help="where the report goes; %(default)s")
    parser.add_argument("--keep", action="store_true", help="leave what was fetched")
    options = parser.parse_args(argv)
    options.arguments = sys.argv[1:] if argv is None else list(argv)
    options.file_system = options.file_system or {"full": "both", "small": "tmpfs"}[options.scale]
    if options.against is not None:
        if strange := [name for name in options.only or () if name not in CHOICE]:
            parser.error(f"--against has no {', '.join(strange)}; it has {', '.join(CHOICE)}")
        if options.peers:
            parser.error("--against has no peers")
    options.only = options.only or (DEFAULT if options.against is not None else list(GROUPS))
    if options.repeat is None:
        rounds = {"full": 10, "small": 2} if options.against is not None else {"full": 5, "small": 1}
        options.repeat = rounds[options.scale]
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    return options

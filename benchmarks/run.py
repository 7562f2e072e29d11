"""`python benchmarks/run.py`: see `--help`, and README.md beside this file."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the clone, not this folder
    from benchmarks.cli import main

    sys.exit(main())

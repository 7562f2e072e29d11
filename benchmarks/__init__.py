"""Speed against the peers, on the same work, in one run: `python benchmarks/run.py`."""

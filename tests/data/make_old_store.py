"""Make `store-<commit>.tar.gz`: a store and a job as an earlier mediacrawl leaves them when it is killed.

    python tests/data/make_old_store.py PYTHON COMMIT

PYTHON is the interpreter of a virtual environment with that version. The site is reached through a proxy, so that its
URLs are the same whatever port the tests get.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from old_site import BIG_STOPS_AT, serve  # noqa: E402 - from the folder of the tests
from origin import Origin, limit_per_connection, stall_after  # noqa: E402


def main(python: str, commit: str) -> None:
    """Crawl until the film is half there and its page is not through, then kill; then a list, to its end."""
    with tempfile.TemporaryDirectory() as name, Origin() as origin:
        folder = Path(name)
        serve(origin)
        origin.fault("/film.mp4", stall_after(BIG_STOPS_AT))
        origin.fault("/film.mp4", limit_per_connection(400_000))  # so that its record is written on the way
        env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()} | {"http_proxy": origin.url("")}
        words = [python, "-m", "mediacrawl", "crawl", "site", "-a", "url=http://archive.test/1"]
        options = ["-s", "FILES_STORE=store", "-s", "JOBDIR=job", "-s", "MEDIACRAWL_PROCESSES=0"]
        with subprocess.Popen([*words, *options], cwd=folder, env=env) as crawl:
            origin.wait_for(lambda: origin.bytes_sent("/film.mp4") >= BIG_STOPS_AT)
            origin.wait_for(lambda: any(request.path == "/late.jpg" for request in origin.requests))
            subprocess.run(["sleep", "2"], check=True)  # for the ledger, which nothing tells of
            crawl.kill()
        with tarfile.open(FOLDER / f"store-{commit}.tar.gz", "w:gz") as archive:
            archive.add(folder / "store", "store")
            archive.add(folder / "job", "job")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Make `store-<commit>.tar.gz`: a store and a job as an earlier mediacrawl leaves them when it is killed.

Make also `urls-<commit>.tar.gz`: a store with keys that several URLs share.

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

from old_site import BIG_STOPS_AT, FILM, TWINS, URLS_HOST, serve, serve_urls  # noqa: E402 - from the tests
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


def make_urls(python: str, commit: str) -> None:
    """Fetch half of the URLs with a crawl, the others with `get`, which is killed while the film is half there."""
    with tempfile.TemporaryDirectory() as name, Origin() as origin:
        folder = Path(name)
        serve_urls(origin)
        origin.fault("/film.mp4", stall_after(BIG_STOPS_AT))
        origin.fault("/film.mp4", limit_per_connection(400_000))
        env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()} | {"http_proxy": origin.url("")}
        written = [f"{URLS_HOST}{target}\n" for target in TWINS]
        (folder / "crawl.txt").write_text("".join(written[::2]))
        (folder / "get.txt").write_text("".join([*written[1::2], f"{URLS_HOST}{FILM}\n"]))
        options = ["-s", "FILES_STORE=store", "-s", "MEDIACRAWL_PROCESSES=0"]
        crawl = [python, "-m", "mediacrawl", "crawl", "urllist", "-a", "file=crawl.txt"]
        subprocess.run([*crawl, *options], cwd=folder, env=env, check=True)
        with subprocess.Popen(
            [python, "-m", "mediacrawl", "get", "-i", "get.txt", *options], cwd=folder, env=env
        ) as get:
            origin.wait_for(lambda: origin.bytes_sent("/film.mp4") >= BIG_STOPS_AT)
            subprocess.run(["sleep", "2"], check=True)
            get.kill()
        with tarfile.open(FOLDER / f"urls-{commit}.tar.gz", "w:gz") as archive:
            archive.add(folder / "store", "store")


if __name__ == "__main__":
    make_urls(*sys.argv[1:])
    main(*sys.argv[1:])

"""What somebody gets who has no clone: whether sdist and wheel are complete, and whether the wheel works by itself.

`.ci/run` runs it in a clean copy of the clone; it needs nothing but the standard library. It builds the sdist, the
wheel out of that sdist, and a fresh virtual environment with nothing but that wheel. Commands run in empty folders.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
import zipfile
from email import message_from_bytes
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
# What no import would miss. They are named, as a comparison with the source does not see what is gone from there too.
NO_MODULES = {"mediacrawl/py.typed", "mediacrawl/templates/media.tmpl"}
BESIDE = {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"}
SMALL_FILES = 100  # more than a crawl fetches without worker processes, which start Python anew

# A module may ask for what an extra brings; anything else that is missing is missing in `dependencies`.
IMPORT_ALL = """
import importlib, pkgutil, sys, mediacrawl
from mediacrawl.errors import PackageMissing
assert mediacrawl.__file__.startswith(sys.prefix), mediacrawl.__file__
names = [module.name for module in pkgutil.walk_packages(mediacrawl.__path__, "mediacrawl.")]
for name in names:
    try:
        importlib.import_module(name)
    except PackageMissing:
        pass
    except ModuleNotFoundError as error:
        if error.name not in {"pycurl", "django", "aiohttp", "axes", "argon2", "pyftpdlib"}:
            raise
print(len(names), "modules")
"""


def main() -> None:
    # setuptools takes up the list of files of an earlier build, and what that has left would hide what is missing.
    check(not list(SOURCE.glob("*.egg-info")), "nothing was built in this copy before")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.chdir(place)
        wheel = built(place)
        python = installed(place, wheel)
        before = package_files(python)
        try_demo(empty(place / "demo"), python)
        try_many(empty(place / "many"), python)
        check(package_files(python) == before, "no command writes into the package")
        try_extra(python, wheel)


def built(place: Path) -> Path:
    """The wheel. Both archives are looked into."""
    package = {str(path.relative_to(SOURCE)) for path in files_in(SOURCE / "mediacrawl")}
    check_all_there(package, NO_MODULES, "the source")

    python = environment(place / "builder")
    step(python, "-m", "pip", "install", "--quiet", "build")
    # Without --wheel, the wheel is built out of the unpacked sdist: so nothing that it needs is missing there.
    step(python, "-m", "build", "--outdir", place / "dist", SOURCE, quiet=True)
    (sdist,) = (place / "dist").glob("*.tar.gz")
    (wheel,) = (place / "dist").glob("*.whl")

    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    check_all_there(names, package | BESIDE, sdist.name)
    folders = {name.split("/")[0] for name in names if "/" in name}
    check(folders == {"mediacrawl", "mediacrawl.egg-info"}, f"no other folder is in the sdist: {folders}")

    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith(f"{info}/")}
        licence = archive.read(f"{info}/licenses/LICENSE")
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
    check_all_there(names, package, wheel.name)
    check(names == package, f"nothing else is in the wheel: {names - package}")
    check(licence == (SOURCE / "LICENSE").read_bytes(), "the wheel has the licence")
    readme = (SOURCE / "README.md").read_bytes()
    check(bytes(metadata.get_payload(decode=True)).strip() == readme.strip(), "the wheel has the README")
    return wheel


def installed(place: Path, wheel: Path) -> Path:
    """The Python of an environment that has the wheel and what it asks for, and nothing else."""
    python = environment(place / "user")
    step(python, "-m", "pip", "install", "--quiet", wheel)
    step(python, "-m", "pip", "check")
    step(python, "-c", IMPORT_ALL, cwd=empty(place / "imports"), shown="python: import each module of the wheel")
    return python


def try_demo(folder: Path, python: Path) -> None:
    command = python.with_name("mediacrawl")
    check("genspider" in step(command, "--help", cwd=folder, quiet=True), "--help names the commands")
    step(command, "version", cwd=folder)
    step(command, "crawl", "demo", cwd=folder)
    arrived = len(published(folder / "downloads"))
    check(arrived > 10, f"the files of the demo have arrived: {arrived}")
    check(f"done {arrived} " in step(command, "status", cwd=folder), "status counts them")
    step(command, "verify", cwd=folder)
    check(len(step(command, "manifest", cwd=folder, quiet=True).splitlines()) == arrived, "manifest tells each")


def try_many(folder: Path, python: Path) -> None:
    """Many small files of one server: by a crawl of a list, by `get`, and by a spider out of our template."""
    command = python.with_name("mediacrawl")
    served = empty(folder / "served")
    for number in range(SMALL_FILES):
        (served / f"{number}.mp4").write_bytes(b"\1%d " % number * 3000)
    wanted = {path.name: path.read_bytes() for path in served.iterdir()}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(HostPause, directory=served)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        listing = f"http://127.0.0.1:{server.server_port}/"  # its page has a link to each file
        (folder / "urls.txt").write_text("".join(f"{listing}{name}\n" for name in wanted), encoding="utf-8")
        step(command, "genspider", "-t", "media", "films", listing, cwd=folder)
        for store, *words in (
            ("by-crawl", "crawl", "urllist", "-a", "file=urls.txt"),
            ("by-get", "get", "-i", "urls.txt"),
            ("by-spider", "runspider", "films.py"),
        ):
            step(command, *words, "-s", f"FILES_STORE={store}", cwd=folder, quiet=words[0] == "get")
            arrived = {path.name: path.read_bytes() for path in published(folder / store)}
            check(arrived == wanted, f"all are there as they are served, not {len(arrived)} of {len(wanted)}")
        server.shutdown()


def try_extra(python: Path, wheel: Path) -> None:
    """The extras bring what the other transport and the server need."""
    step(python, "-m", "pip", "install", "--quiet", f"{wheel.name}[curl,serve]", cwd=wheel.parent)
    modules = "transport.curl", "server.django", "server.rsgi", "server.http_process", "server.ftp.process"
    step(python, "-c", f"import {', '.join(f'mediacrawl.{name}' for name in modules)}")
    try_server(empty(wheel.parent.parent / "serve"), python)


def try_server(folder: Path, python: Path) -> None:
    """Serve a folder from the wheel: a first start, a page with its style sheet, a file, and the end."""
    (empty(folder / "store") / "film.mp4").write_bytes(b"film")
    command = [str(python.with_name("mediacrawl")), "serve", "store", "--port", "0", "--public"]
    print("+ mediacrawl", *command[1:], flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            told = next((line for line in server.stdout if " is served at " in line), "")
            check(told, "the server has started")
            url = told.split(" is served at ")[1].split()[0]
            page = read(f"{url}files/")
            check(b"film.mp4" in page, "the page of the folder has the file")
            style = re.search(rb'href="[^"]*(static/[^"]+\.css[^"]*)"', page)
            check(style and read(url + style[1].decode()), "the page has its style sheet")
            check(b"<form" in read(f"{url}login"), "the page of the login has a form")
            check(read(f"{url}files/film.mp4") == b"film", "the file arrives")
        finally:
            server.terminate()
        check(server.wait() == 0, f"a signal ends the server with status 0, not {server.returncode}")


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - of this server
        content: bytes = response.read()
        return content


class HostPause(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


# --- steps and checks -------------------------------------------------------------------------------


def environment(folder: Path) -> Path:
    """The Python of a fresh virtual environment."""
    step(Path(sys.executable), "-m", "venv", folder)
    return folder / "bin" / "python"


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def step(*words: str | Path, cwd: Path | None = None, quiet: bool = False, shown: str | None = None) -> str:
    """Run a command, which is told first. Returns its standard output; ends all where it fails or has a traceback.

    It does not see the source: neither in its working folder nor through the variables of Python.
    """
    print("+", shown or shlex.join(word.name if isinstance(word, Path) else word for word in words), flush=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SCRAPY_"))}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    if done.returncode or not quiet:
        print(done.stdout, done.stderr, sep="", end="", flush=True)
    check(done.returncode == 0, f"the exit status is 0, not {done.returncode}")
    check("Traceback" not in done.stderr, f"there is no traceback: {done.stderr}")
    return done.stdout


def check(holds: object, what: str) -> None:
    if not holds:
        sys.exit(f"does not hold: {what}")


def check_all_there(names: set[str], wanted: set[str], where: str) -> None:
    check(names >= wanted, f"{where} has all that it must have; missing: {sorted(wanted - names)}")


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def published(store: Path) -> list[Path]:
    return [path for path in files_in(store) if ".mediacrawl" not in path.parts]


def package_files(python: Path) -> list[Path]:
    (package,) = python.parent.parent.glob("lib/python*/site-packages/mediacrawl")
    return files_in(package)


if __name__ == "__main__":
    main()

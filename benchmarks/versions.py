"""The versions of mediacrawl that are measured: where each is imported from, and which settings it has."""

from __future__ import annotations

import compileall
import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from benchmarks.measure import common_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_OURS = "MEDIACRAWL_"
_PACKAGE, _PROJECT = "mediacrawl", "pyproject.toml"

# Newest name of a setting to the names that it had before. `workloads.py` and `peers.py` give the newest, and each
# version is given every one of them that it has.
FORMER_NAMES: Mapping[str, tuple[str, ...]] = {
    "MEDIACRAWL_FSYNC": ("MEDIACRAWL_SYNC",),
    "MEDIACRAWL_SEGMENT_MIN_BYTES": ("MEDIACRAWL_SEGMENT_FROM_BYTES",),
    "MEDIACRAWL_SEGMENT_PROBE_S": ("MEDIACRAWL_SEGMENT_AFTER_S",),
}


@dataclass(frozen=True, slots=True)
class Version:
    """Describe one version.

    Attributes:
        name: as tables show it; empty where there is only one.
        label: the commit, for a person.
        folder: of the package `mediacrawl`; None: as it is installed.
        settings: the names in its `mediacrawl.settings`.
    """

    name: str
    label: str
    folder: Path | None
    settings: frozenset[str]

    @property
    def env(self) -> dict[str, str]:
        """Give the environment in which it is found before any that is installed."""
        return {"PYTHONPATH": str(self.folder)} if self.folder else {}

    def options(self, settings: Mapping[str, object]) -> list[str]:
        """Give settings as options of a command line, under the names that this version has."""
        return [word for name, value in self._given(settings) for word in ("-s", f"{name}={value}")]

    def lacks(self, settings: Mapping[str, object]) -> str | None:
        """Say why this version cannot run with these settings, if so."""
        for name in settings:
            if not self._names(name):
                return f"this version has no setting {name}"
        if "MEDIACRAWL_TRANSPORT" in settings and importlib.util.find_spec("pycurl") is None:
            return "pycurl is not installed"
        return None

    def _given(self, settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
        for name, value in settings.items():
            for known in self._names(name):
                yield known, value

    def _names(self, name: str) -> list[str]:
        """Find the names of a setting that are known here: Scrapy's own are known to every version."""
        names = (name, *FORMER_NAMES.get(name, ()))
        return [one for one in names if one in self.settings or not one.startswith(_OURS)]


@cache
def installed() -> Version:
    """Describe the version that the interpreter finds by itself."""
    return Version("", "", None, names_in(vars(importlib.import_module("mediacrawl.settings"))))


def names_in(module: Iterable[str]) -> frozenset[str]:
    """Find the settings among the names of a module."""
    return frozenset(name for name in module if name.isupper())


def check_out(root: Path, commit: str, folder: Path) -> tuple[Version, Version]:
    """Copy the working tree, and a commit, into a folder: two sources in folders that are made alike.

    Edits in the working tree during a run have no effect on it.

    Raises:
        RuntimeError: there is no such commit, or one of the two cannot be run here; in one line.
    """
    then_id = _git(root, "rev-parse", "--verify", f"{commit}^{{commit}}")
    then_label = _git(root, "log", "-1", "--format=%h %s", then_id)
    changed = ", with changes" if _git(root, "status", "--porcelain", "--", _PACKAGE, _PROJECT) else ""
    now_label = f"the working tree at {_git(root, 'log', '-1', '--format=%h %s')}{changed}"
    now, then = folder / "now", folder / "then"
    shutil.copytree(root / _PACKAGE, now / _PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / _PROJECT, now)
    archive = folder / "then.zip"
    _git(root, "archive", "--format=zip", f"--output={archive}", then_id, _PACKAGE, _PROJECT)
    with zipfile.ZipFile(archive) as stored:
        stored.extractall(then)
    return made_ready("now", now_label, now), made_ready("then", then_label, then)


def made_ready(name: str, label: str, folder: Path) -> Version:
    """Compile a source, so that no run does it on the clock, and make sure that it is the one that is imported.

    Raises:
        RuntimeError: it cannot be run here; in one line.
    """
    shown = f"{name} ({label})"
    if why := _unmet((folder / _PROJECT).read_bytes()):
        raise RuntimeError(f"{shown}: {why}")
    if not compileall.compile_dir(folder / _PACKAGE, quiet=2):
        raise RuntimeError(f"{shown}: it cannot be compiled by this Python")
    found = Version(name, label, folder, frozenset())
    ran = subprocess.run(  # noqa: S603 - started as each run will be
        [sys.executable, "-c", _PROBE],
        cwd=folder.parent,
        env=common_environment(folder.parent) | found.env,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise RuntimeError(f"{shown}: it cannot be imported: {_last_line(ran.stderr)}")
    names, *files = json.loads(ran.stdout)
    for file in files:
        if not Path(file).resolve().is_relative_to(folder.resolve()):
            raise RuntimeError(f"{shown}: mediacrawl is imported from {file} instead")
    return Version(name, label, folder, names_in(names))


def are_alike(first: Version, second: Version) -> bool:
    """Say whether two versions that were checked out have the same source."""
    return _source(first) == _source(second)


def _source(version: Version) -> dict[Path, bytes]:
    assert version.folder is not None
    files = (path for path in (version.folder / _PACKAGE).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(version.folder): path.read_bytes() for path in files}


_PROBE = """
import json, mediacrawl, mediacrawl.settings as settings
print(json.dumps([list(vars(settings)), str(mediacrawl.__file__), str(settings.__file__)]))
"""


def _unmet(project: bytes) -> str | None:
    """Find a dependency of a `pyproject.toml` that is not installed, or in another version."""
    for line in tomllib.loads(project.decode("utf-8"))["project"].get("dependencies", []):
        needed = Requirement(line)
        if needed.marker and not needed.marker.evaluate():
            continue
        try:
            there = version(needed.name)
        except PackageNotFoundError:
            return f"it needs {needed}, which is not installed"
        if not needed.specifier.contains(there, prereleases=True):
            return f"it needs {needed}, and {there} is installed"
    return None


def _git(root: Path, *arguments: str) -> str:
    try:
        ran = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), "--no-optional-locks", *arguments],  # noqa: S607
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise RuntimeError("git is not installed") from None
    if ran.returncode != 0:
        raise RuntimeError(f"git {' '.join(arguments)}: {_last_line(ran.stderr)}")
    return ran.stdout.strip()


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]

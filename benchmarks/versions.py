"""The versions of mediacrawl that are measured: where each is imported from, and which settings it has."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_OURS = "MEDIACRAWL_"

# Newest name of a setting to the names that it had before. `workloads.py` and `peers.py` give the newest, and each
# version is given every one of them that it has.
FORMER_NAMES: Mapping[str, tuple[str, ...]] = {}


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


def names_in(module: Mapping[str, object]) -> frozenset[str]:
    """Find the settings among what a module has."""
    return frozenset(name for name in module if name.isupper())

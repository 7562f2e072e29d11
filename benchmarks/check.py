"""Whether what a run left behind is what it should have brought: count, sizes, sha256 of each file."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.data import Facts

HIDDEN = ".mediacrawl"  # our parts and ledger, not files that somebody wanted


def fault_of_files(
    folder: Path,
    wanted: Mapping[str, Facts],
    *,
    by_name: bool = True,
    exact: bool = True,
    beside: tuple[str, ...] = (),
) -> str | None:
    """What is wrong in a folder, in words; None when everything is there and right.

    Args:
        folder: searched with all that is below.
        wanted: name to facts.
        by_name: the tool keeps names; otherwise files are recognised by their digest.
        exact: nothing else may be there.
        beside: endings of what the tool writes beside the files, which is passed over.
    """
    found = [path for path in _files_below(folder) if not path.name.endswith(beside or ("\0",))]
    if by_name:
        return _fault_by_name(found, wanted, exact=exact)
    return _fault_by_digest(found, wanted)


def _fault_by_name(found: list[Path], wanted: Mapping[str, Facts], *, exact: bool) -> str | None:
    paths = {path.name: path for path in found}
    if missing := wanted.keys() - paths.keys():
        return f"{len(missing)} of {len(wanted)} files are missing, {min(missing)} first"
    if exact and len(found) != len(wanted):
        return f"{len(found)} files are there instead of {len(wanted)}"
    for name, facts in wanted.items():
        if fault := _fault_of_file(paths[name], facts):
            return fault
    return None


def _fault_by_digest(found: list[Path], wanted: Mapping[str, Facts]) -> str | None:
    if len(found) != len(wanted):
        return f"{len(found)} files are there instead of {len(wanted)}"
    there = Counter(_sha256(path) for path in found)
    left = Counter(facts.sha256 for facts in wanted.values()) - there
    return f"{left.total()} of {len(wanted)} files are not there, or wrong" if left else None


def _fault_of_file(path: Path, facts: Facts) -> str | None:
    size_bytes = path.stat().st_size
    if size_bytes != facts.size_bytes:
        return f"{path.name} has {size_bytes} bytes instead of {facts.size_bytes}"
    return None if _sha256(path) == facts.sha256 else f"{path.name} has a wrong sha256"


def _sha256(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _files_below(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        if HIDDEN in folders:
            folders.remove(HIDDEN)
        yield from (Path(base, name) for name in names)

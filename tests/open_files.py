"""The files and folders that this process has open below a folder."""

from pathlib import Path


def open_below(folder: Path) -> list[str]:
    """Their paths; other tests of this process may open and close others meanwhile."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            path = str(link.readlink())
        except OSError:
            continue
        if path == str(folder) or path.startswith(f"{folder}/"):
            found.append(path)
    return sorted(found)

"""Look up known vulnerabilities of what is installed, and of the oldest versions that pyproject.toml accepts.

Without a network, or where pip-audit cannot be installed or knows no advisories, the check is skipped with a word.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

_BOUND = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9.]+)")
_PATIENCE_S = 300


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        audit = installed(Path(scratch))
        if audit is None:
            print("SKIPPED: pip-audit cannot be installed here")
            return 0
        oldest = Path(scratch) / "oldest.txt"
        oldest.write_text("\n".join(lower_bounds()), encoding="utf-8")
        found = [
            *audited(audit, "--path", *site_packages()),
            *audited(audit, "--disable-pip", "--no-deps", "-r", oldest),
        ]
    looked_up = [package for package in found if "vulns" in package]
    if not looked_up:
        print("SKIPPED: pip-audit finds no advisories from here")
        return 0
    faults = [package for package in looked_up if package["vulns"]]
    for package in faults:
        print(package["name"], package["version"], *(vulnerability["id"] for vulnerability in package["vulns"]))
    print(f"{len(looked_up)} packages audited, {len(faults)} with known vulnerabilities, {len(found)} in all")
    return 1 if faults else 0


def installed(scratch: Path) -> Path | None:
    """Install pip-audit into an environment of its own, so that it changes none of ours."""
    venv.create(scratch / "venv", with_pip=True)
    python = scratch / "venv/bin/python"
    install = [python, "-m", "pip", "install", "-q", "pip-audit"]
    try:
        done = subprocess.run(install, check=False, capture_output=True, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return None
    return scratch / "venv/bin/pip-audit" if done.returncode == 0 else None


def lower_bounds() -> list[str]:
    """Return the oldest accepted version of each dependency, extras included, as pinned requirements."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (project["optional-dependencies"][name] for name in ("curl", "socks"))
    wanted = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    return [f"{match[1]}=={match[2]}" for match in map(_BOUND.match, wanted) if match]


def site_packages() -> list[str]:
    """Return the folders of installed packages of the Python that runs this script."""
    return [path for path in sys.path if path.endswith("site-packages")]


def audited(audit: Path, *words: object) -> list[dict[str, Any]]:
    """Return what pip-audit has found for each package; nothing if it does not reach any advisories."""
    command = [str(audit), "--progress-spinner", "off", "-f", "json", *map(str, words)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE_S)
        return list(json.loads(done.stdout)["dependencies"])
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return []


if __name__ == "__main__":
    sys.exit(main())

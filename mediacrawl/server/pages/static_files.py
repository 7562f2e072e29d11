"""The files of the package that pages refer to."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


class StaticFile(NamedTuple):
    """A file of the package.

    Attributes:
        content: its bytes.
        content_type: its media type.
        version: the beginning of its SHA-256, in hexadecimal digits.
    """

    content: bytes
    content_type: str
    version: str


def _read() -> dict[str, StaticFile]:
    found = {}
    for file in files("mediacrawl.server.pages").joinpath("static").iterdir():
        if (content_type := _TYPES.get(file.name.rpartition(".")[2])) is not None:
            content = file.read_bytes()
            found[file.name] = StaticFile(content, content_type, hashlib.sha256(content).hexdigest()[:16])
    return found


STATIC_FILES = _read()

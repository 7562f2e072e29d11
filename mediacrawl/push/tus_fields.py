"""The header fields of tus 1.0.0 (https://tus.io/protocols/resumable-upload), as a client writes and reads them.

No I/O.
"""

from __future__ import annotations

import base64
import os
import re
from typing import TYPE_CHECKING

from mediacrawl.urls import Origin, resolve, target_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mediacrawl.push.local_files import LocalFile

CLIENT_VERSION = "1.0.0"
CHUNK_TYPE = "application/offset+octet-stream"
_OFFSET = re.compile(r"[0-9]{1,18}")


def metadata_of(file: LocalFile, folder: str, sha256: str) -> str:
    """Return the value of `Upload-Metadata` for a file.

    `filename` is what most servers read; `folder`, `sha256` and `modified` are those of `mediacrawl serve`. A name
    that is not UTF-8 gets escapes, as metadata are text.
    """
    facts = {
        "filename": _text(file.name),
        "folder": folder,
        "sha256": sha256,
        "modified": f"{file.mtime_ns / 1e9:.3f}",
    }
    return ",".join(
        f"{name} {base64.b64encode(text.encode()).decode('ascii')}" for name, text in facts.items() if text
    )


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def upload_url(endpoint: str, location: str) -> str | None:
    """Return the URL of an upload that a server has created; None if it is at another host.

    A server behind a proxy may write `http` where it is reached over `https`: the origin of the endpoint counts.
    """
    url = resolve(endpoint, location)
    mine, theirs = Origin.of(endpoint), Origin.of(url)
    if mine is None or theirs is None or mine.host != theirs.host or theirs.scheme not in {"http", "https"}:
        return None
    if mine.scheme == theirs.scheme and mine.port != theirs.port:
        return None
    return resolve(endpoint, target_of(url))


def offset_of(headers: Mapping[str, str]) -> int | None:
    """Return the value of `Upload-Offset`; None if there is none. The mapping ignores the case of names."""
    value = (headers.get("Upload-Offset") or "").strip()
    return int(value) if _OFFSET.fullmatch(value) else None


def is_tus(headers: Mapping[str, str]) -> bool:
    """Return whether the response to OPTIONS is that of a server of this version of tus."""
    versions = headers.get("Tus-Version") or headers.get("Tus-Resumable") or ""
    return CLIENT_VERSION in {version.strip() for version in versions.split(",")}

"""A readable name for a file."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mediacrawl.headers import (
    extension_for,
    filename_from_disposition,
    kind_of_path,
    kind_of_type,
    media_type,
    percent_decoded,
    type_of_path,
)
from mediacrawl.store.safe_paths import safe_folders, safe_name
from mediacrawl.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

# URLs with a last segment that needs no decoding.
_PLAIN_NAME = re.compile(r"(?:https?|ftps?)://[^/?#%@\s\\\[\]]+/(?:[^/?#%\s\\;]*/)*([A-Za-z0-9_.-]+)", re.ASCII)
# Extensions of programs, not of formats: the content type of the response decides.
_PROGRAMS = (".php", ".php5", ".asp", ".aspx", ".jsp", ".cgi", ".pl", ".do", ".action")


def file_name(
    url: str,
    headers: Mapping[str, str] | None = None,
    filename: str | None = None,
    page_encoding: str | None = None,
) -> str:
    """Return one safe path component: from the list, else from Content-Disposition, else from the URL.

    Args:
        url: URL of the file.
        headers: of the response, with lower-case names; None before there is a response.
        filename: name that the list gives. The name may contain folders, of which only the last component counts.
        page_encoding: encoding that the page with the link declares; None without such a page.
    """
    headers = headers or {}
    name = (
        filename
        or filename_from_disposition(headers.get("content-disposition"), page_encoding)
        or name_in_url(url, page_encoding)
    )
    name = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return safe_name(_with_extension(name, media_type(headers.get("content-type")), keep=bool(filename)))


def name_in_url(url: str, page_encoding: str | None = None) -> str:
    """Return the last segment of the path; the host name where there is none; `file` where there is no host.

    Percent-escapes are decoded from UTF-8, else from the encoding of the page. Otherwise they stay, so that the names
    of two URLs differ.
    """
    if name := percent_decoded(_last_segment(url), page_encoding):
        return name
    try:
        return urlsplit(url).hostname or "file"
    except ValueError:
        return "file"


def _last_segment(url: str) -> str:
    """Return the last segment of the path of a URL, as it is written; empty if there is none."""
    if (plain := _PLAIN_NAME.fullmatch(url)) is not None:
        return plain[1]
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return path.rstrip("/").rpartition("/")[2]


def expected_type(url: str, name: str | None = None) -> str | None:
    """Return the media type that the extension of a wanted file implies; None if there is no such extension.

    Args:
        url: URL of the file. The extension of a program (`.php`) implies nothing.
        name: name or path that is prescribed for the file. The URL counts if this name has no known extension.
    """
    if name and (implied := type_of_path(name)):
        return implied
    segment = unquote(_last_segment(url), "latin-1")  # an extension is ASCII in each encoding
    return None if segment.lower().endswith(_PROGRAMS) else type_of_path(segment)


def preferred_path(
    owner: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    filename: str | None = None,
    page_encoding: str | None = None,
) -> str:
    """Return `<owner>/<host>/<name>`, each part safe. `owner` is the name of the spider or command."""
    origin = Origin.of(url)
    folders = _safe_folders(owner, origin.host if origin is not None else "local")
    return folders + file_name(url, headers, filename, page_encoding)


@lru_cache(256)
def _safe_folders(owner: str, host: str) -> str:
    return safe_folders(f"{safe_name(owner)}/{safe_name(host)}")


def _with_extension(name: str, content_type: str | None, *, keep: bool) -> str:
    """Add the extension of the content type to a name without an extension of a known format."""
    if kind_of_path(name) is not None or content_type is None:
        return name
    suffix = PurePosixPath(name).suffix.lower()
    extension = extension_for(content_type)
    if extension is None or suffix == extension:
        return name
    if suffix in _PROGRAMS and not keep:
        return name[: -len(suffix)] + extension
    if suffix and (keep or kind_of_type(content_type) is None):
        return name
    return name + extension

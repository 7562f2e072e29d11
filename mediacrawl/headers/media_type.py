"""Kinds of files by Content-Type (RFC 9110 8.3) and by file extension."""

from __future__ import annotations

import mimetypes
import re
from functools import lru_cache

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - RFC 9110 5.6.2, not a secret
_ESSENCE = re.compile(rf"({_TOKEN}/{_TOKEN})[ \t]*(?:;.*)?", re.DOTALL)
_LONGEST = 255  # characters (RFC 6838 4.2)
_LONGEST_EXTENSION = 32  # a longer one is none

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_KINDS = frozenset({"image", "audio", "video"})

# Kinds that do not follow from the name before the slash.
_KIND_OF_TYPE = {
    "application/dash+xml": "video",
    "application/mp4": "video",
    "application/mxf": "video",
    "application/ogg": "audio",
    "application/vnd.apple.mpegurl": "video",
    "application/x-mpegurl": "video",
}

# Types that the standard library lacks, or maps differently from one release to the next. A new file gets the
# first extension of its type.
_EXTENSIONS = {
    "application/dash+xml": (".mpd",),
    "application/mp4": (".mp4",),
    "application/mxf": (".mxf",),
    "application/ogg": (".ogg", ".ogx"),
    "application/vnd.apple.mpegurl": (".m3u8",),
    "application/x-mpegurl": (".m3u8",),
    "application/xhtml+xml": (".xhtml",),
    "audio/aac": (".aac",),
    "audio/ac3": (".ac3",),
    "audio/aiff": (".aiff", ".aif"),
    "audio/flac": (".flac",),
    "audio/matroska": (".mka",),
    "audio/midi": (".mid", ".midi"),
    "audio/mp3": (".mp3",),
    "audio/mp4": (".m4a", ".m4b"),
    "audio/mpeg": (".mp3", ".mp2"),
    "audio/mpegurl": (".m3u",),
    "audio/ogg": (".ogg", ".oga", ".spx"),
    "audio/opus": (".opus",),
    "audio/wav": (".wav",),
    "audio/webm": (".weba",),
    "audio/x-ape": (".ape",),
    "audio/x-flac": (".flac",),
    "audio/x-m4a": (".m4a",),
    "audio/x-ms-wma": (".wma",),
    "audio/x-wav": (".wav",),
    "audio/x-wavpack": (".wv",),
    "image/apng": (".apng",),
    "image/avif": (".avif", ".avifs"),
    "image/bmp": (".bmp",),
    "image/gif": (".gif",),
    "image/heic": (".heic",),
    "image/heif": (".heif",),
    "image/jp2": (".jp2",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/jpg": (".jpg",),
    "image/jxl": (".jxl",),
    "image/png": (".png",),
    "image/svg+xml": (".svg", ".svgz"),
    "image/tiff": (".tif", ".tiff"),
    "image/vnd.adobe.photoshop": (".psd",),
    "image/vnd.microsoft.icon": (".ico",),
    "image/webp": (".webp",),
    "image/x-icon": (".ico",),
    "text/html": (".html", ".htm"),
    "text/plain": (".txt",),
    "text/x-ssa": (".ass", ".ssa"),  # subtitles; the standard library maps them to AAC
    "video/3gpp": (".3gp", ".3gpp"),
    "video/3gpp2": (".3g2",),
    "video/matroska": (".mkv",),
    "video/mp2t": (".ts", ".m2ts", ".mts"),
    "video/mp4": (".mp4", ".m4v", ".mp4v"),
    "video/mpeg": (".mpg", ".mpeg"),
    "video/ogg": (".ogv",),
    "video/quicktime": (".mov", ".qt"),
    "video/webm": (".webm",),
    "video/x-flv": (".flv", ".f4v"),
    "video/x-m4v": (".m4v",),
    "video/x-matroska": (".mkv", ".mk3d"),
    "video/x-ms-asf": (".asf",),
    "video/x-ms-wmv": (".wmv",),
    "video/x-msvideo": (".avi",),
}

# What a browser shows as a picture; it passes over a <source> of another type.
_WEB_IMAGES = frozenset(
    f"image/{name}"
    for name in ("apng", "avif", "bmp", "gif", "jpeg", "jpg", "pjpeg", "png", "svg+xml", "webp", "x-icon", "x-png")
) | {"image/vnd.microsoft.icon"}

# These types mean "unknown": no extension is better than a wrong one.
_SAYS_NOTHING = frozenset({"application/octet-stream", "binary/octet-stream", "application/force-download"})


@lru_cache(1)  # built when the first file gets its name, long after the import
def _table() -> mimetypes.MimeTypes:
    """Return a table that is the same on every machine: the shared table of the module reads /etc/mime.types.

    `MimeTypes()` would read that file too, although no entry of the file gets into the new table. The module skips
    the file while `inited` says that it has been read.
    """
    inited, mimetypes.inited = mimetypes.inited, True
    try:
        table = mimetypes.MimeTypes()
    finally:
        mimetypes.inited = inited
    for mime, extensions in _EXTENSIONS.items():
        for extension in extensions:
            table.add_type(mime, extension)
    return table


def media_type(value: str | None) -> str | None:
    """Return `type/subtype` in lower case, without parameters; None if the value is no media type."""
    return _essence(value.strip(" \t")[: 2 * _LONGEST]) if value else None


@lru_cache(256)  # a site sends few values, and each is parsed several times
def _essence(beginning: str) -> str | None:
    match = _ESSENCE.fullmatch(beginning)
    return match[1].lower() if match and len(match[1]) <= _LONGEST else None


def is_html(mime: str | None) -> bool:
    """Return whether a Content-Type is that of an HTML page."""
    return media_type(mime) in _HTML


def extension_for(mime: str | None) -> str | None:
    """Return the extension, with its dot, that a file of this type should have; None if the type implies none."""
    essence = media_type(mime)
    if essence is None or essence in _SAYS_NOTHING:
        return None
    if essence in _EXTENSIONS:
        return _EXTENSIONS[essence][0]
    return _table().guess_extension(essence, strict=False)


def kind_of_type(mime: str | None) -> str | None:
    """Return "image", "audio" or "video", or None for every other type."""
    essence = media_type(mime) or ""
    top = essence.partition("/")[0]
    return _KIND_OF_TYPE.get(essence, top if top in _KINDS else None)


def is_web_image(mime: str | None) -> bool:
    """Return whether browsers show images of this type. JPEG XL, HEIF, TIFF and JPEG 2000 are not shown by all."""
    return media_type(mime) in _WEB_IMAGES


def kind_of_path(path: str) -> str | None:
    """Return "image", "audio" or "video" by the extension alone, or None. The argument is a path without a query."""
    return _kind_of_extension(_extension_of(path))


def type_of_path(path: str) -> str | None:
    """Return the media type that the extension alone implies, or None. The argument is a path without a query."""
    return _type_of_extension(_extension_of(path))


def _extension_of(path: str) -> str:
    """Return the extension in lower case, with its dot; empty if there is none."""
    name = path.rstrip("/").rpartition("/")[2]
    dot = name.rfind(".")  # as `PurePath.suffix`, at a tenth of the cost: called for each link
    return name[dot:].lower() if 0 < dot < len(name) - 1 and len(name) - dot <= _LONGEST_EXTENSION else ""


@lru_cache(256)
def _type_of_extension(extension: str) -> str | None:
    common, standard = _table().types_map
    implied = standard.get(extension) or common.get(extension)
    return None if implied in _SAYS_NOTHING else implied


@lru_cache(256)
def _kind_of_extension(extension: str) -> str | None:
    return kind_of_type(_type_of_extension(extension))

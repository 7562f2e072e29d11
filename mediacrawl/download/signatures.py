"""The format of a file, by its first bytes, by its name and by its Content-Type.

Only formats that matter for a content coding are known here: compressed formats, which may be what a Content-Encoding
wrongly names, and media formats, whose bytes are certainly in no coding.
"""

from __future__ import annotations

from functools import lru_cache

from mediacrawl.headers import media_type

PLAIN = "plain"
"""The format of all files that have no signature and are not compressed, for example text."""

_MPEG_4 = "mp4"
_TEXT_BYTES = frozenset(b"\t\n\r") | frozenset(range(0x20, 0x7F)) | frozenset(range(0x80, 0x100))
_LEAST_TEXT_BYTES = 16  # compressed data may begin with a few printable characters

# Format -> offset and value of the bytes that begin its files.
_SIGNATURES = (
    ("gzip", 0, b"\x1f\x8b"),
    ("compress", 0, b"\x1f\x9d"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("dcb", 0, b"\xffDCB"),
    ("dcz", 0, b"\x5e\x2a\x4d\x18\x20\x00\x00\x00"),
    ("exi", 0, b"$EXI"),
    ("xz", 0, b"\xfd7zXZ\x00"),
    ("bzip2", 0, b"BZh"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("rar", 0, b"Rar!\x1a\x07"),
    ("zip", 0, b"PK\x03\x04"),
    ("zip", 0, b"PK\x05\x06"),
    ("jpeg", 0, b"\xff\xd8\xff"),
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("gif", 0, b"GIF87a"),
    ("gif", 0, b"GIF89a"),
    ("riff", 0, b"RIFF"),
    ("riff", 0, b"RF64"),
    (_MPEG_4, 4, b"ftyp"),
    (_MPEG_4, 4, b"moov"),
    (_MPEG_4, 4, b"mdat"),
    (_MPEG_4, 4, b"JXL \r\n\x87\n"),
    (_MPEG_4, 4, b"jP  \r\n\x87\n"),
    ("matroska", 0, b"\x1a\x45\xdf\xa3"),
    ("mp3", 0, b"ID3"),
    ("ogg", 0, b"OggS"),
    ("flac", 0, b"fLaC"),
    ("pdf", 0, b"%PDF"),
    ("tiff", 0, b"II*\x00"),
    ("tiff", 0, b"MM\x00*"),
    ("psd", 0, b"8BPS"),
    ("aiff", 0, b"FORM"),
    ("midi", 0, b"MThd"),
    ("flv", 0, b"FLV\x01"),
    ("asf", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("mpeg", 0, b"\x00\x00\x01\xba"),
    ("mpeg", 0, b"\x00\x00\x01\xb3"),
    ("tar", 257, b"ustar"),
)

# Format -> extensions of its files.
_EXTENSIONS = {
    "gzip": "gz gzip tgz taz tpz svgz emz wmz vgz tgs z adz dz mgz cpgz wrz x3dz als",
    "compress": "z taz",
    "br": "br tbr",
    "zstd": "zst zstd tzst",
    "deflate": "zlib deflate zz",
    "exi": "exi",
    "pack200-gzip": "pack",
    "xz": "xz txz",
    "bzip2": "bz2 tbz tbz2 bz",
    "7z": "7z",
    "rar": "rar",
    "zip": "zip cbz epub kmz jar apk docx xlsx pptx odt ods odp",
    "jpeg": "jpg jpeg jpe jfif",
    "png": "png apng",
    "gif": "gif",
    "riff": "webp wav avi",
    _MPEG_4: "mp4 m4a m4b m4v mov qt 3gp 3g2 heic heif avif jp2 jxl",
    "matroska": "mkv mka mk3d webm weba",
    "mp3": "mp3",
    "ogg": "ogg oga ogv ogx opus spx",
    "flac": "flac",
    "pdf": "pdf",
    "tiff": "tif tiff",
    "psd": "psd",
    "aiff": "aif aiff aifc",
    "midi": "mid midi",
    "flv": "flv",
    "asf": "asf wmv wma",
    "mpeg": "mpg mpeg mp2",
    PLAIN: "tar txt csv tsv json ndjson geojson xml svg html htm xhtml js mjs css md log sql vtt srt rss atom m3u8",
}
_OF_EXTENSION: dict[str, tuple[str, ...]] = {}
for _format, _names in _EXTENSIONS.items():
    for _name in _names.split():
        _OF_EXTENSION[_name] = (*_OF_EXTENSION.get(_name, ()), _format)

# Ends of the subtypes of compressed files: application/x-gzip, application/x-compressed-tar, image/x+gzip, …
_SUBTYPE_ENDS = {
    "gzip": (
        *("gzip", "gzipped", "gzip-compressed", "gunzip", "x-gz", "+gz", "tgz", "tar-gz", "targz", "x-compressed"),
        *("x-compressed-tar", "gtar-compressed"),
    ),
    "compress": ("x-compress", "x-compressed", "x-tarz", "x-z"),
    "br": ("brotli", "x-br", "+br"),
    "zstd": ("zstd", "x-zst", "zstd-compressed-tar"),
    "deflate": ("zlib", "deflate"),
    "exi": ("/exi", "+exi"),
    "pack200-gzip": ("x-java-pack200",),
}


def signature_of(beginning: bytes) -> str | None:
    """Return the format whose signature the first bytes of a file have; None if no known one fits."""
    return next((name for name, offset, magic in _SIGNATURES if beginning.startswith(magic, offset)), None)


def is_text(beginning: bytes) -> bool:
    """Return whether the first bytes of a file are text in UTF-8 or ASCII, and long enough to be no coincidence."""
    if len(beginning) < _LEAST_TEXT_BYTES or not _TEXT_BYTES.issuperset(beginning):
        return False
    try:
        beginning[:-4].decode()  # the last character may be cut
    except UnicodeDecodeError as error:
        return error.end == len(beginning) - 4 and error.reason == "unexpected end of data"
    return True


def formats_of_name(name: str) -> tuple[str, ...]:
    """Return the formats that files with the extension of this name have; none if the extension is not known."""
    return _OF_EXTENSION.get(name.rstrip("/").rpartition(".")[2].lower(), ()) if "." in name else ()


def formats_of_type(content_type: str | None) -> tuple[str, ...]:
    """Return the formats that a Content-Type names, if they are formats of compressed files; else none."""
    return _formats_of(media_type(content_type) or "")


@lru_cache(64)
def _formats_of(essence: str) -> tuple[str, ...]:
    return tuple(name for name, ends in _SUBTYPE_ENDS.items() if essence.endswith(ends))

"""tus 1.0.0 (https://tus.io/protocols/resumable-upload) as decisions: a request becomes a command, or a response.

Nothing is read, written or sent here, and no framework is known.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from mediacrawl.errors import DiskFull, MachineError, MediacrawlError
from mediacrawl.server.ranges import PlannedResponse
from mediacrawl.server.site import text_response
from mediacrawl.server.uploads.problems import (
    ChecksumMismatch,
    NameRefused,
    NoSuchUpload,
    NotWhole,
    OffsetConflict,
    QuotaSpent,
    SilentClient,
    TakenOver,
    TooManyRequests,
    TooManyUploads,
    UploadInUse,
    UploadTooLarge,
)
from mediacrawl.server.uploads.records import Checksum
from mediacrawl.server.uploads.uploads import MOST_UPLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mediacrawl.server.uploads.records import UploadFacts

TUS_VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination,concatenation"
_ALGORITHMS = {"sha1": 20, "sha256": 32}  # and the length of a digest in bytes

_VERSION_FIELD = ("Tus-Resumable", TUS_VERSION)
_NO_STORE = ("Cache-Control", "no-store")
_CHUNK_TYPE = "application/offset+octet-stream"
_METHODS = "OPTIONS, GET, HEAD, POST, PATCH, DELETE"
_OVERRIDES = frozenset({"PATCH", "DELETE", "HEAD"})
_NUMBER = re.compile(r"[0-9]{1,19}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_METADATA_KEY = re.compile(r"[!-+\--~]+")  # visible ASCII without blank and comma
_MOST_METADATA = 6_000  # characters; fields of a request are limited, too
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_LATEST = 253402300799.0  # 9999-12-31, in seconds since the epoch

# Fields that a page of another site may send and read, if its origin is allowed.
_SENT = "Authorization, Content-Type, Tus-Resumable, Upload-Checksum, Upload-Concat, Upload-Length, Upload-Metadata, "
_SENT += "Upload-Offset, X-HTTP-Method-Override, X-Requested-With"
_READ = "Content-Location, Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Upload-Concat, "
_READ += "Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset"


class UploadRequest(NamedTuple):
    """A request below `/uploads/`.

    Attributes:
        method: in capital letters.
        name: the path behind `/uploads/`, decoded: empty, or the id of an upload.
        field: returns a header field by its name in lower case; lines of one name are joined by commas.
        base: the path of `/uploads/`, with the prefix of the server, percent-encoded.
    """

    method: str
    name: str
    field: Callable[[str], str | None]
    base: str


class Describe(NamedTuple):
    """Tell which version and extensions of tus there are."""


class ListUploads(NamedTuple):
    """Tell which uploads of the person are unfinished."""


class Create(NamedTuple):
    """Begin an upload, and append the content of the request, if there is any.

    Attributes:
        length: of the whole file, in bytes.
        metadata: what the client says about the file, by key.
        raw_metadata: the same as it was sent.
        is_partial: whether it is to be joined with others.
        has_content: whether the content of the request is a part of the file.
        content_length: of the content; None: not told.
        checksum: of the content.
    """

    length: int
    metadata: Mapping[str, str]
    raw_metadata: str
    is_partial: bool
    has_content: bool
    content_length: int | None
    checksum: Checksum | None


class Join(NamedTuple):
    """Make an upload of others.

    Attributes:
        ids: of the others, in their order.
        metadata, raw_metadata: as for `Create`.
        concat: the value of `Upload-Concat`.
    """

    ids: tuple[str, ...]
    metadata: Mapping[str, str]
    raw_metadata: str
    concat: str


class Tell(NamedTuple):
    """Tell the offset of an upload."""

    id: str


class Append(NamedTuple):
    """Append the content of the request to an upload.

    Attributes:
        id: of the upload.
        offset: where the content begins.
        length: of the content; None: not told.
        checksum: of the content.
    """

    id: str
    offset: int
    length: int | None
    checksum: Checksum | None


class Remove(NamedTuple):
    """Remove an unfinished upload."""

    id: str


TusCommand = Describe | ListUploads | Create | Join | Tell | Append | Remove


class BadRequest(Exception):
    """A request that cannot be carried out; the argument is the response."""

    def __init__(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        self.response = _text(status, text, *headers)
        super().__init__(text)


def command_of(request: UploadRequest) -> TusCommand | PlannedResponse:
    """Return what a request asks for, or the response to one that asks for nothing that can be done."""
    try:
        return _command_of(request)
    except BadRequest as error:
        return error.response


def _command_of(request: UploadRequest) -> TusCommand:
    method = _method(request)
    if method == "OPTIONS":
        return Describe()
    if method == "GET" and not request.name:
        return ListUploads()
    if request.field("tus-resumable") != TUS_VERSION:
        raise BadRequest(
            412,
            f"This is a server of tus {TUS_VERSION}: send Tus-Resumable: {TUS_VERSION}.",
            ("Tus-Version", TUS_VERSION),
        )
    if not request.name:
        if method != "POST":
            raise _not_allowed("GET, OPTIONS, POST")
        return _create_or_join(request)
    if _ID.fullmatch(request.name) is None:
        raise BadRequest(404, "There is no such upload.")
    if method == "HEAD":
        return Tell(request.name)
    if method == "DELETE":
        return Remove(request.name)
    if method == "PATCH":
        return _append(request)
    raise _not_allowed("OPTIONS, HEAD, PATCH, DELETE")


def _method(request: UploadRequest) -> str:
    """Return the method that is meant: some environments can send neither PATCH nor DELETE."""
    override = request.field("x-http-method-override")
    return override if request.method == "POST" and override in _OVERRIDES else request.method


def _create_or_join(request: UploadRequest) -> Create | Join:
    raw = request.field("upload-metadata") or ""
    metadata = parse_metadata(raw)
    concat = request.field("upload-concat")
    if concat is not None and concat != "partial":
        return Join(_ids_to_join(concat, request.base), metadata, raw, concat)
    has_content = _media_type(request) == _CHUNK_TYPE
    if not has_content and request.field("content-length") not in {None, "0"}:
        raise BadRequest(415, f"The content of a creation is a part of the file, of the type {_CHUNK_TYPE}.")
    length = _number(request, "upload-length")
    if length > MOST_UPLOAD_BYTES:
        raise BadRequest(413, f"A file has at most {MOST_UPLOAD_BYTES} bytes.")
    content_length = _content_length(request)
    if has_content and (content_length or 0) > length:
        raise BadRequest(413, "The content is longer than Upload-Length.")
    return Create(length, metadata, raw, concat is not None, has_content, content_length, _checksum(request))


def _append(request: UploadRequest) -> Append:
    if _media_type(request) != _CHUNK_TYPE:
        raise BadRequest(415, f"The content of PATCH is of the type {_CHUNK_TYPE}.")
    return Append(request.name, _number(request, "upload-offset"), _content_length(request), _checksum(request))


def _ids_to_join(concat: str, base: str) -> tuple[str, ...]:
    """Return the ids in a value `final;/uploads/a /uploads/b`; the URLs may be absolute."""
    kind, _, urls = concat.partition(";")
    if kind != "final":
        raise BadRequest(400, "Upload-Concat is `partial`, or `final;` and paths of uploads, with blanks between.")
    ids = []
    for url in urls.split():
        try:
            path = urlsplit(url).path
        except ValueError:
            path = ""
        found = path.removeprefix(base)
        if not path.startswith(base) or _ID.fullmatch(found) is None:
            raise BadRequest(400, f"Upload-Concat has something else than a path below {base}.")
        ids.append(found)
    return tuple(ids)


def parse_metadata(value: str) -> dict[str, str]:
    """Return the pairs of a value of `Upload-Metadata`.

    Raises:
        BadRequest: it is malformed, or too long.
    """
    if len(value) > _MOST_METADATA:
        raise BadRequest(400, f"Upload-Metadata has at most {_MOST_METADATA} characters.")
    found: dict[str, str] = {}
    for pair in value.split(",") if value.strip() else ():
        key, _, encoded = pair.strip().partition(" ")
        if _METADATA_KEY.fullmatch(key) is None or key in found:
            raise BadRequest(400, "Upload-Metadata has different keys of visible ASCII, each with a value in Base64.")
        try:
            found[key] = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise BadRequest(400, f"Upload-Metadata: the value of {key} is not UTF-8 in Base64.") from None
    return found


class AnnouncedFile(NamedTuple):
    """What the metadata of an upload say about its file; see `UploadWish`."""

    folder: str
    name: str
    sha256: str | None
    modified: float | None


def announced_file(metadata: Mapping[str, str]) -> AnnouncedFile:
    """Return what metadata say about the file, by the keys that clients use.

    `relativePath` and `filename` or `name` are those of tus-js-client and Uppy; `folder`, `sha256` and `modified` (in
    seconds since the epoch) are those of this server, `lastModified` is in milliseconds, as browsers have it.

    Raises:
        BadRequest: the digest is none.
    """
    relative = metadata.get("relativePath")
    names = ("" if relative in {"null", "undefined"} else relative, metadata.get("filename"), metadata.get("name"))
    name = next(filter(None, names), "")
    sha256 = metadata.get("sha256") or None
    if sha256 is not None and _SHA256.fullmatch(sha256) is None:
        raise BadRequest(400, "Upload-Metadata: sha256 is a SHA-256 in hexadecimal.")
    modified = _time(metadata.get("modified"), 1.0)
    if modified is None:
        modified = _time(metadata.get("lastModified"), 1000.0)
    return AnnouncedFile(metadata.get("folder", ""), name, sha256, modified)


def _time(text: str | None, unit: float) -> float | None:
    try:
        found = float(text or "") / unit
    except ValueError:
        return None
    return found if math.isfinite(found) and 0 <= found <= _LATEST else None


def _number(request: UploadRequest, name: str) -> int:
    value = request.field(name)
    if value is None or _NUMBER.fullmatch(value) is None:
        title = name.title()
        raise BadRequest(400, f"{title} is a number of bytes, and it was {'missing' if value is None else 'not'}.")
    return int(value)


def _content_length(request: UploadRequest) -> int | None:
    value = request.field("content-length")
    return int(value) if value is not None and _NUMBER.fullmatch(value) else None


def _media_type(request: UploadRequest) -> str:
    return (request.field("content-type") or "").partition(";")[0].strip().lower()


def _checksum(request: UploadRequest) -> Checksum | None:
    value = request.field("upload-checksum")
    if value is None:
        return None
    algorithm, _, encoded = value.strip().partition(" ")
    length = _ALGORITHMS.get(algorithm)
    if length is None:
        raise BadRequest(400, f"Upload-Checksum: the algorithm is one of {', '.join(sorted(_ALGORITHMS))}.")
    try:
        digest = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != length:
        raise BadRequest(400, f"Upload-Checksum: expected a digest of {length} bytes in Base64.")
    return Checksum(algorithm, digest)


def _not_allowed(methods: str) -> BadRequest:
    return BadRequest(405, f"Expected one of {methods}.", ("Allow", methods))


# Responses


def capabilities(origin: str | None = None) -> PlannedResponse:
    """Return the response to OPTIONS.

    Args:
        origin: of the page that asks, if it is of another site and allowed.
    """
    fields = [
        ("Tus-Version", TUS_VERSION),
        ("Tus-Extension", EXTENSIONS),
        ("Tus-Checksum-Algorithm", ",".join(_ALGORITHMS)),
        ("Tus-Max-Size", str(MOST_UPLOAD_BYTES)),
    ]
    if origin is not None:
        fields += [
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", _SENT),
            ("Access-Control-Max-Age", "7200"),
        ]
    return _empty(204, *fields)


def listed(uploads: Iterable[UploadFacts], left_bytes: int | None, *, is_buffered: bool) -> PlannedResponse:
    """Return the unfinished uploads of a person, as JSON; `offset` is of the moment.

    `metadata` is what the client has sent at the creation: by it, a client knows its file again.

    Args:
        uploads: of the person.
        left_bytes: how much more the person may add; None: no limit.
        is_buffered: whether a proxy seems to collect uploads before it sends them on.
    """
    found = {
        "uploads": [
            {
                "id": facts.id,
                "path": facts.path,
                "length": facts.length_bytes,
                "offset": facts.offset,
                "expires": formatdate(facts.expires_at, usegmt=True),
                "metadata": facts.metadata,
            }
            for facts in uploads
        ],
        "left_bytes": left_bytes,
        "is_buffered": is_buffered,
    }
    body = json.dumps(found).encode()
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), _NO_STORE]
    return PlannedResponse(200, [*fields, ("X-Content-Type-Options", "nosniff")], (body,))


def created(facts: UploadFacts, base: str, file_base: str) -> PlannedResponse:
    """Return the response to a creation. `file_base` is the path of `/files/`, as `base` is of `/uploads/`."""
    return _empty(201, ("Location", f"{base}{facts.id}"), *_progress(facts, file_base))


def told(facts: UploadFacts, file_base: str) -> PlannedResponse:
    """Return the response to HEAD; `file_base` as for `created`."""
    fields = _progress(facts, file_base)
    if facts.length_bytes is None:  # begun by another protocol
        fields.append(("Upload-Defer-Length", "1"))
    else:
        fields.append(("Upload-Length", str(facts.length_bytes)))
    if facts.metadata:
        fields.append(("Upload-Metadata", facts.metadata))
    if facts.concat:
        fields.append(("Upload-Concat", facts.concat))
    return _empty(200, *fields)


def appended(facts: UploadFacts, file_base: str) -> PlannedResponse:
    """Return the response to PATCH."""
    return _empty(204, *_progress(facts, file_base))


def removed() -> PlannedResponse:
    """Return the response to DELETE."""
    return _empty(204)


def _progress(facts: UploadFacts, file_base: str) -> list[tuple[str, str]]:
    fields = [("Upload-Offset", str(facts.offset))]
    if facts.is_published:
        fields.append(("Content-Location", f"{file_base}{quote(facts.path)}"))
    else:
        fields.append(("Upload-Expires", formatdate(facts.expires_at, usegmt=True)))
    return fields


_STATUS: tuple[tuple[type[MediacrawlError], int], ...] = (
    (NoSuchUpload, 404),
    (NameRefused, 403),
    (QuotaSpent, 413),
    (TooManyUploads, 429),
    (UploadTooLarge, 413),
    (OffsetConflict, 409),
    (TakenOver, 409),
    (NotWhole, 409),
    (ChecksumMismatch, 460),
    (UploadInUse, 423),
    (SilentClient, 408),
    (TooManyRequests, 503),
    (DiskFull, 507),
    (MachineError, 503),
)


def refused(error: MediacrawlError) -> PlannedResponse:
    """Return the response that tells an error of `Uploads`."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
    fields: list[tuple[str, str]] = []
    if isinstance(error, OffsetConflict):
        fields.append(("Upload-Offset", str(error.offset)))
    if status in {423, 429, 503, 507}:
        fields.append(("Retry-After", "10"))
    if isinstance(error, MachineError) and not isinstance(error, DiskFull):
        return _text(status, "The server cannot write now. Its log says why.", *fields)  # paths of the machine
    said = "There is no room left on the disk of the server." if isinstance(error, DiskFull) else str(error)
    return _text(status, said, *fields)


def _empty(status: int, *fields: tuple[str, str]) -> PlannedResponse:
    length = [] if status == 204 else [("Content-Length", "0")]
    return PlannedResponse(status, [_VERSION_FIELD, *fields, *length, _NO_STORE])


def _text(status: int, text: str, *fields: tuple[str, str]) -> PlannedResponse:
    return text_response(status, text, _VERSION_FIELD, *fields)


# Pages of other sites


def is_own_origin(origin: str, scheme: str, host: str | None) -> bool:
    """Return whether an `Origin` is that of this server, under which the request has reached it (RFC 6454 7)."""
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    return origin.lower() == f"{scheme}://{(host or '').lower().removesuffix(default)}"


def allowing(response: PlannedResponse, origin: str) -> PlannedResponse:
    """Return a response that a page of another site may read."""
    fields = [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", _READ),
        ("Vary", "Origin"),
    ]
    return response._replace(headers=[*response.headers, *fields])

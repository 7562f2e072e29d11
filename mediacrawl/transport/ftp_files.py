"""A file of an FTP server as a representation of HTTP: its validators, and the answer to a conditional request.

The downloader asks in the terms of HTTP: `Range`, `If-Range`, `If-None-Match`. FTP has neither conditions nor
versions, so they are evaluated here, with the size and the time that the server tells of the file (RFC 3659 3, 4).
There is no I/O.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.headers import ContentRange, ETag, Validators, parse_range

if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 3659 2.3. `213-` would begin a reply of several lines.
_SIZE = re.compile(r"213 +([0-9]{1,18})\s*", re.ASCII)
_TIME = re.compile(r"213 +([0-9]{14}(?:\.[0-9]{1,9})?)\s*", re.ASCII)
_FACT = re.compile(r"([a-z.-]+)=([^;]*);", re.IGNORECASE | re.ASCII)  # RFC 3659 7.2
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_MOMENT = re.compile(r"[0-9]{14}(?:\.[0-9]{1,9})?", re.ASCII)


class FtpFacts(NamedTuple):
    """The facts of a file that its server tells.

    Attributes:
        size_bytes: None if the server does not tell it.
        modified: `YYYYMMDDHHMMSS` in UTC, perhaps with a fraction; None likewise.
    """

    size_bytes: int | None = None
    modified: str | None = None

    @property
    def modified_at(self) -> datetime | None:
        """The time of the last change; None if it is not known, or is no time."""
        if self.modified is None:
            return None
        try:
            return datetime.strptime(self.modified[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None

    @property
    def validators(self) -> Validators:
        """The validators: an entity tag of size and time if both are known, as web servers make it."""
        at = self.modified_at
        if at is None:
            return Validators()
        etag = ETag(f"ftp-{self.size_bytes}-{self.modified}") if self.size_bytes is not None else None
        return Validators(etag, format_datetime(at, usegmt=True))

    def headers(self) -> dict[str, str]:
        """Return the fields of a head that these facts give. `Accept-Ranges` says that one connection is enough."""
        validators = self.validators
        fields = {"accept-ranges": "none"}
        if validators.etag is not None:
            fields["etag"] = validators.etag.to_header()
        if validators.last_modified is not None:
            fields["last-modified"] = validators.last_modified
        return fields


class FtpAnswer(NamedTuple):
    """The answer to a request, in the terms of HTTP: the bytes `[start, stop)`.

    `stop` is None if the size is not known.
    """

    status: int
    start: int = 0
    stop: int | None = None

    def headers(self, facts: FtpFacts) -> dict[str, str]:
        """Return the fields of the head."""
        fields, size = facts.headers(), facts.size_bytes
        if self.status == 416:
            return fields | {"content-range": f"bytes */{size}"}
        if self.stop is not None:
            fields["content-length"] = str(self.stop - self.start)
            if self.status == 206:
                fields["content-range"] = ContentRange(self.start, self.stop, size).to_header()
        return fields


def answer_to(headers: Mapping[str, str], facts: FtpFacts) -> FtpAnswer:
    """Return the answer to a request with these headers (RFC 9110 13.2.2, 14.2). Names may be in any case.

    A range of a file whose size is not known is answered with the complete file.
    """
    asked = {name.lower(): value for name, value in headers.items()}
    whole, validators = FtpAnswer(200, 0, facts.size_bytes), facts.validators
    if _is_unchanged(asked, validators):
        return FtpAnswer(304)
    if facts.size_bytes is None or not _is_in_range_version(asked.get("if-range"), validators):
        return whole
    ranges = parse_range(asked.get("range"), facts.size_bytes)
    if ranges is None or len(ranges) > 1:
        return whole
    return FtpAnswer(206, *ranges[0]) if ranges else FtpAnswer(416)


def _is_unchanged(asked: Mapping[str, str], validators: Validators) -> bool:
    if (tag := asked.get("if-none-match")) is not None:
        return validators.etag is not None and tag == validators.etag.to_header()
    since = asked.get("if-modified-since")
    return since is not None and since == validators.last_modified


def _is_in_range_version(if_range: str | None, validators: Validators) -> bool:
    """Return whether a range may be sent: there is no condition, or the file is of the version that it names."""
    return if_range is None or if_range == validators.if_range()


def size_of(reply: str) -> int | None:
    """Return the size in a reply to SIZE; None if it is none."""
    match = _SIZE.fullmatch(reply)
    return int(match[1]) if match else None


def time_of(reply: str) -> str | None:
    """Return the time in a reply to MDTM; None if it is none."""
    match = _TIME.fullmatch(reply)
    return match[1] if match else None


def facts_of_entry(reply: str) -> FtpFacts:
    """Return the facts in a reply to MLST (RFC 3659 7.2): of a file, with a blank before the facts."""
    line = next((line for line in reply.split("\n") if line.startswith(" ")), "")
    facts = {name.lower(): value for name, value in _FACT.findall(line.strip().partition(" ")[0])}
    if facts.get("type", "file").lower() != "file":
        return FtpFacts()
    size, modified = facts.get("size", ""), facts.get("modify", "")
    return FtpFacts(int(size) if _DIGITS.fullmatch(size) else None, modified if _MOMENT.fullmatch(modified) else None)

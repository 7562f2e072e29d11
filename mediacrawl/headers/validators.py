"""Validators (RFC 9110 8.8), which show whether two sets of bytes are of one version."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import NamedTuple, Self

from mediacrawl.headers.dates import http_date

# RFC 9110 8.8.3: etagc is any visible character but the quote, and obs-text. W/ is case-sensitive.
_ETAGC = r"[\x21\x23-\x7e\x80-\xff]*"
_OPAQUE = re.compile(_ETAGC)
_ENTITY_TAG = re.compile(rf'(W/)?"({_ETAGC})"')

# RFC 9110 8.8.2.2: one second between the change and the response, so that no second change fits in.
_STRONG_AFTER_S = 1.0


class Agreement(enum.Enum):
    """Whether two sets of validators name one version. Weak or missing evidence gives UNKNOWN."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class _Tag(NamedTuple):
    opaque: str
    weak: bool = False


class ETag(_Tag):
    """An entity tag without its quotes. The constructor raises ValueError for text that no header can carry."""

    __slots__ = ()

    def __new__(cls, opaque: str, weak: bool = False) -> Self:
        if not _OPAQUE.fullmatch(opaque):
            raise ValueError(f"no entity tag can hold {opaque!r}")
        return super().__new__(cls, opaque, weak)

    @classmethod
    def from_header(cls, value: str | None) -> ETag | None:
        """Read `ETag`; None for a tag without quotes, a list, or any other value not allowed by RFC 9110 8.8.3."""
        match = _ENTITY_TAG.fullmatch((value or "").strip(" \t"))
        return cls._make((match[2], match[1] is not None)) if match else None

    def to_header(self) -> str:
        """Return the value of the header field."""
        return f'W/"{self.opaque}"' if self.weak else f'"{self.opaque}"'

    def strong_match(self, other: ETag) -> bool:
        """Return whether the bytes are identical, as the tags are equal and neither is weak (RFC 9110 8.8.3.2)."""
        return not self.weak and not other.weak and self.opaque == other.opaque

    def weak_match(self, other: ETag) -> bool:
        """Return whether the contents are equivalent, perhaps with other bytes (RFC 9110 8.8.3.2)."""
        return self.opaque == other.opaque


class Validators(NamedTuple):
    """The validators of a response, which name its version.

    `last_modified` is the header as received, since a server may compare it as text (RFC 9110 13.1.5).
    """

    etag: ETag | None = None
    last_modified: str | None = None
    last_modified_is_strong: bool = False

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Validators:
        """Read `etag`, `last-modified` and `date`; the keys of the mapping are in lower case."""
        text = headers.get("last-modified")
        modified_at, sent_at = http_date(text), http_date(headers.get("date"))
        # RFC 9110 8.8.2.2. Both times come from one response, so from one clock.
        strong = modified_at is not None and sent_at is not None and sent_at >= modified_at + _STRONG_AFTER_S
        return cls(
            etag=ETag.from_header(headers.get("etag")),
            last_modified=text if modified_at is not None else None,
            last_modified_is_strong=strong,
        )

    def if_range(self) -> str | None:
        """Return the `If-Range` value, or None if no validator is strong enough to combine ranges of bytes.

        RFC 9110 13.1.5: never a weak entity tag, and a date only if it is strong and there is no entity tag at all. A
        server that sends a weak tag states that its bytes may differ, regardless of dates.
        """
        if self.etag is not None:
            return None if self.etag.weak else self.etag.to_header()
        return self.last_modified if self.last_modified_is_strong else None

    def conditional_headers(self) -> dict[str, str]:
        """Return the headers of a request that revalidates: weak validators suffice (RFC 9110 13.1.2, 13.1.3)."""
        if self.etag is not None:
            return {"If-None-Match": self.etag.to_header()}
        return {"If-Modified-Since": self.last_modified} if self.last_modified is not None else {}

    def compare(self, other: Validators) -> Agreement:
        """Return whether `other` names the version from which `self` was saved."""
        etags, dates = (
            _etags_agree(self.etag, other.etag),
            _dates_agree(self.last_modified, other.last_modified),
        )
        if etags is Agreement.SAME:  # decides over the date (RFC 9110 13.2.2): servers of one site differ in it
            return Agreement.SAME
        if Agreement.DIFFERENT in (etags, dates):
            return Agreement.DIFFERENT
        by_date = self.etag is None and other.etag is None and self.last_modified_is_strong
        return dates if by_date else Agreement.UNKNOWN

    def to_dict(self) -> dict[str, str | bool | None]:
        """Return a dictionary that JSON can hold and `from_dict` reads."""
        return {
            "etag": self.etag.to_header() if self.etag else None,
            "last_modified": self.last_modified,
            "last_modified_is_strong": self.last_modified_is_strong,
        }

    @classmethod
    def from_dict(cls, data: object) -> Validators:
        """Read a result of `to_dict`. Any other value, for example a damaged record, gives empty validators."""
        if not isinstance(data, Mapping):
            return cls()
        etag, text = data.get("etag"), data.get("last_modified")
        dated = isinstance(text, str) and http_date(text) is not None
        return cls(
            etag=ETag.from_header(etag) if isinstance(etag, str) else None,
            last_modified=text if dated else None,
            last_modified_is_strong=dated and data.get("last_modified_is_strong") is True,
        )


def _etags_agree(mine: ETag | None, theirs: ETag | None) -> Agreement:
    if mine is None or theirs is None:
        return Agreement.UNKNOWN
    if not mine.weak_match(theirs):
        return Agreement.DIFFERENT
    return Agreement.SAME if mine.strong_match(theirs) else Agreement.UNKNOWN


def _dates_agree(mine: str | None, theirs: str | None) -> Agreement:
    """Compare instants, not texts: two servers of one site may write the same time in two forms."""
    mine_at, theirs_at = http_date(mine), http_date(theirs)
    if mine_at is None or theirs_at is None:
        return Agreement.UNKNOWN
    return Agreement.SAME if mine_at == theirs_at else Agreement.DIFFERENT

"""What clients want to upload, and what they are told of their uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mediacrawl.server.accounts.rights import Person


class UploadWish(NamedTuple):
    """What a client wants to upload. Names are as the client has sent them: they become safe ones.

    Attributes:
        person: who uploads.
        folder: in the store, with "/" between its components; empty: the common folder, or else the own one.
        name: of the file; it may have folders in it.
        length_bytes: of the whole file; None: not known yet, the end of the bytes is the end of the file.
        sha256: of the whole file, in hex; None: not known.
        modified: when the file was changed last, in seconds since the epoch; None: not known.
        metadata: kept for the client: visible ASCII.
        concat: of tus: how the upload is a part of another one, or made of others; empty: neither.
    """

    person: Person
    folder: str
    name: str
    length_bytes: int | None = None
    sha256: str | None = None
    modified: float | None = None
    metadata: str = ""
    concat: str = ""


class UploadFacts(NamedTuple):
    """An upload, as it is now.

    Attributes:
        id: of letters, digits, "-" and "_", not to be guessed.
        person: the name of whoever uploads.
        path: of the file in the store: the wished one, which is safe, or the final one if `is_published`.
        length_bytes: of the whole file; None: not known yet.
        offset: the number of bytes that are durable, from the first one on.
        expires_at: in seconds since the epoch.
        is_published: whether the file has its final name.
        metadata, concat: as in `UploadWish`.
    """

    id: str
    person: str
    path: str
    length_bytes: int | None
    offset: int
    expires_at: float
    is_published: bool = False
    metadata: str = ""
    concat: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether no byte is missing."""
        return self.offset == self.length_bytes


class Checksum(NamedTuple):
    """The digest that the bytes of one writer must have.

    Attributes:
        algorithm: `sha1` or `sha256`.
        digest: its bytes.
    """

    algorithm: str
    digest: bytes

"""The unfinished uploads of a person, by the paths that an FTP client knows: it has no other names for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediacrawl.server.ftp.transferred_files import ReceivedFile
from mediacrawl.server.uploads.problems import UploadProblem
from mediacrawl.server.uploads.uploads import UploadWish
from mediacrawl.store.safe_paths import safe_relative_path

if TYPE_CHECKING:
    from mediacrawl.server.accounts.rights import Person
    from mediacrawl.server.uploads.uploads import UploadFacts, Uploads


class NotContinued(UploadProblem):
    """There is no unfinished upload that these bytes could continue."""


class NamedUploads:
    """The unfinished uploads of one person. Each method may raise `DiskFull` and `StoreNotWritable`."""

    def __init__(self, uploads: Uploads, person: Person) -> None:
        self._uploads = uploads
        self._person = person
        self._told: dict[str, int] = {}  # sizes, by path, on which the client may rely

    def change_person(self, person: Person) -> None:
        """Have other rights hold from now on."""
        self._person = person

    def by_path(self) -> dict[str, UploadFacts]:
        """Return the last upload for each path in the store, but parts of others. Offsets are those of the moment."""
        unfinished = self._uploads.list_unfinished(self._person)
        return {facts.path: facts for facts in unfinished if facts.concat != "partial"}

    def find(self, path: str) -> UploadFacts | None:
        """Return the last upload for a path; None if there is none."""
        return self.by_path().get(safe_relative_path(path))

    def durable_size(self, path: str) -> int | None:
        """End the transfer of an upload, and return the number of bytes that are durable; None if there is none.

        Raises:
            UploadInUse: the process that receives it does not answer.
        """
        facts = self.find(path)
        if facts is None:
            self._told.pop(path, None)
            return None
        self._told[path] = self._uploads.facts(facts.id, self._person).offset
        return self._told[path]

    def begin(self, path: str, announced: int | None) -> ReceivedFile:
        """Begin an upload. An unfinished one for the same path is removed, as STOR replaces what was sent before.

        Args:
            path: in the store.
            announced: the number of bytes that will come, None if that is not known.

        Raises:
            NameRefused, QuotaSpent, TooManyUploads, UploadTooLarge: as `Uploads.create`.
        """
        self.remove(path)
        facts = self._uploads.create(self._wish(path)._replace(length_bytes=announced))
        return ReceivedFile(path, facts, self._uploads.writer(facts.id, self._person, 0), announced)

    def go_on(self, path: str, offset: int | None, announced: int | None) -> ReceivedFile:
        """Continue an upload.

        Args:
            path: in the store.
            offset: where the bytes begin; None: where the upload ends.
            announced: the number of bytes of the file, or of those that will come; None if that is not known.

        Raises:
            NotContinued: there is no such upload, or it has changed since its size was told.
            OffsetConflict: it does not end at `offset`.
            UploadInUse: the process that receives it does not answer.
        """
        told = self._told.pop(path, None)
        facts = self.find(path)
        if facts is None:
            raise NotContinued("there is no unfinished upload of this name: send the file from its beginning")
        facts = self._uploads.facts(facts.id, self._person)
        start = facts.offset if offset is None else offset
        if offset is None and told is not None and told != start:
            raise NotContinued("the upload has changed since its size was told: ask for the size again")
        return ReceivedFile(path, facts, self._uploads.writer(facts.id, self._person, start), announced)

    def has_told(self, path: str) -> bool:
        """Return whether the client was told a size of an unfinished upload, on which an append would rely."""
        return self._told.get(path, 0) > 0

    def publish(self, upload_id: str) -> str:
        """Give an upload its final name; return its path in the store.

        Raises:
            NameRefused, ChecksumMismatch: as `Uploads.finish`.
        """
        return self._uploads.finish(upload_id, self._person)

    def rename(self, path: str, new_path: str) -> bool:
        """Give an upload another path; return whether there is one. One of the new path is removed.

        Raises:
            NameRefused: as `Uploads.amend`.
        """
        facts = self.find(path)
        if facts is not None:
            if safe_relative_path(new_path) != facts.path:
                self.remove(new_path)
            self._uploads.amend(facts.id, self._wish(new_path))
        return facts is not None

    def set_time(self, path: str, modified: float) -> bool:
        """Note when the file of an upload was changed last; return whether there is one."""
        facts = self.find(path)
        if facts is not None:
            self._uploads.amend(facts.id, self._wish(path)._replace(modified=modified))
        return facts is not None

    def _wish(self, path: str) -> UploadWish:
        folder, _, name = path.rpartition("/")
        return UploadWish(self._person, folder, name)

    def remove(self, path: str) -> bool:
        """Remove an upload; return whether there was one."""
        facts = self.find(path)
        if facts is not None:
            self._uploads.remove(facts.id, self._person)
        return facts is not None

"""The bytes that a person may still add.

What a person has added, and what is reserved for uploads that are not finished, stands in the rows of the ledger. A
reservation is made in one transaction with the sum that it has to fit in, so that it holds with several uploads at
once, and in several processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediacrawl.ledger.upload_keys import upload_key
from mediacrawl.server.uploads.problems import QuotaSpent, TooManyUploads

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.ledger.base import Ledger
    from mediacrawl.server.accounts.rights import Person
    from mediacrawl.server.uploads.rows import UploadRow

MOST_UNFINISHED = 10_000
"""The most uploads of one person that may be unfinished at a time: each has a row, and most have a file."""


class Quotas:
    """Reserve bytes for uploads. Methods may be called from any thread."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        """Keep the reservations in a ledger. `clock` returns seconds since the epoch."""
        self._ledger = ledger
        self._clock = clock

    def left_bytes(self, person: Person) -> int | None:
        """Return how many bytes a person may still add; None: no limit."""
        if person.quota_bytes is None:
            return None
        return max(0, person.quota_bytes - self._used_bytes(person))

    def begin(self, row: UploadRow, person: Person, size_bytes: int) -> UploadRow:
        """Write the row of a new upload, with bytes reserved. Return it as it is written.

        Raises:
            QuotaSpent: the person may not add as many bytes.
            TooManyUploads: too many are unfinished.
        """
        return self._reserve(row, person, size_bytes, is_new=True)

    def extend(self, row: UploadRow, person: Person, size_bytes: int) -> UploadRow:
        """Reserve `size_bytes` in total for an upload. Return its row as it is written.

        Raises:
            QuotaSpent: the person may not add as many bytes; what was reserved before still is.
        """
        return self._reserve(row, person, size_bytes, is_new=False)

    def _reserve(self, row: UploadRow, person: Person, size_bytes: int, *, is_new: bool) -> UploadRow:
        entry = row.reserving(size_bytes)
        with self._ledger.transaction():
            if is_new:
                self._refuse_too_many(person)
            if person.quota_bytes is not None:
                used_bytes = self._used_bytes(person) - (row.entry.size_bytes or 0)
                _refuse_too_many_bytes(person, used_bytes, size_bytes)
            self._ledger.reserve(entry, self._clock())
        return row._replace(entry=entry)

    def _used_bytes(self, person: Person) -> int:
        keys = upload_key(person.name)
        return self._ledger.done_total(keys).size_bytes + self._ledger.unfinished_total(keys).size_bytes

    def _refuse_too_many(self, person: Person) -> None:
        unfinished = self._ledger.unfinished_total(upload_key(person.name)).rows
        if unfinished >= MOST_UNFINISHED:
            raise TooManyUploads(f"{unfinished} uploads of {person.name} are unfinished: finish or remove some first")


def _refuse_too_many_bytes(person: Person, used_bytes: int, size_bytes: int) -> None:
    quota = person.quota_bytes
    if quota is not None and size_bytes and used_bytes + size_bytes > quota:
        left_bytes = max(0, quota - used_bytes)
        raise QuotaSpent(
            f"{person.name} may add {quota:,} bytes, of which {left_bytes:,} are left, and this file has "
            f"{size_bytes:,}: ask a manager of this server for more"
        )

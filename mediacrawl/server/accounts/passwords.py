"""Hashes of passwords: which one, and how many at a time."""

from __future__ import annotations

import re
import threading
import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.contrib.auth.hashers import Argon2PasswordHasher

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_HASHES = 2  # at a time, so that 38 MiB and two threads
MOST_CHARACTERS = 1000  # of a password

_SURROGATE = re.compile(r"[\ud800-\udfff]")

_slots = threading.BoundedSemaphore(MOST_HASHES)


class PasswordHasher(Argon2PasswordHasher):
    """Argon2id with the least cost that OWASP recommends: 19 MiB, two passes, one thread.

    Django's default takes 100 MiB for each login that is being checked.
    """

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1


@contextmanager
def hash_slot() -> Iterator[None]:
    """Wait until fewer than `MOST_HASHES` threads are within this context."""
    with _slots:
        yield


def same_form(password: str) -> str | None:
    """Return a password in the form in which it is hashed: an accent may be typed as one character or as two.

    None for a text that cannot be a password: too long, or not Unicode.
    """
    if len(password) > MOST_CHARACTERS or _SURROGATE.search(password) is not None:
        return None
    return unicodedata.normalize("NFKC", password)

"""Names and application passwords, which are those of programs that use HTTP. Import it once Django is set up."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from django.db import Error as DjangoDatabaseError
from django.db import connections

from mediacrawl.errors import MachineError
from mediacrawl.server.accounts.configuration import people_database
from mediacrawl.server.accounts.people import authenticate_application
from mediacrawl.server.accounts.revocations import READ_REVISION

if TYPE_CHECKING:
    from pathlib import Path

    from mediacrawl.server.accounts.rights import Person


class PeopleUnavailable(MachineError):
    """The database of people cannot be read now."""


class Logins:
    """Look people up, from any thread. All of them share one connection of Django, in a thread of its own."""

    def __init__(self, store: Path) -> None:
        """Open the database of people of a store, which `configuration.migrate` has made."""
        self._thread = ThreadPoolExecutor(1, "people")
        self._db = sqlite3.connect(people_database(store), isolation_level=None, check_same_thread=False, timeout=1)
        self._lock = threading.Lock()  # of the connection

    def close(self) -> None:
        """Close the database, and end the thread."""
        self._thread.submit(connections.close_all)
        self._thread.shutdown()
        self._db.close()

    def find(self, name: str, password: str, address: str) -> Person | None:
        """Return the person with a name and an application password; None if there is none.

        Args:
            name: of the person.
            password: an application password of this person.
            address: of the client, for the log.

        Raises:
            PeopleUnavailable: the database cannot be read.
        """
        try:
            return self._thread.submit(authenticate_application, name, password, address).result()
        except (sqlite3.Error, DjangoDatabaseError) as error:
            raise PeopleUnavailable(f"the logins cannot be checked now: {error}") from None

    def revision(self) -> int:
        """Return a number that changes whenever a right or a password ceases to hold.

        Raises:
            PeopleUnavailable: the database cannot be read.
        """
        try:
            with self._lock:
                found: int = self._db.execute(READ_REVISION).fetchone()[0]
        except sqlite3.Error as error:
            raise PeopleUnavailable(f"the logins cannot be checked now: {error}") from None
        return found

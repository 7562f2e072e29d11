"""A number in the database that changes whenever a login, a right or a password ceases to hold.

It is SQLite's `user_version`, which Django does not use. To read it takes some microseconds, and each process that
has the database open sees at once that another one has changed it.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models.signals import post_delete, post_save

from mediacrawl.server.accounts.models import Account, ApplicationPassword

READ_REVISION = "PRAGMA user_version"
_BITS = 31
_AT_LOGIN = frozenset({"last_login"})


def note_revocation() -> None:
    """Change the number, within the transaction of the caller if there is one.

    It is random, as two processes that count would give the same number to two changes.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{READ_REVISION} = {secrets.randbits(_BITS)}")


def connect_signals() -> None:
    """Have each change of a user, of rights or of passwords, and the end of each session, change the number."""
    for model in (get_user_model(), Account, ApplicationPassword):
        post_save.connect(_saved, sender=model, dispatch_uid=f"saved {model.__name__}")
    for model in (get_user_model(), Account, ApplicationPassword, Session):
        post_delete.connect(_deleted, sender=model, dispatch_uid=f"deleted {model.__name__}")


def _saved(*, created: bool, update_fields: frozenset[str] | None, **_facts: Any) -> None:
    if not created and update_fields != _AT_LOGIN:
        note_revocation()


def _deleted(**_facts: Any) -> None:
    note_revocation()

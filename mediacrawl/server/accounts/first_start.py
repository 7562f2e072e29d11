"""The first start of a server. This module can be imported before Django is set up."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, NamedTuple

from mediacrawl.server.accounts.configuration import migrate, set_up
from mediacrawl.server.accounts.rights import Rights

if TYPE_CHECKING:
    from mediacrawl.server.options import ServeOptions

PASSWORD_VARIABLE = "MEDIACRAWL_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable of the environment
_NAME = "admin"
_ALL_RIGHTS = Rights(can_read=True, can_upload=True, can_manage=True)


class FirstAdministrator(NamedTuple):
    """The first person of a server.

    Attributes:
        name: to log in with.
        password: to be shown once; None if the environment has given it.
    """

    name: str
    password: str | None


def first_administrator(options: ServeOptions) -> FirstAdministrator | None:
    """Set Django up, bring the tables up to date, and add a first person if there is none; else return None.

    The password is that of the variable `MEDIACRAWL_ADMIN_PASSWORD`, if it is set, else a random one.

    Raises:
        StoreNotWritable: the hidden folder of the store, or the database, cannot be used.
        AccountProblem: the password of the environment is too weak.
    """
    set_up(options)
    migrate()
    from mediacrawl.server.accounts import people  # noqa: PLC0415 - Django is set up only now

    if people.list_people():
        return None
    given = os.environ.get(PASSWORD_VARIABLE)
    password = given or secrets.token_urlsafe(12)
    try:
        people.add_person(_NAME, password, _ALL_RIGHTS)
    except people.AccountProblem as error:
        raise people.AccountProblem(f"{PASSWORD_VARIABLE}: {error}") from None
    return FirstAdministrator(_NAME, None if given else password)

"""Who has sent a request for a file, and whether it may be fulfilled.

A session of Django costs more than a millisecond for each request. So the person of a session is kept for some
seconds, and only as long as nothing has been revoked, see `revocations`. This module can be imported before Django is
set up.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from django.db import Error as DjangoDatabaseError
from django.db import connections

from mediacrawl.server.accounts.configuration import people_database, session_cookie
from mediacrawl.server.accounts.rights import is_private, may_read
from mediacrawl.server.routing import is_navigation
from mediacrawl.server.site import NOT_FOUND, UNAVAILABLE, text_response
from mediacrawl.server.turns import TurnCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.server.accounts.rights import Person
    from mediacrawl.server.options import ServeOptions
    from mediacrawl.server.ranges import PlannedResponse
    from mediacrawl.server.site import ResourceRequest

logger = logging.getLogger(__name__)

PERSON_KEPT_S = 5.0
_MOST_KEPT = 10_000
_MOST_CHARACTERS = 300  # of a field that is kept: a name and an application password have fewer
_READ_REVISION = "PRAGMA user_version"  # as `revocations` writes it
_DATABASE_ERRORS = (sqlite3.Error, DjangoDatabaseError)
_BASIC = re.compile(r"basic +", re.IGNORECASE)

_CHALLENGE = ("WWW-Authenticate", 'Basic realm="mediacrawl", charset="UTF-8"')
_LOG_IN = "Log in first."
_UNAUTHORIZED = text_response(401, f"{_LOG_IN} A program needs an application password of yours.", _CHALLENGE)
_WRONG = text_response(
    401, "The name or the application password is wrong. Your own password is for browsers.", _CHALLENGE
)
_FORBIDDEN = text_response(403, _LOG_IN)
_NOT_COMMON = text_response(403, "You may not read the common folder.")


class Credentials(NamedTuple):
    """The part of a request that says who has sent it.

    Attributes:
        is_basic: the text is a value of `Authorization`, else the key of a session.
        text: the value, or the key.
    """

    is_basic: bool
    text: str


class Identified(NamedTuple):
    """The person who has sent a request.

    Attributes:
        person: None if that is not known.
        is_basic: whether an application password says so, else a session.
        refusal: the response to a request that only a person may send; None if there is one.
    """

    person: Person | None
    is_basic: bool = False
    refusal: PlannedResponse | None = None


class _Known(NamedTuple):
    """The person of some credentials, None if they are wrong; and as long as it holds."""

    person: Person | None
    until: float
    revision: int


class Access:
    """Decide who may read files: `refuse` for one event loop, `refuse_in_thread` for any thread."""

    def __init__(self, options: ServeOptions, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the database of people, which `configuration.migrate` has made.

        Args:
            options: of the server, for which Django is set up before the first request.
            clock: returns seconds.
        """
        self._options = options
        self._clock = clock
        cookie = re.escape(session_cookie(options))
        self._session = re.compile(rf"(?:^|[;,]) *{cookie}=([a-z0-9]{{32}}) *(?=[;,]|$)")
        self._kept_key = lru_cache(_MOST_KEPT)(self._key_in)  # a browser sends the same cookies each time
        self._known: dict[Credentials, _Known] = {}
        self._lock = threading.Lock()  # of changes of `_known`
        self._revisions: TurnCache[None, int] = TurnCache(lambda _: self._revision())
        self._pending: dict[tuple[Credentials, int], asyncio.Future[_Known]] = {}
        self._thread = ThreadPoolExecutor(1, "people")
        path = people_database(options.store)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)

    def close(self) -> None:
        """Close the database, and end the thread."""
        self._thread.submit(connections.close_all)
        self._thread.shutdown()
        self._db.close()

    async def refuse(self, request: ResourceRequest) -> PlannedResponse | None:
        """Return the response to a request that may not be fulfilled, None if it may. Never block the event loop."""
        credentials = self._credentials(request)
        if credentials is None:
            return self._refusal(request, None)
        try:
            person = await self._person(credentials, request.address)
        except _DATABASE_ERRORS as error:
            return _unavailable(error)
        return self._refusal(request, person)

    async def identify(self, request: ResourceRequest) -> Identified:
        """Return the person who has sent a request. Never block the event loop."""
        credentials = self._credentials(request)
        try:
            person = None if credentials is None else await self._person(credentials, request.address)
        except _DATABASE_ERRORS as error:
            return Identified(None, refusal=_unavailable(error))
        if credentials is None or person is None:
            prefix = self._options.prefix
            return Identified(None, refusal=ask_for_login(request.field, prefix, f"{prefix}/files/"))
        return Identified(person, credentials.is_basic)

    async def _person(self, credentials: Credentials, address: str) -> Person | None:
        revision = self._revisions.get(None)
        known = self._kept(credentials, revision) or await self._shared(credentials, revision, address)
        return known.person

    def refuse_in_thread(self, request: ResourceRequest) -> PlannedResponse | None:
        """Return the response to a request that may not be fulfilled, None if it may."""
        credentials = self._credentials(request)
        if credentials is None:
            return self._refusal(request, None)
        try:
            revision = self._revision()
            known = self._kept(credentials, revision) or self._look_up(credentials, revision, request.address)
        except _DATABASE_ERRORS as error:
            return _unavailable(error)
        return self._refusal(request, known.person)

    def _credentials(self, request: ResourceRequest) -> Credentials | None:
        if is_basic(authorization := request.field("authorization")):
            text = authorization or ""  # a long one is wrong, and is not kept
            return Credentials(True, text if len(text) <= _MOST_CHARACTERS else "")
        cookies = request.field("cookie")
        if cookies is None:
            return None
        return self._kept_key(cookies) if len(cookies) <= _MOST_CHARACTERS else self._key_in(cookies)

    def _key_in(self, cookies: str) -> Credentials | None:
        found = self._session.search(cookies)
        return None if found is None else Credentials(False, found[1])

    def _revision(self) -> int:
        revision: int = self._db.execute(_READ_REVISION).fetchone()[0]
        return revision

    def _kept(self, credentials: Credentials, revision: int) -> _Known | None:
        known = self._known.get(credentials)
        return known if known is not None and known.revision == revision and self._clock() < known.until else None

    async def _shared(self, credentials: Credentials, revision: int, address: str) -> _Known:
        """Look a person up in the thread, once for all requests that wait for it."""
        key = credentials, revision
        future = self._pending.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._thread, self._look_up, credentials, revision, address)
            self._pending[key] = future
            future.add_done_callback(lambda _: self._pending.pop(key, None))
        return await asyncio.shield(future)

    def _look_up(self, credentials: Credentials, revision: int, address: str) -> _Known:
        """Look a person up. What was revoked since `revision` was read, this answer is not used for."""
        from mediacrawl.server.accounts import sessions  # noqa: PLC0415 - once Django is set up

        if credentials.is_basic:
            person = sessions.person_of_authorization(credentials.text, address)
        else:
            person = sessions.person_of_session(credentials.text)
        known = _Known(person, self._clock() + PERSON_KEPT_S, revision)
        with self._lock:
            self._known.pop(credentials, None)
            while len(self._known) >= _MOST_KEPT:
                del self._known[next(iter(self._known))]
            self._known[credentials] = known
        return known

    def _refusal(self, request: ResourceRequest, person: Person | None) -> PlannedResponse | None:
        is_public = self._options.is_public
        if person is None and (not is_public or is_basic(request.field("authorization"))):
            target = f"{self._options.prefix}/files/{quote(request.path, errors='surrogateescape')}"
            return ask_for_login(request.field, self._options.prefix, target)
        if may_read(person, request.path, is_public=is_public):
            return None
        is_common = not is_private(request.path.partition("/")[0])
        return _NOT_COMMON if is_common and person is not None and not person.can_read else NOT_FOUND


def ask_for_login(field: Callable[[str], str | None], prefix: str, target: str) -> PlannedResponse:
    """Return the response to a request of somebody who is not logged in.

    A browser that shows the response is led to the login; a program, and a browser that only wants a part of a page,
    are told the status.

    Args:
        field: returns a field of the request by its name in lower case.
        prefix: of all paths of the server.
        target: path and query to return to after the login, percent-encoded.
    """
    if is_basic(field("authorization")):
        return _WRONG
    if is_navigation(field):
        return text_response(302, _LOG_IN, ("Location", f"{prefix}/login?next={quote(target)}"))
    is_program = field("sec-fetch-mode") is None
    return _UNAUTHORIZED if is_program else _FORBIDDEN  # with 401, a browser would ask in a window of its own


def is_basic(authorization: str | None) -> bool:
    """Return whether a value of `Authorization` is a name and a password (RFC 7617)."""
    return authorization is not None and _BASIC.match(authorization) is not None


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """Return the name and the password of such a value; None if it is malformed or too long."""
    if len(authorization) > _MOST_CHARACTERS:
        return None
    try:
        text = base64.b64decode(_BASIC.sub("", authorization, 1), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None


def _unavailable(error: Exception) -> PlannedResponse:
    logger.error("cannot read the database of people: %s", error)
    return UNAVAILABLE

"""Logins over HTTP: who has sent a request of Django, and the sessions of people. Import it once Django is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse

from mediacrawl.server.accounts import people
from mediacrawl.server.accounts.access import ask_for_login, basic_credentials, is_basic
from mediacrawl.server.wsgi import field_of

if TYPE_CHECKING:
    from mediacrawl.server.accounts.rights import Person

_BACKEND = "django.contrib.auth.backends.ModelBackend"
_SAFE_METHODS = frozenset({"GET", "HEAD"})


class _ReadSession(SessionStore):
    """A session that is only read: a request for a file waits for no process that writes."""

    key_salt = SessionStore().key_salt  # by which its row was signed

    def flush(self) -> None:
        """Forget a session of which Django has found that it does not hold any more. Its row stays."""
        self.clear()


def person_of(request: Any) -> Person | None:
    """Return who has sent a request of Django: by an application password for GET and HEAD, else by a session."""
    authorization = request.META.get("HTTP_AUTHORIZATION")
    if request.method in _SAFE_METHODS and is_basic(authorization):
        return person_of_authorization(authorization, request.META.get("REMOTE_ADDR", ""))
    return people.person_of_user(request.user)


def login_needed(request: Any) -> HttpResponse:
    """Return the response to a request of somebody who is not logged in, see `ask_for_login`."""
    prefix = settings.SERVE_OPTIONS.prefix
    target = request.get_full_path() if request.method in _SAFE_METHODS else f"{prefix}/files/"  # no form is repeated
    planned = ask_for_login(field_of(request.META), prefix, target)
    response = HttpResponse(b"".join(part for part in planned.body if isinstance(part, bytes)), status=planned.status)
    for name, value in planned.headers:
        response.headers[name] = value
    return response


def log_in(request: Any, person: Person) -> None:
    """Begin a session of a person whom `people.authenticate` or `people.accept` has returned."""
    user = auth.get_user_model().objects.get(username=person.name)
    auth.login(request, user, backend=_BACKEND)


def log_out(request: Any) -> None:
    """End the session of a request, at once for files, too."""
    auth.logout(request)


def keep_logged_in(request: Any, person: Person) -> None:
    """Keep the session of this request, and no other one, after a change of the password."""
    user = auth.get_user_model().objects.get(username=person.name)
    auth.update_session_auth_hash(request, user)


def person_of_session(key: str) -> Person | None:
    """Return the person whose session has a key; None if there is none, or it has expired."""
    request = HttpRequest()
    request.session = _ReadSession(key)
    return people.person_of_user(auth.get_user(request))


def person_of_authorization(authorization: str, address: str) -> Person | None:
    """Return the person with the name and the application password of a value of `Authorization`; None: wrong."""
    found = basic_credentials(authorization)
    return None if found is None else people.authenticate_application(*found, address)

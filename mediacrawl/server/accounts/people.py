"""People: log in, add, invite, change and remove them. No HTTP. Import it once Django is set up.

Functions may be called from any thread. A hash of a password takes tens of milliseconds, and waits while two others
are made.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from mediacrawl.errors import MediacrawlError, UsageProblem
from mediacrawl.server.accounts.configuration import WRITER_WAITED_FOR_S
from mediacrawl.server.accounts.models import Account, ApplicationPassword, Invitation, KnownAddress
from mediacrawl.server.accounts.passwords import MOST_CHARACTERS, hash_slot, same_form
from mediacrawl.server.accounts.rights import PERSON_NAME, Person, Rights
from mediacrawl.server.accounts.throttling import recent_failures, seconds_to_wait, throttled_address

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "AccountProblem",
    "KnownApplication",
    "OpenInvitation",
    "Person",
    "Rights",
    "TooManyAttempts",
    "accept",
    "add_person",
    "application_passwords",
    "authenticate",
    "authenticate_application",
    "change_password",
    "find_person",
    "invite",
    "list_people",
    "make_application_password",
    "open_invitation",
    "open_invitations",
    "person_of_user",
    "remove_expired",
    "remove_person",
    "revoke_application_password",
    "set_rights",
    "withdraw_invitation",
]

logger = logging.getLogger(__name__)

DAYS_OF_INVITATION = 7
_MOST_DAYS = 365
_ADDRESS_KNOWN_FOR = timedelta(days=90)
_USE_NOTED_EACH = timedelta(hours=1)  # a program that reads many files writes nothing for most of them
_MOST_LABEL = 60
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is easily taken for another one
_GROUPS, _GROUP = 5, 5  # 31**25 passwords: 123 bits

User = auth.get_user_model()


class AccountProblem(UsageProblem):
    """A name, a password or an invitation that cannot be taken; the message is one line for the person."""


class TooManyAttempts(MediacrawlError):
    """Too many logins have failed: the password was not checked.

    Attributes:
        retry_after_s: whole seconds until a login may be tried again, at least 1.
    """

    def __init__(self, wait_s: float) -> None:
        self.retry_after_s = max(1, int(wait_s + 0.999))
        super().__init__(f"too many logins have failed: try again in {_duration(self.retry_after_s)}")


class OpenInvitation(NamedTuple):
    """An invitation that can still be accepted.

    Attributes:
        number: by which it can be withdrawn.
        made_by: the name of a person; None: made on the machine.
        rights: of the person who accepts it.
        expires_at: until when.
    """

    number: int
    made_by: str | None
    rights: Rights
    expires_at: datetime


class KnownApplication(NamedTuple):
    """An application password, without the password.

    Attributes:
        number: by which it can be revoked.
        label: for which program it was made, as the person wrote it.
        made_at: when.
        last_used_at: when it was used, to the hour; None: never.
    """

    number: int
    label: str
    made_at: datetime
    last_used_at: datetime | None


# --- logging in --------------------------------------------------------------------------------------


def authenticate(name: str, password: str, address: str) -> Person | None:
    """Return the person with this name and password; None if there is none.

    Args:
        name: as it was typed: case and blanks around it do not matter.
        password: as it was typed.
        address: of the client, behind all trusted proxies; empty if it is not known.

    Raises:
        TooManyAttempts: of this name or from this address.
    """
    typed, client = name.strip().lower(), throttled_address(address)
    user = _find_user(typed)
    counted = typed if user is not None else _pseudonym(typed)
    _refuse_too_many(user, counted, client)
    text = same_form(password) or ""  # of which no hash is kept
    with hash_slot():
        _refuse_too_many(user, counted, client)  # of all that were checked meanwhile
        found = auth.authenticate(_request_from(client), username=counted, password=text)
    if found is None:
        logger.warning("a login of %s from %s has failed", typed if user is not None else "an unknown name", address)
        return None
    AxesProxyHandler.reset_attempts(username=counted, ip_address=client)
    KnownAddress.objects.update_or_create(user=found, address=client, defaults={"last_login_at": timezone.now()})
    return person_of_user(found)


def authenticate_application(name: str, password: str, address: str) -> Person | None:
    """Return the person with this name and this application password; None if there is none.

    An application password is random, so that it cannot be guessed: nothing is slowed.

    Args:
        name: of the person.
        password: a result of `make_application_password`.
        address: of the client, for the log.
    """
    found = ApplicationPassword.objects.filter(digest=_digest(password))
    row = found.select_related("user__account").first()
    if row is None or not row.user.is_active or row.user.get_username() != name.strip().lower():
        logger.warning("a login with an application password from %s has failed", address)
        return None
    now = timezone.now()
    if row.last_used_at is None or row.last_used_at < now - _USE_NOTED_EACH:
        _note_use(found, now)
    return person_of_user(row.user)


def _note_use(found: Any, now: datetime) -> None:
    """Note when an application password was used, if this is possible at once: reading does not depend on it."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            with suppress(DatabaseError):
                found.update(last_used_at=now)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {WRITER_WAITED_FOR_S * 1000}")


def person_of_user(user: Any) -> Person | None:
    """Return the person that a user of Django is; None for an anonymous user."""
    account = getattr(user, "account", None)
    return None if account is None else Person(user.get_username(), *_rights_of(account))


def _refuse_too_many(user: Any, counted: str, client: str) -> None:
    now = timezone.now()
    is_known = (
        user is not None
        and KnownAddress.objects.filter(
            user=user, address=client, last_login_at__gt=now - _ADDRESS_KNOWN_FOR
        ).exists()
    )
    wait_s = seconds_to_wait(recent_failures(counted, client, now), is_known_address=is_known)
    if wait_s > 0:
        raise TooManyAttempts(wait_s)


def _pseudonym(typed: str) -> str:
    """Return what is kept instead of a name that no person has: it may be a password typed into the wrong field."""
    text = typed.encode("utf-8", "surrogatepass")
    return f"?{salted_hmac('mediacrawl.accounts.unknown', text, algorithm='sha256').hexdigest()[:30]}"


def _request_from(client: str) -> HttpRequest:
    """Return a request as django-axes wants one."""
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = client
    return request


# --- people ------------------------------------------------------------------------------------------


def list_people() -> list[Person]:
    """Return all people, by name."""
    accounts = Account.objects.select_related("user").order_by("user__username")
    return [Person(account.user.get_username(), *_rights_of(account)) for account in accounts]


def find_person(name: str) -> Person | None:
    """Return the person with a name; None if there is none."""
    return person_of_user(_find_user(name))


def add_person(name: str, password: str, rights: Rights = Rights()) -> Person:  # noqa: B008 - it is a tuple
    """Add a person. Their own folder may be there already.

    Raises:
        AccountProblem: the name is taken or cannot be one, or the password is too weak.
    """
    check_name(name)
    hashed = _hashed(name, password)
    return _created(name, hashed, rights)


def remove_person(name: str) -> None:
    """Remove a person, with their sessions, application passwords and invitations. Their own folder stays.

    Raises:
        AccountProblem: there is no such person, or nobody else may manage.
    """
    with transaction.atomic():
        user = _user(name)
        _keep_a_manager(user)
        user.delete()


def change_password(name: str, password: str) -> None:
    """Change a password; the sessions of this person end. Application passwords stay.

    Raises:
        AccountProblem: there is no such person, or the password is too weak.
    """
    user = _user(name)
    user.password = _hashed(name, password)
    user.save(update_fields=["password"])


def set_rights(name: str, rights: Rights) -> None:
    """Change the rights of a person, also in sessions that are open.

    With the right to manage, the invitations of this person end: each could give it back.

    Raises:
        AccountProblem: there is no such person, or nobody else may manage.
    """
    with transaction.atomic():
        account = _user(name).account
        if not rights.can_manage:
            _keep_a_manager(account.user)
            account.user.invitations.all().delete()
        _give(account, rights).save()


def check_name(name: str) -> None:
    """Raise `AccountProblem` for a text that cannot be the name of a person."""
    if PERSON_NAME.fullmatch(name) is None:
        raise AccountProblem(
            f"{name!r:.60} cannot be a name: expected at most 32 of the characters a-z, 0-9, '.', '_' and '-', "
            "the first a letter or digit, the last no dot"
        )


def _created(name: str, hashed: str, rights: Rights) -> Person:
    try:
        with transaction.atomic():
            user = User.objects.create(username=name, password=hashed)
            _give(Account(user=user), rights).save()
    except IntegrityError:
        raise AccountProblem(f"there is a person with the name {name} already") from None
    return Person(name, *rights)


def _hashed(name: str, password: str) -> str:
    """Return the hash of a new password.

    Raises:
        AccountProblem: it is too weak, or too long.
    """
    text = same_form(password)
    if text is None:
        raise AccountProblem(f"this cannot be a password: expected at most {MOST_CHARACTERS} characters of Unicode")
    try:
        validate_password(text, User(username=name))
    except ValidationError as error:
        raise AccountProblem(" ".join(error.messages)) from None
    with hash_slot():
        return str(make_password(text))


def _keep_a_manager(user: Any) -> None:
    if user.account.can_manage and not Account.objects.filter(can_manage=True).exclude(user=user).exists():
        raise AccountProblem(f"nobody but {user.get_username()} may manage: give this right to another person first")


def _find_user(name: str) -> Any:
    if PERSON_NAME.fullmatch(name) is None:  # SQLite takes no such text as a value
        return None
    return User.objects.filter(username=name, is_active=True).select_related("account").first()


def _user(name: str) -> Any:
    user = _find_user(name)
    if user is None:
        raise AccountProblem(f"there is no person with the name {name!r:.60}: see the list of people")
    return user


def _rights_of(row: Any) -> Rights:
    return Rights(*(getattr(row, field) for field in Rights._fields))


def _give(row: Any, rights: Rights) -> Any:
    """Return a row with the fields of rights set."""
    for field, value in rights._asdict().items():
        setattr(row, field, value)
    return row


# --- invitations -------------------------------------------------------------------------------------


def invite(by: str | None, rights: Rights, days: int = DAYS_OF_INVITATION) -> str:
    """Make an invitation for one person; return its token, which is kept nowhere.

    Args:
        by: the name of the person who invites; None: made on the machine.
        rights: of the invited person.
        days: until it expires.

    Raises:
        AccountProblem: there is no person `by`, or not such a number of days.
    """
    if not 1 <= days <= _MOST_DAYS:
        raise AccountProblem(f"an invitation is valid for 1 to {_MOST_DAYS} days, not {days}")
    token, now = secrets.token_urlsafe(24), timezone.now()
    made_by = None if by is None else _user(by)
    row = Invitation(digest=_digest(token), made_by=made_by, made_at=now, expires_at=now + timedelta(days=days))
    _give(row, rights).save()
    return token


def open_invitations() -> list[OpenInvitation]:
    """Return the invitations that can still be accepted, the last one first."""
    rows = Invitation.objects.filter(expires_at__gt=timezone.now()).select_related("made_by").order_by("-made_at")
    return [_facts_of(row) for row in rows]


def open_invitation(token: str) -> OpenInvitation | None:
    """Return the invitation with a token; None if there is none, or it has expired or been accepted."""
    row = _invitation(token)
    return None if row is None else _facts_of(row)


def withdraw_invitation(number: int) -> None:
    """Remove an invitation; a missing one is no error."""
    Invitation.objects.filter(pk=number).delete()


def accept(token: str, name: str, password: str) -> Person:
    """Add the person who accepts an invitation, which is then used up.

    Raises:
        AccountProblem: there is no such invitation (any more), the name is taken or cannot be one, or the password is
            too weak. An invitation stays open then.
    """
    if _invitation(token) is None:
        raise AccountProblem(_NO_INVITATION)
    check_name(name)
    if _has_folder(name) or _find_user(name) is not None:
        raise AccountProblem(f"the name {name} is taken: choose another one")
    hashed = _hashed(name, password)
    with transaction.atomic():
        row = _invitation(token)
        if row is None:
            raise AccountProblem(_NO_INVITATION)
        row.delete()
        return _created(name, hashed, _rights_of(row))


_NO_INVITATION = "this invitation has expired or been used: ask for a new one"


def _invitation(token: str) -> Any:
    found = Invitation.objects.filter(digest=_digest(token), expires_at__gt=timezone.now())
    return found.select_related("made_by").first()


def _facts_of(row: Any) -> OpenInvitation:
    made_by = None if row.made_by is None else row.made_by.get_username()
    return OpenInvitation(row.pk, made_by, _rights_of(row), row.expires_at)


def _has_folder(name: str) -> bool:
    """Return whether there is a folder of this name: of a person who was removed, and whose files it has."""
    return os.path.lexists(settings.SERVE_OPTIONS.store / Person(name).own_folder)


# --- application passwords ---------------------------------------------------------------------------


def make_application_password(name: str, label: str) -> str:
    """Return a new password with which a program can log in as a person. It is shown once, and kept nowhere.

    Args:
        name: of the person.
        label: for which program, in words of the person; at most 60 characters.

    Raises:
        AccountProblem: there is no such person, or the label is empty or too long.
    """
    label = label.strip()
    if not 0 < len(label) <= _MOST_LABEL:
        raise AccountProblem(f"say in 1 to {_MOST_LABEL} characters for which program the password is")
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    password = "-".join(groups)
    user = _user(name)
    ApplicationPassword.objects.create(user=user, digest=_digest(password), label=label, made_at=timezone.now())
    return password


def application_passwords(name: str) -> list[KnownApplication]:
    """Return the application passwords of a person, the last one first."""
    rows = ApplicationPassword.objects.filter(user__username=name).order_by("-made_at")
    return [KnownApplication(row.pk, row.label, row.made_at, row.last_used_at) for row in rows]


def revoke_application_password(name: str, number: int) -> None:
    """Remove an application password of a person; a missing one, or one of another person, is no error."""
    ApplicationPassword.objects.filter(user__username=name, pk=number).delete()


def remove_expired() -> None:
    """Remove sessions and invitations that have expired, and addresses that have not been used for long."""
    from django.contrib.sessions.models import Session  # noqa: PLC0415 - beside its only use

    now = timezone.now()
    Session.objects.filter(expire_date__lte=now).delete()
    Invitation.objects.filter(expires_at__lte=now).delete()
    KnownAddress.objects.filter(last_login_at__lte=now - _ADDRESS_KNOWN_FOR).delete()


def _digest(secret: str) -> str:
    """Return the hash of a secret that this module has made: it is random, so that a quick one is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _duration(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} second" + "s" * (seconds > 1)
    minutes = -(-seconds // 60)
    return f"{minutes} minute" + "s" * (minutes > 1)

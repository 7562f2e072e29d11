"""The pages about people: login, invitations, own passwords, and the people that a manager sees.

Only a session counts here: an application password fetches files, and changes nothing.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.urls import get_script_prefix, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from mediacrawl.server.accounts import people, sessions
from mediacrawl.server.accounts.people import AccountProblem, TooManyAttempts
from mediacrawl.server.pages.error_views import error_page, too_many_attempts
from mediacrawl.server.pages.folder_views import show
from mediacrawl.server.pages.forms import (
    ChangedRights,
    InvitationForm,
    InviteForm,
    LabelForm,
    LoginForm,
    NameForm,
    NumberForm,
    PasswordForm,
    RightsForm,
)
from mediacrawl.server.pages.rows import local_time
from mediacrawl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.server.accounts.rights import Person

_WRONG = "The name or the password is wrong."
_DONE = {
    "password": "The password is changed. Other devices are logged out.",
    "revoked": "The application password is revoked.",
    "rights": "The rights are changed.",
    "removed": "The login is removed.",
    "withdrawn": "The invitation is withdrawn.",
}


def _for_people(view: Callable[..., Any]) -> Callable[..., Any]:
    """Call a view with the person who is logged in; lead all others to the login."""

    @wraps(view)
    def guarded(request: Any, *arguments: Any, **named: Any) -> Any:
        person = people.person_of_user(request.user)
        return sessions.login_needed(request) if person is None else view(request, person, *arguments, **named)

    return guarded


def _for_managers(view: Callable[..., Any]) -> Callable[..., Any]:
    """Call a view with the person who is logged in and may manage; refuse others."""

    @_for_people
    @wraps(view)
    def guarded(request: Any, person: Person, *arguments: Any, **named: Any) -> Any:
        if not person.can_manage:
            raise PermissionDenied
        return view(request, person, *arguments, **named)

    return guarded


# --- login -------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password")
@sensitive_variables()
def login_page(request: Any) -> Any:
    """Log a person in."""
    following = _following(request)
    if request.method != "POST":
        if people.person_of_user(request.user) is not None:
            return HttpResponseRedirect(following)
        return show(request, "pages/login.html", None, {"form": LoginForm(), "following": following})
    form = LoginForm(request.POST)
    facts = {"form": form, "following": following}
    if not form.is_valid():
        return show(request, "pages/login.html", None, facts, status=400)
    try:
        typed = form.cleaned_data
        person = people.authenticate(typed["name"], typed["password"], request.META.get("REMOTE_ADDR", ""))
    except TooManyAttempts as error:
        return too_many_attempts(error.retry_after_s)
    if person is None:
        return show(request, "pages/login.html", None, facts | {"problem": _WRONG}, status=403)
    sessions.log_in(request, person)
    return HttpResponseRedirect(following)


@require_POST
def logout_page(request: Any) -> Any:
    """Log a person out: the session ends at once, in each part of the server."""
    sessions.log_out(request)
    return HttpResponseRedirect(reverse("login"))


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("password", "again")
@sensitive_variables()
def invitation_page(request: Any, token: str) -> Any:
    """Make a login for the person who has an invitation."""
    if people.open_invitation(token) is None:
        return error_page(404, "This invitation was used or withdrawn, or has expired. Ask for a new one.")
    form = InvitationForm(request.POST if request.method == "POST" else None)
    if not form.is_bound:
        return show(request, "pages/invitation.html", None, {"form": form})
    problem = ""
    if form.is_valid():
        typed = form.cleaned_data
        try:
            person = people.accept(token, typed["name"].strip().lower(), typed["password"])
        except AccountProblem as error:
            problem = str(error)
        else:
            sessions.log_in(request, person)
            return HttpResponseRedirect(reverse("files"))
    return show(request, "pages/invitation.html", None, {"form": form, "problem": problem}, status=400)


def _following(request: Any) -> str:
    """Return the URL that a request wants to see after the login: a page of this server, else the files."""
    wanted: str = request.POST.get("next", "") or request.GET.get("next", "")
    is_plain = wanted.isascii() and wanted.isprintable()  # as `login_needed` writes it
    is_own = wanted.startswith(get_script_prefix()) and url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_plain and is_own else reverse("files")


# --- one's own account -------------------------------------------------------------------------------


@require_safe
@_for_people
def account_page(request: Any, person: Person) -> Any:
    """Show a person's own rights and passwords."""
    return _account(request, person, {})


@require_POST
@sensitive_post_parameters()
@sensitive_variables()
@_for_people
def post_password(request: Any, person: Person) -> Any:
    """Change a person's own password; other sessions of this person end."""
    form = PasswordForm(request.POST)
    if not form.is_valid():
        return _account(request, person, {"password_form": form}, status=400)
    typed = form.cleaned_data
    try:
        known = people.authenticate(person.name, typed["current"], request.META.get("REMOTE_ADDR", ""))
        if known is None:
            return _account(request, person, {"password_problem": "The current password is wrong."}, status=403)
        people.change_password(person.name, typed["password"])
    except TooManyAttempts as error:
        return too_many_attempts(error.retry_after_s)
    except AccountProblem as error:
        return _account(request, person, {"password_problem": str(error)}, status=400)
    sessions.keep_logged_in(request, person)
    return _done("account", "password")


@require_POST
@sensitive_variables()
@_for_people
def post_application_password(request: Any, person: Person) -> Any:
    """Make an application password, and show it once."""
    form = LabelForm(request.POST)
    if not form.is_valid():
        return _account(request, person, {"label_form": form}, status=400)
    label = form.cleaned_data["label"]
    try:
        made = people.make_application_password(person.name, label)
    except AccountProblem as error:
        return _account(request, person, {"label_problem": str(error)}, status=400)
    return _account(request, person, {"made": made, "made_label": visible(label)})


@require_POST
@_for_people
def post_revocation(request: Any, person: Person) -> Any:
    """Revoke an application password."""
    form = NumberForm(request.POST)
    if form.is_valid():
        people.revoke_application_password(person.name, form.cleaned_data["number"])
    return _done("account", "revoked")


def _account(request: Any, person: Person, facts: dict[str, Any], *, status: int = 200) -> Any:
    known = [
        {
            "number": one.number,
            "label": visible(one.label),
            "made": local_time(one.made_at),
            "used": one.last_used_at and local_time(one.last_used_at),
        }
        for one in people.application_passwords(person.name)
    ]
    usual = {
        "section": "account",
        "notice": _DONE.get(request.GET.get("done", "")),
        "application_passwords": known,
        "password_form": PasswordForm(),
        "label_form": LabelForm(),
    }
    return show(request, "pages/account.html", person, usual | facts, status=status)


# --- the people that a manager sees ------------------------------------------------------------------


@require_safe
@_for_managers
def people_page(request: Any, person: Person) -> Any:
    """Show all people to a manager."""
    return _people(request, person, {})


@require_POST
@sensitive_variables()
@_for_managers
def post_invitation(request: Any, person: Person) -> Any:
    """Make an invitation, and show its link once."""
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _people(request, person, {"invite_form": form}, status=400)
    token = people.invite(person.name, form.rights(), form.cleaned_data["days"])
    link = request.build_absolute_uri(reverse("invitation", args=[token]))
    return _people(request, person, {"link": link})


@require_POST
@_for_managers
def post_withdrawal(request: Any, _person: Person) -> Any:
    """Withdraw an invitation that was not accepted yet."""
    form = NumberForm(request.POST)
    if form.is_valid():
        people.withdraw_invitation(form.cleaned_data["number"])
    return _done("people", "withdrawn")


@require_POST
@_for_managers
def post_rights(request: Any, person: Person) -> Any:
    """Set the rights of a person."""
    form = ChangedRights(request.POST)
    if not form.is_valid():
        return _people(request, person, {"problem": "These are no rights: the quota is a number of GB."}, status=400)
    try:
        people.set_rights(form.cleaned_data["name"], form.rights())
    except AccountProblem as error:
        return _people(request, person, {"problem": str(error)}, status=400)
    return _done("people", "rights")


@require_POST
@_for_managers
def post_removal(request: Any, person: Person) -> Any:
    """Remove a person's login."""
    form = NameForm(request.POST)
    try:
        people.remove_person(form.cleaned_data["name"] if form.is_valid() else "")
    except AccountProblem as error:
        return _people(request, person, {"problem": str(error)}, status=400)
    return _done("people", "removed")


def _people(request: Any, person: Person, facts: dict[str, Any], *, status: int = 200) -> Any:
    usual = {
        "section": "people",
        "notice": _DONE.get(request.GET.get("done", "")),
        "people": [
            {"name": one.name, "is_self": one.name == person.name, "form": RightsForm.of(one.rights)}
            for one in people.list_people()
        ],
        "invitations": [
            {"number": one.number, "made_by": one.made_by, "until": local_time(one.expires_at)}
            for one in people.open_invitations()
        ],
        "invite_form": InviteForm(initial={"can_read": True}),
    }
    return show(request, "pages/people.html", person, usual | facts, status=status)


def _done(page: str, action: str) -> Any:
    """Lead to a page that says what was done, so that to reload it does not repeat it."""
    return HttpResponseRedirect(f"{reverse(page)}?done={action}")

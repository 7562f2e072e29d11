"""The pages about people: login, invitations, own passwords, and the people that a manager sees."""

from __future__ import annotations

from typing import Any

from mediacrawl.server.pages.error_views import error_page


def login_page(request: Any) -> Any:
    """Log a person in."""
    return error_page(404)


def logout_page(request: Any) -> Any:
    """Log a person out."""
    return error_page(404)


def invitation_page(request: Any, token: str) -> Any:
    """Make a login for the person who has an invitation."""
    return error_page(404)


def account_page(request: Any) -> Any:
    """Show a person's own rights and passwords."""
    return error_page(404)


def change_password(request: Any) -> Any:
    """Change a person's own password."""
    return error_page(404)


def make_application_password(request: Any) -> Any:
    """Make an application password, and show it once."""
    return error_page(404)


def revoke_password(request: Any) -> Any:
    """Revoke an application password."""
    return error_page(404)


def people_page(request: Any) -> Any:
    """Show all people to a manager."""
    return error_page(404)


def invite_person(request: Any) -> Any:
    """Make an invitation, and show its link once."""
    return error_page(404)


def change_rights(request: Any) -> Any:
    """Set the rights of a person."""
    return error_page(404)


def remove_person(request: Any) -> Any:
    """Remove a person's login."""
    return error_page(404)

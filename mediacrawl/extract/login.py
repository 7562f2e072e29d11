"""Whether a page asks for a login."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from mediacrawl.extract.links import Page

_WORD = re.compile(
    r"(?:log|sign)[_-]?(?:in|on)|auth|sso|session|anmeld|einlog|connexion|identifi|entrar|acceso|accedi|logowanie",
    re.IGNORECASE,
)
_SHORTEST_PATH = 2  # characters: "/" is a part of nearly each query


def has_password(page: Page) -> bool:
    """Return whether a page has a field for a password. Never raises."""
    fields = page.root.iter("input")
    return any(field.get("type", "").strip().lower() == "password" for field in fields)


def asks_for_login(page: Page, wanted: str) -> bool:
    """Return whether a redirect from the URL `wanted` has led to a page that asks for a login. Never raises.

    The page has a field for a password, and its URL speaks of a login or names the wanted page, as `?next=/album`.
    Many other pages have such a field at their top.
    """
    if not has_password(page):
        return False
    try:
        parts, path = urlsplit(page.url), urlsplit(wanted).path
    except ValueError:
        return False
    if _WORD.search(urlsplit(wanted).path):  # the login page itself was wanted
        return False
    return bool(_WORD.search(parts.path)) or (len(path) >= _SHORTEST_PATH and path in unquote(parts.query))

"""The field `Referer` after a redirect, as far as a referrer policy allows it (Referrer Policy, W3C, 8.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mediacrawl.urls.origin import DEFAULT_PORTS, Origin

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_POLICY = "no-referrer-when-downgrade"  # that of Scrapy
OWN_ORIGIN_ONLY = "same-origin"


def referer_under(policy: str, referer: str, url: str) -> str | None:
    """Return the Referer for a request to `url`, given the Referer that was sent before; None if there is none.

    An unknown policy is taken for `same-origin`. A Referer that is no URL is left as it is where the policy neither
    compares nor shortens it.
    """
    came, target = Origin.of(referer), Origin.of(url)
    is_same = came is not None and came == target
    is_downgrade = came is not None and target is not None and (came.scheme, target.scheme) == ("https", "http")
    return _RULES.get(policy, _same_origin)(referer, is_same, is_downgrade)


def policy_of_field(value: str | None) -> str | None:
    """Return the policy of a field `Referrer-Policy`: the last that is known; None if there is none."""
    known = [token for item in (value or "").lower().split(",") if (token := item.strip()) in _RULES]
    return known[-1] if known else None


def _same_origin(referer: str, is_same: bool, _is_downgrade: bool) -> str | None:
    return _bare(referer) if is_same else None


def _unless_downgrade(referer: str, _is_same: bool, is_downgrade: bool) -> str | None:
    return None if is_downgrade else _bare(referer)


def _strict_origin(referer: str, _is_same: bool, is_downgrade: bool) -> str | None:
    return None if is_downgrade else _origin_of(referer)


_RULES: dict[str, Callable[[str, bool, bool], str | None]] = {
    "no-referrer": lambda *_: None,
    DEFAULT_POLICY: _unless_downgrade,
    "scrapy-default": _unless_downgrade,
    OWN_ORIGIN_ONLY: _same_origin,
    "origin": lambda referer, *_: _origin_of(referer),
    "strict-origin": _strict_origin,
    "origin-when-cross-origin": lambda referer, is_same, _: _bare(referer) if is_same else _origin_of(referer),
    "strict-origin-when-cross-origin": lambda referer, is_same, is_downgrade: (
        _bare(referer) if is_same else _strict_origin(referer, is_same, is_downgrade)
    ),
    "unsafe-url": lambda referer, *_: _bare(referer),
}


def _bare(referer: str) -> str:
    """Return a Referer without credentials and fragment (RFC 9110 10.1.3)."""
    beginning, slashes, rest = referer.partition("#")[0].partition("//")
    authority, slash, path = rest.partition("/")
    return f"{beginning}{slashes}{authority.rpartition('@')[2]}{slash}{path}"


def _origin_of(referer: str) -> str | None:
    origin = Origin.of(referer)
    if origin is None:
        return None
    host = urlsplit(referer).netloc.rpartition("@")[2]
    return f"{origin.scheme}://{host.removesuffix(f':{DEFAULT_PORTS[origin.scheme]}')}/"

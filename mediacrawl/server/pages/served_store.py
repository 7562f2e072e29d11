"""The store that the pages are about."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from mediacrawl.server.site import StoreSite

if TYPE_CHECKING:
    from mediacrawl.server.options import ServeOptions


def store_options() -> ServeOptions:
    """Return the options with which Django was set up."""
    options: ServeOptions = settings.SERVE_OPTIONS
    return options


@cache
def store_site() -> StoreSite:
    """Return the store, which stays open as long as the process runs."""
    return StoreSite(store_options().store, ledger=store_options().ledger)

"""Django as a WSGI application. This module can be imported before Django is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mediacrawl.server.accounts.configuration import set_up

if TYPE_CHECKING:
    from mediacrawl.server.options import ServeOptions


def page_handler(options: ServeOptions) -> Any:
    """Set Django up, and return its application. All modules are loaded, so that the first request is not slow.

    Raises:
        StoreNotWritable: the hidden folder of the store cannot be used.
    """
    set_up(options)
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415 - reads the settings
    from django.urls import get_resolver  # noqa: PLC0415

    _ = get_resolver().url_patterns
    return WSGIHandler()

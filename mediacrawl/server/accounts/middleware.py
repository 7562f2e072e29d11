"""The middleware of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mediacrawl.server.accounts.configuration import CONTENT_POLICY

if TYPE_CHECKING:
    from collections.abc import Callable


def content_policy(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Add a content security policy to each response that has none, and keep pages out of caches."""

    def respond(request: Any) -> Any:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return respond

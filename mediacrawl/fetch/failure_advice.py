"""What a person can do about the failure of a file or folder, beside the same command again."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from mediacrawl.errors import WrongContent
from mediacrawl.urls import Origin, target_of

if TYPE_CHECKING:
    from mediacrawl.fetch.request import FileResult


def advised_reason(result: FileResult) -> str:
    """Return the reason of a failure, and what to do about it."""
    return "; ".join(filter(None, (result.reason, _advice(result))))


def _advice(result: FileResult) -> str:
    """Return what to do about a failure; empty if there is nothing to say."""
    error, origin = result.error, Origin.of(result.url)
    if error is None or origin is None:
        return ""
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        return (
            "the server wants a name and a password that it knows (of mediacrawl serve: an application password), as "
            f"'machine {origin.host} login NAME password PASSWORD' in ~/.netrc, or in the URL: "
            f"{origin.scheme}://NAME:PASSWORD@…"
        )
    if isinstance(error, WrongContent) and target_of(result.url).partition("?")[0].endswith("/"):
        return "if this is a folder of mediacrawl serve, -r fetches the files in it"
    return ""

"""The pages of the store: folders, players, search."""

from __future__ import annotations

from typing import Any

from mediacrawl.server.pages.error_views import error_page


def start_page(request: Any) -> Any:
    """Lead to the files."""
    return error_page(404)


def folder_page(request: Any) -> Any:
    """Show a folder, as a page or as JSON."""
    return error_page(404)


def player_page(request: Any) -> Any:
    """Show a picture, or play a file."""
    return error_page(404)


def search_page(request: Any) -> Any:
    """Show the files and folders with a name."""
    return error_page(404)


def static_file(request: Any, name: str) -> Any:
    """Send a file of the package."""
    return error_page(404)

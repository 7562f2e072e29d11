"""mediacrawl: downloads every picture, song and video completely, once, and under a readable name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mediacrawl.version import __version__

if TYPE_CHECKING:
    from mediacrawl.addon import Addon

__all__ = ["Addon", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the add-on only when Scrapy accesses it: the lower packages work without Scrapy."""
    if name == "Addon":
        from mediacrawl.addon import Addon  # noqa: PLC0415

        return Addon
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""mediacrawl: every picture, song and video arrives whole, once, under a readable name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mediacrawl.addon import Addon

__all__ = ["Addon", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the add-on only when Scrapy asks for it: the lower rooms run without Scrapy."""
    if name == "Addon":
        from mediacrawl.addon import Addon  # noqa: PLC0415

        return Addon
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""URLs as plain values: their origins, and whether they can be fetched. No I/O."""

from mediacrawl.urls.origin import DEFAULT_PORTS, Origin

__all__ = ["DEFAULT_PORTS", "Origin"]

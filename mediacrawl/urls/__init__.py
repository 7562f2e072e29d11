"""URLs as plain values: which ones can be fetched, and where they lead. Pure."""

from mediacrawl.urls.origin import DEFAULT_PORTS, Origin

__all__ = ["DEFAULT_PORTS", "Origin"]

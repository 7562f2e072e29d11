"""The version, for whoever needs nothing else of mediacrawl."""

__version__ = "0.1.0"

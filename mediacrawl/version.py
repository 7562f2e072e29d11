"""The version, in a module that imports no other module of mediacrawl."""

__version__ = "0.1.0"

"""The spiders, one module for each kind of source. `MediaSpider` is the base for a site spider of ten lines."""

from mediacrawl.spiders.base import MediaSpider

__all__ = ["MediaSpider"]

"""What to crawl: one file for each kind of source. `MediaSpider` is the base of a site in ten lines."""

from mediacrawl.spiders.base import MediaSpider

__all__ = ["MediaSpider"]

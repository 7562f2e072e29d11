"""A little web site with pictures, sound and video, made on the spot, for `scrapy crawl demo` and the docs."""

from mediacrawl.demo.site import DemoSite

__all__ = ["DemoSite"]

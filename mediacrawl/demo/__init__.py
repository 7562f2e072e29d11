"""A small web site with generated pictures, sound and video, for `scrapy crawl demo` and the docs."""

from mediacrawl.demo.site import DemoSite

__all__ = ["DemoSite"]

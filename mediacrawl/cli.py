"""`mediacrawl …`: Scrapy's command line with this project's settings, from any folder."""

from __future__ import annotations

import os

from scrapy.cmdline import execute


def main() -> None:
    """The console script. Exits with the statuses that the README documents."""
    os.environ["SCRAPY_SETTINGS_MODULE"] = "mediacrawl.settings"
    execute()

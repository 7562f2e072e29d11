"""The rules of a robots.txt, of which only the beginning counts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scrapy.robotstxt import ProtegoRobotParser

if TYPE_CHECKING:
    from scrapy import Spider

logger = logging.getLogger(__name__)

# RFC 9309 2.5. All rules are compared with each URL: those of a file of 25 MB would take seconds for each.
MOST_BYTES = 500 * 1024


class RobotsFile(ProtegoRobotParser):
    """Scrapy's parser, for the first 500 KiB of the file. A line that is cut does not count."""

    def __init__(self, robotstxt_body: bytes, spider: Spider | None) -> None:
        if len(robotstxt_body) > MOST_BYTES:
            logger.warning("A robots.txt has %d bytes: the rules in the first 500 KiB count", len(robotstxt_body))
            beginning = robotstxt_body[:MOST_BYTES]
            robotstxt_body = beginning[: max(beginning.rfind(b"\n"), beginning.rfind(b"\r")) + 1]
        super().__init__(robotstxt_body, spider)

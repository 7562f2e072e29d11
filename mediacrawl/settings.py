"""The Scrapy settings of this project: the options of `mediacrawl.config` (see docs/settings.md), and components."""

from __future__ import annotations

from mediacrawl.addon import COMPONENTS
from mediacrawl.config import DEFAULT_USER_AGENT, OPTIONS

BOT_NAME = "mediacrawl"
SPIDER_MODULES = ["mediacrawl.spiders"]
NEWSPIDER_MODULE = "mediacrawl.spiders"
COMMANDS_MODULE = "mediacrawl.commands"
USER_AGENT = DEFAULT_USER_AGENT

ITEM_PIPELINES = COMPONENTS["ITEM_PIPELINES"]
DOWNLOADER_MIDDLEWARES = COMPONENTS["DOWNLOADER_MIDDLEWARES"]
SPIDER_MIDDLEWARES = COMPONENTS["SPIDER_MIDDLEWARES"]
EXTENSIONS = COMPONENTS["EXTENSIONS"]
SCHEDULER = COMPONENTS["SCHEDULER"]
ROBOTSTXT_PARSER = COMPONENTS["ROBOTSTXT_PARSER"]

globals().update({option.name: option.default for option in OPTIONS})

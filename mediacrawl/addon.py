"""`ADDONS = {"mediacrawl.Addon": 500}` enables mediacrawl in another Scrapy project."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mediacrawl.config import PREFIX, check, is_secret
from mediacrawl.errors import EXIT_USAGE, UsageProblem
from mediacrawl.visible import Secret, make_log_visible

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

COMPONENTS: dict[str, Any] = {
    "ITEM_PIPELINES": {"mediacrawl.pipelines.MediaFilesPipeline": 1},
    "DOWNLOADER_MIDDLEWARES": {
        "mediacrawl.middlewares.PageReadingMiddleware": 10,  # gets what the spider gets
        "mediacrawl.middlewares.EncodingMiddleware": 585,  # between compression and refresh
    },
    "SPIDER_MIDDLEWARES": {
        "mediacrawl.middlewares.StartItemsMiddleware": 10,
        "mediacrawl.middlewares.FailedPagesMiddleware": 60,  # sees an HttpError before HttpErrorMiddleware drops it
    },
    "EXTENSIONS": {"mediacrawl.extensions.ProgressExtension": 500},
    "SCHEDULER": "mediacrawl.scheduler.FrontierScheduler",
    "ROBOTSTXT_PARSER": "mediacrawl.crawl.robots_file.RobotsFile",
}
_CHOSEN = "DOWNLOADER_MIDDLEWARES"
_SCRAPYS = "scrapy.downloadermiddlewares"
_EXPORTERS = "FEED_EXPORTERS_BASE"
_REPLACED = {
    f"{_SCRAPYS}.httpcompression.HttpCompressionMiddleware": "mediacrawl.middlewares.CompressionMiddleware",
    f"{_SCRAPYS}.httpproxy.HttpProxyMiddleware": "mediacrawl.middlewares.ProxyMiddleware",
    f"{_SCRAPYS}.redirect.RedirectMiddleware": "mediacrawl.middlewares.RedirectMiddleware",
    f"{_SCRAPYS}.redirect.MetaRefreshMiddleware": "mediacrawl.middlewares.MetaRefreshMiddleware",
    "scrapy.exporters.JsonItemExporter": "mediacrawl.exporters.JsonItemExporter",
    "scrapy.exporters.JsonLinesItemExporter": "mediacrawl.exporters.JsonLinesItemExporter",
}


class SettingsRefused(UsageProblem, SystemExit):
    """Settings of mediacrawl are wrong. Uncaught, it ends the process with status 2, and without a traceback."""

    code = EXIT_USAGE


class Addon:
    """Adds the components: the pipeline, the spider middlewares, the progress display and the crash-safe scheduler.

    Settings of the project take precedence.
    """

    @classmethod
    def update_pre_crawler_settings(cls, settings: BaseSettings) -> None:
        """Refuse wrong settings in one line, before anything is done.

        Scrapy calls this method before it creates a crawler. Its `crawl` command ends with status 0 if a component of
        the crawler refuses a setting later.

        Raises:
            SettingsRefused: a setting of mediacrawl, or a file or variable about the network, cannot be used.
        """
        # Not needed by the commands of this project that send no request.
        from mediacrawl.fetch.resources import check_network, cookies_of  # noqa: PLC0415

        try:
            check(settings, PREFIX)
            cookies_of(settings)
            check_network(settings)
        except UsageProblem as error:
            print(f"mediacrawl: {error}", file=sys.stderr)  # noqa: T201
            raise SettingsRefused(str(error)) from None

    def update_settings(self, settings: BaseSettings) -> None:
        """Add the components to the settings of a crawler; Scrapy calls this method for each crawler."""
        make_log_visible()
        for name in ("ITEM_PIPELINES", "DOWNLOADER_MIDDLEWARES", "SPIDER_MIDDLEWARES", "EXTENSIONS"):
            for path, order in COMPONENTS[name].items():
                settings.setdefault_in_component_priority_dict(name, path, order)
        for name in ("SCHEDULER", "ROBOTSTXT_PARSER"):
            settings.set(name, COMPONENTS[name], "addon")
        settings.set("MEDIA_ALLOW_REDIRECTS", True, "addon")
        settings.set("MEDIACRAWL_VERIFY_TLS", True, "addon")  # for pages, too
        replace_components(settings)
        hide_secrets(settings)


def hide_secrets(settings: BaseSettings) -> None:
    """Mask the settings that are secrets by their name, such as `HTTPAUTH_PASS`, in Scrapy's log of all settings."""
    for name in list(settings):
        value = settings[name]
        if isinstance(name, str) and type(value) is str and value and is_secret(name):
            settings.set(name, Secret(value), settings.getpriority(name) or 0)


def replace_components(settings: BaseSettings) -> None:
    """Replace Scrapy's middlewares for proxies and redirects, and its exporters of JSON, in the base settings.

    Middlewares and exporters that a project chooses are left.
    """
    chosen = [path if isinstance(path, str) else f"{path.__module__}.{path.__name__}" for path in settings[_CHOSEN]]
    base = settings[f"{_CHOSEN}_BASE"]
    replaced = {path if path in chosen else _REPLACED.get(path, path): order for path, order in base.items()}
    settings.set(f"{_CHOSEN}_BASE", replaced, "cmdline")
    exporters = {form: _REPLACED.get(path, path) for form, path in settings[_EXPORTERS].items()}
    settings.set(_EXPORTERS, exporters, "cmdline")

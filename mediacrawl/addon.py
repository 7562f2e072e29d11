"""`ADDONS = {"mediacrawl.Addon": 500}` enables mediacrawl in another Scrapy project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

COMPONENTS: dict[str, Any] = {
    "ITEM_PIPELINES": {"mediacrawl.pipelines.MediaFilesPipeline": 1},
    "SPIDER_MIDDLEWARES": {
        "mediacrawl.middlewares.StartItemsMiddleware": 10,
        "mediacrawl.middlewares.FailedPagesMiddleware": 60,  # sees an HttpError before HttpErrorMiddleware drops it
    },
    "EXTENSIONS": {"mediacrawl.extensions.ProgressExtension": 500},
    "SCHEDULER": "mediacrawl.scheduler.FrontierScheduler",
}
_CHOSEN = "DOWNLOADER_MIDDLEWARES"
_SCRAPYS_PROXY_MIDDLEWARE = "scrapy.downloadermiddlewares.httpproxy.HttpProxyMiddleware"
_PROXY_MIDDLEWARE = "mediacrawl.middlewares.ProxyMiddleware"


class Addon:
    """Adds the components: the pipeline, the spider middlewares, the progress display and the crash-safe scheduler.

    Settings of the project take precedence.
    """

    def update_settings(self, settings: BaseSettings) -> None:
        """Add the components to the settings of a crawler; Scrapy calls this method for each crawler."""
        for name in ("ITEM_PIPELINES", "SPIDER_MIDDLEWARES", "EXTENSIONS"):
            for path, order in COMPONENTS[name].items():
                settings.setdefault_in_component_priority_dict(name, path, order)
        settings.set("SCHEDULER", COMPONENTS["SCHEDULER"], "addon")
        settings.set("MEDIA_ALLOW_REDIRECTS", True, "addon")
        settings.set("MEDIACRAWL_VERIFY_TLS", True, "addon")  # for pages, too
        replace_proxy_middleware(settings)


def replace_proxy_middleware(settings: BaseSettings) -> None:
    """Replace Scrapy's middleware for proxies in the base settings, unless the project has a say about it."""
    chosen = [path if isinstance(path, str) else f"{path.__module__}.{path.__name__}" for path in settings[_CHOSEN]]
    base = settings[f"{_CHOSEN}_BASE"]
    if _SCRAPYS_PROXY_MIDDLEWARE in base and _SCRAPYS_PROXY_MIDDLEWARE not in chosen:
        replaced = {_PROXY_MIDDLEWARE if path == _SCRAPYS_PROXY_MIDDLEWARE else path: base[path] for path in base}
        settings.set(f"{_CHOSEN}_BASE", replaced, "cmdline")

"""`ADDONS = {"mediacrawl.Addon": 500}` switches mediacrawl on in somebody else's Scrapy project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

COMPONENTS: dict[str, Any] = {
    "ITEM_PIPELINES": {"mediacrawl.pipelines.MediaFilesPipeline": 1},
    "SPIDER_MIDDLEWARES": {
        "mediacrawl.middlewares.StartItemsMiddleware": 10,
        "mediacrawl.middlewares.FailedPagesMiddleware": 60,  # sees an HttpError before HttpErrorMiddleware eats it
    },
    "EXTENSIONS": {"mediacrawl.extensions.ProgressExtension": 500},
    "SCHEDULER": "mediacrawl.scheduler.FrontierScheduler",
}


class Addon:
    """Adds the pipeline, the progress display and the crash-safe scheduler; leaves alone what the project has set."""

    def update_settings(self, settings: BaseSettings) -> None:
        """Called by Scrapy for each crawler."""
        for name in ("ITEM_PIPELINES", "SPIDER_MIDDLEWARES", "EXTENSIONS"):
            for path, order in COMPONENTS[name].items():
                settings.setdefault_in_component_priority_dict(name, path, order)
        settings.set("SCHEDULER", COMPONENTS["SCHEDULER"], "addon")
        settings.set("MEDIA_ALLOW_REDIRECTS", True, "addon")

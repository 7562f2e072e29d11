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

"""As a project begins: nothing is switched off."""

BOT_NAME = "peer"
SPIDER_MODULES = ["peer.spiders"]
ITEM_PIPELINES = {"scrapy.pipelines.files.FilesPipeline": 1}
FILES_STORE = "files"

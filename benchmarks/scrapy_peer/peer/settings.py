"""Everything that costs time and is not needed to bring files is off; `python benchmarks/run.py` gives the rest."""

BOT_NAME = "peer"
SPIDER_MODULES = ["peer.spiders"]
ITEM_PIPELINES = {"scrapy.pipelines.files.FilesPipeline": 1}
FILES_STORE = "files"

CONCURRENT_REQUESTS = 32
CONCURRENT_REQUESTS_PER_DOMAIN = 32
CONCURRENT_ITEMS = 32  # of one list; more only costs time: 1,000 half as much again
DOWNLOAD_DELAY = 0
DOWNLOAD_WARNSIZE = 0
REACTOR_THREADPOOL_MAXSIZE = 4  # writes to disk

LOG_LEVEL = "ERROR"
LOGSTATS_INTERVAL = 0
STATS_DUMP = False
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False
MEMUSAGE_ENABLED = False
EXTENSIONS_BASE = {}  # those that are switched off are imported all the same

ROBOTSTXT_OBEY = False
COOKIES_ENABLED = False
REDIRECT_ENABLED = False
METAREFRESH_ENABLED = False
COMPRESSION_ENABLED = False
HTTPPROXY_ENABLED = False
REFERER_ENABLED = False
DOWNLOADER_MIDDLEWARES = {
    "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,
    "scrapy.downloadermiddlewares.httpauth.HttpAuthMiddleware": None,
    "scrapy.downloadermiddlewares.defaultheaders.DefaultHeadersMiddleware": None,
    "scrapy.downloadermiddlewares.stats.DownloaderStats": None,
}
SPIDER_MIDDLEWARES = {
    "scrapy.spidermiddlewares.urllength.UrlLengthMiddleware": None,
    "scrapy.spidermiddlewares.depth.DepthMiddleware": None,
}

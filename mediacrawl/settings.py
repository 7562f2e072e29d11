"""The Scrapy settings of this project, each with its unit. Every one can be set with `-s NAME=VALUE`."""

from __future__ import annotations

from mediacrawl import __version__
from mediacrawl.addon import COMPONENTS

BOT_NAME = "mediacrawl"
SPIDER_MODULES = ["mediacrawl.spiders"]
NEWSPIDER_MODULE = "mediacrawl.spiders"
COMMANDS_MODULE = "mediacrawl.commands"
USER_AGENT = f"mediacrawl/{__version__}"

ITEM_PIPELINES = COMPONENTS["ITEM_PIPELINES"]
SPIDER_MIDDLEWARES = COMPONENTS["SPIDER_MIDDLEWARES"]
EXTENSIONS = COMPONENTS["EXTENSIONS"]
SCHEDULER = COMPONENTS["SCHEDULER"]

# Where files go, a folder. What is unfinished, and the ledger, live in its hidden folder `.mediacrawl`.
FILES_STORE = "downloads"
FILES_EXPIRES = 90  # days, then a finished file is revalidated with its validators
MEDIA_ALLOW_REDIRECTS = True

# A good guest.
ROBOTSTXT_OBEY = True
CONCURRENT_REQUESTS_PER_DOMAIN = 8  # connections, pages and media together
DOWNLOAD_DELAY = 0.0  # seconds between two requests to a host

# Transfers.
MEDIACRAWL_CONCURRENT_TRANSFERS = 16  # files at a time, over all hosts
MEDIACRAWL_CONNECTIONS_PER_FILE = 4  # at most, for a large file whose server limits each connection
MEDIACRAWL_SEGMENT_FROM_BYTES = 32 * 1024 * 1024  # bytes missing, from which a further connection is considered
MEDIACRAWL_SEGMENT_AFTER_S = 2.0  # seconds of looking at the speed before each further one; 0: all at once
MEDIACRAWL_PROCESSES = 2  # that fetch, once a crawl wants more than 64 files; 0 keeps all in one process
MEDIACRAWL_SYNC = True  # False: faster, and a power cut may leave files that are not whole
MEDIACRAWL_SHA256 = True  # False: faster, and `verify` looks at sizes only
MEDIACRAWL_STALL_S = 30.0  # seconds without `MEDIACRAWL_STALL_BYTES` bytes, then reconnect and resume
MEDIACRAWL_STALL_BYTES = 1024
MEDIACRAWL_RETRY_TIMES = 4  # in a row without a new byte, then the file fails for this run
MEDIACRAWL_BACKOFF_S = 0.5  # before the first retry; doubles each time, half of it random
MEDIACRAWL_BACKOFF_MAX_S = 60.0
MEDIACRAWL_RETRY_AFTER_MAX_S = 300.0  # a server that asks for more is not waited for
MEDIACRAWL_RETRY_PERMANENT_DAYS = 30.0  # what is gone for good (404, 410, …) is not asked for again before
MEDIACRAWL_VERIFY_TLS = True  # or the path of a bundle of certificates
MEDIACRAWL_BLOCK_PRIVATE = False  # refuse pages and media at addresses that are not public
MEDIACRAWL_TRANSPORT = "requests"  # or "curl": HTTP/2; needs pycurl
MEDIACRAWL_SESSION_FACTORY = None  # dotted path of a callable that makes a `requests.Session`

# Sizes in bytes. Media may be large, a page that is larger is no page.
DOWNLOAD_MAXSIZE = 1024**4
MEDIACRAWL_PAGE_MAXSIZE = 64 * 1024 * 1024
DOWNLOAD_WARNSIZE = 0

# What a person sees.
LOG_LEVEL = "WARNING"
MEDIACRAWL_PROGRESS_S = 5.0  # seconds between two progress lines where there is no terminal; 0 for none
STATS_DUMP = False
LOGSTATS_INTERVAL = 0

# Doors that nobody asked to be opened.
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False

FEED_EXPORT_ENCODING = "utf-8"

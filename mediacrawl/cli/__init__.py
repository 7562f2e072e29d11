"""The command line: `mediacrawl …`, and `get`, which needs no Scrapy."""

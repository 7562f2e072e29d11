"""Connects `FetchQueue` to a Scrapy crawl: items, the engine, robots.txt, results."""

"""Join `FetchQueue` to a crawl of Scrapy: items, the engine, robots.txt, results."""

"""Extraction of media links and of the next page from a page. Pure: no network, no Scrapy."""

"""Page to media links, page to next page. Pure: no network, no Scrapy."""

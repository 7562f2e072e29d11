"""Read requests from what a user hands over, as a list of URLs. Knows no Scrapy and no store."""

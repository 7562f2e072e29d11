"""Read requests from the input of a user, for example a list of URLs. Independent of Scrapy and of the store."""

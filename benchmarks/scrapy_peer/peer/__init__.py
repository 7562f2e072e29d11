"""A plain Scrapy project with FilesPipeline: what one has without mediacrawl, tuned as well as it can be."""

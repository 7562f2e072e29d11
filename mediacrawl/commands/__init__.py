"""`scrapy crawl|get|status|genspider`: what is ours of the command line, one short file each."""

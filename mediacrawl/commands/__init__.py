"""`scrapy crawl|get|status|genspider|…`: the commands of this project, in one short module each."""

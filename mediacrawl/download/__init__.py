"""Resumable transfer of one URL into one verified part file, independent of Scrapy and of final file names."""

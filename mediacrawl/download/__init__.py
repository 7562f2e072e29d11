"""One URL to one verified part file, resumably. Knows no Scrapy and no final names."""

"""Send one GET and read the head of its response, over `requests` or libcurl. Knows no store."""

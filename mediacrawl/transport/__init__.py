"""Send a GET request and read the head of its response, with `requests` or libcurl. Independent of the store."""

"""The store over FTP, with TLS (RFC 4217), for clients that speak nothing else: a process of its own."""

"""Serve the files of a store, in ranges (RFC 9110). Nothing else of mediacrawl depends on this package.

`ranges` decides and does no I/O; `files` opens; `site` joins both for one store; `wsgi`, `rsgi` and `django` are the
doors to three kinds of server, and none of them decides anything about a response.
"""

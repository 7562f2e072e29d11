"""Runs an application of the tests, given as `module:name`, in our server at a socket in the file system."""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
import sys

from mediacrawl.server.http_server import serve_http


def main():
    path, target = sys.argv[1:3]
    module, _, name = target.partition(":")
    logging.basicConfig(level=logging.WARNING)
    application = getattr(importlib.import_module(module), name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1024)
    print("Listening at", path, flush=True)
    asyncio.run(serve_http(application, listener, most_connections=1024))


if __name__ == "__main__":
    main()

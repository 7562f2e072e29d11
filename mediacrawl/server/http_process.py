"""The process of HTTP: it listens, and has all requests."""

from __future__ import annotations

import asyncio
import gc
import ssl
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from mediacrawl.errors import MediacrawlError, UsageProblem
from mediacrawl.server.child_options import log_to_stderr, receive_options
from mediacrawl.server.connections import BACKLOG, most_connections
from mediacrawl.server.http_server import serve_http
from mediacrawl.server.ports import shared_socket

if TYPE_CHECKING:
    from mediacrawl.server.options import ServeOptions


def main() -> None:
    """Serve until a signal comes. Exit with the status of the error, if there is one."""
    options = receive_options()
    log_to_stderr()
    try:
        tls = _tls_context(options)
        with closing(shared_socket(options.host, options.port)) as listener:
            from mediacrawl.server.application import rsgi_application  # noqa: PLC0415 - Django only in this process

            application = rsgi_application(options)
            _leave_out_of_collections()
            listener.listen(BACKLOG)
            asyncio.run(serve_http(application, listener, most_connections=most_connections(), tls=tls))
    except MediacrawlError as error:
        print(f"mediacrawl: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_status)


def _leave_out_of_collections() -> None:
    """Have the garbage collector leave out what is there by now, Django for the most part, and run less often.

    Else it looks through hundreds of thousands of objects after some thousand requests, while all others wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


def _tls_context(options: ServeOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except OSError as error:
        raise UsageProblem(f"{options.tls_cert}: {error.strerror or error}") from None
    return context


if __name__ == "__main__":
    main()

"""The process of granian, which listens and starts the one worker with the application."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.log import LogLevels

from mediacrawl.server.child_options import log_to_stderr, receive_options
from mediacrawl.system.child_process import die_with_parent

if TYPE_CHECKING:
    from mediacrawl.server.application import RsgiApplication
    from mediacrawl.server.options import ServeOptions

_TARGET = "mediacrawl.server.application"  # as granian names it
_CONNECTIONS = 1024
_KILLED_AFTER_S = 3  # clients that do not read would keep the worker


def main() -> None:
    """Serve until a signal comes."""
    options = receive_options()
    log_to_stderr()
    server = Granian(
        _TARGET,
        address=options.host,
        port=options.port,
        interface=Interfaces.RSGI,
        workers=1,  # what is known about people and files is in its memory
        loop=Loops.asyncio,
        # HTTP/2 would let one client have hundreds of requests at a time, each with buffers.
        http=HTTPModes.http1,
        websockets=False,
        backlog=_CONNECTIONS,
        backpressure=_CONNECTIONS,
        log_level=LogLevels.warning,
        ssl_cert=options.tls_cert,
        ssl_key=options.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,
        workers_kill_timeout=_KILLED_AFTER_S,
    )
    server.serve(target_loader=partial(load_application, options), wrap_loader=False)


def load_application(options: ServeOptions) -> RsgiApplication:
    """Return the application, in the worker, which then ends with the process of granian."""
    die_with_parent()
    log_to_stderr()
    from mediacrawl.server.application import rsgi_application  # noqa: PLC0415 - Django only in the worker

    return rsgi_application(options)


if __name__ == "__main__":
    main()

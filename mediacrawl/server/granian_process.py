"""The process of granian, which listens and starts the one worker with the application."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes, SSLProtocols
from granian.log import LogLevels

from mediacrawl.server.child_options import log_to_stderr, receive_options
from mediacrawl.server.connections import BACKLOG, most_connections
from mediacrawl.system.child_process import die_with_parent

if TYPE_CHECKING:
    from mediacrawl.server.options import ServeOptions

_TARGET = "mediacrawl.server.application"  # as granian names it
_DISK_THREADS = 16  # as quick as the 512 of granian, which each have a stack and buffers
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
        runtime_mode=RuntimeModes.st,
        runtime_blocking_threads=_DISK_THREADS,
        loop=Loops.asyncio,
        # HTTP/2 would let one client have hundreds of requests at a time, each with buffers.
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=most_connections(),
        log_level=LogLevels.warning,
        ssl_cert=options.tls_cert,
        ssl_key=options.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,
        workers_kill_timeout=_KILLED_AFTER_S,
    )
    try:
        server.serve(target_loader=partial(load_application, options), wrap_loader=False)
    except RuntimeError as error:  # of the part that is not Python, with a backtrace behind the first line
        sys.exit(f"mediacrawl: granian cannot serve: {str(error).partition(chr(10))[0]}")


def load_application(options: ServeOptions) -> Any:
    """Return the `RsgiApplication`, in the worker, which then ends with the process of granian."""
    die_with_parent()
    log_to_stderr()
    from mediacrawl.server.application import rsgi_application  # noqa: PLC0415 - Django only in the worker

    return rsgi_application(options)


if __name__ == "__main__":
    main()

"""The process of FTP: it listens, and has a thread for each session."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from pyftpdlib.servers import ThreadedFTPServer

from mediacrawl.errors import MediacrawlError
from mediacrawl.server.access_log import AccessLog
from mediacrawl.server.child_options import log_to_stderr, receive_options
from mediacrawl.server.files import FilesBelow
from mediacrawl.server.ports import shared_socket
from mediacrawl.server.uploads.uploads import Uploads
from mediacrawl.system.open_files import allow_many_files

if TYPE_CHECKING:
    from mediacrawl.server.options import ServeOptions

_MOST_SESSIONS = 256
_MOST_SESSIONS_OF_ADDRESS = 64  # several people may be behind one router, each with several transfers


def main() -> None:
    """Serve until a signal comes. Exit with the status of the error, if there is one."""
    options = receive_options()
    log_to_stderr()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        serve_ftp(options)
    except MediacrawlError as error:
        print(f"mediacrawl: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_status)


def serve_ftp(options: ServeOptions) -> None:
    """Serve the store by FTP until `SystemExit` is raised.

    Raises:
        StoreNotWritable, DiskFull: the store, its ledger or the database of people cannot be used.
        UsageProblem: another program listens at the port.
    """
    from mediacrawl.server.accounts.configuration import set_up  # noqa: PLC0415 - Django only in this process

    set_up(options)
    from mediacrawl.server.ftp.logins import Logins  # noqa: PLC0415 - once Django is set up
    from mediacrawl.server.ftp.sessions import session_class  # noqa: PLC0415
    from mediacrawl.server.ftp.view import SharedStore  # noqa: PLC0415

    assert options.ftp is not None
    allow_many_files()
    with ExitStack() as opened:
        log = opened.enter_context(closing(AccessLog(sys.stdout))) if options.log_access else None
        logins = opened.enter_context(closing(Logins(options.store)))
        files = opened.enter_context(closing(FilesBelow(options.store)))
        uploads = opened.enter_context(closing(Uploads(options.store, options.ledger, is_public=options.is_public)))
        shared = SharedStore(files, uploads, options.is_public)
        sock = opened.enter_context(shared_socket(options.ftp.host, options.ftp.port, "--ftp-"))
        server = _Server(sock, session_class(options.ftp, shared, logins, log))
        server.serve_forever()


class _Server(ThreadedFTPServer):
    """pyftpdlib, with limits."""

    max_cons = _MOST_SESSIONS
    max_cons_per_ip = _MOST_SESSIONS_OF_ADDRESS


if __name__ == "__main__":
    main()

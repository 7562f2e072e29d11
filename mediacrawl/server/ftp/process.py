"""The process of FTP: it listens, and has a thread for each session."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

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

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0  # after a connection that could not be accepted
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
    """pyftpdlib, with limits, and without an end when those of the system are reached."""

    max_cons = _MOST_SESSIONS
    max_cons_per_ip = _MOST_SESSIONS_OF_ADDRESS

    def handle_error(self) -> None:
        """Go on after a moment: there may be as many open files or threads as the system allows."""
        error = sys.exc_info()[1]
        is_of_system = isinstance(error, OSError | RuntimeError | MemoryError)
        logger.error("a connection cannot be accepted: %s", error, exc_info=None if is_of_system else error)
        self.del_channel()
        self.ioloop.call_later(_PAUSE_S, self.add_channel)

    def _start_task(self, *, target: Any, args: tuple[Any], name: str) -> threading.Thread:
        return _SessionThread(target, args[0], name)

    def _loop(self, handler: Any) -> None:
        """Serve a session. Whatever ends it, its connection is closed, and counts no longer."""
        try:
            super()._loop(handler)
        except OSError as error:
            logger.error("a session of %s has failed: %s", handler.remote_ip, error)
        finally:
            _close(handler)


class _SessionThread(threading.Thread):
    """The thread of a session, which is closed if the thread cannot be started."""

    def __init__(self, loop: Any, session: Any, name: str) -> None:
        super().__init__(target=loop, args=[session], name=name)
        self._session = session

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError:
            _close(self._session)
            raise


def _close(session: Any) -> None:
    with suppress(OSError, RuntimeError):
        session.close()


if __name__ == "__main__":
    main()

"""How many connections a server may have at a time."""

from __future__ import annotations

import resource

from mediacrawl.system.open_files import allow_many_files

BACKLOG = 1024
"""As many connections as a server has at most, and as many more wait for it."""
_LEAST_CONNECTIONS = 4
_OWN_FILES = 64  # of the process: libraries, databases, threads
_FILES_OF_CONNECTION = 4  # its socket, the file that is sent, perhaps a pipe; and files that are kept open


def most_connections() -> int:
    """Return the number of connections for which this process may open enough files; more clients wait."""
    allow_many_files()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return BACKLOG
    return max(_LEAST_CONNECTIONS, min(BACKLOG, (limit - _OWN_FILES) // _FILES_OF_CONNECTION))

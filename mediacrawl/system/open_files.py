"""How many files this process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

_ENOUGH = 65_536
_OTHERS = 64  # connections, pipes, the ledger
_LEAST_PARTS = 16


def allow_many_files() -> int:
    """As many as the system lets it have: those of many small files stay open until they are published together, and
    systems begin with 1,024 or 256.

    Returns:
        How many part files may be open at a time: half of what is allowed, but for connections and the like.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS names a limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(_LEAST_PARTS, (_ENOUGH if granted == resource.RLIM_INFINITY else granted) // 2 - _OTHERS)

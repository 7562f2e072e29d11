"""The limit of open files of this process."""

from __future__ import annotations

import resource
from contextlib import suppress

_ENOUGH = 65_536
_OTHERS = 64  # for connections, pipes and the ledger
_LEAST_PARTS = 16


def allow_many_files() -> int:
    """Raise the limit of open files as far as the system allows, up to 65,536.

    The part files of many small files stay open until they are published together, and the usual limits at first are
    1,024 or 256.

    Returns:
        The number of part files that may be open at a time: half of the limit, less 64 for connections and the like,
        and at least 16.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS reports a limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(_LEAST_PARTS, (_ENOUGH if granted == resource.RLIM_INFINITY else granted) // 2 - _OTHERS)

"""How many files this process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

_ENOUGH = 65_536


def allow_many_files() -> None:
    """As many as the system lets it have: those of many small files stay open until they are published together, and
    systems begin with 1,024 or 256.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS names a limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

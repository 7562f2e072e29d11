"""User names and passwords of a .netrc file, for the exact host that it names."""

from __future__ import annotations

import base64
import os
from netrc import NetrcParseError, netrc
from typing import TYPE_CHECKING

from mediacrawl.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = (".netrc", "_netrc")


class Netrc:
    """The credentials of hosts. The entry `default` counts for no host, as it would for every one."""

    def __init__(self, authorizations: Mapping[str, str] | None = None) -> None:
        """Keep the value of the header `Authorization` for each host."""
        self._authorizations = authorizations or {}

    def authorization(self, host: str) -> str | None:
        """Return the value of the header `Authorization` for a host; None if the file does not name the host."""
        return self._authorizations.get(host) if self._authorizations else None


NO_NETRC = Netrc()


def read_netrc(is_wanted: bool = True) -> Netrc:
    """Read the file that `NETRC` names, or `.netrc` in the home folder; a home folder may have none.

    Raises:
        UsageProblem: the file cannot be read.
    """
    path = _path() if is_wanted else None
    if path is None:
        return NO_NETRC
    try:
        hosts = netrc(path).hosts
    except NetrcParseError as error:  # its message may repeat a password
        raise _unreadable(path, f"line {error.lineno} is not understood") from None
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    except ValueError:
        raise _unreadable(path, "it is no text") from None
    return Netrc({
        host.lower(): _basic(login or account or "", password or "")
        for host, (login, account, password) in hosts.items()
        if host != "default" and (login or account or password)
    })  # fmt: skip


def _path() -> str | None:
    if (named := os.environ.get("NETRC")) is not None:
        return os.path.expanduser(named) if named else None  # noqa: PTH111 - a home folder need not exist
    for name in _NAMES:
        path = os.path.expanduser(f"~/{name}")  # noqa: PTH111
        if os.path.exists(path):  # noqa: PTH110 - False if the folder cannot be read
            return path
    return None


def _unreadable(path: str, why: str | None) -> UsageProblem:
    return UsageProblem(f"{path}: {why}; with --no-netrc or MEDIACRAWL_NETRC=False the file is not read")


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")

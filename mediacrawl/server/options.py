"""The options of the server: what `mediacrawl serve` is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from socket import gethostname
from typing import Any

_OWN_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_PATHS = frozenset({"store", "tls_cert", "tls_key"})


@dataclass(frozen=True, kw_only=True, slots=True)
class FtpOptions:
    """Where a server listens for FTP, and how it protects the connections.

    Attributes:
        host: the address to listen at.
        port: the port to listen at.
        passive_ports: the first and the last port for data connections; None: any free port.
        public_address: the IPv4 address that clients are told in passive mode; empty: the one that they have reached.
        tls_cert: a file with the certificate and its chain, in PEM; None: there is no TLS.
        tls_key: a file with its key, in PEM.
        allows_plain: whether clients may do without TLS, from anywhere.
    """

    host: str = "127.0.0.1"
    port: int = 2121
    passive_ports: tuple[int, int] | None = None
    public_address: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allows_plain: bool = False

    @property
    def url(self) -> str:
        """The address of the first folder, as a person on this machine types it."""
        return f"ftp://{_local_name(self.host)}:{self.port}/"

    @property
    def requires_tls(self) -> bool:
        """Whether a client without TLS is refused."""
        return self.tls_cert is not None and not self.allows_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """What a server serves, where it listens, and whom it trusts.

    Attributes:
        store: the folder of the store.
        ledger: the URL of the ledger; by default, the ledger is in the store.
        host: the address to listen at.
        port: the port to listen at.
        hosts: the names that a Host field may have, as Django's `ALLOWED_HOSTS`; by default as `accepted_hosts` says.
        prefix: of all paths: empty, or "/" and a name.
        is_public: whether the common folder is readable without a login.
        tls_cert: a file with the certificate and its chain, in PEM.
        tls_key: a file with its key, in PEM.
        trusted_proxies: addresses and networks whose `X-Forwarded-…` fields are believed; `unix` stands for clients
            at a socket in the file system.
        log_access: whether each request is logged.
        upload_origins: the origins of pages of other sites that may upload, as `https://example.org`.
        accel_location: the path of an internal location of nginx that has the files of the store; with it, files are
            sent by nginx (`X-Accel-Redirect`).
        ftp: the options of FTP; None: there is none.
    """

    store: Path
    ledger: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()
    prefix: str = ""
    is_public: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    log_access: bool = True
    upload_origins: tuple[str, ...] = ()
    accel_location: str = ""
    ftp: FtpOptions | None = None

    @property
    def is_secure(self) -> bool:
        """Whether people reach the server by TLS only."""
        return self.tls_cert is not None or bool(self.trusted_proxies)

    @property
    def accepted_hosts(self) -> tuple[str, ...]:
        """The names that a Host field may have: the given ones, or those of this machine and the address listened at.

        A server that listens at all addresses (`0.0.0.0`, `::`) answers for the name of the machine, and for each
        address, see `HostCheck`.
        """
        if self.hosts:
            return self.hosts
        if self.listens_everywhere:
            name = gethostname().lower()
            return (*_OWN_HOSTS, name, f"{name}.local")
        own = bracketed(self.host)
        return _OWN_HOSTS if own in _OWN_HOSTS else (*_OWN_HOSTS, own)

    @property
    def listens_everywhere(self) -> bool:
        """Whether the address to listen at stands for all addresses of the machine."""
        return _is_unspecified(self.host)

    @property
    def url(self) -> str:
        """The address of the first page, as a person on this machine types it."""
        return self.url_at("localhost" if self.listens_everywhere else self.host)

    def url_at(self, host: str) -> str:
        """Return the address of the first page at a name or an address of this machine."""
        scheme = "https" if self.tls_cert is not None else "http"
        return f"{scheme}://{bracketed(host)}:{self.port}{self.prefix}/"

    def as_json(self) -> str:
        """Return the options as one line of text, for another process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> ServeOptions:
        """Return the options that `as_json` has written."""
        return cls(**_as_they_were(cls, json.loads(text)))


def _as_they_were(kind: type[ServeOptions | FtpOptions], given: dict[str, Any]) -> dict[str, Any]:
    return {field.name: _as_it_was(field.name, given[field.name]) for field in fields(kind)}


def _as_it_was(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return FtpOptions(**_as_they_were(FtpOptions, value))
    return Path(value) if name in _PATHS and value is not None else value


def reachable_address(host: str) -> str:
    """Return an address at which this machine reaches a server that listens at `host`."""
    if _is_unspecified(host):
        return "::1" if ":" in host else "127.0.0.1"
    return host


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _local_name(host: str) -> str:
    return "localhost" if _is_unspecified(host) else bracketed(host)


def bracketed(host: str) -> str:
    """Return an address as it is written in a URL and in a Host field."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host

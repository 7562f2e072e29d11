"""The options of the server: what `mediacrawl serve` is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """What a server serves, where it listens, and whom it trusts.

    Attributes:
        store: the folder of the store.
        ledger: the URL of the ledger; by default, the ledger is in the store.
        host: the address to listen at.
        port: the port to listen at.
        hosts: the names that a Host field may have; by default those of this machine and the address listened at.
        prefix: of all paths: empty, or "/" and a name.
        is_public: whether the common folder is readable without a login.
        tls_cert: a file with the certificate and its chain, in PEM.
        tls_key: a file with its key, in PEM.
        trusted_proxies: addresses and networks whose `X-Forwarded-…` fields are believed.
        log_access: whether each request is logged.
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

    @property
    def is_secure(self) -> bool:
        """Whether people reach the server by TLS only."""
        return self.tls_cert is not None or bool(self.trusted_proxies)

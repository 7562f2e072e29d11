"""The choice of a target by the scheme of its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediacrawl import config
from mediacrawl.errors import UnsupportedURL, UsageProblem, redact_url, writable
from mediacrawl.push.ftp_target import FtpTarget
from mediacrawl.push.http_client import NetworkOptions
from mediacrawl.push.tus_target import TusTarget
from mediacrawl.transport.authorities import authorities_of
from mediacrawl.transport.ftp_locations import location_of
from mediacrawl.transport.netrc_file import read_netrc
from mediacrawl.urls import HTTP_SCHEMES, Origin, as_sent, has_controls

if TYPE_CHECKING:
    from mediacrawl.config import Settings
    from mediacrawl.push.push_state import PushState
    from mediacrawl.push.targets import PushTarget


def network_of(settings: Settings) -> NetworkOptions:
    """Return how servers are reached.

    Raises:
        UsageProblem: a setting cannot be used, or `.netrc` cannot be read.
    """
    return NetworkOptions(
        authorities_of(config.VERIFY_TLS.of(settings)),
        read_netrc(config.NETRC.of(settings)),
        config.CONNECT_TIMEOUT_S.of(settings),
        config.STALL_S.of(settings),
        config.BLOCK_PRIVATE.of(settings),
    )


def checked_url(url: str) -> str:
    """Return the URL of a server as it is sent.

    Raises:
        UsageProblem: files cannot be sent there.
    """
    shown = writable(redact_url(url))
    if has_controls(url):
        raise UsageProblem(f"{shown}: a control character in the URL")
    try:
        sent = as_sent(url).partition("#")[0]
    except ValueError:
        raise UsageProblem(f"{shown}: no URL") from None
    origin = Origin.of(sent)
    if origin is None:
        raise UsageProblem(f"{shown}: files are sent to a server of tus (http, https) or of FTP (ftp, ftps)")
    if origin.scheme not in HTTP_SCHEMES:
        try:
            location_of(sent, {})
        except UnsupportedURL as error:
            raise UsageProblem(str(error)) from None
    return sent


def target_for(url: str, network: NetworkOptions, state: PushState) -> PushTarget:
    """Return the target that a URL names, as `checked_url` returns it.

    Raises:
        UsageProblem: the environment names no proxy that can be used.
    """
    origin = Origin.of(url)
    is_http = origin is not None and origin.scheme in HTTP_SCHEMES
    return TusTarget(url, network, state) if is_http else FtpTarget(url, network, state)

"""The choice of the transport that carries transfers.

The choice is a plain record, so that another process can make the same transport from it.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from mediacrawl.errors import UsageProblem
from mediacrawl.transport.by_scheme import TransportByScheme
from mediacrawl.transport.connecting import DEFAULT_CONNECT_TIMEOUT_S
from mediacrawl.transport.requests_transport import RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mediacrawl.transport.authorities import Authorities
    from mediacrawl.transport.base import Transport
    from mediacrawl.transport.curl import CurlTransport


class TransportChoice(NamedTuple):
    """The settings of a transport.

    Attributes:
        name: name of the transport, `requests` or `curl`.
        session_factory: dotted path of a callable that returns a `requests.Session`, or an object with the same
            interface.
        verify: whether to verify TLS certificates, or the path of a bundle of CA certificates, or both a file and a
            folder of them.
        block_private: whether to refuse addresses that are not public.
        connect_timeout_s: the time limit for a connection, in seconds.
    """

    name: str = "requests"
    session_factory: str = ""
    verify: bool | str | Authorities = True
    block_private: bool = False
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S


def make_transport(choice: TransportChoice) -> TransportByScheme:
    """Make the transport that `choice` describes; ftp and ftps URLs have one of their own with any choice.

    Raises:
        UsageProblem: the transport is unknown or not installed, its session factory cannot be imported, or the
            transport does not support a session factory.
    """
    how: dict[str, Any] = {
        "verify": choice.verify,
        "block_private": choice.block_private,
        "connect_timeout_s": choice.connect_timeout_s,
    }
    return TransportByScheme(_http_transport(choice, how), partial(_ftp_transport, how))


def _ftp_transport(how: Mapping[str, Any]) -> Transport:
    from mediacrawl.transport.ftp import FtpTransport  # noqa: PLC0415 - few runs need it

    return FtpTransport(**how)


def _http_transport(choice: TransportChoice, how: Mapping[str, Any]) -> Transport:
    match choice.name:
        case "requests":
            more: tuple[Any, ...] = (_loaded(choice.session_factory),) if choice.session_factory else ()
            return RequestsTransport(*more, **how)
        case "curl":
            if choice.session_factory:
                raise UsageProblem("MEDIACRAWL_TRANSPORT=curl has no sessions: leave MEDIACRAWL_SESSION_FACTORY out")
            return _curl_class()(**how)
        case other:
            raise UsageProblem(f"MEDIACRAWL_TRANSPORT={other}: must be requests or curl")


def _curl_class() -> type[CurlTransport]:
    try:
        from mediacrawl.transport.curl import CurlTransport  # noqa: PLC0415 - pycurl is an optional dependency
    except ImportError as error:  # pycurl is not installed, or its libcurl is missing
        raise UsageProblem(
            f"MEDIACRAWL_TRANSPORT=curl needs pycurl: pip install 'mediacrawl[curl]' ({error})"
        ) from None
    return CurlTransport


def _loaded(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageProblem(f"MEDIACRAWL_SESSION_FACTORY={path}: {error}") from None

"""Which transport carries transfers: a plain record, so that another process can make the same one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mediacrawl.download.transport import RequestsTransport
from mediacrawl.errors import UsageProblem

if TYPE_CHECKING:
    from mediacrawl.download.transport import Transport


@dataclass(frozen=True, slots=True)
class TransportChoice:
    """The settings of a transport.

    Attributes:
        session_factory: dotted path of a callable that makes a `requests.Session`, or what behaves like one.
        verify: True, False, or the path of a bundle of certificates.
        block_private: refuse addresses that are not public.
    """

    session_factory: str = ""
    verify: bool | str = True
    block_private: bool = False


def make_transport(choice: TransportChoice) -> Transport:
    """Raises `UsageProblem` for one that cannot be had."""
    more: tuple[Any, ...] = (_loaded(choice.session_factory),) if choice.session_factory else ()
    return RequestsTransport(*more, verify=choice.verify, block_private=choice.block_private)


def _loaded(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageProblem(f"MEDIACRAWL_SESSION_FACTORY={path}: {error}") from None

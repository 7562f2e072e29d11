"""Values that are read once for all requests of a turn of the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")

_filled: list[dict[object, object]] = []  # the values of this turn, of all caches


class TurnCache(Generic[K, V]):
    """Values of one turn of the event loop, in which it calls what is ready.

    No request gets a value that is older than the request: all values are dropped at the end of the turn, and when
    bytes of a request arrive, see `drop_values`.
    """

    def __init__(self, read: Callable[[K], V]) -> None:
        """Cache what `read` returns. An error is not kept."""
        self._read = read
        self._values: dict[K, V] = {}

    def get(self, key: K) -> V:
        """Return the value of a key, as it is in this turn. Called by the thread of the event loop."""
        values = self._values
        if key in values:
            return values[key]
        if not values:  # before the read: a request that is queued meanwhile is called after that
            _filled.append(values)  # type: ignore[arg-type]
            asyncio.get_running_loop().call_soon(drop_values)
        values[key] = value = self._read(key)
        return value


def drop_values() -> None:
    """Drop the values of all caches.

    A server calls this when bytes arrive, if it may call the application in the same turn.
    """
    for values in _filled:
        values.clear()
    _filled.clear()

"""Values that are read once for all requests of a turn of the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")


class TurnCache(Generic[K, V]):
    """Values of one turn of the event loop, in which it calls what is ready.

    No request gets a value that is older than the request: all values are dropped before the loop looks for new ones.
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
        value = self._read(key)
        if not values:
            asyncio.get_running_loop().call_soon(values.clear)
        values[key] = value
        return value

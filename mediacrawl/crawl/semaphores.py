"""A limit on concurrent work for each key."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class KeyedSemaphore:
    """A semaphore for each key, kept only while a task holds or waits for one of its places."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def place(self, key: str, limit: int) -> AsyncIterator[None]:
        """Wait for one of `limit` places, in order of arrival. A limit of 0 means no limit."""
        if limit <= 0:
            yield
            return
        semaphore, users = self._places.get(key) or (asyncio.Semaphore(limit), 0)
        self._places[key] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            semaphore, users = self._places.pop(key)
            if users > 1:
                self._places[key] = semaphore, users - 1

"""Connections to an endpoint that survive exchanges which do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx


class Connections:
    """HTTP clients for one event loop: one for each exchange that runs, used again and again.

    An exchange that is cut short takes its client along. In a client that exchanges share, httpcore
    1.0.9 never gives back the place of a connection whose exchange is cancelled after it opened and
    before it sent: as many of those as there are places, and nobody is ever served again.
    """

    def __init__(self, opened: Callable[[], httpx.AsyncClient]) -> None:
        self._opened = opened
        self._idle: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client that nobody else uses; closed if the block is left by an exception."""
        client = self._idle.pop() if self._idle else self._opened()
        unharmed = False
        try:
            yield client
            unharmed = True
        finally:
            if unharmed:
                self._idle.append(client)
            else:
                await client.aclose()

    async def aclose(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            await self._idle.pop().aclose()

"""Connections of one caller: at most a share of them, so that nobody waits behind somebody else's queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["Shares"]


@dataclass(slots=True)
class _Share:
    free: asyncio.Semaphore
    wanted: int = 0


class Shares:
    """each: what one caller may hold at once, of what one event loop hands out; patience: seconds to wait for it."""

    def __init__(self, each: int, *, patience: float) -> None:
        self._each = each
        self._patience = patience
        self._shares: dict[str | None, _Share] = {}

    @asynccontextmanager
    async def one(self, who: str | None) -> AsyncIterator[None]:
        """One of the caller's share, until the end of the block. Raises TimeoutError if all stay taken."""
        share = self._shares.setdefault(who, _Share(asyncio.Semaphore(self._each)))
        share.wanted += 1
        try:
            async with asyncio.timeout(self._patience if share.free.locked() else None):
                await share.free.acquire()
            try:
                yield
            finally:
                share.free.release()
        finally:
            share.wanted -= 1
            if not share.wanted:
                del self._shares[who]

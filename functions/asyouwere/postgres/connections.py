"""A few database connections, shared by the calls of one process, opened when needed.

Not psycopg_pool: that works in background tasks, and a cloud function has no processor time between requests;
and while the database is away it keeps callers waiting, where a refused connection should be a refused call.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import pq

from asyouwere.postgres.shares import Shares

__all__ = ["Connection", "Connections"]

Connection = psycopg.AsyncConnection[Any]

#: A connection is not used longer than that, so that the server's memory for it is freed now and then.
LIFETIME_SECONDS: Final = 1800.0


class _Idle(NamedTuple):
    connection: Connection
    opened: float


class Connections:
    """Connections to one address, for one event loop.

    size: most connections at once, of which one caller holds at most half; patience: seconds to wait for a free one,
    and as many for a new one.
    """

    def __init__(self, url: str, *, size: int, patience: float) -> None:
        self._url = url
        self._patience = patience
        self._free = asyncio.Semaphore(size)
        self._shares = Shares((size + 1) // 2, patience=patience)
        self._idle: list[_Idle] = []  # the last used on top, so that the others may grow old
        self._is_closed = False

    @asynccontextmanager
    async def one(self, who: str | None = None) -> AsyncIterator[Connection]:
        """A connection to use alone. Kept for others afterwards if it is in order, whatever happened.

        who: the caller's user id. Raises TimeoutError if all stay busy, psycopg.Error if no new one can be opened.
        """
        async with self._shares.one(who), self._any() as connection:
            yield connection

    @asynccontextmanager
    async def _any(self) -> AsyncIterator[Connection]:
        if self._free.locked():
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        else:
            await self._free.acquire()
        try:
            held = self._take() or _Idle(await self._open(), time.monotonic())
            try:
                yield held.connection
            finally:
                self._give_back(held)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the idle ones, and those in use when they come back."""
        self._is_closed = True
        for held in self._idle:
            held.connection.pgconn.finish()
        self._idle.clear()

    def _take(self) -> _Idle | None:
        while self._idle:
            held = self._idle.pop()
            if not _closed_by_server(held.connection):
                return held
            held.connection.pgconn.finish()
        return None

    async def _open(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,  # begin and commit are among our statements
            prepare_threshold=None,
            connect_timeout=max(2, round(self._patience)),
            fallback_application_name="asyouwere",
        )

    def _give_back(self, held: _Idle) -> None:
        server = held.connection.pgconn
        in_order = (
            not self._is_closed
            and server.status == pq.ConnStatus.OK
            and server.transaction_status == pq.TransactionStatus.IDLE
            and time.monotonic() - held.opened < LIFETIME_SECONDS
        )
        if in_order:
            self._idle.append(held)
        else:
            server.finish()


def _closed_by_server(connection: Connection) -> bool:
    """Whether the server has closed an idle connection; found out without a round trip.

    An idle connection has nothing to read. If there is something, it is an error message of the server or the end of
    the stream. Noticed before anything is sent, another connection does the work and nobody is the wiser.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))

"""psycopg connections for 16 clients: each client keeps the one it got first, as a pool that is never short does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from tests.bench.peers.sides.base import CLIENTS

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Connections:
    """At most 16, opened when first needed, in autocommit mode.

    role, claims: what each sets once, when it is opened.
    """

    def __init__(self, dsn: str, role: str | None = None, claims: str | None = None) -> None:
        self._dsn = dsn
        self._role = role
        self._claims = claims
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(CLIENTS)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """A connection that nobody else uses."""
        async with self._free:
            connection = self._idle.pop() if self._idle else await self._open()
            try:
                yield connection
            finally:
                self._idle.append(connection)

    async def value(self, query: str, parameters: tuple[Any, ...] = ()) -> Any:
        """The first column of the only row of a prepared statement."""
        async with self.one() as connection:
            cursor = await connection.execute(query.encode(), parameters, prepare=True)
            row = await cursor.fetchone()
            assert row is not None
            return row[0]

    async def execute(self, query: str, parameters: tuple[Any, ...] = ()) -> None:
        """A prepared statement that gives no rows."""
        async with self.one() as connection:
            await connection.execute(query.encode(), parameters, prepare=True)

    async def _open(self) -> Connection:
        connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True)
        if self._role:
            await connection.execute(f"set role {self._role}".encode())
            await connection.execute("select set_config('request.jwt.claims', %s, false)", (self._claims,))
        return connection

    async def close(self) -> None:
        """Close all."""
        for connection in self._idle:
            await connection.close()


def compact(value: object) -> str:
    """JSON text without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

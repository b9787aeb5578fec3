"""The direct way: psycopg, one transaction and one round trip a call, as the caller's role.

A call is a pipeline of four statements sent at once: begin; role, claims and time limit, local to the
transaction; the function; commit. Nothing outlives the transaction, so the next user of the connection (or of
the server connection behind a pooler in transaction mode) starts from nothing. For the same reason nothing is
prepared by name.
"""

from __future__ import annotations

import asyncio
import functools
import select
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from leftoff.callers import Caller
from leftoff.database import Argument, Row
from leftoff.database.refusals import is_transient, refusal
from leftoff.errors import Unavailable

__all__ = ["DirectDatabase"]

Connection = psycopg.AsyncConnection[dict[str, Any]]
Cursor = psycopg.AsyncCursor[dict[str, Any]]

_ACT_AS: Final = (
    "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true), "
    "set_config('statement_timeout', %s, true)"
)


class DirectDatabase:
    """A pool that opens on first use (a deployed function has no start-up hook) and belongs to one event
    loop.

    url: postgresql:// address; pool_size: most connections; pool_timeout, statement_timeout: seconds.
    """

    def __init__(
        self, url: str, *, pool_size: int = 8, pool_timeout: float = 5.0, statement_timeout: float = 20.0
    ) -> None:
        self._url = url
        self._size = pool_size
        self._pool_timeout = pool_timeout
        self._statement_timeout = str(max(1, round(statement_timeout * 1000)))
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def rows(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[Row]:
        cursor = await self._call(caller, function, arguments, repeatable)
        return await cursor.fetchall()

    async def chunks(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[bytes]:
        cursor = await self._call(caller, function, arguments, repeatable)
        result = cursor.pgresult
        if result is None:
            return []
        return [result.get_value(row, 0) or b"" for row in range(result.ntuples)]

    async def check(self) -> None:
        try:
            async with (await self._opened()).connection(self._pool_timeout) as connection:
                await connection.execute("select 1")
        except (psycopg.Error, PoolTimeout) as exc:
            raise Unavailable("database_unavailable", retry_after=2) from exc

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and self._loop is asyncio.get_running_loop():
            await pool.close()

    async def _call(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], repeatable: bool
    ) -> Cursor:
        query = _call_text(function, tuple(arguments))
        values = [_text(value) for value in arguments.values()]
        pool = await self._opened()
        for last_try in (False, True):
            try:
                async with pool.connection(self._pool_timeout) as connection:
                    return await self._run(connection, caller, query, values)
            except PoolTimeout as exc:
                raise Unavailable("database_unavailable", retry_after=2) from exc
            except psycopg.Error as exc:
                if last_try or not is_transient(exc, repeatable=repeatable):
                    raise refusal(exc) from exc
        raise AssertionError("unreachable")  # pragma: no cover

    async def _run(
        self, connection: Connection, caller: Caller, query: bytes, values: list[str | None]
    ) -> Cursor:
        cursor = connection.cursor()
        try:
            async with connection.pipeline():
                # Explicitly: outside a transaction a local role would last for its own statement only, and
                # the function would run as the login role.
                await connection.execute("begin")
                await connection.execute(_ACT_AS, (caller.role, caller.claims, self._statement_timeout))
                await cursor.execute(query, values)
                await connection.execute("commit")
        except psycopg.Error:
            if not connection.closed:
                await connection.rollback()
            raise
        return cursor

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            # A pool's tasks live in the loop that opened it; under another loop the old one is of no use.
            self._loop = loop
            self._pool = AsyncConnectionPool(
                self._url,
                connection_class=cast("type[Connection]", psycopg.AsyncConnection),
                kwargs={
                    "autocommit": True,  # begin and commit are ours, inside the pipeline
                    "prepare_threshold": None,
                    "row_factory": dict_row,
                    "connect_timeout": max(1, round(self._pool_timeout)),
                    "application_name": "leftoff",
                },
                min_size=1,
                max_size=self._size,
                open=False,
                configure=_configure,
                check=_check_unspoken,
                timeout=self._pool_timeout,
                # Give up early: every later call starts a new attempt, whereas long attempts back off for
                # minutes and would go on failing after the database is back.
                reconnect_timeout=self._pool_timeout,
                name="leftoff",
            )
        pool = self._pool
        if pool.closed:
            await pool.open(wait=False)
        return pool


@functools.cache
def _call_text(function: str, names: tuple[str, ...]) -> bytes:
    """The statement for a call. Names are written in our code, never in a request; checked all the same."""
    if not all(name.isidentifier() for name in (function, *names)):
        raise ValueError("function and argument names must be identifiers")
    listed = ", ".join(f"{name} => %s" for name in names)
    return f"select * from public.{function}({listed})".encode()


def _text(value: Argument) -> str | None:
    """A value as PostgreSQL writes it; untyped, so that the function's own parameter decides the type."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _array(value)


def _array(values: Sequence[str | int | None]) -> str:
    items = [
        "null"
        if value is None
        else str(value)
        if isinstance(value, int)
        else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in values
    ]
    return "{" + ",".join(items) + "}"


async def _check_unspoken(connection: Connection) -> None:
    """Notice, without a round trip, that the server has closed an idle connection.

    An idle connection has nothing to read; if there is something, it is the server's farewell or the end of
    the stream. Found out before anything is sent, the call can simply take another connection.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        connection.pgconn.consume_input()
        if connection.pgconn.status == pq.ConnStatus.BAD or poll.poll(0):
            raise psycopg.OperationalError("the server closed the connection")


async def _configure(connection: Connection) -> None:
    for name in ("json", "jsonb", "uuid"):
        connection.adapters.register_loader(name, _AsText)
    connection.adapters.register_loader("timestamptz", _AsTime)


class _AsText(Loader):
    """Text as it came. Parsing JSON would lose its numbers, its key order and its duplicates."""

    def load(self, data: Buffer) -> str:
        return str(data, "utf-8")


class _AsTime(Loader):
    """A time in RFC 3339: '2026-01-31 12:00:00.5+00' -> '2026-01-31T12:00:00.5+00:00'."""

    def load(self, data: Buffer) -> str:
        text = str(data, "utf-8").replace(" ", "T", 1)
        return text + ":00" if text[-3] in "+-" else text

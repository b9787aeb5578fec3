"""The direct way: psycopg, one transaction and one round trip a call, as the caller's role.

A call is four statements sent at once: begin; role, claims and time limit, local to the transaction; the
function; commit. Nothing outlives the transaction, so the next user of the connection (or of the server
connection behind a pooler in transaction mode) starts from nothing. For the same reason nothing is prepared
by name.
"""

from __future__ import annotations

import asyncio
import functools
import select
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from leftoff.callers import Caller
from leftoff.database import Argument, Row
from leftoff.database.pipeline import Failure, Statement, exchange, rows_of
from leftoff.database.refusals import may_run_again, refusal, unavailable
from leftoff.errors import Unavailable

__all__ = ["DirectDatabase"]

_Connection = psycopg.AsyncConnection[Any]

# Explicitly: outside a transaction block a local role would be gone before the function runs, and the
# function would run as the login role.
_BEGIN: Final = Statement(b"begin")
_COMMIT: Final = Statement(b"commit")
_ROLLBACK: Final = Statement(b"rollback")
_ACT_AS: Final = (
    b"select set_config('role', $1, true), set_config('request.jwt.claims', $2, true), "
    b"set_config('statement_timeout', $3, true)"
)


class DirectDatabase:
    """A pool that opens on first use, as a deployed function has no start-up hook. It belongs to one event
    loop.

    url: postgresql:// address; pool_size: most connections; pool_timeout, statement_timeout: seconds.
    """

    def __init__(
        self, url: str, *, pool_size: int = 8, pool_timeout: float = 5.0, statement_timeout: float = 20.0
    ) -> None:
        self._url = url
        self._size = pool_size
        self._pool_timeout = pool_timeout
        self._statement_timeout = str(max(1, round(statement_timeout * 1000))).encode()
        # Past this the server has not kept its own limit, so the line to it must be dead.
        self._patience = statement_timeout + pool_timeout
        self._pool: AsyncConnectionPool[_Connection] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def rows(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[Row]:
        return rows_of(await self._call(caller, function, arguments, repeatable))

    async def chunks(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[bytes]:
        result = await self._call(caller, function, arguments, repeatable)
        return [result.get_value(row, 0) or b"" for row in range(result.ntuples)]

    async def check(self) -> None:
        try:
            async with (await self._opened()).connection(self._pool_timeout) as connection:
                async with asyncio.timeout(self._pool_timeout):
                    await exchange(connection, [Statement(b"select 1")])
        except (psycopg.Error, PoolTimeout, TimeoutError, Failure) as exc:
            raise unavailable() from exc

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and self._loop is asyncio.get_running_loop():
            await pool.close()

    async def _call(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], repeatable: bool
    ) -> pq.abc.PGresult:
        statements = (
            _BEGIN,
            Statement(_ACT_AS, (caller.role.encode(), caller.claims.encode(), self._statement_timeout)),
            Statement(_sql(function, tuple(arguments)), [_text(value) for value in arguments.values()]),
            _COMMIT,
        )
        pool = await self._opened()
        for last_try in (False, True):
            try:
                async with pool.connection(self._pool_timeout) as connection:
                    return await self._run(connection, statements)
            except PoolTimeout as exc:
                raise unavailable() from exc
            except TimeoutError as exc:
                raise Unavailable("timeout", retry_after=1) from exc
            except Failure as exc:
                if last_try or not may_run_again(exc.sqlstate, repeatable=repeatable):
                    raise refusal(exc) from exc
            except psycopg.Error as exc:
                if last_try or not repeatable:
                    raise unavailable() from exc
        raise AssertionError("unreachable")  # pragma: no cover

    async def _run(self, connection: _Connection, statements: Sequence[Statement]) -> pq.abc.PGresult:
        async with asyncio.timeout(self._patience):
            try:
                results = await exchange(connection, statements)
            except Failure:
                # A refusal is an ordinary answer: leave the connection as clean as it was.
                await exchange(connection, [_ROLLBACK])
                raise
        return results[2]

    async def _opened(self) -> AsyncConnectionPool[_Connection]:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            # A pool's tasks live in the loop that opened it; under another loop the old one is of no use.
            self._loop = loop
            self._pool = AsyncConnectionPool(
                self._url,
                kwargs={
                    "autocommit": True,  # begin and commit are among our statements
                    "prepare_threshold": None,
                    "connect_timeout": max(2, round(self._pool_timeout)),
                    "application_name": "leftoff",
                },
                min_size=1,
                max_size=self._size,
                open=False,
                check=_refuse_farewell,
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
def _sql(function: str, names: tuple[str, ...]) -> bytes:
    """The statement for a call. Names are written in our code, never in a request; checked all the same."""
    if not all(name.isidentifier() for name in (function, *names)):
        raise ValueError("function and argument names must be identifiers")
    listed = ", ".join(f"{name} => ${place}" for place, name in enumerate(names, 1))
    return f"select * from public.{function}({listed})".encode()


def _text(value: Argument) -> bytes | None:
    """A value as PostgreSQL writes it; untyped, so that the function's own parameter decides the type."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return str(value).encode()
    return ("{" + ",".join(map(_element, value)) + "}").encode()


def _element(value: str | int | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def _refuse_farewell(connection: _Connection) -> None:
    """Notice, without a round trip, that the server has closed an idle connection.

    An idle connection has nothing to read; if there is something, it is the server's farewell or the end of
    the stream. Noticed before anything is sent, the pool simply takes another connection.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise psycopg.OperationalError("the server closed the connection")

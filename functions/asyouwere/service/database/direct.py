"""Direct mode: psycopg, one transaction and one round trip a call, as the caller's role.

A call is four statements sent at once: begin; role, claims and time limit, local to the transaction; the
function; commit. Nothing outlives the transaction, so the next user of the connection (or of the server
connection behind a pooler in transaction mode) starts from nothing. For the same reason nothing is prepared
by name.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

import psycopg
from psycopg import pq

from asyouwere.errors import Unavailable
from asyouwere.postgres.connections import Connection, Connections
from asyouwere.postgres.encryption import encrypted
from asyouwere.postgres.failures import Failure, may_run_again, to_error, unavailable
from asyouwere.postgres.pipeline import Statement, exchange, rows_of
from asyouwere.service.auth.caller import Caller
from asyouwere.service.database import Argument, Row
from asyouwere.service.database.text_array import TextArray

__all__ = ["DirectDatabase"]

# Explicitly: outside a transaction block a local role would be gone before the function runs, and the
# function would run as the login role.
_BEGIN: Final = Statement(b"begin")
_COMMIT: Final = Statement(b"commit")
_ROLLBACK: Final = Statement(b"rollback")

#: Rows of a long answer that are fetched first; enough for the state of an everyday conversation.
_FIRST_ROWS: Final = 24
#: Bytes fetched at once afterwards, as far as the largest row so far tells.
_PIECE: Final = 1 << 20
#: How long a long answer may take in all: somebody who reads slowly holds a connection.
_LONGEST_SECONDS: Final = 120.0
_ACT_AS: Final = (
    b"select set_config('role', $1, true), set_config('request.jwt.claims', $2, true), "
    b"set_config('statement_timeout', $3, true)"
)


class DirectDatabase:
    """A pool that opens on first use, as a deployed function has no start-up hook. It belongs to one event
    loop.

    url: postgresql:// address; ca: PEM text of its CA's certificates; pool_size: most connections;
    pool_timeout: seconds to wait for one of them; statement_timeout: seconds that a call may take.
    """

    def __init__(
        self,
        url: str,
        *,
        ca: str | None = None,
        pool_size: int = 8,
        pool_timeout: float = 5.0,
        statement_timeout: float = 20.0,
    ) -> None:
        self._url = encrypted(url, ca)
        self._size = pool_size
        self._pool_timeout = pool_timeout
        self._statement_timeout = str(max(1, round(statement_timeout * 1000))).encode()
        # Past this the server has not kept its own limit, so the line to it must be dead.
        self._patience = statement_timeout + pool_timeout
        self._pool: Connections | None = None
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

    async def pieces(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument]
    ) -> AsyncGenerator[bytes, None]:
        begin, act_as, call, commit = self._statements(caller, function, arguments)
        declare = Statement(b"declare pieces no scroll cursor for " + call.sql, call.parameters, call.formats)
        end = asyncio.get_running_loop().time() + _LONGEST_SECONDS
        begun = False
        for last_try in (False, True):
            try:
                async with self._connections().one(caller.user_id) as connection:
                    wanted, largest = _FIRST_ROWS, 1
                    *_, rows = await self._run_on(connection, (begin, act_as, declare, _fetch(wanted)))
                    while True:
                        for row in range(rows.ntuples):
                            piece = rows.get_value(row, 0) or b""
                            largest = max(largest, len(piece))
                            begun = True
                            yield piece
                        if rows.ntuples < wanted:
                            break
                        if asyncio.get_running_loop().time() > end:
                            raise Unavailable("timeout", retry_after=1)
                        wanted = min(max(_PIECE // largest, 1), 1000)
                        (rows,) = await self._run_on(connection, (_fetch(wanted),))
                    await self._run_on(connection, (commit,))
                return
            except Failure as exc:
                if last_try or begun or not may_run_again(exc.sqlstate, repeatable=True):
                    raise to_error(exc) from exc
            except psycopg.Error as exc:
                if last_try or begun:
                    raise unavailable() from exc
            except TimeoutError as exc:
                raise unavailable() from exc  # none became free

    async def check(self) -> None:
        try:
            async with self._connections().one() as connection, asyncio.timeout(self._pool_timeout):
                await exchange(connection, [Statement(b"select 1")])
        except (psycopg.Error, TimeoutError, Failure) as exc:
            raise unavailable() from exc

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    async def _call(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], repeatable: bool
    ) -> pq.abc.PGresult:
        statements = self._statements(caller, function, arguments)
        for last_try in (False, True):
            try:
                return await self._run(caller, statements)
            except Failure as exc:
                if last_try or not may_run_again(exc.sqlstate, repeatable=repeatable):
                    raise to_error(exc) from exc
            except psycopg.Error as exc:
                if last_try or not repeatable:
                    raise unavailable() from exc
        raise AssertionError("unreachable")  # pragma: no cover

    def _statements(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument]
    ) -> tuple[Statement, Statement, Statement, Statement]:
        return (
            _BEGIN,
            Statement(_ACT_AS, (caller.role.encode(), caller.claims.encode(), self._statement_timeout)),
            Statement(
                _sql(function, tuple(arguments)),
                [_parameter(value) for value in arguments.values()],
                [int(isinstance(value, TextArray)) for value in arguments.values()],
            ),
            _COMMIT,
        )

    async def _run(self, caller: Caller, statements: Sequence[Statement]) -> pq.abc.PGresult:
        try:
            async with self._connections().one(caller.user_id) as connection:
                return (await self._run_on(connection, statements))[2]
        except TimeoutError as exc:
            raise unavailable() from exc  # none became free

    async def _run_on(
        self, connection: Connection, statements: Sequence[Statement]
    ) -> list[pq.abc.PGresult]:
        try:
            async with asyncio.timeout(self._patience):
                try:
                    return await exchange(connection, statements)
                except Failure:
                    # An error of ours is an ordinary result: leave the connection as clean as it was.
                    await exchange(connection, [_ROLLBACK])
                    raise
        except TimeoutError as exc:
            raise Unavailable("timeout", retry_after=1) from exc

    def _connections(self) -> Connections:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            # What belongs to another loop is of no use in this one.
            self._loop = loop
            self._pool = Connections(self._url, size=self._size, patience=self._pool_timeout)
        return self._pool


def _fetch(rows: int) -> Statement:
    return Statement(f"fetch {rows} from pieces".encode())


@functools.cache
def _sql(function: str, names: tuple[str, ...]) -> bytes:
    """The statement for a call. Names are written in our code, never in a request; checked all the same."""
    if not all(name.isidentifier() for name in (function, *names)):
        raise ValueError("function and argument names must be identifiers")
    listed = ", ".join(f"{name} => ${place}" for place, name in enumerate(names, 1))
    return f"select * from public.{function}({listed})".encode()


def _parameter(value: Argument) -> bytes | bytearray | None:
    """A value as PostgreSQL writes it, a TextArray in its binary form; untyped, so that the function's own
    parameter decides the type."""
    if value is None:
        return None
    if isinstance(value, TextArray):
        return value.wire()
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

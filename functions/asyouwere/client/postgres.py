"""Postgres itself as a transport (extra ``postgres``): one round trip a call, as the user's role.

A call is one packet of four statements: begin; role and claims, local to the transaction; the function; commit. So
it works behind a pooler that hands out a connection for each transaction. The code that sends it is that of the HTTPS
functions. The sessions of a process share a few connections. Works on asyncio.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Mapping
from typing import Final
from weakref import WeakKeyDictionary

import anyio
import psycopg
from psycopg import pq

from asyouwere.client.errors import Unreachable
from asyouwere.client.rpc import Argument, RpcTransport, Texts
from asyouwere.errors import Unavailable
from asyouwere.postgres.connections import Connection, Connections
from asyouwere.postgres.encryption import encrypted
from asyouwere.postgres.failures import Failure, may_run_again, to_error
from asyouwere.postgres.pipeline import Statement, exchange
from asyouwere.state.exact_json import encode

__all__ = ["PostgresTransport"]

_BEGIN: Final = Statement(b"begin")
_COMMIT: Final = Statement(b"commit")
_ROLLBACK: Final = Statement(b"rollback")
_ACT_AS: Final = (
    b"select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true), "
    b"set_config('statement_timeout', $2, true)"
)
_JSON_TYPES: Final = frozenset({114, 3802})  # json, jsonb
_BARE_TYPES: Final = frozenset({20, 21, 23, 1700})  # whole numbers, and numeric, of which nothing here is NaN
_MOMENT: Final = 1184  # timestamptz
#: Most connections of one process and event loop to one address, of which one user's sessions have at most half.
_SIZE: Final = 10


class PostgresTransport(RpcTransport):
    """url: postgresql://…, of a role that may act as ``authenticated`` (Supabase's postgres and authenticator may);
    user_id: whose sessions they are; timeout: seconds that a call may take."""

    def __init__(self, url: str, user_id: str, *, timeout: float = 30.0) -> None:
        super().__init__(_Caller(encrypted(url), user_id, timeout))


class _Shared:
    """Connections, and how many sessions have them."""

    def __init__(self, url: str) -> None:
        self.connections = Connections(url, size=_SIZE, patience=10.0)
        self.users = 0


_SHARED: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Shared]]] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SHARED.clear)  # they are the parent's


class _Caller:
    """Calls as one user, each on a connection that is free."""

    def __init__(self, url: str, user_id: str, timeout: float) -> None:
        self._url = url
        self._user_id = user_id
        claims = json.dumps({"sub": user_id, "role": "authenticated"})
        self._act_as = Statement(_ACT_AS, (claims.encode(), str(round(timeout * 1000)).encode()))
        self._timeout = timeout
        self._shared: _Shared | None = None

    async def rows(self, function: str, arguments: Mapping[str, Argument]) -> list[Texts]:
        call = Statement(_sql(function, tuple(arguments)), [_parameter(value) for value in arguments.values()])
        for last_try in (False, True):
            try:
                async with self._connections().one(self._user_id) as connection:
                    return _texts((await self._exchanged(connection, (_BEGIN, self._act_as, call, _COMMIT)))[2])
            except TimeoutError as exc:
                raise Unavailable("timeout", retry_after=1) from exc  # none became free
            except Failure as exc:
                if last_try or not may_run_again(exc.sqlstate, repeatable=False):
                    raise to_error(exc) from exc
            except (psycopg.Error, OSError) as exc:
                # All that a client asks has a key, or does no harm a second time.
                if last_try:
                    raise Unreachable from exc
        raise AssertionError("unreachable")  # pragma: no cover

    async def _exchanged(self, connection: Connection, statements: tuple[Statement, ...]) -> list[pq.abc.PGresult]:
        with anyio.fail_after(self._timeout + 5):
            try:
                return await exchange(connection, statements)
            except Failure:
                await exchange(connection, [_ROLLBACK])
                raise

    def _connections(self) -> Connections:
        if self._shared is None:
            here = _SHARED.setdefault(asyncio.get_running_loop(), {})
            self._shared = here.setdefault(self._url, _Shared(self._url))
            self._shared.users += 1
        return self._shared.connections

    async def close(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.users -= 1
            if not shared.users:
                shared.connections.close()
                _SHARED.get(asyncio.get_running_loop(), {}).pop(self._url, None)


@functools.cache
def _sql(function: str, names: tuple[str, ...]) -> bytes:
    listed = ", ".join(f"{name} => ${place}" for place, name in enumerate(names, 1))
    return f"select * from public.{function}({listed})".encode()


def _parameter(value: Argument) -> bytes | None:
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


def _texts(result: pq.abc.PGresult) -> list[Texts]:
    columns = [
        (column, (result.fname(column) or b"").decode(), result.ftype(column)) for column in range(result.nfields)
    ]
    return [
        {name: _text(result.get_value(row, column), kind) for column, name, kind in columns}
        for row in range(result.ntuples)
    ]


def _text(value: bytes | None, kind: int) -> str:
    """A column as JSON text."""
    if value is None:
        return "null"
    text = value.decode()
    if kind in _JSON_TYPES or kind in _BARE_TYPES:
        return text
    if kind == 16:
        return "true" if text == "t" else "false"
    if kind == _MOMENT:
        text = text.replace(" ", "T", 1)
        text = text + ":00" if text[-3] in "+-" else text
    return encode(text)

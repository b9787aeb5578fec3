"""asyouwere's SQL functions, called as one user over a pool of connections: what the adapters here stand on.

A trusted server acts for a user whose id it knows; row level security and all checks of the database hold. With
supabase-py, `call` is `client.rpc(function, arguments).execute().data` and the user comes with the token.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

__all__ = ["Database", "Refused", "found_or_none", "pointer"]


class Refused(Exception):
    """asyouwere refused on purpose; `code` is its stable code, `detail` what it knows besides."""

    def __init__(self, code: str, message: str, detail: str | None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.detail: dict[str, Any] = json.loads(detail or "{}")


class Database:
    """`await Database(pool, user_id).call("get_session", p_session_id=…)` is a list of rows."""

    def __init__(self, pool: AsyncConnectionPool[Any], user_id: str) -> None:
        self._pool = pool
        self._claims = json.dumps({"sub": user_id, "role": "authenticated"})

    async def call(self, function: str, /, **arguments: Any) -> list[dict[str, Any]]:
        """The rows. Dicts and lists go as JSON, tuples as arrays. Raises Refused."""
        named = ", ".join(f"{name} => %({name})s" for name in arguments)
        values = {name: _argument(value) for name, value in arguments.items()}
        try:
            # a pipeline: who it is for and the call travel together
            async with self._pool.connection() as connection, connection.pipeline(), connection.transaction():
                await connection.execute(
                    "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
                    (self._claims,),
                )
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(f"select * from public.{function}({named})".encode(), values)
                return await cursor.fetchall()
        except psycopg.Error as exc:
            if not (exc.sqlstate or "").startswith("PT"):
                raise
            raise Refused(exc.diag.message_hint or "", str(exc), exc.diag.message_detail) from exc

    async def one(self, function: str, /, **arguments: Any) -> dict[str, Any]:
        """The only row."""
        (row,) = await self.call(function, **arguments)
        return row


def _argument(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return list(value) if isinstance(value, tuple) else value


async def found_or_none(database: Database, key: str) -> dict[str, Any] | None:
    """The user's session with this key; unlike get_or_create_session it makes none."""
    try:
        return await database.one("find_session", p_key=key)
    except Refused as exc:
        if exc.code == "session_not_found":
            return None
        raise


def pointer(*keys: str) -> str:
    """The JSON Pointer of a value below the state."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)

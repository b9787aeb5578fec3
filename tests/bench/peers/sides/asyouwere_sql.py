"""asyouwere by SQL: the functions of `public`, called by psycopg as a signed-in user under row level security."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.peers.sides.base import Side, Turn
from tests.bench.peers.sides.connections import Connections, compact

CREATE = "select id from public.get_or_create_session()"
SAVE_STATE = "select number from public.create_session_snapshot(%s, p_state => %s)"
SAVE = "select number from public.create_session_snapshot(%s, p_changes => %s, p_base => %s)"
READ = "select public.get_snapshot_chunks(%s, %s)"
POLL = "select * from public.get_session_changes(%s, %s)"


class AsYouWereSql(Side):
    """Options: role and claims, which each connection sets once."""

    packages = ("psycopg",)

    async def open(self, dsn: str, **options: Any) -> None:
        self._connections = Connections(dsn, options["role"], options["claims"])
        self._ids: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}

    async def fill(self, session: str, turns: list[Turn]) -> None:
        self._ids[session] = await self._connections.value(CREATE)
        state = {
            "messages": [message for turn in turns for message in turn.messages],
            "step": turns[-1].step,
        }
        self._numbers[session] = await self._connections.value(
            SAVE_STATE, (self._ids[session], compact(state))
        )

    async def save(self, session: str, turn: Turn) -> None:
        changes = {"append": {"/messages": turn.messages}, "set": {"/step": turn.step}}
        parameters = (self._ids[session], compact(changes), self._numbers[session])
        self._numbers[session] = await self._connections.value(SAVE, parameters)

    async def restore(self, session: str) -> object:
        return await self._read(session, None)

    async def restore_old(self, session: str, back: int) -> object | None:
        return await self._read(session, self._numbers[session] - back)

    async def poll(self, session: str) -> bool:
        async with self._connections.one() as connection:
            parameters = (self._ids[session], self._numbers[session])
            cursor = await connection.execute(POLL.encode(), parameters, prepare=True)
            return cursor.rowcount <= 1

    async def _read(self, session: str, number: int | None) -> object:
        async with self._connections.one() as connection:
            cursor = await connection.execute(READ.encode(), (self._ids[session], number), prepare=True)
            rows = await cursor.fetchall()
        return json.loads("".join(chunk for (chunk,) in rows[1:]))

    async def close(self) -> None:
        await self._connections.close()

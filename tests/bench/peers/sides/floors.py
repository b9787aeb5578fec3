"""The barest things that could be done instead: inserting the rows, or storing the state as one document."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.peers.sides.base import Message, Side, Turn
from tests.bench.peers.sides.connections import Connections, compact


class BareInsert(Side):
    """A turn is a row for each message and one for the step, in one insert: no session, no version, no rights."""

    TABLE = """
        create table if not exists parts (
            session text not null, number int not null, item int not null, body text not null,
            primary key (session, number, item))
    """
    INSERT = "insert into parts values (%s, %s, 0, %s), (%s, %s, 1, %s), (%s, %s, 2, %s)"
    FILL = "insert into parts select %s, n::int, i::int, body from unnest(%s::int[], %s::int[], %s::text[]) as u (n, i, body)"
    READ = "select body from parts where session = %s and item < 2 order by number, item"
    HEAD = "select max(number) from parts where session = %s"

    async def open(self, dsn: str, **options: Any) -> None:
        self._connections = Connections(dsn)
        await self._connections.execute(self.TABLE)
        self._numbers: dict[str, int] = {}

    async def fill(self, session: str, turns: list[Turn]) -> None:
        rows = [
            (number, item, compact(body))
            for number, turn in enumerate(turns, 1)
            for item, body in enumerate((turn.user, turn.assistant, turn.step))
        ]
        await self._connections.execute(
            self.FILL, (session, *(list(column) for column in zip(*rows, strict=True)))
        )
        self._numbers[session] = len(turns)

    async def save(self, session: str, turn: Turn) -> None:
        self._numbers[session] = number = self._numbers[session] + 1
        bodies = (compact(turn.user), compact(turn.assistant), str(turn.step))
        parameters = tuple(value for body in bodies for value in (session, number, body))
        await self._connections.execute(self.INSERT, parameters)

    async def restore(self, session: str) -> object:
        async with self._connections.one() as connection:
            cursor = await connection.execute(self.READ.encode(), (session,), prepare=True)
            return {"messages": [json.loads(body) for (body,) in await cursor.fetchall()]}

    async def poll(self, session: str) -> bool:
        return bool(await self._connections.value(self.HEAD, (session,)) == self._numbers[session])

    async def close(self) -> None:
        await self._connections.close()


class JsonbDocument(Side):
    """The table most people write first: the whole state as one jsonb, a new row for each version."""

    TABLE = """
        create table if not exists documents (
            session text not null, number int not null, state jsonb not null,
            created_at timestamptz not null default now(), primary key (session, number))
    """
    INSERT = "insert into documents (session, number, state) values (%s, %s, %s)"
    READ = "select state::text from documents where session = %s order by number desc limit 1"
    READ_OLD = "select state::text from documents where session = %s and number = %s"
    HEAD = "select number from documents where session = %s order by number desc limit 1"

    async def open(self, dsn: str, **options: Any) -> None:
        self._connections = Connections(dsn)
        await self._connections.execute(self.TABLE)
        self._messages: dict[str, list[Message]] = {}
        self._numbers: dict[str, int] = {}

    async def fill(self, session: str, turns: list[Turn]) -> None:
        self._messages[session] = [message for turn in turns[:-1] for message in turn.messages]
        self._numbers[session] = len(turns) - 1
        await self.save(session, turns[-1])

    async def save(self, session: str, turn: Turn) -> None:
        self._messages[session] += turn.messages
        self._numbers[session] = number = self._numbers[session] + 1
        state = compact({"messages": self._messages[session], "step": turn.step})
        await self._connections.execute(self.INSERT, (session, number, state))

    async def restore(self, session: str) -> object:
        return json.loads(await self._connections.value(self.READ, (session,)))

    async def restore_old(self, session: str, back: int) -> object | None:
        parameters = (session, self._numbers[session] - back)
        state: object = json.loads(await self._connections.value(self.READ_OLD, parameters))
        return state

    async def poll(self, session: str) -> bool:
        return bool(await self._connections.value(self.HEAD, (session,)) == self._numbers[session])

    async def close(self) -> None:
        await self._connections.close()

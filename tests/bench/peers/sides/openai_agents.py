"""OpenAI Agents' SQLAlchemySession over asyncpg with a pool: the items of a turn in one `add_items`.

It has no state besides the items, so it saves less than the others; nothing is added for it.
"""

from __future__ import annotations

from typing import Any

from agents.extensions.memory import SQLAlchemySession
from sqlalchemy.ext.asyncio import create_async_engine

from tests.bench.peers.sides.base import CLIENTS, Side, Turn


class OpenAiAgents(Side):
    packages = ("openai-agents", "SQLAlchemy", "asyncpg")

    async def open(self, dsn: str, **options: Any) -> None:
        self._engine = create_async_engine(options["url"], pool_size=CLIENTS, max_overflow=0)
        self._sessions: dict[str, SQLAlchemySession] = {}
        await SQLAlchemySession("first", engine=self._engine, create_tables=True).get_items()

    async def fill(self, session: str, turns: list[Turn]) -> None:
        self._sessions[session] = SQLAlchemySession(session, engine=self._engine)
        # one transaction has one created_at, by which they are ordered; so some more, as in life
        for begin in range(0, len(turns), 50):
            await self._add(session, *turns[begin : begin + 50])

    async def save(self, session: str, turn: Turn) -> None:
        await self._add(session, turn)

    async def _add(self, session: str, *turns: Turn) -> None:
        items: list[Any] = [message for turn in turns for message in turn.messages]
        await self._sessions[session].add_items(items)

    async def restore(self, session: str) -> object:
        return {"messages": await self._sessions[session].get_items()}

    async def poll(self, session: str) -> bool:
        return len(await self._sessions[session].get_items(limit=1)) == 1

    async def close(self) -> None:
        await self._engine.dispose()

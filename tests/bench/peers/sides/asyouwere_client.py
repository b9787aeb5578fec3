"""asyouwere's Python client on Postgres: sessions that stay open, each with its journal on disk."""

from __future__ import annotations

from contextlib import AsyncExitStack
from tempfile import TemporaryDirectory
from typing import Any

import asyouwere
from tests.bench.peers.sides.base import Side, Turn


class AsYouWereClient(Side):
    """Options: url and user_id. The dsn is not used."""

    async def open(self, dsn: str, **options: Any) -> None:
        self._stack = AsyncExitStack()
        folder = self._stack.enter_context(TemporaryDirectory())
        # it saves when it is told to, and looks when it is told to
        self._options = {**options, "journal": folder, "poll": None, "debounce": 1e6, "max_wait": 1e6}
        self._sessions: dict[str, asyouwere.Session] = {}

    async def fill(self, session: str, turns: list[Turn]) -> None:
        opened = await self._stack.enter_async_context(asyouwere.open(key=session, **self._options))
        messages = [message for turn in turns for message in turn.messages]
        opened.state = {"messages": messages, "step": turns[-1].step}
        await opened.save_now()
        self._sessions[session] = opened

    async def save(self, session: str, turn: Turn) -> None:
        opened = self._sessions[session]
        opened.append(*turn.messages)
        opened.state["step"] = turn.step
        await opened.save_now()

    async def restore(self, session: str) -> object:
        options = {**self._options, "journal": False}
        async with asyouwere.open(session=self._sessions[session].id, **options) as opened:
            return opened.state.copy()

    async def restore_old(self, session: str, back: int) -> object | None:
        opened = self._sessions[session]
        return await opened.peek(opened.number - back)

    async def poll(self, session: str) -> bool:
        await self._sessions[session].refresh()
        return True

    async def close(self) -> None:
        await self._stack.aclose()

"""A side that keeps everything in memory: what the protocol's own test talks to."""

from __future__ import annotations

from typing import Any

from tests.bench.peers.sides.base import Side, Turn


class InMemory(Side):
    """Sessions as lists of turns. Option `fail`: what to raise at the next save."""

    async def open(self, dsn: str, **options: Any) -> None:
        self._sessions: dict[str, list[Turn]] = {}
        self._fail = options.get("fail")

    async def fill(self, session: str, turns: list[Turn]) -> None:
        self._sessions[session] = list(turns)

    async def save(self, session: str, turn: Turn) -> None:
        if self._fail:
            raise RuntimeError(self._fail)
        print("a library that prints")
        self._sessions[session].append(turn)

    async def restore(self, session: str) -> object:
        return self._state(self._sessions[session])

    async def restore_old(self, session: str, back: int) -> object | None:
        return self._state(self._sessions[session][:-back])

    def _state(self, turns: list[Turn]) -> dict[str, Any]:
        return {"messages": [message for turn in turns for message in turn.messages]}

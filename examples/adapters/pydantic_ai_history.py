"""Message history for Pydantic AI: kept as the state's `messages`, an object each.

    history = MessageHistory(Database(pool, user_id), "trip")
    result = await agent.run("Where were we?", message_history=await history.load(last=100))
    await history.append(result.new_messages(), run_id=result.run_id)

A run is appended once and whole, whatever else is going on in the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter

from .database import Database, found_or_none

__all__ = ["MessageHistory"]


class MessageHistory:
    """`key` names the conversation; its session is made by the first append."""

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key

    async def load(self, last: int | None = None) -> list[ModelMessage]:
        """All messages, or the last so many, oldest first; none if there is no such conversation."""
        session = await found_or_none(self._database, self._key)
        if session is None:
            return []
        address: Any = "/messages" if last is None else {"address": "/messages", "last": last}
        part = await self._database.one("get_session_parts", p_session_id=session["id"], p_addresses=[address])
        return ModelMessagesTypeAdapter.validate_python(part["value"] or [])

    async def append(self, messages: Sequence[ModelMessage], *, run_id: str) -> int:
        """Puts the new messages of a run at the end, once, however often it is called; how many there are then.

        The snapshot has the run's id as its own: `list_snapshots` finds what a run has said.
        """
        session = await self._database.one(
            "get_or_create_session", p_key=self._key, p_kind="chat", p_expires_after_seconds=0
        )
        saved = await self._database.one(
            "append_session_messages",
            p_session_id=session["id"],
            p_messages=ModelMessagesTypeAdapter.dump_python(list(messages), mode="json"),
            p_idempotency_key=run_id,
            p_external_id=run_id,
        )
        return int(saved["message_count"])

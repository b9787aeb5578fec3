"""A session for the OpenAI Agents SDK: its items are the state's `messages`.

    session = AsYouWereSession("trip", Database(pool, user_id))
    await Runner.run(agent, "Where were we?", session=session)

Several runs may use one session at once: items are appended, and taken from the end, by one caller each.
"""

from __future__ import annotations

from typing import Any

from .database import Database

__all__ = ["AsYouWereSession"]

_ITEMS = "/messages"


class AsYouWereSession:
    """`session_id` is the key of the session, which is made when it is first used."""

    def __init__(self, session_id: str, database: Database) -> None:
        self.session_id = session_id
        self.session_settings = None
        self._database = database
        self._found: str | None = None

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """All items, or the latest `limit`, oldest first."""
        address: Any = _ITEMS if limit is None else {"address": _ITEMS, "last": max(limit, 0)}
        part = await self._database.one(
            "get_session_parts", p_session_id=await self._session(), p_addresses=[address]
        )
        return list(part["value"] or [])

    async def add_items(self, items: list[Any]) -> None:
        """Puts items at the end, all or none."""
        if items:
            await self._database.one(
                "append_session_messages", p_session_id=await self._session(), p_messages=list(items)
            )

    async def pop_item(self) -> Any | None:
        """The latest item, which is no other caller's then; None if there is none."""
        taken = await self._database.one("pop_session_items", p_session_id=await self._session(), p_address=_ITEMS)
        return taken["items"][0] if taken["items"] else None

    async def clear_session(self) -> None:
        """Empties the list; older snapshots have it still. `forget_session_parts` is for those too."""
        await self._database.one(
            "create_session_snapshot", p_session_id=await self._session(), p_changes={"set": {_ITEMS: []}}
        )

    async def _session(self) -> str:
        if self._found is None:
            row = await self._database.one("get_or_create_session", p_key=self.session_id, p_state={"messages": []})
            self._found = str(row["id"])
        return self._found

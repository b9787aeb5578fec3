"""A session store for the Claude Agent SDK: transcripts outlive the machine that an agent ran on.

    options = ClaudeAgentOptions(session_store=AsYouWereSessionStore(Database(pool, user_id)), resume=session_id)

A transcript is a session, its entries the state's `messages`; a sub-agent's is a session below it, deleted with it.
"""

from __future__ import annotations

from typing import Any

from claude_agent_sdk.types import (
    SessionKey,
    SessionListSubkeysKey,
    SessionStore,
    SessionStoreEntry,
    SessionStoreListEntry,
)

from .database import Database, found_or_none

__all__ = ["AsYouWereSessionStore"]


class AsYouWereSessionStore(SessionStore):
    """`prefix` begins the keys of the sessions."""

    def __init__(self, database: Database, prefix: str = "claude/") -> None:
        self._database = database
        self._prefix = prefix

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        if not entries:
            return
        session_id = await self._session(key)
        # An entry with a uuid once, however often it is sent; others always, and all in their order.
        changes: dict[str, Any]
        for begin, end in _runs(entries):
            run = entries[begin:end]
            if "uuid" in run[0]:
                changes = {"append_once": {"/messages": {"by": "uuid", "items": run}}}
            else:
                changes = {"append": {"/messages": run}}
            await self._database.one("create_session_snapshot", p_session_id=session_id, p_changes=changes)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        session = await found_or_none(self._database, self._key(key))
        if session is None:
            return None
        part = await self._database.one("get_session_parts", p_session_id=session["id"], p_addresses=["/messages"])
        return part["value"]

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        return [
            {"session_id": row["metadata"]["claude"]["session_id"], "mtime": _milliseconds(row["last_activity_at"])}
            for row in await self._all(p_key_prefix=f"{self._prefix}{project_key}\n")
        ]

    async def delete(self, key: SessionKey) -> None:
        session = await found_or_none(self._database, self._key(key))
        if session is not None:
            await self._database.call("delete_session", p_session_id=session["id"])

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        session = await found_or_none(self._database, self._key(key))
        if session is None:
            return []
        return [row["metadata"]["claude"]["subpath"] for row in await self._all(p_parent_id=session["id"])]

    def _key(self, key: Any) -> str:
        names = [key["project_key"], key["session_id"], *([key["subpath"]] if key.get("subpath") else [])]
        return self._prefix + "\n".join(names)  # no name holds a line break

    async def _session(self, key: SessionKey) -> str:
        parent = None
        if key.get("subpath"):
            parent = await self._session({"project_key": key["project_key"], "session_id": key["session_id"]})
        row = await self._database.one(
            "get_or_create_session", p_key=self._key(key), p_parent_id=parent, p_metadata={"claude": dict(key)}
        )
        return str(row["id"])

    async def _all(self, **which: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        place: dict[str, Any] = {}
        while page := await self._database.call("list_sessions", p_limit=1000, p_archived=None, **which, **place):
            found += page
            place = {"p_before": page[-1]["last_activity_at"], "p_before_id": page[-1]["id"]}
        return found


def _runs(entries: list[SessionStoreEntry]) -> list[tuple[int, int]]:
    """Where runs of entries that all have a uuid, or all have none, begin and end."""
    cuts = [place for place in range(1, len(entries)) if ("uuid" in entries[place]) != ("uuid" in entries[place - 1])]
    return list(zip([0, *cuts], [*cuts, len(entries)], strict=True))


def _milliseconds(time: Any) -> int:
    return int(time.timestamp() * 1000)

"""A checkpointer for LangGraph: each checkpoint is a snapshot, each thread a session.

    graph = builder.compile(checkpointer=AsYouWereSaver(Database(pool, user_id)))
    await graph.ainvoke(…, {"configurable": {"thread_id": "trip"}})

A checkpoint's id is the snapshot's external id, its metadata the snapshot's metadata, its parent the parent number. A
subgraph's namespace is a session of its own below the thread's, and so are the pending writes: deleting the thread
takes them along. Lists are stored item by item, so a conversation that grows costs what is new. Async only.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from .database import Database, Refused, found_or_none, pointer

__all__ = ["AsYouWereSaver"]

Config = Any  # langchain_core.runnables.RunnableConfig
_PAGE = 50


class AsYouWereSaver(BaseCheckpointSaver[int]):
    """`prefix` begins the keys of the sessions, so that several apps can share an account."""

    def __init__(self, database: Database, prefix: str = "langgraph/") -> None:
        super().__init__()
        self._database = database
        self._prefix = prefix
        # what this process last saved of a session: the next save sends only what is new
        self._saved: dict[str, tuple[int, dict[str, Any]]] = {}

    # -- sessions ------------------------------------------------------------------------------------

    def _key(self, thread_id: str, kind: str = "") -> str:
        return f"{self._prefix}{thread_id}{kind}"

    async def _session(self, config: Config, kind: str) -> str:
        """The session of a thread (kind ""), a namespace ("/ns") or the writes ("#writes"); made if there is none."""
        thread_id = config["configurable"]["thread_id"]
        root = await self._database.one("get_or_create_session", p_key=self._key(thread_id))
        if not kind:
            return str(root["id"])
        child = await self._database.one(
            "get_or_create_session", p_key=self._key(thread_id, kind), p_parent_id=root["id"]
        )
        return str(child["id"])

    async def _found(self, config: Config, kind: str) -> str | None:
        session = await found_or_none(self._database, self._key(config["configurable"]["thread_id"], kind))
        return str(session["id"]) if session else None

    async def _number(self, session_id: str, checkpoint_id: str | None) -> int | None:
        if checkpoint_id is None:
            return None
        rows = await self._database.call("list_snapshots", p_session_id=session_id, p_external_id=checkpoint_id)
        return rows[0]["number"] if rows else None

    # -- saving --------------------------------------------------------------------------------------

    async def aput(self, config: Config, checkpoint: Any, metadata: Any, new_versions: Any) -> Config:
        namespace = _namespace(config)
        session_id = await self._session(config, _kind(namespace))
        parent = get_checkpoint_id(config)
        values = {channel: self._encoded(value) for channel, value in checkpoint["channel_values"].items()}
        rest = {name: value for name, value in checkpoint.items() if name != "channel_values"} | {"parent": parent}
        said = {
            "p_external_id": checkpoint["id"],
            "p_idempotency_key": checkpoint["id"],  # a retry whose first answer was lost
            "p_metadata": get_checkpoint_metadata(config, metadata),
            "p_parent_number": await self._number(session_id, parent),
        }
        saved = None
        if known := self._saved.pop(session_id, None):
            base, before = known
            changes = _changes(before, values)
            changes["set"]["/checkpoint"] = rest
            try:
                saved = await self._database.one(
                    "create_session_snapshot", p_session_id=session_id, p_changes=changes, p_base=base,
                    p_on_conflict="reject", **said,
                )  # fmt: skip
            except Refused as exc:
                if exc.code not in ("conflict", "snapshot_gone", "idempotency_key_reused", "snapshot_exists"):
                    raise
        if saved is None:
            try:
                saved = await self._database.one(
                    "create_session_snapshot", p_session_id=session_id,
                    p_state={"values": values, "checkpoint": rest}, **said,
                )  # fmt: skip
            except Refused as exc:
                if exc.code not in ("idempotency_key_reused", "snapshot_exists"):
                    raise  # the checkpoint is there already
        if saved is not None and not saved["replayed"]:
            self._saved[session_id] = (saved["number"], values)
        return _config(config, namespace, checkpoint["id"])

    async def aput_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        # The first wins, whoever else runs the same task; what a task ends or pauses with is overwritten.
        changes: dict[str, dict[str, Any]] = {"add": {}, "set": {}}
        for place, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, place)
            address = pointer(_namespace(config), config["configurable"]["checkpoint_id"], f"{task_id},{index}")
            changes["add" if index >= 0 else "set"][address] = [task_path, channel, self._encoded(value, whole=True)]
        session_id = await self._session(config, "#writes")
        await self._database.one("create_session_snapshot", p_session_id=session_id, p_changes=changes)

    # -- reading -------------------------------------------------------------------------------------

    async def aget_tuple(self, config: Config) -> CheckpointTuple | None:
        session_id = await self._found(config, _kind(_namespace(config)))
        if session_id is None:
            return None
        try:
            snapshot = await self._database.one(
                "get_snapshot", p_session_id=session_id, p_external_id=get_checkpoint_id(config)
            )
        except Refused as exc:
            if exc.code in ("snapshot_not_found", "snapshot_gone"):
                return None
            raise
        if not snapshot["number"]:
            return None
        return await self._tuple(config, _namespace(config), snapshot)

    async def alist(
        self, config: Config | None, *, filter: dict[str, Any] | None = None, before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:  # fmt: skip
        left = limit if limit is not None else 1_000_000
        async for thread, namespace, session_id in self._listed(config):
            number = await self._number(session_id, get_checkpoint_id(before) if before else None)
            while left > 0:
                page = await self._database.call(
                    "list_snapshots", p_session_id=session_id, p_before=number, p_limit=min(left, _PAGE),
                    p_metadata=filter or {}, p_external_id=get_checkpoint_id(config) if config else None,
                )  # fmt: skip
                for row in page:
                    snapshot = await self._database.one(
                        "get_snapshot", p_session_id=session_id, p_number=row["number"]
                    )
                    yield await self._tuple(thread, namespace, snapshot)
                left -= len(page)
                if len(page) < _PAGE:
                    break
                number = page[-1]["number"]

    async def _listed(self, config: Config | None) -> AsyncIterator[tuple[Config, str, str]]:
        """Thread, namespace and session of all that a list may be of."""
        if config is not None and "checkpoint_ns" in config["configurable"]:
            namespace = _namespace(config)
            if session_id := await self._found(config, _kind(namespace)):
                yield config, namespace, session_id
            return
        prefix = self._key(config["configurable"]["thread_id"]) if config is not None else self._prefix
        for root in await self._all(p_key_prefix=prefix):
            thread = {"configurable": {"thread_id": root["key"][len(self._prefix) :]}}
            if config is not None and root["key"] != prefix:
                continue
            yield thread, "", str(root["id"])
            for child in await self._all(p_parent_id=root["id"]):
                if child["key"].startswith(root["key"] + "/"):
                    yield thread, child["key"][len(root["key"]) + 1 :], str(child["id"])

    async def _all(self, **which: Any) -> list[dict[str, Any]]:
        """All sessions of a list, page by page."""
        found: list[dict[str, Any]] = []
        place: dict[str, Any] = {}
        while page := await self._database.call("list_sessions", p_limit=1000, p_archived=None, **which, **place):
            found += page
            place = {"p_before": page[-1]["last_activity_at"], "p_before_id": page[-1]["id"]}
        return found

    async def _tuple(self, thread: Config, namespace: str, snapshot: dict[str, Any]) -> CheckpointTuple:
        state = snapshot["state"]
        rest = dict(state["checkpoint"])
        parent = rest.pop("parent")
        checkpoint = rest | {
            "channel_values": {channel: self._decoded(value) for channel, value in state["values"].items()}
        }
        return CheckpointTuple(
            config=_config(thread, namespace, checkpoint["id"]),
            checkpoint=checkpoint,
            metadata=snapshot["metadata"] or {},
            parent_config=_config(thread, namespace, parent) if parent else None,
            pending_writes=await self._writes(thread, namespace, checkpoint["id"]),
        )

    async def _writes(self, thread: Config, namespace: str, checkpoint_id: str) -> list[tuple[str, str, Any]]:
        session_id = await self._found(thread, "#writes")
        if session_id is None:
            return []
        part = await self._database.one(
            "get_session_parts", p_session_id=session_id, p_addresses=[pointer(namespace, checkpoint_id)]
        )
        found = []
        for name, (task_path, channel, value) in (part["value"] or {}).items():
            task_id, _, index = name.rpartition(",")
            found.append((task_path, task_id, int(index), channel, self._decoded(value)))
        found.sort(key=lambda write: write[:3])
        return [(task_id, channel, value) for _, task_id, _, channel, value in found]

    # -- deleting ------------------------------------------------------------------------------------

    async def adelete_thread(self, thread_id: str) -> None:
        session = await found_or_none(self._database, self._key(thread_id))
        if session is not None:
            await self._database.call("delete_session", p_session_id=session["id"])

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
                continue
            async for _, _, session_id in self._listed({"configurable": {"thread_id": thread_id}}):
                latest = await self._database.call("list_snapshots", p_session_id=session_id, p_limit=1)
                number = latest[0]["number"] if latest else 0
                while page := await self._database.call(
                    "list_snapshots", p_session_id=session_id, p_before=number, p_limit=100
                ):
                    numbers = tuple(row["number"] for row in page)
                    await self._database.call("delete_snapshots", p_session_id=session_id, p_numbers=numbers)

    # -- values --------------------------------------------------------------------------------------

    def _encoded(self, value: Any, whole: bool = False) -> Any:
        """JSON as it is, any other value as the serializer's bytes; a list item by item, so that it can grow."""
        if _is_plain(value):
            return value
        if type(value) is list and not whole:
            return [self._encoded(item, whole=True) for item in value]
        kind, data = self.serde.dumps_typed(value)
        return {"$serialized": kind, "data": base64.b64encode(data).decode()}

    def _decoded(self, value: Any) -> Any:
        if type(value) is list:
            return [self._decoded(item) for item in value]
        if type(value) is dict and "$serialized" in value:
            return self.serde.loads_typed((value["$serialized"], base64.b64decode(value["data"])))
        return value


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether JSON gives back the very same value."""
    if depth > 40:
        return False
    if type(value) is dict:
        return "$serialized" not in value and all(
            type(key) is str and _is_plain(item, depth + 1) for key, item in value.items()
        )
    if type(value) is list:
        return all(_is_plain(item, depth + 1) for item in value)
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is int:
        return abs(value) < 1 << 63
    return value is None or type(value) in (bool, str)


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What leads from one set of channel values to another; a list that has grown is appended to."""
    changes: dict[str, Any] = {"set": {}, "append": {}, "remove": []}
    for channel, value in after.items():
        old, address = before.get(channel), pointer("values", channel)
        if channel not in before:
            changes["set"][address] = value
        elif old and type(old) is list and type(value) is list and _same(old, value[: len(old)]):
            if len(value) > len(old):
                changes["append"][address] = value[len(old) :]
        elif not _same(old, value):
            changes["set"][address] = value
    changes["remove"] = [pointer("values", channel) for channel in before if channel not in after]
    return changes


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)  # not ==, to which 1, 1.0 and True are the same


def _namespace(config: Config) -> str:
    return str(config["configurable"].get("checkpoint_ns") or "")


def _kind(namespace: str) -> str:
    return f"/{namespace}" if namespace else ""


def _config(thread: Config, namespace: str, checkpoint_id: str) -> Config:
    thread_id = thread["configurable"]["thread_id"]
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}

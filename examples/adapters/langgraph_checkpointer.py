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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

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
#: What a checkpoint is besides its values: so deep it is one part, which costs one row a save.
_REST = "/langgraph/checkpoint/rest"
_T = TypeVar("_T")
_Values = dict[str, str | list[str]]


@dataclass(frozen=True)
class _Saved:
    number: int
    checkpoint_id: str
    values: _Values


class AsYouWereSaver(BaseCheckpointSaver[int]):
    """`prefix` begins the keys of the sessions, so that several apps can share an account."""

    def __init__(self, database: Database, prefix: str = "langgraph/") -> None:
        super().__init__()
        self._database = database
        self._prefix = prefix
        self._ids: dict[str, str] = {}
        # what this process last saved of a session: the next save sends only what is new
        self._saved: dict[str, _Saved] = {}

    # -- sessions ------------------------------------------------------------------------------------

    def _key(self, thread_id: str, kind: str = "") -> str:
        return f"{self._prefix}{thread_id}{kind}"

    async def _in_session(self, config: Config, kind: str, work: Callable[[str], Awaitable[_T]]) -> _T:
        """Does `work` in the session of a thread (kind ""), a namespace ("/ns") or the writes ("#writes").

        Made if there is none; again if it was deleted meanwhile.
        """
        key = self._key(config["configurable"]["thread_id"], kind)
        if session_id := self._ids.get(key):
            try:
                return await work(session_id)
            except Refused as exc:
                if exc.code != "session_not_found":
                    raise
        root = await self._database.one("get_or_create_session", p_key=self._key(config["configurable"]["thread_id"]))
        session = root
        if kind:
            session = await self._database.one("get_or_create_session", p_key=key, p_parent_id=root["id"])
        self._ids[key] = str(session["id"])
        return await work(self._ids[key])

    async def _found(self, config: Config, kind: str) -> str | None:
        key = self._key(config["configurable"]["thread_id"], kind)
        if key not in self._ids:
            session = await found_or_none(self._database, key)
            if session is None:
                return None
            self._ids[key] = str(session["id"])
        return self._ids[key]

    async def _number(self, session_id: str, checkpoint_id: str | None) -> int | None:
        if checkpoint_id is None:
            return None
        rows = await self._database.call("list_snapshots", p_session_id=session_id, p_external_id=checkpoint_id)
        return rows[0]["number"] if rows else None

    # -- saving --------------------------------------------------------------------------------------

    async def aput(self, config: Config, checkpoint: Any, metadata: Any, new_versions: Any) -> Config:
        namespace = _namespace(config)
        parent = get_checkpoint_id(config)
        values = {channel: self._text(value) for channel, value in checkpoint["channel_values"].items()}
        rest = {name: value for name, value in checkpoint.items() if name != "channel_values"} | {"parent": parent}
        said = {
            "p_external_id": checkpoint["id"],
            "p_idempotency_key": checkpoint["id"],  # a retry whose first answer was lost
            "p_metadata": get_checkpoint_metadata(config, metadata),
        }

        async def put(session_id: str) -> None:
            known = self._saved.pop(session_id, None)
            if known is not None and known.checkpoint_id == parent:
                said["p_parent_number"] = known.number
            else:
                said["p_parent_number"] = await self._number(session_id, parent)
            saved = None
            if known is not None:
                changes = _changes(known.values, values, rest)
                saved = await self._save(
                    session_id, p_changes=changes, p_base=known.number, p_on_conflict="reject", **said
                )
            if saved is None:  # somebody else was here since
                saved = await self._save(session_id, p_state=_state(values, rest), **said)
            if saved is not None and not saved["replayed"]:
                self._saved[session_id] = _Saved(saved["number"], checkpoint["id"], values)

        await self._in_session(config, _kind(namespace), put)
        return _config(config, namespace, checkpoint["id"])

    async def _save(self, session_id: str, **arguments: Any) -> dict[str, Any] | None:
        """The answer; None if others saved since the base, or if the checkpoint is there already."""
        try:
            return await self._database.one("create_session_snapshot", p_session_id=session_id, **arguments)
        except Refused as exc:
            if exc.code in ("conflict", "snapshot_gone", "idempotency_key_reused", "snapshot_exists"):
                return None
            raise

    async def aput_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        # The first wins, whoever else runs the same task; what a task ends or pauses with is overwritten.
        changes: dict[str, dict[str, Any]] = {"add": {}, "set": {}}
        for place, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, place)
            address = pointer(_namespace(config), config["configurable"]["checkpoint_id"], f"{task_id},{index}")
            changes["add" if index >= 0 else "set"][address] = [task_path, channel, self._encoded(value)]

        async def put(session_id: str) -> None:
            await self._database.one("create_session_snapshot", p_session_id=session_id, p_changes=changes)

        await self._in_session(config, "#writes", put)

    # -- reading -------------------------------------------------------------------------------------

    async def aget_tuple(self, config: Config) -> CheckpointTuple | None:
        namespace = _namespace(config)
        while session_id := await self._found(config, _kind(namespace)):
            try:
                snapshot = await self._database.one(
                    "get_snapshot", p_session_id=session_id, p_external_id=get_checkpoint_id(config)
                )
                return await self._tuple(config, namespace, snapshot) if snapshot["number"] else None
            except Refused as exc:
                if exc.code in ("snapshot_not_found", "snapshot_gone"):
                    return None
                if exc.code != "session_not_found":
                    raise
                self._ids.clear()  # deleted, and perhaps made anew since
        return None

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
        rest = dict(state["langgraph"]["checkpoint"]["rest"])
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
        self._ids.clear()
        self._saved.clear()

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

    def _text(self, value: Any) -> str | list[str]:
        """JSON text, of a list that of each item: so it can grow, and costs what is new."""
        if type(value) is list:
            return [json.dumps(self._encoded(item)) for item in value]
        return json.dumps(self._encoded(value))

    def _encoded(self, value: Any) -> Any:
        """JSON as it is, any other value as the serializer's bytes."""
        if _is_plain(value):
            return value
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


def _changes(before: _Values, after: _Values, rest: dict[str, Any]) -> str:
    """What leads from one set of channel values to another, as JSON; a list that has grown is appended to."""
    written, appended = [f'"{_REST}":{json.dumps(rest)}'], []
    for channel, value in after.items():
        old, address = before.get(channel), json.dumps(pointer("values", channel))
        if old == value:
            continue
        if old and isinstance(old, list) and isinstance(value, list) and old == value[: len(old)]:
            appended.append(f"{address}:{_joined(value[len(old) :])}")
        else:
            written.append(f"{address}:{_joined(value)}")
    gone = [pointer("values", channel) for channel in before if channel not in after]
    return f'{{"set":{{{",".join(written)}}},"append":{{{",".join(appended)}}},"remove":{json.dumps(gone)}}}'


def _state(values: _Values, rest: dict[str, Any]) -> str:
    members = ",".join(f"{json.dumps(channel)}:{_joined(value)}" for channel, value in values.items())
    return f'{{"values":{{{members}}},"langgraph":{{"checkpoint":{{"rest":{json.dumps(rest)}}}}}}}'


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else f"[{','.join(text)}]"


def _namespace(config: Config) -> str:
    return str(config["configurable"].get("checkpoint_ns") or "")


def _kind(namespace: str) -> str:
    return f"/{namespace}" if namespace else ""


def _config(thread: Config, namespace: str, checkpoint_id: str) -> Config:
    thread_id = thread["configurable"]["thread_id"]
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}

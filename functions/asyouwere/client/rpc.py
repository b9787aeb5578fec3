"""The SQL functions as a transport, called by name with named arguments, however they are reached."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from asyouwere.client.http import turn_look
from asyouwere.client.transport import Begun, Delta, Flushed, Row, Saved, Snapshot, TurnLook
from asyouwere.errors import AsYouWereError
from asyouwere.state.exact_json import encode
from asyouwere.state.rows import open_changes

__all__ = ["Argument", "Caller", "RpcTransport", "Texts"]

Argument: TypeAlias = str | int | bool | Sequence[str | None] | Sequence[int | None] | None
Texts: TypeAlias = dict[str, str]
"""A row: each column as the JSON text of its value."""


class Caller(Protocol):
    """What reaches the functions."""

    async def rows(self, function: str, arguments: Mapping[str, Argument]) -> list[Texts]: ...

    async def close(self) -> None: ...


class RpcTransport:
    """A transport over one that calls functions."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def _row(self, function: str, **arguments: Argument) -> Texts:
        rows = await self._caller.rows(function, {f"p_{name}": value for name, value in arguments.items()})
        return rows[0]

    async def find_or_make(self, session: str | None, key: str | None, fields: Row) -> Row:
        if session is not None:
            return _values(await self._row("get_session", session_id=session))
        given = {"key": key, **fields}
        if "metadata" in given:
            given["metadata"] = encode(given["metadata"])
        row = await self._row(
            "get_or_create_session", **{name: value for name, value in given.items() if value is not None}
        )
        return _values(row)

    async def change(self, session: str, fields: Row) -> Row:
        return _values(await self._row("update_session", session_id=session, changes=encode(fields)))

    async def save(self, session: str, changes: str, base: int, key: str, label: str | None = None) -> Saved:
        rows = open_changes(changes)
        return _saved(
            await self._row(
                "save_session_parts",
                session_id=session,
                ops=rows.ops,
                paths=list(rows.paths),
                items=rows.items,
                bodies=list(rows.bodies),
                base=base,
                idempotency_key=key,
                label=label,
            )
        )

    async def restore(self, session: str, number: int | None = None, label: str | None = None) -> Snapshot:
        row = await self._row("get_snapshot", session_id=session, number=number or None, label=label)
        return Snapshot(int(row["number"]), int(row["latest_number"]), json.loads(row["label"]), row["state"])

    async def changes(self, session: str, since: int) -> Delta:
        row = await self._row("get_session_changes", session_id=session, since=since)
        return Delta(int(row["number"]), None if row["reset"] == "true" else row["changes"])

    async def snapshots(self, session: str, limit: int, before: int | None) -> list[Row]:
        rows = await self._caller.rows(
            "list_snapshots", {"p_session_id": session, "p_limit": min(limit, 1_000), "p_before": before}
        )
        return [_values(row) for row in rows]

    async def diff(self, session: str, old: int, new: int) -> list[Row]:
        rows = await self._caller.rows("diff_snapshots", {"p_session_id": session, "p_from": old, "p_to": new})
        return [_values(row) for row in rows]

    async def revert(self, session: str, number: int, key: str) -> Saved:
        return _saved(await self._row("revert_session", session_id=session, number=number, idempotency_key=key))

    async def label(self, session: str, number: int, label: str | None) -> None:
        await self._row("label_snapshot", session_id=session, number=number, label=label)

    async def fork(self, session: str, number: int | None, name: str | None, key: str | None) -> Row:
        return _values(await self._row("fork_session", session_id=session, number=number, name=name, key=key))

    async def origin(self, session: str) -> Row:
        rows = await self._caller.rows("get_fork_origin", {"p_session_id": session})
        return _values(rows[0]) if rows else {"origin_id": None}

    async def merge(self, session: str, merging: Row) -> Saved:
        given = {**merging, "choices": encode(merging["choices"])}
        return _saved(await self._row("merge_fork", session_id=session, **given))

    async def record_usage(self, session: str, usage: Row) -> Row:
        given = {**usage, "cost": str(usage["cost"])}
        return _values(await self._row("record_usage", session_id=session, **given))

    async def usage(self, session: str, turn: str | None) -> Row:
        return _values(await self._row("get_session_usage", session_id=session, turn_id=turn))

    async def set_budget(self, session: str, budget: float | None) -> Row:
        given = None if budget is None else str(budget)
        return _values(await self._row("set_session_budget", session_id=session, budget=given))

    async def export(self, session: str, format: str) -> bytes:
        if format != "json":
            raise AsYouWereError("internal", "Without the functions an export is JSON; ask them for another format.")
        rows = await self._caller.rows("export_session", {"p_session_id": session})
        return "".join(json.loads(text) for row in rows for text in row.values()).encode()

    # -- turns -----------------------------------------------------------------------------------------------------

    async def begin_turn(self, session: str, turn: str, lease: int, message: str | None, join: bool) -> Begun:
        more = {} if message is None else {"message": message}
        told = _values(
            await self._row(
                "begin_turn",
                session_id=session,
                turn_id=turn,
                lease_seconds=lease,
                on_running="join" if join else "refuse",
                **more,
            )
        )
        return Begun(told["id"], told["status"], told["next_seq"], told["created"])

    async def flush(self, session: str, turn: str, first: int, chunks: str) -> Flushed:
        told = _values(
            await self._row("append_turn_chunks", session_id=session, turn_id=turn, from_seq=first, chunks=chunks)
        )
        return Flushed(told["next_seq"], told["stop"])

    async def finish_turn(
        self, session: str, turn: str, message: str | None, changes: str | None, status: str
    ) -> Saved:
        return _saved(
            await self._row(
                "finish_turn", session_id=session, turn_id=turn, message=message, changes=changes, status=status
            )
        )

    async def stop_turn(self, session: str, turn: str) -> None:
        await self._row("stop_turn", session_id=session, turn_id=turn)

    async def look(self, session: str, turn: str, after: int) -> TurnLook:
        return turn_look(await self._row("get_turn", session_id=session, turn_id=turn, after_seq=after))

    async def latest(self, session: str, after: int) -> TurnLook | None:
        rows = await self._caller.rows("get_turn", {"p_session_id": session, "p_after_seq": after})
        return turn_look(rows[0]) if rows else None

    def follow(self, session: str, turn: str, after: int) -> AsyncIterator[TurnLook] | None:
        return None

    async def close(self) -> None:
        await self._caller.close()


def _saved(row: Texts) -> Saved:
    others = None if row["others"] == "null" else row["others"]
    return Saved(int(row["number"]), row["created"] == "true", row["replayed"] == "true", others)


def _values(row: Texts) -> Row:
    return {name: json.loads(text) for name, text in row.items()}

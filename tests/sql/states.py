"""Saving and restoring in few words, for the tests of the SQL functions."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from asyouwere.state.rows import open_changes, open_state
from tests.support.database import Db, Row

# What changes leave out is as if it were not there.
Changes = dict[str, Any]


def change(db: Db, session_id: UUID, changes: Changes | str, **arguments: Any) -> Row:
    """Save changes (a str is JSON text) as whoever acts; the row of create_session_snapshot."""
    return db.one("create_session_snapshot", p_session_id=session_id, p_changes=changes, **arguments)


def save_rows(db: Db, session_id: UUID, *rows: tuple[str, str, int | None, str | None], **arguments: Any) -> Row:
    """Save change rows, given as (op, path, item, body), as the functions send them."""
    ops, paths, items, bodies = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    return db.one(
        "save_session_parts",
        p_session_id=session_id,
        p_ops=ops,
        p_paths=paths,
        p_items=items,
        p_bodies=bodies,
        **arguments,
    )


def save_text(db: Db, session_id: UUID, state: str, **arguments: Any) -> Row:
    """Save a whole state, given as canonical JSON text, the way the functions do."""
    rows = open_state(state)
    return save_rows(
        db, session_id, *zip(rows.ops, rows.paths, rows.items, rows.bodies, strict=True), **arguments
    )


def change_text(db: Db, session_id: UUID, changes: str, **arguments: Any) -> Row:
    """Save changes, given as canonical JSON text, the way the functions do."""
    rows = open_changes(changes)
    return save_rows(
        db, session_id, *zip(rows.ops, rows.paths, rows.items, rows.bodies, strict=True), **arguments
    )


def state_of(db: Db, session_id: UUID, number: int | None = None) -> Any:
    """The state at a number, or the latest, as Python values."""
    return db.one("get_snapshot", p_session_id=session_id, p_number=number)["state"]


def text_of(db: Db, session_id: UUID, number: int | None = None) -> str:
    """A state as the very text that is restored."""
    rows = db.call("get_snapshot_chunks", p_session_id=session_id, p_number=number)
    return "".join(row["get_snapshot_chunks"] for row in rows[1:])


def detail_of(refused: pytest.ExceptionInfo[psycopg.Error]) -> Any:
    """The data of a refusal."""
    return json.loads(refused.value.diag.message_detail or "null")


def applied(state: Any, changes: Changes) -> Any:
    """A state after changes as a sync answers them: remove first, then set, each in its order."""
    state = json.loads(json.dumps(state))
    for pointer in changes["remove"]:
        holder, key = _place(state, pointer)
        if isinstance(holder, list):
            assert int(key) == len(holder) - 1, "items go from the end only"
            holder.pop()
        else:
            del holder[key]
    for pointer, value in changes["set"].items():
        holder, key = _place(state, pointer)
        if not isinstance(holder, list):
            holder[key] = value
        elif int(key) < len(holder):
            holder[int(key)] = value
        else:
            assert int(key) == len(holder), "items come one after the other"
            holder.append(value)
    return state


def _place(state: Any, pointer: str) -> tuple[Any, str]:
    """The container that the pointer's last key is in, and that key."""
    *above, last = [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
    for key in above:
        state = state[int(key)] if isinstance(state, list) else state[key]
    return state, last

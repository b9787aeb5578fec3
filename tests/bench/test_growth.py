"""What growth is measured on is written by SQL; here it is held against what saves leave behind."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.growth import FEW_SESSIONS, FILL_PARTS, FILL_SESSIONS, FILL_SNAPSHOTS, LENGTHEN
from tests.bench.memory import BODY_BYTES, states
from tests.support.database import Db

MESSAGE = {"role": "user", "content": "hello"}
PARTS = """
    select p.path, p.item, p.since, nullif(p.until, 2147483647) as until, p.kind, p.depth, p.size, p.body
    from asyouwere.parts p join free_agent_sessions s on s.internal_id = p.session
    where s.id = %s order by 1, 2, 3
"""


def filled(db: Db, count: int, mine: int = 1) -> list[Any]:
    """Ids of the sessions that ada got."""
    message = json.dumps(MESSAGE, separators=(",", ":"))
    db.superuser.execute(FILL_SESSIONS, {"count": count, "mine": mine, "user": db.user("ada")})
    db.superuser.execute(FILL_SNAPSHOTS)
    db.superuser.execute(FILL_PARTS, {"message": message})
    rows = db.superuser.execute(
        "select id from free_agent_sessions where user_id = %s", (db.user("ada"),)
    ).fetchall()
    return [row["id"] for row in rows]


def saved(db: Db) -> Any:
    """A session that got there by two saves."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        state = {"messages": [MESSAGE, MESSAGE], "step": 1}
        db.call("create_session_snapshot", p_session_id=session_id, p_state=state)
        changes = {"append": {"/messages": [MESSAGE]}, "set": {"/step": 2}}
        db.call("create_session_snapshot", p_session_id=session_id, p_changes=changes)
    return session_id


def test_fill__leaves_the_parts_that_saves_leave(db: Db) -> None:
    (made_up,) = filled(db, 1)
    assert (
        db.superuser.execute(PARTS, (made_up,)).fetchall()
        == db.superuser.execute(PARTS, (saved(db),)).fetchall()
    )


def test_fill__goes_on_as_any_session_does(db: Db) -> None:
    (session_id,) = filled(db, 1)
    with db.acting_as("ada"):
        changes = {"append": {"/messages": [MESSAGE]}}
        result = db.one("create_session_snapshot", p_session_id=session_id, p_changes=changes, p_base=2)
        old = db.one("get_snapshot", p_session_id=session_id, p_number=1)
    assert (result["number"], result["message_count"]) == (3, 4)
    assert old["state"] == {"messages": [MESSAGE, MESSAGE], "step": 1}


def test_fill__every_so_manieth_session_belongs_to_who_looks(db: Db) -> None:
    assert len(filled(db, 3 * FEW_SESSIONS, mine=10)) == 15


def test_lengthen__every_number_of_the_history_is_whole(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        state = {"messages": [MESSAGE], "step": 30}
        db.call("create_session_snapshot", p_session_id=session_id, p_state=state)
    internal = db.value("select internal_id from free_agent_sessions where id = %s", (session_id,))
    for statement in LENGTHEN.split(";\n")[:4]:
        db.sql(statement, {"session": internal, "count": 30})
    with db.acting_as("ada"):
        for number in (1, 17, 30):
            found = db.one("get_snapshot", p_session_id=session_id, p_number=number)["state"]
            assert found == {"messages": [MESSAGE], "step": number}
        changes = {"set": {"/step": 31}}
        assert db.one("create_session_snapshot", p_session_id=session_id, p_changes=changes)["number"] == 31


def test_memory__bodies_are_as_large_as_a_request_may_be() -> None:
    for kind, state in states():
        assert 0.95 * BODY_BYTES < len(state.encode()) < BODY_BYTES - 1000, kind
        json.loads(state)

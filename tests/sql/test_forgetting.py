"""delete_my_data(): nothing of a person is left in any table."""

from __future__ import annotations

import threading
from typing import Any

from tests.sql.states import change
from tests.support.database import Db, Row

TABLES = """
    select c.oid::regclass::text as name from pg_catalog.pg_class c
    where c.relkind in ('r', 'p') and c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    order by 1
"""


def dump(db: Db) -> dict[str, str]:
    """Every table's rows as one text."""
    tables = [row["name"] for row in db.superuser.execute(TABLES).fetchall()]
    assert "asyouwere.parts" in tables
    return {
        name: str(
            db.superuser.execute(f"select coalesce(string_agg(t::text, '\n'), '') as rows from {name} t".encode()).fetchall()
        )
        for name in tables
    }


def swept(db: Db, **arguments: Any) -> None:
    """The clean-up takes what is left of large sessions, and the bucket, once it is full again."""
    db.superuser.execute("update asyouwere.rate_buckets set filled_at = filled_at - interval '1 hour'")
    with db.acting_as("service"):
        while not db.one("cleanup_old_snapshots", **arguments)["done"]:
            pass


def test_forget__leaves_nothing_in_any_table(db: Db) -> None:
    ada = db.user("ada")
    mine = [db.session("ada", name="secret name", key="secret key") for _ in range(2)]
    mine.append(db.session("ada", metadata={"secret": 1}, visibility="public"))
    theirs = db.session("bob")
    with db.acting_as("bob"):
        db.share(theirs, "ada")
        db.save(theirs, {"bob's": 1})
    with db.acting_as("ada"):
        for session_id in mine[1:]:
            db.save(session_id, {"messages": ["secret content"]}, p_label="secret label", p_idempotency_key="k")
            change(db, session_id, {"append": {"/messages": ["more secret content"]}})
            db.share(session_id, "bob")
        change(db, theirs, {"set": {"/ada's": "words"}}, p_idempotency_key="mine")
    with db.acting_as("bob"):
        change(db, mine[1], {"append": {"/messages": ["bob's answer"]}})
    swept(db, p_keep=1, p_older_than="0")

    numbers = [
        str(row["internal_id"])
        for row in db.superuser.execute(
            "select internal_id from public.free_agent_sessions where user_id = %s", (ada,)
        ).fetchall()
    ]
    assert any(str(ada) in rows for rows in dump(db).values())
    with db.acting_as("ada"):
        receipt = db.one("delete_my_data")
        assert receipt == {"sessions": 2, "snapshots": 4, "parts": 7, "turns": 0, "memberships": 1, "done": True}
        nothing = {"sessions": 0, "snapshots": 0, "parts": 0, "turns": 0, "memberships": 0, "done": True}
        assert db.one("delete_my_data") == nothing
    swept(db)
    left = dump(db)
    # An id stays used, by nobody.
    assert str(ada) not in left.pop("asyouwere.used_ids")
    for forbidden in (str(ada), *map(str, mine), "secret"):
        assert {name for name, rows in left.items() if forbidden in rows} == set(), forbidden
    for table in ("parts", "save_keys"):
        sessions = {
            str(row["session"])
            for row in db.superuser.execute(f"select session from asyouwere.{table}".encode()).fetchall()
        }
        assert sessions.isdisjoint(numbers)
    # In bob's session the words stay, the name goes.
    with db.acting_as("bob"):
        assert db.one("get_latest_snapshot", p_session_id=theirs)["state"] == {"ada's": "words", "bob's": 1}
        assert [row["created_by"] for row in db.call("list_snapshots", p_session_id=theirs)] == [None]
        assert db.call("list_session_members", p_session_id=theirs) == []


def test_forget__touches_nobody_else(db: Db) -> None:
    for name in ("ada", "bob"):
        session_id = db.session(name)
        with db.acting_as(name):
            db.save(session_id, {"n": 1}, p_idempotency_key="k")
    with db.acting_as("ada"):
        assert db.one("delete_my_data")["sessions"] == 1
    with db.acting_as("bob"):
        assert len(db.call("list_sessions")) == 1
    assert db.superuser.execute("select count(*) from asyouwere.parts").fetchall() == [{"count": 1}]
    assert db.superuser.execute("select count(*) from asyouwere.save_keys").fetchall() == [{"count": 1}]


def test_forget__needs_a_caller(db: Db) -> None:
    db.session("ada")
    connection = db.connect_as("ada")
    connection.execute("select set_config('request.jwt.claims', '', false)")
    with db.refuses("not_signed_in"):
        db.call("delete_my_data", on=connection)


def test_forget__two_who_share_with_each_other_at_once(db: Db) -> None:
    problems: list[Exception] = []
    for _ in range(5):
        people = ("ada", "bob")
        sessions = {name: [db.session(name, visibility="shared") for _ in range(4)] for name in people}
        for name, other in (people, people[::-1]):
            with db.acting_as(name):
                for session_id in sessions[name]:
                    db.share(session_id, other)
        for name, other in (people, people[::-1]):
            with db.acting_as(name):
                for session_id in reversed(sessions[other]):
                    for n in range(5):
                        change(db, session_id, {"set": {f"/{name}": n}})
        together = threading.Barrier(2)

        def work(connection: Any, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                db.call("delete_my_data", on=connection)
            except Exception as exc:  # noqa: BLE001 - shown below, in the test's own thread
                problems.append(exc)

        threads = [threading.Thread(target=work, args=(db.connect_as(name),)) for name in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        swept(db)
        counts: list[Row] = db.superuser.execute("select count(*) from asyouwere.parts").fetchall()
        assert counts == [{"count": 0}]


def test_forget__waits_for_nobody_elses_session(db: Db) -> None:
    """Whoever holds a lock of bob's session is in nobody's way, and what is left out is said."""
    theirs = db.session("bob")
    with db.acting_as("bob"):
        db.share(theirs, "ada")
    with db.acting_as("ada"):
        change(db, theirs, {"set": {"/a": 1}})
    holder = db.connect()
    holder.autocommit = False
    holder.execute("select from public.free_agent_sessions where id = %s for update", (theirs,))
    ada = db.connect_as("ada")
    ada.execute("set lock_timeout = '300ms'")
    holder.execute("select from public.session_members where session_id = %s for update", (theirs,))
    (receipt,) = db.call("delete_my_data", on=ada)
    assert (receipt["memberships"], receipt["done"]) == (0, False)
    holder.rollback()
    (receipt,) = db.call("delete_my_data", on=ada)
    assert (receipt["memberships"], receipt["done"]) == (1, True)

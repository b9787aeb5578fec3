"""Sessions of thousands of snapshots: gone at once for everyone, deleted in steps; nothing that fails stops the rest."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.sql.test_accounts import erased, many_sessions
from tests.support.database import Db, Row


def large_session(db: Db, owner: str = "ada", snapshots: int = 4500, **arguments: object) -> UUID:
    session_id = db.session(owner, **arguments)
    with db.acting_as(owner):
        db.save(session_id, {"messages": ["words"]})
    db.superuser.execute(
        "insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count)"
        " select %s, n, 0, 0, 0 from generate_series(2, %s) n",
        (session_id, snapshots),
    )
    return session_id


def left(db: Db, table: str) -> int:
    (row,) = db.superuser.execute(f"select count(*) as n from {table}".encode()).fetchall()
    return int(row["n"])


@pytest.mark.parametrize("way", ["function", "table", "service", "expiry"])
def test_delete_session__a_large_one_is_gone_at_once_and_goes_in_steps(db: Db, way: str) -> None:
    session_id = large_session(db, key="k", name="secret", kind="chat", visibility="public")
    with db.acting_as("ada"):
        db.share(session_id, "ed")
    with db.acting_as("service" if way in ("service", "expiry") else "ada"):
        if way == "table":
            db.sql("delete from public.free_agent_sessions where id = %s", (session_id,))
        elif way == "expiry":
            db.superuser.execute(
                "update public.free_agent_sessions set expired_at = now() - interval '8 days', status = 'expired'"
            )
            assert db.one("expire_idle_sessions")["deleted"] == 1
        else:
            receipt = db.one("delete_session", p_session_id=session_id)
            assert receipt == {"snapshots": 4500, "parts": 2, "turns": 0, "members": 1}
    for who in ("ada", "ed", "eve", None, "service"):
        with db.acting_as(who):
            for function in ("get_session", "get_latest_snapshot", "list_snapshots", "list_messages"):
                with db.refuses("session_not_found"):
                    db.call(function, p_session_id=session_id)
            if who != "service":
                assert db.sql("select from public.free_agent_sessions") == []
                assert db.sql("select from public.session_snapshots") == []
                assert db.sql("select from public.session_messages") == []
    (row,) = db.superuser.execute("select name, key, last_message from public.free_agent_sessions").fetchall()
    assert row == {"name": None, "key": None, "last_message": None}
    with db.acting_as("ada"):
        assert db.call("list_sessions") == []
        assert db.one("get_or_create_session", p_key="k")["id"] != session_id
    with db.acting_as("service"):
        receipts = erased(db, "erase_deleted_users")
    assert [receipt["snapshots"] for receipt in receipts[:2]] != [4500, 0]  # in steps
    assert sum(receipt["snapshots"] for receipt in receipts) == 4500
    assert (left(db, "public.session_snapshots"), left(db, "asyouwere.erasures")) == (0, 0)


def test_deleted_large_session__the_id_is_its_owners_again_and_nobody_elses(db: Db) -> None:
    session_id = large_session(db, snapshots=1500)
    with db.acting_as("ada"):
        db.call("delete_session", p_session_id=session_id)
    for done in (False, True):
        with db.acting_as("bob"), db.refuses("session_not_found"):
            db.one("get_or_create_session", p_id=session_id)
        if done:
            break
        with db.acting_as("ada"), db.refuses("session_not_found"):
            db.one("get_or_create_session", p_id=session_id)  # it is being deleted yet
        with db.acting_as("service"):
            erased(db, "erase_deleted_users")
    with db.acting_as("ada"):
        assert db.one("get_or_create_session", p_id=session_id)["latest_number"] == 0


def test_delete_session__a_large_one_costs_no_token(db: Db) -> None:
    session_id = large_session(db, snapshots=1500)
    db.superuser.execute("update asyouwere.rate_buckets set tokens = 0, filled_at = now() + interval '1 hour'")
    with db.acting_as("ada"):
        db.call("delete_session", p_session_id=session_id)
        assert db.call("list_sessions") == []


def test_delete_my_data__the_receipt_counts_a_large_session(db: Db) -> None:
    large_session(db)
    with db.acting_as("ada"):
        receipts = erased(db, "delete_my_data")
    totals = {name: sum(receipt[name] for receipt in receipts) for name in ("sessions", "snapshots", "parts")}
    assert totals == {"sessions": 1, "snapshots": 4500, "parts": 2}
    assert (left(db, "public.session_snapshots"), left(db, "asyouwere.erasures")) == (0, 0)


def tree(db: Db, snapshots: int, children: int) -> UUID:
    """A parent with children, two of which have one of their own; as many snapshots each."""
    parent = db.session("ada", name="parent")
    ids = [db.session("ada", parent_id=parent) for _ in range(children)]
    ids += [db.session("ada", parent_id=each) for each in ids[:2]]
    for each in (parent, *ids):
        with db.acting_as("ada"):
            db.save(each, {"messages": ["words"]})
    db.superuser.execute(
        "insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count)"
        " select s.id, n, 0, 0, 0 from public.free_agent_sessions s, generate_series(2, %s) n",
        (snapshots,),
    )
    return parent


@pytest.mark.parametrize("way", ["function", "table", "all", "data"])
def test_delete_session__what_belongs_to_it_counts(db: Db, way: str) -> None:
    """None of them is large by itself; all together they are."""
    parent = tree(db, 300, 4)
    kept = db.session("bob")
    with db.acting_as("ada"):
        if way == "function":
            assert db.one("delete_session", p_session_id=parent)["snapshots"] == 7 * 300
        elif way == "table":
            db.sql("delete from public.free_agent_sessions where id = %s", (parent,))
        elif way == "all":
            db.sql("delete from public.free_agent_sessions")
        else:
            receipts = erased(db, "delete_my_data")
            assert sum(receipt["sessions"] for receipt in receipts) == 7
            assert sum(receipt["snapshots"] for receipt in receipts) == 7 * 300
        assert db.sql("select from public.free_agent_sessions") == []
    if way in ("function", "table"):
        assert left(db, "public.session_snapshots") == 7 * 300
    with db.acting_as("service"):
        erased(db, "erase_deleted_users")
    assert (left(db, "public.free_agent_sessions"), left(db, "public.session_snapshots")) == (1, 0)
    with db.acting_as("bob"):
        assert db.one("get_session", p_session_id=kept)["id"] == kept


def test_delete_all_by_table__with_a_large_parent_and_its_children(db: Db) -> None:
    parent = large_session(db, snapshots=1500)
    for _ in range(3):
        db.session("ada", parent_id=parent)
    with db.acting_as("ada"):
        db.sql("delete from public.free_agent_sessions")
        assert db.sql("select from public.free_agent_sessions") == []


# -- what can't be deleted -----------------------------------------------------------------------------------------


def pinned(db: Db, owner: str) -> UUID:
    """A session that a table of the app's own refers to without a cascade."""
    session_id = db.session(owner)
    db.superuser.execute(
        "create table if not exists public.invoices (session_id uuid references public.free_agent_sessions (id))"
    )
    db.superuser.execute("insert into public.invoices values (%s)", (session_id,))
    return session_id


def test_erase_deleted_users__passes_by_what_fails_and_tries_again(db: Db) -> None:
    session_id = pinned(db, "ada")
    many_sessions(db, "ada", 50)
    many_sessions(db, "bob", 50)
    for name in ("ada", "bob"):
        db.superuser.execute("delete from auth.users where id = %s", (db.user(name),))
        db.superuser.execute("update asyouwere.erasures set requested_at = requested_at - interval '1 minute'")
    with db.acting_as("service"):
        receipts = erased(db, "erase_deleted_users")
    assert sum(receipt["sessions"] for receipt in receipts) == 100
    (only,) = db.superuser.execute("select id from public.free_agent_sessions").fetchall()
    assert only["id"] == session_id
    (noted,) = db.superuser.execute(
        "select user_id, sql_state from asyouwere.erasures where failed_at is not null"
    ).fetchall()
    assert noted == {"user_id": db.user("ada"), "sql_state": "23503"}
    db.superuser.execute("drop table public.invoices")
    db.superuser.execute("update asyouwere.erasures set failed_at = failed_at - interval '2 hours'")
    db.superuser.execute("update asyouwere.cleanup_failures set last_failed_at = last_failed_at - interval '2 hours'")
    with db.acting_as("service"):
        erased(db, "erase_deleted_users")
    assert left(db, "public.free_agent_sessions") == 0
    assert left(db, "asyouwere.erasures where failed_at is not null") == 0


def test_erase_deleted_users__passes_by_who_is_locked_past_the_time_limit(db: Db) -> None:
    many_sessions(db, "ada", 1)
    many_sessions(db, "bob", 1)
    for name in ("ada", "bob"):
        db.superuser.execute("delete from auth.users where id = %s", (db.user(name),))
    db.superuser.execute(
        "update asyouwere.erasures set requested_at = now() - interval '1 hour' where user_id = %s", (db.user("ada"),)
    )
    holder = db.connect(autocommit=False)
    holder.execute("select from public.free_agent_sessions where user_id = %s for update", (db.user("ada"),))
    with db.acting_as("service"):
        db.connection.execute("set statement_timeout = '300ms'")
        erased(db, "erase_deleted_users")
    holder.rollback()
    (kept,) = db.superuser.execute("select user_id from public.free_agent_sessions").fetchall()
    assert kept["user_id"] == db.user("ada")
    (noted,) = db.superuser.execute("select sql_state from asyouwere.erasures where failed_at is not null").fetchall()
    assert noted["sql_state"] == "57014"


def test_delete_my_data__says_so_when_only_what_fails_is_left(db: Db) -> None:
    pinned(db, "ada")
    many_sessions(db, "ada", 30)
    receipts: list[Row] = []
    with db.acting_as("ada"):
        while sum(receipt["sessions"] for receipt in receipts) < 30:
            receipts.append(db.one("delete_my_data"))
        assert not any(receipt["done"] for receipt in receipts)
        with db.refuses("internal") as refused:
            db.one("delete_my_data")
    assert "can't be deleted" in str(refused.value)
    assert left(db, "public.free_agent_sessions") == 1


# -- ids that were used --------------------------------------------------------------------------------------------


def test_used_ids__the_latest_hundred_thousand_of_each_person(db: Db) -> None:
    first, theirs = db.session("ada"), db.session("bob")
    for name, session_id in (("ada", first), ("bob", theirs)):
        with db.acting_as(name):
            db.call("delete_session", p_session_id=session_id)
    db.superuser.execute(
        "insert into asyouwere.used_ids (id, user_id, position) select gen_random_uuid(), %s, n"
        " from generate_series(2, 100000) n",
        (db.user("ada"),),
    )
    assert left(db, "asyouwere.used_ids") == 100_001
    many_sessions(db, "ada", 3)
    with db.acting_as("ada"):
        db.sql("delete from public.free_agent_sessions")
    assert left(db, "asyouwere.used_ids") == 100_001
    ids = {row["id"] for row in db.superuser.execute("select id from asyouwere.used_ids").fetchall()}
    assert first not in ids
    assert theirs in ids

"""What people do with a session: change it, share it, delete it."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.states import change, state_of
from tests.support.database import Db, Row


@pytest.fixture
def session_id(db: Db):
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada", name="first")
    with db.acting_as("ada"):
        yield session_id


# -- changing --------------------------------------------------------------------------------------------------


def test_update__each_field(db: Db, session_id) -> None:
    changes: list[tuple[Row, str, Any]] = [
        ({"name": "renamed"}, "name", "renamed"),
        ({"name": None}, "name", None),
        ({"model": "m"}, "model", "m"),
        ({"status": "paused"}, "status", "paused"),
        ({"metadata": {"a": [1]}}, "metadata", {"a": [1]}),
        ({"upstream": {"provider": "x"}}, "upstream", {"provider": "x"}),
        ({"upstream": None}, "upstream", None),
        ({"expires_after_seconds": 90}, "expires_after", timedelta(seconds=90)),
        ({"expires_after_seconds": 0}, "expires_after", None),
        ({"expires_after_seconds": 60}, "expires_after", timedelta(seconds=60)),
        ({"expires_after_seconds": None}, "expires_after", None),
        ({"visibility": "shared"}, "visibility", "shared"),
    ]
    before = db.one("get_or_create_session", p_id=session_id)
    del before["created"]
    for values, column, expected in changes:
        row = db.one("update_session", p_session_id=session_id, p_changes=values)
        assert row[column] == expected
        before = {**before, column: expected, "updated_at": row["updated_at"]}
        assert row == before
    assert db.one("update_session", p_session_id=session_id, p_changes={})["name"] is None


def test_update__archived_keeps_its_time(db: Db, session_id) -> None:
    first = db.one("update_session", p_session_id=session_id, p_changes={"archived": True})["archived_at"]
    assert first is not None
    assert db.one("update_session", p_session_id=session_id, p_changes={"archived": True})["archived_at"] == first
    assert db.one("update_session", p_session_id=session_id, p_changes={"archived": False})["archived_at"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x"},
        {"user_id": "x"},
        {"latest_number": 5},
        {"internal_id": 5},
        {"expired_at": None},
        {"archived_at": None},
        {"name": 5},
        {"status": "expired"},
        {"status": None},
        {"status": ["idle"]},
        {"visibility": "x"},
        {"metadata": 5},
        {"metadata": None},
        {"upstream": []},
        {"archived": "yes"},
        {"archived": None},
        {"expires_after_seconds": -1},
        {"expires_after_seconds": "60"},
        {"expires_after_seconds": 1e300},
        {"name": "x" * 501},
        [],
        "text",
        5,
        "null",
        None,
    ],
    ids=str,
)
def test_update__argument_wrong(shared: Db, changes: Any) -> None:
    session_id = shared.session("ada", name="unchanged")
    with shared.acting_as("ada"):
        before = shared.one("get_session", p_session_id=session_id)
        with shared.refuses("invalid_argument"):
            shared.one("update_session", p_session_id=session_id, p_changes='"text"' if changes == "text" else changes)
        assert shared.one("get_session", p_session_id=session_id) == before


def test_table__what_an_owner_may_write(db: Db, session_id) -> None:
    db.sql("update public.free_agent_sessions set name = 'by table' where id = %s", (session_id,))
    assert db.one("get_session", p_session_id=session_id)["name"] == "by table"
    for time in ("infinity", "-infinity", "9999-01-01"):
        db.sql("update public.free_agent_sessions set archived_at = null where id = %s", (session_id,))
        (row,) = db.sql(
            "update public.free_agent_sessions set archived_at = %s where id = %s returning archived_at = now() as now",
            (time, session_id),
        )
        assert row["now"], "an archived session has the time it was archived at"
    (row,) = db.sql("insert into public.free_agent_sessions (name) values ('made') returning user_id, id")
    assert row["user_id"] == db.user("ada")
    db.sql("delete from public.free_agent_sessions where id = %s", (row["id"],))
    with db.refuses("invalid_argument"):
        db.sql("update public.free_agent_sessions set status = 'expired' where id = %s", (session_id,))
    with db.refuses("invalid_argument"):
        db.sql("insert into public.free_agent_sessions (kind) values ('robot')")


# -- members ---------------------------------------------------------------------------------------------------


def test_members__added_changed_removed(db: Db, session_id) -> None:
    bob, eve = db.user("bob"), db.user("eve")
    row = db.one("set_session_member", p_session_id=session_id, p_user_id=bob, p_role="viewer")
    assert (row["session_id"], row["user_id"], row["role"]) == (session_id, bob, "viewer")
    # Sharing with somebody shares it.
    assert db.one("get_session", p_session_id=session_id)["visibility"] == "shared"
    with db.acting_as("bob"):
        assert db.one("accept_invitation", p_session_id=session_id)["accepted_at"] is not None
    db.one("set_session_member", p_session_id=session_id, p_user_id=eve, p_role="viewer")
    db.one("set_session_member", p_session_id=session_id, p_user_id=eve, p_role="editor")
    roles = {row["user_id"]: row["role"] for row in db.call("list_session_members", p_session_id=session_id)}
    assert roles == {bob: "viewer", eve: "editor"}
    with db.acting_as("bob"):
        assert [row["user_id"] for row in db.call("list_session_members", p_session_id=session_id)] == [bob]
        assert db.one("list_sessions")["my_role"] == "viewer"
    db.call("remove_session_member", p_session_id=session_id, p_user_id=bob)
    db.call("remove_session_member", p_session_id=session_id, p_user_id=bob)
    with db.acting_as("bob"), db.refuses("session_not_found"):
        db.one("get_session", p_session_id=session_id)


def test_members__a_public_session_stays_public(db: Db) -> None:
    session_id = db.session("ada", visibility="public")
    with db.acting_as("ada"):
        db.share(session_id, "bob")
        assert db.one("get_session", p_session_id=session_id)["visibility"] == "public"


def test_members__may_leave(db: Db, session_id) -> None:
    bob = db.user("bob")
    db.share(session_id, "bob")
    with db.acting_as("bob"):
        with db.refuses("forbidden"):
            db.call("remove_session_member", p_session_id=session_id, p_user_id=db.user("ada"))
        db.call("remove_session_member", p_session_id=session_id, p_user_id=bob)
        with db.refuses("session_not_found"):
            db.one("get_session", p_session_id=session_id)


def test_members__argument_wrong(db: Db, session_id) -> None:
    for user, role in (("ada", "viewer"), ("bob", "owner"), ("bob", None), ("bob", ""), (None, "viewer")):
        with db.refuses("invalid_argument"):
            db.one(
                "set_session_member",
                p_session_id=session_id,
                p_user_id=db.user(user) if user else None,
                p_role=role,
            )
    assert db.one("get_session", p_session_id=session_id)["visibility"] == "private"


def test_members__of_a_private_session_are_strangers(db: Db, session_id) -> None:
    db.share(session_id, "bob")
    db.one("update_session", p_session_id=session_id, p_changes={"visibility": "private"})
    with db.acting_as("bob"):
        assert db.call("list_sessions") == []
        with db.refuses("session_not_found"):
            change(db, session_id, {"set": {"/a": 1}})


def test_snapshot__says_who_saved_it_unless_the_owner(db: Db, session_id) -> None:
    db.share(session_id, "bob")
    change(db, session_id, {"set": {"/a": 1}})
    with db.acting_as("bob"):
        change(db, session_id, {"set": {"/a": 2}})
    with db.acting_as("service"):
        change(db, session_id, {"set": {"/a": 3}})
    authors = [row["created_by"] for row in db.call("list_snapshots", p_session_id=session_id)]
    assert authors == [None, db.user("bob"), None]


# -- deleting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["function", "table", "service"])
def test_delete__leaves_nothing(db: Db, session_id, way: str) -> None:
    other = db.session("ada")
    db.save(other, {"stays": 1}, p_idempotency_key="k")
    db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("bob"), p_role="viewer")
    db.save(session_id, {"messages": [1, 2]}, p_idempotency_key="k", p_label="l")
    change(db, session_id, {"append": {"/messages": [3]}})
    if way == "function":
        receipt = db.one("delete_session", p_session_id=session_id)
        assert receipt == {"snapshots": 2, "parts": 4, "turns": 0, "members": 1}
    elif way == "table":
        db.sql("delete from public.free_agent_sessions where id = %s", (session_id,))
    else:
        with db.acting_as("service"):
            db.call("delete_session", p_session_id=session_id)
    counts = {
        table: db.superuser.execute(f"select count(*) from {table}".encode()).fetchall()[0]["count"]
        for table in (
            "public.free_agent_sessions",
            "public.session_snapshots",
            "public.session_members",
            "asyouwere.parts",
            "asyouwere.save_keys",
        )
    }
    assert list(counts.values()) == [1, 1, 0, 1, 1]
    assert state_of(db, other) == {"stays": 1}
    with db.refuses("session_not_found"):
        db.call("delete_session", p_session_id=session_id)


def test_delete__while_somebody_saves(db: Db, session_id) -> None:
    saver = db.connect_as("ada")
    saver.autocommit = False
    db.call("create_session_snapshot", on=saver, p_session_id=session_id, p_changes={"set": {"/a": 1}})
    refused: list[str | None] = []

    def remove() -> None:
        db.call("delete_session", on=deleter, p_session_id=session_id)
        try:
            db.call("create_session_snapshot", on=deleter, p_session_id=session_id, p_state={})
        except psycopg.Error as exc:
            refused.append(exc.diag.message_hint)

    deleter = db.connect_as("ada")
    thread = threading.Thread(target=remove)
    thread.start()
    saver.commit()
    thread.join()
    assert refused == ["session_not_found"]
    assert db.superuser.execute("select count(*) from asyouwere.parts").fetchall() == [{"count": 0}]


# -- what readers of a public session see ------------------------------------------------------------------------


@pytest.fixture
def public_id(db: Db):
    """A public session of ada's with a key, into which ed has saved."""
    session_id = db.session("ada", key="secret key", visibility="public", upstream={"url": "agent.example"})
    with db.acting_as("ada"):
        db.share(session_id, "ed")
        db.share(session_id, "vic", "viewer")
    with db.acting_as("ed"):
        change(db, session_id, {"append": {"/messages": [{"role": "user", "content": "hi"}]}})
    return session_id


@pytest.mark.parametrize("who", [None, "eve", "vic", "ed", "ada", "service"])
def test_public__key_upstream_and_editors_are_for_those_whom_they_concern(db: Db, public_id, who: str | None) -> None:
    with db.acting_as(who):
        session = db.one("get_session", p_session_id=public_id)
        (snapshot,) = db.call("list_snapshots", p_session_id=public_id)
        whole = "".join(row["export_session"] for row in db.call("export_session", p_session_id=public_id))
        page = db.call("export_session_page", p_session_id=public_id)[1]["export_session_page"] + "]}"
        assert db.one("list_messages", p_session_id=public_id)["content"] == "hi"
        assert [row["content"] for row in db.sql("select content from public.session_messages")] == ["hi"]
        assert [row["number"] for row in db.sql("select number from public.session_snapshots")] == [1]
        assert [row["id"] for row in db.sql("select id from public.free_agent_sessions")] == [public_id]
    key = "secret key" if who in ("ada", "service") else None
    is_insider = who not in (None, "eve")
    upstream = {"url": "agent.example"} if is_insider else None
    editor = db.user("ed") if is_insider else None
    assert (session["key"], session["upstream"], snapshot["created_by"]) == (key, upstream, editor)
    for document in (json.loads(whole), json.loads(page)):
        found = document["session"]
        assert (found["key"], found["upstream"]) == (key, upstream)
        assert document["snapshots"][0]["created_by"] == (editor and str(editor))
        assert found.keys().isdisjoint({"internal_id", "prepaid_saves", "stored_bytes"})


@pytest.mark.parametrize("who", ["eve", "vic", "ed", "ada"])
def test_public__a_strangers_copy_leaves_the_agent_with_its_owner(db: Db, public_id, who: str) -> None:
    with db.acting_as(who):
        fork = db.one("fork_session", p_session_id=public_id)
    assert (fork["key"], fork["upstream"]) == (None, None if who == "eve" else {"url": "agent.example"})


def test_update__an_editor_is_not_told_the_key(db: Db, public_id) -> None:
    with db.acting_as("ed"):
        assert db.one("update_session", p_session_id=public_id, p_changes={"name": "n"})["key"] is None
    with db.acting_as("ada"):
        assert db.one("update_session", p_session_id=public_id, p_changes={"name": "m"})["key"] == "secret key"


@pytest.mark.parametrize("column", ["internal_id", "upstream", "prepaid_saves", "key", "stored_bytes", "pruned_through", "*"])
def test_public__anonymous_readers_see_no_books_of_ours(db: Db, public_id, column: str) -> None:
    with db.acting_as(None), pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.sql(f"select {column} from public.free_agent_sessions")
    with db.acting_as("ada"):
        assert len(db.sql(f"select {column} from public.free_agent_sessions")) == 1


def test_public__anonymous_readers_see_no_editors(db: Db, public_id) -> None:
    with db.acting_as(None), pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.sql("select created_by from public.session_snapshots")


def test_key__is_its_owners_in_every_list(db: Db) -> None:
    session_id = db.session("ada", key="mine", upstream={"url": "https://agent"})
    with db.acting_as("ada"):
        db.share(session_id, "ed")
    for who, key in (("ada", "mine"), ("ed", None), ("service", "mine")):
        with db.acting_as(who):
            rows = [db.one("get_session", p_session_id=session_id), *db.sql("select * from public.sessions_list")]
            if who != "service":
                rows += db.call("list_sessions")
                assert len(rows) == 3
            assert {row["key"] for row in rows} == {key}
            assert {row["upstream"]["url"] for row in rows} == {"https://agent"}

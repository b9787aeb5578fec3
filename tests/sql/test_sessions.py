"""The session itself: made, found, listed, changed, shared, deleted."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

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


# -- get_or_create_session -------------------------------------------------------------------------------------


def test_create__defaults(db: Db) -> None:
    with db.acting_as("ada"):
        row = db.one("get_or_create_session")
    assert row["user_id"] == db.user("ada")
    times = [row.pop(name) for name in ("created_at", "updated_at", "last_activity_at")]
    assert times[0] == times[1] == times[2]
    assert row["id"].version == 7
    del row["id"], row["internal_id"], row["user_id"]
    assert row == {
        "name": None,
        "model": None,
        "kind": "agent",
        "status": "idle",
        "visibility": "private",
        "key": None,
        "upstream": None,
        "metadata": {},
        "expires_after": None,
        "archived_at": None,
        "expired_at": None,
        "latest_number": 0,
        "pruned_through": 0,
        "size_bytes": 0,
        "message_count": 0,
    }


def test_create__all_fields(db: Db) -> None:
    fields: Row = {
        "name": "My agent",
        "model": "large",
        "kind": "chat",
        "metadata": {"tags": ["a"]},
        "visibility": "public",
        "upstream": {"provider": "p", "external_id": "7"},
    }
    with db.acting_as("ada"):
        row = db.one("get_or_create_session", **{f"p_{name}": value for name, value in fields.items()}, p_key="k")
    assert {name: row[name] for name in fields} == fields
    assert row["key"] == "k"


def test_create__ids_follow_time(db: Db) -> None:
    with db.acting_as("ada"):
        ids = [db.one("get_or_create_session")["id"].bytes[:6] for _ in range(3)]
    assert ids == sorted(ids)


def test_create__the_same_key_is_the_same_session(db: Db) -> None:
    with db.acting_as("ada"):
        first = db.one("get_or_create_session", p_key="k", p_name="one")
        assert db.one("get_or_create_session", p_key="k", p_name="two") == first
        assert db.one("get_or_create_session", p_key="other")["id"] != first["id"]
    with db.acting_as("bob"):
        assert db.one("get_or_create_session", p_key="k")["id"] != first["id"]


def test_create__without_key_always_a_new_one(db: Db) -> None:
    with db.acting_as("ada"):
        assert db.one("get_or_create_session")["id"] != db.one("get_or_create_session")["id"]


def test_create__an_id_of_ones_own_makes_a_retry_harmless(db: Db) -> None:
    mine = uuid4()
    with db.acting_as("ada"):
        assert db.one("get_or_create_session", p_id=mine)["id"] == mine
        assert db.one("get_or_create_session", p_id=mine)["id"] == mine
        with db.refuses("key_taken"):
            db.one("get_or_create_session", p_id=mine, p_key="a key")
    with db.acting_as("bob"), db.refuses("key_taken"):
        db.one("get_or_create_session", p_id=mine)


def test_create__called_by_eight_at_once(db: Db) -> None:
    connections = [db.connect_as("ada") for _ in range(8)]
    found: list[UUID] = []
    together = threading.Barrier(8)

    def work(connection: Any) -> None:
        together.wait()
        found.extend(row["id"] for row in db.call("get_or_create_session", on=connection, p_key="k"))

    with db.acting_as("ada"):
        db.call("list_sessions", p_limit=1)  # argument types are read before the threads start
    threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert db.superuser.execute("select count(*) from public.free_agent_sessions").fetchall() == [{"count": 1}]


@pytest.mark.parametrize(
    ("kind", "seconds", "expected"),
    [
        ("agent", None, None),
        ("agent", 0, None),
        ("agent", 60, timedelta(minutes=1)),
        ("chat", None, timedelta(minutes=30)),
        ("chat", 0, None),
        ("chat", 7200, timedelta(hours=2)),
    ],
)
def test_create__expiry(shared: Db, kind: str, seconds: int | None, expected: timedelta | None) -> None:
    with shared.acting_as("ada"):
        row = shared.one("get_or_create_session", p_kind=kind, p_expires_after_seconds=seconds)
    assert row["expires_after"] == expected


def test_create__chat_expiry_comes_from_the_settings(db: Db) -> None:
    db.superuser.execute("update leftoff.settings set chat_expires_after = '5 minutes'")
    with db.acting_as("ada"):
        assert db.one("get_or_create_session", p_kind="chat")["expires_after"] == timedelta(minutes=5)
        (row,) = db.sql("insert into public.free_agent_sessions (kind) values ('chat') returning expires_after")
        assert row["expires_after"] == timedelta(minutes=5)


WRONG: list[Row] = [
    {"p_name": "x" * 501},
    {"p_model": "x" * 201},
    {"p_kind": "robot"},
    {"p_kind": None},
    {"p_visibility": "secret"},
    {"p_visibility": None},
    {"p_key": ""},
    {"p_key": "x" * 501},
    {"p_metadata": []},
    {"p_metadata": None},
    {"p_metadata": {str(n): n for n in range(10_000)}},
    {"p_upstream": '"text"'},
    {"p_upstream": {"x": "".join(chr(0x4E00 + n) for n in range(8000))}},
    {"p_expires_after_seconds": -1},
    {"p_expires_after_seconds": 2_000_000_001},
]


@pytest.mark.parametrize("arguments", WRONG, ids=lambda row: next(iter(row)))
def test_create__argument_wrong(shared: Db, arguments: Row) -> None:
    with shared.acting_as("ada"), shared.refuses("invalid_argument"):
        shared.one("get_or_create_session", **arguments)


def test_create__only_the_service_creates_for_others(db: Db) -> None:
    bob = db.user("bob")
    with db.acting_as("ada"):
        with db.refuses("forbidden"):
            db.one("get_or_create_session", p_user_id=bob)
        assert db.one("get_or_create_session", p_user_id=db.user("ada"))["user_id"] == db.user("ada")
    with db.acting_as("service"):
        assert db.one("get_or_create_session", p_user_id=bob, p_key="k")["user_id"] == bob
        with db.refuses("not_signed_in"):
            db.one("get_or_create_session")
    with db.acting_as("bob"):
        assert len(db.call("list_sessions")) == 1


# -- reading and listing ---------------------------------------------------------------------------------------


def test_get_session__as_a_list_shows_it(db: Db, session_id) -> None:
    empty = db.one("get_session", p_session_id=session_id)
    assert (empty["last_message"], empty["last_saved_at"], empty["my_role"]) == (None, None, "owner")
    change(db, session_id, {"append": {"/messages": [{"content": "first"}, {"content": "x" * 200}]}})
    row = db.one("get_session", p_session_id=session_id)
    assert row["last_message"] == "x" * 139 + "…"
    assert row["message_count"] == 2
    assert row["last_saved_at"] == db.one("list_snapshots", p_session_id=session_id)["created_at"]
    assert [db.one("list_sessions")] == [row]
    assert "internal_id" not in row


@pytest.mark.parametrize(
    ("message", "preview"),
    [
        ({"content": "plain"}, "plain"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}, "a b"),
        ({"content": []}, None),
        ({"content": {"text": "x"}}, None),
        ({"content": None}, None),
        ({"text": "no content"}, None),
        ("a string", None),
        (17, None),
        ([1], None),
        ({"content": "x" * 140}, "x" * 140),
        ({"content": "😀" * 141}, "😀" * 139 + "…"),
    ],
)
def test_get_session__preview(shared: Db, message: Any, preview: str | None) -> None:
    session_id = shared.session("ada")
    with shared.acting_as("ada"):
        change(shared, session_id, {"append": {"/messages": [message]}})
        assert shared.one("get_session", p_session_id=session_id)["last_message"] == preview


def test_get_session__preview_of_what_postgres_cannot_look_into(shared: Db) -> None:
    session_id = shared.session("ada")
    with shared.acting_as("ada"):
        shared.one(
            "append_session_messages",
            p_session_id=session_id,
            p_messages=r'[{"content":"a\u0000b \ud83d \\u0000 \ud83d\ude00 \ude00"}]',
        )
        row = shared.one("get_session", p_session_id=session_id)
    assert row["last_message"] == "a\ufffdb \ufffd \\u0000 😀 \ufffd"


def test_list_sessions__pages_through_a_thousand_with_ties(db: Db) -> None:
    ada = db.user("ada")
    db.superuser.execute(
        """
        insert into public.free_agent_sessions (user_id, name, last_activity_at)
        select %s, 'session ' || n, '2026-01-01'::timestamptz + make_interval(hours => n / 50)
        from generate_series(1, 1000) n
        """,
        (ada,),
    )
    # Some of them are shared with ada, at the same times.
    db.superuser.execute(
        """
        with foreign_ones as (
            insert into public.free_agent_sessions (user_id, visibility, last_activity_at)
            select %s, 'shared', '2026-01-01'::timestamptz + make_interval(hours => n) from generate_series(1, 20) n
            returning id
        )
        insert into public.session_members (session_id, user_id) select id, %s from foreign_ones
        """,
        (db.user("bob"), ada),
    )
    with db.acting_as("ada"):
        everything = db.sql("select id, last_activity_at from public.sessions_list")
        pages: list[Row] = []
        last: Row = {}
        while page := db.call("list_sessions", p_limit=37, **last):
            assert len(page) <= 37
            pages += page
            last = {"p_before": page[-1]["last_activity_at"], "p_before_id": page[-1]["id"]}
    assert len(pages) == len(everything) == 1020
    assert {row["id"] for row in pages} == {row["id"] for row in everything}
    order = [(row["last_activity_at"], row["id"]) for row in pages]
    assert order == sorted(order, reverse=True)


def test_list_sessions__before_without_id_takes_all_of_that_time(db: Db) -> None:
    ada = db.user("ada")
    db.superuser.execute(
        "insert into public.free_agent_sessions (user_id, last_activity_at) "
        "select %s, '2026-01-01'::timestamptz + make_interval(hours => n / 2) from generate_series(0, 5) n",
        (ada,),
    )
    with db.acting_as("ada"):
        assert len(db.call("list_sessions", p_before="2026-01-01 01:00Z")) == 4


def test_list_sessions__filters(db: Db, session_id) -> None:
    second = db.session("ada", name="Second One")
    db.session("ada")  # without a name
    db.one("update_session", p_session_id=second, p_changes={"archived": True, "status": "running"})
    listed = [
        ({}, ["first", None]),
        ({"p_archived": True}, ["Second One"]),
        ({"p_archived": None}, ["Second One", "first", None]),
        ({"p_archived": None, "p_status": "running"}, ["Second One"]),
        ({"p_archived": None, "p_search": "OND o"}, ["Second One"]),
        ({"p_archived": None, "p_search": "%"}, []),
        ({"p_search": "fir"}, ["first"]),
        ({"p_limit": 1, "p_archived": None}, 1),
        ({"p_limit": 0}, []),
        ({"p_limit": -1}, []),
    ]
    for arguments, expected in listed:
        names = [row["name"] for row in db.call("list_sessions", **arguments)]
        if isinstance(expected, int):
            assert len(names) == expected
        else:
            assert sorted(names, key=str) == sorted(expected, key=str), arguments


def test_list_sessions__most_recently_saved_first(db: Db) -> None:
    ids = [db.session("ada") for _ in range(3)]
    db.superuser.execute("update public.free_agent_sessions set last_activity_at = last_activity_at - interval '1 hour'")
    with db.acting_as("ada"):
        change(db, ids[1], {"set": {"/a": 1}})
        assert db.call("list_sessions")[0]["id"] == ids[1]


def test_list_snapshots__pages(db: Db, session_id) -> None:
    for n in range(1, 8):
        change(db, session_id, {"set": {"/n": n}}, p_label="five" if n == 5 else None)
    pages = [
        [row["number"] for row in db.call("list_snapshots", p_session_id=session_id, p_limit=3, p_before=before)]
        for before in (None, 5, 2)
    ]
    assert pages == [[7, 6, 5], [4, 3, 2], [1]]
    row = db.call("list_snapshots", p_session_id=session_id, p_limit=1, p_before=6)[0]
    row.pop("created_at")
    assert row == {
        "session_id": session_id,
        "number": 5,
        "label": "five",
        "size_bytes": 1,
        "changed_parts": 1,
        "message_count": 0,
        "created_by": None,
    }


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
        db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("bob"), p_role="editor")
        assert db.one("get_session", p_session_id=session_id)["visibility"] == "public"


def test_members__may_leave(db: Db, session_id) -> None:
    bob = db.user("bob")
    db.one("set_session_member", p_session_id=session_id, p_user_id=bob, p_role="editor")
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
    db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("bob"), p_role="editor")
    db.one("update_session", p_session_id=session_id, p_changes={"visibility": "private"})
    with db.acting_as("bob"):
        assert db.call("list_sessions") == []
        with db.refuses("session_not_found"):
            change(db, session_id, {"set": {"/a": 1}})


def test_snapshot__says_who_saved_it_unless_the_owner(db: Db, session_id) -> None:
    db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("bob"), p_role="editor")
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
        db.call("delete_session", p_session_id=session_id)
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
            "leftoff.parts",
            "leftoff.save_keys",
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
    assert db.superuser.execute("select count(*) from leftoff.parts").fetchall() == [{"count": 0}]

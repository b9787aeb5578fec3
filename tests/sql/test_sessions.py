"""The session itself: made, found, listed."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.states import change
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
    assert row.pop("activity_bin") <= times[2]
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
        "stored_bytes": 0,
        "prepaid_saves": 0,
        "last_message": None,
        "parent_id": None,
        "created": True,
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
        assert db.one("get_or_create_session", p_key="k", p_name="two") == {**first, "created": False}
        assert db.one("get_or_create_session", p_key="other")["id"] != first["id"]
    with db.acting_as("bob"):
        assert db.one("get_or_create_session", p_key="k")["id"] != first["id"]


def test_create__without_key_always_a_new_one(db: Db) -> None:
    with db.acting_as("ada"):
        assert db.one("get_or_create_session")["id"] != db.one("get_or_create_session")["id"]


def test_create__an_id_of_ones_own_makes_a_retry_harmless(db: Db) -> None:
    mine = uuid4()
    with db.acting_as("ada"):
        first = db.one("get_or_create_session", p_id=mine)
        assert (first["id"], first["created"]) == (mine, True)
        assert db.one("get_or_create_session", p_id=mine) == {**first, "created": False}
        with db.refuses("key_taken"):
            db.one("get_or_create_session", p_id=mine, p_key="a key")


def test_create__an_id_of_somebody_elses_answers_as_to_any_stranger(db: Db) -> None:
    theirs = db.session("ada")
    with db.acting_as("bob"):
        with db.refuses("session_not_found") as by_reading:
            db.one("get_session", p_session_id=theirs)
        with db.refuses("session_not_found") as by_creating:
            db.one("get_or_create_session", p_id=theirs)
        with db.refuses("session_not_found") as by_inserting:
            db.sql("insert into free_agent_sessions (id) values (%s)", (theirs,))
        texts = {str(refusal.value).split("CONTEXT")[0] for refusal in (by_reading, by_creating, by_inserting)}
        assert len(texts) == 1
        # nor in the name of a third person: that is refused before it comes to the id
        for session_id in (theirs, uuid4()):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.sql("insert into free_agent_sessions (id, user_id) values (%s, %s)", (session_id, uuid4()))
    with db.acting_as("service"), db.refuses("key_taken"):
        db.one("get_or_create_session", p_id=theirs, p_user_id=db.user("bob"))


def test_create__an_id_of_a_session_one_may_read_is_forbidden(db: Db) -> None:
    public = db.session("ada", visibility="public")
    with db.acting_as("bob"), db.refuses("forbidden"):
        db.one("get_or_create_session", p_id=public)


@pytest.mark.parametrize(("function", "default"), [("list_sessions", 50), ("list_snapshots", 50), ("list_messages", 100)])
def test_lists__without_a_limit_is_the_default(db: Db, function: str, default: int) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": list(range(101))})
        for number in range(51):
            db.save(session_id, p_changes={"set": {"/n": number}})
    db.superuser.execute(
        "insert into free_agent_sessions (user_id) select %s from generate_series(1, 60)", (db.user("ada"),)
    )
    arguments = {} if function == "list_sessions" else {"p_session_id": session_id}
    with db.acting_as("ada"):
        assert len(db.call(function, p_limit=None, **arguments)) == default
        assert db.call(function, p_limit=0, **arguments) == []


def test_expire_idle_sessions__without_a_number_is_the_default(db: Db) -> None:
    with db.acting_as("service"):
        assert db.one("expire_idle_sessions", p_max_sessions=None)["done"] is True


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
    db.superuser.execute("update asyouwere.settings set chat_expires_after = '5 minutes'")
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
        ({"content": {"text": "x"}}, "x"),
        ({"content": None}, None),
        ({"text": "no content"}, "no content"),
        ("a string", "a string"),
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
        insert into public.session_members (session_id, user_id, accepted_at) select id, %s, now() from foreign_ones
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


def test_list_sessions__exact_within_half_a_minute(db: Db) -> None:
    """The order of saves, however close together, and each page where the one before ended."""
    ids = [db.session("ada") for _ in range(5)]
    order = [*ids, ids[1], ids[4], ids[0], ids[1], ids[3]]
    with db.acting_as("ada"):
        for n, session_id in enumerate(order):
            change(db, session_id, {"set": {"/n": n}})
            listed = db.call("list_sessions")
            assert listed[0]["id"] == session_id
            assert listed[0]["last_activity_at"] == listed[0]["last_saved_at"]
        paged: list[Row] = []
        last: Row = {}
        while page := db.call("list_sessions", p_limit=2, **last):
            paged += page
            last = {"p_before": page[-1]["last_activity_at"], "p_before_id": page[-1]["id"]}
    assert [row["id"] for row in paged] == [ids[3], ids[1], ids[0], ids[4], ids[2]]


def test_list_sessions__pages_across_the_bins_of_the_index(db: Db) -> None:
    ada = db.user("ada")
    db.sql(
        "insert into public.free_agent_sessions (user_id, last_activity_at) "
        "select %s, '2026-01-01 00:00Z'::timestamptz + (hashint4(n) %% 90000) * interval '1 ms' "
        "from generate_series(1, 300) n",
        (ada,),
    )
    exact = db.sql("select id from public.free_agent_sessions order by last_activity_at desc, id desc")
    with db.acting_as("ada"):
        for limit in (1, 7, 100):
            paged: list[Row] = []
            last: Row = {}
            while page := db.call("list_sessions", p_limit=limit, **last):
                paged += page
                last = {"p_before": page[-1]["last_activity_at"], "p_before_id": page[-1]["id"]}
            assert [row["id"] for row in paged] == [row["id"] for row in exact]


def test_save__of_any_half_minute_stays_on_its_page(db: Db, session_id) -> None:
    """No index has to change with a save, but for one in half a minute."""
    db.superuser.execute("alter table public.free_agent_sessions set (autovacuum_enabled = false)")
    for n in range(20):
        change(db, session_id, {"set": {"/n": n}})
    moved = "select pg_stat_force_next_flush(), n_tup_upd - n_tup_hot_upd as moved, n_tup_upd from pg_stat_user_tables"
    with db.acting_as("ada"):
        change(db, session_id, {"set": {"/n": -1}})
    db.sql("select pg_stat_force_next_flush()")
    (row,) = db.sql(f"{moved} where relname = 'free_agent_sessions'")
    assert row["n_tup_upd"] >= 20
    assert row["moved"] <= 4


@pytest.mark.parametrize(
    ("name", "found", "not_found"),
    [
        ("Привет, мир", ["привет", "ПРИВЕТ, МИР", "вет"], ["привед", "privet"]),
        ("Übung macht", ["ÜBUNG", "übung", "U\u0308bung", "u\u0308BUNG"], ["ubung"]),
        ("cafe\u0301 noir", ["CAFÉ", "café", "Cafe\u0301"], ["cafe ", "cafè"]),
        ("Οδυσσεύς", ["ΟΔΥΣΣΕΎΣ", "οδυσσεύσ", "ΥΣΣΕΎς"], ["οδυσσευς"]),
        ("İstanbul", ["istanbul", "İSTANBUL", "i\u0307stanbul", "I\u0307STANBUL"], ["ıstanbul"]),
        ("Große Straße", ["STRASSE", "strasse", "GROẞE", "große", "STRAẞE"], ["strase"]),
        ("ΐδιος", ["Ϊ́ΔΙΟΣ", "ι\u0308\u0301διος"], ["ιδιος"]),
        ("Ａ Ｂ wide ﬁne", ["a b WIDE", "FINE"], ["c"]),
        ("Ŝanĝo Ђурђевак", ["ŝANĜO ђУРЂЕВАК"], ["sango"]),
        ("plain ASCII", ["Plain ascii", "N A"], ["plaın", "ÁSCII"]),
    ],
)
def test_list_sessions__search_in_any_script(shared: Db, name: str, found: list[str], not_found: list[str]) -> None:
    assert shared.value("select datctype from pg_database where datname = current_database()") == "C"
    who = f"reader of {name}"
    shared.session(who, name=name)
    with shared.acting_as(who):
        assert [text for text in found if not shared.call("list_sessions", p_search=text)] == []
        assert [text for text in not_found if shared.call("list_sessions", p_search=text)] == []


@pytest.mark.parametrize("gone", [{"und-x-icu"}, {"und-x-icu", "pg_c_utf8"}, {"und-x-icu", "pg_c_utf8", "C.utf8"}], ids=len)
def test_list_sessions__search_without_icu(db: Db, gone: set[str]) -> None:
    """By another locale of Unicode, if there is one. Else what is no ASCII is found as it is written; nothing fails."""
    db.sql("delete from pg_catalog.pg_collation where collname = any (%s)", (list(gone),))
    left = db.value("select count(*) from pg_collation where collname in ('und-x-icu', 'pg_c_utf8', 'C.utf8')")
    db.session("ada", name="Привет cafe\u0301")
    with db.acting_as("ada"):
        assert len(db.call("list_sessions", p_search="привет CAFÉ")) == int(left > 0)
        assert len(db.call("list_sessions", p_search="Привет café")) == 1
        assert db.call("list_sessions", p_search="нет") == []


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
        "size_bytes": 104,  # /n/ and 1 and a row
        "changed_parts": 1,
        "message_count": 0,
        "created_by": None,
        "metadata": None,
        "external_id": None,
        "parent_number": None,
    }


def test_list_sessions__page_reads_only_itself_however_many_sessions_one_has(db: Db) -> None:
    # most people have 100, one has 1,000: the planner goes by the average
    db.sql(
        "insert into free_agent_sessions (user_id, last_activity_at) "
        "select case when n %% 10 = 0 then %s else md5((n / 100)::text)::uuid end, now() - n * interval '1 s' "
        "from generate_series(1, 10000) n",
        (db.user("ada"),),
    )
    db.sql("analyze free_agent_sessions")
    read = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'free_agent_sessions'"
    with db.acting_as("ada"), db.connection.transaction():
        assert len(db.call("list_sessions", p_limit=20)) == 20
        assert db.value(read) < 200

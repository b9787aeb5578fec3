"""What somebody with an SQL login of an API role could try. The API itself lets nobody send SQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.sql.access_matrix import NEWCOMER
from tests.sql.states import change, state_of
from tests.support.database import Connection, Db

# Everything that is called with the caller's own rights or more, in one go.
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("create_session_snapshot", {"p_state": '{"messages":[1],"a":{"b":[{}]}}', "p_idempotency_key": "k", "p_label": "l"}),
    ("create_session_snapshot", {"p_changes": '{"set":{"/a/0":1},"append":{"/messages":[2]}}', "p_base": 1}),
    ("save_session_parts", {"p_ops": ["set"], "p_paths": ["/7/"], "p_items": [None], "p_bodies": ["[1]"], "p_base": 0}),
    ("append_session_messages", {"p_messages": "[1]"}),
    ("get_snapshot", {"p_number": 1}),
    ("get_snapshot_chunks", {}),
    ("get_session_changes", {"p_since": 1}),
    ("diff_snapshots", {"p_from": 0, "p_to": 2}),
    ("revert_session", {"p_number": 1}),
    ("label_snapshot", {"p_number": 1, "p_label": None}),
    ("update_session", {"p_changes": '{"name":"x","metadata":{}}'}),
    ("set_session_member", {"p_user_id": str(NEWCOMER), "p_role": "viewer"}),
    ("list_session_members", {}),
    ("list_snapshots", {}),
    ("list_messages", {}),
    ("get_session", {}),
    ("export_session", {}),
    ("fork_session", {}),
    ("remove_session_member", {"p_user_id": str(NEWCOMER)}),
    ("delete_session", {}),
]


def as_ada(db: Db) -> Connection:
    db.user("newcomer")
    connection = db.connect_as("ada")
    connection.execute("create temporary table seen (who text)")
    connection.execute("grant all on seen to public")
    connection.execute(
        """
        create function pg_temp.spy() returns boolean language plpgsql as $$
        begin
            insert into pg_temp.seen select current_user where current_user <> 'authenticated';
            return true;
        end $$
        """
    )
    return connection


def call_everything(db: Db, connection: Connection, session_id: UUID) -> None:
    for function, arguments in CALLS:
        db.call(function, on=connection, p_session_id=session_id, **arguments)
    for function in ("get_or_create_session", "list_sessions", "delete_my_data"):
        db.call(function, on=connection)


def seen(connection: Connection) -> list[Any]:
    return connection.execute("select distinct who from pg_temp.seen").fetchall()


TYPES = ["text", "uuid", "json", "jsonb", "int4", "int8", "int2", "bool", "numeric", "timestamptz", "interval"]


def test_attack__own_types_of_built_in_names(db: Db) -> None:
    """A domain in pg_temp with a check: were it found first, the check would run as the functions' owner."""
    session_id = db.session("ada")
    connection = as_ada(db)
    for name in TYPES:
        connection.execute(f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.spy())".encode())
    call_everything(db, connection, session_id)
    assert seen(connection) == []


@pytest.mark.parametrize("path", ["pg_temp", "pg_temp, public, pg_catalog", "''", "asyouwere, public"])
def test_attack__own_tables_of_our_names(db: Db, path: str) -> None:
    session_id = db.session("ada")
    connection = as_ada(db)
    for name in ("free_agent_sessions", "session_snapshots", "session_members", "parts", "settings", "save_keys"):
        connection.execute(f"create temporary table {name} (spied boolean default pg_temp.spy())".encode())
    # Ones like our own, with what a thief would put in.
    connection.execute("create temporary table gone as select 1::bigint as internal_id")
    connection.execute("create temporary table given as select 'x' as path")
    connection.execute(f"set search_path = {path}".encode())
    call_everything(db, connection, session_id)
    assert seen(connection) == []


def test_attack__own_operators_and_functions(db: Db) -> None:
    """Where a role may create in a schema, it can't bring its functions in by way of the search_path."""
    db.superuser.execute("create schema mine; grant all on schema mine to authenticated")
    session_id = db.session("ada")
    connection = as_ada(db)
    own = {"md5(text) returns text": "select 'x'", "now() returns timestamptz": "select null::timestamptz"}
    own |= {"auth_uid() returns uuid": "select null::uuid", "unnest(text[]) returns setof text": "select 'x'"}
    for head, body in own.items():
        connection.execute(f"create function mine.{head} language sql as 'select pg_temp.spy(); {body.replace(chr(39), chr(39) * 2)}'".encode())
    connection.execute(
        "create function mine.same(text, text) returns boolean language sql as 'select pg_temp.spy()'; "
        "create operator mine.= (leftarg = text, rightarg = text, function = mine.same)"
    )
    connection.execute("set search_path = mine, pg_catalog, public")
    call_everything(db, connection, session_id)
    assert seen(connection) == []


def test_attack__a_function_in_a_condition_sees_own_rows_only(db: Db) -> None:
    theirs, mine = db.session("bob"), db.session("ada")
    with db.acting_as("bob"):
        db.save(theirs, {"messages": ["bob's secret"]})
    with db.acting_as("ada"):
        db.save(mine, {"messages": ["ada's own"]})
    connection = as_ada(db)
    connection.execute(
        """
        create function pg_temp.look(anything text) returns boolean language plpgsql cost 0.0000001 as $$
        begin
            insert into pg_temp.seen values (anything);
            return true;
        end $$
        """
    )
    for query in (
        "select * from asyouwere.parts where pg_temp.look(body)",
        "select * from asyouwere.live_parts where pg_temp.look(body)",
        "select * from public.session_messages where pg_temp.look(body::text)",
        "select * from public.sessions_list where pg_temp.look(last_message)",
        "select * from asyouwere.described_sessions where pg_temp.look(last_message)",
        "select * from public.free_agent_sessions s where pg_temp.look(s::text)",
        "select * from public.session_snapshots n where pg_temp.look(n::text)",
    ):
        connection.execute(query.encode())
    rows = [row["who"] or "" for row in seen(connection)]
    assert any("ada's own" in row for row in rows)
    assert not any("bob" in row or str(theirs) in row for row in rows)


def test_attack__row_security_off_is_refused_not_obeyed(db: Db) -> None:
    db.session("bob")
    connection = db.connect_as("ada")
    connection.execute("set row_security = off")
    for table in ("public.free_agent_sessions", "public.session_snapshots", "public.session_messages", "asyouwere.parts"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"select * from {table}".encode())


@pytest.mark.parametrize(
    "text",
    [
        "'; drop schema asyouwere cascade; --",
        '"}],"format":"x',
        "$$; select 1; $$",
        "\\",
        "%s %I %L",
        "\x01\x02",
    ],
)
def test_attack__text_stays_text(db: Db, text: str) -> None:
    session_id = db.session("ada", name=text, key=text)
    with db.acting_as("ada"):
        key = text.replace("~", "~0").replace("/", "~1")
        change(db, session_id, {"set": {f"/{key}": {text: text}}}, p_label=text, p_idempotency_key=text)
        assert state_of(db, session_id) == {text: {text: text}}
        assert db.one("get_snapshot", p_session_id=session_id, p_label=text)["label"] == text
        assert db.one("list_sessions", p_search=text)["name"] == text
        change(db, session_id, {"set": {f"/{key}": 1}})
        rows = db.call("diff_snapshots", p_session_id=session_id, p_from=1, p_to=2)
        assert [row["address"] for row in rows] == [f"/{key}", f"/{key}/{key}"]
        with db.refuses("conflict"):
            change(db, session_id, {"set": {f"/{key}/{key}": 2}}, p_base=1)


def test_attack__errors_carry_no_content(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": ["secret content"], "n": "secret content"}, p_label="secret label")
        db.save(session_id, {"messages": ["secret content"], "n": "other secret"})
        for arguments in (
            {"p_changes": {"set": {"/n/x": "secret"}}},
            {"p_changes": {"set": {"/n": "more secret"}}, "p_base": 1},
            {"p_changes": {"append": {"/n": ["secret"]}}},
            {"p_changes": {"set": {"/messages/5": "secret"}}},
            {"p_state": {"n": "secret"}, "p_label": "secret label"},
            {"p_state": {"n": "secret"}, "p_label": "secret" * 100},
            {"p_changes": "\"secret\""},
            {"p_state": "\"secret\""},
        ):
            with pytest.raises(psycopg.Error) as refused:
                db.one("create_session_snapshot", p_session_id=session_id, **arguments)
            diagnosis = refused.value.diag
            assert diagnosis.sqlstate is not None
            assert diagnosis.sqlstate.startswith("PT")
            for text in (diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint):
                assert "secret" not in (text or "")

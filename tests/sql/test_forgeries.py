"""What nobody may write, and what may be written without a function: as everybody, by SQL."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sql import access_matrix as matrix
from tests.sql.access_matrix import CALLERS, Scene
from tests.sql.acting import acting, outcome
from tests.support.database import Db

FORGERIES = [
    "insert into asyouwere.parts (session, since, ord, size, depth, kind, created_at, path, body) "
    "values (%(internal)s, 1, 99, 1, 1, 'v', now(), '/forged/', '1')",
    "update asyouwere.parts set body = '666'",
    "delete from asyouwere.parts",
    "truncate asyouwere.parts",
    "update asyouwere.live_parts set until = 2",
    "delete from asyouwere.live_parts",
    "delete from asyouwere.ended_parts",
    "select from asyouwere.parts for update",
    "insert into asyouwere.save_keys select * from asyouwere.save_keys",
    "select * from asyouwere.save_keys",
    "delete from asyouwere.save_keys",
    "update asyouwere.settings set max_state_bytes = 10 ^ 12",
    "delete from asyouwere.settings",
    "insert into asyouwere.cleanup_runs (took_ms, kind, sessions, snapshots, parts, bytes, done) "
    "values (1, 'snapshots', 1, 1, 1, 1, true)",
    "delete from asyouwere.cleanup_runs",
    "insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count) "
    "values (%(id)s, 3, 1, 1, 1)",
    "update public.session_snapshots set label = 'forged'",
    "update public.session_snapshots set number = 7",
    "delete from public.session_snapshots",
    "truncate public.session_snapshots",
    "truncate public.free_agent_sessions cascade",
    "insert into public.free_agent_sessions (latest_number) values (5)",
    "insert into public.free_agent_sessions (internal_id) overriding system value values (1)",
    "insert into public.free_agent_sessions (created_at) values ('2000-01-01')",
    "insert into public.session_members (session_id, user_id, created_at) values (%(id)s, %(eve)s, '2000-01-01')",
    "insert into public.session_members (session_id, user_id, accepted_at) values (%(id)s, %(eve)s, now())",
    "update public.session_members set user_id = %(eve)s",
    "update public.session_members set accepted_at = now()",
    "update public.session_members set invited_by = null",
    "update public.session_messages set content = 'forged'",
    "delete from public.session_messages",
    "insert into public.session_messages (session_id, position, role, content) values (%(id)s, 0, 'a', 'b')",
    "update public.sessions_list set name = 'forged'",
    "delete from public.sessions_list",
    "insert into asyouwere.described_sessions (name) values ('x')",
    "select nextval('public.free_agent_sessions_internal_id_seq')",
    "select setval('public.free_agent_sessions_internal_id_seq', 1)",
    "alter table public.free_agent_sessions disable row level security",
    "alter table asyouwere.parts disable trigger all",
    "alter table public.free_agent_sessions disable trigger all",
    "create function asyouwere.mine() returns int language sql return 1",
    "create table asyouwere.mine (a int)",
    "drop schema asyouwere cascade",
    "set session_replication_role = replica",
    *(
        f"update public.free_agent_sessions set {column} = default"
        for column in (
            "internal_id",
            "created_at",
            "updated_at",
            "last_activity_at",
            "expired_at",
            "latest_number",
            "pruned_through",
            "size_bytes",
            "message_count",
        )
    ),
]


@pytest.mark.parametrize("statement", FORGERIES, ids=lambda text: " ".join(text.split()[:7]))
def test_nothing_can_be_forged(scene: Scene, statement: str) -> None:
    session_id = scene.sessions["shared"]
    values = {"id": session_id, "internal": scene.internal_id(session_id), "eve": scene.people["eve"]}
    before = fingerprint(scene.db)
    for caller in CALLERS:
        with acting(scene.db, caller) as connection:
            code, why = outcome(lambda c=connection: c.execute(statement.encode(), values))
            assert code == "denied" or "cannot" in str(why) or "can only be updated to DEFAULT" in str(why), (caller, why)
            connection.commit()
    assert fingerprint(scene.db) == before


@pytest.mark.parametrize("change", ["id = gen_random_uuid()", "user_id = %(eve)s", "kind = 'chat'", "key = 'another'"])
def test_what_a_session_is_known_by_never_changes(scene: Scene, change: str) -> None:
    """Upserts may name these columns, with the values that are there."""
    values = {"id": scene.sessions["shared"], "eve": scene.people["eve"]}
    statement = f"update public.free_agent_sessions set {change} where id = %(id)s returning id".encode()
    before = fingerprint(scene.db)
    for caller in CALLERS:
        with acting(scene.db, caller) as connection:
            code, rows = outcome(lambda c=connection: c.execute(statement, values).fetchall())
            if caller in (matrix.OWNER, matrix.SERVICE):
                assert code in ("invalid_argument", "denied"), (caller, rows)
            else:
                assert code == "denied" or (code, rows) == ("ok", []), (caller, rows)
            connection.commit()
    assert fingerprint(scene.db) == before


def fingerprint(db: Db) -> Any:
    return db.superuser.execute(
        """
        select (select md5(string_agg(p::text, ' ' order by p::text)) from asyouwere.parts p) as parts,
            (select md5(string_agg(n::text, ' ' order by n::text)) from public.session_snapshots n) as snapshots,
            (select md5(string_agg(s::text, ' ' order by s::text)) from public.free_agent_sessions s) as sessions,
            (select md5(string_agg(k::text, ' ' order by k::text)) from asyouwere.save_keys k) as keys
        """
    ).fetchall()


OWN_TABLE_WORK: list[tuple[str, dict[str, str]]] = [
    ("update public.free_agent_sessions set name = 'x' where id = %(id)s", {matrix.OWNER: "UPDATE 1", matrix.SERVICE: "UPDATE 1"}),
    ("delete from public.free_agent_sessions where id = %(id)s", {matrix.OWNER: "DELETE 1", matrix.SERVICE: "DELETE 1"}),
    (
        "update public.session_members set role = 'viewer' where session_id = %(id)s",
        {matrix.OWNER: "UPDATE 3", matrix.SERVICE: "UPDATE 3"},
    ),
    (
        "delete from public.session_members where session_id = %(id)s",
        {matrix.OWNER: "DELETE 3", matrix.SERVICE: "DELETE 3", matrix.EDITOR: "DELETE 1", matrix.VIEWER: "DELETE 1"},
    ),
    (
        "insert into public.session_members (session_id, user_id, role) values (%(id)s, %(eve)s, 'editor')",
        dict.fromkeys((matrix.OWNER, matrix.SERVICE), "INSERT 0 1")
        | dict.fromkeys((matrix.EDITOR, matrix.VIEWER), "forbidden"),
    ),
    (
        "insert into public.session_messages (session_id, role, content) values (%(id)s, 'user', 'hi')",
        {matrix.OWNER: "INSERT 0 1", matrix.SERVICE: "INSERT 0 1", matrix.EDITOR: "INSERT 0 1", matrix.VIEWER: "forbidden"},
    ),
    ("insert into public.free_agent_sessions (user_id) values (%(eve)s)", {matrix.SERVICE: "INSERT 0 1", matrix.STRANGER: "INSERT 0 1"}),
]


@pytest.mark.parametrize(("statement", "expected"), OWN_TABLE_WORK, ids=lambda each: str(each)[:50])
def test_what_may_be_written_by_table(scene: Scene, statement: str, expected: dict[str, str]) -> None:
    """Whoever is not in `expected` changes nothing: no row is in reach, or it is denied."""
    values = {"id": scene.sessions["shared"], "eve": scene.people["eve"]}
    for caller in CALLERS:
        with acting(scene.db, caller) as connection:
            code, result = outcome(lambda c=connection: c.execute(statement.encode(), values).statusmessage)
            answered = result if code == "ok" else code
        assert answered == expected.get(caller) or (
            caller not in expected and answered in ("UPDATE 0", "DELETE 0", "denied", "session_not_found")
        ), caller

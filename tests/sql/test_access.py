"""The access matrix: every table, view and function, tried as everybody, with the answers of access_matrix.py."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import psycopg
import pytest
from psycopg import sql

from leftoff.local.migrations import migrate
from tests.sql import access_matrix as matrix
from tests.sql.access_matrix import CALLERS, FUNCTIONS, RELATIONS, VISIBILITIES, Scene
from tests.sql.states import change
from tests.support.cluster import Cluster
from tests.support.database import Connection, Db, Row

# One login for all callers, as the API's pool does it: role and claims are set in the transaction and go with it.
CONNECTIONS: WeakKeyDictionary[Db, Connection] = WeakKeyDictionary()

API_ROLES = ("anon", "authenticated", "service_role")

EXECUTABLE = """
    select n.nspname || '.' || p.proname as name, 'p_session_id' = any (p.proargnames) as takes_a_session
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'public'
        or n.nspname = 'leftoff' and exists (
            select from unnest(%s::text[]) r where pg_catalog.has_function_privilege(r, p.oid, 'execute'))
"""
ALL_RELATIONS = """
    select n.nspname || '.' || c.relname as name, c.relkind from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'leftoff') and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
"""
GRANTS = """
    select c.relname, coalesce(r.rolname, 'public') as role, a.privilege_type as privilege,
        null as column from pg_catalog.pg_class c,
        pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault(
            case c.relkind when 'S' then 's'::"char" else 'r'::"char" end, c.relowner))) a
        left join pg_catalog.pg_roles r on r.oid = a.grantee
    where c.oid = %(relation)s::regclass and a.grantee <> c.relowner
    union all
    select c.relname, coalesce(r.rolname, 'public'), a.privilege_type, t.attname from pg_catalog.pg_attribute t
        join pg_catalog.pg_class c on c.oid = t.attrelid,
        pg_catalog.aclexplode(t.attacl) a left join pg_catalog.pg_roles r on r.oid = a.grantee
    where t.attrelid = %(relation)s::regclass and a.grantee <> c.relowner
"""


@pytest.fixture(scope="module")
def scene(shared: Db) -> Scene:
    """Ada's three sessions, with ed and vi as members of each. Tests undo what they do."""
    people = {name: shared.user(name) for name in ("ada", "ed", "vi", "eve")}
    sessions = {}
    for visibility in VISIBILITIES:
        session_id = sessions[visibility] = shared.session("ada", name=visibility)
        with shared.acting_as("ada"):
            shared.one("set_session_member", p_session_id=session_id, p_user_id=people["ed"], p_role="editor")
            shared.one("set_session_member", p_session_id=session_id, p_user_id=people["vi"], p_role="viewer")
            shared.one("update_session", p_session_id=session_id, p_changes={"visibility": visibility})
            shared.save(session_id, {"messages": ["a", "b"], "n": 1}, p_label="first", p_idempotency_key="k")
            change(shared, session_id, {"set": {"/n": 2}})
    with shared.acting_as("service"):
        shared.one("cleanup_old_snapshots")
    return Scene(shared, sessions, people)


@contextlib.contextmanager
def acting(db: Db, caller: str) -> Iterator[Connection]:
    """A connection that is this caller, in a transaction that is undone at the end."""
    connection = CONNECTIONS.get(db) or CONNECTIONS.setdefault(db, db.connect(db.api_dsn, autocommit=False))
    role = {matrix.SERVICE: "service_role", matrix.ANONYMOUS: "anon", matrix.CLAIMLESS: "anon"}.get(caller, "authenticated")
    claims: Row = {"role": role}
    if caller in (matrix.OWNER, matrix.EDITOR, matrix.VIEWER, matrix.STRANGER):
        claims["sub"] = str(db.user(caller))
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    if caller != matrix.CLAIMLESS:
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
    try:
        yield connection
    finally:
        connection.rollback()


def outcome(work: Any) -> tuple[str, Any]:
    """ ("ok", rows), ("denied", why) or (code, the whole refusal)."""
    try:
        return "ok", work()
    except psycopg.errors.InsufficientPrivilege as exc:
        return "denied", exc.diag.message_primary
    except psycopg.Error as exc:
        diagnosis = exc.diag
        refusal = (diagnosis.sqlstate, diagnosis.message_primary, diagnosis.message_hint, diagnosis.message_detail)
        return diagnosis.message_hint or f"{diagnosis.sqlstate} {diagnosis.message_primary}", refusal


# -- the lists are complete --------------------------------------------------------------------------------------


def test_every_function_is_listed(shared: Db) -> None:
    rows = shared.superuser.execute(EXECUTABLE, (list(API_ROLES),)).fetchall()
    assert sorted(row["name"] for row in rows) == sorted(FUNCTIONS), "list it in access_matrix.py, once"
    taking_a_session = {row["name"] for row in rows if row["takes_a_session"]}
    assert taking_a_session - {"leftoff.message_id"} == set(matrix.ABOUT_A_SESSION)


def test_every_relation_is_listed(shared: Db) -> None:
    rows = shared.superuser.execute(ALL_RELATIONS).fetchall()
    assert sorted(row["name"] for row in rows) == sorted(RELATIONS), "list it in access_matrix.py"


def test_a_new_object_would_be_noticed(db: Db) -> None:
    db.superuser.execute("create function public.new_one() returns int language sql return 1")
    db.superuser.execute("create function leftoff.new_one() returns int language sql return 1")  # for all, as by default
    db.superuser.execute("create view public.new_view as select 1 as one")
    functions = {row["name"] for row in db.superuser.execute(EXECUTABLE, (list(API_ROLES),)).fetchall()}
    relations = {row["name"] for row in db.superuser.execute(ALL_RELATIONS).fetchall()}
    assert functions - set(FUNCTIONS) == {"public.new_one", "leftoff.new_one"}
    assert relations - set(RELATIONS) == {"public.new_view"}


# -- functions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_function(scene: Scene, function: str, visibility: str) -> None:
    call = FUNCTIONS[function]
    answers = {}
    for caller in CALLERS:
        arguments = call.arguments(scene, scene.sessions[visibility])
        with acting(scene.db, caller) as connection:
            answers[caller], _ = outcome(lambda c=connection, a=arguments: scene.db.call(function, on=c, **a))
    expected = {caller: call.but.get(caller, matrix.answer(call.kind, caller, visibility)) for caller in CALLERS}
    assert answers == expected


def test_members_may_leave_and_viewers_only_themselves(scene: Scene) -> None:
    for caller in (matrix.EDITOR, matrix.VIEWER):
        with acting(scene.db, caller) as connection:
            session_id = scene.sessions["shared"]
            scene.db.call(
                "remove_session_member", on=connection, p_session_id=session_id, p_user_id=scene.people[caller]
            )
            code, _ = outcome(lambda c=connection: scene.db.call("get_session", on=c, p_session_id=scene.sessions["shared"]))
            assert code == "session_not_found"


def test_editors_may_not_change_visibility(scene: Scene) -> None:
    for caller, expected in ((matrix.OWNER, "ok"), (matrix.EDITOR, "forbidden"), (matrix.VIEWER, "forbidden")):
        with acting(scene.db, caller) as connection:
            code, _ = outcome(
                lambda c=connection: scene.db.call(
                    "update_session", on=c, p_session_id=scene.sessions["shared"], p_changes={"visibility": "public"}
                )
            )
        assert code == expected


# -- a stranger's session and none -------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", [matrix.STRANGER, matrix.ANONYMOUS, matrix.UNNAMED, matrix.CLAIMLESS])
@pytest.mark.parametrize("function", matrix.ABOUT_A_SESSION)
def test_a_strangers_session_and_a_missing_one_answer_alike(scene: Scene, function: str, caller: str) -> None:
    call = FUNCTIONS[function]
    with scene.db.acting_as("ada"):
        deleted = scene.db.one("get_or_create_session")["id"]
        scene.db.call("delete_session", p_session_id=deleted)
    answers = []
    for session_id in (scene.sessions["private"], scene.sessions["shared"], uuid4(), deleted, None):
        with acting(scene.db, caller) as connection:
            arguments = {**call.arguments(scene, uuid4()), "p_session_id": session_id}
            answers.append(outcome(lambda c=connection, a=arguments: scene.db.call(function, on=c, **a)))
    if function == "leftoff.role_of":
        assert {repr(each) for each in answers} == {"('ok', [{'role_of': None}])"}
    elif function == "leftoff.owns_session":
        assert {repr(each) for each in answers} == {"('ok', [{'owns_session': False}])"}
    assert len({repr(each) for each in answers}) == 1, answers


@pytest.mark.parametrize("caller", [matrix.STRANGER, matrix.ANONYMOUS, matrix.UNNAMED, matrix.CLAIMLESS])
def test_tables_answer_alike_too(scene: Scene, caller: str) -> None:
    statements = [
        "select * from public.free_agent_sessions where id = %(id)s",
        "select * from public.session_snapshots where session_id = %(id)s",
        "select * from public.session_members where session_id = %(id)s",
        "select * from public.session_messages where session_id = %(id)s",
        "select * from public.sessions_list where id = %(id)s",
        "update public.free_agent_sessions set name = 'x' where id = %(id)s",
        "delete from public.free_agent_sessions where id = %(id)s",
        "update public.session_members set role = 'editor' where session_id = %(id)s",
        "delete from public.session_members where session_id = %(id)s",
        "insert into public.session_members (session_id, user_id, role) values (%(id)s, %(eve)s, 'editor')",
        "insert into public.session_messages (session_id, role, content) values (%(id)s, 'user', 'hi')",
    ]
    for statement in statements:
        answers = []
        for session_id in (scene.sessions["private"], scene.sessions["shared"], uuid4()):
            with acting(scene.db, caller) as connection:
                answers.append(
                    outcome(
                        lambda c=connection, s=session_id, t=statement: c.execute(
                            t.encode(), {"id": s, "eve": scene.people["eve"]}
                        ).statusmessage
                    )
                )
        assert len({repr(each) for each in answers}) == 1, (statement, answers)
        assert answers[0][1] not in ("UPDATE 1", "DELETE 1", "INSERT 0 1", "SELECT 1")


# -- tables and views --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", RELATIONS)
def test_relation_grants(shared: Db, relation: str) -> None:
    rows = shared.superuser.execute(GRANTS, {"relation": relation}).fetchall()
    found = sorted((row["role"], row["privilege"], row["column"] or "") for row in rows)
    listed = sorted(
        (role, privilege, column)
        for privilege, roles in RELATIONS[relation].items()
        for role, columns in roles.items()
        for column in columns or ("",)
    )
    assert found == listed


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("relation", [name for name in RELATIONS if not name.endswith("_seq")])
def test_relation_rows(scene: Scene, relation: str, visibility: str) -> None:
    session_id = scene.sessions[visibility]
    key = {"leftoff.parts": "session", "leftoff.save_keys": "session"}.get(relation)
    if relation in ("public.free_agent_sessions", "leftoff.described_sessions", "public.sessions_list"):
        key = "id"
    elif key is None:
        key = "session_id"
    query = f"select count(*) from {relation}"
    if relation not in ("leftoff.settings", "leftoff.cleanup_runs"):
        query += f" where {key} = %(session)s"
    value = scene.internal_id(session_id) if key == "session" else session_id
    seen: dict[str, int | str] = {}
    for caller in CALLERS:
        with acting(scene.db, caller) as connection:
            code, rows = outcome(
                lambda c=connection: c.execute(query.encode(), {"session": value}).fetchall()[0]["count"]
            )
            seen[caller] = rows if code == "ok" else code
    assert seen == {caller: matrix.rows_seen(relation, caller, visibility) for caller in CALLERS}


FORGERIES = [
    "insert into leftoff.parts (session, since, ord, size, depth, kind, created_at, path, body) "
    "values (%(internal)s, 1, 99, 1, 1, 0, now(), '/forged/', '1')",
    "update leftoff.parts set body = '666'",
    "delete from leftoff.parts",
    "truncate leftoff.parts",
    "select from leftoff.parts for update",
    "insert into leftoff.save_keys select * from leftoff.save_keys",
    "select * from leftoff.save_keys",
    "delete from leftoff.save_keys",
    "update leftoff.settings set max_state_bytes = 10 ^ 12",
    "delete from leftoff.settings",
    "insert into leftoff.cleanup_runs (took_ms, kind, sessions, snapshots, parts, bytes, done) "
    "values (1, 'snapshots', 1, 1, 1, 1, true)",
    "delete from leftoff.cleanup_runs",
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
    "update public.session_members set user_id = %(eve)s",
    "update public.session_messages set content = 'forged'",
    "delete from public.session_messages",
    "insert into public.session_messages (session_id, position, role, content) values (%(id)s, 0, 'a', 'b')",
    "update public.sessions_list set name = 'forged'",
    "delete from public.sessions_list",
    "insert into leftoff.described_sessions (name) values ('x')",
    "select nextval('public.free_agent_sessions_internal_id_seq')",
    "select setval('public.free_agent_sessions_internal_id_seq', 1)",
    "alter table public.free_agent_sessions disable row level security",
    "alter table leftoff.parts disable trigger all",
    "alter table public.free_agent_sessions disable trigger all",
    "create function leftoff.mine() returns int language sql return 1",
    "create table leftoff.mine (a int)",
    "drop schema leftoff cascade",
    "set session_replication_role = replica",
    *(
        f"update public.free_agent_sessions set {column} = default"
        for column in (
            "id",
            "internal_id",
            "user_id",
            "kind",
            "key",
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


def fingerprint(db: Db) -> Any:
    return db.superuser.execute(
        """
        select (select md5(string_agg(p::text, ' ' order by p::text)) from leftoff.parts p) as parts,
            (select md5(string_agg(n::text, ' ' order by n::text)) from public.session_snapshots n) as snapshots,
            (select md5(string_agg(s::text, ' ' order by s::text)) from public.free_agent_sessions s) as sessions,
            (select md5(string_agg(k::text, ' ' order by k::text)) from leftoff.save_keys k) as keys
        """
    ).fetchall()


OWN_TABLE_WORK: list[tuple[str, dict[str, str]]] = [
    ("update public.free_agent_sessions set name = 'x' where id = %(id)s", {matrix.OWNER: "UPDATE 1", matrix.SERVICE: "UPDATE 1"}),
    ("delete from public.free_agent_sessions where id = %(id)s", {matrix.OWNER: "DELETE 1", matrix.SERVICE: "DELETE 1"}),
    (
        "update public.session_members set role = 'viewer' where session_id = %(id)s",
        {matrix.OWNER: "UPDATE 2", matrix.SERVICE: "UPDATE 2"},
    ),
    (
        "delete from public.session_members where session_id = %(id)s",
        {matrix.OWNER: "DELETE 2", matrix.SERVICE: "DELETE 2", matrix.EDITOR: "DELETE 1", matrix.VIEWER: "DELETE 1"},
    ),
    (
        "insert into public.session_members (session_id, user_id, role) values (%(id)s, %(eve)s, 'editor')",
        {matrix.OWNER: "INSERT 0 1", matrix.SERVICE: "INSERT 0 1"},
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


# -- role_of() and the policies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("caller", CALLERS)
def test_role_of_and_the_policies_agree(scene: Scene, caller: str, visibility: str) -> None:
    session_id, owner = scene.sessions[visibility], scene.people["ada"]
    with acting(scene.db, caller) as connection:
        (row,) = connection.execute("select leftoff.role_of(%s, %s, %s) as role", (session_id, owner, visibility)).fetchall()
        assert row["role"] == matrix.role_in(caller, visibility)
        for query in (
            "select count(*) > 0 as seen from public.free_agent_sessions where id = %(id)s",
            "select count(*) > 0 as seen from public.session_snapshots where session_id = %(id)s",
            "select count(*) > 0 as seen from public.session_messages where session_id = %(id)s",
            "select count(*) > 0 as seen from leftoff.parts where session = %(internal)s",
        ):
            values = {"id": session_id, "internal": scene.internal_id(session_id)}
            (seen,) = connection.execute(query.encode(), values).fetchall()
            assert seen["seen"] == (row["role"] is not None), query
        if row["role"] is not None:
            (listed,) = scene.db.call("get_session", on=connection, p_session_id=session_id)
            assert listed["my_role"] == row["role"]


def test_role_of_a_claim_does_not_make_the_service(scene: Scene) -> None:
    """Only who may SET ROLE is the service, whatever the claims say."""
    connection = scene.db.connect_as("eve")
    connection.execute("select set_config('request.jwt.claims', %s, false)", (json.dumps({"role": "service_role"}),))
    code, _ = outcome(lambda: scene.db.call("get_session", on=connection, p_session_id=scene.sessions["private"]))
    assert code == "session_not_found"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        scene.db.call("cleanup_old_snapshots", on=connection)


# -- Supabase ----------------------------------------------------------------------------------------------------


def acl(db: Db) -> list[Row]:
    return db.superuser.execute(
        """
        select p.oid::regprocedure::text as object, array(select a::text from unnest(p.proacl) a order by 1) as acl
        from pg_catalog.pg_proc p where p.pronamespace in ('public'::regnamespace, 'leftoff'::regnamespace)
        union all
        select c.oid::regclass::text, array(select a::text from unnest(c.relacl) a order by 1)
        from pg_catalog.pg_class c
        where c.relnamespace in ('public'::regnamespace, 'leftoff'::regnamespace) and c.relkind in ('r', 'v', 'S')
        order by 1
        """
    ).fetchall()


def test_grants__are_the_same_where_defaults_grant_everything(cluster: Cluster, empty_database: str, shared: Db) -> None:
    """On Supabase whatever is made in public is granted to the API's roles; our migrations take it away again."""
    with psycopg.connect(empty_database, autocommit=True) as admin:
        for kind in ("tables", "functions", "sequences"):
            admin.execute(
                f"alter default privileges in schema public grant all on {kind} to anon, authenticated, service_role".encode()
            )
    migrate(empty_database, bootstrap=True)
    name = psycopg.conninfo.conninfo_to_dict(empty_database)["dbname"]
    there = Db(cluster, str(name))
    try:
        assert acl(there) == acl(shared)
    finally:
        there.close()

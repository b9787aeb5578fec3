"""The access matrix: every table, view and function, tried as everybody, with the answers of access_matrix.py."""

from __future__ import annotations

import json
from uuid import uuid4

import psycopg
import pytest

from asyouwere.local.migrations import migrate
from tests.sql import access_matrix as matrix
from tests.sql.access_matrix import CALLERS, FUNCTIONS, RELATIONS, VISIBILITIES, Scene
from tests.sql.acting import acting, outcome
from tests.support.cluster import Cluster
from tests.support.database import Db, Row

API_ROLES = ("anon", "authenticated", "service_role")

EXECUTABLE = """
    select n.nspname || '.' || p.proname as name, 'p_session_id' = any (p.proargnames) as takes_a_session
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'public' and not exists (
            -- an embed takes a row; test_embeds.py tries those
            select from pg_catalog.pg_type t where t.oid = any (p.proargtypes) and t.typrelid <> 0)
        or n.nspname = 'asyouwere' and exists (
            select from unnest(%s::text[]) r where pg_catalog.has_function_privilege(r, p.oid, 'execute'))
"""
ALL_RELATIONS = """
    select n.nspname || '.' || c.relname as name, c.relkind from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'asyouwere') and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
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


# -- the lists are complete --------------------------------------------------------------------------------------


def test_every_function_is_listed(shared: Db) -> None:
    rows = shared.superuser.execute(EXECUTABLE, (list(API_ROLES),)).fetchall()
    assert sorted(row["name"] for row in rows) == sorted(FUNCTIONS), "list it in access_matrix.py, once"
    taking_a_session = {row["name"] for row in rows if row["takes_a_session"]}
    assert taking_a_session - {"asyouwere.message_id"} == set(matrix.ABOUT_A_SESSION)


def test_every_relation_is_listed(shared: Db) -> None:
    rows = shared.superuser.execute(ALL_RELATIONS).fetchall()
    assert sorted(row["name"] for row in rows) == sorted(RELATIONS), "list it in access_matrix.py"


def test_a_new_object_would_be_noticed(db: Db) -> None:
    db.superuser.execute("create function public.new_one() returns int language sql return 1")
    db.superuser.execute("create function asyouwere.new_one() returns int language sql return 1")  # for all, as by default
    db.superuser.execute("create view public.new_view as select 1 as one")
    functions = {row["name"] for row in db.superuser.execute(EXECUTABLE, (list(API_ROLES),)).fetchall()}
    relations = {row["name"] for row in db.superuser.execute(ALL_RELATIONS).fetchall()}
    assert functions - set(FUNCTIONS) == {"public.new_one", "asyouwere.new_one"}
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
    if function == "asyouwere.role_of":
        assert {repr(each) for each in answers} == {"('ok', [{'role_of': None}])"}
    elif function == "asyouwere.owns_session":
        assert {repr(each) for each in answers} == {"('ok', [{'owns_session': False}])"}
    assert len({repr(each) for each in answers}) == 1, answers


@pytest.mark.parametrize("caller", [matrix.STRANGER, matrix.ANONYMOUS, matrix.UNNAMED, matrix.CLAIMLESS])
def test_tables_answer_alike_too(scene: Scene, caller: str) -> None:
    statements = [
        "select * from public.free_agent_sessions where id = %(id)s",
        "select * from public.session_snapshots where session_id = %(id)s",
        "select * from public.session_members where session_id = %(id)s",
        "select * from public.session_messages where session_id = %(id)s",
        "select id from public.session_turns where session_id = %(id)s",
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

# those that are not of a session
KEYLESS = dict.fromkeys(
    (
        *("asyouwere.settings", "asyouwere.cleanup_runs", "asyouwere.rate_buckets", "asyouwere.erasures"),
        *("asyouwere.offers", "public.user_usage", "asyouwere.user_budgets"),
    ),
) | {"asyouwere.used_ids": "id"}


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
    by_internal_id = ("parts", "save_keys", "thinned", "unswept", "cleanup_failures", "turn_chunks")
    by_internal_id += ("usage_records",)
    key = "session" if relation.endswith(by_internal_id) else None
    if relation in ("public.free_agent_sessions", "asyouwere.described_sessions", "public.sessions_list"):
        key = "id"
    elif relation in KEYLESS:
        key = KEYLESS[relation]
    elif key is None:
        key = "session_id"
    query = f"select count(*) from {relation}"
    if key:
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


# -- role_of() and the policies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("caller", CALLERS)
def test_role_of_and_the_policies_agree(scene: Scene, caller: str, visibility: str) -> None:
    session_id, owner = scene.sessions[visibility], scene.people["ada"]
    with acting(scene.db, caller) as connection:
        (row,) = connection.execute("select asyouwere.role_of(%s, %s, %s) as role", (session_id, owner, visibility)).fetchall()
        assert row["role"] == matrix.role_in(caller, visibility)
        for query in (
            "select count(*) > 0 as seen from public.free_agent_sessions where id = %(id)s",
            "select count(*) > 0 as seen from public.session_snapshots where session_id = %(id)s",
            "select count(*) > 0 as seen from public.session_messages where session_id = %(id)s",
            "select count(*) > 0 as seen from public.session_turns where session_id = %(id)s",
            "select count(*) > 0 as seen from asyouwere.parts where session = %(internal)s",
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
        from pg_catalog.pg_proc p where p.pronamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
        union all
        select c.oid::regclass::text, array(select a::text from unnest(c.relacl) a order by 1)
        from pg_catalog.pg_class c
        where c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace) and c.relkind in ('r', 'v', 'S')
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

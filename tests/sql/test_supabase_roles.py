"""Migrations, callers, Realtime and the schedule under roles as Supabase's: whoever logs in there is no superuser.

No Supabase: a server of the tests' own with its roles, owners and rights. tests/containers has the real images.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from asyouwere.local.migrations import migrate
from asyouwere.local.postgres import EmbeddedPostgres
from tests.support.cluster import new_folder, wanted_binaries

SUPPORT = Path(__file__).parents[1] / "support"
ADA = uuid.UUID("5e551045-0000-4000-8000-00000000ada0")
#: As in the bare image, whatever another test has made of it.
BARE = """
    create or replace function auth.uid() returns uuid language sql stable
    as $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$
"""
PASSWORD = "only-for-this-server"


def run(connection: psycopg.Connection, name: str) -> None:
    connection.execute((SUPPORT / f"{name}.sql").read_bytes())


@pytest.fixture(scope="module")
def project() -> Iterator[EmbeddedPostgres]:
    """As on a project: roles, Realtime and pg_cron are there, Auth has started, then the migrations run."""
    with EmbeddedPostgres(new_folder(), binaries=wanted_binaries(), durable=False) as server:
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            run(admin, "supabase_roles")
            run(admin, "realtime")
            admin.execute("grant all on schema realtime to supabase_realtime_admin")
            admin.execute("grant usage on schema realtime to people")
            for table in ("messages", "messages_now"):
                admin.execute(
                    sql.SQL("alter table realtime.{} owner to supabase_realtime_admin").format(sql.Identifier(table))
                )
            run(admin, "pg_cron")
            admin.execute("insert into auth.users (id, email) values (%s, 'ada@example.org')", (ADA,))
        migrate(server.dsn_for("postgres", "people", PASSWORD), bootstrap=True)
        yield server


def people(server: EmbeddedPostgres) -> psycopg.Connection:
    return psycopg.connect(server.dsn_for("postgres", "people", PASSWORD), autocommit=True)


def as_ada(connection: psycopg.Connection, statement: str, *arguments: object) -> list[tuple[object, ...]]:
    """As PostgREST of today calls: one setting with all claims, in a transaction, by way of authenticator."""
    claims = json.dumps({"sub": str(ADA), "role": "authenticated"})
    with connection.transaction():
        connection.execute(
            "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)", (claims,)
        )
        return connection.execute(statement.encode(), arguments).fetchall()


def test_migrations__are_the_login_roles_own_and_find_nothing_to_bootstrap(project: EmbeddedPostgres) -> None:
    with people(project) as connection:
        owners = connection.execute(
            "select distinct pg_get_userbyid(relowner) from pg_class where relnamespace = 'asyouwere'::regnamespace"
        ).fetchall()
        superuser = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchall()
        uid = connection.execute("select pg_get_userbyid(proowner) from pg_proc where proname = 'uid'").fetchall()
    assert (owners, superuser) == ([("people",)], [(False,)])
    assert uid == [("postgres",)], "the bootstrap left Supabase's function alone"


def test_callers__are_known_once_auth_has_started(project: EmbeddedPostgres) -> None:
    make = "select user_id from public.get_or_create_session(p_key => 'roles')"
    with psycopg.connect(project.dsn, autocommit=True) as connection:
        connection.execute(BARE)
        with pytest.raises(psycopg.Error, match="sign"):
            as_ada(connection, make)
        run(connection, "supabase_auth")
        assert as_ada(connection, make) == [(ADA,)]


def test_realtime_and_schedule__came_with_the_migrations(project: EmbeddedPostgres) -> None:
    with psycopg.connect(project.dsn, autocommit=True) as admin:
        run(admin, "supabase_auth")
    with people(project) as connection:
        assert connection.execute("select asyouwere.enable_realtime()").fetchall() == [("on",)]
        assert connection.execute("select asyouwere.schedule_cleanup()").fetchall() == [("on",)]
        jobs = connection.execute("select jobname, command, username, active from cron.job").fetchall()
        assert jobs == [("asyouwere clean-up", "call asyouwere.clean_up()", "people", True)]
        connection.execute(str(jobs[0][1]).encode())  # as pg_cron: by the job's own role
        ((session_id,),) = as_ada(connection, "select id from public.get_or_create_session(p_key => 'heard')")
        as_ada(
            connection,
            "select number from public.create_session_snapshot(p_session_id => %s, p_state => '{}')",
            session_id,
        )
        sent = connection.execute(
            "select payload ->> 'number', private from realtime.messages where topic = %s",
            (f"asyouwere:{session_id}",),
        ).fetchall()
    assert sent == [("1", True)]


def test_invite__unknown_id__is_refused_where_the_login_role_may_read_the_users(project: EmbeddedPostgres) -> None:
    with psycopg.connect(project.dsn, autocommit=True) as admin, people(project) as connection:
        run(admin, "supabase_auth")
        admin.execute("alter table auth.users enable row level security")  # as on projects of today
        ((session_id,),) = as_ada(connection, "select id from public.get_or_create_session(p_key => 'shared')")
        invite = "select role from public.set_session_member(%s, %s, 'viewer')"
        with pytest.raises(psycopg.Error, match="No user has this id"):
            as_ada(connection, invite, session_id, uuid.uuid4())
        for right, given_back in (
            ("revoke select on auth.users from people", "grant select on auth.users to people"),
            ("alter role people nobypassrls", "alter role people bypassrls"),
        ):
            admin.execute(right.encode())
            try:
                assert as_ada(connection, invite, session_id, uuid.uuid4()) == [("viewer",)]
            finally:
                admin.execute(given_back.encode())


def test_realtime__without_supabases_grant_is_off_and_says_why(project: EmbeddedPostgres) -> None:
    with psycopg.connect(project.dsn, autocommit=True) as admin, people(project) as connection:
        admin.execute("revoke supabase_realtime_admin from people")
        try:
            said = connection.execute("select asyouwere.enable_realtime()").fetchall()
        finally:
            admin.execute("grant supabase_realtime_admin to people")
        assert said == [("off: this role may not create policies on realtime.messages",)]
        assert connection.execute("select asyouwere.enable_realtime()").fetchall() == [("on",)]

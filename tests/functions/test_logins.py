"""The two logins of sql/logins.sql: what each can, and that it can nothing else."""

from __future__ import annotations

import psycopg
import pytest
from click.testing import CliRunner

from asyouwere.local.cli import asyouwere
from asyouwere.local.migrations import migrate, sql_folder
from tests.functions.api import Person, serving, settings_for, token_for
from tests.support.database import Db

DENIED = psycopg.errors.InsufficientPrivilege


def test_logins__prints_what_migrate_runs() -> None:
    printed = CliRunner().invoke(asyouwere, ["logins"])
    assert printed.output == (sql_folder() / "logins.sql").read_text("utf-8")


def test_logins__each_acts_as_its_callers_and_can_do_nothing_else(database: Db) -> None:
    said: list[str] = []
    for _ in range(2):  # again is harmless
        migrate(database.dsn, logins=True, say=said.append)
    assert "asyouwere_api and asyouwere_cleanup may log in" in said[-2]
    for role in ("asyouwere_api", "asyouwere_cleanup"):
        database.superuser.execute(f"alter role {role} password '{database.cluster.password}'".encode())
    api, clean_up = (
        database.cluster.dsn_for(database.name, role, database.cluster.password)
        for role in ("asyouwere_api", "asyouwere_cleanup")
    )
    user = str(database.user("ada"))
    with serving(settings_for(api)) as url:
        ada, service = Person(url, user, token_for(user)), Person(url, None, token_for("cron", "service_role"))
        with ada.http, service.http:
            session_id = ada.session()
            ada.saved(session_id, state={"n": 1})
            assert ada.state(session_id) == {"n": 1}
            assert service.http.post("/functions/v1/cleanup-old-snapshots", json={}).status_code >= 400
    with serving(settings_for(clean_up)) as url:
        ada, service = Person(url, user, token_for(user)), Person(url, None, token_for("cron", "service_role"))
        with ada.http, service.http:
            assert service.post("cleanup-old-snapshots", {}).json()["done"] is True
            assert ada.http.get("/functions/v1/sessions").status_code >= 400
    for dsn, others in ((api, ["service_role", "postgres"]), (clean_up, ["authenticated", "postgres"])):
        with psycopg.connect(dsn, autocommit=True) as connection:
            for role in others:
                with pytest.raises((DENIED, psycopg.errors.InvalidParameterValue)):
                    connection.execute(f"set role {role}".encode())
            for statement in (
                "select * from asyouwere.parts",
                "select * from public.free_agent_sessions",
                "select * from auth.users",
                "create table public.mine ()",
            ):
                with pytest.raises(DENIED):
                    connection.execute(statement.encode())


def test_logins__are_made_by_whom_supabase_calls_postgres(database: Db) -> None:
    admin = database.superuser
    admin.execute(b"create role as_on_supabase createrole")
    try:
        admin.execute(b"grant anon, authenticated, service_role to as_on_supabase with admin option")
        with admin.transaction(force_rollback=True):
            for role in ("asyouwere_api", "asyouwere_cleanup"):  # made by another test, as another role
                admin.execute(f"drop role if exists {role}".encode())
            admin.execute(b"set local role as_on_supabase")
            admin.execute((sql_folder() / "logins.sql").read_bytes())
            found = admin.execute(
                b"select r.rolname as login, g.rolname as role from pg_auth_members m "
                b"join pg_roles r on r.oid = m.member join pg_roles g on g.oid = m.roleid "
                b"where r.rolname like 'asyouwere%'"
            ).fetchall()
            assert {tuple(row.values()) for row in found} == {
                ("asyouwere_api", "anon"),
                ("asyouwere_api", "authenticated"),
                ("asyouwere_cleanup", "service_role"),
            }
    finally:
        admin.execute(b"drop owned by as_on_supabase")
        admin.execute(b"drop role as_on_supabase")

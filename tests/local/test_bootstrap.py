"""The bootstrap: what a plain Postgres gets, what it leaves alone, and that it may be repeated."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asyouwere.local.migrations import sql_folder
from asyouwere.local.postgres import EmbeddedPostgres
from tests.support.cluster import new_folder, wanted_binaries

SCRIPT = (sql_folder() / "bootstrap.sql").read_bytes()
ROLES = (
    "select rolname, rolcanlogin, rolinherit, rolbypassrls, rolsuper from pg_roles where rolname = any(%s)"
)
NAMES = ["anon", "authenticated", "service_role", "authenticator"]


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A server of this test's own: roles belong to all of a server's databases."""
    folder = new_folder()
    folder.chmod(0o711)
    with EmbeddedPostgres(folder / "pg", binaries=wanted_binaries(), durable=False) as postgres:
        yield postgres


def connect(dsn: str) -> psycopg.Connection[Any]:
    return psycopg.connect(dsn, autocommit=True)


def catalog(connection: psycopg.Connection[Any]) -> list[Any]:
    """Everything the bootstrap could change, to compare before and after."""
    return [
        connection.execute(query.encode()).fetchall()
        for query in (
            "select rolname, pg_roles.* from pg_roles where rolname !~ '^pg_' order by 1",
            "select roleid::regrole::text, member::regrole::text from pg_auth_members order by 1, 2",
            "select nspname, nspacl::text from pg_namespace order by 1",
            "select oid::regprocedure::text, xmin::text from pg_proc"
            " where pronamespace::regnamespace::text in ('auth', 'public') order by 1",
            "select oid::regclass::text, xmin::text from pg_class"
            " where relnamespace::regnamespace::text in ('auth', 'public') order by 1",
            "select * from pg_default_acl",
            "select * from pg_db_role_setting",
        )
    ]


def test_bootstrap__makes_roles_as_supabase_has_them(server: EmbeddedPostgres) -> None:
    with connect(server.dsn) as connection:
        connection.execute(SCRIPT)
        roles = {row[0]: row[1:] for row in connection.execute(ROLES, (NAMES,)).fetchall()}
        members = connection.execute(
            "select roleid::regrole::text from pg_auth_members"
            " where member = 'authenticator'::regrole order by 1"
        ).fetchall()
        no_password = connection.execute(
            "select rolpassword is null from pg_authid where rolname = 'authenticator'"
        )
        assert no_password.fetchone() == (True,)
    assert roles == {
        # login, inherit, bypassrls, superuser
        "anon": (False, False, False, False),
        "authenticated": (False, False, False, False),
        "service_role": (False, False, True, False),
        "authenticator": (True, False, False, False),
    }
    assert [name for (name,) in members] == ["anon", "authenticated", "service_role"]


def test_bootstrap__again_changes_nothing_and_no_default_privileges(server: EmbeddedPostgres) -> None:
    with connect(server.dsn) as connection:
        connection.execute(SCRIPT)
        first = catalog(connection)
        connection.execute(SCRIPT)
        assert catalog(connection) == first
        assert connection.execute("select count(*) from pg_default_acl").fetchone() == (0,)


def test_bootstrap__in_several_databases_at_once(server: EmbeddedPostgres) -> None:
    databases = ["one", "two", "three"]
    with connect(server.dsn) as connection:
        for name in databases:
            connection.execute(f"create database {name}".encode())
    problems: list[BaseException] = []
    together = threading.Barrier(2 * len(databases))

    def work(name: str) -> None:
        try:
            with connect(server.dsn_for(name)) as mine:
                together.wait()
                mine.execute(SCRIPT)
        except BaseException as exc:  # noqa: BLE001 - shown below, in the test's own thread
            problems.append(exc)

    threads = [threading.Thread(target=work, args=(name,)) for name in databases * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    for name in databases:
        with connect(server.dsn_for(name)) as connection:
            assert connection.execute("select auth.uid()").fetchone() == (None,)


def test_bootstrap__on_supabase_changes_nothing(server: EmbeddedPostgres) -> None:
    with connect(server.dsn) as connection:
        connection.execute("create role supabase_admin superuser")
        before = catalog(connection)
        connection.execute(SCRIPT)
        assert catalog(connection) == before


def test_bootstrap__keeps_what_an_application_has_already(server: EmbeddedPostgres) -> None:
    with connect(server.dsn) as connection:
        connection.execute("create schema auth; create table auth.users (id uuid primary key, plan text)")
        connection.execute("create function auth.uid() returns uuid language sql return null::uuid")
        connection.execute("create role anon nologin")
        connection.execute(SCRIPT)
        columns = connection.execute(
            "select array_agg(attname::text order by attnum) from pg_attribute"
            " where attrelid = 'auth.users'::regclass and attnum > 0"
        )
        assert columns.fetchone() == (["id", "plan"],)
        connection.execute("select set_config('request.jwt.claims', %s, false)", ('{"sub": "not read"}',))
        assert connection.execute("select auth.uid()").fetchone() == (None,)


# -- who is calling ------------------------------------------------------------------------------------------

ADA = str(uuid.uuid5(uuid.NAMESPACE_DNS, "ada"))
CALLER = "select auth.uid()::text, auth.role(), auth.jwt()"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (None, None, None)),
        ({"request.jwt.claims": ""}, (None, None, None)),
        (
            {"request.jwt.claims": json.dumps({"sub": ADA, "role": "authenticated", "x": 1})},
            (ADA, "authenticated", {"sub": ADA, "role": "authenticated", "x": 1}),
        ),
        ({"request.jwt.claims": '{"role": "anon"}'}, (None, "anon", {"role": "anon"})),
        # PostgREST before version 9: a setting for each claim
        (
            {"request.jwt.claim.sub": ADA, "request.jwt.claim.role": "authenticated"},
            (ADA, "authenticated", None),
        ),
        (
            {"request.jwt.claim.sub": "", "request.jwt.claims": json.dumps({"sub": ADA})},
            (ADA, None, {"sub": ADA}),
        ),
    ],
)
def test_auth__reads_claims_as_supabase_does(
    empty_database: str, settings: dict[str, str], expected: tuple[Any, ...]
) -> None:
    with connect(empty_database) as connection:
        connection.execute(SCRIPT)
        for name, value in settings.items():
            connection.execute("select set_config(%s, %s, false)", (name, value))
        connection.execute("set role authenticated")
        assert connection.execute(CALLER).fetchone() == expected


def test_auth__claims_of_a_transaction_are_gone_after_it(empty_database: str) -> None:
    with connect(empty_database) as connection:
        connection.execute(SCRIPT)
        with connection.transaction():
            connection.execute(
                "select set_config('request.jwt.claims', %s, true)", (json.dumps({"sub": ADA}),)
            )
            assert connection.execute("select auth.uid()::text").fetchone() == (ADA,)
        assert connection.execute(CALLER).fetchone() == (None, None, None)


def test_auth__callers_cannot_read_the_users(empty_database: str) -> None:
    with connect(empty_database) as connection:
        connection.execute(SCRIPT)
        for role in ("anon", "authenticated", "service_role"):
            connection.execute(f"set role {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select * from auth.users")
            connection.execute("reset role")


def test_script__is_where_the_wheel_would_have_it() -> None:
    assert (sql_folder() / "migrations").is_dir()
    assert Path(sql_folder()).name == "sql"

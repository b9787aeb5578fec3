"""sql/schema.sql: always the same text, and the one that the migrations make, wherever they are applied."""

from __future__ import annotations

import psycopg
import pytest

from asyouwere.local.migrations import migrate, run_file, sql_folder
from asyouwere.local.schema import dump_schema, fresh_schema, readable
from tests.support.cluster import Cluster

ROLES = "anon, authenticated, service_role"


def test_schema__is_what_the_migrations_make() -> None:
    made = fresh_schema()
    assert ((sql_folder() / "schema.sql").read_text(), (sql_folder() / "catalog.json").read_text()) == made, (
        "run `make schema` and commit what it wrote"
    )


def test_schema__supabases_default_privileges_change_nothing(
    cluster: Cluster, template: str, empty_database: str
) -> None:
    """On Supabase everything new in public is granted to everybody; our migrations must take that back."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        run_file(connection, sql_folder() / "bootstrap.sql")
        for kind in ("tables", "functions", "sequences"):
            connection.execute(
                f"alter default privileges in schema public grant all on {kind} to {ROLES}".encode()
            )
    migrate(empty_database)
    found = set(dump_schema(empty_database).splitlines()) - {""}
    expected = set(dump_schema(cluster.dsn_for(template)).splitlines()) - {""}
    # The default privileges themselves are dumped too; they are not ours.
    found = {line for line in found if not line.startswith(("ALTER DEFAULT PRIVILEGES", "-- DEFAULT ACL"))}
    assert sorted(found - expected) == []
    assert sorted(expected - found) == []


@pytest.mark.parametrize(
    "noise",
    [
        "-- PostgreSQL database dump",
        "-- Dumped from database version 18.4",
        "-- Dumped by pg_dump version 18.4",
        r"\restrict 4DBJmXhPYdyRlPDMxQYlBNsXEfzjs4pSMv5EdIHUwvcBSYk6TWXQYfd8DdKLuJN",
        r"\unrestrict 4DBJmXhPYdyRlPDMxQYlBNsXEfzjs4pSMv5EdIHUwvcBSYk6TWXQYfd8DdKLuJN",
        "SET transaction_timeout = 0;",
        "SET default_table_access_method = heap;",
        "SELECT pg_catalog.set_config('search_path', '', false);",
        "CREATE SCHEMA public;",
    ],
)
def test_readable__leaves_out_what_depends_on_the_day(noise: str) -> None:
    dump = "\n".join(["CREATE TABLE a (", "    x integer", ");", "", "", noise, "", "CREATE TABLE b ();", ""])
    _, _, text = readable(dump).partition("\n\n")
    assert text == "CREATE TABLE a (\n    x integer\n);\n\nCREATE TABLE b ();\n"


def test_readable__headings_are_short() -> None:
    dump = (
        "--\n-- Name: parts; Type: TABLE; Schema: asyouwere; Owner: -\n--\n\nCREATE TABLE asyouwere.parts ();\n"
    )
    assert readable(dump).endswith("-- TABLE asyouwere.parts\n\nCREATE TABLE asyouwere.parts ();\n")

"""sql/schema, sql/migrations and sql/catalog.json say the same, wherever they are applied."""

from __future__ import annotations

import json

import psycopg

from asyouwere.local.doctor.catalog import catalog_text
from asyouwere.local.migrations import migrate, run_file, sql_folder
from asyouwere.local.schema import BASELINE, baseline_text, catalog_of_migrations, catalog_of_schema
from tests.support.cluster import Cluster

ROLES = "anon, authenticated, service_role"
STALE = "run `make generate` and commit what it wrote"


def test_baseline__is_made_of_the_topical_files() -> None:
    assert (sql_folder() / "migrations" / BASELINE).read_text() == baseline_text(), STALE


def test_catalog__is_what_the_migrations_make_and_what_the_schema_makes() -> None:
    made = catalog_of_migrations()
    assert made == catalog_of_schema(), "sql/migrations and sql/schema differ: a change lacks its migration"
    assert (sql_folder() / "catalog.json").read_text() == made, STALE


def test_catalog__supabases_default_privileges_change_nothing(
    cluster: Cluster, template: str, empty_database: str
) -> None:
    """On Supabase everything new in public is granted to everybody; our migrations must take that back."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        run_file(connection, sql_folder() / "bootstrap.sql")
        for kind in ("tables", "functions", "sequences"):
            connection.execute(f"alter default privileges in schema public grant all on {kind} to {ROLES}".encode())
    migrate(empty_database)
    assert json.loads(catalog_text(empty_database)) == json.loads(catalog_text(cluster.dsn_for(template)))

"""Migrations: once each, in order, safe when several run at once, in the Supabase CLI's history."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asyouwere.local.errors import MigrationFailed, MigrationRefused
from asyouwere.local.migrations import Migration, migrate, pending_migrations, read_migrations
from asyouwere.local.statements import split_statements
from tests.functions.pooler import pooler
from tests.support.cluster import Cluster

OURS = read_migrations()
HISTORY = "select version, name, statements from supabase_migrations.schema_migrations order by version"
# As the Supabase CLI makes it, in the order of its own statements.
TABLE_OF_THE_CLI = """
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
    alter table supabase_migrations.schema_migrations add column if not exists statements text[];
    alter table supabase_migrations.schema_migrations add column if not exists name text;
"""


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def labels(migrations: list[Migration]) -> list[str]:
    return [migration.label for migration in migrations]


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def record(dsn: str, *names: tuple[str, str | None]) -> None:
    rows(dsn, TABLE_OF_THE_CLI)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for version, name in names:
            connection.execute(
                "insert into supabase_migrations.schema_migrations (version, name) values (%s, %s)",
                (version, name),
            )


# -- the ordinary way ----------------------------------------------------------------------------------------


def test_migrate__all_then_nothing(empty_database: str) -> None:
    said: list[str] = []
    assert labels(migrate(empty_database, bootstrap=True, say=said.append)) == labels(OURS)
    assert said == [f"applied {migration.label}" for migration in OURS]
    said.clear()
    assert migrate(empty_database, bootstrap=True, say=said.append) == []
    assert said == [f"up to date: {len(OURS)} migrations, nothing to do"]


def test_migrate__several_at_once_apply_each_once(empty_database: str) -> None:
    several_at_once(empty_database)


def test_migrate__several_at_once_through_a_transaction_mode_pooler(empty_database: str) -> None:
    with pooler(empty_database, server_connections=2) as dsn:
        several_at_once(dsn)


def several_at_once(dsn: str) -> None:
    applied: list[str] = []
    assert at_once(lambda _: applied.extend(labels(migrate(dsn, bootstrap=True)))) == []
    assert sorted(applied) == labels(OURS)
    assert [row[0] for row in rows(dsn, HISTORY)] == [migration.version for migration in OURS]


def test_logins__several_at_once_from_two_databases(empty_database: str, template: str, cluster: Cluster) -> None:
    migrate(empty_database, bootstrap=True)
    drop = "drop role if exists asyouwere_api; drop role if exists asyouwere_cleanup"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(drop)
    problems = at_once(lambda place: migrate((empty_database, cluster.dsn_for(template))[place % 2], logins=True))
    assert problems == []
    granted = rows(cluster.dsn, "select member::regrole::text, roleid::regrole::text from pg_auth_members m "
                   "where member::regrole::text ~ '^asyouwere' order by 1, 2")  # fmt: skip
    assert granted == [
        ("asyouwere_api", "anon"), ("asyouwere_api", "authenticated"), ("asyouwere_cleanup", "service_role"),
    ]  # fmt: skip


def at_once(work: Callable[[int], object]) -> list[BaseException]:
    """Four threads do it; what went wrong."""
    problems: list[BaseException] = []
    together = threading.Barrier(4)

    def one(place: int) -> None:
        try:
            together.wait()
            work(place)
        except BaseException as exc:  # noqa: BLE001 - shown below, in the test's own thread
            problems.append(exc)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


def test_migrate__killed_in_the_middle_goes_on_from_nothing(empty_database: str, tmp_path: Path) -> None:
    files = write(tmp_path, {"0001_create_a.sql": "create table a (); select pg_sleep(60); create table b ();"})
    script = "import sys; from pathlib import Path; from asyouwere.local.migrations import migrate; " \
        "migrate(sys.argv[1], folder=Path(sys.argv[2]), bootstrap=True)"  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", script, empty_database, str(files)]) as process:
        wait_for(lambda: rows(empty_database, "select 1 from pg_stat_activity where wait_event = 'PgSleep'"))
        process.kill()
    # its server process sleeps on, and whoever comes next waits for it: end that, as the administrator would
    rows(empty_database, "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'")
    write(files, {"0001_create_a.sql": "create table a (); create table b ();"})
    assert labels(migrate(empty_database, folder=files)) == ["0001_create_a"]
    assert rows(empty_database, "select to_regclass('a')::text, to_regclass('b')::text") == [("a", "b")]


def wait_for(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_migrate__plain_postgres_without_bootstrap_says_what_to_add(
    empty_database: str, template: str
) -> None:
    # `template` has made the roles, which the whole server shares; the schema auth is each database's own.
    with pytest.raises(MigrationRefused, match=r"no function auth.uid\(\).*--bootstrap"):
        migrate(empty_database)
    assert rows(
        empty_database, "select to_regnamespace('supabase_migrations'), to_regnamespace('asyouwere')"
    ) == [(None, None)]


def test_migrate__dry_run_tells_and_writes_nothing(empty_database: str) -> None:
    said: list[str] = []
    assert labels(migrate(empty_database, dry_run=True, bootstrap=True, say=said.append)) == labels(OURS)
    assert said == [f"would apply {migration.label}" for migration in OURS]
    assert rows(empty_database, "select nspname from pg_namespace where nspname in ('auth', 'asyouwere')") == []


def test_migrate__failing_file_is_undone_and_named_with_its_line(empty_database: str, tmp_path: Path) -> None:
    files = write(
        tmp_path,
        {
            "0001_create_a.sql": "create table a (x int);",
            "0002_create_b.sql": "create table b (x int);\n\n-- wrong:\ncreate table c (x nosuchtype);\n",
        },
    )
    with pytest.raises(MigrationFailed, match=r"^0002_create_b.sql:4: type \"nosuchtype\" does not exist$"):
        migrate(empty_database, folder=files, bootstrap=True)
    assert rows(empty_database, "select to_regclass('a')::text, to_regclass('b')::text") == [("a", None)]
    write(files, {"0002_create_b.sql": "create table b (x int)"})
    assert labels(migrate(empty_database, folder=files)) == ["0002_create_b"]


def test_our_migrations__leave_the_transaction_to_whoever_applies_them() -> None:
    for migration in OURS:
        first_words = {text.split()[0].lower() for text in split_statements(migration.path.read_text())}
        assert not first_words & {"begin", "start", "commit", "end", "rollback", "savepoint"}, migration.label


def test_migrate__over_a_database_that_had_another_baseline_says_so(empty_database: str, tmp_path: Path) -> None:
    text = "-- A comment.\ncreate table a (x int); -- and one behind\ncreate table b ();\n"
    files = write(tmp_path, {"0001_create_a.sql": text})
    migrate(empty_database, folder=files, bootstrap=True)
    said: list[str] = []
    write(files, {"0001_create_a.sql": text.replace("A comment", "Another").replace("\n", "\n\n  ")})
    migrate(empty_database, folder=files, say=said.append)
    assert said == ["up to date: 1 migrations, nothing to do"]
    write(files, {"0001_create_a.sql": text.replace("x int", "x text")})
    migrate(empty_database, folder=files, say=said.append)
    assert said[1].startswith("warning: 0001_create_a is another here than the one this database had")
    rows(empty_database, "alter table supabase_migrations.schema_migrations drop column statements")
    migrate(empty_database, folder=files, say=said.append)  # as the CLI's oldest versions left it: nothing is known
    assert said[3:] == ["up to date: 1 migrations, nothing to do"]


# -- the Supabase CLI's history ------------------------------------------------------------------------------


def test_history__has_the_clis_shape(cluster: Cluster, template: str) -> None:
    dsn = cluster.dsn_for(template)
    columns = rows(
        dsn,
        """
        select column_name::text, data_type::text, is_nullable::text from information_schema.columns
        where table_schema = 'supabase_migrations' and table_name = 'schema_migrations'
        order by ordinal_position
        """,
    )
    assert columns == [("version", "text", "NO"), ("statements", "ARRAY", "YES"), ("name", "text", "YES")]
    recorded = rows(dsn, HISTORY)
    assert [(version, name) for version, name, _ in recorded] == [(m.version, m.name) for m in OURS]
    for _, _, statements in recorded:
        assert statements
        assert not any(statement.rstrip().endswith(";") for statement in statements)


def test_migrate__what_the_cli_has_pushed_is_known(empty_database: str) -> None:
    migrate(empty_database, bootstrap=True)
    rows(empty_database, "drop schema supabase_migrations cascade")
    record(empty_database, *((m.version, m.name) for m in OURS))
    assert migrate(empty_database) == []


def test_migrate__continues_where_the_cli_stopped(empty_database: str, tmp_path: Path) -> None:
    files = write(
        tmp_path, {"0001_create_a.sql": "no sql at all", "0002_create_b.sql": "create table b (x int)"}
    )
    migrate(empty_database, bootstrap=True, folder=write(tmp_path / "none", {}))
    record(empty_database, ("0001", "create_a"))
    assert labels(migrate(empty_database, folder=files)) == ["0002_create_b"]


def test_migrate__history_of_the_clis_oldest_versions_has_no_names(empty_database: str) -> None:
    migrate(empty_database, bootstrap=True)
    rows(
        empty_database,
        "alter table supabase_migrations.schema_migrations drop column name, drop column statements",
    )
    assert migrate(empty_database) == []


def test_migrate__the_applications_own_migrations_are_none_of_ours(empty_database: str) -> None:
    record(empty_database, ("20240229134501", "create_profiles"), ("20991231235959", "later"))
    assert labels(migrate(empty_database, bootstrap=True)) == labels(OURS)
    assert migrate(empty_database) == []
    assert len(rows(empty_database, HISTORY)) == len(OURS) + 2


# -- histories that do not fit -------------------------------------------------------------------------------

A, B, C = (Migration(f"000{n}", f"create_{n}", Path(f"000{n}_create_{n}.sql")) for n in (1, 2, 3))


def test_pending_migrations__in_order() -> None:
    assert pending_migrations({}, [A, B, C]) == [A, B, C]
    assert pending_migrations({"0001": "create_1"}, [A, B, C]) == [B, C]
    assert pending_migrations({"0001": None, "0002": "", "0003": "create_3"}, [A, B, C]) == []


def test_pending_migrations__unknown_number_means_a_newer_asyouwere() -> None:
    with pytest.raises(MigrationRefused, match=r"has migration 0004 \(create_x\).*newer asyouwere") as refused:
        pending_migrations({"0001": "create_1", "0004": "create_x"}, [A, B, C])
    assert "\n" not in str(refused.value)


def test_pending_migrations__gap_in_the_history() -> None:
    with pytest.raises(MigrationRefused, match="0002_create_2 comes before 0003"):
        pending_migrations({"0001": "create_1", "0003": "create_3"}, [A, B, C])


def test_pending_migrations__same_number_of_another_project() -> None:
    with pytest.raises(MigrationRefused, match="another project"):
        pending_migrations({"0001": "init"}, [A, B, C])


def test_migrate__refusal_changes_nothing(empty_database: str) -> None:
    record(empty_database, ("0001", "init"))
    with pytest.raises(MigrationRefused):
        migrate(empty_database, bootstrap=True)
    assert rows(empty_database, "select to_regnamespace('asyouwere')") == [(None,)]


def test_read_migrations__bad_names_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"0001_create_a.sql": "", "0001_create_b.sql": ""})
    with pytest.raises(MigrationRefused, match="one number"):
        read_migrations(tmp_path)
    (tmp_path / "0001_create_b.sql").rename(tmp_path / "create_b.sql")
    with pytest.raises(MigrationRefused, match=r"create_b.sql is not named NNNN_verb_object.sql"):
        read_migrations(tmp_path)


def test_our_migrations__are_counted_without_gaps() -> None:
    assert [migration.version for migration in OURS] == [f"{n:04}" for n in range(1, len(OURS) + 1)]

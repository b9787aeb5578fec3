"""Applying `sql/migrations/NNNN_verb_object.sql`, each once, in order, each in a transaction of its own.

The history is the Supabase CLI's own table, supabase_migrations.schema_migrations, so a database that
`supabase db push` has migrated is known here, and the other way round.

    migrate("postgresql://…", say=print)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from asyouwere.local.errors import LocalError, MigrationFailed, MigrationRefused
from asyouwere.local.statements import split_statements
from asyouwere.postgres.encryption import encrypted

FILE_NAME = re.compile(r"(?P<version>\d+)_(?P<name>.*)\.sql")
# The application's own migrations carry a time (14 digits) and are none of our business; ours are counted.
OUR_VERSION = re.compile(r"\d{1,8}")

CHANGED = (
    "is another here than the one this database had: it was made by another version before the first release, "
    "and is not brought up; export its sessions, migrate an empty one, import them"
)
LOCK = "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('asyouwere migrate', 0))"
HAS_HISTORY = "select pg_catalog.to_regclass('supabase_migrations.schema_migrations') is not null"
# The shape that the Supabase CLI gives it; a table that an older version of the CLI made grows the columns.
CREATE_HISTORY = """
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
    alter table supabase_migrations.schema_migrations add column if not exists statements text[];
    alter table supabase_migrations.schema_migrations add column if not exists name text;
"""
# What our migrations take for granted; Supabase has it, a plain Postgres gets it from the bootstrap.
MISSING = """
    select name
    from (
        select 'role ' || n.role as name, exists (select from pg_catalog.pg_roles r where r.rolname = n.role)
        from unnest(array['anon', 'authenticated', 'service_role']) as n (role)
        union all
        select 'function auth.uid()', pg_catalog.to_regprocedure('auth.uid()') is not null
    ) as needed (name, there)
    where not there
    limit 1
"""
READ_HISTORY = """
    select version, to_jsonb(recorded) ->> 'name'
    from supabase_migrations.schema_migrations as recorded
    order by version
"""
READ_STATEMENTS = """
    select version, (
        select string_agg(statement, chr(10) order by place)
        from jsonb_array_elements_text(nullif(to_jsonb(recorded) -> 'statements', 'null'))
            with ordinality as written (statement, place)
    )
    from supabase_migrations.schema_migrations as recorded
"""
RECORD = "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)"


@dataclass(frozen=True)
class Migration:
    """One file: `03_parts.sql` has version `0003` and name `create_parts`."""

    version: str
    name: str
    path: Path

    @property
    def label(self) -> str:
        return f"{self.version}_{self.name}"


def sql_folder() -> Path:
    """Where our SQL is: inside the installed package, or next to `functions/` in a clone."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sql", package.parents[1] / "sql"):
        if (folder / "migrations").is_dir():
            return folder
    raise LocalError("the folder sql/migrations is missing: run this from a clone, or install asyouwere again")


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """The migration files of a folder (default: ours) in the order of their versions."""
    folder = folder or sql_folder() / "migrations"
    found: dict[str, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationRefused(f"{path.name} is not named NNNN_verb_object.sql: rename or remove it")
        migration = Migration(match["version"], match["name"], path)
        if (other := found.get(migration.version)) is not None:
            raise MigrationRefused(f"{other.path.name} and {path.name} have one number: rename one of them")
        found[migration.version] = migration
    return [found[version] for version in sorted(found)]


def pending_migrations(recorded: dict[str, str | None], files: list[Migration]) -> list[Migration]:
    """Which files are still to be applied, given the history (version -> name). Raises MigrationRefused."""
    known = {file.version: file for file in files}
    ours = {version for version in recorded if OUR_VERSION.fullmatch(version)}
    if unknown := sorted(ours - known.keys()):
        raise MigrationRefused(
            f"the database has migration {unknown[0]} ({recorded[unknown[0]] or 'no name'}), which is not "
            "among the files here: it was migrated by a newer asyouwere, so install that one"
        )
    for version in sorted(ours):
        # Only the CLI's oldest versions left the name out.
        if recorded[version] not in (None, "", known[version].name):
            raise MigrationRefused(
                f"the database has migration {version} as {recorded[version]!r}, here it is "
                f"{known[version].name!r}: another project uses this database's history with the same numbers"
            )
    pending = [file for file in files if file.version not in ours]
    if ours and pending and pending[0].version < max(ours):
        raise MigrationRefused(
            f"migration {pending[0].label} comes before {max(ours)}, which the database has already: "
            "give it a higher number, or restore the history"
        )
    return pending


def migrate(
    dsn: str,
    *,
    ca: str | None = None,
    folder: Path | None = None,
    bootstrap: bool = False,
    logins: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] | None = None,
) -> list[Migration]:
    """Bring a database up to date; returns what was applied (with dry_run: what would be).

    Safe when several run at once, and through a transaction-mode pooler: every step takes the lock inside
    its own transaction and looks at the history again. bootstrap runs `sql/bootstrap.sql` first,
    logins `sql/logins.sql` last. warn: hears of what is not in order, by default say. ca: PEM text of the
    server's CA. Raises NotEncrypted for a server elsewhere without TLS.
    """
    files = read_migrations(folder)
    with psycopg.connect(encrypted(dsn, ca), autocommit=True, prepare_threshold=None) as connection:
        if bootstrap and not dry_run:
            run_file(connection, sql_folder() / "bootstrap.sql")
        for migration in changed_migrations(connection, files):
            (warn or say)(f"warning: {migration.label} {CHANGED}")
        done: list[Migration] = []
        if dry_run:
            done = pending_migrations(read_history(connection), files)
            for migration in done:
                say(f"would apply {migration.label}")
        else:
            while (applied := _apply_next(connection, files)) is not None:
                done.append(applied)
                say(f"applied {applied.label}")
        if logins and not dry_run:
            with connection.transaction():
                connection.execute(LOCK)
                run_file(connection, sql_folder() / "logins.sql")
            say("asyouwere_api and asyouwere_cleanup may log in once you give them a password (psql: \\password …)")
    if not done:
        say(f"up to date: {len(files)} migrations, nothing to do")
    return done


def read_history(connection: psycopg.Connection[Any]) -> dict[str, str | None]:
    """What the database has had: version -> name; empty if nothing was ever recorded."""
    has = connection.execute(HAS_HISTORY).fetchone()
    if has is None or not has[0]:
        return {}
    return dict(connection.execute(READ_HISTORY).fetchall())


def changed_migrations(connection: psycopg.Connection[Any], files: list[Migration]) -> list[Migration]:
    """Which files are not what the database had of that name, comments and white space apart.

    Applied files never change once there was a release; until then the baseline does."""
    has = connection.execute(HAS_HISTORY).fetchone()
    if has is None or not has[0]:
        return []
    recorded = dict(connection.execute(READ_STATEMENTS).fetchall())
    applied = (file for file in files if recorded.get(file.version))
    return [file for file in applied if _essence(recorded[file.version]) != _essence(file.path.read_text("utf-8"))]


def _essence(sql: str) -> str:
    return re.sub(r"--[^\n]*|[\s;]+", "", sql)


def _apply_next(connection: psycopg.Connection[Any], files: list[Migration]) -> Migration | None:
    """Apply and record the next pending file; None when there is none."""
    with connection.transaction():
        connection.execute(LOCK)
        pending = pending_migrations(read_history(connection), files)
        if not pending:
            return None
        if missing := connection.execute(MISSING).fetchone():
            raise MigrationRefused(
                f"this Postgres has no {missing[0]}, which Supabase brings along: add --bootstrap to make it"
            )
        connection.execute(CREATE_HISTORY)
        migration = pending[0]
        run_file(connection, migration.path)
        text = migration.path.read_text(encoding="utf-8")
        # The file may have set a search_path or a role; the record is written regardless.
        connection.execute("reset role")
        connection.execute(RECORD, (migration.version, migration.name, split_statements(text)))
        return migration


def run_file(connection: psycopg.Connection[Any], path: Path) -> None:
    """Run a file of SQL statements. Raises MigrationFailed with the file's name and line."""
    script = path.read_bytes()
    try:
        connection.execute(script)
    except psycopg.Error as exc:
        line = ""
        if exc.diag.statement_position:
            before = script.decode()[: int(exc.diag.statement_position) - 1]
            line = f":{before.count(chr(10)) + 1}"
        hint = f" ({exc.diag.message_hint})" if exc.diag.message_hint else ""
        raise MigrationFailed(f"{path.name}{line}: {exc.diag.message_primary or exc}{hint}") from exc

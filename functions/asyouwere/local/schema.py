"""What is made from `sql/schema/`: the baseline migration, and the catalogue that the doctor compares with.

`sql/schema/*.sql` is what people read and change. Databases get `sql/migrations/`: until the first release that is
one baseline, all the topical files in order; afterwards it stays as it is and small steps follow it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import psycopg

from asyouwere.local.doctor.catalog import catalog_text
from asyouwere.local.migrations import migrate, run_file, sql_folder
from asyouwere.local.postgres import EmbeddedPostgres

__all__ = ["BASELINE", "baseline_text", "catalog_of_migrations", "catalog_of_schema", "schema_files"]

BASELINE: Final = "0001_create_baseline.sql"

_HEADER: Final = """\
-- The schema as a migration. Made from sql/schema/*.sql by `make generate`: change those files, never this one.
-- Breaks running code: no.
"""


def schema_files(folder: Path | None = None) -> list[Path]:
    """The topical files in the order in which they build on each other."""
    return sorted(((folder or sql_folder()) / "schema").glob("*.sql"))


def baseline_text(folder: Path | None = None) -> str:
    """The text of the baseline migration."""
    parts = (f"\n-- {path.name}\n\n{path.read_text().strip()}\n" for path in schema_files(folder))
    return _HEADER + "".join(parts)


def catalog_of_migrations() -> str:
    """catalog.json as `sql/migrations` makes it, on a throw-away Postgres 18."""
    with _throw_away() as postgres:
        migrate(postgres.dsn, bootstrap=True)
        return catalog_text(postgres.dsn)


def catalog_of_schema() -> str:
    """catalog.json as `sql/schema` makes it, on a throw-away Postgres 18."""
    with _throw_away() as postgres:
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            run_file(connection, sql_folder() / "bootstrap.sql")
            for path in schema_files():
                run_file(connection, path)
        return catalog_text(postgres.dsn)


class _throw_away:
    """A Postgres that is gone afterwards."""

    def __enter__(self) -> EmbeddedPostgres:
        self._folder = tempfile.TemporaryDirectory(prefix="asyouwere-schema-")
        path = Path(self._folder.name)
        path.chmod(0o711)  # root's Postgres runs as another user, who must be able to pass through
        self._postgres = EmbeddedPostgres(path / "pg", durable=False)
        return self._postgres.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._postgres.__exit__(None, None, None)
        self._folder.cleanup()

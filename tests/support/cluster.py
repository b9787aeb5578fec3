"""The Postgres that tests run against.

ASYOUWERE_TEST_POSTGRES       18 (default) or 16 from the wheel, 15 (or any other number) from Debian's packages
ASYOUWERE_TEST_DATABASE_URL   a superuser's connection string to a server that runs already; wins over the above
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from asyouwere.local.binaries import WHEEL_FOLDERS, PostgresBinaries, from_folder, from_wheel
from asyouwere.local.postgres import EmbeddedPostgres
from asyouwere.local.processes import end_postgres


@dataclass(frozen=True)
class Cluster:
    """A running server. `dsn` is a superuser's; `major` its version; `folder` None if it is not ours."""

    dsn: str
    major: int
    folder: Path | None

    def dsn_for(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """A connection string to one database; user and password default to the superuser's."""
        changes = {"dbname": database, "user": user, "password": password}
        given = {name: value for name, value in changes.items() if value is not None}
        return make_conninfo(self.dsn, **given)

    @property
    def password(self) -> str:
        """The superuser's password, which tests also give to the role authenticator."""
        return str(conninfo_to_dict(self.dsn).get("password") or "asyouwere")


def wanted_binaries() -> PostgresBinaries:
    """The programs that ASYOUWERE_TEST_POSTGRES names; skips the test if Debian's are not installed."""
    major = int(os.environ.get("ASYOUWERE_TEST_POSTGRES") or 18)
    return from_wheel(major) if major in WHEEL_FOLDERS else debian_binaries(major)


def debian_binaries(major: int) -> PostgresBinaries:
    """Debian's Postgres of this version; skips the test if it is not installed."""
    folder = Path(f"/usr/lib/postgresql/{major}/bin")
    if not (folder / "postgres").exists():
        pytest.skip(f"needs Debian's package postgresql-{major}")
    return from_folder(folder)


@contextlib.contextmanager
def running_cluster(tmp_root: Path | None = None) -> Iterator[Cluster]:
    """The server for this process's tests, gone at the end with all its data."""
    if url := os.environ.get("ASYOUWERE_TEST_DATABASE_URL"):
        yield Cluster(url, _major_of(url), None)
        return
    folder = new_folder(tmp_root)
    postgres = EmbeddedPostgres(folder, binaries=wanted_binaries(), durable=False)
    try:
        with postgres:
            yield Cluster(postgres.dsn, postgres.binaries.major, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_folder(tmp_root: Path | None = None) -> Path:
    """A short path for a server's folder, named after this process; what killed test runs left is removed."""
    root = tmp_root or Path(tempfile.gettempdir()) / f"asyouwere-tests-{os.geteuid()}"
    root.mkdir(mode=0o711, exist_ok=True)
    for left in root.iterdir():
        owner = left.name.split("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            end_postgres(left / "data", patience_seconds=1)
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))


def _major_of(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        return connection.info.server_version // 10000

"""`supabase db push` with the real CLI: it takes the migrations as they are, and agrees with `asyouwere migrate`."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from asyouwere.local.doctor.catalog import catalog_text
from asyouwere.local.migrations import migrate, read_migrations, run_file, sql_folder
from tests.supabase.cli import ROOT, run_cli
from tests.support.cluster import Cluster
from tests.support.wiretap import make_certificate, tls_before

FILES = [migration.path.name for migration in read_migrations()]
VERSIONS = [migration.version for migration in read_migrations()]
FOLDER = ROOT / "infra/supabase"


def address(dsn: str) -> str:
    """The connection string as people write it."""
    parts = conninfo_to_dict(dsn)
    login = f"{quote(str(parts['user']), safe='')}:{quote(str(parts.get('password', '')), safe='')}"
    host = quote(str(parts["host"]), safe="")
    return f"postgresql://{login}@{host}:{parts['port']}/{parts['dbname']}?sslmode=disable"


def push(dsn: str, *options: str) -> str:
    return run_cli("db", "push", "--workdir", "infra", f"--remote={address(dsn)}", *options)


def listed(dsn: str) -> list[tuple[str, str]]:
    """`supabase migration list`: which are local, which remote."""
    text = run_cli("migration", "list", "--workdir", "infra", f"--remote={address(dsn)}")
    found = re.findall(r"^\s*`?(\d{4})?\s*`?\s*[|│]\s*`?(\d{4})?\s*`?\s*[|│]", text, re.MULTILINE)
    return [pair for pair in found if any(pair)]


@pytest.fixture
def bootstrapped(empty_database: str) -> str:
    """What a new Supabase project is for our migrations, its default privileges included."""
    with psycopg.connect(empty_database, autocommit=True) as admin:
        run_file(admin, sql_folder() / "bootstrap.sql")
        for kind in ("tables", "functions", "sequences"):
            admin.execute(
                f"alter default privileges in schema public grant all on {kind} to anon, authenticated, service_role".encode()
            )
    return empty_database


def test_folder__has_the_migrations_themselves_not_copies() -> None:
    link = FOLDER / "migrations"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "sql/migrations"


def test_config__exposes_public_and_not_asyouwere() -> None:
    config = tomllib.loads((FOLDER / "config.toml").read_text())
    assert config["api"]["schemas"] == ["public", "graphql_public"]
    assert config["db"]["seed"] == {"enabled": False}


def test_push__dry_run_names_all_and_does_nothing(bootstrapped: str) -> None:
    text = push(bootstrapped, "--dry-run")
    assert re.findall(r"\d{4}_\w+\.sql", text) == FILES
    assert listed(bootstrapped) == [(version, "") for version in VERSIONS]
    with psycopg.connect(bootstrapped) as connection:
        assert connection.execute("select to_regnamespace('asyouwere')").fetchall() == [(None,)]


def test_push__then_asyouwere_migrate_has_nothing_to_do(bootstrapped: str, cluster: Cluster) -> None:
    push(bootstrapped, "--yes")
    assert migrate(bootstrapped) == []
    assert listed(bootstrapped) == [(version, version) for version in VERSIONS]
    assert "up to date" in push(bootstrapped, "--yes")
    found = json.loads(catalog_text(bootstrapped))
    assert found == json.loads((ROOT / "sql/catalog.json").read_text())


def test_asyouwere_migrate__then_push_has_nothing_to_do(bootstrapped: str) -> None:
    migrate(bootstrapped)
    assert listed(bootstrapped) == [(version, version) for version in VERSIONS]
    assert "up to date" in push(bootstrapped, "--dry-run")


def test_push__goes_on_where_asyouwere_migrate_ended(bootstrapped: str, tmp_path: Path) -> None:
    for name in FILES[:-1]:
        shutil.copy(ROOT / "sql/migrations" / name, tmp_path)
    assert len(migrate(bootstrapped, folder=tmp_path)) == len(FILES) - 1
    assert re.findall(r"\d{4}_\w+\.sql", push(bootstrapped, "--dry-run")) == FILES[-1:]
    push(bootstrapped, "--yes")
    assert migrate(bootstrapped) == []


def test_cli__is_the_version_that_the_page_names() -> None:
    packages = json.loads((ROOT / "tests/node/package-lock.json").read_text())["packages"]
    wanted = packages["node_modules/supabase"]["version"]
    named = set(re.findall(r"supabase@([\d.]+)", (FOLDER / "README.md").read_text()))
    assert named == {wanted}


def test_push__verifies_the_server_by_the_certificate_that_the_page_names(bootstrapped: str, tmp_path: Path) -> None:
    own, other = make_certificate(tmp_path, "own"), make_certificate(tmp_path, "other")
    with tls_before(int(conninfo_to_dict(bootstrapped)["port"] or 0), own) as port:
        url = address(make_conninfo(bootstrapped, port=port)).replace("disable", "verify-full&sslrootcert=")
        said = run_cli("db", "push", "--workdir", "infra", f"--remote={url}{own}", "--dry-run")
        assert "Would push" in said
        with pytest.raises(AssertionError, match="certificate"):
            run_cli("db", "push", "--workdir", "infra", f"--remote={url}{other}", "--dry-run")

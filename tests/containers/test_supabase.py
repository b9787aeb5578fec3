"""Supabase's Postgres and PostgREST in containers: the migrations as they are, then all of tests/postgrest."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from asyouwere.local.migrations import migrate, read_migrations
from tests.containers.engine import (
    PASSWORD,
    SUPABASE_POSTGRES,
    postgres,
    postgrest,
    require_engine,
    tolerant,
    wait_until,
)
from tests.containers.suites import ROOT, run_suite
from tests.postgrest.conftest import SECRET
from tests.support.cluster import Cluster
from tests.support.postgrest import running_postgrest

pytestmark = tolerant

#: Sees everything; "postgres", which people log in as, is no superuser there.
SUPERUSER = "supabase_admin"
AUTH = ROOT / "tests" / "support" / "supabase_auth.sql"


@pytest.fixture(scope="module")
def supabase() -> Iterator[tuple[str, str]]:
    """The superuser's connection string and PostgREST's address."""
    require_engine()
    from testcontainers.core.network import Network

    with Network() as network, postgres(SUPABASE_POSTGRES, SUPERUSER, network) as dsn:
        with psycopg.connect(dsn, autocommit=True) as admin:
            # As `supabase start` does it: the image leaves this role without one.
            admin.execute(sql.SQL("alter role authenticator with password {}").format(sql.Literal(PASSWORD)))
            # As Supabase Auth does it when it starts; the bare image knows no caller behind today's PostgREST.
            admin.execute(AUTH.read_bytes())
        migrate(make_conninfo(dsn, user="postgres"), bootstrap=False)
        with postgrest(SECRET, network) as url:
            yield dsn, url


@pytest.mark.slow
def test_postgrest__before_supabases_postgres(supabase: tuple[str, str]) -> None:
    dsn, url = supabase
    summary = run_suite("tests/postgrest", **settings_for(url, dsn))
    assert " passed" in summary


@pytest.mark.slow
def test_migrations__a_second_time_change_nothing(supabase: tuple[str, str]) -> None:
    dsn, _ = supabase
    said: list[str] = []
    migrate(make_conninfo(dsn, user="postgres"), bootstrap=True, say=said.append)
    with psycopg.connect(dsn) as connection:
        owners = connection.execute(
            "select distinct pg_get_userbyid(relowner) from pg_class where relnamespace = 'asyouwere'::regnamespace"
        ).fetchall()
    assert owners == [("postgres",)]
    assert said == [f"up to date: {len(read_migrations())} migrations, nothing to do"]


def settings_for(url: str, dsn: str) -> dict[str, str]:
    """The variables by which tests/postgrest finds a server that runs already."""
    return {
        "ASYOUWERE_TEST_POSTGREST_URL": url,
        "ASYOUWERE_TEST_POSTGREST_DATABASE_URL": dsn,
        "ASYOUWERE_TEST_POSTGREST_SECRET": SECRET,
    }


def test_given_servers__are_what_the_tests_go_to(cluster: Cluster, empty_database: str) -> None:
    """What the containers rely on, without any: the same settings, other servers."""
    migrate(empty_database, bootstrap=True)
    name = str(conninfo_to_dict(empty_database)["dbname"])
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL("alter role authenticator with password {}").format(sql.Literal(cluster.password))
        )
    with running_postgrest(cluster.dsn_for(name, "authenticator", cluster.password), SECRET) as server:
        variables = settings_for(server.url, empty_database)
        summary = run_suite("tests/postgrest/test_tables.py", "-k", "counts or message", **variables)
    assert " passed" in summary
    with psycopg.connect(empty_database) as connection:
        (made,) = connection.execute("select count(*) from public.free_agent_sessions").fetchone() or (0,)
    assert made > 0  # they were here


class NeverReady:
    """As a container whose server does not start."""

    def get_logs(self) -> tuple[bytes, bytes]:
        return b"x" * 9000 + b"initdb: done", b"FATAL: no space left on device"


def test_wait_until__gives_up_with_the_end_of_the_log() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"(?s)Postgres does not answer.*initdb: done.*no space left"):
        wait_until(NeverReady(), lambda: False, "Postgres", seconds=0.01)
    wait_until(NeverReady(), lambda: True, "Postgres", seconds=0)


def test_require_engine__is_skipped_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYOUWERE_REQUIRE_DOCKER", "0")
    with pytest.raises(pytest.skip.Exception, match="ASYOUWERE_REQUIRE_DOCKER=0"):
        require_engine()

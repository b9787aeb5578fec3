"""The schedule with a real pg_cron (Debian's, for Postgres 15). tests/sql/test_schedule.py tries what the job does."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from asyouwere.local.migrations import migrate
from asyouwere.local.postgres import EmbeddedPostgres
from tests.support.cluster import debian_binaries, new_folder

PG_CRON = Path("/usr/lib/postgresql/15/lib/pg_cron.so")


def test_migrate__where_pg_cron_is_makes_the_job() -> None:
    if not PG_CRON.exists():
        pytest.skip("needs Debian's package postgresql-15-cron")
    folder = new_folder()
    settings = {"shared_preload_libraries": "pg_cron", "cron.use_background_workers": "on"}
    try:
        with (
            EmbeddedPostgres(folder, binaries=debian_binaries(15), settings=settings, durable=False) as postgres,
            psycopg.connect(postgres.dsn, autocommit=True) as admin,
        ):
            admin.execute("create extension pg_cron")
            migrate(postgres.dsn, bootstrap=True)
            jobs = admin.execute("select jobname, schedule, command, username, active from cron.job").fetchall()
            assert jobs == [("asyouwere clean-up", "*/5 * * * *", "call asyouwere.clean_up()", "postgres", True)]
            # later, and again
            assert admin.execute("select cron.unschedule('asyouwere clean-up')").fetchall() == [(True,)]
            for _ in range(2):
                assert admin.execute("select asyouwere.schedule_cleanup('* * * * *')").fetchall() == [("on",)]
            assert admin.execute("select schedule from cron.job").fetchall() == [("* * * * *",)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""The schedule inside the database, against a stand-in for pg_cron's two functions."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.database import Db

STAND_IN = """
    create schema cron;
    create table cron.job (
        jobid bigserial primary key, jobname text, schedule text, command text, username text default current_user,
        unique (jobname, username)
    );
    create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql as $$
        insert into cron.job (jobname, schedule, command) values ($1, $2, $3)
        on conflict (jobname, username) do update set schedule = excluded.schedule, command = excluded.command
        returning jobid
    $$;
    create function cron.unschedule(job_name text) returns boolean language sql as $$
        delete from cron.job where jobname = $1 returning true
    $$
"""


def test_schedule_cleanup__without_pg_cron_does_nothing(db: Db) -> None:
    assert db.value("select asyouwere.schedule_cleanup()") == "off: this database has no pg_cron"


def test_schedule_cleanup__where_pg_cron_is_makes_one_job(db: Db) -> None:
    db.superuser.execute(STAND_IN.encode())
    assert db.value("select asyouwere.schedule_cleanup()") == "on"
    assert db.value("select asyouwere.schedule_cleanup('*/10 * * * *')") == "on"
    (job,) = db.sql("select jobname, schedule, command from cron.job")
    assert job == {"jobname": "asyouwere clean-up", "schedule": "*/10 * * * *", "command": "call asyouwere.clean_up()"}
    db.superuser.execute(str(job["command"]).encode())  # and what it says can be done
    assert db.value("select cron.unschedule('asyouwere clean-up')") is True


def test_schedule_cleanup__without_the_right_says_so(db: Db) -> None:
    db.superuser.execute(STAND_IN.encode())
    db.superuser.execute("grant execute on function asyouwere.schedule_cleanup to authenticated")
    with db.acting_as("ada"):
        # has not even usage of the schema, so does not see the function
        assert str(db.value("select asyouwere.schedule_cleanup()")).startswith("off: this ")


def test_clean_up__goes_on_till_all_is_done_in_transactions_of_their_own(db: Db) -> None:
    for number in range(12):
        session_id = db.session("ada", name=f"{number}")
        with db.acting_as("ada"):
            for value in range(4):
                db.save(session_id, {"n": value})
    idle = db.session("ada", kind="chat")
    db.superuser.execute("update asyouwere.settings set keep_snapshots = 1, keep_for = '0'")
    db.superuser.execute(
        "update public.free_agent_sessions set last_activity_at = now() - interval '1 day' where id = %s", (idle,)
    )
    db.superuser.execute("call asyouwere.clean_up()")
    assert db.value("select count(*) from session_snapshots") == 12
    assert db.value("select status from free_agent_sessions where id = %s", (idle,)) == "expired"
    runs = db.sql("select kind, done, xmin::text as transaction from asyouwere.cleanup_runs order by id")
    assert [run["kind"] for run in runs][-1] == "sessions"
    assert {run["kind"] for run in runs} == {"snapshots", "sessions"}
    assert len({run["transaction"] for run in runs}) == len(runs)


def test_clean_up__with_no_time_still_does_a_batch_of_each(db: Db) -> None:
    db.superuser.execute("call asyouwere.clean_up(0)")
    assert [row["kind"] for row in db.sql("select kind from asyouwere.cleanup_runs order by id")] == ["snapshots", "sessions"]


def test_clean_up__leaves_the_callers_search_path_alone(db: Db) -> None:
    db.superuser.execute("set search_path = asyouwere, public")
    db.superuser.execute("call asyouwere.clean_up()")
    assert db.value("select current_setting('search_path')") == "asyouwere, public"


@pytest.mark.parametrize("who", ["ada", None, "service"])
def test_clean_up_and_its_schedule__are_the_owners(db: Db, who: str | None) -> None:
    for statement in ("call asyouwere.clean_up()", "select asyouwere.schedule_cleanup()", "select asyouwere.enable_realtime()"):
        with db.acting_as(who), pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.sql(statement)

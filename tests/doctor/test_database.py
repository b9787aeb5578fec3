"""asyouwere doctor on a database: content with ours, and each check fails when what it looks at is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from asyouwere.local.doctor import Finding, examine
from asyouwere.local.doctor.database import check_clock
from asyouwere.local.migrations import read_migrations
from asyouwere.local.postgres import EmbeddedPostgres
from tests.functions.pooler import pooler
from tests.sql.test_schedule import STAND_IN as PG_CRON
from tests.support.cluster import new_folder, wanted_binaries
from tests.support.database import Db

REALTIME = (Path(__file__).resolve().parents[1] / "support" / "realtime.sql").read_text()
RAN = "select public.cleanup_old_snapshots(); select public.expire_idle_sessions()"
NOT_DURABLE = {"durability"}  # the tests' server is not, on purpose


def findings(dsn: str) -> dict[str, Finding]:
    found = list(examine(dsn, {}))
    assert len({finding.check for finding in found}) == len(found)
    return {finding.check: finding for finding in found}


def troubles(dsn: str) -> dict[str, str]:
    """What is not ok: check -> level. Durability apart."""
    return {
        check: finding.level
        for check, finding in findings(dsn).items()
        if finding.level in ("warn", "fail") and check not in NOT_DURABLE
    }


@pytest.fixture
def healthy(db: Db) -> Db:
    db.superuser.execute(RAN.encode())
    return db


def test_doctor__is_content_with_a_healthy_database(healthy: Db) -> None:
    found = findings(healthy.dsn)
    assert troubles(healthy.dsn) == {}
    assert list(found) == [
        "connection", "encryption", "version", "durability", "settings", "migrations", "roles", "exposed schemas", "default rights",
        "logins", "timeouts", "clock", "schedule", "clean-up", "realtime", "extensions", "functions", "relations", "columns", "constraints",
        "grants", "rls", "policies", "triggers", "indexes", "comments", "owners", "pooler", "keys", "rest",
        "https functions",
    ]  # fmt: skip
    skipped = {check for check, finding in found.items() if finding.level == "skip"}
    assert skipped == {"exposed schemas", "keys", "rest", "https functions"}
    assert found["durability"].message == "fsync is off; full_page_writes is off; synchronous_commit is off"


BREAKAGES = {
    "a migration is missing": (
        "delete from supabase_migrations.schema_migrations where version = (select max(version) from supabase_migrations.schema_migrations)",
        "migrations", "fail", f"1 of {len(read_migrations())} to be applied",
    ),
    "another baseline": (
        "update supabase_migrations.schema_migrations set statements[3] = 'create table x ()' where version = '0001'",
        "migrations", "fail", "is another here than the one this database had",
    ),
    "a newer asyouwere": (
        "insert into supabase_migrations.schema_migrations (version, name) values ('0999', 'x')", "migrations", "fail", "newer",
    ),
    "a body was changed": (
        "create or replace function asyouwere.require_readable(p_session_id uuid) returns void language plpgsql stable "
        "security definer set search_path = pg_catalog, pg_temp as $$ begin end $$",
        "functions", "fail", "asyouwere.require_readable(uuid): body differs",
    ),
    "a definer is an invoker": (
        "alter function asyouwere.role_of security invoker", "functions", "fail", "asyouwere.role_of(uuid,uuid,text): definer differs",
    ),
    "a search_path is gone": (
        "alter function asyouwere.role_of reset search_path", "functions", "fail", "asyouwere.role_of(uuid,uuid,text): settings differs",
    ),
    "a function is gone": (
        "drop function public.delete_my_data", "functions", "fail", "public.delete_my_data() is missing",
    ),
    "a bound body was changed": (
        "create or replace function asyouwere.path_depth(p_path text) returns int language sql immutable strict "
        "parallel safe return 1",
        "functions", "fail", "asyouwere.path_depth(text): body differs",
    ),
    "a function is parallel unsafe": (
        "alter function asyouwere.path_end parallel unsafe", "functions", "fail",
        "asyouwere.path_end(text): parallel differs: u, not s",
    ),
    "a function too many": (
        "create function asyouwere.extra() returns int language sql return 1", "functions", "fail", "asyouwere.extra() is none of asyouwere's",
    ),
    "a grant too many": (
        "grant insert on public.session_snapshots to authenticated", "grants", "fail",
        "public.session_snapshots: authenticated INSERT too much",
    ),
    "a column's grant too many": (
        "grant update (size_bytes) on public.free_agent_sessions to authenticated", "grants", "fail",
        "public.free_agent_sessions: authenticated UPDATE size_bytes too much",
    ),
    "a grant is missing": (
        "revoke execute on function public.list_sessions from authenticated", "grants", "fail",
        "authenticated is missing",
    ),
    "execute for everybody": (
        "grant execute on function asyouwere.save_snapshot to public", "grants", "fail", "public too much",
    ),
    "row level security is off": (
        "alter table asyouwere.parts disable row level security", "rls", "fail", "asyouwere.parts: row level security is off",
    ),
    "row level security is forced": (
        "alter table asyouwere.parts force row level security", "rls", "fail", "forced",
    ),
    "a policy is gone": (
        'drop policy "Whoever reads a session reads its parts" on asyouwere.parts', "policies", "fail", "is missing",
    ),
    "a policy is open": (
        'alter policy "Whoever reads a session reads its snapshots" on public.session_snapshots using (true)',
        "policies", "fail", "using differs",
    ),
    "a policy too many": (
        'create policy "Everybody" on public.free_agent_sessions for select to anon using (true)',
        "policies", "fail", "Everybody is none of asyouwere's",
    ),
    "a trigger is off": (
        "alter table public.free_agent_sessions disable trigger leave_to_sweep", "triggers", "fail", "leave_to_sweep: enabled differs",
    ),
    "a trigger fires less often": (
        "create or replace trigger check_member before insert on public.session_members "
        "for each row execute function asyouwere.check_member()",
        "triggers", "fail", "public.session_members: check_member: definition differs",
    ),
    "a column is of another type": (
        "alter table asyouwere.cleanup_runs alter column took_ms type numeric(9, 1)", "columns", "fail",
        "asyouwere.cleanup_runs.took_ms: type differs: numeric(9,1), not numeric(14,1)",
    ),
    "a column may be null": (
        "alter table asyouwere.save_keys alter column merged drop not null", "columns", "fail",
        "asyouwere.save_keys.merged: not null differs: false, not true",
    ),
    "a default is gone": (
        "alter table asyouwere.parts alter column item drop default", "columns", "fail",
        "asyouwere.parts.item: default differs: none, not '-1'::integer",
    ),
    "a column too many": (
        "alter table asyouwere.save_keys add column extra int", "columns", "fail",
        "asyouwere.save_keys.extra is none of asyouwere's",
    ),
    "a type's field too many": (
        "alter type asyouwere.snapshot_header add attribute extra int", "columns", "fail", "asyouwere.snapshot_header.extra is none of asyouwere's",
    ),
    "a type too many": ("create domain asyouwere.extra as int", "relations", "fail", "asyouwere.extra is none of asyouwere's"),
    "a constraint is gone": (
        "alter table asyouwere.settings drop constraint settings_keep_snapshots_check", "constraints", "fail",
        "asyouwere.settings: settings_keep_snapshots_check is missing",
    ),
    "a constraint allows more": (
        "alter table public.session_members drop constraint session_members_role_check, "
        "add constraint session_members_role_check check (role <> '')",
        "constraints", "fail", "public.session_members: session_members_role_check: definition differs",
    ),
    "a constraint too many": (
        "alter table public.session_members add constraint extra check (role <> '')", "constraints", "fail",
        "public.session_members: extra is none of asyouwere's",
    ),
    "an index is of other columns": (
        "drop index public.session_members_by_user; "
        "create index session_members_by_user on public.session_members (user_id)",
        "indexes", "fail", "public.session_members_by_user: definition differs",
    ),
    "an index lost its condition": (
        "drop index public.session_snapshots_by_member; "
        "create index session_snapshots_by_member on public.session_snapshots (created_by)",
        "indexes", "fail", "public.session_snapshots_by_member: definition differs",
    ),
    "a view shows more": (
        "create or replace view asyouwere.live_parts with (security_invoker = true) as select * from asyouwere.parts",
        "relations", "fail", "asyouwere.live_parts: definition differs",
    ),
    "a view reads as its owner": (
        "alter view asyouwere.described_sessions set (security_invoker = false)", "relations", "fail",
        "asyouwere.described_sessions: options differs: security_invoker=false, not security_invoker=true",
    ),
    "a table forgets in a crash": (
        "alter table asyouwere.save_keys set unlogged", "relations", "fail",
        "asyouwere.save_keys: persistence differs: u, not p",
    ),
    "a comment was changed": (
        "comment on column asyouwere.parts.until is 'something'", "comments", "warn",
        "asyouwere.parts.until: comment differs",
    ),
    "a comment is gone": (
        "comment on function asyouwere.new_id is null", "comments", "warn", "asyouwere.new_id(): comment differs",
    ),
    "a schema may be filled": (
        "grant create on schema asyouwere to authenticated", "grants", "fail", "asyouwere: authenticated CREATE too much",
    ),
    "an index is gone": ("drop index asyouwere.parts_dead", "indexes", "fail", "asyouwere.parts_dead is missing"),
    "a view is gone": ("drop view public.session_messages cascade", "relations", "fail", "session_messages is missing"),
    "an open default": (
        "alter default privileges in schema asyouwere grant select on tables to anon", "default rights", "warn", "anon",
    ),
    "the clean-up is late": (
        "update asyouwere.cleanup_runs set ran_at = now() - interval '1 hour' where kind = 'sessions'",
        "schedule", "warn", "60 minutes ago",
    ),
    "a session can't be cleaned up": (
        "select asyouwere.note_failure(7, 'snapshots', '22008')", "clean-up", "warn",
        "session 7 (snapshots, SQLSTATE 22008)",
    ),
    "a person's data can't be erased": (
        "insert into asyouwere.erasures (user_id, failed_at, sql_state) "
        "values ('00000000-0000-4000-8000-000000000001', now(), '23503')", "clean-up", "warn",
        "erasing user 00000000-0000-4000-8000-000000000001 (SQLSTATE 23503)",
    ),
    "the clean-up never ran": ("truncate asyouwere.cleanup_runs", "schedule", "warn", "never"),
    "realtime before its first connection": ("create schema realtime", "realtime", "warn", "realtime.send"),
    "realtime is there and not used": (REALTIME, "realtime", "warn", "does not send"),
    "realtime without a policy": (
        REALTIME + "; select asyouwere.enable_realtime(); "
        'drop policy "Only the database speaks on asyouwere\'s topics" on realtime.messages',
        "realtime", "fail", "missing",
    ),
    "pg_cron's job is off": (
        PG_CRON + "; alter table cron.job add active boolean default false; select asyouwere.schedule_cleanup()",
        "schedule", "fail", "not active",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BREAKAGES)
def test_doctor__finds_what_is_broken(healthy: Db, what: str) -> None:
    broken, check, level, says = BREAKAGES[what]
    healthy.superuser.execute(broken.encode())
    finding = findings(healthy.dsn)[check]
    assert (finding.level, finding.advice != "") == (level, True)
    assert says in finding.message
    others = set(troubles(healthy.dsn)) - {check}
    # what hangs together: a view takes its trigger and the embeds with it, a function its grants
    assert others <= {"a view is gone": {"triggers", "functions"}, "a function too many": {"grants"}}.get(what, set())


def test_doctor__says_that_realtime_and_the_schedule_are_on(healthy: Db) -> None:
    healthy.superuser.execute((REALTIME + PG_CRON).encode())
    healthy.superuser.execute("alter table cron.job add active boolean default true")
    assert [healthy.value(f"select asyouwere.{name}()") for name in ("enable_realtime", "schedule_cleanup")] == ["on", "on"]
    found = findings(healthy.dsn)
    assert (found["realtime"].level, found["realtime"].message) == ("ok", "each snapshot is announced to those who may read it")
    assert found["schedule"].message.endswith("pg_cron has the job")


def test_doctor__names_two_owners(healthy: Db) -> None:
    healthy.superuser.execute("alter table public.session_members owner to pg_database_owner")
    finding = findings(healthy.dsn)["owners"]
    assert finding.level == "fail"
    assert "pg_database_owner" in finding.message


def test_doctor__on_an_empty_database_says_to_migrate(empty_database: str) -> None:
    found = findings(empty_database)
    assert found["migrations"].level == "fail"
    assert "asyouwere migrate" in found["migrations"].advice
    for check in ("functions", "rls", "policies", "grants", "owners", "schedule"):
        assert (found[check].level, "not looked at" in found[check].message) == ("skip", True)


def test_doctor__without_a_right_to_look_says_so(healthy: Db) -> None:
    with psycopg.connect(healthy.api_dsn) as connection:
        connection.execute("select 1")
    found = findings(healthy.api_dsn)
    # as the functions' own login, of a deployment that is in order
    assert (found["migrations"].level, found["migrations"].message) == ("skip", "not looked at: authenticator may not")
    assert found["migrations"].advice.startswith("connect as the owner")
    assert {check for check, finding in found.items() if finding.level == "fail"} <= NOT_DURABLE
    assert found["functions"].level == "ok"  # the catalog is open to everybody


def test_doctor__changes_nothing(healthy: Db) -> None:
    count = "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables"
    healthy.superuser.execute("select pg_stat_force_next_flush()")
    before = healthy.value(count)
    findings(healthy.dsn)
    assert healthy.value(count) == before


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server of its own, for what belongs to the whole server: roles and durability."""
    with EmbeddedPostgres(new_folder(), binaries=wanted_binaries(), durable=True) as server:
        subprocess.run(
            [sys.executable, "-m", "asyouwere.local.cli", "migrate", "--bootstrap", "--logins", "--database-url", server.dsn],
            check=True, timeout=60,
        )
        yield server


SERVER_BREAKAGES = {
    "fsync": ("alter system set fsync = off", "alter system reset fsync", "durability", "fail", "fsync is off"),
    "synchronous_commit": (
        "alter system set synchronous_commit = off", "alter system reset synchronous_commit", "durability", "fail", "synchronous_commit",
    ),
    "synchronous_commit of a role": (
        "alter role authenticated set synchronous_commit = off", "alter role authenticated reset synchronous_commit",
        "durability", "fail", "authenticated",
    ),
    "a way of planning is off": (
        "alter system set enable_indexscan = off", "alter system reset enable_indexscan", "settings", "warn", "enable_indexscan is off",
    ),
    "everything is compiled": (
        "alter role authenticated set jit_above_cost = 10", "alter role authenticated reset jit_above_cost",
        "settings", "warn", "jit_above_cost is 10 for authenticated",
    ),
    "another isolation": (
        "alter database postgres set default_transaction_isolation = 'serializable'",
        "alter database postgres reset default_transaction_isolation",
        "settings", "warn", "default_transaction_isolation is serializable",
    ),
    "anon passes by": ("alter role anon bypassrls", "alter role anon nobypassrls", "roles", "fail", "anon passes"),
    "the service does not": (
        "alter role service_role nobypassrls", "alter role service_role bypassrls", "roles", "fail", "service_role does not",
    ),
    "the private schema is exposed": (
        "alter role authenticator set pgrst.db_schemas = 'public, asyouwere'", "alter role authenticator reset pgrst.db_schemas",
        "exposed schemas", "fail", "asyouwere",
    ),
    "public is not exposed": (
        "alter role authenticator set pgrst.db_schemas = 'api'", "alter role authenticator reset pgrst.db_schemas",
        "exposed schemas", "fail", "public",
    ),
    "a short timeout": (
        "alter role authenticated set statement_timeout = '500ms'", "alter role authenticated reset statement_timeout",
        "timeouts", "warn", "authenticated 500ms",
    ),
    "a short timeout of the whole database": (
        "alter database postgres set statement_timeout = '1s'", "alter database postgres reset statement_timeout",
        "timeouts", "warn", "every role 1s",
    ),
    "a login with powers": (
        "alter role asyouwere_api bypassrls", "alter role asyouwere_api nobypassrls", "logins", "fail", "asyouwere_api has powers",
    ),
    "a login that may act as another": (
        "grant service_role to asyouwere_api", "revoke service_role from asyouwere_api", "logins", "fail",
        "asyouwere_api may act as service_role",
    ),
    "a login that may not act as users": (
        "revoke authenticated from asyouwere_api", "grant authenticated to asyouwere_api", "logins", "fail",
        "asyouwere_api may not act as authenticated",
    ),
    "a short timeout without a unit": (
        "alter role service_role set statement_timeout = 900", "alter role service_role reset statement_timeout",
        "timeouts", "warn", "service_role 900",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SERVER_BREAKAGES)
def test_doctor__finds_what_is_broken_of_the_server(own_server: EmbeddedPostgres, what: str) -> None:
    broken, repair, check, level, says = SERVER_BREAKAGES[what]
    assert findings(own_server.dsn)[check].level in ("ok", "skip")
    with psycopg.connect(own_server.dsn, autocommit=True) as admin:
        admin.execute(broken.encode())
        admin.execute("select pg_reload_conf(), pg_sleep(0.3)")
        try:
            finding = findings(own_server.dsn)[check]
        finally:
            admin.execute(repair.encode())
            admin.execute("select pg_reload_conf(), pg_sleep(0.3)")
    assert finding.level == level
    assert says in finding.message
    assert finding.advice


def test_doctor__says_ok_to_supabases_own_timeouts_and_schemas(own_server: EmbeddedPostgres) -> None:
    with psycopg.connect(own_server.dsn, autocommit=True) as admin:
        admin.execute("alter role anon set statement_timeout = '3s'; alter role authenticated set statement_timeout = '8s'")
        admin.execute("alter role authenticator set pgrst.db_schemas = 'public, graphql_public'")
    found = findings(own_server.dsn)
    assert (found["timeouts"].level, found["exposed schemas"].level) == ("ok", "ok")


@pytest.mark.parametrize(("seconds", "level"), [(0, "ok"), (10, "warn"), (-10, "warn"), (40, "fail"), (-3600, "fail")])
def test_clock__off_by_seconds(healthy: Db, monkeypatch: pytest.MonkeyPatch, seconds: int, level: str) -> None:
    from datetime import UTC, datetime, timedelta

    from asyouwere.local.doctor import database

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(seconds=seconds)

    monkeypatch.setattr(database, "datetime", Clock)
    with psycopg.connect(healthy.dsn, autocommit=True) as connection:
        (finding,) = check_clock(connection)
    assert finding.level == level


def test_pooler__in_transaction_mode_is_recognized(healthy: Db) -> None:
    assert findings(healthy.dsn)["pooler"].message.startswith("none")
    with pooler(healthy.dsn, server_connections=1) as dsn:
        found = findings(dsn)
    assert found["pooler"].message.startswith("a transaction-mode pooler")
    assert found["grants"].level == "ok"


# -- the command -------------------------------------------------------------------------------------------------


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASYOUWERE_")}
    return subprocess.run(
        [sys.executable, "-m", "asyouwere.local.cli", "doctor", *arguments], env={**kept, **environment}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def test_command__prints_a_line_a_check_and_ends_with_1_if_one_fails(healthy: Db) -> None:
    done = run("--database-url", healthy.dsn)
    assert done.returncode == 1, "the tests' server is not durable"
    lines = done.stdout.splitlines()
    assert "ok    migrations        all" in done.stdout
    assert [line for line in lines if line.startswith("fail")] == [
        "fail  durability        fsync is off; full_page_writes is off; synchronous_commit is off"
    ]
    assert any(line.strip().startswith("→ turn it on") for line in lines)


def test_command__ends_with_0_where_all_is_well(own_server: EmbeddedPostgres) -> None:
    with psycopg.connect(own_server.dsn, autocommit=True) as admin:
        admin.execute(RAN.encode())
    done = run("--json", ASYOUWERE_DATABASE_URL=own_server.dsn)
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert {frozenset(finding) for finding in found} == {frozenset({"check", "level", "message", "advice"})}
    assert {finding["level"] for finding in found} == {"ok", "skip"}
    assert not [finding for finding in found if finding["level"] == "ok" and "not looked at" in finding["message"]]


def test_command__never_prints_a_secret(healthy: Db) -> None:
    refused = healthy.cluster.dsn_for(healthy.name, "postgres", "wrong-pass-word")
    secret = "planted-jwt-secret-of-enough-length-0123456789"
    for dsn, options in ((healthy.dsn, ()), (refused, ()), ("postgresql://u:planted-pw@127.0.0.1:1/x", ("--json",))):
        done = run("--database-url", dsn, *options, ASYOUWERE_JWT_SECRET=secret)
        everything = done.stdout + done.stderr
        assert "Traceback" not in everything
        for hidden in (secret, "wrong-pass-word", "planted-pw", healthy.cluster.password):
            assert hidden not in everything
    assert '"connection"' in everything
    assert done.returncode == 1


def test_command__needs_something_to_look_at(tmp_path: Path) -> None:
    done = run(ASYOUWERE_DATA=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "nothing runs" in line
    assert "say what to look at" in line

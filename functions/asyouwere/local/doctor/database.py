"""Checks of the database as a server: version, durability, migrations, roles, clock, schedule, realtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg

from asyouwere.local.doctor.finding import Finding, some
from asyouwere.local.errors import MigrationRefused
from asyouwere.local.migrations import (
    CHANGED,
    changed_migrations,
    pending_migrations,
    read_history,
    read_migrations,
)

Connection = psycopg.Connection[Any]

OLDEST, NEWEST = 15, 18
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 5.0, 30.0  # tokens have 30 s of leeway
LATE_MINUTES = 20  # the schedule is every 5
LEAST_TIMEOUT_MS = 3000
API_ROLES = "array['anon', 'authenticated', 'service_role', 'authenticator', 'asyouwere_api', 'asyouwere_cleanup']"
JIT_ABOVE_COST = 100_000  # Postgres' own


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


def check_version(connection: Connection) -> Iterator[Finding]:
    major = connection.info.server_version // 10000
    if major < OLDEST:
        yield Finding("version", "fail", f"Postgres {major}", f"upgrade to {OLDEST} or newer")
    elif major > NEWEST:
        yield Finding("version", "warn", f"Postgres {major}; tested up to {NEWEST}", "look for a newer asyouwere")
    else:
        yield Finding("version", "ok", f"Postgres {major}")


def check_durability(connection: Connection) -> Iterator[Finding]:
    names = "('fsync', 'full_page_writes', 'synchronous_commit')"
    off = [
        name
        for name, value in rows(connection, f"select name, setting from pg_catalog.pg_settings where name in {names}")
        if value == "off"
    ]
    query = """
        select coalesce(r.rolname, 'every role') from pg_catalog.pg_db_role_setting s
        left join pg_catalog.pg_roles r on r.oid = s.setrole
        where s.setconfig && array['synchronous_commit=off'] order by 1
    """
    roles = [name for (name,) in rows(connection, query)]
    if off or roles:
        what = [f"{name} is off" for name in off] + [f"synchronous_commit is off for {some(roles)}"] * bool(roles)
        yield Finding(
            "durability",
            "fail",
            "; ".join(what),
            "turn it on: an answered save may be lost when the server crashes",
        )
    else:
        yield Finding("durability", "ok", "an answered save is on disk")


def check_planning(connection: Connection) -> Iterator[Finding]:
    """Settings, of the server or of one of its databases and roles, that make short queries slow or saves fail."""
    query = f"""
        with given as (
            select name, setting, '' as place from pg_catalog.pg_settings where source <> 'default'
            union all
            select split_part(c, '=', 1), substr(c, strpos(c, '=') + 1),
                concat(' for ', coalesce(r.rolname, 'every role'), ' in ' || d.datname)
            from pg_catalog.pg_db_role_setting s
            left join pg_catalog.pg_roles r on r.oid = s.setrole
            left join pg_catalog.pg_database d on d.oid = s.setdatabase, unnest(s.setconfig) c
            where s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
        )
        select name || ' is ' || setting || place from given
        where name ~ '^enable_(index(only)?|bitmap|seq)scan$|^enable_(nestloop|sort)$' and setting = 'off'
            or case when name = 'jit_above_cost' then setting::float between 0 and {JIT_ABOVE_COST - 1} end
            or name = 'plan_cache_mode' and setting <> 'auto'
            or name = 'default_transaction_isolation' and setting <> 'read committed'
            or name = 'row_security' and setting = 'off'
        order by 1
    """
    if found := [text for (text,) in rows(connection, query)]:
        yield Finding(
            "settings", "warn", some(found), "set them back: calls become slow, or are refused, for no gain"
        )
    else:
        yield Finding("settings", "ok", "queries are planned and isolated as Postgres does by itself")


def check_migrations(connection: Connection) -> Iterator[Finding]:
    files = read_migrations()
    try:
        pending = pending_migrations(read_history(connection), files)
    except MigrationRefused as exc:
        yield Finding("migrations", "fail", str(exc), "install the asyouwere that this database was migrated with")
        return
    if changed := changed_migrations(connection, files):
        yield Finding("migrations", "fail", *f"{changed[0].label} {CHANGED}".split(": ", 1))
    elif pending:
        yield Finding(
            "migrations",
            "fail",
            f"{len(pending)} of {len(files)} to be applied: {some([m.label for m in pending])}",
            "asyouwere migrate --database-url … (or supabase db push)",
        )
    else:
        yield Finding("migrations", "ok", f"all {len(files)} applied")


def check_roles(connection: Connection) -> Iterator[Finding]:
    query = """
        select rolname, rolsuper, rolbypassrls from pg_catalog.pg_roles
        where rolname in ('anon', 'authenticated', 'service_role', 'authenticator')
    """
    there = {name: (superuser, bypass) for name, superuser, bypass in rows(connection, query)}
    wrong = [f"there is no role {name}" for name in ("anon", "authenticated", "service_role") if name not in there]
    wrong += [
        f"{name} passes row level security by"
        for name in ("anon", "authenticated", "authenticator")
        if any(there.get(name, ()))
    ]
    if not any(there.get("service_role", (True, True))):
        wrong.append("service_role does not pass row level security by")
    if wrong:
        yield Finding(
            "roles", "fail", some(wrong), "asyouwere migrate --bootstrap makes them; alter role … [no]bypassrls"
        )
    else:
        yield Finding("roles", "ok", "anon, authenticated and service_role are as on Supabase")


def check_exposed(connection: Connection) -> Iterator[Finding]:
    """PostgREST's own settings, where they are kept in the database (on Supabase they are)."""
    query = """
        select split_part(c, '=', 2) from pg_catalog.pg_db_role_setting s
        join pg_catalog.pg_roles r on r.oid = s.setrole, unnest(s.setconfig) c
        where r.rolname = 'authenticator' and c like 'pgrst.db_schemas=%'
    """
    schemas = [name.strip() for (text,) in rows(connection, query) for name in text.split(",")]
    if "asyouwere" in schemas:
        yield Finding(
            "exposed schemas",
            "fail",
            "the API exposes the schema asyouwere",
            "take it out of the API's exposed schemas",
        )
    elif schemas and "public" not in schemas:
        yield Finding(
            "exposed schemas",
            "fail",
            "the API does not expose public",
            "add public to the API's exposed schemas",
        )
    elif schemas:
        yield Finding("exposed schemas", "ok", some(schemas))
    else:
        yield Finding(
            "exposed schemas", "skip", "not set in the database; the check of rest asks the API (--supabase-url)"
        )


def check_defaults(connection: Connection) -> Iterator[Finding]:
    """What every object somebody makes in the private schema would be open to."""
    query = """
        select distinct coalesce(r.rolname, 'everybody') from pg_catalog.pg_default_acl d
        cross join lateral pg_catalog.aclexplode(d.defaclacl) a
        left join pg_catalog.pg_roles r on r.oid = a.grantee
        where (d.defaclnamespace = to_regnamespace('asyouwere') or d.defaclnamespace = 0)
            and coalesce(r.rolname, 'everybody') in ('anon', 'authenticated', 'service_role', 'everybody')
            and d.defaclobjtype in ('r', 'S')
    """
    if open_to := sorted(name for (name,) in rows(connection, query)):
        yield Finding(
            "default rights",
            "warn",
            f"new tables in asyouwere are open to {some(open_to)}",
            "alter default privileges in schema asyouwere revoke …: new tables would be theirs for a moment",
        )
    else:
        yield Finding("default rights", "ok", "nothing new in asyouwere is open to the API's roles")


def check_timeouts(connection: Connection) -> Iterator[Finding]:
    """statement_timeout of the API's roles, of the functions' logins, and of everybody where they have none."""
    query = f"""
        select coalesce(r.rolname, 'every role'), t.value, 1000 * extract(epoch from
            case when t.value ~ '^[0-9]+$' then t.value || 'ms' else t.value end::interval)
        from pg_catalog.pg_db_role_setting s
        left join pg_catalog.pg_roles r on r.oid = s.setrole
        cross join unnest(s.setconfig) c
        cross join lateral (select split_part(c, '=', 2)) t (value)
        where (r.rolname = any ({API_ROLES}) or s.setrole = 0) and c like 'statement\\_timeout=%'
            and s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
        order by 1
    """
    # the clean-up's calls last 50 ms, a save of a megabyte some hundred
    short = [
        f"{role} {value}"
        for role, value, ms in rows(connection, query)
        if 0 < ms < (1000 if role == "anon" else LEAST_TIMEOUT_MS)
    ]
    if short:
        yield Finding(
            "timeouts",
            "warn",
            f"statement_timeout is short: {some(short)}",
            "large saves will be cut off: allow 3 s or more",
        )
    else:
        yield Finding("timeouts", "ok", "statement_timeout leaves room for every call")


def check_logins(connection: Connection) -> Iterator[Finding]:
    """The two logins of sql/logins.sql, where they are: neither can more than it is for."""
    query = """
        select r.rolname, r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication, array(
            select g.rolname::text from pg_catalog.pg_auth_members m join pg_catalog.pg_roles g on g.oid = m.roleid
            where m.member = r.oid order by 1)
        from pg_catalog.pg_roles r where r.rolname in ('asyouwere_api', 'asyouwere_cleanup') order by 1
    """
    there = {name: (powers, roles) for name, powers, roles in rows(connection, query)}
    wrong = []
    for name, (powers, roles) in there.items():
        wanted = ["anon", "authenticated"] if name == "asyouwere_api" else ["service_role"]
        wrong += [f"{name} has powers of its own"] if powers else []
        wrong += [f"{name} may act as {role}" for role in roles if role not in wanted]
        wrong += [f"{name} may not act as {role}" for role in wanted if role not in roles]
    if wrong:
        advice = "revoke … from …; alter role … nosuperuser nobypassrls nocreaterole; `asyouwere migrate --logins`"
        yield Finding("logins", "fail", some(wrong), advice)
    elif there:
        yield Finding("logins", "ok", f"{some(sorted(there))}: no more than they are for")
    else:
        yield Finding("logins", "ok", "none of ours: good for PostgREST; `asyouwere logins` makes them")


def check_clock(connection: Connection) -> Iterator[Finding]:
    best, off = float("inf"), 0.0
    for _ in range(3):
        before, started = datetime.now(UTC), time.monotonic()
        ((theirs,),) = rows(connection, "select pg_catalog.clock_timestamp()")
        took = time.monotonic() - started
        if took < best:
            best, off = took, (theirs - before).total_seconds() - took / 2
    text = f"the database is {abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} this machine"
    if abs(off) > CLOCK_FAIL_SECONDS:
        yield Finding(
            "clock",
            "fail",
            text,
            "set the clocks (NTP): tokens of the one are not yet, or no longer, valid for the other",
        )
    elif abs(off) > CLOCK_WARN_SECONDS:
        yield Finding("clock", "warn", text, "set the clocks (NTP); over 30 s tokens are refused")
    else:
        yield Finding("clock", "ok", "the database and this machine agree")


def check_schedule(connection: Connection) -> Iterator[Finding]:
    if rows(connection, "select to_regclass('asyouwere.cleanup_runs')") == [(None,)]:
        yield Finding("schedule", "skip", "not looked at: asyouwere is not in this database")
        return
    jobs = "none in the database"
    pg_cron = rows(connection, "select to_regclass('cron.job')") != [(None,)]
    if pg_cron:
        found = rows(connection, "select schedule, active from cron.job where command like '%asyouwere.clean_up%'")
        jobs = f"pg_cron has {'the job' if found else 'no job'}"
        if found and not any(active for _, active in found):
            yield Finding("schedule", "fail", "pg_cron's job is not active", "select asyouwere.schedule_cleanup()")
            return
    enable = (
        "select asyouwere.schedule_cleanup()"
        if pg_cron
        else "have a scheduler call cleanup-old-snapshots, or enable pg_cron"
    )
    ((minutes,),) = rows(
        connection,
        "select extract(epoch from now() - least(max(ran_at) filter (where kind = 'snapshots'), "
        "max(ran_at) filter (where kind = 'sessions'))) / 60 from asyouwere.cleanup_runs",
    )
    if minutes is None:
        yield Finding("schedule", "warn", f"clean-up and expiry never ran both; {jobs}", enable)
    elif minutes > LATE_MINUTES:
        yield Finding(
            "schedule",
            "warn",
            f"clean-up or expiry ran last {minutes:.0f} minutes ago; {jobs}",
            f"see why it stopped, or: {enable}",
        )
    else:
        yield Finding("schedule", "ok", f"clean-up and expiry ran within {max(1, round(minutes))} minutes; {jobs}")


def check_cleanup(connection: Connection) -> Iterator[Finding]:
    """Sessions and people that the clean-up could not do something for: it passes them by and tries again."""
    if rows(connection, "select to_regclass('asyouwere.cleanup_failures')") == [(None,)]:
        return
    failed = rows(
        connection,
        "select 'session ' || session || ' (' || kind || ', SQLSTATE ' || sql_state || ')' "
        "from asyouwere.cleanup_failures order by session, kind limit 1000",
    ) + rows(
        connection,
        "select 'erasing ' || coalesce('session ' || session_id, 'user ' || user_id) "
        "|| ' (SQLSTATE ' || sql_state || ')' "
        "from asyouwere.erasures where failed_at is not null order by failed_at limit 1000",
    )
    if failed:
        yield Finding(
            "clean-up",
            "warn",
            f"failed for {some([name for (name,) in failed])}",
            "all others are cleaned up; internal_id names sessions in free_agent_sessions",
        )
    else:
        yield Finding("clean-up", "ok", "nothing was passed by")


def check_realtime(connection: Connection) -> Iterator[Finding]:
    if rows(connection, "select to_regprocedure('realtime.send(jsonb, text, text, boolean)')") == [(None,)]:
        # Supabase makes it with the first connection to Realtime, which may come long after the migrations.
        if rows(connection, "select to_regnamespace('realtime')") == [(None,)]:
            yield Finding("realtime", "ok", "not in this database; clients poll")
        else:
            yield Finding(
                "realtime",
                "warn",
                "the schema is there, but not realtime.send, so that asyouwere does not send",
                "connect to Realtime once (on Supabase: its inspector), then select asyouwere.enable_realtime()",
            )
        return
    ((triggers, enabled),) = rows(
        connection,
        "select count(*), count(*) filter (where tgenabled = 'O') from pg_catalog.pg_trigger "
        "where tgname = 'announce_snapshots'",
    )
    ((policies, restrictive),) = rows(
        connection,
        "select count(*), count(*) filter (where not polpermissive) from pg_catalog.pg_policy "
        "where polrelid = to_regclass('realtime.messages') and polname in ("
        "'Whoever reads a session hears of its snapshots', 'Only the database speaks on asyouwere''s topics')",
    )
    if not triggers:
        yield Finding("realtime", "warn", "there, but asyouwere does not send", "select asyouwere.enable_realtime()")
    elif not enabled or (policies, restrictive) != (2, 1):
        yield Finding(
            "realtime",
            "fail",
            "asyouwere sends, but its trigger is disabled or a policy on realtime.messages is missing",
            "select asyouwere.enable_realtime()",
        )
    else:
        yield Finding("realtime", "ok", "each snapshot is announced to those who may read it")


def check_extensions(connection: Connection) -> Iterator[Finding]:
    query = """
        select name, installed_version is not null from pg_catalog.pg_available_extensions
        where name = 'pg_cron'
    """
    there = dict(rows(connection, query))
    if there.get("pg_cron") is False:
        yield Finding("extensions", "ok", "none needed; pg_cron could be enabled and keep the schedule")
    else:
        yield Finding("extensions", "ok", "none needed" + ("; pg_cron is there" if there else ""))


DATABASE_CHECKS: tuple[Callable[[Connection], Iterator[Finding]], ...] = (
    check_version,
    check_durability,
    check_planning,
    check_migrations,
    check_roles,
    check_exposed,
    check_defaults,
    check_logins,
    check_timeouts,
    check_clock,
    check_schedule,
    check_cleanup,
    check_realtime,
    check_extensions,
)

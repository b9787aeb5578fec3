"""Each lint of tests/sql_lints finds nothing in our schema, finds an offender, and is content once it is repaired."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.database import Db, Row

FOLDER = Path(__file__).resolve().parents[1] / "sql_lints"
LINTS = sorted(path.stem for path in FOLDER.glob("*.sql"))

# lint: (what offends, how it is found, what repairs it)
OFFENDERS: dict[str, tuple[str, Row, str]] = {
    "function_without_search_path": (
        "create function public.bad() returns int language sql as 'select 1'",
        {"function": "bad()"},
        "alter function public.bad() set search_path = pg_catalog, pg_temp",
    ),
    "planner_setting_with_jit": (
        "create function asyouwere.bad() returns int language sql set enable_sort = off as 'select 1'",
        {"function": "asyouwere.bad()"},
        "alter function asyouwere.bad() set jit = off",
    ),
    "search_path_with_pg_temp_first": (
        "create function asyouwere.bad() returns int language sql set search_path = '' as 'select 1'",
        {"function": "asyouwere.bad()", "setting": 'search_path=""'},
        "alter function asyouwere.bad() set search_path = pg_catalog, pg_temp",
    ),
    "execute_granted_to_public": (
        "create function asyouwere.bad() returns int language sql as 'select 1'",
        {"function": "asyouwere.bad()"},
        "revoke execute on function asyouwere.bad() from public",
    ),
    "table_without_rls": (
        "create table asyouwere.bad (id int primary key)",
        {"table": "asyouwere.bad"},
        "alter table asyouwere.bad enable row level security",
    ),
    "table_without_primary_key": (
        "create table asyouwere.bad (id int)",
        {"table": "asyouwere.bad"},
        "alter table asyouwere.bad add primary key (id)",
    ),
    "object_without_comment": (
        "create type asyouwere.bad as (a int)",
        {"kind": "type", "object": "asyouwere.bad"},
        "comment on type asyouwere.bad is 'Good now.'",
    ),
    "policy_with_bare_auth_call": (
        'create policy "Bad" on public.session_snapshots for insert to anon '
        "with check (created_by = (select auth.uid()) and created_by = auth.uid())",
        {"policy": "Bad", "table": "session_snapshots"},
        'alter policy "Bad" on public.session_snapshots with check (created_by = (select auth.uid()))',
    ),
    "policy_for_every_role": (
        'create policy "Bad" on asyouwere.settings for select using (true)',
        {"policy": "Bad", "table": "asyouwere.settings"},
        'alter policy "Bad" on asyouwere.settings to service_role',
    ),
    "definer_in_public": (
        "create function public.bad() returns int language sql security definer as 'select 1'",
        {"function": "bad()"},
        "alter function public.bad() security invoker",
    ),
    "view_without_security_invoker": (
        "create view public.bad as select 1 as one",
        {"view": "bad"},
        "alter view public.bad set (security_invoker = true)",
    ),
    "foreign_key_without_index": (
        "create table asyouwere.bad (a uuid, b uuid, primary key (b, a)); alter table asyouwere.bad "
        "add constraint bad_key foreign key (a) references public.free_agent_sessions (id)",
        {"foreign_key": "bad_key", "table": "asyouwere.bad"},
        "create index on asyouwere.bad (a)",
    ),
    "duplicate_index": (
        "create index bad on public.session_members (session_id, user_id)",
        {"index": "bad", "same_as": "session_members_pkey"},
        "drop index public.bad; create index bad on public.session_members (session_id, user_id) where role = 'editor'",
    ),
}


def findings(db: Db, lint: str) -> list[Row]:
    """The rows of a lint's query, as text."""
    query = (FOLDER / f"{lint}.sql").read_text()
    return [
        {column: str(value) for column, value in row.items()}
        for row in db.superuser.execute(query.encode()).fetchall()
    ]


def test_every_lint_has_an_offender() -> None:
    assert sorted(OFFENDERS) == LINTS


@pytest.mark.parametrize("lint", LINTS)
def test_lint__our_schema_has_no_findings(shared: Db, lint: str) -> None:
    assert findings(shared, lint) == []


@pytest.mark.parametrize("lint", LINTS)
def test_lint__says_what_may_happen_and_how_to_repair_it(lint: str) -> None:
    text = (FOLDER / f"{lint}.sql").read_text()
    assert text.startswith("-- Rows are findings: ")
    assert "-- What may happen: " in text
    assert "-- Repair: " in text


@pytest.mark.parametrize("lint", LINTS)
def test_lint__finds_the_offender_until_it_is_repaired(db: Db, lint: str) -> None:
    offence, found, repair = OFFENDERS[lint]
    db.superuser.execute(offence.encode())
    assert findings(db, lint) == [found]
    db.superuser.execute(repair.encode())
    assert findings(db, lint) == []


def test_lint__functions_excused_for_speed_must_stay_private(db: Db) -> None:
    db.superuser.execute(
        "grant execute on function asyouwere.append_items(bigint, int, asyouwere.change_rows) to authenticated"
    )
    assert findings(db, "function_without_search_path") == [
        {"function": "asyouwere.append_items(bigint,integer,asyouwere.change_rows)"}
    ]

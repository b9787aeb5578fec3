-- What the clean-up remembers: how far its passes have come, and where it failed.
-- Breaks running code: no.

create table asyouwere.cleanup_runs (
    id bigint generated always as identity primary key,
    started_at timestamptz not null,
    ran_at timestamptz not null,
    calls int not null default 0,
    took_ms numeric(14, 1) not null default 0,
    longest_ms numeric(12, 1) not null default 0,
    kind text not null check (kind in ('snapshots', 'sessions')),
    last_session bigint not null default 0,
    sessions int not null default 0,
    snapshots int not null default 0,
    parts bigint not null default 0,
    bytes bigint not null default 0,
    done boolean not null default false
);
comment on table asyouwere.cleanup_runs is
    'What each pass of the clean-up over all sessions did, the calls of it together.';
comment on column asyouwere.cleanup_runs.ran_at is 'When its latest call was.';
comment on column asyouwere.cleanup_runs.last_session is
    'internal_id up to which it has come; there the next call goes on.';
alter table asyouwere.cleanup_runs enable row level security;
grant select on asyouwere.cleanup_runs to service_role;
create index cleanup_runs_latest on asyouwere.cleanup_runs (kind, id desc);

create table asyouwere.cleanup_failures (
    session bigint not null,
    kind text not null check (kind in ('snapshots', 'parts', 'sessions', 'turns', 'accounts')),
    sql_state text not null,
    first_failed_at timestamptz not null default now(),
    last_failed_at timestamptz not null default now(),
    primary key (session, kind)
);
comment on table asyouwere.cleanup_failures is
    'Sessions that a step of the clean-up could not be done for, at most 1,000; `asyouwere doctor` tells of'
    ' them. No message: it might quote what people wrote.';
alter table asyouwere.cleanup_failures enable row level security;
grant select on asyouwere.cleanup_failures to service_role;

create function asyouwere.note_failure(p_session bigint, p_kind text, p_sql_state text) returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    insert into asyouwere.cleanup_failures (session, kind, sql_state)
    select p_session, p_kind, p_sql_state where (select count(*) from asyouwere.cleanup_failures) < 1000
    on conflict (session, kind) do update set sql_state = excluded.sql_state, last_failed_at = now()
$$;
comment on function asyouwere.note_failure is
    'Remembers that a step failed for a session; it is tried again in the next pass.';
revoke execute on function asyouwere.note_failure from public;

create function asyouwere.last_session(p_kind text) returns bigint
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select case when r.done then 0 else r.last_session end from asyouwere.cleanup_runs r
        where r.kind = p_kind order by r.id desc limit 1), 0)
$$;
comment on function asyouwere.last_session is
    'Where a pass goes on: the internal_id up to which it has come, 0 for a new pass.';
revoke execute on function asyouwere.last_session from public;

create function asyouwere.note_run(p_call asyouwere.cleanup_runs) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_took numeric := 1000 * extract(epoch from clock_timestamp() - p_call.started_at);
begin
    update asyouwere.cleanup_runs r
    set ran_at = clock_timestamp(), calls = r.calls + 1, took_ms = r.took_ms + v_took,
        longest_ms = greatest(r.longest_ms, v_took), last_session = p_call.last_session,
        sessions = r.sessions + p_call.sessions, snapshots = r.snapshots + p_call.snapshots,
        parts = r.parts + p_call.parts, bytes = r.bytes + p_call.bytes, done = p_call.done
    where not r.done and r.id = (
        select l.id from asyouwere.cleanup_runs l where l.kind = p_call.kind order by l.id desc limit 1);
    if not found then
        insert into asyouwere.cleanup_runs (started_at, ran_at, calls, took_ms, longest_ms, kind,
            last_session,
            sessions, snapshots, parts, bytes, done)
        values (p_call.started_at, clock_timestamp(), 1, v_took, v_took, p_call.kind, p_call.last_session,
            p_call.sessions, p_call.snapshots, p_call.parts, p_call.bytes, p_call.done);
        delete from asyouwere.cleanup_runs r
        where r.ran_at < now() - interval '30 days'
            and r.id in (select o.id from asyouwere.cleanup_runs o order by o.id limit 100);
    end if;
end;
$$;
comment on function asyouwere.note_run is
    'Adds what a call did to its pass, or begins one; forgets passes after 30 days.';
revoke execute on function asyouwere.note_run from public;

-- Clean-up: old snapshots and the parts that only they could see, idle sessions, old keys.
-- A snapshot goes if it is not among the newest K, older than an age, and has no label; the latest never goes.
-- A part goes when no kept number lies in its lifespan. Nothing else depends on it.
-- One call is one short transaction over a few sessions; whoever calls goes on until done is true. It holds the locks
-- of the sessions it has come by, so it takes few at a time and stops after 50 ms: nobody who saves waits for longer.
-- Breaks running code: no.

create table asyouwere.cleanup_runs (
    id bigint generated always as identity primary key,
    started_at timestamptz not null default clock_timestamp(),
    took_ms numeric(12, 1) not null,
    kind text not null check (kind in ('snapshots', 'sessions')),
    last_session bigint,
    sessions int not null,
    snapshots int not null,
    parts int not null,
    bytes bigint not null,
    done boolean not null
);
comment on table asyouwere.cleanup_runs is 'What each call of the clean-up did; the last one says where the next goes on.';
comment on column asyouwere.cleanup_runs.last_session is 'internal_id up to which this pass has come.';
alter table asyouwere.cleanup_runs enable row level security;
grant select on asyouwere.cleanup_runs to service_role;
create index cleanup_runs_latest on asyouwere.cleanup_runs (kind, id desc);

create function asyouwere.prune_sessions(
    p_keep int, p_older_than interval, p_max_sessions int, p_after bigint,
    out last_session bigint, out sessions int, out snapshots int, out parts int, out bytes bigint, out done boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off
as $$
declare
    v_sessions bigint[];
    v_ids uuid[];
    v_from int[];
    v_through int[];
begin
    -- Sessions somebody is saving into are left for the next pass. Of each session at most 100 numbers; the next call
    -- then begins with the first one of which there is more.
    select coalesce(min(d.internal_id) filter (where d.through is not null and d.bound < d.wanted) - 1, max(d.internal_id)),
        count(*) filter (where d.through is null or d.bound >= d.wanted),
        array_agg(d.internal_id), array_agg(d.id), array_agg(d.pruned_through), array_agg(d.through)
    into last_session, sessions, v_sessions, v_ids, v_from, v_through
    from (
        select s.internal_id, s.id, s.pruned_through, s.latest_number - p_keep as wanted, b.bound, (
            select max(n.number) from public.session_snapshots n
            where n.session_id = s.id and n.number > s.pruned_through
                and n.number <= b.bound and n.created_at < now() - p_older_than) as through
        from public.free_agent_sessions s
        cross join lateral (
            -- counted from the first that is there: below it a label may have been taken away from an old one
            select least(s.latest_number - p_keep, 99 + (
                select min(n.number) from public.session_snapshots n
                where n.session_id = s.id and n.number > s.pruned_through)) as bound
            offset 0
        ) b
        where s.internal_id > p_after and s.latest_number - p_keep > s.pruned_through
        order by s.internal_id limit p_max_sessions
        for no key update of s skip locked
    ) d;
    -- fewer than asked for, and nothing left over in one of them
    done := sessions < p_max_sessions and sessions = coalesce(cardinality(v_sessions), 0);

    with gone as (
        delete from public.session_snapshots t where t.ctid = any (array(
            select n.place from unnest(v_ids, v_from, v_through) u (id, low, high) cross join lateral (
                select q.ctid as place from public.session_snapshots q
                where q.session_id = u.id and q.number > u.low and q.number <= u.high and q.label is null offset 0
            ) n))
        returning 1)
    select count(*) into snapshots from gone;

    with gone as (
        delete from asyouwere.parts t where t.ctid = any (array(
            select p.place from unnest(v_sessions, v_ids, v_from, v_through) u (session, id, low, high) cross join lateral (
                select q.ctid as place from asyouwere.parts q
                where q.session = u.session and q.until > u.low and q.until < 2147483647 and q.since <= u.high
                    -- one probe; not exists() might be planned as a hash of all snapshots
                    and (select true from public.session_snapshots n
                        where n.session_id = u.id and n.number >= q.since and n.number < q.until limit 1) is null
                offset 0
            ) p))
        returning t.session, t.size
    ), freed as (
        select g.session, count(*) as parts, sum(g.size) as bytes from gone g group by g.session
    ), marked as (
        update public.free_agent_sessions s
        set pruned_through = u.high, stored_bytes = s.stored_bytes - coalesce(u.bytes, 0)
        from (
            select w.session, w.high, f.bytes from unnest(v_sessions, v_through) w (session, high)
            left join freed f on f.session = w.session
        ) u
        where s.internal_id = u.session and u.high is not null
    )
    select coalesce(sum(f.parts), 0), coalesce(sum(f.bytes), 0) into parts, bytes from freed f;
    delete from asyouwere.save_keys k
    where k.session = any (v_sessions) and k.created_at < now() - (select t.keep_keys_for from asyouwere.settings t);
end;
$$;
comment on function asyouwere.prune_sessions is
    'Prunes up to p_max_sessions sessions after an internal_id and counts those it has finished. done: there are no more.';
revoke execute on function asyouwere.prune_sessions from public;

create function asyouwere.run_cleanup(p_keep int, p_older_than interval, p_max_sessions int)
returns table (sessions int, snapshots int, parts int, bytes bigint, done boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_started timestamptz := clock_timestamp();
    v_settings asyouwere.settings;
    v_max_sessions int := coalesce(p_max_sessions, 200);
    v_last bigint;
    v_step record;
begin
    -- definer: nobody deletes parts but through here
    select * into v_settings from asyouwere.settings;
    if p_keep < 1 or p_older_than < interval '0' or v_max_sessions not between 1 and 10000 then
        perform asyouwere.fail('invalid_argument',
            'Keep at least 1 snapshot, an age of 0 or more, 1 to 10,000 sessions a call.');
    end if;
    -- two at once: the second has nothing to do
    if not pg_try_advisory_xact_lock(hashtextextended('asyouwere cleanup', 0)) then
        return query select 0, 0, 0, 0::bigint, true;
        return;
    end if;
    select case when r.done then 0 else r.last_session end into v_last
    from asyouwere.cleanup_runs r where r.kind = 'snapshots' order by r.id desc limit 1;
    v_last := coalesce(v_last, 0);
    sessions := 0;
    snapshots := 0;
    parts := 0;
    bytes := 0;
    loop
        select * into v_step from asyouwere.prune_sessions(
            coalesce(p_keep, v_settings.keep_snapshots), coalesce(p_older_than, v_settings.keep_for),
            least(5, v_max_sessions - sessions), v_last);
        sessions := sessions + v_step.sessions;
        snapshots := snapshots + v_step.snapshots;
        parts := parts + v_step.parts;
        bytes := bytes + v_step.bytes;
        done := v_step.done;
        v_last := coalesce(v_step.last_session, v_last);
        exit when done or sessions >= v_max_sessions or clock_timestamp() > v_started + interval '50 ms';
    end loop;
    insert into asyouwere.cleanup_runs (started_at, took_ms, kind, last_session, sessions, snapshots, parts, bytes, done)
    values (v_started, 1000 * extract(epoch from clock_timestamp() - v_started), 'snapshots', v_last, sessions, snapshots, parts, bytes, done);
    delete from asyouwere.cleanup_runs r where r.started_at < now() - interval '30 days';
    return next;
end;
$$;
comment on function asyouwere.run_cleanup is 'One batch of the clean-up, logged.';
revoke execute on function asyouwere.run_cleanup from public;
grant execute on function asyouwere.run_cleanup to service_role;

create function public.cleanup_old_snapshots(
    p_keep int default null, p_older_than interval default null, p_max_sessions int default 200
)
returns table (sessions int, snapshots int, parts int, bytes bigint, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.run_cleanup(p_keep, p_older_than, p_max_sessions);
end;
$$;
comment on function public.cleanup_old_snapshots is
    'Remove old snapshots: all but the newest p_keep, those younger than p_older_than, the labelled and the latest (defaults: asyouwere.settings). One batch a call, going on where the last one ended; call until done. Service only.';
revoke execute on function public.cleanup_old_snapshots from public, anon, authenticated, service_role;
grant execute on function public.cleanup_old_snapshots to service_role;

create function asyouwere.run_expiry(p_max_sessions int)
returns table (expired int, deleted int, done boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_started timestamptz := clock_timestamp();
    v_grace interval := (select s.delete_expired_after from asyouwere.settings s);
    v_max_sessions int := coalesce(p_max_sessions, 200);
begin
    -- definer: sessions of all people
    if v_max_sessions not between 1 and 10000 then
        perform asyouwere.fail('invalid_argument', 'Between 1 and 10,000 sessions a call.');
    end if;
    with idle as (
        select s.internal_id from public.free_agent_sessions s
        where s.expires_after is not null and s.expired_at is null
            and s.last_activity_at < now() - s.expires_after
        order by s.last_activity_at limit v_max_sessions
        for no key update skip locked
    ), marked as (
        update public.free_agent_sessions s set status = 'expired', expired_at = now()
        from idle i where s.internal_id = i.internal_id returning 1
    )
    select count(*) into expired from marked;
    with over as (
        select s.internal_id from public.free_agent_sessions s
        where s.expires_after is not null and s.expired_at < now() - v_grace
            -- what somebody has named is not thrown away
            and not exists (select from public.session_snapshots n where n.session_id = s.id and n.label is not null)
        order by s.expired_at limit v_max_sessions
        for update skip locked
    ), gone as (
        delete from public.free_agent_sessions s using over o where s.internal_id = o.internal_id returning 1
    )
    select count(*) into deleted from gone;
    done := expired < v_max_sessions and deleted < v_max_sessions;
    insert into asyouwere.cleanup_runs (started_at, took_ms, kind, sessions, snapshots, parts, bytes, done)
    values (v_started, 1000 * extract(epoch from clock_timestamp() - v_started), 'sessions', expired + deleted, 0, 0, 0, done);
    return next;
end;
$$;
comment on function asyouwere.run_expiry is 'Marks idle sessions as expired, deletes those whose grace time is over; logged.';
revoke execute on function asyouwere.run_expiry from public;
grant execute on function asyouwere.run_expiry to service_role;

create function public.expire_idle_sessions(p_max_sessions int default 200)
returns table (expired int, deleted int, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.run_expiry(p_max_sessions);
end;
$$;
comment on function public.expire_idle_sessions is
    'Mark sessions as expired that were idle longer than their expires_after, and delete those expired longer than the grace time (asyouwere.settings) that have no labelled snapshot. A save into an expired session revives it. One batch a call; call until done. Service only.';
revoke execute on function public.expire_idle_sessions from public, anon, authenticated, service_role;
grant execute on function public.expire_idle_sessions to service_role;

-- Pruning: history that thins out. A snapshot is kept for as long as its rank says (asyouwere.settings):
--   any                       keep_for          7 days
--   the last one of an hour   keep_hourly_for   30 days
--   the last one of a day     keep_daily_for    a year
--   the last one of a month   keep_monthly_for  for ever
-- and the labelled, the newest keep_snapshots, the latest, and what a fork is merged back by, whatever their
-- age. Hours, days and months are UTC's. The rank hangs on the next snapshot alone: one is the last of its
-- hour if the next is of another. So a pass reads a session's snapshots in order, once; what it keeps tells
-- when to come back.
-- Breaks running code: no.

create type asyouwere.retention as (
    newest int, all_seconds float8, hourly_seconds float8, daily_seconds float8, monthly_seconds float8
);
comment on type asyouwere.retention is
    'What clean-up keeps: how many, and for how long by rank; infinity: for ever.';

create table asyouwere.thinned (
    session bigint primary key,
    due_at timestamptz not null,
    retention int not null
);
comment on table asyouwere.thinned is 'Sessions of which old snapshots are kept that will go one day.';
comment on column asyouwere.thinned.due_at is 'When the first of those that a pass has kept is to go.';
comment on column asyouwere.thinned.retention is
    'Hash of the retention that it was computed for; another one looks at all again.';
alter table asyouwere.thinned enable row level security; -- no policy: the functions only

create function asyouwere.retention_of(p_keep int, p_older_than interval) returns asyouwere.retention
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_retention asyouwere.retention;
begin
    -- seconds, not intervals: months and days of an interval can have opposite signs
    select * into v_settings from asyouwere.settings;
    v_retention.newest := coalesce(p_keep, v_settings.keep_snapshots);
    if p_older_than is null then
        v_retention.all_seconds := extract(epoch from v_settings.keep_for);
        v_retention.hourly_seconds := greatest(v_retention.all_seconds, extract(epoch
            from v_settings.keep_hourly_for));
        v_retention.daily_seconds := greatest(v_retention.hourly_seconds, extract(epoch
            from v_settings.keep_daily_for));
        v_retention.monthly_seconds := greatest(v_retention.daily_seconds,
            coalesce(extract(epoch from v_settings.keep_monthly_for), 'infinity'));
    else
        v_retention.all_seconds := extract(epoch from p_older_than);
        v_retention.hourly_seconds := v_retention.all_seconds;
        v_retention.daily_seconds := v_retention.all_seconds;
        v_retention.monthly_seconds := v_retention.all_seconds;
    end if;
    if v_retention.newest < 1 or v_retention.all_seconds not between 0 and 1e10 then
        perform asyouwere.fail('invalid_argument', 'Keep at least 1 snapshot, an age from 0 to 300 years.');
    end if;
    return v_retention;
end;
$$;
comment on function asyouwere.retention_of is
    'The retention of the settings, or of a call that has its own. Raises invalid_argument.';
revoke execute on function asyouwere.retention_of from public;

create function asyouwere.kept_until(p_at timestamptz, p_next timestamptz, p_retention asyouwere.retention)
returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select case when k.seconds = 'infinity' then 'infinity' else p_at + make_interval(secs => k.seconds) end
    from (
        select case
            when date_trunc('month', p_at, 'UTC') <> date_trunc('month', p_next, 'UTC')
                then p_retention.monthly_seconds
            when date_trunc('day', p_at, 'UTC') <> date_trunc('day', p_next, 'UTC')
                then p_retention.daily_seconds
            when date_trunc('hour', p_at, 'UTC') <> date_trunc('hour', p_next, 'UTC')
                then p_retention.hourly_seconds
            else p_retention.all_seconds end as seconds
    ) k
$$;
comment on function asyouwere.kept_until is
    'How long a snapshot is kept that has no label, by its time and the next one''s.';
revoke execute on function asyouwere.kept_until from public;

create function asyouwere.next_to_prune(
    p_after bigint, p_retention asyouwere.retention, out session bigint, out looked_through bigint
)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_young timestamptz := now() - make_interval(secs => p_retention.all_seconds);
    v_retention int := hashtext(p_retention::text);
begin
    -- stops at the first one, so that a pass asks each session once
    select l.internal_id into session
    from (
        select s.internal_id, s.id, s.latest_number, s.pruned_through from public.free_agent_sessions s
        where s.internal_id > p_after order by s.internal_id limit 500
    ) l
    left join asyouwere.thinned t on t.session = l.internal_id
    where t.due_at <= now() or t.retention <> v_retention
        -- what has been added since the last time: is the first of it old enough?
        or l.latest_number::bigint - p_retention.newest > l.pruned_through
            and (
                select n.created_at from public.session_snapshots n
                where n.session_id = l.id and n.number > l.pruned_through order by n.number limit 1) < v_young
    order by l.internal_id limit 1;
    if session is null then
        select max(l.internal_id) into looked_through
        from (
            select s.internal_id from public.free_agent_sessions s
            where s.internal_id > p_after order by s.internal_id limit 500
        ) l;
    end if;
end;
$$;
comment on function asyouwere.next_to_prune is
    'Of the next 500 sessions the first one with something to prune; or, if there is none, looked_through: '
    'the last of '
    'them, null after the last session.';
revoke execute on function asyouwere.next_to_prune from public;

create function asyouwere.prune_session(
    p_session bigint, p_retention asyouwere.retention, out snapshots int, out finished boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions;
    v_thinned asyouwere.thinned;
    v_retention int := hashtext(p_retention::text);
    v_young timestamptz := now() - make_interval(secs => p_retention.all_seconds);
    v_bound bigint; -- the highest number that is not among the newest
    v_from int;
    v_due timestamptz;
    v_listed int;
    v_through int;
    v_stopped_at int;
begin
    select * into v_session from public.free_agent_sessions s where s.internal_id = p_session
    for no key update skip locked;
    if not found then
        return;
    end if;
    v_bound := v_session.latest_number::bigint - p_retention.newest;
    select * into v_thinned from asyouwere.thinned t where t.session = p_session;
    if v_thinned.due_at <= now() or v_thinned.retention <> v_retention then
        v_from := 0; -- from the start again: something that was kept is to go now
        v_due := null;
    else
        v_from := v_session.pruned_through;
        v_due := v_thinned.due_at;
    end if;

    with listed as materialized (
        select n.*, lead(n.number) over w as next_number, lead(n.created_at) over w as next_at,
            bool_and(n.number <= v_bound and n.created_at < v_young) over w as is_ripe
        from (
            select q.ctid as place, q.number, q.created_at, q.label from public.session_snapshots q
            where q.session_id = v_session.id and q.number > v_from order by q.number limit 501
        ) n
        window w as (order by n.number)
    ), judged as materialized (
        select l.place, l.number, l.next_number, l.label, k.kept_until,
            l.label is null and k.kept_until <= now() as goes
        from listed l
        cross join lateral (
            select case
                when l.number = (
                    select f.base_number from asyouwere.fork_origins f where f.session_id = v_session.id)
                then 'infinity' else asyouwere.kept_until(l.created_at, l.next_at, p_retention) end
        ) k (kept_until)
        where l.is_ripe and l.next_number is not null
    ), neighbours as (
        -- between which two that stay each one lies
        select j.number, j.goes,
            coalesce(max(j.number) filter (where not j.goes) over (order by j.number), (
                select max(n.number) from public.session_snapshots n
                where n.session_id = v_session.id and n.number <= v_from), 0) as before,
            coalesce(min(j.number) filter (where not j.goes)
                over (order by j.number rows between current row and unbounded following),
                max(j.next_number) over ()) as behind
        from judged j
    ), removed as (
        delete from public.session_snapshots t
        where t.ctid = any (array(select j.place from judged j where j.goes)) returning 1
    ), unseen as (
        insert into asyouwere.unswept (session, since_after, until_after, until_through)
        select p_session, n.before, min(n.number), n.behind from neighbours n
            where n.goes group by n.before, n.behind
    )
    select (select count(*) from removed), count(*), max(l.number) filter (where l.is_ripe
        and l.next_number is not null),
        min(l.number) filter (where not l.is_ripe),
        least(v_due, (select min(j.kept_until) from judged j where not j.goes and j.label is null))
    into snapshots, v_listed, v_through, v_stopped_at, v_due
    from listed l;

    finished := v_listed <= 500 or v_stopped_at is not null;
    update public.free_agent_sessions s
    set pruned_through = case
        when finished and coalesce(v_stopped_at, v_bound + 1) > v_bound then greatest(v_bound, v_from)
        else coalesce(v_through, v_from) end
    where s.internal_id = p_session;
    if v_due is null then
        delete from asyouwere.thinned t where t.session = p_session;
    else
        insert into asyouwere.thinned (session, due_at, retention) values (p_session, v_due, v_retention)
        on conflict (session) do update set due_at = excluded.due_at, retention = excluded.retention;
    end if;
end;
$$;
comment on function asyouwere.prune_session is
    'Judges up to 500 of a session''s snapshots and removes those that are to go; their parts are left to '
    'sweep(). finished: there are no more. snapshots is null if somebody else has the session''s lock.';
revoke execute on function asyouwere.prune_session from public;

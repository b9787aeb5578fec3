-- Sweeping: parts that no kept snapshot can see are written down first, as a range of lifespans, and deleted
-- later, a bounded number at a time and without a session's lock: nobody reads them any more. So removing a
-- snapshot, or a session, costs the same however much is in it.
-- Breaks running code: no.

create table asyouwere.unswept (
    id bigint generated always as identity primary key,
    session bigint not null,
    since_after int not null default 0,
    until_after int not null default 0,
    until_through int not null default 2147483647,
    freed_bytes bigint not null default 0,
    is_swept boolean not null default false,
    retry_at timestamptz not null default '-infinity'
);
comment on table asyouwere.unswept is
    'Parts to be deleted: those of a session with since > since_after and until_after < until <= '
    'until_through.';
comment on column asyouwere.unswept.until_through is
    'The largest int: the living as well, the session''s keys, chunks and records of usage: it is gone.';
comment on column asyouwere.unswept.freed_bytes is
    'Size of those deleted so far, to be taken off the session''s stored_bytes.';
comment on column asyouwere.unswept.is_swept is
    'All are deleted; only the session''s row has yet to be told.';
comment on column asyouwere.unswept.retry_at is 'After a failure: not before this.';
alter table asyouwere.unswept enable row level security; -- no policy: the functions only
create index unswept_by_session on asyouwere.unswept (session);

create index save_keys_by_age on asyouwere.save_keys (created_at);

create function asyouwere.sweep_range(
    inout p_range asyouwere.unswept, p_rows int, p_bytes bigint, p_one_anyway boolean, out parts int
)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_is_gone boolean := p_range.until_through = 2147483647;
    v_places tid[];
    v_listed int;
    v_last int;
    v_bytes bigint;
    v_keys int;
    v_chunks int;
    v_records int;
begin
    -- In the order of an index, so that the next step need not pass by what is deleted already.
    with listed as (
        select q.ctid as place, q.until as position, q.size from asyouwere.parts q
        where not v_is_gone and q.session = p_range.session and q.until < 2147483647
            and q.until > p_range.until_after and q.until <= p_range.until_through
                and q.since > p_range.since_after
        order by q.session, q.until limit p_rows
    ), listed_of_gone as (
        select q.ctid as place, q.since as position, q.size from asyouwere.parts q
        where v_is_gone and q.session = p_range.session and q.since > p_range.since_after
        order by q.session, q.since limit p_rows
    ), measured as (
        select l.place, l.position, sum(l.size::bigint) over w <= p_bytes or p_one_anyway
            and row_number() over w = 1 as fits
        from (select * from listed union all select * from listed_of_gone) l
        window w as (order by l.position rows unbounded preceding)
    )
    select count(*), array_agg(m.place) filter (where m.fits), max(m.position) filter (where m.fits)
    into v_listed, v_places, v_last from measured m;

    with gone as (delete from asyouwere.parts t where t.ctid = any (v_places) returning t.size)
    select count(*), coalesce(sum(g.size), 0) into parts, v_bytes from gone g;
    p_range.freed_bytes := p_range.freed_bytes + v_bytes;
    p_range.is_swept := v_listed < p_rows and parts = v_listed;
    if not v_is_gone then
        p_range.until_after := coalesce(v_last - 1, p_range.until_after);
    else
        p_range.since_after := coalesce(v_last - 1, p_range.since_after);
        if p_range.is_swept then
            delete from asyouwere.save_keys t where t.ctid = any (array(
                select k.ctid from asyouwere.save_keys k where k.session = p_range.session limit p_rows));
            get diagnostics v_keys = row_count;
            delete from asyouwere.turn_chunks t where t.ctid = any (array(
                select c.ctid from asyouwere.turn_chunks c where c.session = p_range.session limit p_rows));
            get diagnostics v_chunks = row_count;
            delete from asyouwere.usage_records t where t.ctid = any (array(
                select r.ctid from asyouwere.usage_records r where r.session = p_range.session limit p_rows));
            get diagnostics v_records = row_count;
            p_range.is_swept := v_keys < p_rows and v_chunks < p_rows and v_records < p_rows;
        end if;
    end if;
    update asyouwere.unswept u
    set since_after = p_range.since_after, until_after = p_range.until_after,
        freed_bytes = p_range.freed_bytes,
        is_swept = p_range.is_swept
    where u.id = p_range.id;
end;
$$;
comment on function asyouwere.sweep_range is
    'Deletes up to p_rows parts of a range, of at most p_bytes in all (p_one_anyway: or one that is '
    'larger), and says what range is left.';
revoke execute on function asyouwere.sweep_range from public;

create function asyouwere.sweep(
    p_rows int, p_bytes bigint, p_session bigint default null, out parts int, out bytes bigint,
        out finished boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_until timestamptz := clock_timestamp() + interval '50 ms';
    v_range asyouwere.unswept;
    v_step record;
begin
    parts := 0;
    bytes := 0;
    loop
        if p_session is null then
            select * into v_range from asyouwere.unswept u
            where not u.is_swept and u.retry_at <= now() order by u.id limit 1;
        else
            select * into v_range from asyouwere.unswept u
            where not u.is_swept and u.retry_at <= now() and u.session = p_session order by u.id limit 1;
        end if;
        finished := not found;
        exit when finished or parts >= p_rows or bytes >= p_bytes or clock_timestamp() > v_until;
        begin
            -- who holds a session's lock never waits for one large part
            select * into v_step from asyouwere.sweep_range(v_range, p_rows - parts, p_bytes - bytes,
                p_session is null and parts = 0);
        exception when others then
            perform asyouwere.note_failure(v_range.session, 'parts', sqlstate);
            update asyouwere.unswept u set retry_at = now() + interval '1 hour' where u.id = v_range.id;
            continue;
        end;
        parts := parts + v_step.parts;
        bytes := bytes + (v_step.p_range).freed_bytes - v_range.freed_bytes;
        exit when v_step.parts = 0 and not (v_step.p_range).is_swept; -- the next one is too large for this call
    end loop;
end;
$$;
comment on function asyouwere.sweep is
    'Deletes parts that nobody can see, of all sessions or of one, within limits and 50 ms. finished: there'
    ' are no more.';
revoke execute on function asyouwere.sweep from public;

create function asyouwere.settle_sweeps() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_swept record;
begin
    for v_swept in
        select u.session, sum(u.freed_bytes) as bytes, array_agg(u.id) as ids
        from (select * from asyouwere.unswept o where o.is_swept order by o.id limit 500) u group by u.session
    loop
        perform from public.free_agent_sessions s where s.internal_id = v_swept.session
        for no key update skip locked;
        if found then
            update public.free_agent_sessions s set stored_bytes = s.stored_bytes - v_swept.bytes
            where s.internal_id = v_swept.session;
        else
            -- somebody is saving into it: next time
            continue when exists (select from public.free_agent_sessions s
                where s.internal_id = v_swept.session);
        end if;
        delete from asyouwere.unswept u where u.id = any (v_swept.ids);
        delete from asyouwere.cleanup_failures f where f.session = v_swept.session and f.kind = 'parts';
    end loop;
end;
$$;
comment on function asyouwere.settle_sweeps is
    'Takes what was freed off the sessions'' stored_bytes: the last, short step of a call.';
revoke execute on function asyouwere.settle_sweeps from public;

create function asyouwere.leave_to_sweep() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_until timestamptz := clock_timestamp() + interval '50 ms';
    v_sessions bigint[] := array(select g.internal_id from gone g order by g.internal_id);
    v_rows int := 2000;
    v_swept record;
begin
    -- definer: nobody may delete parts
    insert into asyouwere.unswept (session) select u.session from unnest(v_sessions) u (session);
    delete from asyouwere.thinned t where t.session = any (v_sessions);
    delete from asyouwere.cleanup_failures f where f.session = any (v_sessions);
    -- what is small is deleted at once
    for i in 1 .. cardinality(v_sessions) loop
        select * into v_swept from asyouwere.sweep(v_rows, 4 * 1024 * 1024, v_sessions[i]);
        v_rows := v_rows - v_swept.parts;
        exit when v_rows <= 0 or not v_swept.finished or clock_timestamp() > v_until;
    end loop;
    delete from asyouwere.unswept u where u.session = any (v_sessions) and u.is_swept;
    return null;
end;
$$;
comment on function asyouwere.leave_to_sweep is
    'When sessions go, nobody can read their parts from then on; up to 2,000 are deleted with them, the '
    'others by the clean-up.';
revoke execute on function asyouwere.leave_to_sweep from public;
create trigger leave_to_sweep after delete on public.free_agent_sessions
    referencing old table as gone
    for each statement execute function asyouwere.leave_to_sweep();

create function asyouwere.forget_keys(p_rows int) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_keys int;
begin
    delete from asyouwere.save_keys t where t.ctid = any (array(
        select k.ctid from asyouwere.save_keys k
        where k.created_at < now() - (select s.keep_keys_for from asyouwere.settings s)
        order by k.created_at limit p_rows));
    get diagnostics v_keys = row_count;
    return v_keys = p_rows;
end;
$$;
comment on function asyouwere.forget_keys is
    'Deletes old idempotency keys, whatever their sessions; true if there are more.';
revoke execute on function asyouwere.forget_keys from public;

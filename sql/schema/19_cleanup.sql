-- Clean-up: what one call of it is. What goes and why is in 16_pruning.sql (old snapshots), 16_sweeping.sql
-- (parts that nobody can see, old keys) and 16_expiry.sql (idle sessions).
-- A call is one short transaction, bounded in rows, bytes and time; whoever calls goes on until done is true.
-- One that is broken off has done no harm. A session that can't be cleaned up is noted, passed by, and in
-- nobody's way.
-- Breaks running code: no.

create function asyouwere.prune_next(p_retention asyouwere.retention, p_max_sessions int,
    inout p_call asyouwere.cleanup_runs)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    -- half as long as a sweep: the locks of all sessions pruned are held from here on
    v_until timestamptz := clock_timestamp() + interval '25 ms';
    v_next record;
    v_step record;
    v_swept record;
begin
    loop
        select * into v_next from asyouwere.next_to_prune(p_call.last_session, p_retention);
        p_call.last_session := coalesce(v_next.session, v_next.looked_through, p_call.last_session);
        if v_next.session is null then
            p_call.done := v_next.looked_through is null;
            exit when p_call.done or clock_timestamp() > v_until;
            continue;
        end if;
        begin
            select * into v_step from asyouwere.prune_session(v_next.session, p_retention);
            delete from asyouwere.cleanup_failures f where f.session = v_next.session
                and f.kind = 'snapshots';
        exception when others then
            perform asyouwere.note_failure(v_next.session, 'snapshots', sqlstate);
            continue;
        end;
        continue when v_step.snapshots is null; -- somebody is saving into it; there will be another pass
        -- its lock is held from here to the end of the call: only what is quick
        select * into v_swept from asyouwere.sweep(2000, 1024 * 1024, v_next.session);
        p_call.sessions := p_call.sessions + v_step.finished::int;
        p_call.snapshots := p_call.snapshots + v_step.snapshots;
        p_call.parts := p_call.parts + v_swept.parts;
        p_call.bytes := p_call.bytes + v_swept.bytes;
        if not v_step.finished then
            p_call.last_session := v_next.session - 1; -- there is more of it
            exit;
        end if;
        exit when not v_swept.finished or p_call.sessions >= p_max_sessions or clock_timestamp() > v_until;
    end loop;
end;
$$;
comment on function asyouwere.prune_next is
    'Prunes sessions, going on behind p_call.last_session; done if there are no more. Holds the lock of '
    'each it has pruned.';
revoke execute on function asyouwere.prune_next from public;

create function asyouwere.run_cleanup(p_keep int, p_older_than interval, p_max_sessions int)
returns table (sessions int, snapshots int, parts int, bytes bigint, done boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_retention asyouwere.retention := asyouwere.retention_of(p_keep, p_older_than);
    v_max_sessions int := coalesce(p_max_sessions, 200);
    v_call asyouwere.cleanup_runs;
    v_more_keys boolean;
    v_more_turns boolean;
    v_more_usage boolean;
    v_swept record;
begin
    -- definer: nobody deletes parts but through here
    if v_max_sessions not between 1 and 10000 then
        perform asyouwere.fail('invalid_argument', '1 to 10,000 sessions a call.');
    end if;
    -- two at once: the second has nothing to do
    if not pg_try_advisory_xact_lock(hashtextextended('asyouwere cleanup', 0)) then
        return query select 0, 0, 0, 0::bigint, true;
        return;
    end if;
    v_call.started_at := clock_timestamp();
    v_call.kind := 'snapshots';
    v_call.last_session := asyouwere.last_session('snapshots');
    v_call.sessions := 0;
    v_call.snapshots := 0;
    -- first what needs no session's lock
    v_more_keys := asyouwere.forget_keys(2000);
    v_more_turns := asyouwere.settle_turns(20, 5000);
    v_more_usage := asyouwere.forget_usage(2000);
    select * into v_swept from asyouwere.sweep(5000, 16 * 1024 * 1024);
    v_call.parts := v_swept.parts;
    v_call.bytes := v_swept.bytes;
    v_call.done := false;
    if v_swept.finished then
        v_call := asyouwere.prune_next(v_retention, v_max_sessions, v_call);
    end if;
    perform asyouwere.settle_sweeps();
    if v_call.done then
        perform asyouwere.forget_buckets(1000);
        -- a window may be left of the last session
        v_call.done := not v_more_keys and not v_more_turns and not v_more_usage and not exists (
            select from asyouwere.unswept u where u.retry_at <= now());
    end if;
    perform asyouwere.note_run(v_call);
    return query select v_call.sessions, v_call.snapshots, v_call.parts::int, v_call.bytes, v_call.done;
end;
$$;
comment on function asyouwere.run_cleanup is 'One call of the clean-up, noted in cleanup_runs.';
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
    'Thin out old snapshots as asyouwere.settings say; with p_older_than all older than that go instead. '
    'The newest p_keep, the labelled and the latest stay. One short batch a call, going on where the last '
    'one ended; call until done. Service only.';
revoke execute on function public.cleanup_old_snapshots from public, anon, authenticated, service_role;
grant execute on function public.cleanup_old_snapshots to service_role;

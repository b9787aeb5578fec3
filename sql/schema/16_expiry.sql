-- Expiry: idle sessions are marked, and deleted after a time of grace. Works session by session, apart from
-- pruning.
-- Breaks running code: no.

-- Never changes with a save, as an index by activity would.
create index free_agent_sessions_expiring on public.free_agent_sessions (internal_id)
    where expires_after is not null;

create function asyouwere.next_to_expire(p_after bigint, out session bigint, out looked_through bigint)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_grace numeric := extract(epoch from (select t.delete_expired_after from asyouwere.settings t));
begin
    -- By seconds: to subtract an interval of any kind from a time may fail. Stops at the first one.
    select l.internal_id into session
    from (
        select s.internal_id, s.id, s.expired_at, s.last_activity_at, s.expires_after
        from public.free_agent_sessions s
        where s.internal_id > p_after and s.expires_after is not null order by s.internal_id limit 500
    ) l
    where case
        when l.expired_at is null then
            extract(epoch from l.last_activity_at) + extract(epoch
                from l.expires_after) < extract(epoch from now())
        else extract(epoch from l.expired_at) + v_grace < extract(epoch from now())
            -- what somebody has named is not thrown away
            and not exists (
                select from public.session_snapshots n where n.session_id = l.id and n.label is not null)
        end
    order by l.internal_id limit 1;
    if session is null then
        select max(l.internal_id) into looked_through
        from (
            select s.internal_id from public.free_agent_sessions s
            where s.internal_id > p_after and s.expires_after is not null order by s.internal_id limit 500
        ) l;
    end if;
end;
$$;
comment on function asyouwere.next_to_expire is
    'Of the next 500 sessions that can expire the first one to be marked or deleted; or, if there is none, '
    'looked_through: the last of them, null after the last session.';
revoke execute on function asyouwere.next_to_expire from public;

create function asyouwere.expire_session(p_session bigint, out expired int, out deleted int)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions;
    v_grace numeric := extract(epoch from (select t.delete_expired_after from asyouwere.settings t));
    v_ids uuid[];
begin
    expired := 0;
    deleted := 0;
    select * into v_session from public.free_agent_sessions s
        where s.internal_id = p_session for update skip locked;
    if not found then
        return; -- somebody is saving into it, so it lives
    elsif exists (select from public.session_turns t
        where t.session_id = v_session.id and t.status = 'running' and t.lease_until > now())
    then
        return; -- an answer is being made, so it is not idle
    elsif v_session.expired_at is null then
        -- it may have been saved into since it was found
        if extract(epoch from v_session.last_activity_at) + extract(epoch from v_session.expires_after)
            < extract(epoch from now())
        then
            update public.free_agent_sessions s set status = 'expired', expired_at = now()
                where s.internal_id = p_session;
            expired := 1;
        end if;
        return;
    end if;
    -- neither revived and expired again since then, nor given a label: what somebody has named stays
    v_ids := asyouwere.sessions_within(array[v_session.id]);
    if extract(epoch from v_session.expired_at) + v_grace >= extract(epoch from now())
        or exists (
            select from public.session_snapshots n where n.session_id = any (v_ids) and n.label is not null)
        -- nor is anything thrown away that was worked with in that time, be it in what belongs to it
        or exists (
            select from public.free_agent_sessions s
            where s.id = any (v_ids) and s.internal_id <> p_session
                and extract(epoch from s.last_activity_at) + v_grace >= extract(epoch from now()))
        or exists (
            select from public.session_turns t
            where t.session_id = any (v_ids) and t.status = 'running' and t.lease_until > now())
    then
        return;
    end if;
    -- what belongs to it goes with it, if nobody is saving into that; else at another time
    if not asyouwere.lock_within(v_session.id) then
        return;
    end if;
    delete from public.free_agent_sessions s where s.internal_id = p_session;
    deleted := 1;
end;
$$;
comment on function asyouwere.expire_session is
    'Marks a session as expired, or deletes one whose time of grace is over.';
revoke execute on function asyouwere.expire_session from public;

create function asyouwere.run_expiry(p_max_sessions int)
returns table (expired int, deleted int, done boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_max_sessions int := coalesce(p_max_sessions, 200);
    v_until timestamptz := clock_timestamp() + interval '50 ms';
    v_call asyouwere.cleanup_runs;
    v_next record;
    v_step record;
begin
    -- definer: sessions of all people
    if v_max_sessions not between 1 and 10000 then
        perform asyouwere.fail('invalid_argument', 'Between 1 and 10,000 sessions a call.');
    end if;
    expired := 0;
    deleted := 0;
    done := true;
    if not pg_try_advisory_xact_lock(hashtextextended('asyouwere expiry', 0)) then
        return next;
        return;
    end if;
    v_call.started_at := clock_timestamp();
    v_call.kind := 'sessions';
    v_call.last_session := asyouwere.last_session('sessions');
    loop
        select * into v_next from asyouwere.next_to_expire(v_call.last_session);
        done := v_next.session is null and v_next.looked_through is null;
        v_call.last_session := coalesce(v_next.session, v_next.looked_through, v_call.last_session);
        if v_next.session is not null then
            begin
                select * into v_step from asyouwere.expire_session(v_next.session);
                delete from asyouwere.cleanup_failures f where f.session = v_next.session
                    and f.kind = 'sessions';
                expired := expired + v_step.expired;
                deleted := deleted + v_step.deleted;
            exception when others then
                perform asyouwere.note_failure(v_next.session, 'sessions', sqlstate);
            end;
        end if;
        exit when done or expired >= v_max_sessions or deleted >= v_max_sessions
            or clock_timestamp() > v_until;
    end loop;
    v_call.sessions := expired + deleted;
    v_call.snapshots := 0;
    v_call.parts := 0;
    v_call.bytes := 0;
    v_call.done := done;
    perform asyouwere.note_run(v_call);
    return next;
end;
$$;
comment on function asyouwere.run_expiry is 'One call of the expiry, noted in cleanup_runs.';
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
    'Mark sessions as expired that were idle longer than their expires_after, and delete those expired '
    'longer than the grace time (asyouwere.settings) that have no labelled snapshot. A save into an expired'
    ' session revives it. One short batch a call; call until done. Service only.';
revoke execute on function public.expire_idle_sessions from public, anon, authenticated, service_role;
grant execute on function public.expire_idle_sessions to service_role;

-- Large sessions: one with thousands of snapshots, or that thousands belong to, is not deleted in one statement, which
-- would take minutes or meet a time limit and be undone. It is set aside: from that moment on it is nobody's, without a
-- name, key or member, and the clean-up deletes it in steps like the sessions of people who are no more
-- (22_accounts.sql).
-- Breaks running code: no.

create function asyouwere.is_large_session(p_session_id uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_ids uuid[] := asyouwere.sessions_within(array[p_session_id]);
begin
    -- parts are no matter: they go in steps by themselves (16_sweeping.sql)
    return cardinality(v_ids) > 100
        or (select count(*) from (
            select from public.session_snapshots n where n.session_id = any (v_ids) limit 1001) n) > 1000
        or (select count(*) from (
            select from public.session_turns t where t.session_id = any (v_ids) limit 1001) t) > 1000;
end;
$$;
comment on function asyouwere.is_large_session is
    'Whether a session has, with those that belong to it, over a thousand snapshots or turns, or is over a hundred.';
revoke execute on function asyouwere.is_large_session from public;

create function asyouwere.make_nobodys(p_ids uuid[], p_nobody uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
    perform asyouwere.remember_used(array_agg(s.id), array_agg(s.user_id))
    from public.free_agent_sessions s where s.id = any (p_ids);
    update public.free_agent_sessions s
    set user_id = p_nobody, key = null, visibility = 'private', name = null, model = null, upstream = null,
        metadata = '{}', expires_after = null, last_message = null, parent_id = null
    where s.id = any (p_ids);
    delete from public.session_members m where m.session_id = any (p_ids);
    delete from asyouwere.transfers t where t.session_id = any (p_ids);
    delete from public.session_turns t where t.session_id = any (p_ids) and t.status = 'running';
end;
$$;
comment on function asyouwere.make_nobodys is 'Takes sessions from their owners and out of everybody''s sight.';
revoke execute on function asyouwere.make_nobodys from public;

create function asyouwere.set_aside() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_nobody uuid := gen_random_uuid();
begin
    -- Definer: whoever deletes writes into tables that are the functions' only. Of the table itself it changes no
    -- other row: the statement may be about to delete that one too, and would fail.
    if not asyouwere.is_large_session(old.id) then
        return old;
    end if;
    insert into asyouwere.erasures (user_id, session_id) values (v_nobody, old.id);
    perform asyouwere.make_nobodys(array[old.id], v_nobody);
    return null;
end;
$$;
comment on function asyouwere.set_aside is
    'Makes a large session nobody''s instead of deleting it, and leaves it to the clean-up.';
revoke execute on function asyouwere.set_aside from public;
create trigger set_aside before delete on public.free_agent_sessions
    for each row execute function asyouwere.set_aside();

create function asyouwere.set_aside_within() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_aside record;
begin
    -- definer: as set_aside(). The row that they belong to stays, so no cascade takes them.
    for v_aside in
        select e.user_id, e.session_id from asyouwere.erasures e
        where e.session_id is not null and e.requested_at = now() and exists (
            select from public.free_agent_sessions s where s.parent_id = e.session_id)
    loop
        perform asyouwere.make_nobodys(
            array_remove(asyouwere.sessions_within(array[v_aside.session_id]), v_aside.session_id), v_aside.user_id);
    end loop;
    return null;
end;
$$;
comment on function asyouwere.set_aside_within is 'What belongs to sessions that were set aside goes with them.';
revoke execute on function asyouwere.set_aside_within from public;
create trigger set_aside_within after delete on public.free_agent_sessions
    for each statement execute function asyouwere.set_aside_within();

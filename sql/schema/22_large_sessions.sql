-- Large sessions: one with thousands of snapshots is not deleted in one statement, which would take minutes or meet a
-- time limit and be undone. It is set aside: from that moment on it is nobody's, without a name, key or member, and
-- the clean-up deletes it in steps like the sessions of people who are no more (22_accounts.sql).
-- Breaks running code: no.

create function asyouwere.is_large_session(p_session_id uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
    -- parts are no matter: they go in steps by themselves (16_sweeping.sql)
    return (select count(*) from (
            select from public.session_snapshots n where n.session_id = p_session_id limit 1001) n) > 1000
        or (select count(*) from (
            select from public.session_turns t where t.session_id = p_session_id limit 1001) t) > 1000;
end;
$$;
comment on function asyouwere.is_large_session is 'Whether a session has over a thousand snapshots or turns.';
revoke execute on function asyouwere.is_large_session from public;

create function asyouwere.set_aside() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_nobody uuid := gen_random_uuid();
begin
    -- definer: whoever deletes writes into tables that are the functions' only
    if not asyouwere.is_large_session(old.id) then
        return old;
    end if;
    insert into asyouwere.erasures (user_id, session_id) values (v_nobody, old.id);
    perform asyouwere.remember_used(array[old.id], array[old.user_id]);
    delete from public.free_agent_sessions s where s.parent_id = old.id; -- it stays, so no cascade takes them
    update public.free_agent_sessions s
    set user_id = v_nobody, key = null, visibility = 'private', name = null, model = null, upstream = null,
        metadata = '{}', expires_after = null, last_message = null, parent_id = null
    where s.id = old.id;
    delete from public.session_members m where m.session_id = old.id;
    delete from asyouwere.transfers t where t.session_id = old.id;
    delete from public.session_turns t where t.session_id = old.id and t.status = 'running';
    return null;
end;
$$;
comment on function asyouwere.set_aside is
    'Makes a large session nobody''s instead of deleting it, and leaves it to the clean-up.';
revoke execute on function asyouwere.set_aside from public;
create trigger set_aside before delete on public.free_agent_sessions
    for each row execute function asyouwere.set_aside();

-- Sessions in sessions: a sub-agent's, a branch's. A session may belong to another one of the same owner; then
-- it stays out of lists and goes where that goes: deleted with it, handed over with it.
-- Breaks running code: no.

create function asyouwere.refuse_parent(p_parent_id uuid, p_owner uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner uuid;
    v_above uuid;
    v_levels int := 2; -- the parent, and the session itself
    v_limit int := (select s.max_child_sessions from asyouwere.settings s);
    v_used int;
begin
    -- A parent is said once, when a session is made, so no circle can come about. The lock: the parent stays
    -- until the session is there, and is no obstacle to saves.
    select s.user_id, s.parent_id into v_owner, v_above from public.free_agent_sessions s
    where s.id = p_parent_id for key share;
    if v_owner is distinct from p_owner then
        perform asyouwere.fail('session_not_found', 'The parent is no session of the same owner.');
    end if;
    while v_above is not null loop
        v_levels := v_levels + 1;
        if v_levels > 5 then
            perform asyouwere.fail('invalid_argument', 'Sessions may lie five deep in one another.');
        end if;
        select s.parent_id into v_above from public.free_agent_sessions s where s.id = v_above;
    end loop;
    select count(*) into v_used from (
        select from public.free_agent_sessions s where s.parent_id = p_parent_id limit v_limit) c;
    if v_used >= v_limit and asyouwere.is_limited() then
        perform asyouwere.fail('quota_exceeded', 'The parent has as many sessions as allowed. Nothing was saved.',
            format('{"quota": "child_sessions", "used": %s, "limit": %s}', v_used, v_limit));
    end if;
end;
$$;
comment on function asyouwere.refuse_parent is
    'Raises session_not_found, invalid_argument, quota_exceeded; holds a lock on the parent.';
revoke execute on function asyouwere.refuse_parent from public;

create function asyouwere.sessions_within(p_ids uuid[]) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
    with recursive tree as (
        select u.id from unnest(p_ids) u (id)
        union -- each once
        select s.id from tree t join public.free_agent_sessions s on s.parent_id = t.id
    )
    select coalesce(array_agg(t.id), '{}') from tree t
$$;
comment on function asyouwere.sessions_within is 'Sessions and all that belong to them, down to the last.';
revoke execute on function asyouwere.sessions_within from public;

create function asyouwere.lock_within(p_session_id uuid) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_ids uuid[] := asyouwere.sessions_within(array[p_session_id]);
    v_locked int;
begin
    -- without waiting: the caller holds the session already, so no order of locks is kept
    select count(*) into v_locked from (
        select from public.free_agent_sessions s where s.id = any (v_ids) for update skip locked) l;
    return v_locked = cardinality(v_ids);
end;
$$;
comment on function asyouwere.lock_within is 'Locks all that belongs to a session; false if some of it is busy.';
revoke execute on function asyouwere.lock_within from public;

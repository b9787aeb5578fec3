-- Syncing and comparing: both are read off the parts' lifespans, nothing is replayed.
-- Breaks running code: no.

create function asyouwere.changes_text(p_session bigint, p_since int, p_number int default 2147483646)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    -- plpgsql, so that a connection plans it once; before Postgres 18 an sql function is planned anew for
    -- each query that calls it
    return (with begun as materialized (
        select b.path, b.item, b.body from asyouwere.parts_begun(p_session, p_since, p_number) b
    ), gone as materialized (
        -- what was there at p_since and has no successor
        select e.path, e.item from asyouwere.parts_ended(p_session, p_since, p_number) e
        except select b.path, b.item from begun b
    ), gone_on_top as (
        -- under a container that went or changed kind only that; "in" is one look into a hash, a join might
        -- be a loop
        select g.path, g.item from gone g
        where not exists (
            select from unnest(asyouwere.path_ancestors(g.path)) above
            where (above <> g.path or g.item >= 0) and above in (select a.path from gone a where a.item = -1))
    )
    select concat(
        '{"set":{', (
            select string_agg(
                concat(asyouwere.pointer_json(b.path, b.item), ':', b.body), ',' order by b.path, b.item)
            from begun b),
        '},"remove":[', (
            select string_agg(asyouwere.pointer_json(g.path, g.item), ',' order by g.path, g.item desc)
            from gone_on_top g),
        ']}'));
end;
$$;
comment on function asyouwere.changes_text is
    'What makes the state at a kept number that at a later one (default: the latest): {"set": {pointer: '
    'value}, "remove": [pointer]}. Apply remove, then set, in the order given; a set container is empty, '
    'its inside follows.';
revoke execute on function asyouwere.changes_text from public;

create function asyouwere.told_changes(p_session bigint, p_since int, p_number int default 2147483646)
returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    -- by the sizes that are kept with the parts: before anything is put together
    v_bytes bigint := (select sum(b.size) from asyouwere.parts_begun(p_session, p_since, p_number) b);
begin
    -- as in read_changes()
    if v_bytes > 8000000 then
        return null;
    end if;
    perform asyouwere.charge_answer(v_bytes);
    return asyouwere.changes_text(p_session, p_since, p_number);
end;
$$;
comment on function asyouwere.told_changes is
    'changes_text() as a save answers it: null if it is more than 8 MB, a token taken for each MB. '
    'Raises rate_limited.';
revoke execute on function asyouwere.told_changes from public;

create function asyouwere.read_changes(
    p_session_id uuid, p_since int, out number int, out reset boolean, out changes json
) language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
begin
    -- definer: access is checked once, above
    number := v_session.latest_number;
    reset := false;
    if p_since = number then
        changes := '{"set":{},"remove":[]}';
    elsif p_since between 0 and number and (p_since = 0 or (select true from public.session_snapshots n
        where n.session_id = p_session_id and n.number = p_since))
    then
        -- much is restored, which goes out as it is read; this is one value
        select sum(b.size) > 8000000 into reset from asyouwere.parts_begun(v_session.internal_id, p_since) b;
        reset := coalesce(reset, false);
        if not reset then
            changes := asyouwere.changes_text(v_session.internal_id, p_since);
        end if;
    else
        -- of a pruned number nobody knows what has been removed since
        reset := true;
    end if;
end;
$$;
comment on function asyouwere.read_changes is 'The latest number and what has changed since another.';
revoke execute on function asyouwere.read_changes from public;
grant execute on function asyouwere.read_changes to anon, authenticated, service_role;

create function public.get_session_changes(p_session_id uuid, p_since int)
returns table (number int, reset boolean, changes json)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_changes(p_session_id, p_since);
end;
$$;
comment on function public.get_session_changes is
    'One row: the latest number and the changes since p_since, {"set": {pointer: value}, "remove": '
    '[pointer]}: apply remove, then set in order. reset true: p_since is no kept number, or more than 8 MB '
    'have changed; restore instead. Raises session_not_found.';
revoke execute on function public.get_session_changes from public, anon, authenticated, service_role;
grant execute on function public.get_session_changes to anon, authenticated, service_role;

create function asyouwere.read_diff(p_session_id uuid, p_from int, p_to int)
returns table (address json, change text, before json, after json)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
begin
    -- definer: access is checked once, above
    if p_from is null or p_to is null then
        perform asyouwere.fail('invalid_argument', 'Say which two numbers are to be compared.');
    end if;
    perform asyouwere.find_snapshot(v_session, p_from, null);
    perform asyouwere.find_snapshot(v_session, p_to, null);
    if (
        select count(*) > 20000 or sum(d.size) > 16000000 from (
            (
                select p.size from asyouwere.parts_ended(
                    v_session.internal_id, least(p_from, p_to), greatest(p_from, p_to)) p
                limit 20001
            ) union all (
                select p.size from asyouwere.parts_begun(
                    v_session.internal_id, least(p_from, p_to), greatest(p_from, p_to)) p
                limit 20001
            )
        ) d)
    then
        perform asyouwere.fail('too_large',
            'These two differ in more than 20,000 parts or 16 MB. Restore both and compare them.');
    end if;
    return query
    select asyouwere.pointer_json(coalesce(o.path, n.path), coalesce(o.item, n.item))::json,
        case when o.path is null then 'added' when n.path is null then 'removed' else 'changed' end,
        o.body::json, n.body::json
    from (
        -- what ended on the way forth began on the way back
        select p.path, p.item, p.body from asyouwere.parts_ended(v_session.internal_id, p_from, p_to) p
        union all
        select p.path, p.item, p.body from asyouwere.parts_begun(v_session.internal_id, p_to, p_from) p
    ) o
    full join (
        select p.path, p.item, p.body from asyouwere.parts_begun(v_session.internal_id, p_from, p_to) p
        union all
        select p.path, p.item, p.body from asyouwere.parts_ended(v_session.internal_id, p_to, p_from) p
    ) n on n.path = o.path and n.item = o.item
    where o.body is distinct from n.body
    order by coalesce(o.path, n.path), coalesce(o.item, n.item);
end;
$$;
comment on function asyouwere.read_diff is 'The addresses whose body differs between two numbers.';
revoke execute on function asyouwere.read_diff from public;
grant execute on function asyouwere.read_diff to anon, authenticated, service_role;

create function public.diff_snapshots(p_session_id uuid, p_from int, p_to int)
returns table (address json, change text, before json, after json)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_diff(p_session_id, p_from, p_to);
end;
$$;
comment on function public.diff_snapshots is
    'What differs between two snapshots, a row for each address: added, removed or changed, with the '
    'values. 0 is the empty state before the first. Raises session_not_found, snapshot_not_found, '
    'snapshot_gone, too_large.';
revoke execute on function public.diff_snapshots from public, anon, authenticated, service_role;
grant execute on function public.diff_snapshots to anon, authenticated, service_role;

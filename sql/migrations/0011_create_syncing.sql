-- Syncing and comparing: both are read off the parts' lifespans, nothing is replayed.
-- Breaks running code: no.

create function leftoff.changes_text(p_session bigint, p_since int) returns text
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    with gone as (
        -- what was there at p_since and has no successor; under a container that went or changed kind only that
        select d.path, d.item from leftoff.parts d
        where d.session = p_session and d.until > p_since and d.until < 2147483647 and d.since <= p_since
            and (select true from leftoff.parts l where l.session = d.session and l.until = 2147483647
                and l.path = d.path and l.item = d.item) is null
    ), gone_on_top as (
        select g.path, g.item from gone g
        where not exists (
            select from gone above
            where above.item = -1 and above.path = any (leftoff.path_ancestors(g.path))
                and (above.path <> g.path or g.item >= 0))
    ), now_there as (
        select l.path, l.item, l.body from leftoff.parts l
        where l.session = p_session and l.since > p_since and l.until = 2147483647
    )
    select concat('{"set":{',
        (select string_agg(concat(leftoff.pointer_json(n.path, n.item), ':', n.body), ',' order by n.path, n.item) from now_there n),
        '},"remove":[',
        (select string_agg(leftoff.pointer_json(g.path, g.item), ',' order by g.path, g.item desc) from gone_on_top g),
        ']}')
$$;
comment on function leftoff.changes_text is
    'What makes the state at a kept number the latest: {"set": {pointer: value}, "remove": [pointer]}. Apply remove, then set, in the order given; a set container is empty, its inside follows.';
revoke execute on function leftoff.changes_text from public;

create function leftoff.changes_between(p_session bigint, p_since int, p_number int) returns text
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    with gone as (
        select d.path, d.item from leftoff.parts_at(p_session, p_since) d
        where (d.path, d.item) not in (select n.path, n.item from leftoff.parts_at(p_session, p_number) n)
    ), gone_on_top as (
        select g.path, g.item from gone g
        where not exists (
            select from gone above
            where above.item = -1 and above.path = any (leftoff.path_ancestors(g.path))
                and (above.path <> g.path or g.item >= 0))
    ), then_there as (
        select n.path, n.item, n.body from leftoff.parts_at(p_session, p_number) n where n.since > p_since
    )
    select concat('{"set":{',
        (select string_agg(concat(leftoff.pointer_json(n.path, n.item), ':', n.body), ',' order by n.path, n.item) from then_there n),
        '},"remove":[',
        (select string_agg(leftoff.pointer_json(g.path, g.item), ',' order by g.path, g.item desc) from gone_on_top g),
        ']}')
$$;
comment on function leftoff.changes_between is
    'The same from one kept number to a later one. For the rare answer about a number that is no longer the latest.';
revoke execute on function leftoff.changes_between from public;

create function leftoff.read_changes(p_session_id uuid, p_since int, out number int, out reset boolean, out changes json)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := leftoff.session_to_read(p_session_id);
begin
    -- definer: access is checked once, above
    number := v_session.latest_number;
    reset := false;
    if p_since = number then
        changes := '{"set":{},"remove":[]}';
    elsif p_since between 0 and number and (p_since = 0 or (select true from public.session_snapshots n
        where n.session_id = p_session_id and n.number = p_since))
    then
        changes := leftoff.changes_text(v_session.internal_id, p_since);
    else
        -- of a pruned number nobody knows what has been removed since
        reset := true;
    end if;
end;
$$;
comment on function leftoff.read_changes is 'The latest number and what has changed since another.';
revoke execute on function leftoff.read_changes from public;
grant execute on function leftoff.read_changes to anon, authenticated, service_role;

create function public.get_session_changes(p_session_id uuid, p_since int)
returns table (number int, reset boolean, changes json)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from leftoff.read_changes(p_session_id, p_since);
end;
$$;
comment on function public.get_session_changes is
    'One row: the latest number and the changes since p_since, {"set": {pointer: value}, "remove": [pointer]}: apply remove, then set in order. reset true: p_since is no kept number, restore instead. Raises session_not_found.';
revoke execute on function public.get_session_changes from public, anon, authenticated, service_role;
grant execute on function public.get_session_changes to anon, authenticated, service_role;

create function leftoff.read_diff(p_session_id uuid, p_from int, p_to int)
returns table (address json, change text, before json, after json)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := leftoff.session_to_read(p_session_id);
begin
    -- definer: access is checked once, above
    if p_from is null or p_to is null then
        perform leftoff.fail(422, 'invalid_argument', 'Say which two numbers are to be compared.');
    end if;
    perform leftoff.find_snapshot(v_session, p_from, null);
    perform leftoff.find_snapshot(v_session, p_to, null);
    return query
    select leftoff.pointer_json(coalesce(o.path, n.path), coalesce(o.item, n.item))::json,
        case when o.path is null then 'added' when n.path is null then 'removed' else 'changed' end,
        o.body::json, n.body::json
    from (
        select p.path, p.item, p.body from leftoff.parts_at(v_session.internal_id, p_from) p
        where p_to not between p.since and p.until - 1
    ) o
    full join (
        select p.path, p.item, p.body from leftoff.parts_at(v_session.internal_id, p_to) p
        where p_from not between p.since and p.until - 1
    ) n on n.path = o.path and n.item = o.item
    where o.body is distinct from n.body
    order by coalesce(o.path, n.path), coalesce(o.item, n.item);
end;
$$;
comment on function leftoff.read_diff is 'The addresses whose body differs between two numbers.';
revoke execute on function leftoff.read_diff from public;
grant execute on function leftoff.read_diff to anon, authenticated, service_role;

create function public.diff_snapshots(p_session_id uuid, p_from int, p_to int)
returns table (address json, change text, before json, after json)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from leftoff.read_diff(p_session_id, p_from, p_to);
end;
$$;
comment on function public.diff_snapshots is
    'What differs between two snapshots, a row for each address: added, removed or changed, with the values. 0 is the empty state before the first. Raises session_not_found, snapshot_not_found, snapshot_gone.';
revoke execute on function public.diff_snapshots from public, anon, authenticated, service_role;
grant execute on function public.diff_snapshots to anon, authenticated, service_role;

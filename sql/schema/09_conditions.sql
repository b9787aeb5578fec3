-- Conditions: changes that look at what is stored before they are done. They are judged under the session's
-- lock, against the latest state, whatever the save's base is: so of many callers at once the first wins. A
-- merge has nothing to do with them.
--   add          writes where nothing is; else what is there stays, and the answer says what it is
--   append_once  appends the items whose member of that name no item of the list has
--   expect, expect_absent  refuse the whole save unless that is, or nothing is, at the address
-- Values are compared as everywhere: part by part, bodies by their text. Members of opened objects have no
-- order; inside of a part order, digits and spaces count.
-- Breaks running code: no.

create function asyouwere.are_conditional(p_rows asyouwere.change_rows) returns boolean
language sql immutable parallel safe
return p_rows.ops && array['add', 'by', 'expect', 'expect_absent'];
comment on function asyouwere.are_conditional is 'Whether there are conditions among change rows.';
revoke execute on function asyouwere.are_conditional from public;

create function asyouwere.conditions_of(p_rows asyouwere.change_rows, p_conditional boolean)
returns asyouwere.change_rows
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    -- an in row goes with the row that it lies in, the one before it that is none
    select row(array_agg(g.op order by g.position), array_agg(g.path order by g.position),
        array_agg(g.item order by g.position), array_agg(g.body order by g.position))::asyouwere.change_rows
    from (
        select u.*, first_value(u.op) over (partition by u.head order by u.position)
                in ('add', 'by', 'once', 'expect', 'expect_in', 'expect_absent') as is_condition
        from (
            select e.*, count(*) filter (where e.op <> 'in') over (order by e.position) as head
            from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
                as e (op, path, item, body, position)
        ) u
    ) g
    where g.is_condition = p_conditional
$$;
comment on function asyouwere.conditions_of is 'The conditions among change rows, or all other rows.';
revoke execute on function asyouwere.conditions_of from public;

create function asyouwere.rows_and(p_rows asyouwere.change_rows, p_more asyouwere.change_rows)
returns asyouwere.change_rows
language sql immutable parallel safe
return row(p_rows.ops || p_more.ops, p_rows.paths || p_more.paths, p_rows.items || p_more.items,
    p_rows.bodies || p_more.bodies)::asyouwere.change_rows;
comment on function asyouwere.rows_and is 'Change rows and more of them.';
revoke execute on function asyouwere.rows_and from public;

create function asyouwere.item_id(p_body text, p_name text) returns text
language sql immutable parallel safe
-- name and answer as JSON text; what Postgres can't look into is masked on both sides
return case when strpos(p_body, '\u') + strpos(p_name, '\u') > 0
        and (p_body ~ '\\u(?:0000|[dD])' or p_name ~ '\\u(?:0000|[dD])')
    then asyouwere.unmasked_escapes(
        (asyouwere.masked_escapes(p_body)::json -> (asyouwere.masked_escapes(p_name)::json #>> '{}'))::text)
    else (p_body::json -> (p_name::json #>> '{}'))::text end;
comment on function asyouwere.item_id is
    'The member of that name of an item, as JSON text; null if the item has none, or is no object.';
revoke execute on function asyouwere.item_id from public;

create function asyouwere.ids_of_items(p_rows asyouwere.change_rows) returns text[]
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids text[];
    v_path text;
begin
    if 'by' <> all (p_rows.ops) then
        return null;
    end if;
    select array_agg(asyouwere.item_id(o.body, b.body) order by o.position),
        min(o.path) filter (
            where o.op = 'once' and asyouwere.item_id(o.body, b.body) ~ '^["0-9-]' is not true)
    into v_ids, v_path
    from unnest(p_rows.ops, p_rows.paths, p_rows.bodies) with ordinality as o (op, path, body, position)
    left join unnest(p_rows.ops, p_rows.paths, p_rows.bodies) b (op, path, body)
        on o.op = 'once' and b.op = 'by' and b.path = o.path;
    if v_path is not null then
        perform asyouwere.fail('invalid_changes',
            'Items of append_once are objects that have the member they are told apart by, a string or a number.',
            asyouwere.address_detail(asyouwere.pointer_json(v_path, -1)));
    end if;
    return v_ids;
end;
$$;
comment on function asyouwere.ids_of_items is
    'The ids of once rows, row by row; null if there are none. Raises invalid_changes.';
revoke execute on function asyouwere.ids_of_items from public;

create function asyouwere.items_with_ids(
    p_session bigint, p_at int, p_before int, p_path text, p_name text, p_ids text[]
) returns table (item int, id text, body text)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    -- No index knows an item's id: one would make every save dearer. So all items are read; most are
    -- passed over for not having the id's text anywhere, which is quick.
    return query
    select f.item, f.id, f.body from (
        select p.item, asyouwere.item_id(p.body, p_name) as id, p.body
        from asyouwere.parts_at(p_session, p_at) p
        where p.path = p_path and p.item >= 0 and p.since <= p_before
            and case when cardinality(p_ids) = 1 then strpos(p.body, p_ids[1]) > 0
                when cardinality(p_ids) <= 16 then (
                    select bool_or(strpos(p.body, w.id) > 0) from unnest(p_ids) w (id))
                else true end
        offset 0
    ) f
    where f.id = any (p_ids)
    order by f.item;
end;
$$;
comment on function asyouwere.items_with_ids is
    'The items of a list at a number (2147483646: the latest), not younger than another, that have one of '
    'these ids.';
revoke execute on function asyouwere.items_with_ids from public;

create type asyouwere.standing as (op text, path text, item int, id text, value text);
comment on type asyouwere.standing is
    'What was there already: at the address of an add row, or an item with the id of a once row.';

create function asyouwere.places_of_adds(p_session bigint, p_at int, p_rows asyouwere.change_rows)
returns setof asyouwere.parts
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select p.* from asyouwere.parts_of_places(p_session, p_at,
        array(select g.path from unnest(p_rows.ops, p_rows.paths) g (op, path) where g.op = 'add'),
        array(select -1 from unnest(p_rows.ops) g (op) where g.op = 'add')) p
$$;
comment on function asyouwere.places_of_adds is 'What stands at the addresses of add rows at a number.';
revoke execute on function asyouwere.places_of_adds from public;

create function asyouwere.what_stands(
    p_session bigint, p_at int, p_before int, p_rows asyouwere.change_rows, p_ids text[]
) returns setof asyouwere.standing
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_row record;
    v_ids text[];
begin
    -- an add that named an item of a list was refused
    return query
    select 'add', p.path, p.item, null::text,
        asyouwere.part_text(p_session, p_at, (p.path, p.item, p.kind, p.body)::asyouwere.found_part)
    from asyouwere.places_of_adds(p_session, p_at, p_rows) p where p.since <= p_before;
    for v_row in
        select g.path, g.body as name from unnest(p_rows.ops, p_rows.paths, p_rows.bodies) g (op, path, body)
        where g.op = 'by'
    loop
        v_ids := array(
            select distinct g.id from unnest(p_rows.ops, p_rows.paths, p_ids) g (op, path, id)
            where g.op = 'once' and g.path = v_row.path);
        return query
        select 'once', v_row.path, i.item, i.id, i.body
        from asyouwere.items_with_ids(p_session, p_at, p_before, v_row.path, v_row.name, v_ids) i;
    end loop;
end;
$$;
comment on function asyouwere.what_stands is
    'Of conditions: what is there at a number (2147483646: the latest) and is not younger than another.';
revoke execute on function asyouwere.what_stands from public;

create function asyouwere.standing_size(
    p_session bigint, p_at int, p_before int, p_rows asyouwere.change_rows
) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    -- by the sizes that are kept with the parts: no body is read
    return (
        with stands as materialized (
            select p.path from asyouwere.places_of_adds(p_session, p_at, p_rows) p where p.since <= p_before
        )
        select coalesce((
            select sum(a.size) from stands s cross join lateral (
                select q.size from asyouwere.live_parts q
                where q.session = p_session and q.path >= s.path and q.path < asyouwere.path_end(s.path)
                    and q.since <= p_at
                offset 0
            ) a), 0) + coalesce((
            -- none lies in another, so each counts once
            select sum(e.size) from asyouwere.parts_ended(p_session, p_at) e
            where exists (
                select from unnest(asyouwere.path_ancestors(e.path)) above
                where (above in (select s.path from stands s)) is true)), 0));
end;
$$;
comment on function asyouwere.standing_size is
    'The bytes of what stands at the addresses of add rows, with all that is in it.';
revoke execute on function asyouwere.standing_size from public;

create function asyouwere.pay_for_standing(
    p_session bigint, p_at int, p_before int, p_rows asyouwere.change_rows, p_ids text[]
) returns asyouwere.standing[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_standing asyouwere.standing[];
begin
    if 'add' = any (p_rows.ops) then
        -- before it is put together
        perform asyouwere.charge_answer(asyouwere.standing_size(p_session, p_at, p_before, p_rows));
    end if;
    v_standing := array(
        select s from asyouwere.what_stands(p_session, p_at, p_before, p_rows, p_ids) s);
    perform asyouwere.charge_answer((
        select sum(octet_length(s.value)) from unnest(v_standing) s where s.op = 'once'));
    return v_standing;
end;
$$;
comment on function asyouwere.pay_for_standing is
    'what_stands(), with a token taken for every MB of it. Raises rate_limited.';
revoke execute on function asyouwere.pay_for_standing from public;

create function asyouwere.standing_text(p_standing asyouwere.standing[]) returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select concat('{', string_agg(concat(asyouwere.pointer_json(s.path, s.item), ':', s.value), ','
        order by s.path collate "C", s.item), '}')
    from unnest(p_standing) s having count(*) > 0
$$;
comment on function asyouwere.standing_text is
    'What was there already as JSON text, {pointer: value}; null if nothing was.';
revoke execute on function asyouwere.standing_text from public;

create function asyouwere.refuse_conditions(p_session bigint, p_latest int, p_rows asyouwere.change_rows)
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_path text;
    v_item int;
begin
    select g.path, g.item into v_path, v_item
    from unnest(p_rows.ops, p_rows.paths, p_rows.items) g (op, path, item)
    where g.op = 'add' and g.item >= 0 limit 1;
    if found then
        perform asyouwere.fail('invalid_address',
            'Members are added. To a list items are appended, or appended once.',
            format('{"address": %s}', asyouwere.pointer_json(v_path, v_item)));
    end if;
    -- nothing can be expected inside of a part: the same look as for what is removed
    select m.path, m.item into v_path, v_item
    from asyouwere.first_misplaced(p_session, p_latest + 1, (
        select row(array_agg('remove'::text), array_agg(g.path), array_agg(g.item), array_agg(null::text))
            ::asyouwere.change_rows
        from unnest(p_rows.ops, p_rows.paths, p_rows.items) g (op, path, item)
        where g.op in ('expect', 'expect_absent'))) m;
    if v_path is not null then
        perform asyouwere.refuse_misplaced(p_session, v_path, v_item);
    end if;
end;
$$;
comment on function asyouwere.refuse_conditions is
    'Raises invalid_address, address_below_part for conditions that can''t be judged.';
revoke execute on function asyouwere.refuse_conditions from public;

create function asyouwere.refuse_unexpected(p_session bigint, p_latest int, p_rows asyouwere.change_rows)
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_count int;
    v_addresses text[];
begin
    with given as materialized (
        select g.op, g.path collate "C" as path, coalesce(g.item, -1) as item, g.body,
            count(*) filter (where g.op <> 'expect_in') over (order by g.position) as head
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
            as g (op, path, item, body, position)
        where g.op in ('expect', 'expect_in', 'expect_absent')
    ), standing as (
        -- what is alive at and under each address, a range of the live index
        select g.head, p.path, p.item, p.body from given g cross join lateral (
            select q.path, q.item, q.body from asyouwere.live_parts q
            where q.session = p_session and (q.path, q.item) >= (g.path, g.item)
                and (q.path, q.item) < (
                    case when g.item >= 0 then g.path else asyouwere.path_end(g.path) end,
                    case when g.item >= 0 then g.item + 1 else -1 end)
            offset 0
        ) p
        where g.op <> 'expect_in'
    ), unexpected as (
        select distinct coalesce(s.head, e.head) as head
        from (select * from given g where g.op <> 'expect_absent' and g.path <> '/') e
        full join standing s on s.head = e.head and s.path = e.path and s.item = e.item
        where e.body is distinct from s.body
    ), told as materialized (
        select g.path, g.item from given g
        where g.op <> 'expect_in' and g.head in (select u.head from unexpected u)
    )
    select (select count(*) from told),
        array(select asyouwere.pointer_json(t.path, t.item) from told t order by t.path, t.item limit 100)
    into v_count, v_addresses;
    if v_count > 0 then
        perform asyouwere.refuse_conflict(v_addresses, v_count, p_latest);
    end if;
end;
$$;
comment on function asyouwere.refuse_unexpected is
    'Raises conflict, with the addresses, for what is not as expected.';
revoke execute on function asyouwere.refuse_unexpected from public;

create function asyouwere.conditional_writes(
    p_rows asyouwere.change_rows, p_ids text[], p_standing asyouwere.standing[]
) returns asyouwere.change_rows
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select row(array_agg(w.op order by w.place, w.position), array_agg(w.path order by w.place, w.position),
        array_agg(w.item order by w.place, w.position), array_agg(w.body order by w.place, w.position))
        ::asyouwere.change_rows
    from (
        select case g.op when 'add' then 'set' else 'in' end as op, g.path, g.item, g.body, 0 as place, g.position
        from (
            select e.*, first_value(e.path) over (partition by e.head order by e.position) as added
            from (
                select u.*, count(*) filter (where u.op = 'add') over (order by u.position) as head
                from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
                    as u (op, path, item, body, position)
                where u.op in ('add', 'in')
            ) e
        ) g
        where g.added not in (select s.path from unnest(p_standing) s where s.op = 'add')
        union all
        -- last, as appends are; of equal ids the first
        select 'append', o.path, null, o.body, 1, o.position
        from (
            select distinct on (i.path, i.id) i.path, i.id, i.body, i.position
            from unnest(p_rows.ops, p_rows.paths, p_rows.bodies, p_ids) with ordinality
                as i (op, path, body, id, position)
            where i.op = 'once'
            order by i.path, i.id, i.position
        ) o
        where (o.path, o.id) not in (select s.path, s.id from unnest(p_standing) s where s.op = 'once')
    ) w
$$;
comment on function asyouwere.conditional_writes is
    'What conditions write, given what stands already: change rows against the latest.';
revoke execute on function asyouwere.conditional_writes from public;

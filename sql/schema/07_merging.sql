-- Merging: a save whose base is not the latest. Decided here and nowhere else.
--
-- mine:   what the caller's copy changed since the base, address by address
-- theirs: what the stored state changed since the base, address by address
-- An address that both changed to the same is left alone. Otherwise a change of mine and a change of theirs
-- conflict when
--   1. they are at the same address, or
--   2. one is at a member that the other lies in (a container made, removed or replaced under a change), or
--   3. mine cuts items off the end of a list that theirs made longer.
-- Two who both make an object, or a list, where none was at the base agree on it: what they put into it is
-- merged as if it had been there, empty. Items of mine past the end that a list had at the base are appends.
-- They never conflict while the list lives, however short it is by now: they go after what is there. On any
-- conflict nothing is written and the addresses are named. Breaks running code: no.

create type asyouwere.part_change as (path text, item int, old text, new text);
comment on type asyouwere.part_change is
    'One address whose body was changed; old or new is null where there was or is none.';

create function asyouwere.each_change(p_changes asyouwere.part_change[]) returns setof asyouwere.part_change
language sql immutable parallel safe rows 2000 set search_path = pg_catalog, pg_temp
-- unnest() of a parameter is taken for ten rows, and ten by ten are tried each with each. Not so thousands.
as $$ select c.* from unnest(p_changes) c $$;
comment on function asyouwere.each_change is 'Changes as rows, many of them for the planner.';
revoke execute on function asyouwere.each_change from public;

create function asyouwere.changes_of_others(p_session bigint, p_base int)
returns table (path text, item int, old text, new text)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    select coalesce(b.path, l.path), coalesce(b.item, l.item), b.body, l.body
    from asyouwere.parts_ended(p_session, p_base) b
    full join asyouwere.parts_begun(p_session, p_base) l on l.path = b.path and l.item = b.item
    where b.body is distinct from l.body
$$;
comment on function asyouwere.changes_of_others is
    'Addresses whose body now differs from the one at the base; old or new is null where there was or '
    'is none.';
revoke execute on function asyouwere.changes_of_others from public;

create function asyouwere.parts_of_places(p_session bigint, p_base int, p_paths text[], p_items int[])
returns setof asyouwere.parts
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
    -- The alive by their index, one probe each; what has ended since in a hash ("is true", or the planner makes a loop
    -- of it). To ask parts_at() for each would read all that has ended for each: thousands by thousands.
    return query
    select a.*
    from (select distinct u.path, u.item from unnest(p_paths, p_items) u (path, item)) w
    cross join lateral (
        select * from asyouwere.live_parts p
        where p.session = p_session and p.path = w.path and p.item = w.item and p.since <= p_base
        offset 0
    ) a
    union all
    select * from asyouwere.parts_ended(p_session, p_base) e
    where ((e.path, e.item) in (select u.path, u.item from unnest(p_paths, p_items) u (path, item))) is true;
end;
$$;
comment on function asyouwere.parts_of_places is
    'What was at these places at a number (2147483646: the latest).';
revoke execute on function asyouwere.parts_of_places from public;

create function asyouwere.changes_of_caller(p_session bigint, p_base int, p_rows asyouwere.change_rows)
returns table (path text, item int, old text, new text)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    with given as materialized (
        select g.op, g.path, coalesce(g.item, -1) as item, g.body
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) as g (op, path, item, body)
        where g.op <> 'append'
    ), places as (
        -- each address as the range of what is at and under it; no path has a control character
        select g.path,
            case when g.item >= 0 then g.path || E'\x01' else asyouwere.path_end(g.path) end as path_end,
            g.item, case when g.item >= 0 then g.item else 999999999 end as last_item -- no index is larger
        from given g where g.op <> 'in'
    ), before as (
        -- What was there at the base: the alive that are old enough, a range of their index for each
        -- address, and what has ended since. Asking parts_at() would read the whole session.
        select alive.* from places l cross join lateral (
            select p.path, p.item, p.body from asyouwere.live_parts p
            where p.session = p_session and p.since <= p_base
                and p.path >= l.path and p.path < l.path_end and p.item between l.item and l.last_item
            offset 0
        ) alive
        union all
        select d.path, d.item, d.body from asyouwere.parts_ended(p_session, p_base) d
        -- hashed: thousands that have ended, tried with thousands that are wanted, would take minutes
        where (d.path, d.item) in (select l.path, l.item from places l)
            or exists (
                select from unnest(array_append(asyouwere.path_ancestors(d.path), '/')) a (above)
                where a.above in (select l.path from places l where l.item = -1))
    ), ways as materialized (
        select distinct a.path from given g
        cross join unnest(asyouwere.path_ancestors(asyouwere.path_parent(g.path))) a (path)
        where g.op = 'set' and g.item = -1 and asyouwere.path_depth(g.path) between 2 and 3
    ), standing as materialized (
        select p.path from asyouwere.parts_of_places(
            p_session, p_base, array(select w.path from ways w), array(select -1 from ways)) p
    ), wanted as (
        select g.path, g.item, g.body from given g where g.op in ('set', 'in') and g.path <> '/'
        union all
        -- and the objects on the way that were missing
        select distinct above.path, -1, '{}'
        from given g
        cross join lateral (
            select array_agg(a.path order by a.path collate "C") as missing
            from unnest(asyouwere.path_ancestors(asyouwere.path_parent(g.path))) a (path)
            where a.path not in (select s.path from standing s)
        ) way
        cross join unnest(way.missing) above (path)
        where g.op = 'set' and g.item = -1 and asyouwere.path_depth(g.path) between 2 and 3
            and asyouwere.may_be_made(g.path, way.missing[1])
    )
    select coalesce(b.path, w.path), coalesce(b.item, w.item), b.body, w.body
    from before b full join wanted w on w.path = b.path and w.item = b.item
    where b.body is distinct from w.body
$$;
comment on function asyouwere.changes_of_caller is
    'The same for what a caller wants, against the base. Appends are not in it.';
revoke execute on function asyouwere.changes_of_caller from public;

create function asyouwere.lists_in_common(
    p_session bigint, p_base int, p_mine asyouwere.part_change[], p_theirs asyouwere.part_change[]
) returns table (path text, length int)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    -- lists that stayed lists in the caller's copy and lost no item: one more than the last item that was
    -- there at the base, which is alive or has ended since
    select l.path, 1 + greatest(e.last_item, (
        select p.item from asyouwere.live_parts p
        where p.session = p_session and p.path = l.path and p.since <= p_base
        order by p.path desc, p.item desc limit 1))
    from (
        select m.path from asyouwere.each_change(p_mine) m where m.item >= 0
        except
        select m.path from asyouwere.each_change(p_mine) m where m.item = -1 or m.new is null
    ) l
    left join (
        select p.path, max(p.item) as last_item
        from asyouwere.parts_ended(p_session, p_base) p group by p.path
    ) e on e.path = l.path
    union all
    -- lists that both made
    select m.path, 0
    from asyouwere.each_change(p_mine) m
    join asyouwere.each_change(p_theirs) t on t.path = m.path and t.item = m.item
    where m.item = -1 and m.new = '[]' and t.new = '[]'
$$;
comment on function asyouwere.lists_in_common is
    'Lists into which the caller put items, and how long they were at the base: what lies further on is'
    ' appended.';
revoke execute on function asyouwere.lists_in_common from public;

create function asyouwere.refuse_gaps_of_caller(
    p_session bigint, p_base int, p_placed asyouwere.part_change[], p_appended asyouwere.part_change[]
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_path text;
    v_item int;
begin
    -- a list of the caller's with a hole, though with others' items there would be none now
    with lists as materialized (
        select c.path, min(c.item) as first, max(c.item) as last, count(*) as count
        from asyouwere.each_change(p_appended) c group by c.path
    ), before as materialized (
        select p.path, p.item from asyouwere.parts_of_places(p_session, p_base,
            array(select l.path from lists l where l.first > 0 order by l.path),
            array(select l.first - 1 from lists l where l.first > 0 order by l.path)) p
    )
    select a.path, a.last into v_path, v_item
    from lists a
    where a.last - a.first + 1 <> a.count
        or a.first > 0 and (a.path, a.first - 1) not in (select b.path, b.item from before b)
    order by a.path limit 1;
    if not found then
        -- taken from the middle, though others' cuts may leave no gap there now
        with cuts as materialized (
            select m.path, m.item from asyouwere.each_change(p_placed) m
            where m.item >= 0 and m.new is null
                and (m.path, m.item + 1) not in (
                    select n.path, n.item from asyouwere.each_change(p_placed) n where n.new is null)
        ), behind as materialized (
            select p.path, p.item from asyouwere.parts_of_places(p_session, p_base,
                array(select c.path from cuts c order by c.path, c.item),
                array(select c.item + 1 from cuts c order by c.path, c.item)) p
        )
        select c.path, c.item into v_path, v_item
        from cuts c where (c.path, c.item + 1) in (select b.path, b.item from behind b)
        order by c.path, c.item limit 1;
    end if;
    if found then
        perform asyouwere.fail('list_gap',
            p_detail => format('{"address": %s}', asyouwere.pointer_json(v_path, v_item)));
    end if;
end;
$$;
comment on function asyouwere.refuse_gaps_of_caller is
    'Raises list_gap for a list that the caller''s own changes leave with a hole.';
revoke execute on function asyouwere.refuse_gaps_of_caller from public;

create function asyouwere.clashes(
    p_mine asyouwere.part_change[], p_placed asyouwere.part_change[], p_theirs asyouwere.part_change[],
    p_appended_to text[]
) returns table (path text, item int)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    -- Equal keys all of them, so that thousands of changes on both sides are hashed and not tried each with
    -- each.
    with theirs as materialized (
        select t.path, t.item, t.old, t.new from asyouwere.each_change(p_theirs) t
    ), alone_mine as materialized (
        -- what the other side did not change to the same
        select m.path, m.item, m.new from asyouwere.each_change(p_placed) m
        left join theirs t on t.path = m.path and t.item = m.item
        where t.path is null or m.new is distinct from t.new
    ), alone_theirs as materialized (
        select t.path, t.item, t.old, t.new from theirs t
        left join asyouwere.each_change(p_placed) m on m.path = t.path and m.item = t.item
        where m.path is null or m.new is distinct from t.new
    ), clashes as (
        -- 1. at the same address
        select m.path, m.item from alone_mine m join alone_theirs t on t.path = m.path and t.item = m.item
        union
        -- 2. mine lies in a member of theirs, theirs in a member of mine
        select m.path, m.item
        from asyouwere.each_change(p_mine) m cross join unnest(asyouwere.path_ancestors(m.path)) above
        join alone_theirs t on t.path = above and t.item = -1
        where (m.path, m.item) <> (t.path, t.item)
        union
        select m.path, m.item
        from theirs t cross join unnest(asyouwere.path_ancestors(t.path)) above
        join alone_mine m on m.path = above and m.item = -1
        where (m.path, m.item) <> (t.path, t.item)
        union
        -- 3. mine cuts items off a list that theirs made longer, or changed behind the cut
        select m.path, m.item
        from alone_mine m
        join (select t.path, max(t.item) as last_item from theirs t where t.new is not null group by t.path) l
            on l.path = m.path and l.last_item > m.item
        where m.item >= 0 and m.new is null
        union
        -- appending to a list that was there and is gone or something else now
        select a.path, -1
        from unnest(p_appended_to) a (path) cross join unnest(asyouwere.path_ancestors(a.path)) above
        join theirs t on t.path = above and t.item = -1 and t.old is not null
    )
    select c.path, c.item from clashes c
$$;
comment on function asyouwere.clashes is
    'Changes of the caller''s that conflict with those of others, by the three rules at the head of this file.';
revoke execute on function asyouwere.clashes from public;

create function asyouwere.refuse_clashes(
    p_mine asyouwere.part_change[], p_placed asyouwere.part_change[], p_theirs asyouwere.part_change[],
    p_appended_to text[], p_latest int
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_count int;
    v_addresses text[];
begin
    with found as materialized (
        select c.path, c.item from asyouwere.clashes(p_mine, p_placed, p_theirs, p_appended_to) c
    )
    select (select count(*) from found),
        array(select asyouwere.pointer_json(c.path, c.item) from found c order by c.path, c.item limit 100)
    into v_count, v_addresses;
    if v_count > 0 then
        perform asyouwere.refuse_conflict(v_addresses, v_count, p_latest);
    end if;
end;
$$;
comment on function asyouwere.refuse_clashes is 'Raises conflict if anything clashes.';
revoke execute on function asyouwere.refuse_clashes from public;

create function asyouwere.merge_changes(
    p_session bigint, p_base int, p_latest int, p_rows asyouwere.change_rows
) returns asyouwere.change_rows
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_mine asyouwere.part_change[] := array(
        select c::asyouwere.part_change from asyouwere.changes_of_caller(p_session, p_base, p_rows) c);
    v_theirs asyouwere.part_change[] := array(
        select c::asyouwere.part_change from asyouwere.changes_of_others(p_session, p_base) c);
    v_placed asyouwere.part_change[];   -- mine, where it stands in the caller's copy
    v_appended asyouwere.part_change[]; -- mine, past the end of a list: stands wherever that is by now
    v_rows asyouwere.change_rows;
begin
    select array_agg(m order by m.path, m.item) filter (where m.item >= l.length is not true),
        array_agg(m order by m.path, m.item) filter (where m.item >= l.length)
    into v_placed, v_appended
    from asyouwere.each_change(v_mine) m
    left join asyouwere.lists_in_common(p_session, p_base, v_mine, v_theirs) l
        on l.path = m.path and m.item >= 0;

    perform asyouwere.refuse_clashes(v_mine, v_placed, v_theirs, array(
        select distinct u.path from unnest(p_rows.ops, p_rows.paths) u (op, path) where u.op = 'append'
    ), p_latest);
    perform asyouwere.refuse_gaps_of_caller(p_session, p_base, v_placed, v_appended);

    with merged as (
        select case when m.new is null then 'drop' else 'put' end as op, m.path, m.item, m.new as body,
            0::bigint as position, m.item as item_order
        from asyouwere.each_change(v_placed) m
        left join asyouwere.each_change(v_theirs) t on t.path = m.path and t.item = m.item
        where t.path is null or m.new is distinct from t.new
        union all
        select 'append', m.path, null, m.new, 0, m.item from asyouwere.each_change(v_appended) m
        union all
        select g.op, g.path, null, g.body, g.position, 0
        from unnest(p_rows.ops, p_rows.paths, p_rows.bodies) with ordinality as g (op, path, body, position)
        where g.op = 'append'
    )
    select array_agg(op order by position, path, item_order),
        array_agg(path order by position, path, item_order),
        array_agg(item order by position, path, item_order),
        array_agg(body order by position, path, item_order)
    into v_rows.ops, v_rows.paths, v_rows.items, v_rows.bodies
    from merged;
    return v_rows;
end;
$$;
comment on function asyouwere.merge_changes is
    'Change rows against an older base, as change rows against the latest (put, drop, append). Raises '
    'conflict, list_gap.';
revoke execute on function asyouwere.merge_changes from public;

create function asyouwere.refuse_conflict(p_addresses text[], p_count int, p_latest int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- Bounded, as it goes into the answer and into Postgres' log: 100 addresses, 4 kB of them, and how many
    -- there are.
    perform asyouwere.fail('conflict', p_detail => format('{"addresses": [%s], "count": %s, "latest": %s}', (
        select string_agg(a.address, ',' order by a.position) from (
            select u.address, u.position, sum(octet_length(u.address)) over (order by u.position) as bytes
            from unnest(p_addresses) with ordinality u (address, position) where u.position <= 100
        ) a
        where a.bytes <= 4096 or a.position = 1), least(p_count, 1000), p_latest));
end;
$$;
comment on function asyouwere.refuse_conflict is
    'Raises conflict. p_addresses: the first of them, as JSON strings; p_count: of all, told up to 1,000.';
revoke execute on function asyouwere.refuse_conflict from public;

create function asyouwere.refuse_any_change(p_session bigint, p_base int, p_latest int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_count int;
    v_addresses text[];
begin
    -- no more than a thousand are looked at: who is refused pays nothing, so it must cost little
    with changed as (
        select coalesce(b.path, e.path) as path, coalesce(b.item, e.item) as item
        from (select * from asyouwere.parts_begun(p_session, p_base) limit 1000) b
        full join (select * from asyouwere.parts_ended(p_session, p_base) limit 1000) e
            on e.path = b.path and e.item = b.item
        where b.body is distinct from e.body
    )
    select (select count(*) from changed),
        array(select asyouwere.pointer_json(c.path, c.item) from changed c order by c.path, c.item limit 100)
    into v_count, v_addresses;
    perform asyouwere.refuse_conflict(v_addresses, v_count, p_latest);
end;
$$;
comment on function asyouwere.refuse_any_change is
    'Raises conflict for a save that bears no change by others since its base.';
revoke execute on function asyouwere.refuse_any_change from public;

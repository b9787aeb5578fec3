-- Merging: a save whose base is not the latest. Decided here and nowhere else.
--
-- mine:   what the caller's copy changed since the base, address by address
-- theirs: what the stored state changed since the base, address by address
-- An address that both changed to the same is left alone. Otherwise a change of mine and a change of theirs
-- conflict when
--   1. they are at the same address, or
--   2. one is at a member that the other lies in (a container made, removed or replaced under a change), or
--   3. mine cuts items off the end of a list that theirs made longer.
-- Two who both make a container agree only if all that is in it agrees, too.
-- Items of mine past the end that a list had at the base are appends. They never conflict while the list
-- lives, however short it is by now: they go after what is there. On any conflict nothing is written and the
-- addresses are named.
-- Breaks running code: no.

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
    'Addresses whose body now differs from the one at the base; old or new is null where there was or is '
    'none.';
revoke execute on function asyouwere.changes_of_others from public;

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
            g.item, case when g.item >= 0 then g.item else 2147483647 end as last_item
        from given g where g.op <> 'in'
    ), before as (
        -- What was there at the base: the alive that are old enough, a range of their index for each address,
        -- and what has ended since. Asking parts_at() would read the whole session.
        select alive.* from places l cross join lateral (
            select p.path, p.item, p.body from asyouwere.live_parts p
            where p.session = p_session and p.since <= p_base
                and p.path >= l.path and p.path < l.path_end and p.item between l.item and l.last_item
            offset 0
        ) alive
        union all
        select d.path, d.item, d.body from asyouwere.parts_ended(p_session, p_base) d
        where exists (select from places l
            where d.path >= l.path and d.path < l.path_end and d.item between l.item and l.last_item)
    ), wanted as (
        select g.path, g.item, g.body from given g where g.op in ('set', 'in') and g.path <> '/'
    )
    select coalesce(b.path, w.path), coalesce(b.item, w.item), b.body, w.body
    from before b full join wanted w on w.path = b.path and w.item = b.item
    where b.body is distinct from w.body
$$;
comment on function asyouwere.changes_of_caller is
    'The same for what a caller wants, against the base. Appends are not in it.';
revoke execute on function asyouwere.changes_of_caller from public;

create function asyouwere.merge_changes(
    p_session bigint, p_base int, p_latest int, p_rows asyouwere.change_rows
) returns asyouwere.change_rows
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_rows asyouwere.change_rows;
    v_conflicts int;
    v_addresses text[];
    v_gap boolean;
begin
    with mine as materialized (
        select * from asyouwere.changes_of_caller(p_session, p_base, p_rows)
    ), theirs as materialized (
        select * from asyouwere.changes_of_others(p_session, p_base)
    ), lists as (
        -- Lists that stayed lists in the caller's copy and lost no item, and how long they were at the base:
        -- one more than the last item that was there then, which is alive or has ended since.
        select l.path, 1 + greatest(e.last_item, (
            select p.item from asyouwere.live_parts p
            where p.session = p_session and p.path = l.path and p.since <= p_base
            order by p.path desc, p.item desc limit 1)) as length
        from (
            select path from mine where item >= 0
            except select path from mine where item = -1 or new is null) l
        left join (
            select p.path, max(p.item) as last_item
            from asyouwere.parts_ended(p_session, p_base) p group by p.path
        ) e on e.path = l.path
    ), mine_placed as materialized (
        select m.*, l.length, m.item >= l.length is true as is_append
        from mine m left join lists l on l.path = m.path and m.item >= 0
    ), agreed as materialized (
        select m.path, m.item from mine_placed m join theirs t on t.path = m.path and t.item = m.item
        where not m.is_append and m.new is not distinct from t.new
    ), meetings as (
        -- Equal keys all of them, so that thousands of changes on both sides are hashed and not tried each
        -- with each.
        -- 1. at the same address
        select m.path, m.item, t.path as their_path, t.item as their_item
        from mine_placed m join theirs t on t.path = m.path and t.item = m.item where not m.is_append
        union all
        -- 2. mine lies in a member of theirs, theirs in a member of mine
        select m.path, m.item, t.path, t.item
        from mine_placed m cross join unnest(asyouwere.path_ancestors(m.path)) above
        join theirs t on t.path = above and t.item = -1
        union all
        select m.path, m.item, t.path, t.item
        from theirs t cross join unnest(asyouwere.path_ancestors(t.path)) above
        join mine_placed m on m.path = above and m.item = -1
        union all
        -- 3. mine cuts items off a list that theirs made longer, or changed behind the cut
        select m.path, m.item, t.path, t.last_item
        from mine_placed m
        join (select path, max(item) as last_item from theirs where new is not null group by path) t
            on t.path = m.path and t.last_item > m.item
        where m.item >= 0 and m.new is null
    ), clashes as (
        select m.path, m.item from meetings m
        where not ((m.path, m.item) in (select path, item from agreed)
            and (m.their_path, m.their_item) in (select path, item from agreed))
        union
        -- appending to a list that was there and is gone or something else now
        select g.path, -1
        from (
            select distinct u.path
            from unnest(p_rows.ops, p_rows.paths) u (op, path) where u.op = 'append') g
        cross join unnest(asyouwere.path_ancestors(g.path)) above
        join theirs t on t.path = above and t.item = -1 and t.old is not null
    ), merged as (
        select case when m.is_append then 'append' when m.new is null then 'drop' else 'put' end as op,
            m.path, case when m.is_append then null else m.item end as item, m.new as body,
            0::bigint as position, m.item as item_order
        from mine_placed m where (m.path, m.item) not in (select path, item from agreed) or m.is_append
        union all
        select g.op, g.path, null, g.body, g.position, 0
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
            as g (op, path, item, body, position)
        where g.op = 'append'
    )
    select
        (select count(*) from clashes),
        array(select asyouwere.pointer_json(path, item) from clashes order by path, item limit 100),
        (select bool_or(g.missing) from (
            select min(item) <> min(length) or max(item) - min(item) + 1 <> count(*) as missing
            from mine_placed where is_append group by path) g)
        -- taken from the middle of the caller's own list, though others' cuts may leave no gap there now
        or exists (
            select from mine m where m.item >= 0 and m.new is null
                and (m.path, m.item + 1) not in (select n.path, n.item from mine n where n.new is null)
                and (select true from asyouwere.parts_at(p_session, p_base) p
                    where p.path = m.path and p.item = m.item + 1) is true),
        array_agg(op order by position, path, item_order),
        array_agg(path order by position, path, item_order),
        array_agg(item order by position, path, item_order),
        array_agg(body order by position, path, item_order)
    into v_conflicts, v_addresses, v_gap, v_rows.ops, v_rows.paths, v_rows.items, v_rows.bodies
    from merged;

    if v_conflicts > 0 then
        perform asyouwere.refuse_conflict(v_addresses, v_conflicts, p_latest);
    end if;
    if v_gap then
        perform asyouwere.fail('list_gap');
    end if;
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
    -- Bounded, as it goes into the answer and into Postgres' log: 100 addresses, 4 kB of them, and how many there are.
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
    set enable_seqscan = off
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
comment on function asyouwere.refuse_any_change is 'Raises conflict for a save that bears no change by others since its base.';
revoke execute on function asyouwere.refuse_any_change from public;

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
-- Items of mine past the end that a list had at the base are appends. They never conflict while the list lives,
-- however short it is by now: they go after what is there. On any conflict nothing is written and the addresses are named.
-- Breaks running code: no.

create function leftoff.changes_of_others(p_session bigint, p_base int)
returns table (path text, item int, old text, new text)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    select coalesce(b.path, l.path), coalesce(b.item, l.item), b.body, l.body
    from (
        select p.path, p.item, p.body from leftoff.parts p
        where p.session = p_session and p.until > p_base and p.until < 2147483647 and p.since <= p_base
    ) b
    full join (
        select p.path, p.item, p.body from leftoff.parts p
        where p.session = p_session and p.since > p_base and p.until = 2147483647
    ) l on l.path = b.path and l.item = b.item
    where b.body is distinct from l.body
$$;
comment on function leftoff.changes_of_others is
    'Addresses whose body now differs from the one at the base; old or new is null where there was or is none.';
revoke execute on function leftoff.changes_of_others from public;

create function leftoff.changes_of_caller(p_session bigint, p_base int, p_rows leftoff.change_rows)
returns table (path text, item int, old text, new text)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    with given as materialized (
        select g.op, g.path, coalesce(g.item, -1) as item, g.body
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) as g (op, path, item, body)
        where g.op <> 'append'
    ), before as (
        select p.path, p.item, p.body from leftoff.parts_at(p_session, p_base) p
        where exists (
            select from given g
            where g.op <> 'in' and case when g.item >= 0 then p.path = g.path and p.item = g.item
                else p.path >= g.path and p.path < leftoff.path_end(g.path) end)
    ), wanted as (
        select g.path, g.item, g.body from given g where g.op in ('set', 'in') and g.path <> '/'
    )
    select coalesce(b.path, w.path), coalesce(b.item, w.item), b.body, w.body
    from before b full join wanted w on w.path = b.path and w.item = b.item
    where b.body is distinct from w.body
$$;
comment on function leftoff.changes_of_caller is
    'The same for what a caller wants, against the base. Appends are not in it.';
revoke execute on function leftoff.changes_of_caller from public;

create function leftoff.merge_changes(p_session bigint, p_base int, p_latest int, p_rows leftoff.change_rows)
returns leftoff.change_rows
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_rows leftoff.change_rows;
    v_addresses text;
    v_gap boolean;
begin
    with mine as materialized (
        select * from leftoff.changes_of_caller(p_session, p_base, p_rows)
    ), theirs as materialized (
        select * from leftoff.changes_of_others(p_session, p_base)
    ), lists as (
        -- lists as they were at the base, where they stayed lists in the caller's copy and lost no item
        select p.path, count(*) - 1 as length from leftoff.parts_at(p_session, p_base) p
        where p.path in (select path from mine where item >= 0)
            and p.path not in (select path from mine where item = -1 or new is null)
        group by p.path having min(p.item) = -1
    ), mine_placed as materialized (
        select m.*, l.length, m.item >= l.length is true as is_append,
            leftoff.path_ancestors(m.path) as ancestors
        from mine m left join lists l on l.path = m.path and m.item >= 0
    ), theirs_placed as (
        select t.*, leftoff.path_ancestors(t.path) as ancestors from theirs t
    ), agreed as materialized (
        select m.path, m.item from mine_placed m join theirs t on t.path = m.path and t.item = m.item
        where not m.is_append and m.new is not distinct from t.new
    ), clashes as (
        select distinct m.path, m.item
        from mine_placed m join theirs_placed t on
            (not m.is_append and t.path = m.path and t.item = m.item)
            or (t.item = -1 and t.path = any (m.ancestors))
            or (m.item = -1 and m.path = any (t.ancestors))
            or (m.item >= 0 and m.new is null and t.path = m.path and t.item > m.item and t.new is not null)
        where not ((m.path, m.item) in (select path, item from agreed)
            and (t.path, t.item) in (select path, item from agreed))
        union
        -- appending to a list that was there and is gone or something else now
        select g.path, -1 from unnest(p_rows.ops, p_rows.paths) g (op, path)
        join theirs t on t.item = -1 and t.path = any (leftoff.path_ancestors(g.path)) and t.old is not null
        where g.op = 'append'
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
        (select string_agg(leftoff.pointer_json(path, item), ',' order by path, item) from clashes),
        (select bool_or(g.missing) from (
            select min(item) <> min(length) or max(item) - min(item) + 1 <> count(*) as missing
            from mine_placed where is_append group by path) g)
        -- taken from the middle of the caller's own list, though others' cuts may leave no gap there now
        or exists (
            select from mine m where m.item >= 0 and m.new is null
                and (m.path, m.item + 1) not in (select n.path, n.item from mine n where n.new is null)
                and (select true from leftoff.parts_at(p_session, p_base) p
                    where p.path = m.path and p.item = m.item + 1) is true),
        array_agg(op order by position, path, item_order), array_agg(path order by position, path, item_order),
        array_agg(item order by position, path, item_order), array_agg(body order by position, path, item_order)
    into v_addresses, v_gap, v_rows.ops, v_rows.paths, v_rows.items, v_rows.bodies
    from merged;

    if v_addresses is not null then
        perform leftoff.refuse_conflict(v_addresses, p_latest);
    end if;
    if v_gap then
        perform leftoff.fail(422, 'list_gap', 'A list has no gaps: put an item at its end, or change one that is there.');
    end if;
    return v_rows;
end;
$$;
comment on function leftoff.merge_changes is
    'Change rows against an older base, as change rows against the latest (put, drop, append). Raises conflict, list_gap.';
revoke execute on function leftoff.merge_changes from public;

create function leftoff.refuse_conflict(p_addresses text, p_latest int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    perform leftoff.fail(409, 'conflict',
        'Somebody else changed the same part since your base. Nothing was written: catch up, then save again.',
        format('{"addresses": [%s], "latest": %s}', p_addresses, p_latest));
end;
$$;
comment on function leftoff.refuse_conflict is 'Raises conflict; the addresses come as JSON strings with commas between.';
revoke execute on function leftoff.refuse_conflict from public;

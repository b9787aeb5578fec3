-- What the changes of one save do to the parts: appended, overwritten, replaced, with the containers that are
-- missing. Called under the session's lock, by saving alone: see 09_saving.sql.
-- Breaks running code: no.

-- What a step of a save did: parts written or ended, the difference in bytes and in messages, whether
-- something stands where nothing stood before, so that its container has to be looked at, and the bytes of
-- all parts written.
create type asyouwere.step as (changed int, bytes bigint, messages int, new_places boolean, written bigint);
comment on type asyouwere.step is 'What a step of a save did to the session''s parts.';

create function asyouwere.no_step() returns asyouwere.step
language sql immutable parallel safe
return row(0, 0, 0, false, 0)::asyouwere.step;
comment on function asyouwere.no_step is 'A step that did nothing, to count up from.';
revoke execute on function asyouwere.no_step from public;

create function asyouwere.append_items(p_session bigint, p_number int, p_rows asyouwere.change_rows)
returns asyouwere.step
language plpgsql volatile
as $$
declare
    -- variables of their own: so plpgsql takes the arrays apart once, not for every look
    v_ops text[] := p_rows.ops;
    v_paths text[] := p_rows.paths;
    v_bodies text[] := p_rows.bodies;
    v_step asyouwere.step := asyouwere.no_step();
    v_path text;
    v_depth int;
    v_item int;
    v_kind "char";
    v_size int;
begin
    for i in 1 .. cardinality(v_ops) loop
        continue when v_ops[i] <> 'append';
        if v_paths[i] is distinct from v_path then
            v_path := v_paths[i];
            v_depth := asyouwere.path_depth(v_path);
            -- the last part alive at the path: an item, or the list itself
            select p.item, p.kind into v_item, v_kind from asyouwere.live_parts p
            where p.session = p_session and p.path = v_path
            order by p.path desc, p.item desc limit 1;
            if not found then
                -- at depth 3 a list would be kept whole; what else may be wrong there is found later
                if v_depth = 3 and (select bool_and(c.kind = 'o') from asyouwere.live_parts c
                    where c.session = p_session and c.item = -1
                        and c.path = any (asyouwere.path_ancestors(asyouwere.path_parent(v_path))))
                    is not false
                then
                    perform asyouwere.fail('not_a_list',
                        p_detail => format('{"address": %s}', asyouwere.pointer_json(v_path, -1)));
                end if;
                insert into asyouwere.parts (
                    session, since, item, ord, size, depth, kind, created_at, path, body)
                values (p_session, p_number, -1, -i, asyouwere.part_size(v_path, '[]'), v_depth,
                    asyouwere.part_kind(v_depth, -1, '[]'), now(), v_path, '[]');
                v_item := -1;
                v_step.changed := v_step.changed + 1;
                v_step.bytes := v_step.bytes + asyouwere.part_size(v_path, '[]');
                v_step.new_places := true;
            elsif v_kind not in ('l', 'i') then
                perform asyouwere.fail('not_a_list',
                    p_detail => format('{"address": %s}', asyouwere.pointer_json(v_path, -1)));
            end if;
        end if;
        v_item := v_item + 1;
        if not asyouwere.is_plain_part(v_path, v_item, v_bodies[i]) then
            perform asyouwere.refuse_part(v_path, v_item, v_bodies[i]);
        end if;
        v_size := asyouwere.part_size(v_path, v_bodies[i]);
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        values (p_session, p_number, v_item, i, v_size, v_depth, 'i', now(), v_path,
            v_bodies[i]);
        v_step.changed := v_step.changed + 1;
        v_step.bytes := v_step.bytes + v_size;
        v_step.messages := v_step.messages + case v_path when '/messages/' then 1 else 0 end;
    end loop;
    v_step.written := v_step.bytes; -- nothing ends
    return v_step;
end;
$$;
comment on function asyouwere.append_items is 'Does the append rows of a save. Raises not_a_list.';
revoke execute on function asyouwere.append_items from public;

create function asyouwere.overwrite_parts(p_session bigint, p_number int, p_rows asyouwere.change_rows)
returns asyouwere.step
language plpgsql volatile
as $$
declare
    v_ops text[] := p_rows.ops;
    v_bodies text[] := p_rows.bodies;
    v_step asyouwere.step := asyouwere.no_step();
    v_old record;
    v_size int;
begin
    -- The common case made quick: a few values in place of a few values. What is not of that kind is left
    -- over, and replace_parts() may then run over all of it: what is done here is no change any more.
    for i in 1 .. cardinality(v_ops) loop
        continue when v_ops[i] = 'append';
        update asyouwere.live_parts p set until = p_number
        where p.session = p_session and p.path = p_rows.paths[i] and p.item = coalesce(p_rows.items[i], -1)
            and p.kind in ('v', 'i') and p.body <> v_bodies[i]
            and (p.kind = 'i' or p.depth = 3 or left(v_bodies[i], 1) not in ('{', '['))
        returning p.path, p.item, p.size, p.depth, p.kind, p.created_at into v_old;
        continue when not found;
        if not asyouwere.is_plain_part(v_old.path, v_old.item, v_bodies[i]) then
            perform asyouwere.refuse_part(v_old.path, v_old.item, v_bodies[i]);
        end if;
        v_size := asyouwere.part_size(v_old.path, v_bodies[i]);
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        values (p_session, p_number, v_old.item, i, v_size, v_old.depth, v_old.kind,
            v_old.created_at, v_old.path, v_bodies[i]);
        v_step.changed := v_step.changed + 1;
        v_step.bytes := v_step.bytes + v_size - v_old.size;
        v_step.written := v_step.written + v_size;
    end loop;
    return v_step;
end;
$$;
comment on function asyouwere.overwrite_parts is
    'Does those set rows of a small save that put one value in place of another.';
revoke execute on function asyouwere.overwrite_parts from public;

create function asyouwere.replace_parts(p_session bigint, p_number int, p_rows asyouwere.change_rows)
returns asyouwere.step
language plpgsql volatile
as $$
declare
    v_step asyouwere.step;
    v_gap boolean;
begin
    with given as materialized (
        select g.op, g.path collate "C" as path, coalesce(g.item, -1) as item, g.body, g.position,
            g.item >= 0 or g.op in ('put', 'drop') as alone
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
            as g (op, path, item, body, position)
        where g.op <> 'append'
    ), standing as (
        -- What is alive at and, for set and remove, under the addresses: one range of the live index for
        -- each, whatever the statistics say.
        select p.* from given g cross join lateral (
            select q.ctid as place, q.path, q.item, q.body, q.size, q.created_at from asyouwere.parts q
            where q.session = p_session and q.until = 2147483647
                and (q.path, q.item) >= (g.path, g.item)
                and (q.path, q.item) < (
                    case when g.alone then g.path else asyouwere.path_end(g.path) end,
                    case when g.alone then g.item + 1 else -1 end)
            offset 0
        ) p
        where g.op <> 'in'
    ), changed as materialized (
        select w.path, w.item, w.body, w.position,
            s.place, s.path as old_path, s.item as old_item, s.size as old_size, s.created_at
        from (
            select g.path, g.item, g.body, g.position from given g
            where g.op in ('set', 'in', 'put') and g.path <> '/'
        ) w
        full join standing s on s.path = w.path and s.item = w.item
        where w.body is distinct from s.body
    ), closed as (
        update asyouwere.parts p set until = p_number
        where p.ctid = any (array(select c.place from changed c where c.place is not null))
        returning 1
    ), inserted as (
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        select p_session, p_number, c.item, c.position, asyouwere.part_size(c.path, c.body),
            asyouwere.path_depth(c.path), asyouwere.part_kind(asyouwere.path_depth(c.path), c.item, c.body),
            coalesce(c.created_at, now()), c.path, c.body
        from changed c
        -- the old ones must be closed first, or the new ones meet them in the live index
        where c.path is not null and (select count(*) from closed) >= 0
            and (asyouwere.is_plain_part(c.path, c.item, c.body)
                or asyouwere.refuse_part(c.path, c.item, c.body))
        returning size
    )
    select count(*), coalesce((select sum(i.size) from inserted i), 0) - coalesce(sum(c.old_size), 0),
        count(*) filter (where c.path = '/messages/' and c.item >= 0 and c.place is null)
            - count(*) filter (where c.old_path = '/messages/' and c.old_item >= 0 and c.path is null),
        coalesce(bool_or(c.place is null or c.path is null), false)
            or (select bool_or(g.op = 'remove') from given g),
        coalesce((select sum(i.size) from inserted i), 0),
        bool_or(c.path is null and c.old_item >= 0)
    into v_step.changed, v_step.bytes, v_step.messages, v_step.new_places, v_step.written, v_gap
    from changed c;
    if v_gap then
        -- items went: only from the end?
        perform asyouwere.refuse_gaps(p_session, p_number);
    end if;
    return v_step;
end;
$$;
comment on function asyouwere.replace_parts is
    'Does all other rows of a save: closes what is to go or to change, inserts what is new. Raises list_gap.';
revoke execute on function asyouwere.replace_parts from public;

create function asyouwere.make_parents(p_session bigint, p_number int) returns asyouwere.step
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_step asyouwere.step := asyouwere.no_step();
begin
    -- The objects that are missing on the way to what this save put where nothing was: below objects only,
    -- and not where the address could mean a list.
    with wanted as (
        select distinct above.path
        from asyouwere.live_parts p
        cross join lateral (
            select array_agg(a.path order by a.path collate "C") as missing
            from unnest(asyouwere.path_ancestors(asyouwere.path_parent(p.path))) a (path)
            where (select true from asyouwere.live_parts c
                where c.session = p_session and c.path = a.path and c.item = -1) is null
        ) way
        cross join unnest(way.missing) above (path)
        where p.session = p_session and p.since = p_number and p.item = -1 and p.depth between 2 and 3
            and asyouwere.may_be_made(p.path, way.missing[1])
            and (asyouwere.path_depth(way.missing[1]) = 1 or (
                select c.kind = 'o' from asyouwere.live_parts c where c.session = p_session
                    and c.path = asyouwere.path_parent(way.missing[1]) and c.item = -1))
    ), made as (
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        -- ord: past what append_items() gives to the lists that it makes
        select p_session, p_number, -1, -125000 - row_number() over (), asyouwere.part_size(w.path, '{}'),
            asyouwere.path_depth(w.path), 'o', now(), w.path, '{}'
        from wanted w
        returning size
    )
    select count(*), coalesce(sum(m.size), 0), coalesce(sum(m.size), 0)
    into v_step.changed, v_step.bytes, v_step.written from made m;
    return v_step;
end;
$$;
comment on function asyouwere.make_parents is 'Makes the objects that the parts of a save lack to stand in.';
revoke execute on function asyouwere.make_parents from public;

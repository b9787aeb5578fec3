-- Checks: what a save is refused for. Each raises its own code; the addresses go into the error's detail.
-- Breaks running code: no.

create function asyouwere.refuse_overlaps(p_rows asyouwere.change_rows) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_address text;
begin
    -- In path order whatever lies in an address comes right after it, so neighbours tell it all. Items of a
    -- list to which something is appended as well are no overlap: appended is last, after what the other rows
    -- leave.
    select asyouwere.pointer_json(n.path, n.item) into v_address
    from (
        select g.op, g.path, g.item, g.place, lag(g.op) over w as prior_op, lag(g.place) over w as prior_place
        from (
            -- what is expected meets only what else is expected: a place that begins with no "/"
            select u.op, u.path, u.item,
                concat(case when u.op in ('expect', 'expect_absent') then '=' end, u.path,
                    nullif(u.item, -1) || '/') collate "C" as place
            from unnest(p_rows.ops, p_rows.paths, p_rows.items) as u (op, path, item)
            where u.op not in ('in', 'once', 'expect_in')
        ) g
        window w as (order by g.place, g.op <> 'append')
    ) n
    where case n.prior_op when 'append' then n.op <> 'append' and n.place = n.prior_place
        else n.place >= n.prior_place and n.place < asyouwere.path_end(n.prior_place) end
    limit 1;
    if v_address is not null then
        perform asyouwere.fail('overlapping_addresses', p_detail => format('{"address": %s}', v_address));
    end if;
end;
$$;
comment on function asyouwere.refuse_overlaps is
    'Raises overlapping_addresses: the rows of one save come in no order.';
revoke execute on function asyouwere.refuse_overlaps from public;

create function asyouwere.refuse_twice(p_rows asyouwere.change_rows) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_path text;
begin
    select g.path into v_path from unnest(p_rows.ops, p_rows.paths, p_rows.items) as g (op, path, item)
    where g.op in ('in', 'expect_in') and g.item = -1
    group by g.op, g.path having count(*) > 1 order by g.path collate "C" limit 1;
    if found then
        perform asyouwere.refuse_overlaps(p_rows); -- that may be why
        perform asyouwere.fail('invalid_state', 'A key stands twice in one object.',
            asyouwere.address_detail(asyouwere.pointer_json(v_path, -1)));
    end if;
end;
$$;
comment on function asyouwere.refuse_twice is
    'Raises invalid_state for rows opened here from an object with a key that stands twice: which is meant?';
revoke execute on function asyouwere.refuse_twice from public;

create function asyouwere.refuse_loose_rows(p_rows asyouwere.change_rows) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_ops text[] := p_rows.ops;
    v_paths text[] := p_rows.paths;
    v_items int[] := p_rows.items;
    v_path text; -- of the row that those after it belong to
    v_item int;
    v_inside text; -- their op
begin
    for i in 1 .. cardinality(v_ops) loop
        if v_ops[i] not in ('in', 'once', 'expect_in') then
            v_path := case when v_ops[i] in ('set', 'add', 'by', 'expect') and coalesce(v_items[i], -1) = -1
                then v_paths[i] end;
            v_inside := case v_ops[i] when 'by' then 'once' else asyouwere.op_inside(v_ops[i]) end;
        elsif v_ops[i] <> v_inside or not coalesce(starts_with(v_paths[i], v_path), false)
            or v_ops[i] <> 'once' and v_items[i] = -1 and v_paths[i] = v_path
            or v_ops[i] = 'once' and v_paths[i] <> v_path
        then
            perform asyouwere.fail('invalid_changes',
                'An "in" row lies inside the address of the "set" row before it, and likewise.',
                asyouwere.address_detail(asyouwere.pointer_json(v_paths[i], v_items[i])));
        end if;
    end loop;
    select g.path, g.item into v_path, v_item from unnest(v_ops, v_paths, v_items) as g (op, path, item)
    where g.op in ('in', 'expect_in') group by g.op, g.path, g.item having count(*) > 1 limit 1;
    if found then
        perform asyouwere.fail('invalid_changes', 'Two "in" rows have one address.',
            asyouwere.address_detail(asyouwere.pointer_json(v_path, v_item)));
    end if;
end;
$$;
comment on function asyouwere.refuse_loose_rows is
    'Raises invalid_changes for in rows that no set row opens, or that come twice.';
revoke execute on function asyouwere.refuse_loose_rows from public;

create function asyouwere.first_misplaced(
    p_session bigint, p_number int, p_rows asyouwere.change_rows, out path text, out item int
)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    -- What this save put where nothing was before: its container must be there, and no position may be
    -- missing. Scalar sub-selects, not exists(): that may be planned as a hash of the whole session.
    select n.path, n.item from (
        select p.path, p.item, p.depth from asyouwere.parts p
        where p.session = p_session and p.since = p_number
        union all
        -- and what it was to take away where nothing is: fine, unless the address lies below a part
        select g.path, -1, asyouwere.path_depth(g.path)
        from unnest(p_rows.ops, p_rows.paths, p_rows.items) as g (op, path, item)
        where g.op = 'remove' and coalesce(g.item, -1) = -1 and asyouwere.path_depth(g.path) > 1
            and (select c.kind in ('v', 'l') from asyouwere.live_parts c where c.session = p_session
                and c.item = -1 and c.path = any (asyouwere.path_ancestors(asyouwere.path_parent(g.path)))
                order by c.path desc limit 1)
    ) n
    where not coalesce(case
        when n.item >= 0 then
            (select c.kind = 'l' from asyouwere.live_parts c
                where c.session = p_session and c.path = n.path and c.item = -1)
            and (n.item = 0 or (select true from asyouwere.live_parts c
                where c.session = p_session and c.path = n.path and c.item = n.item - 1))
        when n.depth = 1 then true
        when n.depth > 3 then false
        else (select c.kind = 'o' from asyouwere.live_parts c where c.session = p_session
            and c.path = asyouwere.path_parent(n.path) and c.item = -1)
        end, false)
    order by n.path, n.item limit 1
$$;
comment on function asyouwere.first_misplaced is
    'The first part that a save put where it can''t be, if any: no container, or a gap before it.';
revoke execute on function asyouwere.first_misplaced from public;

create function asyouwere.refuse_misplaced(p_session bigint, p_path text, p_item int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_address text := asyouwere.pointer_json(p_path, p_item);
    -- the members on the way to it
    v_way text[] := asyouwere.path_ancestors(
        case when p_item >= 0 then p_path else asyouwere.path_parent(p_path) end);
    v_part record;
    v_next text; -- the address' next key after that part
begin
    -- The deepest part there is above the address tells which mistake it is.
    select c.path, c.kind into v_part from asyouwere.live_parts c
    where c.session = p_session and c.item = -1 and c.path = any (v_way) order by c.path desc limit 1;
    v_next := split_part(substr(p_path, length(v_part.path) + 1), '/', 1);
    if v_part.kind = 'l' and p_item >= 0 and v_part.path = p_path then
        perform asyouwere.fail('list_gap', p_detail => format('{"address": %s}', v_address));
    elsif v_part.kind = 'l' and asyouwere.is_index(v_next) and (select true from asyouwere.live_parts i
        where i.session = p_session and i.path = v_part.path and i.item = v_next::int)
    then
        perform asyouwere.fail('address_below_part', p_detail => format('{"address": %s, "part": %s}',
            v_address, asyouwere.pointer_json(v_part.path, v_next::int)));
    elsif v_part.kind = 'l' then
        perform asyouwere.fail('invalid_address', 'Lists have items 0, 1, 2 …, and this address names none.',
            format('{"address": %s}', v_address));
    elsif v_part.kind = 'v' or asyouwere.path_depth(p_path) > 3 then
        -- no part is deeper: whatever is made above it, the address will lie in one
        perform asyouwere.fail('address_below_part', p_detail => format('{"address": %s, "part": %s}',
            v_address,
            asyouwere.pointer_json(case v_part.kind when 'v' then v_part.path else v_way[3] end, -1)));
    end if;
    perform asyouwere.fail('missing_parent', p_detail => format('{"address": %s, "parent": %s}',
        v_address, asyouwere.pointer_json(
            v_way[least(coalesce(array_position(v_way, v_part.path), 0) + 1, cardinality(v_way))], -1)));
end;
$$;
comment on function asyouwere.refuse_misplaced is
    'Raises list_gap, address_below_part, missing_parent or invalid_address for a part that can''t be there.';
revoke execute on function asyouwere.refuse_misplaced from public;

create function asyouwere.is_plain_part(p_path text, p_item int, p_body text) returns boolean
language sql immutable parallel safe
-- A cheap look, inlined by the planner. Hardly any part needs the closer one, nor then the settings: no limit
-- can be set so low that what passes here breaks it.
return octet_length(p_path) <= 2000
    and (left(p_body, 1) not in ('{', '[') or p_item >= 0 or p_body in ('{}', '[]'))
    and octet_length(p_body) - octet_length(replace(replace(p_body, '[', ''), '{', '')) <= 16
    and p_body !~ '[eE][+-]?[0-9]{3}|[0-9]{100}';
comment on function asyouwere.is_plain_part is 'Whether refuse_part() is sure to find nothing.';
revoke execute on function asyouwere.is_plain_part from public;

create function asyouwere.refuse_part(p_path text, p_item int, p_body text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_max_nesting int := (select s.max_nesting from asyouwere.settings s);
    -- how many containers it stands in, the state being the first
    v_level int := asyouwere.path_depth(p_path) + case when p_item >= 0 then 1 else 0 end;
    v_bare text;
begin
    if octet_length(p_path) > 2000 then
        perform asyouwere.fail('address_too_long',
            p_detail => asyouwere.address_detail(asyouwere.pointer_json(p_path, p_item)));
    elsif p_item = -1 and v_level < 3 and left(p_body, 1) in ('{', '[') and p_body not in ('{}', '[]') then
        perform asyouwere.fail('invalid_changes',
            'A container at this depth is sent opened, its inside as rows of its own.',
            asyouwere.address_detail(asyouwere.pointer_json(p_path, p_item)));
    end if;
    if octet_length(p_body) - octet_length(replace(replace(p_body, '[', ''), '{', '')) + v_level
        > v_max_nesting
    then
        -- Brackets of one kind do, as the body is known to be JSON; pairs of them that hold nothing fall
        -- away, level by level, and what is left over is deeper than allowed. replace() is a hundred times as
        -- quick as an expression.
        v_bare := translate(regexp_replace(p_body, '"(?:[^"\\]|\\.)*"|[^][{}"]+', '', 'g'), '{}', '[]');
        while v_bare <> '' and v_level < v_max_nesting loop
            v_bare := replace(v_bare, '[]', '');
            v_level := v_level + 1;
        end loop;
        if v_bare <> '' then
            perform asyouwere.fail('nesting_too_deep',
                format('Containers may lie in one another to %s levels.', v_max_nesting),
                asyouwere.address_detail(asyouwere.pointer_json(p_path, p_item)));
        end if;
    end if;
    if p_body ~ '[eE][+-]?[0-9]{3}|[0-9]{100}' then
        v_bare := regexp_replace(p_body, '"(?:[^"\\]|\\.)*"', '', 'g');
        if exists (
            select from regexp_matches(v_bare, '-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', 'g') m
            where case when m[1] ~ '[eE][+-]?0*[0-9]{4}' or length(m[1]) > 1000 then true
                else abs(m[1]::numeric) >= 1.797693134862315808e308 end)
        then
            perform asyouwere.fail('number_out_of_range',
                p_detail => asyouwere.address_detail(asyouwere.pointer_json(p_path, p_item)));
        end if;
    end if;
    return true;
end;
$$;
comment on function asyouwere.refuse_part is
    'True, or raises nesting_too_deep, number_out_of_range, address_too_long, invalid_changes.';
revoke execute on function asyouwere.refuse_part from public;

create function asyouwere.refuse_document(p_field text, p_value jsonb, p_max_bytes int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_numbers record;
begin
    if p_value is null or p_value = '{}' then
        return;
    end if;
    -- jsonb keeps 1e131071 in a dozen bytes and shows it as 131,072 digits, so it is looked at number by
    -- number, in binary, before any text is made of it. Its binary form is never eight times as large as its
    -- text.
    if pg_column_size(p_value) <= 8 * p_max_bytes then
        select coalesce(bool_or(not n.fits), false) as out_of_range,
            coalesce(sum(case when n.fits then length(n.number::text) end), 0) as digits
        into v_numbers
        from (
            select v::numeric as number,
                abs(v::numeric) < 1.797693134862315808e308 and scale(v::numeric) <= 1000 as fits
            from jsonb_path_query(p_value, 'strict $.** ? (@.type() == "number")') v
        ) n;
        if v_numbers.out_of_range then
            perform asyouwere.fail('number_out_of_range',
                format('In %s a number is outside the range of a double, or written absurdly long.',
                    p_field));
        elsif v_numbers.digits <= p_max_bytes and octet_length(p_value::text) <= p_max_bytes then
            -- as if it were a member of a state
            perform asyouwere.refuse_part('/', 0, p_value::text);
            return;
        end if;
    end if;
    perform asyouwere.fail('invalid_argument',
        format('%s is an object of at most %s KB.', p_field, p_max_bytes / 1024));
exception when statement_too_complex then
    perform asyouwere.fail('nesting_too_deep',
        format('The containers in %s lie too deep in one another.', p_field));
end;
$$;
comment on function asyouwere.refuse_document is
    'Holds jsonb that people send to the rules of parts. Raises number_out_of_range, nesting_too_deep, '
    'invalid_argument.';
revoke execute on function asyouwere.refuse_document from public;

create function asyouwere.refuse_gaps(p_session bigint, p_number int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_path text;
    v_item int;
begin
    select gone.path, gone.first into v_path, v_item
    from (
        select p.path, min(p.item) as first from asyouwere.parts p
        where p.session = p_session and p.until = p_number and p.item >= 0
            and (select true from asyouwere.live_parts n where n.session = p.session
                and n.path = p.path and n.item = p.item) is null
        group by p.path
    ) gone
    where (select p.item from asyouwere.live_parts p where p.session = p_session
        and p.path = gone.path order by p.path desc, p.item desc limit 1) > gone.first
    limit 1;
    if found then
        perform asyouwere.fail('list_gap',
            'Items can be removed from the end of a list only. Set the whole list instead.',
            format('{"address": %s}', asyouwere.pointer_json(v_path, v_item)));
    end if;
end;
$$;
comment on function asyouwere.refuse_gaps is
    'Raises list_gap if a save took items from the middle of a list.';
revoke execute on function asyouwere.refuse_gaps from public;

create function asyouwere.refuse_size(p_size_bytes bigint) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_max_bytes bigint := (select s.max_state_bytes from asyouwere.settings s);
begin
    if p_size_bytes > v_max_bytes then
        perform asyouwere.fail('too_large', format('The state may have %s MB.', v_max_bytes / (1024 * 1024)),
            format('{"size_bytes": %s, "max_bytes": %s}', p_size_bytes, v_max_bytes));
    end if;
end;
$$;
comment on function asyouwere.refuse_size is 'Raises too_large.';
revoke execute on function asyouwere.refuse_size from public;

create function asyouwere.refuse_base(p_session public.free_agent_sessions, p_base int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_base > p_session.latest_number or p_base < 0 then
        perform asyouwere.fail('unknown_base',
            p_detail => format('{"base": %s, "latest": %s}', p_base, p_session.latest_number));
    elsif p_base > 0 and (select true from public.session_snapshots n
        where n.session_id = p_session.id and n.number = p_base) is null
    then
        perform asyouwere.fail('snapshot_gone',
            p_detail => format('{"number": %s, "latest": %s}', p_base, p_session.latest_number));
    end if;
end;
$$;
comment on function asyouwere.refuse_base is
    'Raises unknown_base, snapshot_gone unless the number is a kept one, or 0.';
revoke execute on function asyouwere.refuse_base from public;

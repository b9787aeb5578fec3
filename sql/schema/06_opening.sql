-- Opening: how a JSON value becomes parts, and how what a caller sends becomes change rows.
-- The rule: objects are opened down to depth 3, lists met on the way are opened too, their items kept whole.
--
-- Change rows are four arrays side by side:
--   op             what
--   set            put this body at this address, in place of whatever is at and under it
--   in             a part inside the value of a set or add row before it
--   remove         take away what is at and under this address
--   append         put this body after the list's last item; makes the list where nothing is
--   put            like set, but this one part only   (made by merging, refused from callers)
--   drop           like remove, but this one part only (made by merging, refused from callers)
-- and the conditions, of which 09_conditions.sql makes these:
--   add            like set, where nothing is; else what is there stays
--   expect         refuse all if anything else is at this address
--   expect_in      a part inside the value of an expect row before it
--   expect_absent  refuse all if anything is at this address
--   by             the member (body: its name, as JSON) that the list's once rows are told apart by
--   once           like append, if no item there has the same
-- The functions open JSON themselves and send the arrays, which is quicker and keeps every character; SQL
-- callers send json, which is opened here. Both end in the same rows. Postgres can't look inside JSON that
-- has \u0000 or half a character; for such the escapes are masked while it looks.
-- Breaks running code: no.

create type asyouwere.change_rows as (ops text[], paths text[], items int[], bodies text[]);
comment on type asyouwere.change_rows is 'What a save is to do: see 06_opening.sql.';

create function asyouwere.refuse_count(p_count int) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    -- The functions have the same number, so that no list of millions of items gets as far as here. A body of
    -- 10 MB is as quick to write with five million items as with ten thousand, and costs hundreds of times as
    -- much.
    if p_count > 125000 then
        perform asyouwere.fail('too_large', 'One save may write 125,000 parts. Send them in several saves.',
            '{"max_parts": 125000}');
    end if;
end;
$$;
comment on function asyouwere.refuse_count is 'Raises too_large for more change rows than one save may have.';
revoke execute on function asyouwere.refuse_count from public;

create function asyouwere.open_value(p_path text, p_depth int, p_value json)
returns table (path text, item int, body text)
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    with recursive opened (path, depth, item, value, type) as (
        select p_path, p_depth, -1, p_value, json_typeof(p_value)
        union all
        select inside.path, inside.depth, inside.item, inside.value, json_typeof(inside.value)
        from opened o cross join lateral (
            select o.path || asyouwere.path_key(m.key) || '/' as path, o.depth + 1 as depth, -1 as item,
                m.value
            from json_each(case o.type when 'object' then o.value else '{}' end) m
            union all
            select o.path, o.depth, (e.position - 1)::int, e.value
            from json_array_elements(case o.type when 'array' then o.value else '[]' end)
                with ordinality as e (value, position)
        ) inside
        where o.item = -1 and o.depth < 3 and o.type in ('object', 'array')
    )
    select o.path, o.item,
        case when o.item = -1 and o.depth < 3 and o.type = 'object' then '{}'
             when o.item = -1 and o.depth < 3 and o.type = 'array' then '[]'
             else o.value::text end
    from opened o
$$;
comment on function asyouwere.open_value is
    'The parts of a value that stands at a path of that depth; the value''s own part comes first. A key that '
    'stands twice makes two parts: see refuse_twice().';
revoke execute on function asyouwere.open_value from public;

create function asyouwere.masked_escapes(p_body text) returns text
language sql immutable strict parallel safe
-- Postgres reads JSON with \u0000 or half a character but can't look into it. So these are written as letters
-- that it can, \u0001 and one more; and so is the letter \u0001 itself. Pairs of backslashes are put aside
-- first, in place of them a control character, which no JSON has: every backslash that is left begins an
-- escape.
return replace(replace(replace(replace(replace(p_body, '\\', E'\x01'),
    '\u0001', '\u0001\u0002'), '\u0000', '\u0001\u0003'), '\ud', '\u0001\u0004d'), E'\x01', '\\');
comment on function asyouwere.masked_escapes is
    'A body that json functions can look into; unmasked_escapes() is the way back.';
revoke execute on function asyouwere.masked_escapes from public;

create function asyouwere.unmasked_escapes(p_text text) returns text
language sql immutable strict parallel safe
return replace(replace(replace(replace(replace(p_text, '\\', E'\x01'),
    '\u0001\u0004', '\u'), '\u0001\u0003', '\u0000'), '\u0001\u0002', '\u0001'), E'\x01', '\\');
comment on function asyouwere.unmasked_escapes is
    'The way back from masked_escapes(), for bodies and for keys as they stand in a path.';
revoke execute on function asyouwere.unmasked_escapes from public;

create function asyouwere.masked_json(p_value json) returns json
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    -- The same for JSON as people write it, where two escapes may be one character, spelled in any case: only
    -- \u0000 and halves without their other half are masked, so that every key keeps its one spelling.
    select replace(regexp_replace(regexp_replace(
        replace(replace(small.text, '\u0001', '\u0001\u0002'), '\u0000', '\u0001\u0003'),
        '\\u(d[89ab][0-9a-f]{2})(?!\\ud[c-f])', '\\u0001\\u0004\1', 'g'),
        '(?<!\\ud[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})', '\\u0001\\u0004\1', 'g'), E'\x01', '\\')::json
    from (
        select case when aside.text ~ '\\u(?:D|d[0-9a-f]{0,2}[A-F])' then (
                select string_agg(m[1] || lower(m[2]), '' order by position)
                from regexp_matches(aside.text, '(.*?)(\\u[dD][0-9a-fA-F]{3}|$)', 'g')
                    with ordinality as r (m, position)
            ) else aside.text end as text
        from (select replace(p_value::text, '\\', E'\x01') as text) aside
    ) small
$$;
comment on function asyouwere.masked_json is
    'JSON from a caller that json functions can look into; unmasked_rows() is the way back.';
revoke execute on function asyouwere.masked_json from public;

create function asyouwere.unmasked_rows(p_rows asyouwere.change_rows) returns asyouwere.change_rows
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select row(p_rows.ops,
        array(select asyouwere.unmasked_escapes(u.path)
            from unnest(p_rows.paths) with ordinality u (path, position) order by u.position),
        p_rows.items,
        array(select asyouwere.unmasked_escapes(u.body)
            from unnest(p_rows.bodies) with ordinality u (body, position) order by u.position)
    )::asyouwere.change_rows
$$;
comment on function asyouwere.unmasked_rows is 'Change rows that were opened from masked_json().';
revoke execute on function asyouwere.unmasked_rows from public;

create function asyouwere.json_inside(p_text json) returns json
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_inside json;
begin
    v_inside := p_text #>> '{}';
    return v_inside;
exception
    when invalid_text_representation or untranslatable_character then
        perform asyouwere.fail('invalid_json', 'The text is not JSON.');
        return null;
    when statement_too_complex then
        perform asyouwere.fail('nesting_too_deep');
        return null;
end;
$$;
comment on function asyouwere.json_inside is
    'The JSON that a JSON string says: what PostgREST reads no JSON with, \u0000 or half a character, comes to us '
    'in a text. Raises invalid_json, nesting_too_deep.';
revoke execute on function asyouwere.json_inside from public;

create function asyouwere.open_state(p_state json) returns asyouwere.change_rows
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_rows asyouwere.change_rows;
begin
    if json_typeof(p_state) = 'string' then
        return asyouwere.open_state(asyouwere.json_inside(p_state));
    elsif json_typeof(p_state) is distinct from 'object' then
        perform asyouwere.fail('invalid_state');
    end if;
    select array_agg(case when o.path = '/' then 'set' else 'in' end),
        array_agg(o.path), array_agg(o.item), array_agg(o.body)
    into v_rows from (select * from asyouwere.open_value('/', 0, p_state) limit 125001) o;
    perform asyouwere.refuse_count(cardinality(v_rows.ops));
    return v_rows;
exception when untranslatable_character or invalid_text_representation then
    -- \u0000 or half a character: only who sends them pays for them
    if octet_length(p_state::text) > 65536 then
        perform asyouwere.refuse_second_large(); -- four seconds for each MB of them
    end if;
    if asyouwere.masked_json(p_state)::text = p_state::text then
        perform asyouwere.fail('not_representable', 'Postgres can''t read this JSON.');
    end if;
    return asyouwere.unmasked_rows(asyouwere.open_state(asyouwere.masked_json(p_state)));
end;
$$;
comment on function asyouwere.open_state is
    'A whole state as change rows. Raises invalid_state, not_representable, too_large.';
revoke execute on function asyouwere.open_state from public;

create function asyouwere.op_inside(p_op text) returns text
language sql immutable parallel safe
return case p_op when 'expect' then 'expect_in' else 'in' end;
comment on function asyouwere.op_inside is 'The op of the rows inside the value of a set, add or expect row.';
revoke execute on function asyouwere.op_inside from public;

create function asyouwere.is_index(p_key text) returns boolean
language sql immutable strict parallel safe
return p_key ~ '^(0|[1-9][0-9]{0,8})$';
comment on function asyouwere.is_index is 'Whether a key may be a position in a list.';
revoke execute on function asyouwere.is_index from public;

-- Changes taken apart; null is a member that was left out.
create type asyouwere.changes as (
    set json, append json, remove json, add json, append_once json, expect json, expect_absent json
);
comment on type asyouwere.changes is 'The members of changes as callers send them.';

create function asyouwere.are_strings(p_list json) returns boolean
language sql immutable parallel safe
return not exists (select from json_array_elements(p_list) e where json_typeof(e) <> 'string');
comment on function asyouwere.are_strings is 'Whether a JSON list has strings only.';
revoke execute on function asyouwere.are_strings from public;

create function asyouwere.changes_members(p_changes json) returns asyouwere.changes
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_changes asyouwere.changes;
    v_member record;
    v_well_formed boolean := json_typeof(p_changes) is not distinct from 'object';
begin
    -- one pass: each look at a member of json reads all of it
    for v_member in
        select e.key, e.value, json_typeof(e.value) as type
        from json_each(case when v_well_formed then p_changes else '{}' end) e
    loop
        case v_member.key
            when 'set' then
                v_well_formed := v_well_formed and v_changes.set is null and v_member.type = 'object';
                v_changes.set := v_member.value;
            when 'append' then
                v_well_formed := v_well_formed and v_changes.append is null and v_member.type = 'object';
                v_changes.append := v_member.value;
            when 'remove' then
                v_well_formed := v_well_formed and v_changes.remove is null and v_member.type = 'array';
                v_changes.remove := v_member.value;
            when 'add' then
                v_well_formed := v_well_formed and v_changes.add is null and v_member.type = 'object';
                v_changes.add := v_member.value;
            when 'append_once' then
                v_well_formed := v_well_formed and v_changes.append_once is null and v_member.type = 'object';
                v_changes.append_once := v_member.value;
            when 'expect' then
                v_well_formed := v_well_formed and v_changes.expect is null and v_member.type = 'object';
                v_changes.expect := v_member.value;
            when 'expect_absent' then
                v_well_formed := v_well_formed and v_changes.expect_absent is null and v_member.type = 'array';
                v_changes.expect_absent := v_member.value;
            else
                v_well_formed := false;
        end case;
    end loop;
    if not v_well_formed
        or v_changes.append is not null and exists (
            select from json_each(v_changes.append) a where json_typeof(a.value) <> 'array')
        or v_changes.remove is not null and not asyouwere.are_strings(v_changes.remove)
        or v_changes.expect_absent is not null and not asyouwere.are_strings(v_changes.expect_absent)
        or v_changes.append_once is not null and exists (
            select from json_each(v_changes.append_once) a
            where case json_typeof(a.value) when 'object' then
                json_typeof(a.value -> 'by') is distinct from 'string'
                or json_typeof(a.value -> 'items') is distinct from 'array'
                or (select count(*) from json_object_keys(a.value)) <> 2 else true end)
    then
        perform asyouwere.fail('invalid_changes',
            'Changes are {"set": {pointer: value}, "append": {pointer: [items]}, "remove": [pointer], '
            '"add": {pointer: value}, "append_once": {pointer: {"by": name, "items": [items]}}, '
            '"expect": {pointer: value}, "expect_absent": [pointer]}, each optional, none twice.');
    end if;
    return v_changes;
end;
$$;
comment on function asyouwere.changes_members is
    'Changes taken apart; addresses are not looked at. Raises invalid_changes.';
revoke execute on function asyouwere.changes_members from public;

create function asyouwere.refuse_root(p_changes asyouwere.changes) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    if json_typeof(p_changes.set -> '') <> 'object' or json_typeof(p_changes.expect -> '') <> 'object' then
        perform asyouwere.fail('invalid_state');
    elsif p_changes.remove::jsonb ? '' then
        perform asyouwere.fail('invalid_address', 'The state itself can''t be removed.', '{"address": ""}');
    elsif (p_changes.append -> '') is not null or (p_changes.append_once -> '') is not null then
        perform asyouwere.fail('not_a_list', 'The state is no list.', '{"address": ""}');
    elsif (p_changes.add -> '') is not null or p_changes.expect_absent::jsonb ? '' then
        perform asyouwere.fail('invalid_address', 'The state itself is always there.', '{"address": ""}');
    end if;
end;
$$;
comment on function asyouwere.refuse_root is
    'Raises invalid_state, invalid_address, not_a_list for what can''t be done to the state as a whole.';
revoke execute on function asyouwere.refuse_root from public;

create function asyouwere.open_changes(p_changes json) returns asyouwere.change_rows
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_changes asyouwere.changes;
    v_rows asyouwere.change_rows;
    v_pointer text; -- that stands twice
begin
    if json_typeof(p_changes) = 'string' then
        return asyouwere.open_changes(asyouwere.json_inside(p_changes));
    end if;
    v_changes := asyouwere.changes_members(p_changes);
    if strpos(p_changes::text, '""') > 0 then -- the pointer of the state
        perform asyouwere.refuse_root(v_changes);
    end if;
    if v_changes.append is not null then
        -- which refuse_overlaps() can't see: items appended to one list are rows of one address
        select e.key into v_pointer from (
            select k.key from json_object_keys(v_changes.append) k (key)
            union all
            select k.key from json_object_keys(v_changes.set) k (key)
        ) e
        group by e.key having count(*) > 1 limit 1;
    end if;
    if v_pointer is not null then
        perform asyouwere.fail('overlapping_addresses',
            p_detail => asyouwere.address_detail(asyouwere.pointer_json(
                asyouwere.path_of_pointer(v_pointer), -1)));
    end if;
    with asked as (
        select 'remove' as op, asyouwere.path_of_pointer(r) as path, null::json as value
        from json_array_elements_text(v_changes.remove) r
        union all
        select 'expect_absent', asyouwere.path_of_pointer(r), null
        from json_array_elements_text(v_changes.expect_absent) r
        union all
        select m.op, asyouwere.path_of_pointer(m.key), m.value
        from (
            select 'set' as op, s.key, s.value from json_each(v_changes.set) s
            union all
            select 'add', a.key, a.value from json_each(v_changes.add) a
            union all
            select 'expect', e.key, e.value from json_each(v_changes.expect) e
            union all
            select 'by', a.key, a.value -> 'by' from json_each(v_changes.append_once) a
        ) m
        union all
        select 'once', asyouwere.path_of_pointer(a.key), i.value
        from json_each(v_changes.append_once) a, json_array_elements(a.value -> 'items') i
        union all
        select 'append', asyouwere.path_of_pointer(a.key), i.value
        from json_each(v_changes.append) a, json_array_elements(a.value) i
    ), opened as (
        select a.op, a.path, null::int as item, a.value::text as body
        from asked a
        where a.op not in ('set', 'add', 'expect') or asyouwere.is_index(split_part(a.path, '/', -2))
        union all
        -- whether /a/12 is an item or a member only the stored state can tell: resolve_addresses() opens
        -- those
        select case when o.path = a.path and o.item = -1 then a.op else asyouwere.op_inside(a.op) end, o.path,
            case when o.path = a.path and o.item = -1 then null else o.item end, o.body
        from asked a, asyouwere.open_value(a.path, asyouwere.path_depth(a.path), a.value) o
        where a.op in ('set', 'add', 'expect') and not asyouwere.is_index(split_part(a.path, '/', -2))
    )
    select array_agg(op), array_agg(path), array_agg(item), array_agg(body) into v_rows
    from (select * from opened limit 125001) o;
    perform asyouwere.refuse_count(cardinality(v_rows.ops));
    return v_rows;
exception when untranslatable_character or invalid_text_representation then
    if octet_length(p_changes::text) > 65536 then
        perform asyouwere.refuse_second_large(); -- four seconds for each MB of them
    end if;
    if asyouwere.masked_json(p_changes)::text = p_changes::text then
        perform asyouwere.fail('not_representable', 'Postgres can''t read this JSON.');
    end if;
    return asyouwere.unmasked_rows(asyouwere.open_changes(asyouwere.masked_json(p_changes)));
end;
$$;
comment on function asyouwere.open_changes is
    'Changes as a caller sends them, as change rows. Raises invalid_changes, invalid_address, '
    'not_representable, too_large.';
revoke execute on function asyouwere.open_changes from public;

create function asyouwere.open_body(p_path text, p_body text)
returns table (path text, item int, body text)
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_body ~ '\\u(?:0000|d)' then
        return query
        select p_path || asyouwere.unmasked_escapes(substr(o.path, length(p_path) + 1)), o.item,
            asyouwere.unmasked_escapes(o.body)
        from asyouwere.open_value(
            p_path, asyouwere.path_depth(p_path), asyouwere.masked_escapes(p_body)::json) o;
    else
        return query select * from asyouwere.open_value(p_path, asyouwere.path_depth(p_path), p_body::json);
    end if;
end;
$$;
comment on function asyouwere.open_body is
    'The parts of a body that was sent whole and turns out to be a member: open_value() for any JSON.';
revoke execute on function asyouwere.open_body from public;

create function asyouwere.resolve_addresses(p_session bigint, p_base int, p_rows asyouwere.change_rows)
returns asyouwere.change_rows
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_rows asyouwere.change_rows;
begin
    with asked as materialized (
        select g.*, case when g.op in ('set', 'remove', 'add', 'expect', 'expect_absent') and g.item is null
            and asyouwere.is_index(split_part(g.path, '/', -2)) then asyouwere.path_parent(g.path) end as above
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
            as g (op, path, item, body, position)
    ), above as materialized (
        select distinct a.above as path from asked a where a.above is not null
    ), lists as materialized (
        select p.path from asyouwere.parts_of_places(
            p_session, p_base, array(select a.path from above a), array(select -1 from above)) p
        where p.kind = 'l'
    ), given as (
        select a.*, a.above is not null and a.above in (select l.path from lists l) as is_item from asked a
    ), resolved as (
        select g.position, 0::bigint as inner_position, g.op,
            case when g.is_item then asyouwere.path_parent(g.path) else g.path end as path,
            case when g.is_item then split_part(g.path, '/', -2)::int
                 when g.op in ('append', 'by', 'once') then null
                 else coalesce(g.item, -1) end as item,
            g.body
        from given g
        where g.is_item or g.op not in ('set', 'add', 'expect') or g.item is not null
            or left(g.body, 1) not in ('{', '[') or asyouwere.path_depth(g.path) >= 3
        union all
        select g.position, o.inner_position,
            case o.inner_position when 1 then g.op else asyouwere.op_inside(g.op) end, o.path, o.item, o.body
        from given g,
            asyouwere.open_body(g.path, g.body) with ordinality as o (path, item, body, inner_position)
        where not g.is_item and g.op in ('set', 'add', 'expect') and g.item is null
            and left(g.body, 1) in ('{', '[') and asyouwere.path_depth(g.path) < 3
    )
    select array_agg(r.op order by r.position, r.inner_position),
        array_agg(r.path order by r.position, r.inner_position),
        array_agg(r.item order by r.position, r.inner_position),
        array_agg(r.body order by r.position, r.inner_position)
    into v_rows from (select * from resolved limit 125001) r;
    perform asyouwere.refuse_count(cardinality(v_rows.ops));
    perform asyouwere.refuse_twice(v_rows);
    return v_rows;
end;
$$;
comment on function asyouwere.resolve_addresses is
    'Change rows whose addresses end in a number, made sure of: an item if the parent is a list at the '
    'base, else a member.';
revoke execute on function asyouwere.resolve_addresses from public;

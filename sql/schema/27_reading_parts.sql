-- Reading some addresses: a value, an item, a list's beginning, end or middle, without the rest of the state.
-- Each costs what is at it, whatever else the state holds.
-- Breaks running code: no.

create type asyouwere.asked_part as (
    path text, after_position int, before_position int, most int, from_end boolean, is_range boolean
);
comment on type asyouwere.asked_part is
    'What to read: a path; of a list the items between two positions, the first or the last so many of them.';

create function asyouwere.is_count(p_value json, p_least int, p_most int) returns boolean
language sql immutable parallel safe
return p_value::text ~ '^(?:0|-?[1-9][0-9]{0,8})$' and p_value::text::int between p_least and p_most;
comment on function asyouwere.is_count is 'Whether JSON is a whole number between two; null if it is null.';
revoke execute on function asyouwere.is_count from public;

create function asyouwere.open_asked(p_addresses json) returns setof asyouwere.asked_part
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_masked boolean := p_addresses::text ~ '\\u(?:0000|[dD][89a-fA-F])';
    v_addresses json := case when v_masked then asyouwere.masked_json(p_addresses) else p_addresses end;
    v_entry json;
    v_asked asyouwere.asked_part;
begin
    if json_typeof(v_addresses) is distinct from 'array' or json_array_length(v_addresses) not between 1
        and 100 then
        perform asyouwere.fail('invalid_argument', 'Give a list of 1 to 100 addresses.');
    end if;
    for v_entry in select e.value from json_array_elements(v_addresses) e loop
        v_asked := (null, -1, 2147483647, 2147483647, false, false)::asyouwere.asked_part;
        if json_typeof(v_entry) = 'object' then
            if json_typeof(v_entry -> 'address') is distinct from 'string'
                or (v_entry -> 'first') is not null and (v_entry -> 'last') is not null
                or exists (
                    select from json_each(v_entry) m
                    where not case m.key when 'address' then true
                        when 'after' then asyouwere.is_count(m.value, -1, 999999999)
                        when 'before' then asyouwere.is_count(m.value, 0, 999999999)
                        when 'first' then asyouwere.is_count(m.value, 0, 999999999)
                        when 'last' then asyouwere.is_count(m.value, 0, 999999999)
                        else false end)
            then
                perform asyouwere.fail('invalid_argument',
                    'An address is a pointer, or {"address": pointer} with "after", "before", '
                    'and "first" or "last".');
            end if;
            v_asked.is_range := exists (select from json_object_keys(v_entry) k where k <> 'address');
            v_asked.after_position := coalesce((v_entry ->> 'after')::int, v_asked.after_position);
            v_asked.before_position := coalesce((v_entry ->> 'before')::int, v_asked.before_position);
            v_asked.most := coalesce((v_entry ->> 'first')::int, (v_entry ->> 'last')::int, v_asked.most);
            v_asked.from_end := (v_entry -> 'last') is not null;
            v_entry := v_entry -> 'address';
        elsif json_typeof(v_entry) <> 'string' then
            perform asyouwere.fail('invalid_argument',
                'An address is a JSON Pointer, or an object with one.');
        end if;
        v_asked.path := asyouwere.path_of_pointer(v_entry #>> '{}');
        if v_masked then
            v_asked.path := asyouwere.unmasked_escapes(v_asked.path);
        end if;
        if octet_length(v_asked.path) > 2000 then
            perform asyouwere.fail('address_too_long');
        end if;
        return next v_asked;
    end loop;
end;
$$;
comment on function asyouwere.open_asked is
    'What p_addresses of get_session_parts asks for. Raises invalid_argument, invalid_address, '
    'address_too_long.';
revoke execute on function asyouwere.open_asked from public;

-- What is read of a part: its address as it is stored (an item has its list's path), and its list's length.
create type asyouwere.found_part as (path text, item int, kind "char", body text);
comment on type asyouwere.found_part is 'The part that an address names.';

create function asyouwere.find_part(p_session bigint, p_number int, p_path text) returns asyouwere.found_part
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_part asyouwere.found_part;
    v_above asyouwere.found_part;
begin
    select p.path, p.item, p.kind, p.body into v_part from asyouwere.parts_at(p_session, p_number) p
    where p.path = p_path and p.item = -1;
    if found then
        return v_part;
    end if;
    -- an item, or inside of a part: the deepest member there is above tells
    select p.path, p.item, p.kind, p.body into v_above from asyouwere.parts_at(p_session, p_number) p
    where p.path = any (asyouwere.path_ancestors(asyouwere.path_parent(p_path))) and p.item = -1
    order by p.path desc limit 1;
    if v_above.kind = 'l' and asyouwere.is_index(split_part(substr(p_path, length(v_above.path) + 1), '/',
        1)) then
        select p.path, p.item, p.kind, p.body into v_above from asyouwere.parts_at(p_session, p_number) p
        where p.path = v_above.path and p.item = split_part(substr(p_path, length(v_above.path) + 1), '/',
            1)::int;
        if v_above.path || v_above.item || '/' = p_path then
            return v_above;
        end if;
    end if;
    if v_above.kind in ('v', 'i') and left(v_above.body, 1) in ('{', '[') then
        perform asyouwere.fail('address_below_part', p_detail => format('{"address": %s, "part": %s}',
            asyouwere.pointer_json(p_path, -1), asyouwere.pointer_json(v_above.path, v_above.item)));
    end if;
    return null;
end;
$$;
comment on function asyouwere.find_part is
    'The part that an address names at a number (2147483646: the latest), or null. Raises '
    'address_below_part.';
revoke execute on function asyouwere.find_part from public;

create function asyouwere.object_text(p_session bigint, p_number int, p_path text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_depth int := asyouwere.path_depth(p_path);
begin
    -- like state_at(), with this object in the place of the state
    return (
        select string_agg(concat(
            case when m.prior_kind is null then '{'
                when m.kind <> 'i' then asyouwere.json_between(m.prior_depth, m.prior_kind, m.depth)
                    || asyouwere.json_member(m.path, m.kind, m.body)
                when m.prior_kind = 'l' then m.body
                else ',' || m.body end,
            case when m.is_last then asyouwere.json_between(m.depth, m.list_kind, 0) end), ''
                order by m.place)
        from (
            select p.path, p.kind, p.depth - v_depth as depth, p.body,
                row_number() over w as place, lead(p.kind) over w is null as is_last,
                lag(p.depth - v_depth) over w as prior_depth,
                case when lag(p.kind) over w = 'i' and p.kind <> 'i' then 'l' else lag(p.kind) over w
                    end as prior_kind,
                case when p.kind = 'i' then 'l' else p.kind end as list_kind
            from asyouwere.parts_at(p_session, p_number) p
            where p.path >= p_path and p.path < asyouwere.path_end(p_path)
            window w as (order by p.path, p.item)
        ) m);
end;
$$;
comment on function asyouwere.object_text is
    'An opened object at a number (2147483646: the latest) as JSON text.';
revoke execute on function asyouwere.object_text from public;

create function asyouwere.list_length(p_session bigint, p_number int, p_path text) returns int
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    return 1 + greatest(
        (
            -- the items alive at a number are the first so many: of those alive now, the last one that is old
            -- enough
            select p.item from asyouwere.live_parts p
            where p.session = p_session and p.path = p_path and p.since <= p_number
            order by p.path desc, p.item desc limit 1
        ), (
            select max(p.item) from asyouwere.ended_parts p
            where p.session = p_session and p.path = p_path and p.until > p_number and p.since <= p_number
        ));
end;
$$;
comment on function asyouwere.list_length is 'Items of a list at a number (2147483646: the latest).';
revoke execute on function asyouwere.list_length from public;

create function asyouwere.list_text(p_session bigint, p_number int, p_path text, p_first int, p_last int)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    return (
        -- brackets on the first and the last, not around them all: a long text is not copied once more
        select coalesce(string_agg(concat(
            case when o.item = p_first then '[' end, o.body, case when o.item = p_last then ']' end), ','), '[]')
        from (
            select p.item, p.body from asyouwere.parts_at(p_session, p_number) p
            where p.path = p_path and p.item between p_first and p_last
            order by p.item
        ) o);
end;
$$;
comment on function asyouwere.list_text is
    'Items of a list at a number (2147483646: the latest), which are there from the first to the last, as JSON '
    'text.';
revoke execute on function asyouwere.list_text from public;

create function asyouwere.part_text(p_session bigint, p_number int, p_part asyouwere.found_part)
returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select case p_part.kind
        when 'o' then asyouwere.object_text(p_session, p_number, p_part.path)
        when 'l' then asyouwere.list_text(p_session, p_number, p_part.path, 0,
            asyouwere.list_length(p_session, p_number, p_part.path) - 1)
        else p_part.body end
$$;
comment on function asyouwere.part_text is
    'A found part at a number (2147483646: the latest) as JSON text, with all that is in it.';
revoke execute on function asyouwere.part_text from public;

create function asyouwere.read_parts(
    p_session_id uuid, p_addresses json, p_number int, p_label text, p_external_id text default null
) returns table (number int, address json, present boolean, value json, first_position int, list_length int)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_number int;
    v_at int;
    v_asked asyouwere.asked_part;
    v_part asyouwere.found_part;
    v_last int;
    v_bytes bigint := 0;
begin
    -- definer: access is checked once, above
    number := v_session.latest_number;
    if num_nonnulls(p_number, p_label, p_external_id) > 0 then
        number := (asyouwere.find_snapshot(v_session, p_number, p_label, p_external_id)).number;
    end if;
    v_at := case when number = v_session.latest_number then 2147483646 else number end;
    for v_asked in select * from asyouwere.open_asked(p_addresses) loop
        address := asyouwere.pointer_json(v_asked.path, -1)::json;
        -- one address is never more than the state; many that overlap could be
        if v_bytes > 1024 * 1024 then
            perform asyouwere.refuse_size(v_bytes);
        end if;
        first_position := null;
        list_length := null;
        v_part := case v_asked.path when '/' then ('/', -1, 'o', '{}')::asyouwere.found_part
            else asyouwere.find_part(v_session.internal_id, v_at, v_asked.path) end;
        -- made where it goes out: each step more is a copy of what may be long
        if v_part.kind = 'l' then
            list_length := asyouwere.list_length(v_session.internal_id, v_at, v_asked.path);
            first_position := v_asked.after_position + 1;
            v_last := least(v_asked.before_position, list_length) - 1;
            if v_asked.from_end then
                first_position := greatest(first_position, v_last - v_asked.most + 1);
            else
                v_last := least(v_last, first_position::bigint + v_asked.most - 1);
            end if;
            value := asyouwere.list_text(
                v_session.internal_id, v_at, v_asked.path, first_position, v_last)::json;
        elsif v_asked.is_range and v_part.kind is not null then
            perform asyouwere.fail('not_a_list', 'Only lists have a range.', format('{"address": %s}',
                address));
        elsif v_asked.path = '/' then
            value := (
                select string_agg(t, '')::json from (
                    select asyouwere.latest_state(v_session.internal_id) as t
                        where number = v_session.latest_number
                    union all
                    select asyouwere.state_at(v_session.internal_id, number)
                        where number < v_session.latest_number
                ) s);
        elsif v_part.kind = 'o' then
            value := asyouwere.object_text(v_session.internal_id, v_at, v_asked.path)::json;
        else
            value := v_part.body::json;
        end if;
        v_bytes := v_bytes + coalesce(pg_column_size(value), 0);
        present := value is not null;
        return next;
    end loop;
end;
$$;
comment on function asyouwere.read_parts is 'The values at some addresses of one version.';
revoke execute on function asyouwere.read_parts from public;
grant execute on function asyouwere.read_parts to anon, authenticated, service_role;

create function public.get_session_parts(
    p_session_id uuid, p_addresses json, p_number int default null, p_label text default null,
    p_external_id text default null
) returns table (number int, address json, present boolean, value json, first_position int, list_length int)
language sql stable
begin atomic
    -- no SET clause and bound when made: the planner calls read_parts() itself, so that no row is copied
    select * from asyouwere.read_parts(p_session_id, p_addresses, p_number, p_label, p_external_id);
end;
comment on function public.get_session_parts is
    'The values at 1 to 100 addresses of the latest snapshot, a number, a label or an external id, a row each '
    'in the order asked: a list of pointers, or of {"address": pointer} with "after", "before" '
    '(positions) and "first" or "last" '
    '(counts) '
    'for a part of a list. present false: nothing is there. Raises session_not_found, snapshot_not_found, '
    'snapshot_gone, '
    'invalid_argument, invalid_address, address_below_part, not_a_list, too_large.';
revoke execute on function public.get_session_parts from public, anon, authenticated, service_role;
grant execute on function public.get_session_parts to anon, authenticated, service_role;

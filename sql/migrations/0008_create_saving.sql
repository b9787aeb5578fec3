-- Saving: one call, one transaction. Takes the session's lock, so saves of a session come one after the other.
-- Breaks running code: no.

create function leftoff.refuse_overlaps(p_rows leftoff.change_rows) returns void
language plpgsql stable set search_path = ''
as $$
declare
    v_address text;
begin
    -- In path order whatever lies in an address comes right after it, so neighbours tell it all.
    select leftoff.pointer_json(n.path, n.item) into v_address
    from (
        select g.op, g.path, coalesce(g.item, -1) as item,
            lag(g.op) over w as prior_op, lag(g.path) over w as prior_path, lag(coalesce(g.item, -1)) over w as prior_item
        from unnest(p_rows.ops, p_rows.paths, p_rows.items) as g (op, path, item)
        where g.op in ('set', 'remove', 'append')
        window w as (order by g.path collate "C", coalesce(g.item, -1), g.op <> 'append')
    ) n
    where case
        when n.prior_op = 'append' then n.op <> 'append' and n.path = n.prior_path and n.item = -1
        when n.prior_item = -1 then
            n.path collate "C" >= n.prior_path and n.path collate "C" < leftoff.path_end(n.prior_path)
        else n.path = n.prior_path and n.item = n.prior_item end
    limit 1;
    if v_address is not null then
        perform leftoff.fail(422, 'overlapping_addresses',
            'One save changes an address twice, or an address and something inside it. Send the outer one whole.',
            format('{"address": %s}', v_address));
    end if;
end;
$$;
comment on function leftoff.refuse_overlaps is 'Raises overlapping_addresses: the rows of one save come in no order.';
revoke execute on function leftoff.refuse_overlaps from public;

create function leftoff.refuse_misplaced(p_session bigint, p_number int, p_rows leftoff.change_rows) returns void
language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
    v_path text;
    v_item int;
    v_part record;
begin
    -- What this save put where nothing was before: its container must be there, and no position may be missing.
    -- Scalar sub-selects, not exists(): that may be planned as a hash of the whole session.
    select n.path, n.item into v_path, v_item from (
        select p.path, p.item, p.depth, p.kind from leftoff.parts p where p.session = p_session and p.since = p_number
        union all
        -- and what it was to take away where nothing is: fine, unless the address lies below a part
        select g.path, -1, leftoff.path_depth(g.path), 0
        from unnest(p_rows.ops, p_rows.paths, p_rows.items) as g (op, path, item)
        where g.op = 'remove' and coalesce(g.item, -1) = -1 and leftoff.path_depth(g.path) > 1
            and (select c.kind in (0, 2) from leftoff.parts c where c.session = p_session and c.until = 2147483647
                and c.item = -1 and c.path = any (leftoff.path_ancestors(leftoff.path_parent(g.path)))
                order by c.path desc limit 1)
    ) n
    where not coalesce(case
        when n.item >= 0 then
            (select c.kind = 2 from leftoff.parts c
                where c.session = p_session and c.until = 2147483647 and c.path = n.path and c.item = -1)
            and (n.item = 0 or (select true from leftoff.parts c
                where c.session = p_session and c.until = 2147483647 and c.path = n.path and c.item = n.item - 1))
        when n.depth = 1 then true
        when n.depth > 3 then false
        else (select c.kind = 1 from leftoff.parts c where c.session = p_session and c.until = 2147483647
            and c.path = leftoff.path_parent(n.path) and c.item = -1)
        end, false)
    order by n.path, n.item limit 1;
    if not found then
        return;
    end if;

    -- The deepest part there is above the address tells which mistake it is.
    select c.path, c.kind,
        (select i.item from leftoff.parts i where c.kind = 2 and i.session = p_session and i.until = 2147483647
            and i.path = c.path and leftoff.is_index(split_part(substr(v_path, length(c.path) + 1), '/', 1))
            and i.item = split_part(substr(v_path, length(c.path) + 1), '/', 1)::int) as item
    into v_part
    from leftoff.parts c
    where c.session = p_session and c.until = 2147483647 and c.item = -1
        and c.path = any (leftoff.path_ancestors(case when v_item >= 0 then v_path else leftoff.path_parent(v_path) end))
    order by c.path desc limit 1;
    if v_item >= 0 and v_part.path = v_path and v_part.kind = 2 then
        perform leftoff.fail(422, 'list_gap', 'A list has no gaps: put an item at its end, or change one that is there.',
            format('{"address": %s}', leftoff.pointer_json(v_path, v_item)));
    elsif v_part.kind = 0 or v_part.item is not null then
        perform leftoff.fail(422, 'address_below_part',
            'This address lies inside a part, and parts are saved whole. Send the part that is named.',
            format('{"address": %s, "part": %s}', leftoff.pointer_json(v_path, v_item),
                leftoff.pointer_json(v_part.path, coalesce(v_part.item, -1))));
    elsif v_part.kind = 2 then
        perform leftoff.fail(422, 'invalid_address', 'Lists have items 0, 1, 2 …, and this address names none.',
            format('{"address": %s}', leftoff.pointer_json(v_path, v_item)));
    end if;
    perform leftoff.fail(422, 'missing_parent', 'There is no container for this address. Set the container first.',
        format('{"address": %s, "parent": %s}', leftoff.pointer_json(v_path, v_item),
            leftoff.pointer_json(case when v_item >= 0 then v_path else leftoff.path_parent(v_path) end, -1)));
end;
$$;
comment on function leftoff.refuse_misplaced is
    'Raises list_gap, address_below_part, missing_parent, invalid_address for what a save put where it can''t be.';
revoke execute on function leftoff.refuse_misplaced from public;

create function leftoff.refuse_body(p_body text, p_depth int, p_max_nesting int) returns boolean
language plpgsql immutable set search_path = ''
as $$
declare
    v_bare text;
    v_level int := p_depth;
begin
    -- Rare letters first: hardly any body needs the closer look.
    if length(p_body) - length(translate(p_body, '[{', '')) + p_depth > p_max_nesting then
        v_bare := regexp_replace(p_body, '"(?:[^"\\]|\\.)*"|[^][{}"]+', '', 'g');
        -- pairs that hold nothing fall away, level by level; what is left over is deeper than allowed
        while v_bare <> '' and v_level < p_max_nesting loop
            v_bare := replace(replace(v_bare, '[]', ''), '{}', '');
            v_level := v_level + 1;
        end loop;
        if v_bare <> '' then
            perform leftoff.fail(422, 'nesting_too_deep',
                format('Containers may lie in one another to %s levels.', p_max_nesting));
        end if;
    end if;
    if p_body ~ '[0-9][eE][+-]?[0-9]{3}|[0-9]{100}' then
        v_bare := regexp_replace(p_body, '"(?:[^"\\]|\\.)*"', '', 'g');
        if exists (
            select from regexp_matches(v_bare, '-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', 'g') m
            where case when m[1] ~ '[eE][+-]?0*[0-9]{4}' or length(m[1]) > 1000 then true
                else abs(m[1]::numeric) >= 1.797693134862315808e308 end)
        then
            perform leftoff.fail(422, 'number_out_of_range',
                'A number is outside the range of a double (about 1.8e308), or written absurdly long.');
        end if;
    end if;
    return true;
end;
$$;
comment on function leftoff.refuse_body is
    'True, or raises nesting_too_deep, number_out_of_range. p_depth: how many containers the body stands in.';
revoke execute on function leftoff.refuse_body from public;

create function leftoff.apply_changes(
    p_session public.free_agent_sessions, p_rows leftoff.change_rows,
    out changed_parts int, out size_bytes bigint, out message_count int
)
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
    v_session bigint := p_session.internal_id;
    v_number int := p_session.latest_number + 1;
    v_max_nesting int;
    v_max_bytes bigint;
    v_problem text;
    v_new_places boolean;
begin
    select s.max_nesting, s.max_state_bytes into v_max_nesting, v_max_bytes from leftoff.settings s;

    with given as materialized (
        select g.op, g.path collate "C" as path, coalesce(g.item, -1) as item, g.body, g.position
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
            as g (op, path, item, body, position)
    ), lists as materialized (
        -- the lists appended to, and the last part alive at their path: an item, or the list itself
        select a.path, last.item, last.kind
        from (select distinct g.path from given g where g.op = 'append') a
        left join lateral (
            select p.item, p.kind from leftoff.parts p
            where p.session = v_session and p.until = 2147483647 and p.path = a.path
            order by p.path desc, p.item desc limit 1
        ) last on true
    ), wanted as (
        select g.path, g.item, g.body, g.position, false as is_append
        from given g where g.op in ('set', 'in', 'put') and g.path <> '/'
        union all
        select g.path, (coalesce(l.item, -1) + row_number() over (partition by g.path order by g.position))::int,
            g.body, g.position, l.kind is not null
        from given g join lists l on l.path = g.path where g.op = 'append'
        union all
        select l.path, -1, '[]', 0, false from lists l where l.kind is null
    ), standing as (
        -- what is alive at and under the addresses: one range of the live index for each, whatever the statistics say
        select p.* from given g cross join lateral (
            select q.ctid as place, q.path, q.item, q.body, q.size, q.created_at, q.kind from leftoff.parts q
            where q.session = v_session and q.until = 2147483647
                and q.path >= g.path and q.path < leftoff.path_end(g.path) offset 0
        ) p
        where g.op in ('set', 'remove') and g.item = -1
        union all
        select p.* from given g cross join lateral (
            select q.ctid as place, q.path, q.item, q.body, q.size, q.created_at, q.kind from leftoff.parts q
            where q.session = v_session and q.until = 2147483647 and q.path = g.path and q.item = g.item offset 0
        ) p
        where g.op in ('put', 'drop') or g.op in ('set', 'remove') and g.item >= 0
    ), changed as materialized (
        select w.path, w.item, w.body, w.position, w.is_append, leftoff.path_depth(w.path) as depth,
            s.place, s.path as old_path, s.item as old_item, s.size as old_size, s.created_at
        from wanted w full join standing s on s.path = w.path and s.item = w.item
        where w.body is distinct from s.body
    ), closed as (
        update leftoff.parts p set until = v_number
        where p.ctid = any (array(select c.place from changed c where c.place is not null))
        returning p.path, p.item
    ), inserted as (
        insert into leftoff.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        select v_session, v_number, c.item, row_number() over (order by c.path, c.item), octet_length(c.body), c.depth,
            case when c.item >= 0 then 3 when c.depth >= 3 then 0
                when c.body = '{}' then 1 when c.body = '[]' then 2 else 0 end,
            coalesce(c.created_at, now()), c.path, c.body
        from changed c
        -- the old one must be closed first, or the new one meets it in the live index
        where c.path is not null and (select count(*) from closed) >= 0
            and leftoff.refuse_body(c.body, case when c.item >= 0 then c.depth + 1 else c.depth end, v_max_nesting)
        returning size
    )
    select count(*),
        p_session.size_bytes + coalesce((select sum(i.size) from inserted i), 0) - coalesce(sum(c.old_size), 0),
        p_session.message_count
            + count(*) filter (where c.path = '/messages/' and c.item >= 0 and c.place is null)
            - count(*) filter (where c.old_path = '/messages/' and c.old_item >= 0 and c.path is null),
        coalesce(bool_or(c.path is not null and c.place is null and not c.is_append), false)
            or (select bool_or(g.op = 'remove') from given g),
        case
            when (select bool_or(l.kind not in (2, 3)) from lists l) then 'not_a_list'
            when bool_or(c.item = -1 and c.depth < 3 and left(c.body, 1) in ('{', '[') and c.body not in ('{}', '[]'))
                then 'invalid_changes'
            when bool_or(octet_length(c.path) > 2000) then 'address_too_long'
            -- removed items must be the last ones: as many as there are from the first of them to the end
            when (
                select bool_or(r.removed <> 1 - r.first + (
                    select p.item from leftoff.parts p
                    where p.session = v_session and p.until = 2147483647 and p.path = r.path
                    order by p.path desc, p.item desc limit 1))
                from (
                    select d.old_path as path, count(*) as removed, min(d.old_item) as first
                    from changed d where d.path is null and d.old_item >= 0 group by d.old_path
                ) r)
                then 'list_gap'
        end
    into changed_parts, size_bytes, message_count, v_new_places, v_problem
    from changed c;

    if v_problem = 'not_a_list' then
        perform leftoff.fail(422, 'not_a_list', 'Only lists can be appended to.');
    elsif v_problem = 'invalid_changes' then
        perform leftoff.fail(422, 'invalid_changes', 'A container at this depth is sent opened, its inside as rows of its own.');
    elsif v_problem = 'address_too_long' then
        perform leftoff.fail(422, 'address_too_long', 'An address may have 2,000 bytes. Use shorter keys.');
    elsif v_problem = 'list_gap' then
        perform leftoff.fail(422, 'list_gap', 'Items can be removed from the end of a list only. Set the whole list instead.');
    elsif size_bytes > v_max_bytes then
        perform leftoff.fail(413, 'too_large', format('The state may have %s MB.', v_max_bytes / (1024 * 1024)),
            format('{"size_bytes": %s, "max_bytes": %s}', size_bytes, v_max_bytes));
    end if;
    if v_new_places then
        perform leftoff.refuse_misplaced(v_session, v_number, p_rows);
    end if;
end;
$$;
comment on function leftoff.apply_changes is
    'Writes change rows as the next number: closes what ends, inserts what begins. Returns what changed and the new sizes. The caller holds the session''s lock and makes the snapshot.';
revoke execute on function leftoff.apply_changes from public;

create type leftoff.save_result as (
    number int, created boolean, replayed boolean, merged boolean,
    changed_parts int, size_bytes bigint, message_count int, others json
);
comment on type leftoff.save_result is 'What a save answers.';

create function leftoff.save_snapshot(
    p_session_id uuid, p_rows leftoff.change_rows,
    p_base int, p_idempotency_key text, p_label text, p_on_conflict text
) returns leftoff.save_result
language plpgsql volatile security definer set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions;
    v_rows leftoff.change_rows := p_rows;
    v_result leftoff.save_result;
    v_key uuid := md5(p_idempotency_key)::uuid;
    v_content uuid;
    v_earlier leftoff.save_keys;
    v_merged boolean;
begin
    -- definer: nobody writes parts but through here
    if p_on_conflict is null or p_on_conflict not in ('merge', 'reject', 'overwrite') then
        perform leftoff.fail(422, 'invalid_argument', 'on_conflict is merge, reject or overwrite.');
    elsif length(p_label) not between 1 and 200 then
        perform leftoff.fail(422, 'invalid_argument', 'A label has 1 to 200 characters.');
    elsif length(p_idempotency_key) not between 1 and 255 then
        perform leftoff.fail(422, 'invalid_argument', 'An idempotency key has 1 to 255 characters.');
    end if;
    v_session := leftoff.session_to_write(p_session_id);

    if v_key is not null then
        v_content := leftoff.digest_of_save(v_rows, p_base, p_label);
        select * into v_earlier from leftoff.save_keys k where k.session = v_session.internal_id and k.key = v_key;
        if found then
            return leftoff.replay_save(v_session, v_earlier, v_content, p_base);
        end if;
    end if;

    if p_base is not null and p_base <> v_session.latest_number then
        perform leftoff.refuse_base(v_session, p_base);
        if p_on_conflict = 'reject' then
            perform leftoff.refuse_conflict(
                (select string_agg(leftoff.pointer_json(c.path, c.item), ',' order by c.path, c.item)
                    from leftoff.changes_of_others(v_session.internal_id, p_base) c),
                v_session.latest_number);
        end if;
    end if;
    if cardinality(v_rows.ops) > 1 then
        perform leftoff.refuse_overlaps(v_rows);
    end if;
    -- only an address that ends in a number can mean two things
    if array_to_string(v_rows.paths, E'\n') ~ '/[0-9]+/(?:\n|$)' then
        v_rows := leftoff.resolve_addresses(v_session.internal_id, coalesce(p_base, v_session.latest_number), v_rows);
    end if;
    v_merged := p_base < v_session.latest_number and p_on_conflict = 'merge';
    if v_merged then
        v_rows := leftoff.merge_changes(v_session.internal_id, p_base, v_session.latest_number, v_rows);
    end if;

    v_result := leftoff.write_snapshot(v_session, v_rows, p_label, v_key, v_content);
    v_result.merged := coalesce(v_merged, false);
    if p_base < v_session.latest_number then
        v_result.others := leftoff.changes_text(v_session.internal_id, p_base);
    end if;
    return v_result;
end;
$$;
comment on function leftoff.save_snapshot is
    'The body of every save. Raises session_not_found, forbidden, conflict, snapshot_gone, unknown_base, idempotency_key_reused, label_taken, too_large and what the rows can be refused for.';
revoke execute on function leftoff.save_snapshot from public;

create function leftoff.write_snapshot(
    p_session public.free_agent_sessions, p_rows leftoff.change_rows, p_label text, p_key uuid, p_content uuid
) returns leftoff.save_result
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
    v_result leftoff.save_result;
begin
    select * into v_result.changed_parts, v_result.size_bytes, v_result.message_count
    from leftoff.apply_changes(p_session, p_rows);
    v_result.created := v_result.changed_parts > 0 or p_session.latest_number = 0;
    v_result.number := p_session.latest_number + v_result.created::int;
    v_result.replayed := false;
    v_result.merged := false;
    if v_result.created then
        perform leftoff.record_snapshot(p_session, v_result);
    end if;
    if p_label is not null then
        perform leftoff.set_label(p_session.id, v_result.number, p_label);
    end if;
    if p_key is not null then
        insert into leftoff.save_keys (session, key, content, number, changed_parts, made_snapshot)
        values (p_session.internal_id, p_key, p_content, v_result.number, v_result.changed_parts, v_result.created);
    end if;
    return v_result;
end;
$$;
comment on function leftoff.write_snapshot is
    'Writes change rows against the latest as the next snapshot, if they change anything, and remembers the key.';
revoke execute on function leftoff.write_snapshot from public;

create function leftoff.record_snapshot(p_session public.free_agent_sessions, p_result leftoff.save_result)
returns void
language plpgsql volatile set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
    insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count, created_by)
    values (p_session.id, p_result.number, p_result.size_bytes, p_result.changed_parts, p_result.message_count,
        nullif(auth.uid(), p_session.user_id));
    update public.free_agent_sessions s
    set latest_number = p_result.number, size_bytes = p_result.size_bytes, message_count = p_result.message_count,
        updated_at = now(), expired_at = null,
        -- an expired session lives again with the first save
        status = case s.status when 'expired' then 'idle' else s.status end,
        last_activity_at = case when s.last_activity_at < now() - interval '30 seconds' then now() else s.last_activity_at end
    where s.id = p_session.id;
end;
$$;
comment on function leftoff.record_snapshot is 'Makes the snapshot row and brings the session''s row up to it.';
revoke execute on function leftoff.record_snapshot from public;

create function leftoff.refuse_base(p_session public.free_agent_sessions, p_base int) returns void
language plpgsql stable set search_path = ''
as $$
begin
    if p_base > p_session.latest_number or p_base < 0 then
        perform leftoff.fail(422, 'unknown_base', 'The base is no snapshot of this session. Restore first.',
            format('{"base": %s, "latest": %s}', p_base, p_session.latest_number));
    elsif p_base > 0 and (select true from public.session_snapshots n
        where n.session_id = p_session.id and n.number = p_base) is null
    then
        perform leftoff.fail(410, 'snapshot_gone', 'Clean-up has removed this snapshot. Restore the latest first.',
            format('{"number": %s, "latest": %s}', p_base, p_session.latest_number));
    end if;
end;
$$;
comment on function leftoff.refuse_base is 'Raises unknown_base, snapshot_gone unless the number is a kept one, or 0.';
revoke execute on function leftoff.refuse_base from public;

create function leftoff.digest_of_save(p_rows leftoff.change_rows, p_base int, p_label text) returns uuid
language sql immutable set search_path = ''
return md5(concat_ws(E'\x01', p_base, p_label, array_to_string(p_rows.ops, E'\x02', '-'), array_to_string(p_rows.paths, E'\x02'),
    array_to_string(p_rows.items, E'\x02', '-'), array_to_string(p_rows.bodies, E'\x02', '-')))::uuid;
comment on function leftoff.digest_of_save is 'Tells two saves apart; JSON text and paths hold no control characters.';
revoke execute on function leftoff.digest_of_save from public;

create function leftoff.replay_save(
    p_session public.free_agent_sessions, p_earlier leftoff.save_keys, p_content uuid, p_base int
) returns leftoff.save_result
language plpgsql stable set search_path = ''
as $$
declare
    v_result leftoff.save_result;
begin
    if p_earlier.content <> p_content then
        perform leftoff.fail(409, 'idempotency_key_reused',
            'This idempotency key came with another save before. Make a new key for every save; keep it for retries.');
    end if;
    -- the sizes of that number as far as it is kept, else null
    select n.size_bytes, n.message_count into v_result.size_bytes, v_result.message_count
    from public.session_snapshots n where n.session_id = p_session.id and n.number = p_earlier.number;
    v_result.number := p_earlier.number;
    v_result.created := p_earlier.made_snapshot;
    v_result.changed_parts := p_earlier.changed_parts;
    v_result.replayed := true;
    v_result.merged := p_base < p_earlier.number - 1;
    -- the first answer may have carried changes of others and been lost: give them all again, if the base is kept
    if p_base < p_session.latest_number
        and (p_base = 0 or exists (select from public.session_snapshots n where n.session_id = p_session.id and n.number = p_base))
    then
        v_result.others := leftoff.changes_text(p_session.internal_id, p_base);
    end if;
    return v_result;
end;
$$;
comment on function leftoff.replay_save is 'The answer to a save that was done before. Raises idempotency_key_reused.';
revoke execute on function leftoff.replay_save from public;

-- What callers see -----------------------------------------------------------------------------------------
create function public.create_session_snapshot(
    p_session_id uuid, p_state json default null, p_changes json default null, p_base int default null,
    p_idempotency_key text default null, p_label text default null, p_on_conflict text default 'merge'
) returns setof leftoff.save_result
language plpgsql volatile set search_path = ''
as $$
begin
    if (p_state is null) = (p_changes is null) then
        perform leftoff.fail(422, 'invalid_argument', 'Give either p_state, a whole state, or p_changes.');
    end if;
    return next leftoff.save_json(p_session_id, p_state, p_changes, p_base, p_idempotency_key, p_label, p_on_conflict);
end;
$$;
comment on function public.create_session_snapshot is
    'Save a whole state, or changes {"set": {pointer: value}, "append": {pointer: [items]}, "remove": [pointer]}. One row: number, whether a snapshot was created (false: nothing had changed), sizes, and what changed since p_base (others). The same idempotency key answers the first result again. Older base: on_conflict merge (default), reject, overwrite.';
revoke execute on function public.create_session_snapshot from public;
grant execute on function public.create_session_snapshot to authenticated, service_role;

create function leftoff.save_json(
    p_session_id uuid, p_state json, p_changes json, p_base int,
    p_idempotency_key text, p_label text, p_on_conflict text
) returns leftoff.save_result
language plpgsql volatile security definer set search_path = ''
as $$
begin
    -- definer: opening is private
    return leftoff.save_snapshot(p_session_id,
        case when p_state is null then leftoff.open_changes(p_changes) else leftoff.open_state(p_state) end,
        p_base, p_idempotency_key, p_label, p_on_conflict);
end;
$$;
comment on function leftoff.save_json is 'Opens JSON and saves it.';
revoke execute on function leftoff.save_json from public;
grant execute on function leftoff.save_json to authenticated, service_role;

create function public.save_session_parts(
    p_session_id uuid, p_ops text[], p_paths text[], p_items int[], p_bodies text[], p_base int default null,
    p_idempotency_key text default null, p_label text default null, p_on_conflict text default 'merge'
) returns setof leftoff.save_result
language plpgsql volatile set search_path = ''
as $$
begin
    return next leftoff.save_parts(p_session_id, (p_ops, p_paths, p_items, p_bodies)::leftoff.change_rows,
        p_base, p_idempotency_key, p_label, p_on_conflict);
end;
$$;
comment on function public.save_session_parts is
    'The same save, opened by the caller into change rows (four arrays, see 0006_create_opening.sql): keeps any JSON exactly, \u0000 too. What the HTTPS functions call.';
revoke execute on function public.save_session_parts from public;
grant execute on function public.save_session_parts to authenticated, service_role;

create function leftoff.save_parts(
    p_session_id uuid, p_rows leftoff.change_rows, p_base int,
    p_idempotency_key text, p_label text, p_on_conflict text
) returns leftoff.save_result
language plpgsql volatile security definer set search_path = ''
as $$
declare
    v_count int := cardinality(p_rows.ops);
begin
    -- definer: saving is private. Rows from outside are not trusted: check what opening would have made sure of.
    if (cardinality(p_rows.paths), cardinality(p_rows.items), cardinality(p_rows.bodies)) is distinct from (v_count, v_count, v_count)
        or exists (
            select from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) g (op, path, item, body)
            where g.op is null or g.op not in ('set', 'in', 'remove', 'append')
                or g.path is null or not leftoff.is_path(g.path)
                or (g.op = 'remove') <> (g.body is null) or g.path = '/' and (g.op <> 'set' or g.body <> '{}')
                or g.op = 'append' and g.item is not null or g.item < -1 or g.op = 'in' and g.item is null)
    then
        perform leftoff.fail(422, 'invalid_changes', 'These are no change rows: four arrays of one length, as documented.');
    end if;
    begin
        -- json_typeof() makes Postgres read the whole text
        perform json_typeof(b::json) from unnest(p_rows.bodies) b;
    exception when invalid_text_representation then
        perform leftoff.fail(422, 'invalid_json', 'A body is not JSON.');
    end;
    return leftoff.save_snapshot(p_session_id, p_rows, p_base, p_idempotency_key, p_label, p_on_conflict);
end;
$$;
comment on function leftoff.save_parts is 'Checks change rows from outside and saves them.';
revoke execute on function leftoff.save_parts from public;
grant execute on function leftoff.save_parts to authenticated, service_role;

-- Saving: one call, one transaction. Takes the session's lock, so saves of a session come one after the
-- other. The four functions that every save runs through (save_snapshot, write_snapshot, append_items and
-- replace_parts of 09_changing.sql) have no SET clause of their own, which would cost a tenth of a save:
-- nobody may execute them but the two definers at the end of this file, which pin search_path for all they
-- call.
-- Breaks running code: no.

create type asyouwere.save_result as (
    number int, created boolean, replayed boolean, merged boolean,
    changed_parts int, size_bytes bigint, message_count int, others json, existing json
);
comment on type asyouwere.save_result is 'What a save answers.';

create type asyouwere.annotations as (metadata jsonb, external_id text, parent_number int);
comment on type asyouwere.annotations is 'What the app says of a snapshot; the columns of session_snapshots.';

create function asyouwere.save_snapshot(
    p_session_id uuid, p_rows asyouwere.change_rows,
    p_base int, p_idempotency_key text, p_label text, p_on_conflict text,
    p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile
as $$
declare
    v_session public.free_agent_sessions;
    v_rows asyouwere.change_rows := p_rows;
    v_result asyouwere.save_result;
    v_key uuid := md5(p_idempotency_key)::uuid;
    v_content uuid;
    v_earlier asyouwere.save_keys;
    v_merged boolean;
    v_conditional boolean := asyouwere.are_conditional(p_rows);
    v_conditions asyouwere.change_rows;
    v_ids text[];
    v_standing asyouwere.standing[];
begin
    if p_on_conflict is null or p_on_conflict not in ('merge', 'reject', 'overwrite') then
        perform asyouwere.fail('invalid_argument', 'on_conflict is merge, reject or overwrite.');
    elsif length(p_label) not between 1 and 200 then
        perform asyouwere.fail('invalid_argument', 'A label has 1 to 200 characters.');
    elsif length(p_idempotency_key) not between 1 and 255 then
        perform asyouwere.fail('invalid_argument', 'An idempotency key has 1 to 255 characters.');
    end if;
    if asyouwere.is_large_save(v_rows) then
        perform asyouwere.refuse_second_large();
    end if;
    v_session := asyouwere.session_to_write(p_session_id);

    if v_key is not null then
        v_content := asyouwere.digest_of_save(v_rows, p_base, p_label, p_annotations);
        select * into v_earlier from asyouwere.save_keys k
        where k.session = v_session.internal_id and k.key = v_key;
        if found then
            v_result := asyouwere.replay_save(v_session, v_earlier, v_content, p_base);
            if v_conditional and v_result.size_bytes is not null then
                -- what stood then is there still, at that number, and older than what the save wrote
                v_result.existing := asyouwere.standing_text(asyouwere.pay_for_standing(
                    v_session.internal_id, v_result.number, v_result.number - v_result.created::int,
                    v_rows, asyouwere.ids_of_items(v_rows)));
            end if;
            return v_result;
        end if;
    end if;

    if not (p_annotations is null) then
        perform asyouwere.refuse_annotations(v_session, p_annotations);
    end if;
    if p_base is not null and p_base <> v_session.latest_number then
        perform asyouwere.refuse_base(v_session, p_base);
        if asyouwere.is_far_behind(v_session.internal_id, p_base) then
            perform asyouwere.refuse_second_large();
        end if;
        if p_on_conflict = 'reject' then
            perform asyouwere.refuse_any_change(v_session.internal_id, p_base, v_session.latest_number);
        end if;
    end if;
    if cardinality(v_rows.ops) > 1 then
        perform asyouwere.refuse_overlaps(v_rows);
    end if;
    if v_conditional then
        v_conditions := asyouwere.resolve_addresses(v_session.internal_id, v_session.latest_number,
            asyouwere.conditions_of(v_rows, true));
        v_rows := asyouwere.conditions_of(v_rows, false);
        perform asyouwere.refuse_conditions(
            v_session.internal_id, v_session.latest_number, v_conditions);
        perform asyouwere.refuse_unexpected(
            v_session.internal_id, v_session.latest_number, v_conditions);
    end if;
    -- only an address that ends in a number can mean two things
    if array_to_string(v_rows.paths, E'\n') ~ '/[0-9]+/(?:\n|$)' then
        v_rows := asyouwere.resolve_addresses(
            v_session.internal_id, coalesce(p_base, v_session.latest_number), v_rows);
    end if;
    v_merged := coalesce(p_base < v_session.latest_number, false) and p_on_conflict = 'merge';
    if v_merged then
        v_rows := asyouwere.merge_changes(v_session.internal_id, p_base, v_session.latest_number, v_rows);
    end if;
    if v_conditional then
        v_ids := asyouwere.ids_of_items(v_conditions);
        v_standing := asyouwere.pay_for_standing(
            v_session.internal_id, 2147483646, v_session.latest_number, v_conditions, v_ids);
        v_rows := asyouwere.rows_and(v_rows, asyouwere.conditional_writes(v_conditions, v_ids, v_standing));
    end if;

    v_result := asyouwere.write_snapshot(
        v_session, v_rows, v_merged, p_label, v_key, v_content, p_annotations);
    if p_base < v_session.latest_number then
        v_result.others := asyouwere.told_changes(v_session.internal_id, p_base);
    end if;
    if v_conditional then
        v_result.existing := asyouwere.standing_text(v_standing);
    end if;
    return v_result;
end;
$$;
comment on function asyouwere.save_snapshot is
    'The body of every save. Raises session_not_found, forbidden, conflict, snapshot_gone, unknown_base, '
    'idempotency_key_reused, label_taken, snapshot_exists, too_large and what the rows can be refused for.';
revoke execute on function asyouwere.save_snapshot from public;

create function asyouwere.write_snapshot(
    p_session public.free_agent_sessions, p_rows asyouwere.change_rows, p_merged boolean,
    p_label text, p_key uuid, p_content uuid, p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile
as $$
declare
    v_number int := p_session.latest_number + 1;
    v_appended asyouwere.step := asyouwere.no_step();
    v_overwritten asyouwere.step := asyouwere.no_step();
    v_replaced asyouwere.step := asyouwere.no_step();
    v_made asyouwere.step := asyouwere.no_step();
    v_misplaced text;
    v_left_over boolean;
    v_rows int := cardinality(p_rows.ops);
    v_caller uuid := auth.uid();
    v_written bigint;
    v_prepaid int;
    v_result asyouwere.save_result;
begin
    v_left_over := 'append' <> any (p_rows.ops);
    if v_left_over and cardinality(p_rows.ops) <= 8 and p_rows.ops <@ array['append', 'set'] then
        v_overwritten := asyouwere.overwrite_parts(p_session.internal_id, v_number, p_rows);
        v_left_over := v_overwritten.changed < cardinality(array_positions(p_rows.ops, 'set'));
    end if;
    if v_left_over then
        v_replaced := asyouwere.replace_parts(p_session.internal_id, v_number, p_rows);
    end if;
    -- last: appended items come after what the other rows leave of the list
    if 'append' = any (p_rows.ops) then
        v_appended := asyouwere.append_items(p_session.internal_id, v_number, p_rows);
    end if;
    if v_appended.new_places or v_replaced.new_places then
        select m.path into v_misplaced
        from asyouwere.first_misplaced(p_session.internal_id, v_number, p_rows) m;
        if v_misplaced is not null then
            v_made := asyouwere.make_parents(p_session.internal_id, v_number);
            perform asyouwere.refuse_misplaced(p_session.internal_id, m.path, m.item)
            from asyouwere.first_misplaced(p_session.internal_id, v_number, p_rows) m
            where m.path is not null;
        end if;
    end if;
    v_result.number := p_session.latest_number;
    v_result.created := false;
    v_result.replayed := false;
    v_result.merged := p_merged;
    v_result.changed_parts
        := v_appended.changed + v_overwritten.changed + v_replaced.changed + v_made.changed;
    v_result.size_bytes
        := p_session.size_bytes + v_appended.bytes + v_overwritten.bytes + v_replaced.bytes + v_made.bytes;
    v_result.message_count := p_session.message_count + v_appended.messages + v_replaced.messages;
    -- the limit can't be set lower than that, so smaller states need not know it
    if v_result.size_bytes > 1024 * 1024 then
        perform asyouwere.refuse_size(v_result.size_bytes);
    end if;
    -- what the app says of a snapshot is said of one of its own
    if v_result.changed_parts > 0 or v_number = 1 or not (p_annotations is null) then
        v_result.number := v_number;
        v_result.created := true;
        v_written := v_appended.written + v_overwritten.written + v_replaced.written + v_made.written;
        if not (p_annotations is null) then
            v_written := v_written
                + asyouwere.annotations_size(p_annotations.metadata, p_annotations.external_id);
        end if;
        v_prepaid := p_session.prepaid_saves - 1;
        -- the common case without a call: the owner has paid ahead, in this minute
        if v_prepaid < 0 or v_written >= 1024 * 1024 or v_caller is distinct from p_session.user_id
            or p_session.updated_at < date_trunc('minute', clock_timestamp())
        then
            v_prepaid := asyouwere.charge_save(p_session, v_written);
        end if;
        with made as (
            insert into public.session_snapshots (
                session_id, number, size_bytes, changed_parts, message_count, created_by, metadata,
                external_id, parent_number)
            values (p_session.id, v_number, v_result.size_bytes, v_result.changed_parts,
                v_result.message_count, nullif(v_caller, p_session.user_id), p_annotations.metadata,
                p_annotations.external_id, p_annotations.parent_number)
        )
        update public.free_agent_sessions s
        set latest_number = v_number, size_bytes = v_result.size_bytes,
            message_count = v_result.message_count,
            stored_bytes = s.stored_bytes + v_written, prepaid_saves = v_prepaid,
            last_message = case
                -- the everyday save: the message that it ends with is the last, so nobody looks for it
                when p_rows.ops[v_rows] = 'append' and p_rows.paths[v_rows] = '/messages/'
                    then asyouwere.message_preview(p_rows.bodies[v_rows])
                when '/messages/' = any (p_rows.paths) or '/' = any (p_rows.paths)
                    then asyouwere.last_message(p_session.internal_id)
                else s.last_message end,
            updated_at = now(),
            -- a save that began earlier may have waited for this one's lock
            last_activity_at = greatest(s.last_activity_at, now())
        where s.id = p_session.id;
    end if;
    if p_session.expired_at is not null then
        -- an expired session lives again with the first save, also with one that changes nothing
        update public.free_agent_sessions s set status = 'idle' where s.id = p_session.id;
    end if;
    if p_label is not null then
        perform asyouwere.set_label(p_session.id, v_result.number, p_label);
    end if;
    if p_key is not null and not v_result.created then
        perform asyouwere.charge(); -- the key is a row, even if nothing has changed
    end if;
    if p_key is not null then
        insert into asyouwere.save_keys (session, key, content, number, changed_parts, made_snapshot, merged)
        values (p_session.internal_id, p_key, p_content, v_result.number, v_result.changed_parts,
            v_result.created, p_merged);
    end if;
    return v_result;
end;
$$;
comment on function asyouwere.write_snapshot is
    'Writes change rows against the latest as the next snapshot, if they change anything, and remembers the'
    ' key. The caller holds the session''s lock. Raises too_large, rate_limited, quota_exceeded, '
    'label_taken and what the rows can be refused for.';
revoke execute on function asyouwere.write_snapshot from public;

create function asyouwere.digest_of_save(
    p_rows asyouwere.change_rows, p_base int, p_label text, p_annotations asyouwere.annotations default null
) returns uuid
language sql immutable set search_path = pg_catalog, pg_temp
-- the label late: it may hold any character; what follows is JSON, so no label ends like it by chance
return md5(concat(
    array_to_string(p_rows.ops, E'\x02', '-'), E'\x01',
    array_to_string(p_rows.paths, E'\x02'), E'\x01',
    array_to_string(p_rows.items, E'\x02', '-'), E'\x01',
    array_to_string(p_rows.bodies, E'\x02', '-'), E'\x01',
    p_base, E'\x01', '=' || p_label,
    case when not (p_annotations is null) then E'\x01' || to_jsonb(p_annotations)::text end))::uuid;
comment on function asyouwere.digest_of_save is
    'Tells two saves apart; JSON text and paths hold no control characters.';
revoke execute on function asyouwere.digest_of_save from public;

create function asyouwere.replay_save(
    p_session public.free_agent_sessions, p_earlier asyouwere.save_keys, p_content uuid, p_base int
) returns asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_result asyouwere.save_result;
begin
    if p_earlier.content <> p_content then
        perform asyouwere.fail('idempotency_key_reused');
    end if;
    -- the sizes of that number as far as it is kept, else null
    select n.size_bytes, n.message_count into v_result.size_bytes, v_result.message_count
    from public.session_snapshots n where n.session_id = p_session.id and n.number = p_earlier.number;
    v_result.number := p_earlier.number;
    v_result.created := p_earlier.made_snapshot;
    v_result.changed_parts := p_earlier.changed_parts;
    v_result.replayed := true;
    v_result.merged := p_earlier.merged;
    -- The same as in the answer that may have been lost: what leads to that number and no further. A client
    -- that took later changes for part of that number would send them as its own with the next save.
    if p_base < p_earlier.number - p_earlier.made_snapshot::int and v_result.size_bytes is not null
        and (p_base = 0 or exists (
            select from public.session_snapshots n where n.session_id = p_session.id and n.number = p_base))
    then
        v_result.others := asyouwere.told_changes(p_session.internal_id, p_base, p_earlier.number);
    end if;
    return v_result;
end;
$$;
comment on function asyouwere.replay_save is
    'The answer to a save that was done before. Sizes are null if its number is pruned, others if that or '
    'the base is, or it is over 8 MB: restore then. Raises idempotency_key_reused, rate_limited.';
revoke execute on function asyouwere.replay_save from public;

-- What callers see -----------------------------------------------------------------------------------------
create function public.create_session_snapshot(
    p_session_id uuid, p_state json default null, p_changes json default null, p_base int default null,
    p_idempotency_key text default null, p_label text default null, p_on_conflict text default 'merge',
    p_metadata jsonb default null, p_external_id text default null, p_parent_number int default null
) returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if (p_state is null) = (p_changes is null) then
        perform asyouwere.fail('invalid_argument', 'Give either p_state, a whole state, or p_changes.');
    end if;
    return next asyouwere.save_json(
        p_session_id, p_state, p_changes, p_base, p_idempotency_key, p_label, p_on_conflict,
        (p_metadata, p_external_id, p_parent_number)::asyouwere.annotations);
end;
$$;
comment on function public.create_session_snapshot is
    'Save a whole state, or changes {"set": {pointer: value}, "append": {pointer: [items]}, "remove": '
    '[pointer]}, also with conditions: "add", "append_once", "expect", "expect_absent". One row: number, '
    'whether a snapshot was created (false: nothing had changed), sizes, what changed since p_base (others) '
    'and what add and append_once found there (existing). The same idempotency key answers the first '
    'result again. Older '
    'base: on_conflict merge (default), reject, overwrite.';
revoke execute on function public.create_session_snapshot from public, anon, authenticated, service_role;
grant execute on function public.create_session_snapshot to authenticated, service_role;

create function asyouwere.save_json(
    p_session_id uuid, p_state json, p_changes json, p_base int,
    p_idempotency_key text, p_label text, p_on_conflict text,
    p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_rows asyouwere.change_rows;
begin
    -- definer: nobody writes parts but through here and save_parts()
    if greatest(pg_column_size(p_state), pg_column_size(p_changes)) > 1024 * 1024 then
        perform asyouwere.refuse_second_large(); -- before it is opened
    end if;
    v_rows := case when p_state is null then asyouwere.open_changes(p_changes)
        else asyouwere.open_state(p_state) end;
    perform asyouwere.refuse_twice(v_rows);
    return asyouwere.save_snapshot(
        p_session_id, v_rows, p_base, p_idempotency_key, p_label, p_on_conflict, p_annotations);
end;
$$;
comment on function asyouwere.save_json is 'Opens JSON and saves it.';
revoke execute on function asyouwere.save_json from public;
grant execute on function asyouwere.save_json to authenticated, service_role;

create function public.save_session_parts(
    p_session_id uuid, p_ops text[], p_paths text[], p_items int[], p_bodies text[], p_base int default null,
    p_idempotency_key text default null, p_label text default null, p_on_conflict text default 'merge',
    p_metadata jsonb default null, p_external_id text default null, p_parent_number int default null
) returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.save_parts(p_session_id, (p_ops, p_paths, p_items, p_bodies)::asyouwere.change_rows,
        p_base, p_idempotency_key, p_label, p_on_conflict,
        (p_metadata, p_external_id, p_parent_number)::asyouwere.annotations);
end;
$$;
comment on function public.save_session_parts is
    'The same save, opened by the caller into change rows (four arrays, see 06_opening.sql): keeps any JSON'
    ' exactly, \u0000 too. What the HTTPS functions call.';
revoke execute on function public.save_session_parts from public, anon, authenticated, service_role;
grant execute on function public.save_session_parts to authenticated, service_role;

create function asyouwere.save_parts(
    p_session_id uuid, p_rows asyouwere.change_rows, p_base int,
    p_idempotency_key text, p_label text, p_on_conflict text,
    p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_count int := cardinality(p_rows.ops);
    v_dims text := '[1:' || v_count || ']';
    v_wrong boolean;
    v_not_json boolean;
begin
    -- definer: nobody writes parts but through here and save_json(). Rows from outside are not trusted: check
    -- what opening would have made sure of.
    if v_count > 125000 then
        perform asyouwere.refuse_count(v_count);
    elsif asyouwere.is_large_save(p_rows) then
        perform asyouwere.refuse_second_large(); -- before it is checked
    end if;
    select bool_or(g.op is null or g.op not in ('set', 'in', 'remove', 'append')
                and g.op not in ('add', 'by', 'once', 'expect', 'expect_in', 'expect_absent')
            or g.path is null or not asyouwere.is_path(g.path)
            or (g.op in ('remove', 'expect_absent')) <> (g.body is null)
            or g.path = '/' and (g.op not in ('set', 'expect') or g.item <> -1 or g.body <> '{}')
            or g.op in ('append', 'by', 'once') and g.item is not null or g.item not between -1 and 2147483646
            or g.op in ('in', 'expect_in') and g.item is null
            or g.op = 'by' and left(g.body, 1) <> '"'),
        bool_or(g.body is not null and not asyouwere.is_json(g.body))
    into v_wrong, v_not_json
    from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) g (op, path, item, body);
    if v_not_json then
        perform asyouwere.fail('invalid_json', 'A body is not JSON.');
    elsif v_wrong or v_count is null or v_count > 0
        -- also not of two dimensions, nor counted from elsewhere than 1: further on they are read by number
        and not coalesce(
            array_dims(p_rows.ops) = v_dims and array_dims(p_rows.paths) = v_dims
            and array_dims(p_rows.items) = v_dims and array_dims(p_rows.bodies) = v_dims, false)
    then
        perform asyouwere.fail('invalid_changes',
            'These are no change rows: four arrays of one length, as documented.');
    end if;
    if p_rows.ops && array['in', 'once', 'expect_in'] then
        perform asyouwere.refuse_loose_rows(p_rows);
    end if;
    return asyouwere.save_snapshot(
        p_session_id, p_rows, p_base, p_idempotency_key, p_label, p_on_conflict, p_annotations);
end;
$$;
comment on function asyouwere.save_parts is 'Checks change rows from outside and saves them.';
revoke execute on function asyouwere.save_parts from public;
grant execute on function asyouwere.save_parts to authenticated, service_role;

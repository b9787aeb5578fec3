-- How a turn ends: finished by whoever made it, or interrupted, when the lease ran out, by whoever looks
-- next. Either way its message is saved once, in the transaction that ends it. Locks: the session, then the
-- turn.
-- Breaks running code: no.

create function asyouwere.turn_text(p_turn public.session_turns) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- What is between the quotes of JSON strings, joined, is a JSON string again, to the character.
    select concat('"', string_agg(substr(e.value::text, 2, length(e.value::text) - 2), '' order by c.seq,
        e.n), '"')
    from asyouwere.turn_chunks c
    cross join json_array_elements(concat('[', c.body, ']')::json) with ordinality e (value, n)
    where c.session = p_turn.internal_session_id and c.turn = p_turn.internal_id
        and json_typeof(e.value) = 'string'
    having count(*) > 0
$$;
comment on function asyouwere.turn_text is
    'The text chunks of a turn as one JSON string; null if there are none.';
revoke execute on function asyouwere.turn_text from public;

create function asyouwere.turn_message(p_turn public.session_turns, p_status text) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select concat(rtrim(left(rtrim(p_turn.message::text, E' \t\r\n'), -1), E' \t\r\n'),
        case when exists (select from json_object_keys(asyouwere.readable_json(p_turn.message::text)))
            then ',' end,
        '"content":', t.text, case when p_status <> 'done' then format(',"status":"%s"', p_status) end, '}')
    from asyouwere.turn_text(p_turn) t (text) where t.text is not null
$$;
comment on function asyouwere.turn_message is
    'The message that the text chunks of a turn make; null if there are none.';
revoke execute on function asyouwere.turn_message from public;

create function asyouwere.end_turn(
    p_turn public.session_turns, p_status text, p_result asyouwere.save_result, p_position int,
        p_finished_with uuid
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_last int := asyouwere.last_seq(p_turn);
begin
    update public.session_turns t
    set status = p_status, ended_at = clock_timestamp(), last_seq = v_last, number = p_result.number,
        position = p_position,
        changed_parts = p_result.changed_parts, finished_with = p_finished_with,
        message = null,
        due_at = clock_timestamp()
            + case p_status when 'interrupted' then s.delete_expired_after else s.keep_chunks_for end
    from asyouwere.settings s
    where t.session_id = p_turn.session_id and t.id = p_turn.id;
end;
$$;
comment on function asyouwere.end_turn is 'Writes down how a turn ended, and until when its chunks stay.';
revoke execute on function asyouwere.end_turn from public;

-- Interrupted
-- ------------------------------------------------------------------------------------------------------
create function asyouwere.interrupt_turn(p_session_id uuid, p_turn_id uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_claims text := current_setting('request.jwt.claims', true);
    v_claimed_sub text := current_setting('request.jwt.claim.sub', true);
    v_session public.free_agent_sessions;
    v_turn public.session_turns;
    v_message text;
    v_result asyouwere.save_result;
begin
    select * into v_session from public.free_agent_sessions s where s.id = p_session_id for no key update;
    select * into v_turn from public.session_turns t
    where t.session_id = p_session_id and t.id = p_turn_id for no key update;
    -- again under the locks: it may have been finished, or interrupted by another
    if v_turn.status is distinct from 'running' or v_turn.lease_until > clock_timestamp() then
        return;
    end if;
    v_message := asyouwere.turn_message(v_turn, 'interrupted');
    if v_message is not null then
        begin
            -- As nobody: whoever looks neither wrote it nor pays for it, and may be somebody who only reads.
            -- But what people have begun counts as stored bytes, as if they had finished it. No SET clause:
            -- only a superuser could create the function with one for such a setting.
            perform set_config('request.jwt.claims', '', true), set_config('request.jwt.claim.sub', '', true);
            v_result := asyouwere.write_snapshot(v_session,
                (array['append'], array['/messages/'], array[null::int],
                    array[v_message])::asyouwere.change_rows,
                false, null, null, null);
            if v_turn.started_by is not null then
                perform asyouwere.refuse_quota(v_session.user_id, 0, octet_length(v_message),
                    p_are_counted => true);
            end if;
            perform set_config('request.jwt.claims', coalesce(v_claims, ''), true),
                set_config('request.jwt.claim.sub', coalesce(v_claimed_sub, ''), true);
        exception when sqlstate 'PT403' or sqlstate 'PT413' or sqlstate 'PT422' or statement_too_complex then
            -- No room, or messages is no list: it ends all the same, and the chunks stay for the time of
            -- grace.
            v_message := null;
        end;
    end if;
    perform asyouwere.end_turn(v_turn, 'interrupted', v_result,
        case when v_message is not null then v_result.message_count - 1 end, null);
end;
$$;
comment on function asyouwere.interrupt_turn is
    'Ends a turn whose lease ran out, once: its text so far becomes a message with "status": "interrupted".';
revoke execute on function asyouwere.interrupt_turn from public;

-- Finished
-- ---------------------------------------------------------------------------------------------------------
create function asyouwere.complete_turn(
    p_session_id uuid, p_turn_id uuid, p_message json, p_changes json, p_status text
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id);
    v_turn public.session_turns := asyouwere.turn_to_write(p_session_id, p_turn_id);
    v_finished_with uuid := md5(concat(p_status, E'\x01', p_message, E'\x01', p_changes))::uuid;
    v_message text;
    v_rows asyouwere.change_rows := (array[]::text[], array[]::text[], array[]::int[], array[]::text[]);
    v_result asyouwere.save_result;
begin
    -- definer: nobody ends turns but through here
    if p_status is null or p_status not in ('done', 'stopped', 'failed') then
        perform asyouwere.fail('invalid_argument', 'status is done, stopped or failed.');
    end if;
    if v_turn.finished_with = v_finished_with then
        -- the answer may have been lost
        v_result := (v_turn.number, v_turn.changed_parts > 0, true, false, v_turn.changed_parts, null, null,
            null);
        select n.size_bytes, n.message_count into v_result.size_bytes, v_result.message_count
        from public.session_snapshots n where n.session_id = p_session_id and n.number = v_turn.number;
        return v_result;
    end if;
    perform asyouwere.refuse_ended(v_turn);
    v_message := coalesce(p_message::text, asyouwere.turn_message(v_turn, p_status));
    if p_changes is not null then
        v_rows := asyouwere.open_changes(p_changes);
        perform asyouwere.refuse_twice(v_rows);
    end if;
    if v_message is not null then
        -- last, so that its position is that of the last message
        v_rows := (v_rows.ops || 'append'::text, v_rows.paths || '/messages/'::text,
            v_rows.items || null::int,
            v_rows.bodies || v_message);
    end if;
    if cardinality(v_rows.ops) > 0 then
        v_result := asyouwere.save_snapshot(p_session_id, v_rows, null, null, null, 'merge');
    else
        v_result := (v_session.latest_number, false, false, false, 0, v_session.size_bytes,
            v_session.message_count, null);
    end if;
    perform asyouwere.end_turn(v_turn, p_status, v_result,
        case when v_message is not null then v_result.message_count - 1 end, v_finished_with);
    return v_result;
end;
$$;
comment on function asyouwere.complete_turn is 'Saves the message and other changes, and ends the turn.';
revoke execute on function asyouwere.complete_turn from public;
grant execute on function asyouwere.complete_turn to authenticated, service_role;

create function public.finish_turn(
    p_session_id uuid, p_turn_id uuid, p_message json default null, p_changes json default null,
    p_status text default 'done'
) returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.complete_turn(p_session_id, p_turn_id, p_message, p_changes, p_status);
end;
$$;
comment on function public.finish_turn is
    'End a turn as done, stopped or failed, and save its message in the same transaction: p_message, or '
    'else one made of the text chunks; p_changes go with it. The answer is that of a save; again with the '
    'same arguments: the same. Raises turn_over, turn_not_found, forbidden and what a save can be refused '
    'for.';
revoke execute on function public.finish_turn from public, anon, authenticated, service_role;
grant execute on function public.finish_turn to authenticated, service_role;

-- Stopped
-- ----------------------------------------------------------------------------------------------------------
create function asyouwere.request_stop(p_session_id uuid, p_turn_id uuid) returns public.session_turns
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_turn public.session_turns;
begin
    -- definer: nobody writes turns but through here
    select * into v_turn from public.session_turns t
    where t.session_id = p_session_id and t.id = p_turn_id
        and (select asyouwere.role_of(s.id, s.user_id, s.visibility) from public.free_agent_sessions s
            where s.id = t.session_id) in ('owner', 'editor')
    for no key update;
    if not found then
        perform asyouwere.refuse_turn(p_session_id, p_turn_id, 'editor');
    end if;
    if v_turn.status = 'running' and v_turn.stop_requested_at is null then
        update public.session_turns t set stop_requested_at = clock_timestamp()
        where t.session_id = p_session_id and t.id = p_turn_id
        returning * into v_turn;
        perform asyouwere.charge();
    end if;
    return v_turn;
end;
$$;
comment on function asyouwere.request_stop is 'Notes that a stop was asked for, once.';
revoke execute on function asyouwere.request_stop from public;
grant execute on function asyouwere.request_stop to authenticated, service_role;

create function public.stop_turn(p_session_id uuid, p_turn_id uuid)
returns table (status text, stop_requested_at timestamptz)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select t.status, t.stop_requested_at from asyouwere.request_stop(p_session_id, p_turn_id) t;
end;
$$;
comment on function public.stop_turn is
    'Ask whoever makes the answer to stop: told with the next flush. Any editor may. Of a turn that is '
    'over: how it ended. Raises turn_not_found, forbidden.';
revoke execute on function public.stop_turn from public, anon, authenticated, service_role;
grant execute on function public.stop_turn to authenticated, service_role;

-- Clean-up
-- ---------------------------------------------------------------------------------------------------------
create function asyouwere.drop_chunks(p_session public.free_agent_sessions, out turns int,
    out finished boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_turns bigint[];
    v_rows int;
begin
    -- from turn to turn in the key of the chunks: a session may have had any number of turns
    with recursive kept (turn) as (
        select min(c.turn) from asyouwere.turn_chunks c where c.session = p_session.internal_id
        union all
        select (select min(c.turn) from asyouwere.turn_chunks c
            where c.session = p_session.internal_id and c.turn > k.turn)
        from kept k where k.turn is not null
    ), dropped as (
        update public.session_turns t set due_at = least(t.due_at, now())
        from kept k
        where t.session_id = p_session.id and t.internal_id = k.turn and t.status <> 'running'
        returning t.internal_id
    )
    select coalesce(array_agg(d.internal_id), '{}') into v_turns from dropped d;
    turns := cardinality(v_turns);
    delete from asyouwere.turn_chunks c where c.ctid = any (array(
        select o.ctid from asyouwere.turn_chunks o
        where o.session = p_session.internal_id and o.turn = any (v_turns) limit 5000));
    get diagnostics v_rows = row_count;
    finished := v_rows < 5000;
end;
$$;
comment on function asyouwere.drop_chunks is
    'From now on nobody reads chunks of a session''s turns that are over; up to 5,000 rows of them are deleted, '
    'the clean-up deletes the others.';
revoke execute on function asyouwere.drop_chunks from public;

create function asyouwere.settle_turns(p_turns int, p_rows int) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_until timestamptz := clock_timestamp() + interval '50 ms';
    v_turn public.session_turns;
    v_rows int;
    v_left int := p_rows;
begin
    -- what nobody has looked at
    for v_turn in
        select t.* from public.session_turns t where t.status = 'running' and t.lease_until <= now()
        order by t.lease_until limit p_turns
    loop
        -- busy: next time
        perform from public.free_agent_sessions s
            where s.id = v_turn.session_id for no key update skip locked;
        continue when not found;
        begin
            perform asyouwere.interrupt_turn(v_turn.session_id, v_turn.id);
        exception when others then
            perform asyouwere.note_failure(v_turn.internal_session_id, 'turns', sqlstate);
            continue;
        end;
        return true; -- one session's lock at a time
    end loop;
    for v_turn in
        select t.* from public.session_turns t where t.due_at <= now() order by t.due_at limit 500
        for no key update skip locked
    loop
        delete from asyouwere.turn_chunks c where c.ctid = any (array(
            select o.ctid from asyouwere.turn_chunks o
            where o.session = v_turn.internal_session_id and o.turn = v_turn.internal_id limit v_left));
        get diagnostics v_rows = row_count;
        v_left := v_left - v_rows;
        if v_left <= 0 or clock_timestamp() > v_until then
            return true;
        end if;
        -- the row is known for as long as an idempotency key is
        update public.session_turns t set due_at = v_turn.ended_at + s.keep_keys_for
        from asyouwere.settings s
        where t.session_id = v_turn.session_id and t.id = v_turn.id
            and v_turn.ended_at + s.keep_keys_for > now();
        if not found then
            delete from public.session_turns t where t.session_id = v_turn.session_id and t.id = v_turn.id;
        end if;
    end loop;
    return exists (select from public.session_turns t where t.due_at <= now());
end;
$$;
comment on function asyouwere.settle_turns is
    'Interrupts turns whose lease ran out, deletes chunks whose time is over and turns long ended; true if '
    'there are more.';
revoke execute on function asyouwere.settle_turns from public;

-- Taking from the end of a list: atomic under the session's lock, so that of many callers each gets other
-- items.
-- Breaks running code: no.

create type asyouwere.taken as (
    number int, created boolean, replayed boolean, items json, first_position int,
    size_bytes bigint, message_count int
);
comment on type asyouwere.taken is 'What pop_session_items answers.';

create function asyouwere.taken_items(p_session bigint, p_number int, p_path text)
returns table (items json, first_position int, count int)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    return query
    select concat('[', string_agg(p.body, ',' order by p.item), ']')::json, min(p.item), count(*)::int
    from asyouwere.parts_ended(p_session, p_number - 1, p_number) p
    where p.path = p_path and p.item >= 0;
end;
$$;
comment on function asyouwere.taken_items is 'The items of a list that ended with a number.';
revoke execute on function asyouwere.taken_items from public;

create function asyouwere.pop_items(p_session_id uuid, p_address text, p_count int, p_idempotency_key text)
returns asyouwere.taken
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id);
    v_path text := asyouwere.path_of_pointer(p_address);
    v_key uuid := md5(p_idempotency_key)::uuid;
    v_content uuid := md5(format('pop %s %s', p_count, v_path))::uuid;
    v_earlier asyouwere.save_keys;
    v_part asyouwere.found_part;
    v_length int := 0;
    v_first int;
    v_saved asyouwere.save_result;
    v_taken asyouwere.taken;
    v_count int;
begin
    -- definer: nobody writes parts but through here
    if p_address is null or p_count is null or p_count not between 1 and 1000
        or length(p_idempotency_key) not between 1 and 255
    then
        perform asyouwere.fail('invalid_argument',
            'Give the address of a list and a count of 1 to 1,000. '
            'An idempotency key has 1 to 255 characters.');
    end if;
    select * into v_earlier from asyouwere.save_keys k
    where k.session = v_session.internal_id and k.key = v_key;
    if found then
        v_saved := asyouwere.replay_save(v_session, v_earlier, v_content, null);
    else
        v_part := case v_path when '/' then ('/', -1, 'o', '{}')::asyouwere.found_part
            else asyouwere.find_part(v_session.internal_id, 2147483646, v_path) end;
        if v_part.kind <> 'l' then
            perform asyouwere.fail('not_a_list', 'Items can be taken from lists only.',
                format('{"address": %s}', asyouwere.pointer_json(v_path, -1)));
        elsif v_part.kind = 'l' then
            v_length := asyouwere.list_length(v_session.internal_id, 2147483646, v_path);
        end if;
        v_first := greatest(0, v_length - p_count);
        v_saved := asyouwere.write_snapshot(v_session,
            (
                select row(array_agg('drop'::text), array_agg(v_path), array_agg(i), array_agg(null::text))
                    ::asyouwere.change_rows
                from generate_series(v_first, v_length - 1) i
            ), false, null, v_key, v_content);
    end if;
    v_taken.number := v_saved.number;
    v_taken.created := v_saved.created;
    v_taken.replayed := v_saved.replayed;
    v_taken.size_bytes := v_saved.size_bytes;
    v_taken.message_count := v_saved.message_count;
    v_taken.items := '[]';
    if v_saved.changed_parts > 0 then
        perform asyouwere.charge_answer((
            select sum(p.size) from asyouwere.parts_ended(
                v_session.internal_id, v_saved.number - 1, v_saved.number) p));
        select t.items, t.first_position, t.count into v_taken.items, v_taken.first_position, v_count
        from asyouwere.taken_items(v_session.internal_id, v_saved.number, v_path) t;
        if v_count < v_saved.changed_parts then
            -- a replay whose items clean-up has taken since
            v_taken.items := null;
            v_taken.first_position := null;
        end if;
    end if;
    return v_taken;
end;
$$;
comment on function asyouwere.pop_items is 'Takes the last items of a list, as the next snapshot.';
revoke execute on function asyouwere.pop_items from public;
grant execute on function asyouwere.pop_items to authenticated, service_role;

create function public.pop_session_items(
    p_session_id uuid, p_address text, p_count int default 1, p_idempotency_key text default null
) returns setof asyouwere.taken
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.pop_items(p_session_id, p_address, p_count, p_idempotency_key);
end;
$$;
comment on function public.pop_session_items is
    'Take up to p_count (1 to 1,000) items from the end of a list, as one snapshot: two callers never get '
    'the same one. One '
    'row with the items; none if the list is empty or not there. The same idempotency key answers the '
    'first result again; items is null then if that snapshot''s predecessor was cleaned up. Raises '
    'session_not_found, forbidden, not_a_list, '
    'invalid_address, address_below_part, idempotency_key_reused.';
revoke execute on function public.pop_session_items from public, anon, authenticated, service_role;
grant execute on function public.pop_session_items to authenticated, service_role;

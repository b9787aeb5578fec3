-- Turns taken along: an export has those whose chunks say more than the messages do, an import brings them
-- back. A turn that runs is exported as far as it has come. Where it is imported nobody makes it any more: it
-- comes as one whose lease ran out, and whoever looks first settles it.
-- Breaks running code: no.

create function asyouwere.export_turns(p_session public.free_agent_sessions) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- The newest ten, together no larger than one may be: all of it is one row of the export.
    select ',"turns":[' || string_agg(concat(
            left(json_build_object('id', t.id, 'status', t.status, 'started_at', t.started_at, 'ended_at',
                t.ended_at,
                'number', t.number, 'position', t.position)::text, -1),
            ',"message":' || case when t.is_insider then t.message end::text,
            ',"chunks":[', t.chunks, ']}'), ',' order by t.internal_id) || ']'
    from (
        select f.*, asyouwere.is_insider(p_session.id, p_session.user_id) as is_insider, (
            select string_agg(c.body, ',' order by c.seq) from asyouwere.turn_chunks c
            where c.session = f.internal_session_id and c.turn = f.internal_id) as chunks
        from (
            select n.*, sum((
                select c.bytes from asyouwere.turn_chunks c
                where c.session = n.internal_session_id and c.turn = n.internal_id order by c.seq desc limit 1
            )) over (order by n.internal_id desc) as bytes
            from (
                select * from public.session_turns i
                where i.session_id = p_session.id
                    and (i.status = 'running' or i.status = 'interrupted' and i.due_at > now())
                order by i.internal_id desc limit 10
            ) n
        ) f
        where f.bytes <= (select s.max_turn_bytes from asyouwere.settings s)
    ) t
    where t.chunks is not null
$$;
comment on function asyouwere.export_turns is
    'The running turn of a session and the interrupted ones that have chunks yet, as a member of its export; '
    'null if there are none.';
revoke execute on function asyouwere.export_turns from public;

create function asyouwere.refuse_turn_bytes(p_bytes bigint, p_most bigint) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_bytes > p_most then
        perform asyouwere.fail('too_large', format('The turns of an import may have %s bytes.', p_most),
            format('{"size_bytes": %s, "max_bytes": %s}', p_bytes, p_most));
    end if;
end;
$$;
comment on function asyouwere.refuse_turn_bytes is 'Raises too_large.';
revoke execute on function asyouwere.refuse_turn_bytes from public;

create function asyouwere.write_imported_chunks(p_turn public.session_turns, p_chunks json) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_bytes bigint;
begin
    if not asyouwere.is_plain_part('/messages/', 0, p_chunks::text) then
        perform asyouwere.refuse_part('/messages/', 0, p_chunks::text);
    end if;
    -- in flushes of some 128 KB, as a page of get_turn() is made of whole ones
    insert into asyouwere.turn_chunks (session, turn, seq, chunks, flush, bytes, body)
    select p_turn.internal_session_id, p_turn.internal_id, max(f.n), count(*), row_number() over w,
        coalesce(octet_length(p_turn.message::text), 0) + sum(sum(f.size) + 99) over w,
        string_agg(f.body, ',' order by f.n)
    from (
        select c.*, (sum(c.size) over (order by c.n) - c.size) / 131072 as flush
        from (
            select e.n, e.value::text as body, octet_length(e.value::text) + 65 as size
            from json_array_elements(p_chunks) with ordinality e (value, n)
        ) c
    ) f
    group by f.flush
    window w as (order by f.flush);
    select max(c.bytes) into v_bytes from asyouwere.turn_chunks c
    where c.session = p_turn.internal_session_id and c.turn = p_turn.internal_id;
    return coalesce(v_bytes, 0);
end;
$$;
comment on function asyouwere.write_imported_chunks is
    'Writes the chunks of a turn, and says what they count as.';
revoke execute on function asyouwere.write_imported_chunks from public;

create function asyouwere.import_turns(p_session public.free_agent_sessions, p_turns json) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_given record;
    v_turn public.session_turns;
    v_bytes bigint := 0;
begin
    select * into v_settings from asyouwere.settings;
    if json_typeof(p_turns) is distinct from 'array' or json_array_length(p_turns) > 10 then
        perform asyouwere.refuse_import('turns is a list of at most 10');
    end if;
    for v_given in
        select t.*, t.status = 'running' as runs from json_to_recordset(p_turns) as t (
            id uuid, status text, started_at timestamptz, ended_at timestamptz, number int, "position" int,
            message json, chunks json)
    loop
        v_given.message := asyouwere.unmasked_escapes(v_given.message::text);
        v_given.chunks := asyouwere.unmasked_escapes(v_given.chunks::text);
        if v_given.id is null or v_given.status is null or v_given.status not in ('running', 'interrupted')
            or json_typeof(v_given.chunks) is distinct from 'array'
            or v_given.number not between 1 and p_session.latest_number or v_given.position < 0
        then
            perform asyouwere.refuse_import('a turn is not well formed');
        end if;
        -- before they are taken apart: millions of small ones would be refused no sooner than written
        perform asyouwere.refuse_turn_bytes(v_bytes + octet_length(v_given.chunks::text)
            + 64 * json_array_length(v_given.chunks)::bigint, v_settings.max_turn_bytes);
        if v_given.runs then
            v_given.message := coalesce(v_given.message, '{"role":"assistant"}');
            perform asyouwere.refuse_turn_message(v_given.message);
        end if;
        if asyouwere.is_limited() then
            perform asyouwere.refuse_turns(auth.uid()); -- their chunks are kept as well
        end if;
        insert into public.session_turns (
            session_id, id, internal_session_id, status, started_by, started_at, lease_seconds, lease_until,
            ended_at, last_seq, number, position, message, due_at)
        values (
            p_session.id, v_given.id, p_session.internal_id, v_given.status, auth.uid(),
            asyouwere.clamp_time(coalesce(v_given.started_at, now())), 1, now(),
            case when not v_given.runs then asyouwere.clamp_time(coalesce(v_given.ended_at, now())) end,
            json_array_length(v_given.chunks),
            case when not v_given.runs then v_given.number end,
            case when not v_given.runs then v_given.position end,
            case when v_given.runs then v_given.message end,
            case when not v_given.runs then now() + v_settings.delete_expired_after end)
        returning * into v_turn;
        v_bytes := v_bytes + asyouwere.write_imported_chunks(v_turn, v_given.chunks);
        perform asyouwere.refuse_turn_bytes(v_bytes, v_settings.max_turn_bytes);
    end loop;
exception
    when data_exception or integrity_constraint_violation or invalid_parameter_value then
        perform asyouwere.refuse_import('a turn is not well formed');
end;
$$;
comment on function asyouwere.import_turns is
    'The turns of an export, out of masked_json(), as the caller''s. Raises invalid_argument, too_large, '
    'quota_exceeded and '
    'what a '
    'part can be refused for.';
revoke execute on function asyouwere.import_turns from public;

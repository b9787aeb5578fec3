-- Chunks: how whoever makes an answer flushes it, and how others read it as it comes.
-- Breaks running code: no.

create function asyouwere.charge_flush(p_last asyouwere.turn_chunks, p_flush int, p_bytes int) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_max_bytes bigint := (select s.max_turn_bytes from asyouwere.settings s);
    -- of sixteen flushes one pays, so that the others write one row
    v_cost int := (p_flush % 16 = 0)::int + (p_bytes >> 20) - (coalesce(p_last.bytes, 0) >> 20);
begin
    if p_bytes > v_max_bytes then
        perform asyouwere.fail('too_large',
            format('A turn may have %s bytes, each flush counting 100 more and each chunk 64.', v_max_bytes),
            format('{"size_bytes": %s, "max_bytes": %s}', p_bytes, v_max_bytes));
    end if;
    if v_cost > 0 then
        perform asyouwere.charge(v_cost);
    end if;
end;
$$;
comment on function asyouwere.charge_flush is
    'A token for every 16 flushes of a turn and for every MB. Raises rate_limited, too_large.';
revoke execute on function asyouwere.charge_flush from public;

create function asyouwere.append_chunks(
    p_session_id uuid, p_turn_id uuid, p_from_seq int, p_chunks json, out next_seq int, out stop boolean
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_turn public.session_turns := asyouwere.turn_to_write(p_session_id, p_turn_id);
    v_last asyouwere.turn_chunks;
    -- A text with the list in it is taken too: PostgREST reads no JSON with half a character in it, and a
    -- stream is cut anywhere.
    v_chunks json := case json_typeof(p_chunks) when 'string'
        then asyouwere.json_inside(p_chunks) else p_chunks end;
    v_body text := btrim(v_chunks::text, E' \t\r\n');
    v_count int;
    v_known int;
    v_flush int;
    v_bytes int;
    v_left interval;
begin
    -- definer: chunks are private
    perform asyouwere.refuse_ended(v_turn);
    if v_body is null or p_from_seq is null or p_from_seq < 1 or left(v_body, 1) <> '[' then
        perform asyouwere.fail('invalid_argument',
            'chunks is a list, its first one''s number from_seq is 1 or more.');
    elsif octet_length(v_body) > 262144 then
        perform asyouwere.fail('too_large', 'One flush may have 256 KB.',
            format('{"size_bytes": %s, "max_bytes": 262144}', octet_length(v_body)));
    end if;
    -- A chunk may become a part, so it obeys the rules of parts: what is too deep could never be read again.
    if not asyouwere.is_plain_part('/messages/', 0, v_body) then
        perform asyouwere.refuse_part('/messages/', 0, v_body);
    end if;
    v_count := json_array_length(v_chunks);
    v_body := substr(v_body, 2, length(v_body) - 2);
    if v_count > 1000 then
        perform asyouwere.fail('too_large', 'One flush may have 1,000 chunks.', '{"max_parts": 1000}');
    end if;
    select c.seq, c.flush, c.bytes into v_last.seq, v_last.flush, v_last.bytes from asyouwere.turn_chunks c
    where c.session = v_turn.internal_session_id and c.turn = v_turn.internal_id
    order by c.session desc, c.turn desc, c.seq desc limit 1;
    v_known := coalesce(v_last.seq, 0) + 1 - p_from_seq; -- so many of them are there already
    if v_known < 0 then
        perform asyouwere.fail('turn_gap', p_detail => format('{"next_seq": %s}', coalesce(v_last.seq,
            0) + 1));
    elsif v_known > 0 and v_known < v_count then
        select string_agg(e.value::text, ',' order by e.n) into v_body
        from json_array_elements(v_chunks) with ordinality e (value, n) where e.n > v_known;
    end if;
    next_seq := p_from_seq + greatest(v_count, v_known);
    if v_count > v_known then
        v_flush := coalesce(v_last.flush, 0) + 1;
        -- not free, however small: to settle a turn, each chunk is looked at
        v_bytes := coalesce(v_last.bytes, octet_length(v_turn.message::text))
            + octet_length(v_body) + 100 + 64 * (v_count - v_known);
        insert into asyouwere.turn_chunks (session, turn, seq, chunks, flush, bytes, body)
        values (v_turn.internal_session_id, v_turn.internal_id, next_seq - 1, v_count - v_known, v_flush,
            v_bytes, v_body);
        -- no setting can be so small that what passes here breaks it
        if v_flush % 16 = 0 or v_bytes >= 65536 then
            perform asyouwere.charge_flush(v_last, v_flush, v_bytes);
        end if;
    end if;
    if v_count = 0
        or v_turn.lease_until - clock_timestamp() < make_interval(secs => v_turn.lease_seconds / 3.0)
    then
        update public.session_turns t
        set lease_until = clock_timestamp() + make_interval(secs => v_turn.lease_seconds),
            last_seq = next_seq - 1
        where t.session_id = p_session_id and t.id = p_turn_id;
        if v_count = 0 then
            perform asyouwere.charge();
        end if;
    end if;
    stop := v_turn.stop_requested_at is not null;
end;
$$;
comment on function asyouwere.append_chunks is 'Writes a flush of a running turn as one row.';
revoke execute on function asyouwere.append_chunks from public;
grant execute on function asyouwere.append_chunks to authenticated, service_role;

create function public.append_turn_chunks(p_session_id uuid, p_turn_id uuid, p_from_seq int, p_chunks json)
returns table (next_seq int, stop boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.append_chunks(p_session_id, p_turn_id, p_from_seq, p_chunks);
end;
$$;
comment on function public.append_turn_chunks is
    'Flush chunks, a list of texts or of any JSON, numbered from p_from_seq; the first of a turn is 1. What'
    ' is there is not written again; an empty list only renews the lease. The row says the next number, and'
    ' whether a stop was asked for. At most 1,000 chunks and 256 KB a flush. Raises turn_over, turn_gap, '
    'turn_not_found, too_large, rate_limited.';
revoke execute on function public.append_turn_chunks from public, anon, authenticated, service_role;
grant execute on function public.append_turn_chunks to authenticated, service_role;

-- Following
-- --------------------------------------------------------------------------------------------------
create function asyouwere.look_at_turn(p_session_id uuid, p_turn_id uuid,
    p_after_seq int) returns asyouwere.turn_state
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_turn public.session_turns;
    v_after int := greatest(p_after_seq, 0);
    v_last int;
    v_state asyouwere.turn_state;
begin
    -- the turn is read before its chunks: if it has ended, they are all there
    if p_turn_id is not null then
        select * into v_turn from public.session_turns t
        where t.session_id = p_session_id and t.id = p_turn_id
            and (select asyouwere.role_of(s.id, s.user_id, s.visibility) from public.free_agent_sessions s
                where s.id = t.session_id) is not null;
    else
        select * into v_turn from public.session_turns t
        where t.session_id = p_session_id
            and (select asyouwere.role_of(s.id, s.user_id, s.visibility) from public.free_agent_sessions s
                where s.id = t.session_id) is not null
        order by t.session_id, t.internal_id desc limit 1;
    end if;
    if v_turn.id is null then
        if p_turn_id is null and exists (select from public.free_agent_sessions s where s.id = p_session_id
            and asyouwere.role_of(s.id, s.user_id, s.visibility) is not null)
        then
            return null;
        end if;
        perform asyouwere.refuse_turn(p_session_id, null, 'viewer');
    end if;
    if v_turn.status = 'running' and v_turn.lease_until <= clock_timestamp()
        and current_setting('transaction_read_only') = 'off'
    then
        perform asyouwere.interrupt_turn(p_session_id, v_turn.id);
        select * into v_turn from public.session_turns t where t.session_id = p_session_id
            and t.id = v_turn.id;
    end if;
    select c.seq into v_last from asyouwere.turn_chunks c
    where c.session = v_turn.internal_session_id and c.turn = v_turn.internal_id
    order by c.session desc, c.turn desc, c.seq desc limit 1;
    v_last := coalesce(v_last, v_turn.last_seq);
    v_state := (v_turn.id, v_turn.status,
        -- who only reads a public session is not told whose it is
        case when v_turn.started_by is not null and asyouwere.is_insider(p_session_id, (
            select s.user_id from public.free_agent_sessions s where s.id = p_session_id))
        then v_turn.started_by end, v_turn.lease_until, v_turn.stop_requested_at is not null,
        least(v_after, v_last) + 1, '[]', v_last + 1, false,
        v_turn.number, v_turn.position, v_turn.started_at, v_turn.ended_at);
    if v_last > v_after and v_turn.due_at <= now() then
        v_state.first_seq := v_last + 1; -- their time is over, whether or not the clean-up has taken them
    elsif v_last > v_after then
        with page as (
            select c.* from asyouwere.turn_chunks c
            where c.session = v_turn.internal_session_id and c.turn = v_turn.internal_id and c.seq > v_after
            order by c.session, c.turn, c.seq limit 500
        ), fitting as (
            select p.seq, p.chunks, p.body, p.seq - p.chunks >= v_after as is_whole
            from page p where p.bytes - (select min(f.bytes) from page f) < 1000000
        )
        select greatest(min(f.seq - f.chunks), v_after) + 1, max(f.seq) < v_last, max(f.seq) + 1,
            concat('[', string_agg(case when f.is_whole then f.body else (
                select string_agg(e.value::text, ',' order by e.n)
                from json_array_elements(concat('[', f.body, ']')::json) with ordinality e (value, n)
                where f.seq - f.chunks + e.n > v_after) end, ',' order by f.seq), ']')
        into v_state.first_seq, v_state.more, v_state.next_seq, v_state.chunks
        from fitting f having count(*) > 0;
        if not found then
            v_state.first_seq := v_last + 1; -- the clean-up has taken them
            v_state.chunks := '[]';
            v_state.more := false;
            v_state.next_seq := v_last + 1;
        end if;
    end if;
    return v_state;
end;
$$;
comment on function asyouwere.look_at_turn is
    'A turn and its chunks after a number; null: the session has none. Settles one whose lease ran out.';
revoke execute on function asyouwere.look_at_turn from public;

create function asyouwere.read_turn(p_session_id uuid, p_turn_id uuid,
    p_after_seq int) returns asyouwere.turn_state
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state asyouwere.turn_state;
begin
    -- Definer: access is checked in the statement. The everyday poll finds nothing: one statement, without
    -- the settings of look_at_turn(), which would cost a tenth of it.
    select t.id, t.status, t.started_by, t.lease_until, t.stop_requested_at is not null,
        c.seq + 1, '[]', c.seq + 1, false, t.number, t.position, t.started_at, t.ended_at
    into v_state
    from public.session_turns t
    cross join lateral (
        select l.seq from asyouwere.turn_chunks l
        where l.session = t.internal_session_id and l.turn = t.internal_id
        order by l.session desc, l.turn desc, l.seq desc limit 1) c
    cross join public.free_agent_sessions s
    where t.session_id = p_session_id and t.id = p_turn_id and s.id = p_session_id
        and t.status = 'running' and t.lease_until > clock_timestamp()
        and (s.user_id = auth.uid()
            or s.visibility <> 'public' and asyouwere.role_of(s.id, s.user_id, s.visibility) is not null)
        and c.seq = p_after_seq;
    if not found then
        v_state := asyouwere.look_at_turn(p_session_id, p_turn_id, p_after_seq);
    end if;
    return v_state;
end;
$$;
comment on function asyouwere.read_turn is 'A turn, and its chunks after a number if there are any.';
revoke execute on function asyouwere.read_turn from public;
grant execute on function asyouwere.read_turn to anon, authenticated, service_role;

create function public.get_turn(p_session_id uuid, p_turn_id uuid default null, p_after_seq int default 0)
returns setof asyouwere.turn_state
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_state asyouwere.turn_state := asyouwere.read_turn(p_session_id, p_turn_id, p_after_seq);
begin
    if v_state.id is not null then
        return next v_state;
    end if;
end;
$$;
comment on function public.get_turn is
    'A turn (null: the running or the latest one; no row if there is none) and its chunks after p_after_seq, '
    'from first_seq on up to about 1 MB; more: ask again after next_seq - 1. number and position tell of '
    'the finished message. '
    'Cheap enough to ask four times a second. Raises turn_not_found, session_not_found.';
revoke execute on function public.get_turn from public, anon, authenticated, service_role;
grant execute on function public.get_turn to anon, authenticated, service_role;

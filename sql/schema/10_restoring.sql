-- Restoring: the parts alive at a number, put together as JSON text.
-- The text comes as rows to be joined: 32 items a row. One value of 1 MB costs more to build and copy than
-- all the rest, and no value may have 1 GB.
-- Breaks running code: no.

create function asyouwere.json_between(p_prior_depth int, p_prior_kind "char", p_depth int) returns text
language sql immutable parallel safe
-- What stands between a member and the one before it: closes what the one before left open, then a comma.
--   {"a":{"b":1   }}      after b (depth 2, kept whole) at the end: close a and the root
--   {"a":{        "b":1   after a (depth 1, opened) comes its first member: nothing
--   {"a":[…       ],"c":  after a list its bracket
return case when p_prior_depth is null then '{' else
    case when p_prior_kind = 'l' then ']' else '' end
    || repeat('}', p_prior_depth + case when p_prior_kind = 'o' then 1 else 0 end - greatest(p_depth, 1))
    || case
        when p_depth = 0 then '}'
        when p_prior_kind = 'o' and p_prior_depth = p_depth - 1 then ''
        else ',' end
end;
comment on function asyouwere.json_between is
    'JSON text between two members in path order; depth 0: the end of the state.';
revoke execute on function asyouwere.json_between from public;

create function asyouwere.json_member(p_path text, p_kind "char", p_body text) returns text
language sql immutable parallel safe
return asyouwere.path_json_key(p_path)
    || case p_kind when 'o' then ':{' when 'l' then ':[' else ':' || p_body end;
comment on function asyouwere.json_member is
    'A member''s key with its value, or with the opening bracket of its container.';
revoke execute on function asyouwere.json_member from public;

create function asyouwere.latest_state(p_session bigint) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off
as $$
begin
    -- First the order, of members and of chunks of items; then the text of the chunks, so that it is never
    -- sorted. All by the index of the living; a small table would be scanned, by a plan that stays when it
    -- has grown.
    return query
    select case when f.chunk is null then f.text else (
        select case when f.chunk > 0 then ',' || i.bodies else i.bodies end from (
            select string_agg(o.body, ',') as bodies from (
                select p.body from asyouwere.live_parts p
                where p.session = p_session and p.path = f.path
                    and p.item between f.chunk and f.chunk + 31
                order by p.path, p.item
            ) o
        ) i) end
    from (
        select m.path, null::int as chunk,
            asyouwere.json_between(m.prior_depth, m.prior_kind, m.depth)
                || asyouwere.json_member(m.path, m.kind, m.body) as text
        from (
            select p.path, p.kind, p.depth, p.body,
                lag(p.depth) over (order by p.path) as prior_depth,
                lag(p.kind) over (order by p.path) as prior_kind
            from asyouwere.live_parts p where p.session = p_session and p.item = -1
        ) m
        union all
        select l.path, chunk.first, null
        from asyouwere.live_parts l
        cross join lateral (
            select p.item from asyouwere.live_parts p
            where p.session = p_session and p.path = l.path
            order by p.path desc, p.item desc limit 1
        ) last
        cross join lateral generate_series(0, last.item, 32) as chunk (first)
        where l.session = p_session and l.item = -1 and l.kind = 'l'
        union all
        select '0', null, asyouwere.json_between(e.depth, e.kind, 0) from (
            select p.depth, p.kind from asyouwere.live_parts p
            where p.session = p_session and p.item = -1
            order by p.path desc limit 1
        ) e
        order by 1, 2 nulls first
    ) f;
    if not found then
        return next '{}';
    end if;
end;
$$;
comment on function asyouwere.latest_state is 'The latest state as JSON text, in rows to be joined.';
revoke execute on function asyouwere.latest_state from public;

create function asyouwere.state_at(p_session bigint, p_number int) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set work_mem = '64MB'
as $$
begin
    return query
    select string_agg(f.text, '' order by f.place) from (
        select m.place, concat(
            case when m.kind <> 'i' then asyouwere.json_between(m.prior_depth, m.prior_kind, m.depth)
                    || asyouwere.json_member(m.path, m.kind, m.body)
                when m.prior_kind = 'l' then m.body
                else ',' || m.body end,
            case when m.is_last then asyouwere.json_between(m.depth, m.list_kind, 0) end) as text
        from (
            select p.path, p.kind, p.depth, p.body,
                row_number() over w as place, lead(p.kind) over w is null as is_last,
                lag(p.depth) over w as prior_depth,
                -- after an item the list is still open: json_between must see a list, the next item only a
                -- comma
                case when lag(p.kind) over w = 'i' and p.kind <> 'i' then 'l'
                    else lag(p.kind) over w end as prior_kind,
                case when p.kind = 'i' then 'l' else p.kind end as list_kind
            from asyouwere.parts_at(p_session, p_number) p
            window w as (order by p.path, p.item)
        ) m
    ) f
    group by f.place / 32 order by f.place / 32;
    if not found then
        return next '{}';
    end if;
end;
$$;
comment on function asyouwere.state_at is 'The state at an older number as JSON text, in rows to be joined.';
revoke execute on function asyouwere.state_at from public;

create type asyouwere.snapshot_header as (
    session_id uuid, number int, label text, size_bytes bigint, message_count int,
    created_at timestamptz, status text, latest_number int,
    metadata jsonb, external_id text, parent_number int
);
comment on type asyouwere.snapshot_header is 'What there is to know of a snapshot besides its content.';

create function asyouwere.find_snapshot(
    p_session public.free_agent_sessions, p_number int, p_label text, p_external_id text default null
) returns asyouwere.snapshot_header
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_header asyouwere.snapshot_header;
    v_found public.session_snapshots;
begin
    if p_label is not null then
        select * into v_found from public.session_snapshots n
        where n.session_id = p_session.id and n.label = p_label
            and n.number = coalesce(p_number, n.number)
            and (p_external_id is null or n.external_id = p_external_id);
    elsif p_external_id is not null then
        select * into v_found from public.session_snapshots n
        where n.session_id = p_session.id and n.external_id = p_external_id
            and n.number = coalesce(p_number, n.number);
    else
        select * into v_found from public.session_snapshots n
        where n.session_id = p_session.id and n.number = coalesce(p_number, p_session.latest_number);
    end if;
    -- what the app says of a snapshot concerns those who work together
    if v_found.external_id is not null or v_found.metadata is not null or v_found.parent_number is not null
    then
        if not asyouwere.is_insider(p_session.id, p_session.user_id) then
            v_found.metadata := null;
            v_found.external_id := null;
            v_found.parent_number := null;
            if p_external_id is not null then
                v_found.number := null;
            end if;
        end if;
    end if;
    if v_found.number is null then
        if p_label is not null or p_external_id is not null then
            perform asyouwere.fail('snapshot_not_found', case when p_external_id is null
                then 'This session has no snapshot with this label.'
                else 'This session has no snapshot with this external id.' end);
        elsif coalesce(p_number, p_session.latest_number) = 0 then
            -- before the first save there is the empty state
            v_found.number := 0;
            v_found.size_bytes := 0;
            v_found.message_count := 0;
            v_found.created_at := p_session.created_at;
        elsif p_number between 1 and p_session.latest_number then
            perform asyouwere.refuse_base(p_session, p_number);
        else
            perform asyouwere.fail('snapshot_not_found', 'This session has no snapshot with this number.',
                format('{"number": %s, "latest": %s}', p_number, p_session.latest_number));
        end if;
    end if;
    v_header := (p_session.id, v_found.number, v_found.label, v_found.size_bytes, v_found.message_count,
        v_found.created_at, p_session.status, p_session.latest_number,
        v_found.metadata, v_found.external_id, v_found.parent_number);
    return v_header;
end;
$$;
comment on function asyouwere.find_snapshot is
    'The snapshot with a number, a label, an external id, or the latest. Raises snapshot_not_found; '
    'snapshot_gone if it was pruned.';
revoke execute on function asyouwere.find_snapshot from public;

create function asyouwere.read_snapshot(
    p_session_id uuid, p_number int, p_label text, p_external_id text default null
) returns setof text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_header asyouwere.snapshot_header
        := asyouwere.find_snapshot(v_session, p_number, p_label, p_external_id);
begin
    -- definer: access is checked once, above
    return next row_to_json(v_header)::text;
    if v_header.number = v_session.latest_number then
        return query select asyouwere.latest_state(v_session.internal_id);
    else
        return query select asyouwere.state_at(v_session.internal_id, v_header.number);
    end if;
end;
$$;
comment on function asyouwere.read_snapshot is 'Header and state of a snapshot as rows of text.';
revoke execute on function asyouwere.read_snapshot from public;
grant execute on function asyouwere.read_snapshot to anon, authenticated, service_role;

create function public.get_snapshot_chunks(
    p_session_id uuid, p_number int default null, p_label text default null,
    p_external_id text default null
) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select asyouwere.read_snapshot(p_session_id, p_number, p_label, p_external_id);
end;
$$;
comment on function public.get_snapshot_chunks is
    'A snapshot (the latest, a number, a label, an external id) as text: the first row is a JSON object '
    'that describes it, '
    'all further rows joined are the JSON text of the state, exactly as it was saved.';
revoke execute on function public.get_snapshot_chunks from public, anon, authenticated, service_role;
grant execute on function public.get_snapshot_chunks to anon, authenticated, service_role;

create function public.get_snapshot(
    p_session_id uuid, p_number int default null, p_label text default null,
    p_external_id text default null
) returns table (
    session_id uuid, number int, label text, size_bytes bigint, message_count int,
    created_at timestamptz, status text, latest_number int,
    metadata jsonb, external_id text, parent_number int, state json
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select h.*, s.state::json
    from (
        select min(c.chunk) filter (where c.position = 1) as header,
            string_agg(c.chunk, '' order by c.position) filter (where c.position > 1) as state
        from asyouwere.read_snapshot(p_session_id, p_number, p_label, p_external_id)
            with ordinality as c (chunk, position)
    ) s
    cross join lateral json_populate_record(null::asyouwere.snapshot_header, s.header::json) h;
end;
$$;
comment on function public.get_snapshot is
    'One row: a snapshot (the latest, a number, a label, an external id) with its state as JSON; metadata, '
    'external_id and parent_number for the owner and members. Raises session_not_found, '
    'snapshot_not_found, snapshot_gone.';
revoke execute on function public.get_snapshot from public, anon, authenticated, service_role;
grant execute on function public.get_snapshot to anon, authenticated, service_role;

create function public.get_latest_snapshot(p_session_id uuid)
returns table (
    session_id uuid, number int, label text, size_bytes bigint, message_count int,
    created_at timestamptz, status text, latest_number int,
    metadata jsonb, external_id text, parent_number int, state json
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from public.get_snapshot(p_session_id);
end;
$$;
comment on function public.get_latest_snapshot is
    'One row: the latest snapshot with its state; number 0 and {} before the first save. Raises '
    'session_not_found.';
revoke execute on function public.get_latest_snapshot from public, anon, authenticated, service_role;
grant execute on function public.get_latest_snapshot to anon, authenticated, service_role;

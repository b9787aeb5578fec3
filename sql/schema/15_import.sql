-- A session that was taken along, back in, step by step. The document comes from outside, so everything that
-- saving would have made sure of is checked: it can spoil nothing but the new session, and not even that.
-- Breaks running code: no.

create function asyouwere.clamp_time(p_time timestamptz) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
-- infinity, and years that no calendar of a client's has, would spoil every list that the row is in
return case when p_time is not null then greatest(least(p_time, now()), timestamptz '1970-01-01 00:00Z') end;
comment on function asyouwere.clamp_time is
    'A time from outside, if it lies between 1970 and now; else the nearer of the two.';
revoke execute on function asyouwere.clamp_time from public;

create function asyouwere.refuse_import(p_problem text default null) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.fail('invalid_argument',
        concat('This is no export of a session', ': ' || p_problem, '.'));
end;
$$;
comment on function asyouwere.refuse_import is
    'Raises invalid_argument; the problem in a few words, if known.';
revoke execute on function asyouwere.refuse_import from public;

create function asyouwere.without_turns(p_session json) returns json
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    -- a chunk may hold \u0000 or half a character, with which nothing could be read of it all
    select asyouwere.unmasked_escapes(coalesce(json_object_agg(m.key, m.value), '{}')::text)::json
    from json_each(asyouwere.masked_json(p_session)) m where m.key <> 'turns'
$$;
comment on function asyouwere.without_turns is 'The session of an export without the turns in it.';
revoke execute on function asyouwere.without_turns from public;

create function asyouwere.insert_imported_session(p_session json, p_key text, p_parent_id uuid)
returns public.free_agent_sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_fields record;
    v_session public.free_agent_sessions;
begin
    begin
        select * into v_fields from json_to_record(p_session) as f (
            name text, model text, kind text, status text, upstream jsonb, metadata jsonb,
            expires_after_seconds bigint, archived_at timestamptz, created_at timestamptz,
            latest_number int, pruned_through int);
    exception when data_exception or invalid_parameter_value then
        perform asyouwere.refuse_import();
    end;
    if v_fields.latest_number > 1000000000 then
        -- numbers go on from there
        perform asyouwere.refuse_import('a number is too large');
    end if;
    insert into public.free_agent_sessions (
        user_id, key, parent_id, name, model, kind, status, upstream, metadata, expires_after,
        archived_at, created_at, latest_number, pruned_through)
    values (
        auth.uid(), p_key, p_parent_id, v_fields.name, v_fields.model, coalesce(v_fields.kind, 'agent'),
        coalesce(nullif(v_fields.status, 'expired'), 'idle'),
        v_fields.upstream, coalesce(v_fields.metadata, '{}'),
        -- without expiry it had none: 0, or a chat would get the default; a number too large for an interval
        -- becomes one that is refused
        make_interval(secs => least(coalesce(v_fields.expires_after_seconds, 0), 2000000001)),
        asyouwere.clamp_time(v_fields.archived_at),
        asyouwere.clamp_time(coalesce(v_fields.created_at, now())),
        coalesce(v_fields.latest_number, 0),
        greatest(0, least(coalesce(v_fields.pruned_through, 0), coalesce(v_fields.latest_number, 0) - 1)))
    on conflict (user_id, key) do nothing
    returning * into v_session;
    if v_session.id is null then
        perform asyouwere.fail('key_taken', 'You have a session with this key.');
    end if;
    return v_session;
end;
$$;
comment on function asyouwere.insert_imported_session is
    'The session of an export as a new one of the caller''s. Raises invalid_argument, quota_exceeded, '
    'key_taken.';
revoke execute on function asyouwere.insert_imported_session from public;

create function asyouwere.insert_imported_history(
    p_session public.free_agent_sessions, p_snapshots json, p_paths text[], p_items int[],
    p_since int[], p_until int[], p_created_at timestamptz[], p_bodies text[]
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- before there is a row: its index makes terms of metadata, of a number in it perhaps 131,072 digits
    perform asyouwere.refuse_annotations(p_session, (m.metadata, null, null)::asyouwere.annotations)
    from (
        select nullif(s.metadata, 'null') as metadata from json_to_recordset(p_snapshots) as s (metadata jsonb)
    ) m
    where m.metadata is not null;
    insert into public.session_snapshots (
        session_id, number, label, created_at, size_bytes, changed_parts, message_count,
        metadata, external_id, parent_number)
    select p_session.id, s.number, s.label, asyouwere.clamp_time(coalesce(s.created_at, now())),
        0, greatest(s.changed_parts, 0), 0, nullif(s.metadata, 'null'), s.external_id, s.parent_number
    from json_to_recordset(p_snapshots) as s (
        number int, label text, created_at timestamptz, changed_parts int,
        metadata jsonb, external_id text, parent_number int);

    insert into asyouwere.parts (
        session, since, until, item, ord, size, depth, kind, created_at, path, body)
    select p_session.internal_id, g.since, coalesce(g.until, 2147483647), g.item,
        row_number() over (partition by g.since order by g.path, g.item),
        asyouwere.part_size(g.path, g.body),
        asyouwere.path_depth(g.path),
        asyouwere.part_kind(asyouwere.path_depth(g.path), g.item, g.body),
        asyouwere.clamp_time(coalesce(g.created_at, now())), g.path, g.body
    from unnest(p_paths, p_items, p_since, p_until, p_created_at, p_bodies)
        as g (path, item, since, until, created_at, body);
exception
    when data_exception or integrity_constraint_violation or invalid_parameter_value
        or program_limit_exceeded
    then
        perform asyouwere.refuse_import('numbers or addresses do not fit');
end;
$$;
comment on function asyouwere.insert_imported_history is
    'Snapshots and parts of an export, as they are; import_problem() says whether they may stay.';
revoke execute on function asyouwere.insert_imported_history from public;

create function asyouwere.import_has_gap(p_session public.free_agent_sessions) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- Lifespans as ranges of the snapshots that are kept: [first, past). Sorted, never tried each with each.
    with spans as (
        select p.path, p.item::bigint as item, width_bucket(p.since - 1, k.numbers) as first,
            width_bucket(p.until - 1, k.numbers) as past
        from asyouwere.parts p
        cross join lateral (select (
            -- of no row of parts: made once
            select coalesce(array_agg(n.number order by n.number), '{}')
            from public.session_snapshots n where n.session_id = p_session.id) as numbers) k
        where p.session = p_session.internal_id and p.item >= 0
    ), begun as (
        select s.*, s.first is distinct from lag(s.past) over (partition by s.path, s.item
            order by s.first) as begins
        from spans s where s.first < s.past
    ), numbered as (
        select b.*, count(*) filter (where b.begins) over (partition by b.path, b.item
            order by b.first) as stretch
        from begun b
    ), stretches as (
        -- as long as an item was there without a break, whatever it was
        select n.path, n.item, min(n.first) as first, max(n.past) as past
        from numbered n group by n.path, n.item, n.stretch
    )
    select exists (
        -- an item during which the one before was not there
        select from (
            select u.is_item, u.past, max(u.past) filter (where not u.is_item) over (
                partition by u.path, u.item order by u.first, u.is_item rows unbounded preceding) as covered
            from (
                select false as is_item, s.path, s.item + 1 as item, s.first, s.past from stretches s
                union all
                select true, s.path, s.item, s.first, s.past from stretches s where s.item > 0
            ) u
        ) c
        where c.is_item and (c.covered >= c.past) is not true)
$$;
comment on function asyouwere.import_has_gap is
    'Whether a list of an imported session has, at any number that is kept, an item without the one before '
    'it.';
revoke execute on function asyouwere.import_has_gap from public;

create function asyouwere.import_problem(p_session public.free_agent_sessions) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if p_session.latest_number <> coalesce(
        (select max(n.number) from public.session_snapshots n where n.session_id = p_session.id), 0)
    then
        return 'the latest number has no snapshot';
    elsif exists (
        select from public.session_snapshots n where n.session_id = p_session.id and n.number < 1)
    then
        return 'a number is below 1';
    elsif exists (
        select from public.session_snapshots n
        where n.session_id = p_session.id and length(n.label) not between 1 and 200)
    then
        return 'a label has not 1 to 200 characters';
    elsif exists (
        select from public.session_snapshots n
        where n.session_id = p_session.id and length(n.external_id) not between 1 and 500)
    then
        return 'an external id has not 1 to 500 characters';
    elsif exists (
        select from public.session_snapshots n
        where n.session_id = p_session.id and n.parent_number not between 0 and n.number - 1)
    then
        return 'a parent number is not below its own';
    elsif exists (
        select from asyouwere.parts p
        where p.session = p_session.internal_id
            and (not asyouwere.is_path(p.path) or p.depth not between 1 and 3 or p.item < -1
                or p.since < 1 or p.since >= p.until or p.since > p_session.latest_number
                -- a container that should have been opened
                or p.kind = 'v' and p.depth < 3 and left(p.body, 1) in ('{', '[')
                or not asyouwere.refuse_part(p.path, p.item, p.body)))
        or exists (
            select from asyouwere.ended_parts p
            where p.session = p_session.internal_id and p.until > p_session.latest_number)
    then
        return 'a part is not well formed';
    elsif exists (
        select from (
            select p.since, lag(p.until) over (partition by p.path, p.item order by p.since) as prior_until
            from asyouwere.parts p where p.session = p_session.internal_id
        ) o
        where o.prior_until > o.since)
    then
        return 'two lifespans of an address overlap';
    elsif exists (
        -- A part never outlives its container. Those of one address don't overlap: the one that began last by
        -- then is it. In order, so that many lifespans of many addresses are sorted and not tried each with
        -- each.
        select from (
            select u.is_part, u.until, max(u.until) filter (where not u.is_part) over (
                partition by u.path, u.kind order by u.since,
                    u.is_part rows unbounded preceding) as open_until
            from (
                select false as is_part, c.path, c.kind, c.since, c.until
                from asyouwere.parts c
                where c.session = p_session.internal_id and c.item = -1 and c.kind in ('l', 'o')
                union all
                select true, case when p.item >= 0 then p.path else asyouwere.path_parent(p.path) end,
                    case when p.item >= 0 then 'l'::"char" else 'o'::"char" end, p.since, p.until
                from asyouwere.parts p
                where p.session = p_session.internal_id and (p.item >= 0 or p.depth > 1)
            ) u
        ) o
        where o.is_part and (o.open_until >= o.until) is not true)
    then
        return 'a part has no container';
    elsif asyouwere.import_has_gap(p_session) then
        return 'a list has a gap';
    end if;
    return null;
end;
$$;
comment on function asyouwere.import_problem is
    'What keeps the snapshots and parts of an imported session from being a history, or null. Raises what a '
    'part can be refused for.';
revoke execute on function asyouwere.import_problem from public;

create function asyouwere.count_imported_sizes(p_session public.free_agent_sessions)
returns public.free_agent_sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp
-- rows just written are not in the statistics yet: thousands look like one, and one by one is quadratic
set enable_nestloop = off set jit = off
as $$
declare
    v_session public.free_agent_sessions;
begin
    with changes as (
        -- what begins adds, what ends takes away: a running sum, not all parts for each snapshot
        select p.since as number, p.size::bigint as bytes, (p.path = '/messages/'
            and p.item >= 0)::int as messages,
            false as is_snapshot
        from asyouwere.parts p where p.session = p_session.internal_id
        union all
        select p.until, -p.size::bigint, -(p.path = '/messages/' and p.item >= 0)::int, false
        from asyouwere.parts p where p.session = p_session.internal_id
        union all
        select k.number, 0, 0, true from public.session_snapshots k where k.session_id = p_session.id
    ), sums as (
        select c.number, c.is_snapshot, sum(c.bytes) over w as bytes, sum(c.messages) over w as messages
        from changes c window w as (order by c.number)
    )
    update public.session_snapshots n set size_bytes = t.bytes, message_count = t.messages
    from sums t
    where n.session_id = p_session.id and t.is_snapshot and n.number = t.number;
    update public.free_agent_sessions s
    set size_bytes = n.size_bytes, message_count = n.message_count,
        stored_bytes = asyouwere.stored_bytes(s.internal_id),
        last_message = asyouwere.last_message(s.internal_id)
    from public.session_snapshots n
    where s.id = p_session.id and n.session_id = s.id and n.number = s.latest_number;
    select * into v_session from public.free_agent_sessions s where s.id = p_session.id;
    return v_session;
end;
$$;
comment on function asyouwere.count_imported_sizes is
    'Counts bytes and messages of an imported session and its snapshots anew; the session with them.';
revoke execute on function asyouwere.count_imported_sizes from public;

create function asyouwere.write_import(
    p_session json, p_snapshots json, p_paths text[], p_items int[], p_since int[], p_until int[],
    p_created_at timestamptz[], p_bodies text[], p_key text, p_parent_id uuid default null
) returns public.free_agent_sessions
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions;
    -- a text with it inside is taken too, as by append_turn_chunks()
    v_given json := case json_typeof(p_session) when 'string' then asyouwere.json_inside(p_session)
        else p_session end;
    v_turns json;
    v_problem text;
begin
    -- definer: nobody writes parts but through here
    if auth.uid() is null then
        perform asyouwere.fail('not_signed_in', 'Sign in: an imported session needs an owner.');
    elsif cardinality(p_bodies) > 2000
        or pg_column_size(p_bodies) + pg_column_size(p_session) + pg_column_size(p_snapshots) > 1024 * 1024
    then
        perform asyouwere.refuse_second_large();
    end if;
    if json_typeof(v_given) is distinct from 'object' or json_typeof(p_snapshots) is distinct from 'array'
        or exists (select from unnest(p_bodies) b where not asyouwere.is_json(b))
    then
        perform asyouwere.refuse_import();
    end if;
    v_turns := asyouwere.masked_json(v_given) -> 'turns';
    v_session := asyouwere.insert_imported_session(
        asyouwere.without_turns(v_given), p_key, p_parent_id);
    -- Before anything else is written: what is refused costs little. After the session: whoever makes one with the
    -- same key has its row first, and the bucket then.
    perform asyouwere.charge_copy(auth.uid(), (
        select coalesce(sum(asyouwere.part_size(g.path, g.body)), 0)
        from unnest(p_paths, p_bodies) as g (path, body)) + 100 * json_array_length(p_snapshots)
        + octet_length(p_snapshots::text) + octet_length(v_given::text));
    perform asyouwere.insert_imported_history(
        v_session, p_snapshots, p_paths, p_items, p_since, p_until, p_created_at, p_bodies);
    v_problem := asyouwere.import_problem(v_session);
    if v_problem is not null then
        perform asyouwere.refuse_import(v_problem);
    end if;
    if json_typeof(v_turns) <> 'null' then
        perform asyouwere.import_turns(v_session, v_turns);
    end if;
    v_session := asyouwere.count_imported_sizes(v_session);
    perform asyouwere.refuse_size(
        (select max(n.size_bytes) from public.session_snapshots n where n.session_id = v_session.id));
    return v_session;
end;
$$;
comment on function asyouwere.write_import is
    'Checks an export and writes it as a new session of the caller''s.';
revoke execute on function asyouwere.write_import from public;
grant execute on function asyouwere.write_import to authenticated;

create function public.import_session(
    p_session json, p_snapshots json, p_paths text[], p_items int[], p_since int[], p_until int[],
    p_created_at timestamptz[], p_bodies text[], p_key text default null, p_parent_id uuid default null
) returns setof public.free_agent_sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.write_import(
        p_session, p_snapshots, p_paths, p_items, p_since, p_until, p_created_at, p_bodies, p_key,
        p_parent_id);
end;
$$;
comment on function public.import_session is
    'An export as a new, private session of the caller''s own, with the same numbers, labels and contents; '
    'neither key nor parent is taken over; p_key and p_parent_id give it some. The arrays '
    'are the columns of the export''s parts.'
    ' Raises invalid_argument,'
    ' too_large.';
revoke execute on function public.import_session from public, anon, authenticated, service_role;
grant execute on function public.import_session to authenticated;

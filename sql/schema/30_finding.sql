-- Finding sessions by their owner's own names for them, the key, its beginning, and metadata; snapshots by
-- what the app says of them.
-- Breaks running code: no.

create index free_agent_sessions_by_key on public.free_agent_sessions (user_id, key collate "C")
    where key is not null;

create function asyouwere.metadata_terms(p_of uuid, p_metadata jsonb) returns bigint[]
language sql immutable parallel safe
return array(
    select hashtextextended(p_of::text || ' ' || m.key || ' ' || case jsonb_typeof(m.value)
        when 'object' then '' when 'array' then ''
        when 'number' then trim_scale(m.value::text::numeric)::text -- 1.0 contains 1
        else m.value::text end, 0)
    from jsonb_each(p_metadata) m);
comment on function asyouwere.metadata_terms is
    'What metadata is found by: each key, with its value if that is no container, as of that user or session.';
revoke execute on function asyouwere.metadata_terms from public;
-- an index of the table's calls it for whoever changes metadata
grant execute on function asyouwere.metadata_terms to authenticated, service_role;

create index free_agent_sessions_by_metadata on public.free_agent_sessions
    -- no list of pending entries, which every search of everybody would have to read
    using gin (asyouwere.metadata_terms(user_id, metadata)) with (fastupdate = off) where metadata <> '{}';

create function asyouwere.refuse_metadata(p_metadata jsonb) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- before terms are made of it: a number may be shown as 131,072 digits
    if jsonb_typeof(p_metadata) <> 'object' then
        perform asyouwere.fail('invalid_argument', 'metadata to look for is an object.');
    end if;
    perform asyouwere.refuse_document('metadata', p_metadata, 65536);
end;
$$;
comment on function asyouwere.refuse_metadata is
    'Raises invalid_argument, and what a document is refused for, if nothing can be found by this metadata.';
revoke execute on function asyouwere.refuse_metadata from public;

create function asyouwere.find_session_ids(p_user_id uuid, p_key_prefix text, p_metadata jsonb) returns uuid[]
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
begin
    -- definer: an index condition under row level security would have to be leakproof. Own sessions only.
    perform asyouwere.refuse_metadata(p_metadata);
    if p_user_id is distinct from auth.uid() and current_setting('role') <> 'service_role' then
        return '{}';
    elsif p_key_prefix is not null then
        return array(
            select s.id from public.free_agent_sessions s
            where s.user_id = p_user_id and s.key collate "C" >= p_key_prefix
                and s.key collate "C" <= p_key_prefix || repeat(U&'\+10FFFF', 500)
                and (p_metadata is null or s.metadata @> p_metadata));
    end if;
    return array(
        select s.id from public.free_agent_sessions s
        where s.metadata <> '{}'
            and asyouwere.metadata_terms(s.user_id, s.metadata) @> asyouwere.metadata_terms(p_user_id,
                p_metadata)
            -- not =, which an index of all the person's sessions would be taken for
            and s.user_id is not distinct from p_user_id and s.metadata @> p_metadata);
end;
$$;
comment on function asyouwere.find_session_ids is
    'Ids of a person''s sessions whose key begins with a text, or whose metadata contains some, or both.';
revoke execute on function asyouwere.find_session_ids from public;
grant execute on function asyouwere.find_session_ids to authenticated, service_role;

create index session_snapshots_by_metadata on public.session_snapshots
    using gin (asyouwere.metadata_terms(session_id, metadata)) with (fastupdate = off)
    where metadata is not null;

create function asyouwere.find_snapshot_numbers(
    p_session_id uuid, p_external_id text, p_metadata jsonb, p_parent_number int, p_before int, p_limit int
) returns int[]
language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_near record;
begin
    if p_external_id is not null then
        return array(
            select n.number from public.session_snapshots n
            where n.session_id = p_session_id and n.external_id = p_external_id and n.number < p_before
                and (p_metadata is null or n.metadata @> p_metadata)
                and (p_parent_number is null or n.parent_number = p_parent_number));
    elsif p_parent_number is not null then
        return array(
            select n.number from public.session_snapshots n
            where n.session_id = p_session_id and n.parent_number = p_parent_number and n.number < p_before
                and (p_metadata is null or n.metadata @> p_metadata)
            order by n.number desc limit p_limit);
    end if;
    -- What most snapshots have is soon found among the newest, what few have in the index: neither way looks
    -- at many rows for a page.
    select coalesce(array_agg(w.number order by w.number desc) filter (where w.metadata @> p_metadata), '{}')
        as found, count(*) as seen, min(w.number) as lowest
    into v_near
    from (
        select n.number, n.metadata from public.session_snapshots n
        where n.session_id = p_session_id and n.number < p_before
        order by n.number desc limit 1000
    ) w;
    if cardinality(v_near.found) >= p_limit or v_near.seen < 1000 then
        return v_near.found[1:p_limit];
    end if;
    return v_near.found || array(
        select n.number from public.session_snapshots n
        where n.metadata is not null
            and asyouwere.metadata_terms(n.session_id, n.metadata)
                @> asyouwere.metadata_terms(p_session_id, p_metadata)
            -- not =, which the primary key would be taken for
            and n.session_id is not distinct from p_session_id
            and n.number < v_near.lowest and n.metadata @> p_metadata
        order by n.number desc limit p_limit - cardinality(v_near.found));
end;
$$;
comment on function asyouwere.find_snapshot_numbers is
    'Numbers of the newest snapshots that match all that is given, at least one of the three.';
revoke execute on function asyouwere.find_snapshot_numbers from public;

create function public.find_session(p_key text,
    p_user_id uuid default null) returns setof public.sessions_list
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner uuid := case when current_setting('role') = 'service_role' then p_user_id else auth.uid() end;
    v_id uuid;
begin
    select s.id into v_id from public.free_agent_sessions s where s.user_id = v_owner and s.key = p_key;
    if not found or p_user_id <> v_owner then
        perform asyouwere.fail('session_not_found');
    end if;
    return next asyouwere.read_session(v_id);
end;
$$;
comment on function public.find_session is
    'The caller''s session with this key; unlike get_or_create_session it makes none. p_user_id is for the '
    'service. Raises '
    'session_not_found.';
revoke execute on function public.find_session from public, anon, authenticated, service_role;
grant execute on function public.find_session to authenticated, service_role;

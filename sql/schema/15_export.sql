-- Taking a session along: everything that is kept of it.
-- Breaks running code: no.

create function asyouwere.export_snapshots(
    p_session public.free_agent_sessions, p_after int, p_until int, p_limit int default null
) returns table (number int, line text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select n.number, json_build_object(
        'number', n.number, 'label', n.label, 'size_bytes', n.size_bytes,
        'message_count', n.message_count, 'changed_parts', n.changed_parts,
        'created_by', case when v.is_insider then n.created_by end,
        'created_at', n.created_at,
        'metadata', case when v.is_insider then n.metadata end,
        'external_id', case when v.is_insider then n.external_id end,
        'parent_number', case when v.is_insider then n.parent_number end)::text
    from (
        select k.* from public.session_snapshots k
        where k.session_id = p_session.id and k.number > p_after and k.number <= p_until
        order by k.number limit p_limit
    ) n cross join (
        select asyouwere.is_insider(p_session.id, p_session.user_id) as is_insider
        offset 0 -- once, not for each snapshot
    ) v
    order by n.number
$$;
comment on function asyouwere.export_snapshots is
    'Snapshots as an export has them, in order: those after one number, up to another.';
revoke execute on function asyouwere.export_snapshots from public;

create function asyouwere.export_summary(p_session public.free_agent_sessions) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select concat(',"kept_snapshots":', count(*), ',"labelled_snapshots":', count(n.label), '},"snapshots":[', (
        -- what a reader is told of them: from where to where, and the newest names
        select string_agg(json_build_object('number', k.number, 'label', k.label, 'size_bytes', k.size_bytes,
            'created_at', k.created_at)::text, ',' order by k.number)
        from public.session_snapshots k
        where k.session_id = p_session.id and (k.number in (min(n.number), max(n.number))
            or k.number in (
                select l.number from public.session_snapshots l
                where l.session_id = p_session.id and l.label is not null
                order by l.number desc limit 12))),
        '],"parts":[')
    from public.session_snapshots n where n.session_id = p_session.id
$$;
comment on function asyouwere.export_summary is
    'How many snapshots there are, how many have a label, and of the first, the last and the twelve labelled '
    'last the row.';
revoke execute on function asyouwere.export_summary from public;

create function asyouwere.export_head(
    p_session public.free_agent_sessions, p_latest_only boolean default false
) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- of it what get_session() and list_snapshots() show this reader
    return (select concat('{"format":"asyouwere-session","version":1,"session":',
        left(json_build_object('id', p_session.id, 'user_id', p_session.user_id, 'name', p_session.name,
            'model', p_session.model, 'kind', p_session.kind,
            'status', p_session.status, 'visibility', p_session.visibility, 'key', case when v.is_owner
                then p_session.key end,
            'upstream', case when v.is_insider then p_session.upstream end,
            'parent_id', case when v.is_insider then p_session.parent_id end,
            'usage', case when v.is_insider then (
                select to_json(c) from (
                    select o.calls, o.input_tokens, o.cached_tokens, o.output_tokens, o.cost, o.budget
                    from asyouwere.session_costs o where o.session_id = p_session.id) c) end,
            'metadata', p_session.metadata,
            'expires_after_seconds', extract(epoch from p_session.expires_after)::bigint,
            'archived_at', p_session.archived_at, 'expired_at', p_session.expired_at,
            'created_at', p_session.created_at, 'updated_at', p_session.updated_at,
            'last_activity_at', p_session.last_activity_at, 'latest_number', p_session.latest_number,
            'pruned_through', p_session.pruned_through,
            'size_bytes', p_session.size_bytes, 'message_count', p_session.message_count,
            -- whom a caller may see of them: all for the owner, a member only that one
            'members', (
                select coalesce(json_agg(
                    json_build_object('user_id', m.user_id, 'role', m.role, 'created_at', m.created_at)
                    order by m.created_at, m.user_id), '[]')
                from public.session_members m
                where m.session_id = p_session.id
                    and (m.user_id = auth.uid() or p_session.user_id = auth.uid()
                        or auth.role() = 'service_role')))::text, -1),
        case when p_latest_only then asyouwere.export_summary(p_session)
            else concat(asyouwere.export_turns(p_session), '},"snapshots":[') end)
    from (
        select asyouwere.is_insider(p_session.id, p_session.user_id) as is_insider,
            asyouwere.role_of(p_session.id, p_session.user_id, p_session.visibility) = 'owner' as is_owner
    ) v);
end;
$$;
comment on function asyouwere.export_head is
    'An export up to its first snapshot; of the latest content only, up to its first part.';
revoke execute on function asyouwere.export_head from public;

create function asyouwere.export_line(
    p_path text, p_item int, p_since int, p_until int, p_created_at timestamptz, p_body text
) returns text
language sql stable set search_path = pg_catalog, pg_temp
return concat('[', to_json(p_path), ',', p_item, ',', p_since, ',',
    coalesce(nullif(p_until, 2147483647)::text, 'null'), ',', to_json(p_created_at), ',', p_body, ']');
comment on function asyouwere.export_line is 'A part as an export has it.';
revoke execute on function asyouwere.export_line from public;

create function asyouwere.read_export(p_session_id uuid) returns setof text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
begin
    -- definer: access is checked once, above
    -- Never over 1,000 rows in all: that is where hosted PostgREST cuts an answer without a word. Of
    -- snapshots at most 94, of parts 826.
    return next asyouwere.export_head(v_session);
    return query
    select concat(case when g.chunk > 0 then ',' end, string_agg(g.line, ',' order by g.number))
    from (
        select l.*, (row_number() over (order by l.number) - 1)
            / greatest(32, count(*) over () / 90) as chunk
        from asyouwere.export_snapshots(v_session, -1, v_session.latest_number) l
    ) g
    group by g.chunk order by g.chunk;
    return next '],"parts":[';
    return query
    select concat(case when g.chunk > 0 then ',' end, string_agg(
        asyouwere.export_line(g.path, g.item, g.since, g.until, g.created_at, g.body), ',' order by g.place))
    from (
        select p.*, row_number() over w as place,
            (row_number() over w - 1) / greatest(32, count(*) over () / 800) as chunk
        from asyouwere.parts p
        where p.session = v_session.internal_id
            -- none that only waits to be deleted
            and not exists (select from asyouwere.unswept u
                where u.session = p.session and p.since > u.since_after
                    and p.until > u.until_after and p.until <= u.until_through)
        window w as (order by p.path, p.item, p.since)
    ) g
    group by g.chunk order by g.chunk;
    return next ']}';
end;
$$;
comment on function asyouwere.read_export is 'A session as one JSON document, in rows to be joined.';
revoke execute on function asyouwere.read_export from public;
grant execute on function asyouwere.read_export to anon, authenticated, service_role;

create function public.export_session(p_session_id uuid) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select asyouwere.read_export(p_session_id);
end;
$$;
comment on function public.export_session is
    'A session with all kept snapshots. The rows joined are one JSON document: session, snapshots, and '
    'parts as [path, item, since, until (null: alive), created_at, body]. Raises session_not_found.';
revoke execute on function public.export_session from public, anon, authenticated, service_role;
grant execute on function public.export_session to anon, authenticated, service_role;

create function asyouwere.export_place(
    p_page json, out number int, out snapshots bigint, out since int, out place int, out path text,
    out listed int
)
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    number := p_page ->> 0;
    snapshots := p_page ->> 1;
    since := p_page ->> 2;
    place := p_page ->> 3;
    path := p_page ->> 4;
    listed := p_page ->> 5;
    if num_nulls(number, snapshots, since, place, path, listed) > 0 then
        perform asyouwere.fail('invalid_argument', 'p_page is the first row of the page before.');
    end if;
exception when data_exception or invalid_parameter_value then
    perform asyouwere.fail('invalid_argument', 'p_page is the first row of the page before.');
end;
$$;
comment on function asyouwere.export_place is 'Where a page of an export ended. Raises invalid_argument.';
revoke execute on function asyouwere.export_place from public;

create function asyouwere.read_export_page(p_session_id uuid, p_page json, p_latest_only boolean)
returns setof text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_from record;
    v_snapshots bigint;
    v_ended_since int[];
    v_ended_ord int[];
    v_listed record;
    v_head text := '';
    v_page record;
begin
    -- definer: access is checked once a page, above. A page probes an index for at most 300 snapshots or
    -- 2 MB of them, and after the last one for 900 parts (with two rows more, as many as hosted PostgREST
    -- hands out) or 2 MB; nothing is sorted but what has ended since the first page, and nothing is kept for
    -- the next one.
    if p_page is null then
        select v_session.latest_number as number, null::bigint as snapshots,
            0 as since, -2 as place, '' as path, -1 as listed
        into v_from;
    else
        select * into v_from from asyouwere.export_place(p_page);
    end if;
    -- Saves in between don't show: read is what there was at that number. What clean-up takes away is missed.
    select count(*) into v_snapshots from public.session_snapshots n
    where n.session_id = p_session_id and n.number <= v_from.number;
    if v_snapshots <> v_from.snapshots then
        perform asyouwere.fail('snapshot_gone',
            'Clean-up has removed snapshots meanwhile. Begin the export again.');
    end if;
    if p_page is null then
        v_head := asyouwere.export_head(v_session, p_latest_only);
    end if;
    if not p_latest_only and v_from.listed < v_from.number then
        with snapshots as (
            select l.*, row_number() over w as n,
                sum(octet_length(l.line)) over w - octet_length(l.line) as before
            from asyouwere.export_snapshots(v_session, v_from.listed, v_from.number, 301) l
            window w as (order by l.number)
        ), page as (
            select * from snapshots s where s.n = 1 or s.n <= 300 and s.before < 2000000
        )
        select string_agg(g.line, ',' order by g.n) as lines, max(g.number) as number,
            count(*) < (select count(*) from snapshots) as more
        into v_listed from page g;
        v_head := concat(v_head, case when p_page is not null then ',' end, v_listed.lines);
        if v_listed.more then
            return next json_build_array(
                v_from.number, v_snapshots, v_from.since, v_from.place, v_from.path, v_listed.number)::text;
            return next v_head;
            return;
        end if;
        v_head := v_head || '],"parts":[';
    end if;
    if p_latest_only then
        if v_session.latest_number > v_from.number then
            -- saved meanwhile: what ended since, its addresses only, off the end of their index
            select array_agg(e.since), array_agg(e.ord) into v_ended_since, v_ended_ord from (
                select p.since, p.ord from asyouwere.ended_parts p
                where p.session = v_session.internal_id and p.until > v_from.number
                    and p.since <= v_from.number
                order by p.until limit 20001
            ) e;
            if cardinality(v_ended_since) > 20000 then
                perform asyouwere.fail('snapshot_gone',
                    'The session has changed too much meanwhile. Begin the export again.');
            end if;
        end if;
        with alive as (
            (
                select p.* from asyouwere.live_parts p
                where p.session = v_session.internal_id and p.since <= v_from.number
                    and (p.path, p.item) > (v_from.path, v_from.place)
                order by p.path, p.item limit 901
            ) union all (
                select p.* from unnest(v_ended_since, v_ended_ord) as e (since, ord)
                join asyouwere.parts p
                    on p.session = v_session.internal_id and p.since = e.since and p.ord = e.ord
                where (p.path, p.item) > (v_from.path, v_from.place)
                order by p.path, p.item limit 901
            )
        ), counted as (
            select a.*, row_number() over w as n, sum(a.size) over w - a.size as before
            from alive a window w as (order by a.path, a.item)
        ), page as (
            select * from counted c where c.n = 1 or c.n <= 900 and c.before < 2000000
        )
        select array_agg(
                asyouwere.export_line(g.path, g.item, g.since, null, g.created_at, g.body)
                order by g.n) as lines,
            (array_agg(g.path order by g.n desc))[1] as path,
            (array_agg(g.item order by g.n desc))[1] as place,
            0 as since, count(*) < (select count(*) from alive) as more
        into v_page from page g;
    else
        with counted as (
            select p.*, row_number() over w as n, sum(p.size) over w - p.size as before
            from (
                select * from asyouwere.parts p
                where p.session = v_session.internal_id and (p.since, p.ord) > (v_from.since, v_from.place)
                    and p.since <= v_from.number
                    -- none that only waits to be deleted
                    and not exists (select from asyouwere.unswept u
                        where u.session = p.session and p.since > u.since_after
                            and p.until > u.until_after and p.until <= u.until_through)
                order by p.since, p.ord limit 901
            ) p
            window w as (order by p.since, p.ord)
        ), page as (
            select * from counted c where c.n = 1 or c.n <= 900 and c.before < 2000000
        )
        select array_agg(asyouwere.export_line(g.path, g.item, g.since,
                case when g.until <= v_from.number then g.until end, g.created_at, g.body)
                order by g.n) as lines,
            '' as path,
            (array_agg(g.ord order by g.n desc))[1] as place,
            (array_agg(g.since order by g.n desc))[1] as since,
            count(*) < (select count(*) from counted) as more
        into v_page from page g;
    end if;
    return next case when v_page.more
        then json_build_array(
            v_from.number, v_snapshots, v_page.since, v_page.place, v_page.path, v_from.number)::text
        else 'null' end;
    return next v_head;
    return query select unnest(v_page.lines);
end;
$$;
comment on function asyouwere.read_export_page is 'One page of an export, in rows.';
revoke execute on function asyouwere.read_export_page from public;
grant execute on function asyouwere.read_export_page to anon, authenticated, service_role;

create function public.export_session_page(
    p_session_id uuid, p_page json default null, p_latest_only boolean default false
) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select asyouwere.read_export_page(p_session_id, p_page, p_latest_only);
end;
$$;
comment on function public.export_session_page is
    'An export in pages of about 2 MB. First row: p_page of the next page, or null; second: more of the '
    'document up to its parts, empty once all of that is out; then a part a row. p_latest_only: no history, '
    'ordered by address. Raises session_not_found, snapshot_gone.';
revoke execute on function public.export_session_page from public, anon, authenticated, service_role;
grant execute on function public.export_session_page to anon, authenticated, service_role;

-- The session itself: make, find, list, change, share, delete.
-- Breaks running code: no.

create view asyouwere.described_sessions with (security_invoker = true) as
select s.id, s.user_id, s.name, s.model, s.kind, s.status, s.visibility,
    -- the owner's own name for it
    case when s.user_id = (select auth.uid()) or current_setting('role') = 'service_role' then s.key end as key,
    s.upstream, s.metadata,
    s.expires_after, s.archived_at, s.created_at, s.updated_at, s.last_activity_at, s.expired_at,
    s.latest_number, s.size_bytes, s.message_count,
    s.last_message, s.parent_id,
    (
        select n.created_at from public.session_snapshots n
        where n.session_id = s.id and n.number = s.latest_number
    ) as last_saved_at,
    asyouwere.role_of(s.id, s.user_id, s.visibility) as my_role,
    (select c.cost from asyouwere.session_costs c where c.session_id = s.id) as cost,
    (select c.budget from asyouwere.session_costs c where c.session_id = s.id) as budget
-- sub-selects, not joins: Postgres puts them off till after the sort, so that a page looks them up for itself
-- only
from public.free_agent_sessions s;
comment on view asyouwere.described_sessions is 'Every session one may read, as a list shows it.';
grant select on asyouwere.described_sessions to authenticated, service_role;

create view public.sessions_list with (security_invoker = true) as
select d.* from asyouwere.described_sessions d
where d.user_id = (select auth.uid()) and d.parent_id is null
    or d.visibility <> 'private' and d.id = any (array(select asyouwere.session_ids_shared_with_me()));
comment on view public.sessions_list is
    'My sessions and those shared with me. Page by keyset: order by last_activity_at desc, id desc; next '
    'page: those below the last row.';
comment on column public.sessions_list.last_message is 'First 140 characters of what the last message says.';
comment on column public.sessions_list.last_saved_at is 'Time of the latest snapshot.';
comment on column public.sessions_list.my_role is 'owner, editor or viewer.';
comment on column public.sessions_list.cost is
    'What it has cost, in the app''s currency; null: nothing recorded, or neither owner nor member.';
comment on column public.sessions_list.budget is 'What it is to cost in all; null: no budget.';
revoke all on public.sessions_list from anon, authenticated, service_role;
grant select on public.sessions_list to authenticated, service_role;

create function asyouwere.read_session(p_session_id uuid) returns public.sessions_list
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_row public.sessions_list;
begin
    -- definer: access is checked once, above
    select * into v_row from asyouwere.described_sessions d where d.id = v_session.id;
    if not asyouwere.is_insider(v_session.id, v_session.user_id) then
        v_row.upstream := null; -- where the agent lives concerns those who work with it
        v_row.parent_id := null;
        v_row.cost := null;
        v_row.budget := null;
    end if;
    return v_row;
end;
$$;
comment on function asyouwere.read_session is 'A session as its reader may see it.';
revoke execute on function asyouwere.read_session from public;
grant execute on function asyouwere.read_session to anon, authenticated, service_role;

create function public.get_session(p_session_id uuid) returns setof public.sessions_list
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.read_session(p_session_id);
end;
$$;
comment on function public.get_session is
    'One session that the caller may read; the key for its owner only, upstream for the owner and members. '
    'Raises session_not_found.';
revoke execute on function public.get_session from public, anon, authenticated, service_role;
grant execute on function public.get_session to anon, authenticated, service_role;

create function asyouwere.fold_unicode(p_text text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_unicode boolean := getdatabaseencoding() = 'UTF8';
    v_text text := case when v_is_unicode then normalize(p_text, nfkc) else p_text end;
begin
    -- Not by the database's locale: C knows no letter beyond Z. One statement each: a collation that a server
    -- lacks is no error as long as nobody gets there.
    if to_regcollation('"und-x-icu"') is not null then
        v_text := lower(v_text collate "und-x-icu");
    elsif to_regcollation('pg_c_utf8') is not null then
        v_text := lower(v_text collate "pg_c_utf8"); -- from 17 on, built without ICU too
    elsif to_regcollation('"C.utf8"') is not null then
        v_text := lower(v_text collate "C.utf8");
    else
        v_text := lower(v_text);
    end if;
    -- letters that have two small forms; of the Turkish capital with a dot some locales keep the dot
    v_text := replace(replace(replace(v_text, U&'\03C2', U&'\03C3'), U&'\00DF', 'ss'), U&'i\0307', 'i');
    return case when v_is_unicode then normalize(v_text, nfkc) else v_text end;
end;
$$;
comment on function asyouwere.fold_unicode is
    'A text of any script for comparing: in small letters, composed. Where there is neither ICU nor another '
    'locale of '
    'Unicode, the letters that the database''s locale knows.';
revoke execute on function asyouwere.fold_unicode from public;
grant execute on function asyouwere.fold_unicode to authenticated, service_role;

create function asyouwere.fold_text(p_text text) returns text
language sql immutable parallel safe
-- inlined by the planner; hardly any name needs the longer way
return case when octet_length(p_text) = length(p_text) then lower(p_text collate "C")
    else asyouwere.fold_unicode(p_text) end;
comment on function asyouwere.fold_text is 'A text for comparing, whatever its case and spelling.';
revoke execute on function asyouwere.fold_text from public;
grant execute on function asyouwere.fold_text to authenticated, service_role;

create function public.list_sessions(
    p_limit int default 50, p_before timestamptz default null, p_before_id uuid default null,
    p_archived boolean default false, p_status text default null, p_search text default null,
    p_key_prefix text default null, p_metadata jsonb default null, p_parent_id uuid default null
) returns setof public.sessions_list
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
-- the planner knows how many sessions people have on average, and would sort all ten thousand of one who has
-- so many
set enable_sort = off set jit = off
as $$
declare
    v_caller uuid := auth.uid();
    v_limit int := least(greatest(coalesce(p_limit, 50), 0), 1000);
    v_before timestamptz := coalesce(p_before, 'infinity');
    v_before_id uuid := coalesce(p_before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_search text := asyouwere.fold_text(left(p_search, 2000)); -- a name has 500 characters
    v_metadata jsonb := nullif(p_metadata, '{}');
begin
    if p_key_prefix is not null or v_metadata is not null then
        return query
        select d.* from (
            select s.id from public.free_agent_sessions s
            where s.id = any (asyouwere.find_session_ids(v_caller, p_key_prefix, v_metadata))
                and s.parent_id is not distinct from p_parent_id
                and (s.last_activity_at, s.id) < (v_before, v_before_id)
                and (p_archived is null or (s.archived_at is not null) = p_archived)
                and (p_status is null or s.status = p_status)
                and (p_search is null or strpos(asyouwere.fold_text(s.name), v_search) > 0)
            order by s.last_activity_at desc, s.id desc limit v_limit
        ) f cross join lateral (
            select * from asyouwere.described_sessions o where o.id = f.id
        ) d
        order by d.last_activity_at desc, d.id desc;
        return;
    end if;
    return query
    with page as (
        -- Each branch in the order of its index, so that a page costs the same among ten thousand sessions.
        -- The bin says nothing that the time does not say, but is what is indexed: what lies in one is
        -- sorted.
        (
            select s.id, s.last_activity_at from public.free_agent_sessions s
            where p_parent_id is null and s.user_id = v_caller and s.parent_id is null
                and s.activity_bin <= v_before and (s.last_activity_at, s.id) < (v_before, v_before_id)
                and (p_archived is null or (s.archived_at is not null) = p_archived)
                and (p_status is null or s.status = p_status)
                and (p_search is null or strpos(asyouwere.fold_text(s.name), v_search) > 0)
            order by s.activity_bin desc, s.last_activity_at desc, s.id desc limit v_limit
        ) union all (
            select s.id, s.last_activity_at from public.free_agent_sessions s
            where s.parent_id = p_parent_id and s.user_id = v_caller
                and s.activity_bin <= v_before and (s.last_activity_at, s.id) < (v_before, v_before_id)
                and (p_archived is null or (s.archived_at is not null) = p_archived)
                and (p_status is null or s.status = p_status)
                and (p_search is null or strpos(asyouwere.fold_text(s.name), v_search) > 0)
            order by s.activity_bin desc, s.last_activity_at desc, s.id desc limit v_limit
        ) union all (
            select s.id, s.last_activity_at from asyouwere.sessions_shared_with_me() s
            where p_parent_id is null and s.user_id <> v_caller
                and (s.last_activity_at, s.id) < (v_before, v_before_id)
                and (p_archived is null or (s.archived_at is not null) = p_archived)
                and (p_status is null or s.status = p_status)
                and (p_search is null or strpos(asyouwere.fold_text(s.name), v_search) > 0)
            order by s.last_activity_at desc, s.id desc limit v_limit
        )
        order by 2 desc, 1 desc limit v_limit
    )
    select d.* from page p cross join lateral (
        select * from asyouwere.described_sessions s where s.id = p.id
    ) d
    order by d.last_activity_at desc, d.id desc;
end;
$$;
comment on function public.list_sessions is
    'A page of sessions_list, last active first. Next page: p_before and p_before_id of the last row. '
    'p_archived null: both. p_search: part of the name, in any case of letters. p_key_prefix, p_metadata: '
    'own sessions whose key begins with a text, whose metadata contains some. p_parent_id: those of that '
    'session, which are in no other list.';
revoke execute on function public.list_sessions from public, anon, authenticated, service_role;
grant execute on function public.list_sessions to authenticated, service_role;

create function asyouwere.read_snapshots(
    p_session_id uuid, p_limit int, p_before int,
    p_external_id text default null, p_metadata jsonb default null, p_parent_number int default null
) returns setof public.session_snapshots
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_is_insider boolean := asyouwere.is_insider(v_session.id, v_session.user_id);
    v_limit int := least(greatest(coalesce(p_limit, 50), 0), 1000);
    v_before int := coalesce(p_before, v_session.latest_number + 1);
    v_metadata jsonb := nullif(p_metadata, '{}');
    v_numbers int[];
    v_snapshot public.session_snapshots;
begin
    -- definer: access is checked once, above. Who saved what, and what the app says of it, concerns those who
    -- work together.
    if num_nonnulls(p_external_id, v_metadata, p_parent_number) > 0 then
        perform asyouwere.refuse_metadata(v_metadata);
        v_numbers := case when v_is_insider then asyouwere.find_snapshot_numbers(
            v_session.id, p_external_id, v_metadata, p_parent_number, v_before, v_limit) else '{}' end;
        return query
        select n.* from unnest(v_numbers) with ordinality f (number, place)
        cross join lateral (
            select * from public.session_snapshots o where o.session_id = v_session.id and o.number = f.number
        ) n
        order by f.place;
        return;
    end if;
    for v_snapshot in
        select * from public.session_snapshots n
        where n.session_id = v_session.id and n.number < v_before
        order by n.number desc limit v_limit
    loop
        if not v_is_insider then
            v_snapshot.created_by := null;
            v_snapshot.metadata := null;
            v_snapshot.external_id := null;
            v_snapshot.parent_number := null;
        end if;
        return next v_snapshot;
    end loop;
end;
$$;
comment on function asyouwere.read_snapshots is 'A page of snapshots as their reader may see them.';
revoke execute on function asyouwere.read_snapshots from public;
grant execute on function asyouwere.read_snapshots to anon, authenticated, service_role;

create function public.list_snapshots(
    p_session_id uuid, p_limit int default 50, p_before int default null,
    p_external_id text default null, p_metadata jsonb default null, p_parent_number int default null
) returns setof public.session_snapshots
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_snapshots(
        p_session_id, p_limit, p_before, p_external_id, p_metadata, p_parent_number);
end;
$$;
comment on function public.list_snapshots is
    'The kept snapshots, newest first, below p_before, of them those with an external id, with metadata that '
    'contains p_metadata, made from p_parent_number; these columns and created_by are for the owner and '
    'members. Raises session_not_found.';
revoke execute on function public.list_snapshots from public, anon, authenticated, service_role;
grant execute on function public.list_snapshots to anon, authenticated, service_role;

create function public.get_or_create_session(
    p_key text default null, p_name text default null, p_model text default null, p_kind text default 'agent',
    p_metadata jsonb default '{}', p_visibility text default 'private',
        p_expires_after_seconds int default null,
    p_upstream jsonb default null, p_id uuid default null, p_user_id uuid default null,
        p_state json default null, p_parent_id uuid default null
) returns table (
    id uuid, internal_id bigint, user_id uuid, name text, model text, kind text, status text,
        visibility text, key text,
    upstream jsonb, metadata jsonb, expires_after interval, archived_at timestamptz, created_at timestamptz,
    updated_at timestamptz, last_activity_at timestamptz, expired_at timestamptz, latest_number int,
    pruned_through int, size_bytes bigint, message_count int, stored_bytes bigint, prepaid_saves smallint,
    last_message text, parent_id uuid, activity_bin timestamptz, created boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_owner uuid := case when current_setting('role') = 'service_role' then coalesce(p_user_id,
        auth.uid()) else auth.uid() end;
    v_session public.free_agent_sessions;
begin
    if v_owner is null then
        perform asyouwere.fail('not_signed_in',
            'Sign in: a session needs an owner. The service gives p_user_id.');
    elsif p_user_id <> v_owner then
        perform asyouwere.fail('forbidden', 'Only the service creates sessions for others.');
    end if;
    if p_expires_after_seconds < 0 then
        perform asyouwere.fail('invalid_argument', 'expires_after_seconds is 0 (never) or more.');
    end if;
    -- Two calls at once: one inserts, the other waits here and then finds it.
    for attempt in 1 .. 3 loop
        if p_key is not null or p_id is not null then
            select * into v_session from public.free_agent_sessions s
            where s.user_id = v_owner and (s.key = p_key or p_key is null and s.id = p_id);
            if found then
                return query select v_session.*, false;
                return;
            end if;
        end if;
        insert into public.free_agent_sessions (id, user_id, key, name, model, kind, metadata, visibility,
            expires_after, upstream, parent_id)
        values (coalesce(p_id, asyouwere.new_id()), v_owner, p_key, p_name, p_model, p_kind, p_metadata,
            p_visibility,
            make_interval(secs => p_expires_after_seconds), p_upstream, p_parent_id)
        on conflict do nothing
        returning * into v_session;
        if found then
            if p_state is not null then
                -- in the same transaction: whoever finds the session finds it with its state
                perform asyouwere.save_json(v_session.id, p_state, null, 0, null, null, 'merge');
                select * into v_session from public.free_agent_sessions s where s.id = v_session.id;
            end if;
            return query select v_session.*, true;
            return;
        end if;
        -- somebody was faster: now it is found; or deleted again since, or the id is somebody else's
    end loop;
    perform asyouwere.fail('key_taken');
end;
$$;
comment on function public.get_or_create_session is
    'The caller''s session with this key, made if there is none; without a key always a new one (or the one'
    ' with p_id, so that a retry makes no second); created says which it was. p_state is saved as number 1 '
    'by the call that makes it. With p_parent_id, one of the same owner, it stays out of lists and is '
    'deleted with that. kind chat expires after 30 idle minutes unless p_expires_after_seconds says'
    ' otherwise; agent never.';
revoke execute on function public.get_or_create_session from public, anon, authenticated, service_role;
grant execute on function public.get_or_create_session to authenticated, service_role;

create function asyouwere.change_session(p_session_id uuid,
    p_changes jsonb) returns public.free_agent_sessions
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id,
        case when p_changes ?| array['visibility', 'upstream', 'archived', 'expires_after_seconds']
            then 'owner' else 'editor' end);
    v_unknown text;
    v_seconds int;
begin
    -- definer: editors may change what the table's policy leaves to owners
    select string_agg(k, ', ' order by k) into v_unknown
    from jsonb_object_keys(case jsonb_typeof(p_changes) when 'object'
        then p_changes else '{"(not an object)": 1}' end) k
    where k not in ('name', 'model', 'status', 'visibility', 'metadata', 'upstream', 'archived',
        'expires_after_seconds');
    if v_unknown is not null
        or jsonb_typeof(p_changes -> 'archived') <> 'boolean'
        or jsonb_typeof(p_changes -> 'expires_after_seconds') not in ('number', 'null')
        or exists (select from unnest(array['name', 'model', 'status', 'visibility']) f
            where jsonb_typeof(p_changes -> f) not in ('string', 'null'))
        or (p_changes ->> 'expires_after_seconds')::numeric not between 0 and 2000000000
    then
        perform asyouwere.fail('invalid_argument',
            'Only name, model, status, visibility, metadata, upstream, archived, expires_after_seconds'
            ' can be changed, each to its own type.');
    end if;
    v_seconds := round((p_changes ->> 'expires_after_seconds')::numeric);
    v_session := jsonb_populate_record(v_session, p_changes - array['archived', 'expires_after_seconds']);
    v_session.upstream := nullif(v_session.upstream, 'null');
    update public.free_agent_sessions s
    set name = v_session.name, model = v_session.model, status = v_session.status,
        visibility = v_session.visibility,
        metadata = v_session.metadata, upstream = v_session.upstream,
        archived_at = case when not p_changes ? 'archived' then s.archived_at
            when (p_changes ->> 'archived')::boolean then coalesce(s.archived_at, now()) end,
        expires_after = case when p_changes ? 'expires_after_seconds'
            then make_interval(secs => nullif(v_seconds, 0)) else s.expires_after end
    where s.id = p_session_id
    returning * into v_session;
    if asyouwere.role_of(v_session.id, v_session.user_id, v_session.visibility) is distinct from 'owner' then
        v_session.key := null; -- as in get_session()
    end if;
    return v_session;
end;
$$;
comment on function asyouwere.change_session is 'Checks and writes what a person may change of a session.';
revoke execute on function asyouwere.change_session from public;
grant execute on function asyouwere.change_session to authenticated, service_role;

create function public.update_session(p_session_id uuid,
    p_changes jsonb) returns setof public.free_agent_sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.change_session(p_session_id, p_changes);
end;
$$;
comment on function public.update_session is
    'Change name, model, status, metadata as owner or editor; visibility, upstream, archived (boolean), '
    'expires_after_seconds (0: never) as owner. Raises session_not_found, forbidden, invalid_argument.';
revoke execute on function public.update_session from public, anon, authenticated, service_role;
grant execute on function public.update_session to authenticated, service_role;

create function asyouwere.remove_session(p_session_id uuid, p_base int)
returns table (snapshots int, parts int, turns int, members int)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions;
    v_ids uuid[];
begin
    -- definer: session_to_write is private, and parts are counted before they go. Sessions of its own go with
    -- it, so the owner's lock comes first.
    perform asyouwere.lock_owner(s.user_id) from public.free_agent_sessions s
    where s.id = p_session_id and asyouwere.role_of(s.id, s.user_id, s.visibility) = 'owner';
    v_session := asyouwere.session_to_write(p_session_id, 'owner');
    if p_base is not null then
        -- an answer that is being made comes after, and so does one whose lease ran out with text in it
        perform asyouwere.interrupt_turn(t.session_id, t.id) from public.session_turns t
        where t.session_id = v_session.id and t.status = 'running' and t.lease_until <= clock_timestamp();
        select * into v_session from public.free_agent_sessions s where s.id = p_session_id;
    end if;
    if p_base <> v_session.latest_number or p_base is not null and exists (
        select from public.session_turns t where t.session_id = v_session.id and t.status = 'running')
    then
        perform asyouwere.fail('conflict',
            'Something was saved after the number you know, or an answer is being made. Nothing was deleted.',
            format('{"addresses": [], "latest": %s}', v_session.latest_number));
    end if;
    v_ids := asyouwere.sessions_within(array[v_session.id]);
    select count(*) into snapshots from public.session_snapshots n where n.session_id = any (v_ids);
    select count(*) into parts from asyouwere.parts p where p.session = any (array(
        select s.internal_id from public.free_agent_sessions s where s.id = any (v_ids)));
    select count(*) into turns from public.session_turns t where t.session_id = any (v_ids);
    select count(*) into members from public.session_members m where m.session_id = any (v_ids);
    delete from public.free_agent_sessions s where s.id = v_session.id;
    return next;
end;
$$;
comment on function asyouwere.remove_session is
    'Deletes a session of the caller''s with all that is in it, and counts it.';
revoke execute on function asyouwere.remove_session from public;
grant execute on function asyouwere.remove_session to authenticated, service_role;

create function public.delete_session(p_session_id uuid, p_base int default null)
returns table (snapshots int, parts int, turns int, members int)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.remove_session(p_session_id, p_base);
end;
$$;
comment on function public.delete_session is
    'Delete a session with its parts, snapshots, turns, members and keys, for good; with p_base only if that '
    'is still the latest number and no answer is being made. One row with the counts: the receipt. Raises '
    'session_not_found, forbidden, '
    'conflict.';
revoke execute on function public.delete_session from public, anon, authenticated, service_role;
grant execute on function public.delete_session to authenticated, service_role;

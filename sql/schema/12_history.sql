-- History: what the app says of a snapshot, labels, going back, branching off.
-- Breaks running code: no.

create function asyouwere.refuse_annotations(
    p_session public.free_agent_sessions, p_annotations asyouwere.annotations
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_number int;
begin
    if jsonb_typeof(p_annotations.metadata) <> 'object' then
        perform asyouwere.fail('invalid_argument', 'metadata is an object.');
    elsif length(p_annotations.external_id) not between 1 and 500 then
        perform asyouwere.fail('invalid_argument', 'external_id has 1 to 500 characters.');
    elsif p_annotations.parent_number not between 0 and p_session.latest_number then
        perform asyouwere.fail('invalid_argument', 'parent_number is a number that this session has had.');
    end if;
    perform asyouwere.refuse_document('metadata', p_annotations.metadata,
        (select s.max_snapshot_metadata_bytes from asyouwere.settings s));
    -- the caller holds the session's lock, so nobody takes the id between this look and the insert
    select n.number into v_number from public.session_snapshots n
    where n.session_id = p_session.id and n.external_id = p_annotations.external_id;
    if found then
        perform asyouwere.fail('snapshot_exists', p_detail => format('{"number": %s}', v_number));
    end if;
end;
$$;
comment on function asyouwere.refuse_annotations is
    'Raises invalid_argument, snapshot_exists, and what a document is refused for.';
revoke execute on function asyouwere.refuse_annotations from public;

create function asyouwere.set_label(p_session_id uuid, p_number int, p_label text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- the caller holds the session's lock, so nobody takes the label between the look and the update
    if exists (
        select from public.session_snapshots n
        where n.session_id = p_session_id and n.label = p_label and n.number <> p_number)
    then
        perform asyouwere.fail('label_taken');
    end if;
    update public.session_snapshots n set label = p_label
    where n.session_id = p_session_id and n.number = p_number;
    if p_label is null then
        -- the clean-up has passed it by; let it come back for it
        update public.free_agent_sessions s set pruned_through = p_number - 1
        where s.id = p_session_id and s.pruned_through >= p_number;
    end if;
end;
$$;
comment on function asyouwere.set_label is
    'Gives a snapshot a label, or takes it away (null). Raises label_taken.';
revoke execute on function asyouwere.set_label from public;

create function asyouwere.label(p_session_id uuid, p_number int, p_label text)
returns public.session_snapshots
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id);
    v_snapshot public.session_snapshots;
begin
    -- definer: nobody writes snapshots but through here
    if length(p_label) not between 1 and 200 then
        perform asyouwere.fail('invalid_argument', 'A label has 1 to 200 characters.');
    elsif coalesce(p_number, 0) < 1 then
        perform asyouwere.fail('snapshot_not_found', 'This session has no snapshot with this number.');
    end if;
    perform asyouwere.find_snapshot(v_session, p_number, null);
    perform asyouwere.set_label(p_session_id, p_number, p_label);
    perform asyouwere.charge(); -- after the rows: see the order of locks in 02_sessions.sql
    select * into v_snapshot from public.session_snapshots n
    where n.session_id = p_session_id and n.number = p_number;
    return v_snapshot;
end;
$$;
comment on function asyouwere.label is 'Checks access and number, then sets the label.';
revoke execute on function asyouwere.label from public;
grant execute on function asyouwere.label to authenticated, service_role;

create function public.label_snapshot(p_session_id uuid, p_number int, p_label text)
returns setof public.session_snapshots
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.label(p_session_id, p_number, p_label);
end;
$$;
comment on function public.label_snapshot is
    'Name a snapshot; clean-up never takes it then. Null takes the name away. Raises snapshot_not_found, '
    'snapshot_gone, label_taken, forbidden.';
revoke execute on function public.label_snapshot from public, anon, authenticated, service_role;
grant execute on function public.label_snapshot to authenticated, service_role;

create function asyouwere.revert(p_session_id uuid, p_number int, p_idempotency_key text)
returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id);
    v_rows asyouwere.change_rows;
    v_key uuid := md5(p_idempotency_key)::uuid;
    v_content uuid := md5('revert ' || p_number)::uuid;
    v_earlier asyouwere.save_keys;
begin
    -- definer: nobody writes parts but through here
    if p_number is null or length(p_idempotency_key) not between 1 and 255 then
        perform asyouwere.fail('invalid_argument',
            'Say which number to go back to. An idempotency key has 1 to 255 characters.');
    end if;
    select * into v_earlier from asyouwere.save_keys k
    where k.session = v_session.internal_id and k.key = v_key;
    if found then
        return asyouwere.replay_save(v_session, v_earlier, v_content, null);
    end if;
    perform asyouwere.find_snapshot(v_session, p_number, null);
    select array_agg(case when o.path is null then 'drop' else 'put' end),
        array_agg(coalesce(o.path, n.path)), array_agg(coalesce(o.item, n.item)), array_agg(o.body)
    into v_rows
    from (
        select p.path, p.item, p.body from asyouwere.parts_ended(v_session.internal_id, p_number) p
    ) o
    full join (
        select p.path, p.item, p.body from asyouwere.parts_begun(v_session.internal_id, p_number) p
    ) n on n.path = o.path and n.item = o.item
    where o.body is distinct from n.body;
    return asyouwere.write_snapshot(v_session, v_rows, false, null, v_key, v_content,
        case when v_rows.ops is not null then (null, null, p_number)::asyouwere.annotations end);
end;
$$;
comment on function asyouwere.revert is 'Makes an old content the newest.';
revoke execute on function asyouwere.revert from public;
grant execute on function asyouwere.revert to authenticated, service_role;

create function public.revert_session(p_session_id uuid, p_number int, p_idempotency_key text default null)
returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.revert(p_session_id, p_number, p_idempotency_key);
end;
$$;
comment on function public.revert_session is
    'A new snapshot with the content of an old one; nothing in between is lost. 0 empties the state. '
    'Answers as create_session_snapshot. Raises snapshot_not_found, snapshot_gone, forbidden.';
revoke execute on function public.revert_session from public, anon, authenticated, service_role;
grant execute on function public.revert_session to authenticated, service_role;

create function asyouwere.fork(
    p_session_id uuid, p_number int, p_name text, p_key text, p_parent_id uuid default null
) returns public.free_agent_sessions
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_source public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_header asyouwere.snapshot_header := asyouwere.find_snapshot(v_source, p_number, null);
    v_owner uuid := coalesce(
        auth.uid(), case when current_setting('role') = 'service_role' then v_source.user_id end);
    v_fork public.free_agent_sessions;
    v_parts int;
begin
    -- definer: nobody writes parts but through here
    if v_owner is null then
        perform asyouwere.fail('not_signed_in', 'Sign in to keep a copy of this session.');
    elsif v_header.size_bytes > 1024 * 1024 then
        perform asyouwere.refuse_second_large();
    end if;
    insert into public.free_agent_sessions (user_id, key, name, model, kind, upstream, metadata,
        expires_after, parent_id,
        latest_number, size_bytes, stored_bytes, message_count)
    values (v_owner, p_key, coalesce(p_name, v_source.name), v_source.model, v_source.kind,
        -- a mere reader's copy would otherwise go on talking to the owner's agent
        case when asyouwere.is_insider(v_source.id, v_source.user_id) then v_source.upstream end,
        v_source.metadata, coalesce(v_source.expires_after, interval '0'), -- never stays never
        p_parent_id,
        least(v_header.number, 1), v_header.size_bytes,
        v_header.size_bytes + asyouwere.annotations_size(v_header.metadata, v_header.external_id),
        v_header.message_count)
    on conflict (user_id, key) do nothing
    returning * into v_fork;
    if v_fork.id is null then
        perform asyouwere.fail('key_taken', 'You have a session with this key.');
    end if;
    perform asyouwere.charge_copy(v_owner, v_header.size_bytes);
    insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
    select v_fork.internal_id, 1, p.item, row_number() over (order by p.path, p.item), p.size, p.depth,
        p.kind, p.created_at, p.path, p.body
    from asyouwere.parts_at(v_source.internal_id, v_header.number) p;
    get diagnostics v_parts = row_count;
    update public.free_agent_sessions s set last_message = asyouwere.last_message(s.internal_id)
    where s.id = v_fork.id returning * into v_fork;
    -- A reader takes no lock, and each statement sees what is there when it begins. The clean-up takes a
    -- snapshot and its parts at once, and so does who deletes the session: if the snapshot is still there
    -- now, its parts were all there when they were copied.
    perform asyouwere.find_snapshot(asyouwere.session_to_read(p_session_id), v_header.number, null);
    insert into asyouwere.fork_origins (session_id, origin_id, origin_number, base_number)
    values (v_fork.id, v_source.id, v_header.number, v_fork.latest_number);
    if v_header.number > 0 then
        insert into public.session_snapshots (
            session_id, number, size_bytes, changed_parts, message_count, metadata, external_id)
        values (v_fork.id, 1, v_header.size_bytes, v_parts, v_header.message_count,
            v_header.metadata, v_header.external_id);
    end if;
    return v_fork;
end;
$$;
comment on function asyouwere.fork is 'Copies one version into a session of the caller''s own.';
revoke execute on function asyouwere.fork from public;
grant execute on function asyouwere.fork to authenticated, service_role;

create function public.fork_session(
    p_session_id uuid, p_number int default null, p_name text default null, p_key text default null,
    p_parent_id uuid default null
) returns setof public.free_agent_sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.fork(p_session_id, p_number, p_name, p_key, p_parent_id);
end;
$$;
comment on function public.fork_session is
    'A new session of the caller''s own, private, that starts with the content of a snapshot (default: the '
    'latest) as its number 1; merge_fork() brings back what has changed since. Whoever may read may '
    'fork; upstream comes along for the owner and members.'
    ' p_key gives it a key, p_parent_id a parent: see get_or_create_session. Raises session_not_found, '
    'snapshot_not_found, snapshot_gone, key_taken.';
revoke execute on function public.fork_session from public, anon, authenticated, service_role;
grant execute on function public.fork_session to authenticated, service_role;

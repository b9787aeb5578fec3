-- Messages: the items of the state's list "messages", as a table. There is one copy: a message inserted here
-- is in the next restore, a message saved with a snapshot is here.
-- Breaks running code: no.

create function asyouwere.message_id(p_session_id uuid, p_position int) returns uuid
language sql immutable strict parallel safe
return md5(p_session_id::text || '/messages/' || p_position)::uuid;
comment on function asyouwere.message_id is 'A message''s id: the same for as long as it keeps its place.';
revoke execute on function asyouwere.message_id from public;
grant execute on function asyouwere.message_id to anon, authenticated, service_role;

create function asyouwere.message_preview(p_body text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v_content json := asyouwere.readable_json(p_body) -> 'content';
    v_text text;
begin
    -- content is a text, or a list of blocks of which some have a text (the shapes of the large APIs)
    v_text := case json_typeof(v_content)
        when 'string' then v_content #>> '{}'
        when 'array' then (select string_agg(b ->> 'text', ' ') from json_array_elements(v_content) b
            where json_typeof(b -> 'text') = 'string') end;
    return case when length(v_text) > 140 then left(v_text, 139) || '…' else v_text end;
end;
$$;
comment on function asyouwere.message_preview is 'The first 140 characters of what a message says.';
revoke execute on function asyouwere.message_preview from public;
grant execute on function asyouwere.message_preview to anon, authenticated, service_role;

create view public.session_messages with (security_invoker = true) as
select asyouwere.message_id(s.id, p.item) as id, s.id as session_id, p.item as position,
    asyouwere.readable_json(p.body) ->> 'role' as role,
    asyouwere.readable_json(p.body) ->> 'content' as content,
    p.body::json as body, p.created_at
from public.free_agent_sessions s
join asyouwere.live_parts p on p.session = s.internal_id
where p.path = '/messages/' and p.item >= 0;
comment on view public.session_messages is
    'The live messages of every session one may read. Insert (session_id with role and content, or with '
    'body) to append one.';
comment on column public.session_messages.position is '0, 1, 2 … without gaps.';
comment on column public.session_messages.content is
    'The message''s "content": a text as it is, anything else as JSON text.';
comment on column public.session_messages.body is 'The whole message, exactly as saved.';
comment on column public.session_messages.created_at is 'When a message was first saved at this position.';
revoke all on public.session_messages from anon, authenticated, service_role;
grant select on public.session_messages to anon, authenticated, service_role;
grant insert (session_id, role, content, body) on public.session_messages to authenticated, service_role;

create function asyouwere.append_messages(p_session_id uuid, p_messages json, p_idempotency_key text)
returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off
as $$
declare
    v_rows asyouwere.change_rows;
begin
    -- definer: saving is private
    if json_typeof(p_messages) is distinct from 'array' then
        perform asyouwere.fail('invalid_argument', 'p_messages is a list of messages.');
    end if;
    select array_agg('append'::text), array_agg('/messages/'::text), array_agg(null::int), array_agg(m::text)
    into v_rows from (select m from json_array_elements(p_messages) m limit 125001) m;
    perform asyouwere.refuse_count(cardinality(v_rows.ops));
    return asyouwere.save_snapshot(p_session_id, v_rows, null, p_idempotency_key, null, 'merge');
end;
$$;
comment on function asyouwere.append_messages is 'Saves messages at the end of the list.';
revoke execute on function asyouwere.append_messages from public;
grant execute on function asyouwere.append_messages to authenticated, service_role;

create function public.append_session_messages(
    p_session_id uuid, p_messages json, p_idempotency_key text default null
) returns table (number int, first_position int, last_position int, message_count int)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_result asyouwere.save_result := asyouwere.append_messages(p_session_id, p_messages, p_idempotency_key);
begin
    return query select v_result.number, v_result.message_count - json_array_length(p_messages),
        v_result.message_count - 1, v_result.message_count;
end;
$$;
comment on function public.append_session_messages is
    'Append messages, all or none, as one snapshot. One row: its number, the positions they got, how many '
    'messages there are (null if that snapshot is pruned when a retry asks). Never conflicts.';
revoke execute on function public.append_session_messages from public, anon, authenticated, service_role;
grant execute on function public.append_session_messages to authenticated, service_role;

create function asyouwere.insert_message() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- not json_build_object(), which writes spaces: a client that saves the same message would seem to change
    -- it
    v_body json := coalesce(new.body, (select row_to_json(m) from (select new.role, new.content) m));
    v_result asyouwere.save_result;
begin
    -- definer: saving is private
    if new.body is null and (new.role is null or new.content is null) then
        perform asyouwere.fail('invalid_argument', 'Insert a message as role and content, or as body.');
    end if;
    v_result := asyouwere.append_messages(new.session_id, json_build_array(v_body), null);
    new.position := v_result.message_count - 1;
    new.id := asyouwere.message_id(new.session_id, new.position);
    new.role := asyouwere.readable_json(v_body::text) ->> 'role';
    new.content := asyouwere.readable_json(v_body::text) ->> 'content';
    new.body := v_body;
    new.created_at := now();
    return new;
end;
$$;
comment on function asyouwere.insert_message is
    'An insert into session_messages appends to the state''s list.';
revoke execute on function asyouwere.insert_message from public;
create trigger insert_message instead of insert on public.session_messages
    for each row execute function asyouwere.insert_message();

create function asyouwere.refuse_message_change() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- Nobody is granted it. Without a trigger that would not even be looked at: Postgres says "cannot delete
    -- from view".
    perform asyouwere.fail('forbidden', 'A message is changed by a save of its session.');
    return null;
end;
$$;
comment on function asyouwere.refuse_message_change is 'Messages are not changed through the view.';
revoke execute on function asyouwere.refuse_message_change from public;
create trigger refuse_message_change instead of update or delete on public.session_messages
    for each row execute function asyouwere.refuse_message_change();

create function asyouwere.read_messages(p_session_id uuid, p_after int, p_limit int)
returns setof public.session_messages
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
begin
    -- definer: access is checked once, above. Not through the view: of its join the planner does not know
    -- that it comes in the order of positions, and would read a long session whole for every page.
    return query
    select asyouwere.message_id(p_session_id, p.item), p_session_id, p.item,
        asyouwere.readable_json(p.body) ->> 'role', asyouwere.readable_json(p.body) ->> 'content',
        p.body::json, p.created_at
    from asyouwere.live_parts p
    where p.session = v_session.internal_id and p.path = '/messages/'
        and p.item > greatest(p_after, -1)
    order by p.path, p.item limit least(greatest(coalesce(p_limit, 100), 0), 1000);
end;
$$;
comment on function asyouwere.read_messages is 'A page of a session''s messages.';
revoke execute on function asyouwere.read_messages from public;
grant execute on function asyouwere.read_messages to anon, authenticated, service_role;

create function public.list_messages(p_session_id uuid, p_after int default -1, p_limit int default 100)
returns setof public.session_messages
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_messages(p_session_id, p_after, p_limit);
end;
$$;
comment on function public.list_messages is
    'Messages after a position, oldest first, at most 1,000. Raises session_not_found.';
revoke execute on function public.list_messages from public;
grant execute on function public.list_messages to anon, authenticated, service_role;

create function asyouwere.require_readable(p_session_id uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: session_to_read is private
    perform asyouwere.session_to_read(p_session_id);
end;
$$;
comment on function asyouwere.require_readable is
    'Raises session_not_found unless the caller may read the session.';
revoke execute on function asyouwere.require_readable from public;
grant execute on function asyouwere.require_readable to anon, authenticated, service_role;

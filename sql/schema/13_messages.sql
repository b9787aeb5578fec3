-- Messages: the items of the state's list "messages", as a table. There is one copy: a message inserted here
-- is in the next restore, a message saved with a snapshot is here.
-- Breaks running code: no.

create function asyouwere.message_id(p_session_id uuid, p_position int) returns uuid
language sql immutable strict parallel safe
return md5(p_session_id::text || '/messages/' || p_position)::uuid;
comment on function asyouwere.message_id is 'A message''s id: the same for as long as it keeps its place.';
revoke execute on function asyouwere.message_id from public;
grant execute on function asyouwere.message_id to anon, authenticated, service_role;

create type asyouwere.message_fields as (
    type json, content_type json, role json, sender json, author json, data json, kwargs json, id json,
    message json, choices json, candidates json, parts json, content json, text json, refusal json,
        thought json,
    output json, result json
);
comment on type asyouwere.message_fields is 'What the rules of message_text and message_role look at.';

create function asyouwere.speaker(p_word text) returns text
language sql immutable parallel safe
return case
    when p_word in ('human', 'user', 'HumanMessage', 'HumanMessageChunk') then 'user'
    when p_word in ('ai', 'assistant', 'model', 'AIMessage', 'AIMessageChunk') then 'assistant'
    when p_word in ('system', 'SystemMessage') then 'system'
    when p_word = 'developer' then 'developer'
    when p_word in ('tool', 'ToolMessage', 'function', 'FunctionMessage') then 'tool' end;
comment on function asyouwere.speaker is
    'Who speaks, by the word of a format that has no "role"; null for any other word.';
revoke execute on function asyouwere.speaker from public;

create function asyouwere.json_string(p_value json) returns text
language sql immutable parallel safe
return case when json_typeof(p_value) = 'string' then p_value #>> '{}' end;
comment on function asyouwere.json_string is 'The text of a JSON string; null for any other value.';
revoke execute on function asyouwere.json_string from public;

create function asyouwere.message_inside(p_fields asyouwere.message_fields) returns json
language sql immutable parallel safe
-- LangChain's two forms, a node of ChatGPT's export, an answer of Ollama
return case
    when json_typeof(p_fields.data) = 'object'
        and asyouwere.speaker(asyouwere.json_string(p_fields.type)) is not null
        and p_fields.data -> 'content' is not null then p_fields.data
    when json_typeof(p_fields.kwargs) = 'object' and json_typeof(p_fields.id) = 'array' then p_fields.kwargs
    when json_typeof(p_fields.message) = 'object'
        and coalesce(p_fields.content, p_fields.parts, p_fields.text, p_fields.role) is null
        then p_fields.message end;
comment on function asyouwere.message_inside is
    'The message in an envelope; null if there is none around it.';
revoke execute on function asyouwere.message_inside from public;

create function asyouwere.message_role(p_message json) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v asyouwere.message_fields;
    v_inside json;
    v_type text;
    v_word text;
begin
    if json_typeof(p_message) <> 'object' then
        return null;
    end if;
    v := json_populate_record(null::asyouwere.message_fields, p_message);
    v_type := asyouwere.json_string(v.type);
    if v.content is null or v.data is not null or v.kwargs is not null then
        v_inside := asyouwere.message_inside(v);
    end if;
    if v_inside is not null then
        return coalesce(asyouwere.message_role(v_inside), asyouwere.speaker(v_type),
            asyouwere.speaker(case when json_typeof(v.id) = 'array' then v.id ->> -1 end));
    end if;
    v_word := coalesce(asyouwere.json_string(v.sender), asyouwere.json_string(v.author),
        case when json_typeof(v.author) = 'object' then asyouwere.json_string(v.author -> 'role') end);
    return coalesce(asyouwere.json_string(v.role), asyouwere.speaker(v_word), v_word,
        case when coalesce(v.content, v.parts, v.text) is not null then asyouwere.speaker(v_type) end,
        case when v_type ~ '(?:_output|_result)$' then 'tool' when v_type <> 'message' then 'assistant' end);
end;
$$;
comment on function asyouwere.message_role is
    'Who says a message: its "role", else user, assistant, system, developer or tool; null if it does not '
    'say.';
revoke execute on function asyouwere.message_role from public;

create function asyouwere.message_text(p_message json, p_levels int default 6) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v asyouwere.message_fields;
    v_inside json;
    v_type text;
    v_source json;
    v_text text;
    v_texts text[] := '{}';
begin
    case json_typeof(p_message)
        when 'string' then
            return nullif(p_message #>> '{}', '');
        when 'array' then
            if p_levels > 0 then
                select string_agg(t.text, E'\n') into v_text from (
                    select asyouwere.message_text(e.value, p_levels - 1) as text
                    from (select value from json_array_elements(p_message) limit 1000) e
                ) t;
            end if;
            return v_text;
        when 'object' then
            if p_levels <= 0 then
                return null;
            end if;
        else
            return null;
    end case;
    v := json_populate_record(null::asyouwere.message_fields, p_message);
    if v.content is null or v.data is not null or v.kwargs is not null then
        v_inside := asyouwere.message_inside(v);
    end if;
    if v_inside is not null then
        return asyouwere.message_text(v_inside, p_levels - 1);
    end if;
    v_type := coalesce(asyouwere.json_string(v.type), asyouwere.json_string(v.content_type));
    -- what a tool says is its answer; in a message of somebody else's it is not what that one says
    if p_levels = 6 and v_type ~ '(?:_output|_result)$' and v.role is null then
        return asyouwere.message_text(coalesce(v.output, v.result, v.content), p_levels - 1);
    elsif v.thought::text = 'true' or v.role is null and v.sender is null and v.author is null
        and v_type not in ('message', 'text', 'input_text', 'output_text', 'refusal', 'markdown',
            'multimodal_text', 'audio_transcription') and asyouwere.speaker(v_type) is null then
        return null;
    end if;
    foreach v_source in array array[v.parts, v.content, v.text, v.refusal] loop
        if json_typeof(v_source) = 'object' and json_typeof(v_source -> 'value') = 'string' then
            v_source := v_source -> 'value'; -- OpenAI's threads
        end if;
        continue when v_source is null;
        v_text := case json_typeof(v_source) when 'string' then nullif(v_source #>> '{}', '')
            else asyouwere.message_text(v_source, p_levels - 1) end;
        -- some say in one field what they say in another
        if v_text is not null and cardinality(v_texts) = 0 then
            v_texts := array[v_text];
        elsif v_text is not null
            and not regexp_replace(v_text, '\s+', '', 'g') = any (array(
                select regexp_replace(t, '\s+', '', 'g') from unnest(v_texts) t)) then
            v_texts := v_texts || v_text;
        end if;
    end loop;
    if cardinality(v_texts) = 0 then
        return asyouwere.message_text(coalesce(v.choices, v.candidates), p_levels - 1);
    end if;
    return array_to_string(v_texts, E'\n');
end;
$$;
comment on function asyouwere.message_text is
    'What a message says: its texts, a line each, no reasoning, tool calls, attachments; null: no words.';
revoke execute on function asyouwere.message_text from public;

create function asyouwere.body_role(p_body text) returns text
language sql immutable parallel safe
return asyouwere.message_role(asyouwere.json_head(p_body, 200000));
comment on function asyouwere.body_role is 'Who says a stored message.';
revoke execute on function asyouwere.body_role from public;

create function asyouwere.body_text(p_body text) returns text
language sql immutable parallel safe
return asyouwere.message_text(asyouwere.json_head(p_body, 200000));
comment on function asyouwere.body_text is
    'What a stored message says; of one with more than 200,000 bytes, its beginning.';
revoke execute on function asyouwere.body_text from public;

create function asyouwere.message_preview(p_body text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v_content json;
    v_is_plain boolean := false;
    v_text text;
begin
    -- The everyday message, role and content alone, is read without looking for other shapes, which took a save a tenth
    -- longer: next to these two values there is no room for a third member.
    if octet_length(p_body) <= 4000 and strpos(p_body, '\u') = 0 then
        v_content := p_body::json -> 'content';
        if json_typeof(v_content) = 'string'
            and length(p_body) - length(v_content::text) - length((p_body::json -> 'role')::text) <= 24
        then
            v_text := nullif(v_content #>> '{}', '');
            v_is_plain := true;
        end if;
    end if;
    if not v_is_plain then
        v_text := asyouwere.message_text(asyouwere.json_head(p_body, 4000));
    end if;
    v_text := case when length(v_text) > 140 then left(v_text, 139) || '…' else v_text end;
    return translate(v_text, E'\n\r\t', '   ');
end;
$$;
comment on function asyouwere.message_preview is
    'The first 140 characters, on one line, of what a message says in the first 4,000 of its body.';
revoke execute on function asyouwere.message_preview from public;
create function asyouwere.last_message(p_session bigint) returns text
language sql stable
begin atomic
    select asyouwere.message_preview(p.body) from asyouwere.live_parts p
    where p.session = p_session and p.path = '/messages/' and p.item >= 0
    order by p.path desc, p.item desc limit 1;
end;
comment on function asyouwere.last_message is
    'The preview of a session''s last message, to be kept with the session.';
revoke execute on function asyouwere.last_message from public;

-- Whoever reads the view runs them.
grant execute on function
    asyouwere.speaker(text), asyouwere.json_string(json), asyouwere.message_inside(asyouwere.message_fields),
    asyouwere.message_role(json), asyouwere.message_text(json, int),
    asyouwere.body_role(text), asyouwere.body_text(text)
to anon, authenticated, service_role;

create view public.session_messages with (security_invoker = true) as
select asyouwere.message_id(s.id, p.item) as id, s.id as session_id, p.item as position,
    asyouwere.body_role(p.body) as role,
    asyouwere.body_text(p.body) as content,
    p.body::json as body, p.created_at
from public.free_agent_sessions s
join asyouwere.live_parts p on p.session = asyouwere.internal_id_of(s.id) -- anon reads no internal_id
where p.path = '/messages/' and p.item >= 0;
comment on view public.session_messages is
    'The live messages of every session one may read. Insert (session_id with role and content, or with '
    'body) to append one.';
comment on column public.session_messages.position is '0, 1, 2 … without gaps.';
comment on column public.session_messages.role is 'Who says it, whatever the format: see message_role.';
comment on column public.session_messages.content is
    'What it says, whatever the format; of a body of more than 200,000 bytes, in its beginning. Null: no '
    'words.';
comment on column public.session_messages.body is 'The whole message, exactly as saved.';
comment on column public.session_messages.created_at is 'When a message was first saved at this position.';
revoke all on public.session_messages from anon, authenticated, service_role;
grant select on public.session_messages to anon, authenticated, service_role;
grant insert (session_id, role, content, body) on public.session_messages to authenticated, service_role;

create function asyouwere.append_messages(
    p_session_id uuid, p_messages json, p_idempotency_key text,
    p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
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
    return asyouwere.save_snapshot(
        p_session_id, v_rows, null, p_idempotency_key, null, 'merge', p_annotations);
end;
$$;
comment on function asyouwere.append_messages is 'Saves messages at the end of the list.';
revoke execute on function asyouwere.append_messages from public;
grant execute on function asyouwere.append_messages to authenticated, service_role;

create function public.append_session_messages(
    p_session_id uuid, p_messages json, p_idempotency_key text default null,
    p_metadata jsonb default null, p_external_id text default null, p_parent_number int default null
) returns table (number int, first_position int, last_position int, message_count int)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_result asyouwere.save_result := asyouwere.append_messages(p_session_id, p_messages, p_idempotency_key,
        (p_metadata, p_external_id, p_parent_number)::asyouwere.annotations);
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
    new.role := asyouwere.body_role(v_body::text);
    new.content := asyouwere.body_text(v_body::text);
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

create function asyouwere.read_messages(p_session_id uuid, p_after int, p_limit int, p_before int, p_last int)
returns setof public.session_messages
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_after int := greatest(p_after, -1);
    v_before int := coalesce(p_before, v_session.message_count);
begin
    -- definer: access is checked once, above. Not through the view: of its join the planner does not know
    -- that it comes in the order of positions, and would read a long session whole for every page.
    if p_last is null then
        return query
        select asyouwere.message_id(p_session_id, f.item), p_session_id, f.item,
            asyouwere.body_role(f.body), asyouwere.body_text(f.body), f.body::json, f.created_at
        from (
            select l.*, sum(l.size) over (order by l.item rows unbounded preceding) - l.size as before
            from (
                select p.item, p.body, p.size, p.created_at from asyouwere.live_parts p
                where p.session = v_session.internal_id and p.path = '/messages/' and p.item > v_after
                    and p.item < v_before
                order by p.path, p.item limit least(greatest(coalesce(p_limit, 100), 0), 1000)
            ) l
        ) f
        where f.before < 4000000
        order by f.item;
    else
        return query
        select asyouwere.message_id(p_session_id, f.item), p_session_id, f.item,
            asyouwere.body_role(f.body), asyouwere.body_text(f.body), f.body::json, f.created_at
        from (
            select l.*, sum(l.size) over (order by l.item desc rows unbounded preceding) - l.size as before
            from (
                select p.item, p.body, p.size, p.created_at from asyouwere.live_parts p
                where p.session = v_session.internal_id and p.path = '/messages/'
                    and p.item > v_after and p.item < v_before
                order by p.path desc, p.item desc limit least(greatest(p_last, 0), 1000)
            ) l
        ) f
        where f.before < 4000000
        order by f.item;
    end if;
end;
$$;
comment on function asyouwere.read_messages is 'A page of a session''s messages.';
revoke execute on function asyouwere.read_messages from public;
grant execute on function asyouwere.read_messages to anon, authenticated, service_role;

create function public.list_messages(
    p_session_id uuid, p_after int default -1, p_limit int default 100, p_before int default null,
    p_last int default null
) returns setof public.session_messages
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_messages(p_session_id, p_after, p_limit, p_before, p_last);
end;
$$;
comment on function public.list_messages is
    'Messages between two positions, oldest first, at most 1,000: the first p_limit of them or, with p_last,'
    ' the last so many. Once 4 MB of them are told, no further one is. Raises session_not_found.';
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

-- Turns: one answer being made. Whoever makes it holds a lease on it and appends chunks; others follow by
-- number. The fence is the turn's own row, never the session's, so that flushing chunks and saving don't wait
-- for each other. A flush writes one row and renews the lease only when two thirds of it are gone; a poll
-- that finds nothing reads three rows. How a turn ends is in 25_turn_ends.sql.
-- Breaks running code: no.

create table public.session_turns (
    session_id uuid not null references public.free_agent_sessions (id) on delete cascade,
    id uuid not null,
    internal_id bigint generated always as identity,
    internal_session_id bigint not null,
    status text not null default 'running',
    started_by uuid,
    started_at timestamptz not null default now(),
    lease_seconds int not null,
    lease_until timestamptz not null,
    stop_requested_at timestamptz,
    ended_at timestamptz,
    last_seq int not null default 0,
    number int,
    position int,
    changed_parts int,
    message json,
    finished_with uuid,
    due_at timestamptz,
    primary key (session_id, id)
) with (fillfactor = 70);
comment on table public.session_turns is
    'The answers of a session, each from its first chunk to its end. The functions write it, whoever reads '
    'the session reads it.';
comment on column public.session_turns.id is 'Whoever begins the turn makes it up, at random.';
comment on column public.session_turns.internal_id is 'Short key of the turn''s chunks; no API takes it.';
comment on column public.session_turns.status is
    'running, done, stopped, failed; interrupted: the lease ran out.';
comment on column public.session_turns.started_by is
    'Who alone, with the service, may write it; null: the service.';
comment on column public.session_turns.lease_until is
    'When others may take the session''s next turn; get_turn() settles a turn whose lease ran out.';
comment on column public.session_turns.last_seq is
    'The last chunk''s number, as of the latest renewal of the lease; exact once the turn is over. '
    'get_turn() is always exact.';
comment on column public.session_turns.number is 'The snapshot that the finished message came with.';
comment on column public.session_turns.position is
    'Where the finished message stands in the state''s list "messages"; null: there is none.';
comment on column public.session_turns.message is
    'What the message made of text chunks has besides its content; null once the turn is over.';
comment on column public.session_turns.finished_with is
    'MD5 of what finish_turn() was given, to tell a retry.';
comment on column public.session_turns.due_at is
    'When the clean-up takes the chunks, and later the row; null: it runs.';
revoke all on sequence public.session_turns_internal_id_seq from anon, authenticated, service_role;

-- one at a time; and the few that run are what the clean-up looks through
create unique index session_turns_running on public.session_turns (session_id) where status = 'running';
create index session_turns_latest on public.session_turns (session_id, internal_id desc);
create index session_turns_of_person on public.session_turns (started_by, ended_at desc)
    where started_by is not null;
-- their chunks stay longest, and count for as long
create index session_turns_interrupted on public.session_turns (started_by, ended_at desc)
    where started_by is not null and status = 'interrupted';
create index session_turns_due on public.session_turns (due_at) where due_at is not null;

create table asyouwere.turn_chunks (
    session bigint not null,
    turn bigint not null,
    seq int not null,
    chunks int not null,
    flush int not null,
    bytes int not null,
    body text collate "C" not null,
    primary key (session, turn, seq)
);
comment on table asyouwere.turn_chunks is
    'What was flushed of running turns and of those just ended, one row a flush.';
comment on column asyouwere.turn_chunks.session is
    'free_agent_sessions.internal_id. No foreign key: every writer holds the turn''s row lock.';
comment on column asyouwere.turn_chunks.seq is 'Number of the last chunk in it; chunks count from 1.';
comment on column asyouwere.turn_chunks.chunks is 'How many chunks are in it.';
comment on column asyouwere.turn_chunks.flush is 'Which flush of its turn it is: 1, 2, 3 …';
comment on column asyouwere.turn_chunks.bytes is
    'What the turn counts as, up to here: its message, bodies, 100 for each flush, 64 for each chunk.';
comment on column asyouwere.turn_chunks.body is
    'The chunks as they were sent: a JSON list without its brackets.';
alter table asyouwere.turn_chunks set (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05);
alter table asyouwere.turn_chunks enable row level security; -- no policy: the functions only

alter table public.session_turns enable row level security;
revoke all on public.session_turns from anon, authenticated, service_role;
grant select on public.session_turns to service_role;
-- Not whose it is, nor what its message will have: who reads a public session is a stranger to it. get_turn()
-- tells the owner and members.
grant select (session_id, id, status, started_at, lease_until, stop_requested_at, ended_at, last_seq,
    number, position)
    on public.session_turns to anon, authenticated;
create policy "Whoever reads a session reads its turns"
    on public.session_turns for select to anon, authenticated
    using ((select true from public.free_agent_sessions s where s.id = session_turns.session_id));

create type asyouwere.turn_state as (
    id uuid, status text, started_by uuid, lease_until timestamptz, stop_requested boolean,
    first_seq int, chunks json, next_seq int, more boolean,
    number int, "position" int, started_at timestamptz, ended_at timestamptz
);
comment on type asyouwere.turn_state is 'What get_turn answers.';

-- Doors
-- ----------------------------------------------------------------------------------------------------------
create function asyouwere.refuse_turn(p_session_id uuid, p_turn_id uuid, p_need text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions;
    v_role text;
begin
    select * into v_session from public.free_agent_sessions s where s.id = p_session_id;
    v_role := asyouwere.role_of(v_session.id, v_session.user_id, v_session.visibility);
    if v_session.id is null or v_role is null or p_need <> 'viewer' and v_role = 'viewer' then
        perform asyouwere.refuse_access(p_session_id, p_need);
    end if;
    if exists (select from public.session_turns t where t.session_id = p_session_id and t.id = p_turn_id) then
        perform asyouwere.fail('forbidden', 'Only who began a turn writes it. Editors may stop it.');
    end if;
    perform asyouwere.fail('turn_not_found');
end;
$$;
comment on function asyouwere.refuse_turn is 'Raises session_not_found, forbidden or turn_not_found.';
revoke execute on function asyouwere.refuse_turn from public;

create function asyouwere.turn_to_write(p_session_id uuid, p_turn_id uuid) returns public.session_turns
language plpgsql volatile
as $$
declare
    v_turn public.session_turns;
begin
    -- Run by definers only; no SET clause, see 09_saving.sql. The role is part of the condition, so nobody
    -- locks a turn that is not theirs to write.
    select * into v_turn from public.session_turns t
    where t.session_id = p_session_id and t.id = p_turn_id
        and (t.started_by = auth.uid() or current_setting('role') = 'service_role')
        and (select asyouwere.role_of(s.id, s.user_id, s.visibility) from public.free_agent_sessions s
            where s.id = t.session_id) in ('owner', 'editor')
    for no key update;
    if not found then
        perform asyouwere.refuse_turn(p_session_id, p_turn_id, 'editor');
    end if;
    return v_turn;
end;
$$;
comment on function asyouwere.turn_to_write is
    'The turn''s row, locked till the end of the transaction, if the caller began it and may still save '
    'into the session. Raises session_not_found, forbidden, turn_not_found.';
revoke execute on function asyouwere.turn_to_write from public;

create function asyouwere.refuse_ended(p_turn public.session_turns) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- the clock, not now(): the transaction may have waited for the row
    if p_turn.status <> 'running' or p_turn.lease_until <= clock_timestamp() then
        perform asyouwere.fail('turn_over',
            p_detail => format('{"turn_status": "%s"}',
                case p_turn.status when 'running' then 'interrupted' else p_turn.status end));
    end if;
end;
$$;
comment on function asyouwere.refuse_ended is
    'The fence: raises turn_over for a turn that has ended or whose lease ran out.';
revoke execute on function asyouwere.refuse_ended from public;

create function asyouwere.last_seq(p_turn public.session_turns) returns int
language sql stable set search_path = pg_catalog, pg_temp
return coalesce((
    select c.seq from asyouwere.turn_chunks c
    where c.session = p_turn.internal_session_id and c.turn = p_turn.internal_id
    order by c.session desc, c.turn desc, c.seq desc limit 1), p_turn.last_seq);
comment on function asyouwere.last_seq is 'Number of a turn''s last chunk, 0 if there is none.';
revoke execute on function asyouwere.last_seq from public;

-- Beginning
-- ------------------------------------------------------------------------------------------------------
create function asyouwere.refuse_turns(p_person uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_quota text;
    v_limit int;
begin
    -- no count goes further than its limit
    select * into v_settings from asyouwere.settings;
    select c.quota, c.most into v_quota, v_limit
    from (
        select 'running_turns' as quota, v_settings.max_running_turns_per_user as most, (
            select count(*) from (
                select from public.session_turns t where t.started_by = p_person and t.ended_at is null
                limit v_settings.max_running_turns_per_user) n) as used
        union all
        select 'recent_turns', v_settings.max_recent_turns_per_user, (
            -- as long as their chunks are kept
            select count(*) from (
                (select from public.session_turns t
                where t.started_by = p_person and t.ended_at > now() - v_settings.keep_chunks_for
                limit v_settings.max_recent_turns_per_user)
                union all
                (select from public.session_turns t
                where t.started_by = p_person and t.status = 'interrupted' and t.last_seq > 0
                    and t.ended_at > now() - v_settings.delete_expired_after
                    and t.ended_at <= now() - v_settings.keep_chunks_for
                limit v_settings.max_recent_turns_per_user)) n)
    ) c
    where c.used >= c.most
    limit 1;
    if found then
        perform asyouwere.fail('quota_exceeded',
            case v_quota when 'running_turns' then 'Too many turns are running. Finish some first.'
            else 'Too many turns whose chunks are kept yet: of an interrupted one they stay for days.' end,
            format('{"quota": "%s", "used": %s, "limit": %s}', v_quota, v_limit, v_limit));
    end if;
end;
$$;
comment on function asyouwere.refuse_turns is
    'Raises quota_exceeded if a person has as many turns as allowed.';
revoke execute on function asyouwere.refuse_turns from public;

create function asyouwere.refuse_turn_message(p_message json) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_shape json := asyouwere.readable_json(p_message::text);
begin
    if json_typeof(v_shape) is distinct from 'object' or octet_length(p_message::text) > 8192
        or coalesce(v_shape -> 'content', v_shape -> 'status') is not null
    then
        perform asyouwere.fail('invalid_argument',
            'message is an object of at most 8 KB without content and status.');
    elsif not asyouwere.is_plain_part('/messages/', 0, p_message::text) then
        perform asyouwere.refuse_part('/messages/', 0, p_message::text); -- or the turn could never be settled
    end if;
end;
$$;
comment on function asyouwere.refuse_turn_message is
    'Raises invalid_argument, or what a part is refused for, if it can''t become a message with its content.';
revoke execute on function asyouwere.refuse_turn_message from public;

create function asyouwere.start_turn(
    p_session_id uuid, p_turn_id uuid, p_lease_seconds int, p_message json, p_on_running text,
    out turn public.session_turns, out created boolean
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions;
begin
    -- definer: nobody writes turns but through here
    created := false;
    select * into v_session from public.free_agent_sessions s
    where s.id = p_session_id and asyouwere.role_of(s.id, s.user_id, s.visibility) in ('owner', 'editor');
    if not found then
        perform asyouwere.refuse_access(p_session_id, 'editor');
    end if;
    if p_turn_id is null or p_lease_seconds is null or p_lease_seconds not between 1 and 300 then
        perform asyouwere.fail('invalid_argument', 'A turn has an id, and a lease of 1 to 300 seconds.');
    elsif p_on_running is null or p_on_running not in ('refuse', 'join') then
        perform asyouwere.fail('invalid_argument', 'on_running is refuse or join.');
    end if;
    perform asyouwere.refuse_turn_message(p_message);
    for attempt in 1 .. 3 loop
        select * into turn from public.session_turns t where t.session_id = p_session_id and t.id = p_turn_id;
        if found and turn.status <> 'running' and turn.started_by is distinct from auth.uid()
            and current_setting('role') <> 'service_role'
        then
            perform asyouwere.fail('key_taken',
                'This turn was somebody else''s. Make a new id for every turn.');
        elsif not found then
            select * into turn from public.session_turns t where t.session_id = p_session_id
                and t.status = 'running';
        end if;
        if turn.status = 'running' and turn.lease_until <= clock_timestamp() then
            perform asyouwere.interrupt_turn(p_session_id, turn.id);
            continue;
        elsif turn.id = p_turn_id and (turn.status <> 'running' or turn.started_by is not distinct
            from auth.uid()
            or current_setting('role') = 'service_role') or turn.id is not null and p_on_running = 'join'
        then
            turn.last_seq := asyouwere.last_seq(turn);
            return;
        elsif turn.id is not null then
            perform asyouwere.fail('turn_running', p_detail => json_build_object('turn', turn.id,
                'lease_until', turn.lease_until, 'next_seq', asyouwere.last_seq(turn) + 1)::text);
        end if;
        -- of the session only that it stays: saves go on meanwhile
        perform from public.free_agent_sessions s where s.id = p_session_id for key share;
        if not found then
            perform asyouwere.fail('session_not_found');
        end if;
        if asyouwere.is_limited() then
            perform asyouwere.refuse_turns(auth.uid());
        end if;
        insert into public.session_turns (session_id, id, internal_session_id, started_by, started_at,
            lease_seconds,
            lease_until, message)
        values (p_session_id, p_turn_id, v_session.internal_id, auth.uid(), clock_timestamp(),
            p_lease_seconds,
            clock_timestamp() + make_interval(secs => p_lease_seconds), p_message)
        on conflict do nothing
        returning * into turn;
        if found then
            perform asyouwere.charge(); -- after the row: see the order of locks in 02_sessions.sql
            created := true;
            return;
        end if;
        -- somebody was faster: now it is found
    end loop;
    perform asyouwere.fail('turn_running',
        'Others begin and end turns of this session all the time. Ask again.');
end;
$$;
comment on function asyouwere.start_turn is 'Claims a session''s turn, or says which one runs.';
revoke execute on function asyouwere.start_turn from public;
grant execute on function asyouwere.start_turn to authenticated, service_role;

create function public.begin_turn(
    p_session_id uuid, p_turn_id uuid, p_lease_seconds int default 30,
        p_message json default '{"role":"assistant"}',
    p_on_running text default 'refuse'
)
returns table (
    id uuid, status text, started_by uuid, lease_until timestamptz, next_seq int, number int, "position" int,
    started_at timestamptz, ended_at timestamptz, created boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select (b.turn).id, (b.turn).status, (b.turn).started_by, (b.turn).lease_until, (b.turn).last_seq + 1,
        (b.turn).number, (b.turn).position, (b.turn).started_at, (b.turn).ended_at, b.created
    from asyouwere.start_turn(p_session_id, p_turn_id, p_lease_seconds, p_message, p_on_running) b;
end;
$$;
comment on function public.begin_turn is
    'Claim the session''s turn for an answer, under an id made up at random; again with the same id: the '
    'same turn. Another one runs and its lease is good: turn_running, or with p_on_running join its row. '
    'p_message: what a message made of text chunks has besides its content. Raises turn_running, key_taken,'
    ' quota_exceeded.';
revoke execute on function public.begin_turn from public, anon, authenticated, service_role;
grant execute on function public.begin_turn to authenticated, service_role;

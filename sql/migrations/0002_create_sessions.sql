-- The tables people see: sessions, their members, their snapshots.
-- Breaks running code: no.

create table public.free_agent_sessions (
    id uuid primary key default leftoff.new_id(),
    -- 8 bytes instead of 16 in every part and every index entry of a part
    internal_id bigint generated always as identity unique,
    user_id uuid not null default auth.uid(),
    name text check (length(name) <= 500),
    model text check (length(model) <= 200),
    kind text not null default 'agent' check (kind in ('agent', 'chat')),
    status text not null default 'idle'
        check (status in ('idle', 'running', 'paused', 'completed', 'error', 'expired')),
    visibility text not null default 'private' check (visibility in ('private', 'shared', 'public')),
    key text check (length(key) between 1 and 500),
    upstream jsonb check (jsonb_typeof(upstream) = 'object' and pg_column_size(upstream) <= 8192),
    metadata jsonb not null default '{}'
        check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 65536),
    expires_after interval check (expires_after > interval '0'),
    archived_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    last_activity_at timestamptz not null default now(),
    expired_at timestamptz,
    latest_number int not null default 0,
    pruned_through int not null default 0,
    size_bytes bigint not null default 0,
    message_count int not null default 0,
    unique (user_id, key)
) with (fillfactor = 70); -- room for the one update of every save to stay on its page (HOT)
comment on table public.free_agent_sessions is 'One conversation or agent run of one owner.';
comment on column public.free_agent_sessions.internal_id is 'Short key of the session''s parts; no API takes it.';
comment on column public.free_agent_sessions.key is 'The owner''s own name for it, for example a character''s config id; one session each.';
comment on column public.free_agent_sessions.upstream is 'Where the agent lives: {provider, path, url, external_id}.';
comment on column public.free_agent_sessions.expires_after is 'Idle time after which it expires; null: never.';
comment on column public.free_agent_sessions.last_activity_at is
    'Last save, exact to 30 seconds: it is indexed, and leaving it alone between keeps a save''s update on its page.';
comment on column public.free_agent_sessions.updated_at is 'Last change of this row, exact.';
comment on column public.free_agent_sessions.latest_number is 'Number of the latest snapshot; 0: never saved.';
comment on column public.free_agent_sessions.pruned_through is 'Up to this number only labelled snapshots are kept.';
comment on column public.free_agent_sessions.size_bytes is 'Bytes of JSON in the latest state''s parts.';
comment on column public.free_agent_sessions.message_count is 'Items of the state''s list "messages".';

create index free_agent_sessions_by_activity
    on public.free_agent_sessions (user_id, last_activity_at desc, id desc);
create index free_agent_sessions_public
    on public.free_agent_sessions (last_activity_at desc, id desc) where visibility = 'public';
create index free_agent_sessions_to_expire
    on public.free_agent_sessions (last_activity_at) where expires_after is not null and expired_at is null;
create index free_agent_sessions_to_delete
    on public.free_agent_sessions (expired_at) where expired_at is not null;

create table public.session_members (
    session_id uuid not null references public.free_agent_sessions (id) on delete cascade,
    user_id uuid not null,
    role text not null default 'viewer' check (role in ('viewer', 'editor')),
    created_at timestamptz not null default now(),
    primary key (session_id, user_id)
);
comment on table public.session_members is
    'Who else may read (viewer) or also save (editor). Counts while the session is shared or public, not while private.';
create index session_members_by_user on public.session_members (user_id, session_id);

create table public.session_snapshots (
    session_id uuid not null references public.free_agent_sessions (id) on delete cascade,
    created_at timestamptz not null default now(),
    size_bytes bigint not null,
    number int not null check (number > 0),
    changed_parts int not null,
    message_count int not null,
    created_by uuid,
    label text check (length(label) between 1 and 200),
    primary key (session_id, number)
);
comment on table public.session_snapshots is
    'A numbered version of a session''s state: 1, 2, 3 … The content is the parts alive at that number.';
comment on column public.session_snapshots.size_bytes is 'Bytes of JSON in the parts of this version.';
comment on column public.session_snapshots.changed_parts is 'Parts written or removed since the snapshot before.';
comment on column public.session_snapshots.created_by is 'Who saved it, if not the owner; null as well: the service.';
comment on column public.session_snapshots.label is 'A person''s name for it; clean-up never takes a labelled one.';
create unique index session_snapshots_by_label on public.session_snapshots (session_id, label)
    where label is not null;

-- for delete_my_data(); few rows: most saves are the owner's
create index session_snapshots_by_member on public.session_snapshots (created_by) where created_by is not null;

create function leftoff.fill_new_session() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
    -- definer: reads the settings, which no caller may
    if new.kind = 'chat' and new.expires_after is null then
        select chat_expires_after into new.expires_after from leftoff.settings;
    end if;
    return new;
end;
$$;
comment on function leftoff.fill_new_session is 'Chat sessions expire by default; others never.';
revoke execute on function leftoff.fill_new_session from public;
create trigger fill_new_session before insert on public.free_agent_sessions
    for each row execute function leftoff.fill_new_session();

create function leftoff.touch_session() returns trigger
language plpgsql set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end;
$$;
comment on function leftoff.touch_session is 'Keeps updated_at when a person changes the row; saves set it themselves.';
revoke execute on function leftoff.touch_session from public;
create trigger touch_session
    before update of name, model, status, visibility, upstream, metadata, expires_after, archived_at
    on public.free_agent_sessions
    for each row execute function leftoff.touch_session();

-- The tables people see: sessions, their members, their snapshots.
-- Breaks running code: no.

-- No check constraints on the tables that every save writes: Postgres reads and compiles them anew for each
-- statement, which made a save a third slower. check_session() checks what people may write, when they write
-- it.
create table public.free_agent_sessions (
    id uuid primary key default asyouwere.new_id(),
    -- 8 bytes instead of 16 in every part and every index entry of a part
    internal_id bigint generated always as identity unique,
    user_id uuid not null default auth.uid(),
    name text,
    model text,
    kind text not null default 'agent',
    status text not null default 'idle',
    visibility text not null default 'private',
    key text,
    upstream jsonb,
    metadata jsonb not null default '{}',
    expires_after interval,
    archived_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    last_activity_at timestamptz not null default now(),
    expired_at timestamptz,
    latest_number int not null default 0,
    pruned_through int not null default 0,
    size_bytes bigint not null default 0,
    message_count int not null default 0,
    stored_bytes bigint not null default 0,
    prepaid_saves smallint not null default 0,
    last_message text,
    parent_id uuid references public.free_agent_sessions (id) on delete cascade,
    -- the half minute of it; changes with few saves, so it can be indexed and a save's update stays on its
    -- page (HOT)
    activity_bin timestamptz generated always as (
        date_bin('30 seconds', last_activity_at, timestamptz '2000-01-01 00:00Z')) stored,
    unique (user_id, key)
) with (fillfactor = 70); -- room for the one update of every save to stay on its page (HOT)
comment on table public.free_agent_sessions is 'One conversation or agent run of one owner.';
comment on column public.free_agent_sessions.internal_id is
    'Short key of the session''s parts; no API takes it.';
comment on column public.free_agent_sessions.key is
    'The owner''s own name for it, for example a character''s config id; one session each.';
comment on column public.free_agent_sessions.upstream is
    'Where the agent lives: {provider, path, url, external_id}.';
comment on column public.free_agent_sessions.kind is 'agent, chat or workflow; a chat expires by default.';
comment on column public.free_agent_sessions.status is
    'idle, running, paused, completed, error; the clean-up makes it expired.';
comment on column public.free_agent_sessions.visibility is
    'private: the owner; shared: members too; public: everyone reads.';
comment on column public.free_agent_sessions.expires_after is
    'Idle time after which it expires; null: never.';
comment on column public.free_agent_sessions.last_activity_at is 'Last save, exact; lists are in this order.';
comment on column public.free_agent_sessions.activity_bin is
    'Half minute of last_activity_at, which is not indexed: order by activity_bin desc, last_activity_at '
    'desc.';
comment on column public.free_agent_sessions.updated_at is 'Last change of this row, exact.';
comment on column public.free_agent_sessions.latest_number is
    'Number of the latest snapshot; 0: never saved.';
comment on column public.free_agent_sessions.pruned_through is
    'Up to this number clean-up has judged which snapshots stay.';
comment on column public.free_agent_sessions.size_bytes is 'The latest state''s parts: addresses, JSON and a row each.';
comment on column public.free_agent_sessions.message_count is 'Items of the state''s list "messages".';
comment on column public.free_agent_sessions.stored_bytes is
    'The same for the parts of all kept versions, and their metadata and external ids.';
comment on column public.free_agent_sessions.last_message is
    'First 140 characters of what the last message says: kept by every save, so that no list reads bodies.';
comment on column public.free_agent_sessions.parent_id is
    'The session that it belongs to and goes with: of a sub-agent, a branch; lists leave it out.';
comment on column public.free_agent_sessions.prepaid_saves is
    'Tokens its owner has taken ahead, see 20_limits.sql.';

-- the defaults of Supabase grant the API's roles all that is made in public, sequences as well
revoke all on sequence public.free_agent_sessions_internal_id_seq from anon, authenticated, service_role;

create index free_agent_sessions_by_activity
    on public.free_agent_sessions (user_id, activity_bin desc) where parent_id is null;
create index free_agent_sessions_by_parent
    on public.free_agent_sessions (parent_id, activity_bin desc) where parent_id is not null;
create index free_agent_sessions_public
    on public.free_agent_sessions (activity_bin desc) where visibility = 'public';

create table public.session_members (
    session_id uuid not null references public.free_agent_sessions (id) on delete cascade,
    user_id uuid not null,
    role text not null default 'viewer' check (role in ('viewer', 'editor')),
    created_at timestamptz not null default now(),
    invited_by uuid,
    accepted_at timestamptz,
    primary key (session_id, user_id)
);
comment on table public.session_members is
    'Who else may read (viewer) or also save (editor), once accepted. Counts while the session is shared or'
    ' public.';
comment on column public.session_members.invited_by is
    'Whose open invitation it is: the owner''s. Null once accepted.';
comment on column public.session_members.accepted_at is 'Null: invited, and a stranger until accepting.';
create index session_members_by_user on public.session_members (user_id, session_id)
    where accepted_at is not null;
create index session_members_invited on public.session_members (user_id, created_at desc, session_id desc)
    where accepted_at is null;
create index session_members_inviting on public.session_members (invited_by, user_id)
    where accepted_at is null;

create table public.session_snapshots (
    session_id uuid not null references public.free_agent_sessions (id) on delete cascade,
    created_at timestamptz not null default now(),
    size_bytes bigint not null,
    number int not null,
    changed_parts int not null,
    message_count int not null,
    created_by uuid,
    label text,
    metadata jsonb,
    external_id text,
    parent_number int,
    primary key (session_id, number)
);
comment on table public.session_snapshots is
    'A numbered version of a session''s state: 1, 2, 3 … The content is the parts alive at that number.';
comment on column public.session_snapshots.size_bytes is
    'Bytes of this version''s parts: addresses, JSON and a row each.';
comment on column public.session_snapshots.changed_parts is
    'Parts written or removed since the snapshot before.';
comment on column public.session_snapshots.created_by is
    'Who saved it, if not the owner at that time; null as well: the service.';
comment on column public.session_snapshots.label is
    'A person''s name for it; clean-up never takes a labelled one.';
comment on column public.session_snapshots.metadata is
    'What the app says of it, up to 8 KB; keeps nothing from being cleaned up.';
comment on column public.session_snapshots.external_id is
    'The app''s own id for it; one snapshot of a session each.';
comment on column public.session_snapshots.parent_number is
    'The number it was made from, if not the one before; that one may be gone.';
create unique index session_snapshots_by_label on public.session_snapshots (session_id, label)
    where label is not null;
create unique index session_snapshots_by_external_id on public.session_snapshots (session_id, external_id)
    where external_id is not null;
create index session_snapshots_by_parent on public.session_snapshots (session_id, parent_number, number)
    where parent_number is not null;

-- for delete_my_data(); few rows: most saves are the owner's
create index session_snapshots_by_member on public.session_snapshots (created_by)
    where created_by is not null;

create function asyouwere.refuse_session_fields(
    p_name text, p_model text, p_kind text, p_status text, p_visibility text, p_key text,
    p_upstream jsonb, p_metadata jsonb, p_expires_after_seconds numeric
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_problem text := case
        when length(p_name) > 500 then 'name has at most 500 characters'
        when length(p_model) > 200 then 'model has at most 200 characters'
        when p_kind is null or p_kind not in ('agent', 'chat', 'workflow')
            then 'kind is agent, chat or workflow'
        when p_status is null or p_status not in ('idle', 'running', 'paused', 'completed', 'error')
            then 'status is idle, running, paused, completed or error'
        when p_visibility is null or p_visibility not in ('private', 'shared', 'public')
            then 'visibility is private, shared or public'
        when length(p_key) not between 1 and 500 then 'key has 1 to 500 characters'
        when jsonb_typeof(p_upstream) <> 'object' then 'upstream is an object of at most 8 KB'
        when jsonb_typeof(p_metadata) is distinct from 'object' then 'metadata is an object of at most 64 KB'
        when p_expires_after_seconds not between 0 and 2000000000
            then 'expires_after is 0 (never) or more, in seconds' end;
begin
    if v_problem is not null then
        perform asyouwere.fail('invalid_argument', v_problem || '.');
    end if;
    perform asyouwere.refuse_document('upstream', p_upstream, 8192);
    perform asyouwere.refuse_document('metadata', p_metadata, 65536);
end;
$$;
comment on function asyouwere.refuse_session_fields is
    'Raises invalid_argument, naming the field, and what a document is refused for.';
revoke execute on function asyouwere.refuse_session_fields from public;

-- Ids and people that are no more ---------------------------------------------------------------------------
create table asyouwere.used_ids (
    id uuid primary key,
    user_id uuid,
    position bigint not null default 0
);
comment on table asyouwere.used_ids is
    'Ids of deleted sessions: their clients may still save into them, so nobody else ever gets one.';
comment on column asyouwere.used_ids.user_id is
    'Whose it was and who may use it again, for an undo; null: nobody.';
comment on column asyouwere.used_ids.position is
    'Counts up for each person: the latest 100,000 are remembered, so that nobody fills the table.';
alter table asyouwere.used_ids enable row level security; -- no policy: the functions only
create index used_ids_by_user on asyouwere.used_ids (user_id, position) where user_id is not null;

create table asyouwere.erasures (
    user_id uuid primary key,
    requested_at timestamptz not null default now(),
    finished_at timestamptz,
    account_gone boolean not null default false,
    session_id uuid unique,
    failed_at timestamptz,
    sql_state text
);
comment on table asyouwere.erasures is
    'People whose data is being deleted, step by step. From the first moment nobody else reads their '
    'sessions.';
comment on column asyouwere.erasures.account_gone is
    'The user was deleted: the row stays for a week, since a token issued before may be good for as long.';
comment on column asyouwere.erasures.session_id is
    'One large session that was deleted by itself: user_id is nobody''s, made up to own it until it is gone.';
comment on column asyouwere.erasures.failed_at is
    'When a step failed, with sql_state. Passed by for an hour; `asyouwere doctor` tells of it.';
alter table asyouwere.erasures enable row level security; -- no policy: the functions only

create function asyouwere.remember_used(p_ids uuid[], p_users uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    insert into asyouwere.used_ids (id, user_id, position)
    select g.id, g.user_id, row_number() over (partition by g.user_id) + coalesce((
        select max(u.position) from asyouwere.used_ids u where u.user_id = g.user_id), 0)
    from unnest(p_ids, p_users) g (id, user_id)
    on conflict (id) do update set user_id = excluded.user_id, position = excluded.position;
    delete from asyouwere.used_ids t using (select distinct u.id from unnest(p_users) u (id)) person
    where t.user_id = person.id and t.position <= (
        select max(u.position) - 100000 from asyouwere.used_ids u where u.user_id = person.id);
end;
$$;
comment on function asyouwere.remember_used is
    'Remembers ids as used by these people, and forgets what is not among the latest 100,000 of each.';
revoke execute on function asyouwere.remember_used from public;

create function asyouwere.remember_ids() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Definer: the table is private. What was set aside is remembered already, as its owner's.
    perform asyouwere.remember_used(array_agg(g.id order by g.id), array_agg(g.user_id order by g.id))
    from gone g
    where not exists (
        select from asyouwere.erasures e where e.user_id = g.user_id and e.session_id is not null)
    having count(*) > 0;
    return null;
end;
$$;
comment on function asyouwere.remember_ids is 'When sessions go, their ids stay used.';
revoke execute on function asyouwere.remember_ids from public;
create trigger remember_ids after delete on public.free_agent_sessions
    referencing old table as gone
    for each statement execute function asyouwere.remember_ids();

create function asyouwere.is_erased(p_user_id uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: the table is private
    select exists (select from asyouwere.erasures e where e.user_id = p_user_id)
$$;
comment on function asyouwere.is_erased is 'Whether a person''s data is being deleted.';
revoke execute on function asyouwere.is_erased from public;
grant execute on function asyouwere.is_erased to anon, authenticated, service_role;

-- What a write into the table goes through
-- -------------------------------------------------------------------- One order of locks, or two writers
-- wait for each other: first the owner's rows as a whole (a statement on the table may lock many, in any
-- order), then sessions by id, then what belongs to them, last the bucket, after the rows.
create function asyouwere.lock_owner(p_user_id uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    select pg_advisory_xact_lock(hashtextextended('asyouwere owner ' || p_user_id, 0))
$$;
comment on function asyouwere.lock_owner is
    'Held by whoever writes to several rows of one owner at once, till the end of the transaction. Saves '
    'don''t ask.';
revoke execute on function asyouwere.lock_owner from public;
grant execute on function asyouwere.lock_owner to authenticated, service_role;

create function asyouwere.lock_own_rows() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- invoker: the functions that write as definer lock what they need themselves
    if row_security_active(tg_relid) and auth.uid() is not null then
        perform asyouwere.lock_owner(auth.uid());
    end if;
    return null;
end;
$$;
comment on function asyouwere.lock_own_rows is
    'Two statements of one person on the table itself come one after the other.';
revoke execute on function asyouwere.lock_own_rows from public;

create function asyouwere.keep_identity() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- Invoker: a session changes hands in accept_transfer() and claim_sessions() only, which run as the
    -- table's owner. An upsert sets every column that it was sent, to what it was.
    if (new.id, new.user_id, new.kind, new.key) is distinct from (old.id, old.user_id, old.kind, old.key)
        and not pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), 'usage')
    then
        perform asyouwere.fail('invalid_argument', 'id, user_id, kind and key stay as they are.');
    end if;
    return new;
end;
$$;
comment on function asyouwere.keep_identity is 'Refuses another id, owner, kind or key.';
revoke execute on function asyouwere.keep_identity from public;

create function asyouwere.refuse_new_session(p_id uuid, p_owner uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_limited boolean := asyouwere.is_limited();
begin
    -- definer: other people's sessions and the ids that were used
    if v_is_limited and p_owner <> auth.uid() then
        return; -- the policy refuses it, before anything of the other person's is looked at or counted
    elsif asyouwere.is_erased(p_owner) then
        perform asyouwere.fail('forbidden', 'This account is being deleted.');
    end if;
    -- An id that is, or was, somebody else's: the answer that any stranger gets. The service is told that it
    -- is taken.
    if exists (select from asyouwere.used_ids u where u.id = p_id and u.user_id is distinct from p_owner)
        or v_is_limited
            and exists (select from public.free_agent_sessions s where s.id = p_id and s.user_id <> p_owner)
    then
        if not v_is_limited then
            perform asyouwere.fail('key_taken');
        end if;
        perform asyouwere.refuse_access(p_id, 'owner');
    end if;
end;
$$;
comment on function asyouwere.refuse_new_session is 'Raises forbidden, session_not_found or key_taken.';
revoke execute on function asyouwere.refuse_new_session from public;

create function asyouwere.check_session() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: reads the settings, which no caller may
    if tg_op = 'UPDATE' then
        new.updated_at := now();
        new.prepaid_saves := 0; -- else updated_at would say that they are of this minute
        if new.archived_at is distinct from old.archived_at and new.archived_at is not null then
            new.archived_at := now(); -- whatever time was sent, infinity for one
        end if;
        if old.status = 'expired' and new.status <> 'expired' then
            -- it lives again, and its idle time begins anew
            new.expired_at := null;
            new.last_activity_at := now();
        end if;
    else
        perform asyouwere.refuse_new_session(new.id, new.user_id);
        if new.parent_id is not null then
            perform asyouwere.refuse_parent(new.parent_id, new.user_id);
        end if;
        if new.kind = 'chat' and new.expires_after is null then
            select s.chat_expires_after into new.expires_after from asyouwere.settings s;
        end if;
    end if;
    -- seconds only: months and days of an interval can have opposite signs, and then no time to add it to is
    -- safe
    if new.expires_after is not null then
        new.expires_after := nullif(make_interval(
            secs => greatest(-1, least(extract(epoch from new.expires_after), 2000000001))), interval '0');
    end if;
    perform asyouwere.refuse_session_fields(new.name, new.model, new.kind,
        case when new.expired_at is not null and new.status = 'expired' then 'idle' else new.status end,
        new.visibility, new.key, new.upstream, new.metadata, extract(epoch from new.expires_after));
    return new;
end;
$$;
comment on function asyouwere.check_session is
    'Checks what people write into a session. Chat sessions expire by default, others never. A new status '
    'revives.';
revoke execute on function asyouwere.check_session from public;

create function asyouwere.charge_session() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: buckets are private. After the row: see the order of locks above.
    perform asyouwere.charge();
    if tg_op = 'INSERT' and asyouwere.is_limited() then
        perform asyouwere.refuse_quota(new.user_id, 1, 0, p_are_counted => true);
    end if;
    return null;
end;
$$;
comment on function asyouwere.charge_session is
    'Charges a session made or changed. Raises rate_limited, quota_exceeded.';
revoke execute on function asyouwere.charge_session from public;

-- of these columns, so that no save has to ask
create trigger lock_own_rows
    before insert or delete or update of id, user_id, name, model, kind, status, visibility, key, upstream,
        metadata,
        expires_after, archived_at
    on public.free_agent_sessions
    for each statement execute function asyouwere.lock_own_rows();
create trigger check_new_session before insert on public.free_agent_sessions
    for each row execute function asyouwere.check_session();
create trigger check_changed_session
    before update of id, user_id, name, model, kind, status, visibility, key, upstream, metadata,
        expires_after,
        archived_at
    on public.free_agent_sessions
    for each row execute function asyouwere.check_session();
create trigger keep_identity before update of id, user_id, kind, key on public.free_agent_sessions
    for each row execute function asyouwere.keep_identity();
create trigger charge_new_session after insert on public.free_agent_sessions
    for each row execute function asyouwere.charge_session();
create trigger charge_changed_session
    after update of name, model, status, visibility, upstream, metadata, expires_after, archived_at
    on public.free_agent_sessions
    for each row when (old.user_id = new.user_id) -- what changes hands, be it nobody's, is charged there
    execute function asyouwere.charge_session();

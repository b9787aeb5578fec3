-- The schema as a migration. Made from sql/schema/*.sql by `make generate`: change those files, never this one.
-- Breaks running code: no.

-- 01_base.sql

-- The private schema: what the API does not expose, and the few helpers every later file uses.
-- Breaks running code: no.

create schema asyouwere;
comment on schema asyouwere is
    'Private half of asyouwere: parts, keys, settings, and what must run as definer. Not exposed by the API.';
grant usage on schema asyouwere to anon, authenticated, service_role;

-- Functions are executable by PUBLIC until revoked, and a default-privileges rule "in schema" can't take that
-- away. We live in someone else's database, so we do not change its defaults: every function revokes its own.
-- Those in public revoke from the API's roles, too: Supabase's defaults grant them everything made there.
--
-- Every function pins its search_path to pg_catalog, pg_temp. Not to '': Postgres then looks for types in
-- pg_temp first, and a caller's own type named uuid, with a check, would run the caller's code as the
-- function's owner.

create function asyouwere.new_id() returns uuid
language sql volatile parallel safe set search_path = pg_catalog, pg_temp
as $$
    -- UUID version 7 (RFC 9562, 5.7): 48 bits of milliseconds, then random. Postgres has uuidv7() from 18 on
    -- only.
    select encode(
        set_bit(set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                placing substring(
                    int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;
comment on function asyouwere.new_id is 'A time-ordered id (UUID version 7).';
revoke execute on function asyouwere.new_id from public;
grant execute on function asyouwere.new_id to authenticated, service_role;

create function asyouwere.fail(p_code text, p_message text default null, p_detail text default '{}')
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_error record;
begin
    select * into v_error from asyouwere.error_codes() e where e.code = p_code;
    if not found then
        raise exception 'There is no error code %.', p_code using hint = 'spec/errors.json lists them.';
    end if;
    -- SQLSTATE PTxyz: PostgREST answers with HTTP status xyz and passes the rest on
    -- (https://docs.postgrest.org/en/v12/references/errors.html#raise-errors-with-http-status-codes).
    raise exception using
        errcode = 'PT' || v_error.status, hint = p_code,
        message = coalesce(p_message, v_error.sentence), detail = p_detail;
end;
$$;
comment on function asyouwere.fail is
    'Raise an error of error_codes(), with its sentence or one that says more (never content) and data as '
    'JSON text.';
revoke execute on function asyouwere.fail from public;
grant execute on function asyouwere.fail to anon, authenticated, service_role;

create table asyouwere.settings (
    only_row boolean primary key default true check (only_row),
    max_state_bytes bigint not null default 64 * 1024 * 1024 check (max_state_bytes >= 1024 * 1024),
    max_nesting int not null default 64 check (max_nesting between 20 and 1000),
    keep_snapshots int not null default 100 check (keep_snapshots >= 1),
    keep_for interval not null default '7 days' check (keep_for between '0' and '300 years'),
    keep_hourly_for interval not null default '30 days' check (keep_hourly_for between '0' and '300 years'),
    keep_daily_for interval not null default '365 days' check (keep_daily_for between '0' and '300 years'),
    keep_monthly_for interval check (keep_monthly_for between '0' and '300 years'),
    keep_keys_for interval not null default '30 days' check (keep_keys_for between '0' and '300 years'),
    chat_expires_after interval not null default '30 minutes'
        check (chat_expires_after between '0' and '60 years'),
    delete_expired_after interval not null default '7 days'
        check (delete_expired_after between '0' and '300 years'),
    writes_per_second numeric default 50 check (writes_per_second > 0),
    writes_at_once int not null default 2000 check (writes_at_once >= 1),
    max_sessions_per_user int default 100000 check (max_sessions_per_user >= 0),
    max_stored_bytes_per_user bigint default 10 * 1024::bigint ^ 3 check (max_stored_bytes_per_user >= 0),
    max_members_per_session int default 1000 check (max_members_per_session >= 0),
    max_memberships_per_user int default 1000 check (max_memberships_per_user >= 0),
    max_invitations_sent int default 1000 check (max_invitations_sent >= 0),
    max_invitations_received int default 500 check (max_invitations_received >= 0),
    max_invitations_from_one int default 20 check (max_invitations_from_one >= 0),
    keep_chunks_for interval not null default '10 minutes'
        check (keep_chunks_for between '0' and '300 years'),
    max_turn_bytes int not null default 8 * 1024 * 1024 check (max_turn_bytes between 65536 and 1024 ^ 3),
    max_running_turns_per_user int default 50 check (max_running_turns_per_user >= 0),
    max_recent_turns_per_user int default 500 check (max_recent_turns_per_user >= 0),
    max_snapshot_metadata_bytes int not null default 8192
        check (max_snapshot_metadata_bytes between 0 and 65536),
    max_child_sessions int default 1000 check (max_child_sessions >= 0),
    max_models_per_day int not null default 100 check (max_models_per_day >= 1),
    keep_usage_for interval not null default '400 days' check (keep_usage_for between '32 days' and '300 years')
);
comment on table asyouwere.settings is
    'One row of limits and defaults for this database. Change it with update; takes effect at once.';
comment on column asyouwere.settings.max_state_bytes is
    'A save that makes the state larger is refused (too_large).';
comment on column asyouwere.settings.max_nesting is
    'Containers within containers, the state itself being the first.';
comment on column asyouwere.settings.keep_snapshots is
    'Clean-up keeps at least this many of the newest snapshots.';
comment on column asyouwere.settings.keep_for is 'Clean-up keeps every snapshot younger than this.';
comment on column asyouwere.settings.keep_hourly_for is
    'Up to this age it keeps the last one of each hour (UTC).';
comment on column asyouwere.settings.keep_daily_for is 'Up to this age it keeps the last one of each day.';
comment on column asyouwere.settings.keep_monthly_for is
    'Up to this age it keeps the last one of each month; null: for ever.';
comment on column asyouwere.settings.keep_keys_for is 'How long an idempotency key is remembered.';
comment on column asyouwere.settings.chat_expires_after is 'Default idle time of sessions of kind chat.';
comment on column asyouwere.settings.delete_expired_after is 'Grace time between expiry and deletion.';
comment on column asyouwere.settings.writes_per_second is
    'How fast a person''s bucket fills; a write takes one token, one more for each MB. Null: no limit.';
comment on column asyouwere.settings.writes_at_once is
    'What a full bucket holds: so many writes may come at once.';
comment on column asyouwere.settings.max_sessions_per_user is 'Null: no limit.';
comment on column asyouwere.settings.max_stored_bytes_per_user is
    'JSON of all kept versions of the sessions one owns. Null: no limit.';
comment on column asyouwere.settings.max_members_per_session is
    'Members and open invitations. Null: no limit.';
comment on column asyouwere.settings.max_memberships_per_user is
    'Invitations that one has accepted: a page of one''s list looks at each. Null: no limit.';
comment on column asyouwere.settings.max_invitations_sent is 'Open ones of one owner. Null: no limit.';
comment on column asyouwere.settings.max_invitations_received is
    'Open ones to one person, sessions offered to take over among them. Null: no limit.';
comment on column asyouwere.settings.max_invitations_from_one is
    'Open ones of one owner to one person, so that nobody fills another''s list alone. Null: no limit.';
comment on column asyouwere.settings.keep_chunks_for is
    'How long a turn''s chunks stay after its end; interrupted: delete_expired_after.';
comment on column asyouwere.settings.max_turn_bytes is
    'A turn''s message and JSON of its chunks, each flush counting 100 more, each chunk 64.';
comment on column asyouwere.settings.max_running_turns_per_user is 'Begun by one person. Null: no limit.';
comment on column asyouwere.settings.max_recent_turns_per_user is
    'Begun by one person, ended, and their chunks kept yet, which of an interrupted one is longest. Null: no '
    'limit.';
comment on column asyouwere.settings.max_snapshot_metadata_bytes is 'JSON of one snapshot''s metadata.';
comment on column asyouwere.settings.max_child_sessions is 'Sessions of one parent. Null: no limit.';
comment on column asyouwere.settings.max_models_per_day is
    'Names of models in one day''s usage, of a session and of a person; further ones count as "other".';
comment on column asyouwere.settings.keep_usage_for is
    'How long a person''s usage is kept by day; a session''s stays with it.';
insert into asyouwere.settings default values;
alter table asyouwere.settings enable row level security;
grant select on asyouwere.settings to service_role;

-- 01_error_codes.sql

-- The error codes. Made from spec/errors.json by `make generate`: change that file, never this one.
-- Breaks running code: no.

create function asyouwere.error_codes() returns table (code text, status int, sentence text)
language sql immutable parallel safe rows 46 set search_path = pg_catalog, pg_temp
as $$
    values
        ('invalid_token', 401,
            'Send a valid access token as ''Authorization: Bearer <token>''.'),
        ('not_signed_in', 401,
            'This needs a signed-in user.'),
        ('forbidden', 403,
            'You may read this session, but not do that with it.'),
        ('quota_exceeded', 403,
            'The owner has as many sessions or stored bytes as allowed. Nothing was saved.'),
        ('not_found', 404,
            'This function has nothing at that address.'),
        ('session_not_found', 404,
            'No such session, or it is not shared with you. Check the id and the signed-in user.'),
        ('snapshot_not_found', 404,
            'The session has no snapshot of that number, label or external id.'),
        ('invitation_not_found', 404,
            'No open invitation to this session for you. It may have been taken back, or the session made private.'),
        ('turn_not_found', 404,
            'The session has no turn of that id.'),
        ('user_not_found', 404,
            'No user has this id. Ask the person for theirs: sub in their token, once signed up.'),
        ('offer_not_found', 404,
            'No such code, or it was used, or its ten minutes are over. Ask for a new one.'),
        ('method_not_allowed', 405,
            'That address exists, but not for this method.'),
        ('request_timeout', 408,
            'The request body did not arrive in time. Nothing was saved.'),
        ('conflict', 409,
            'Somebody else changed the same part since your base. Nothing was written: catch up, then save again.'),
        ('idempotency_key_reused', 409,
            'This idempotency key came with another save before. Make a new key for every save; keep it for retries.'),
        ('label_taken', 409,
            'Another snapshot of this session has this label. Remove it there first.'),
        ('snapshot_exists', 409,
            'The session has a snapshot with this external id. Nothing was saved: read that one, or use another id.'),
        ('key_taken', 409,
            'This id can''t be used. Leave it out, or make a new random one.'),
        ('turn_running', 409,
            'Another answer is being made in this session. Follow it, or begin when it has ended.'),
        ('turn_over', 409,
            'This turn has ended, or its lease ran out. Nothing was written, and nothing more will be.'),
        ('turn_gap', 409,
            'Chunks have no gaps. Send those from next_seq on.'),
        ('snapshot_gone', 410,
            'Clean-up has removed this snapshot. Restore the latest first.'),
        ('too_large', 413,
            'The session would grow over its limit. Nothing was saved.'),
        ('body_too_large', 413,
            'The request body is over the limit. Nothing was saved.'),
        ('unsupported_media_type', 415,
            'Send the body as ''Content-Type: application/json'', UTF-8, not compressed.'),
        ('invalid_request', 422,
            'The request does not have the expected form.'),
        ('invalid_json', 422,
            'The body is not valid JSON.'),
        ('invalid_state', 422,
            'A state is a JSON object, in which no key stands twice where it is opened.'),
        ('invalid_changes', 422,
            'Changes must be an object of ''set'', ''append'' and ''remove''.'),
        ('invalid_argument', 422,
            'An argument is outside what is allowed.'),
        ('invalid_address', 422,
            'An address must be a JSON Pointer such as /memory/topic.'),
        ('unknown_base', 422,
            'The base is no snapshot of this session. Restore first.'),
        ('address_below_part', 422,
            'This address lies inside a part, and parts are saved whole. Send the part that is named.'),
        ('missing_parent', 422,
            'No container for this address, and its number may name an item or a member. Set the container first.'),
        ('list_gap', 422,
            'A list has no gaps: put an item at its end, or change one that is there.'),
        ('not_a_list', 422,
            'Only lists can be appended to.'),
        ('overlapping_addresses', 422,
            'One save changes an address twice, or an address and something inside it. Send the outer one whole.'),
        ('nesting_too_deep', 422,
            'JSON may be nested 64 levels deep.'),
        ('number_out_of_range', 422,
            'A number is outside the range of a double (about 1.8e308), or written absurdly long.'),
        ('address_too_long', 422,
            'An address may have 2,000 bytes. Use shorter keys.'),
        ('not_representable', 422,
            'Text in this place may hold neither NUL nor a lone surrogate.'),
        ('rate_limited', 429,
            'Too many writes in a short time. Wait, then send the same again.'),
        ('internal', 500,
            'Something went wrong on our side. The request id finds it in the log.'),
        ('database_unavailable', 503,
            'The database cannot be reached. Try again shortly.'),
        ('keys_unavailable', 503,
            'The sign-in keys cannot be fetched. Try again shortly.'),
        ('timeout', 504,
            'The database took too long. Repeat it with the same idempotency key.')
$$;
comment on function asyouwere.error_codes is 'Every error code with its HTTP status and its default sentence.';
revoke execute on function asyouwere.error_codes from public;
grant execute on function asyouwere.error_codes to anon, authenticated, service_role;

-- 02_sessions.sql

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

-- 03_parts.sql

-- Where the content lives. A part is one address of the state with one body and a lifespan in snapshot
-- numbers: it belongs to snapshot N if since <= N and until > N.
-- Breaks running code: no.

create table asyouwere.parts (
    session bigint not null,
    created_at timestamptz not null,
    since int not null,
    until int not null default 2147483647,
    item int not null default -1,
    ord int not null,
    size int not null,
    depth smallint not null,
    kind "char" not null,
    path text collate "C" not null,
    body text collate "C" not null,
    primary key (session, since, ord)
);
comment on table asyouwere.parts is 'The states of all sessions, one row for each part and lifespan.';
comment on column asyouwere.parts.session is
    'free_agent_sessions.internal_id. No foreign key: every writer holds the session''s row lock.';
comment on column asyouwere.parts.created_at is
    'When this address came into being; later versions of the part keep it.';
comment on column asyouwere.parts.since is 'First snapshot number it belongs to.';
comment on column asyouwere.parts.until is
    'First snapshot number it no longer belongs to; the largest int while it is live.';
comment on column asyouwere.parts.item is 'Position in the list at path; -1 for the member at path itself.';
comment on column asyouwere.parts.ord is
    'Tells the parts of one save apart, so that the key also answers "changed since".';
comment on column asyouwere.parts.size is
    'What it counts as, see part_size(): so no sum has to fetch bodies.';
comment on column asyouwere.parts.depth is 'How many keys lead to path: 1 to 3.';
comment on column asyouwere.parts.kind is
    'v: value kept whole, o: opened object, l: opened list, i: item of a list.';
comment on column asyouwere.parts.path is
    'JSON Pointer with a closing /, its keys written as inside a JSON string: byte order is depth-first '
    'order, a subtree is one range, and any key can be stored.';
comment on column asyouwere.parts.body is 'JSON text as it was sent; {} or [] for an opened container.';

-- "Alive at an address" and "everything alive under an address": one probe, one range.
create unique index parts_live on asyouwere.parts (session, path, item) where until = 2147483647;
-- "What ended after N", for older numbers, for sync, for pruning; `since` tells without a look at the row
-- that one began later still, and lies where Postgres would leave a gap of four bytes.
create index parts_dead on asyouwere.parts (session, until, since) where until < 2147483647;

-- Ordinary messages stay in the row: fetching them from TOAST made a restore half as slow again.
alter table asyouwere.parts set (
    toast_tuple_target = 8160,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.1
);

-- Invoker, like every view: the row level security of parts decides who sees what. `until` is in it, so that
-- a row of the view is a row of the table, and a part is ended by an update of it.
create view asyouwere.live_parts with (security_invoker = true) as
select * from asyouwere.parts where until = 2147483647;
comment on view asyouwere.live_parts is
    'The parts of all latest states. The planner sees through it, to the index of the living.';

create view asyouwere.ended_parts with (security_invoker = true) as
select * from asyouwere.parts where until < 2147483647;
comment on view asyouwere.ended_parts is 'The parts that only older snapshots have.';

create function asyouwere.part_kind(p_depth int, p_item int, p_body text) returns "char"
language sql immutable parallel safe
return case
    when p_item >= 0 then 'i'::"char"
    when p_depth < 3 and p_body = '{}' then 'o'::"char"
    when p_depth < 3 and p_body = '[]' then 'l'::"char"
    else 'v'::"char" end;
comment on function asyouwere.part_kind is 'What parts.kind must be.';
revoke execute on function asyouwere.part_kind from public;

create function asyouwere.part_size(p_path text, p_body text) returns int
language sql immutable parallel safe
-- A row of two index entries takes some 100 bytes besides: without them, and the address, thousands of small
-- parts with long keys would be a state of no size.
return octet_length(p_path) + octet_length(p_body) + 100;
comment on function asyouwere.part_size is 'What a part counts as, in bytes: address, body and a row.';
revoke execute on function asyouwere.part_size from public;

create function asyouwere.parts_at(p_session bigint, p_number int) returns setof asyouwere.parts
language sql stable parallel safe rows 1000
begin atomic
    -- Two branches because "alive" and "ended" have an index each. No SET clause, so that the planner can see
    -- inside; the names were bound when the function was made, so no search_path can change them. So was the
    -- list of columns: a migration that adds one makes the views and the functions that return whole parts
    -- anew.
    select * from asyouwere.live_parts where session = p_session and since <= p_number
    union all
    select * from asyouwere.ended_parts where session = p_session and until > p_number and since <= p_number;
end;
comment on function asyouwere.parts_at is 'The parts that belong to a snapshot number.';
revoke execute on function asyouwere.parts_at from public;

-- What tells two numbers apart, read off two short index ranges: it costs what has changed, not what there
-- is.
create function asyouwere.parts_begun(p_session bigint, p_from int, p_to int default 2147483646)
returns setof asyouwere.parts
language sql stable parallel safe rows 100
begin atomic
    -- by the primary key; "until > p_to" also says "alive", but keeps the index of all the living out of the
    -- plan
    select * from asyouwere.parts
    where session = p_session and since > p_from and since <= p_to and until > p_to;
end;
comment on function asyouwere.parts_begun is
    'The parts that belong to the later number p_to (default: the latest, whatever it is) and not to p_from.';
revoke execute on function asyouwere.parts_begun from public;

create function asyouwere.parts_ended(p_session bigint, p_from int, p_to int default 2147483646)
returns setof asyouwere.parts
language sql stable parallel safe rows 100
begin atomic
    select * from asyouwere.ended_parts
    where session = p_session and until > p_from and until <= p_to and since <= p_from;
end;
comment on function asyouwere.parts_ended is
    'The parts that belong to p_from and not to the later number p_to (default: the latest, whatever it is).';
revoke execute on function asyouwere.parts_ended from public;

create table asyouwere.save_keys (
    session bigint not null,
    key uuid not null,
    content uuid not null,
    created_at timestamptz not null default now(),
    number int not null,
    changed_parts int not null,
    made_snapshot boolean not null,
    merged boolean not null,
    primary key (session, key)
);
comment on table asyouwere.save_keys is
    'Saves that carried an idempotency key. Apart from the snapshots, so that a retry is known after they '
    'are pruned.';
comment on column asyouwere.save_keys.key is 'MD5 of the key: sixteen bytes whatever people use as keys.';
comment on column asyouwere.save_keys.content is
    'MD5 of what was asked, to tell a retry from another save under the same key.';
comment on column asyouwere.save_keys.number is 'The number that was answered.';
comment on column asyouwere.save_keys.changed_parts is 'What was answered.';
comment on column asyouwere.save_keys.merged is 'What was answered.';
comment on column asyouwere.save_keys.made_snapshot is
    'False: nothing had changed and number was the latest then.';

-- 04_access.sql

-- Who may do what. Decided here and nowhere else: asyouwere.role_of() for the functions, the policies for the
-- tables. tests/sql/test_access.py holds the two against each other.
-- Breaks running code: no.

create function asyouwere.role_of(p_session_id uuid, p_owner uuid, p_visibility text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller uuid := auth.uid();
    v_role text;
begin
    -- definer: must see the member list, which callers see only in part.
    -- The role setting, not the claims: only who may SET ROLE can be the service.
    if p_owner = v_caller then
        return 'owner';
    elsif current_setting('role') = 'service_role' then
        -- what was set aside is deleted, for the service too
        return case when not exists (
            select from asyouwere.erasures e where e.user_id = p_owner and e.session_id is not null)
            then 'owner' end;
    end if;
    if p_visibility = 'private' then
        return null;
    end if;
    if asyouwere.is_erased(p_owner) then
        return null;
    end if;
    select m.role into v_role from public.session_members m
    where m.session_id = p_session_id and m.user_id = v_caller and m.accepted_at is not null
        and not asyouwere.is_erased(v_caller); -- whose token may be good for an hour yet
    return coalesce(v_role, case when p_visibility = 'public' then 'viewer' end);
end;
$$;
comment on function asyouwere.role_of is
    'What the caller is to a session: owner, editor, viewer, or null for a stranger.';
revoke execute on function asyouwere.role_of from public;
grant execute on function asyouwere.role_of to anon, authenticated, service_role;

create function asyouwere.session_ids_shared_with_me() returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: a policy on sessions that reads members, whose policy reads sessions, would never end
    select session_id from public.session_members where user_id = auth.uid() and accepted_at is not null
        and not asyouwere.is_erased(auth.uid())
$$;
comment on function asyouwere.session_ids_shared_with_me is
    'Sessions that the caller has accepted to be a member of.';
revoke execute on function asyouwere.session_ids_shared_with_me from public;
grant execute on function asyouwere.session_ids_shared_with_me to anon, authenticated, service_role;

create function asyouwere.sessions_shared_with_me() returns setof public.free_agent_sessions
language sql stable security definer rows 100 set search_path = pg_catalog, pg_temp
as $$
    -- definer: the policy would search a thousand ids for each of a thousand rows
    select s.* from public.session_members m join public.free_agent_sessions s on s.id = m.session_id
    where m.user_id = auth.uid() and m.accepted_at is not null and s.visibility <> 'private'
        and not exists (select from asyouwere.erasures e where e.user_id in (s.user_id, m.user_id))
$$;
comment on function asyouwere.sessions_shared_with_me is
    'The sessions that the caller reads as a member.';
revoke execute on function asyouwere.sessions_shared_with_me from public;
grant execute on function asyouwere.sessions_shared_with_me to authenticated, service_role;

create function asyouwere.owns_session(p_session_id uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: for the same reason
    select exists (select from public.free_agent_sessions where id = p_session_id and user_id = auth.uid())
$$;
comment on function asyouwere.owns_session is 'Whether the caller owns the session.';
revoke execute on function asyouwere.owns_session from public;
grant execute on function asyouwere.owns_session to anon, authenticated, service_role;

create function asyouwere.is_public(p_session bigint) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: the role anon does not read internal_id
    select exists (
        select from public.free_agent_sessions s
        where s.internal_id = p_session and s.visibility = 'public' and not asyouwere.is_erased(s.user_id))
$$;
comment on function asyouwere.is_public is 'Whether everybody reads the parts of a session.';
revoke execute on function asyouwere.is_public from public;
grant execute on function asyouwere.is_public to anon;

create function asyouwere.internal_id_of(p_session_id uuid) returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: for the same reason. Who has taken none of the API's roles is the database's owner.
    select s.internal_id from public.free_agent_sessions s
    where s.id = p_session_id
        and (current_setting('role') = 'none' or asyouwere.role_of(s.id, s.user_id, s.visibility) is not null)
$$;
comment on function asyouwere.internal_id_of is
    'By what the parts of a session are found, if the caller may read it.';
revoke execute on function asyouwere.internal_id_of from public;
grant execute on function asyouwere.internal_id_of to anon, authenticated, service_role;

create function asyouwere.is_insider(p_session_id uuid, p_owner uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: must see the member list
    select coalesce(p_owner = auth.uid(), false) or current_setting('role') = 'service_role' or exists (
        select from public.session_members m
        where m.session_id = p_session_id and m.user_id = auth.uid() and m.accepted_at is not null
            and not asyouwere.is_erased(m.user_id))
$$;
comment on function asyouwere.is_insider is
    'Whether the caller is the owner or a member, and no mere reader of a public session.';
revoke execute on function asyouwere.is_insider from public;

-- Sessions -----------------------------------------------------------------------------------------------
alter table public.free_agent_sessions enable row level security;
revoke all on public.free_agent_sessions from anon, authenticated, service_role;
grant select on public.free_agent_sessions to authenticated, service_role;
-- Nobody signed in reads public sessions only: not the owner's key, nor where the agent lives, nor our own
-- books.
grant select (id, user_id, name, model, kind, status, visibility, metadata, expires_after, archived_at,
    created_at,
    updated_at, last_activity_at, expired_at, latest_number, size_bytes, message_count, activity_bin)
    on public.free_agent_sessions to anon;
grant delete on public.free_agent_sessions to authenticated, service_role;
-- Column by column: numbers, sizes and counts can't be forged.
grant insert (id, user_id, name, model, kind, status, visibility, key, upstream, metadata, expires_after,
    parent_id)
    on public.free_agent_sessions to authenticated, service_role;
-- id, user_id, kind and key, which never change: PostgREST's upserts name whatever was sent.
grant update (id, user_id, name, model, kind, status, visibility, key, upstream, metadata, expires_after,
    archived_at)
    on public.free_agent_sessions to authenticated, service_role;

create policy "Owners, members and, if public, everyone read a session"
    on public.free_agent_sessions for select to anon, authenticated
    using (
        user_id = (select auth.uid())
        or (visibility = 'public'
                or visibility = 'shared' and id = any (array(select asyouwere.session_ids_shared_with_me())))
            and not asyouwere.is_erased(user_id)
    );
create policy "People create sessions of their own"
    on public.free_agent_sessions for insert to authenticated
    with check (user_id = (select auth.uid()));
create policy "Owners change their sessions"
    on public.free_agent_sessions for update to authenticated
    using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy "Owners delete their sessions"
    on public.free_agent_sessions for delete to authenticated
    using (user_id = (select auth.uid()));

-- Members ------------------------------------------------------------------------------------------------
alter table public.session_members enable row level security;
revoke all on public.session_members from anon, authenticated, service_role;
grant select, delete on public.session_members to authenticated, service_role;
grant insert (session_id, user_id, role), update (role) on public.session_members to authenticated,
    service_role;

create policy "Owners see all members, members see themselves"
    on public.session_members for select to authenticated
    using (
        -- not of a session that was made private again; an invitation is seen in list_invitations()
        user_id = (select auth.uid())
            and (select true from public.free_agent_sessions s where s.id = session_members.session_id)
        or asyouwere.owns_session(session_id)
    );
create policy "Owners add members"
    on public.session_members for insert to authenticated with check (asyouwere.owns_session(session_id));
create policy "Owners change a member's role"
    on public.session_members for update to authenticated
    using (asyouwere.owns_session(session_id)) with check (asyouwere.owns_session(session_id));
create policy "Owners remove members, members leave"
    on public.session_members for delete to authenticated
    using (user_id = (select auth.uid()) or asyouwere.owns_session(session_id));

-- Snapshots and parts: read by whoever reads the session, written by the functions only --------------------
alter table public.session_snapshots enable row level security;
revoke all on public.session_snapshots from anon, authenticated, service_role;
grant select on public.session_snapshots to authenticated, service_role;
grant select (session_id, created_at, size_bytes, number, changed_parts, message_count, label) -- not who saved it
    on public.session_snapshots to anon;
create policy "Whoever reads a session reads its snapshots"
    on public.session_snapshots for select to anon, authenticated
    -- a scalar sub-select, not exists() or in(): one index probe a row, never a hash of all readable sessions
    using ((select true from public.free_agent_sessions s where s.id = session_snapshots.session_id));

alter table asyouwere.parts enable row level security;
grant select on asyouwere.parts, asyouwere.live_parts to anon, authenticated, service_role;
create policy "Whoever reads a session reads its parts"
    on asyouwere.parts for select to authenticated
    using ((select true from public.free_agent_sessions s where s.internal_id = parts.session));
create policy "Everybody reads the parts of public sessions"
    on asyouwere.parts for select to anon using (asyouwere.is_public(session));

alter table asyouwere.save_keys enable row level security; -- no policy: the functions only

-- The door of every function that reads or writes a session ------------------------------------------------
create function asyouwere.refuse_access(p_session_id uuid, p_need text) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions;
    v_role text;
begin
    select * into v_session from public.free_agent_sessions s where s.id = p_session_id;
    if found then
        v_role := asyouwere.role_of(v_session.id, v_session.user_id, v_session.visibility);
    else
        -- Of somebody else's session the role has been asked for twice by now, of none never: take as long
        -- over it, or a thousand tries would tell the two apart.
        perform asyouwere.role_of(p_session_id, p_session_id, 'private');
        perform asyouwere.role_of(p_session_id, p_session_id, 'private');
    end if;
    -- Whoever may read it already knows that it exists; to all others no session, a deleted one and
    -- somebody else's are the same.
    if v_role is not null then
        perform asyouwere.fail('forbidden',
            case p_need when 'owner' then 'Only the owner may do this.'
            else 'You may read this session, not change it. Ask its owner to make you an editor.' end);
    end if;
    perform asyouwere.fail('session_not_found');
end;
$$;
comment on function asyouwere.refuse_access is
    'Raises forbidden for readers, session_not_found for strangers.';
revoke execute on function asyouwere.refuse_access from public;

create function asyouwere.session_to_read(p_session_id uuid) returns public.free_agent_sessions
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions;
begin
    -- definer: access is checked here once instead of by the policies for every part
    select * into v_session from public.free_agent_sessions s
    where s.id = p_session_id and asyouwere.role_of(s.id, s.user_id, s.visibility) is not null;
    if not found then
        perform asyouwere.refuse_access(p_session_id, 'viewer');
    end if;
    return v_session;
end;
$$;
comment on function asyouwere.session_to_read is
    'The session''s row if the caller may read it. Raises session_not_found.';
revoke execute on function asyouwere.session_to_read from public;

create function asyouwere.session_to_write(p_session_id uuid, p_need text default 'editor')
returns public.free_agent_sessions
language plpgsql volatile
as $$
declare
    v_session public.free_agent_sessions;
begin
    -- Run by definers only; no SET clause, see 09_saving.sql. A statement of its own: what runs after waiting
    -- for this lock sees what the one before committed. The role is part of the condition, so nobody locks a
    -- session that is not theirs to write.
    select * into v_session from public.free_agent_sessions s
    where s.id = p_session_id
        and asyouwere.role_of(s.id, s.user_id, s.visibility) = any (
            case p_need when 'owner' then array['owner'] else array['owner', 'editor'] end)
    for no key update;
    if not found then
        perform asyouwere.refuse_access(p_session_id, p_need);
    end if;
    return v_session;
end;
$$;
comment on function asyouwere.session_to_write is
    'The session''s row, locked till the end of the transaction, if the caller may save into it (editor) or'
    ' owns it. Raises session_not_found, forbidden.';
revoke execute on function asyouwere.session_to_write from public;

-- 05_addresses.sql

-- Addresses: JSON Pointers (RFC 6901) as people write them, and paths as parts keep them.
--   pointer  /memory/a~1b        path  /memory/a~1b/
-- A path's keys are written as inside a JSON string and it ends in "/", so that (1) byte order is depth-first
-- order, (2) everything at and under it is the range [path, path_end(path)), (3) NUL and lone surrogates,
-- which text can't hold, are plain letters, and (4) it can be put between quotes as it is. Helpers that run
-- once for each part have no SET clause, so that the planner can inline them (it does not if they are strict
-- and hold a case, either); their bodies name built-in functions only.
-- Breaks running code: no.

create function asyouwere.path_key(p_key text) returns text
language sql immutable parallel safe
return case when p_key ~ '[~/"\\\x01-\x1f]'
    then replace(replace(substr(to_json(p_key)::text, 2, length(to_json(p_key)::text) - 2),
        '~', '~0'), '/', '~1')
    else p_key end;
comment on function asyouwere.path_key is
    'A key as it stands in a path: escaped as in a JSON string, then as in a pointer.';
revoke execute on function asyouwere.path_key from public;

create function asyouwere.is_path(p_path text) returns boolean
language sql immutable strict parallel safe
-- one spelling for each key: two of them would be two members with one name
return p_path ~ ('^/(?:(?:[^"\\~/\x01-\x1f]|~[01]|\\["\\bfnrt]|\\u00(?:0[0-7bef]|1[0-9a-f])'
    '|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])|\\ud[c-f][0-9a-f]{2})*/)*$');
comment on function asyouwere.is_path is
    'Whether a text is a path; one that is not could break the JSON it is put into.';
revoke execute on function asyouwere.is_path from public;

create function asyouwere.path_end(p_path text) returns text
language sql immutable strict parallel safe
return left(p_path, -1) || '0'; -- "0" is the byte after "/"
comment on function asyouwere.path_end is 'The first path after everything under this one.';
revoke execute on function asyouwere.path_end from public;

create function asyouwere.path_depth(p_path text) returns int
language sql immutable strict parallel safe
return length(p_path) - length(replace(p_path, '/', '')) - 1;
comment on function asyouwere.path_depth is 'How many keys a path has; 0 for the root, "/".';
revoke execute on function asyouwere.path_depth from public;

create function asyouwere.path_parent(p_path text) returns text
language sql immutable strict parallel safe
return left(p_path, -1 - length(split_part(p_path, '/', -2)));
comment on function asyouwere.path_parent is 'The path of the container that holds this member.';
revoke execute on function asyouwere.path_parent from public;

create function asyouwere.path_ancestors(p_path text) returns text[]
language sql immutable parallel safe
return case asyouwere.path_depth(p_path)
    when 0 then '{}'
    when 1 then array[p_path]
    when 2 then array['/' || split_part(p_path, '/', 2) || '/', p_path]
    else array['/' || split_part(p_path, '/', 2) || '/',
        '/' || split_part(p_path, '/', 2) || '/' || split_part(p_path, '/', 3) || '/',
        '/' || split_part(p_path, '/', 2) || '/' || split_part(p_path, '/', 3)
            || '/' || split_part(p_path, '/', 4) || '/']
end;
comment on function asyouwere.path_ancestors is
    'The members on the way to a path, itself included, down to depth 3, where parts end.';
revoke execute on function asyouwere.path_ancestors from public;

create function asyouwere.may_be_made(p_path text, p_missing text) returns boolean
language sql immutable parallel safe
return p_missing is not null and substr(p_path, length(p_missing) + 1) !~ '(?:^|/)(?:0|[1-9][0-9]{0,8})/';
comment on function asyouwere.may_be_made is
    'Whether the objects on the way to a path are made, the first that is missing being given: not where a '
    'number comes further on, which could be an item of a list.';
revoke execute on function asyouwere.may_be_made from public;

create function asyouwere.path_json_key(p_path text) returns text
language sql immutable parallel safe
return case when position('~' in p_path) = 0 then '"' || split_part(p_path, '/', -2) || '"'
    else '"' || replace(replace(split_part(p_path, '/', -2), '~1', '/'), '~0', '~') || '"' end;
comment on function asyouwere.path_json_key is 'The last key of a path as a JSON string.';
revoke execute on function asyouwere.path_json_key from public;

create function asyouwere.pointer_json(p_path text, p_item int) returns text
language sql immutable parallel safe
return '"' || left(p_path, -1) || case when p_item >= 0 then '/' || p_item else '' end || '"';
comment on function asyouwere.pointer_json is 'A part''s address as a JSON string holding a pointer.';
revoke execute on function asyouwere.pointer_json from public;

create function asyouwere.address_detail(p_address_json text) returns text
language sql immutable parallel safe
-- cut before the first escape, so that none is cut in two: it is only shown
return case when octet_length(p_address_json) <= 2001 then format('{"address": %s}', p_address_json)
    else format('{"address": "%s …"}', split_part(substr(p_address_json, 2, 200), '\', 1)) end;
comment on function asyouwere.address_detail is
    'What an error tells of an address, given as a JSON string: itself, or how it begins if it is '
    'longer than any may be.';
revoke execute on function asyouwere.address_detail from public;

create function asyouwere.path_of_pointer(p_pointer text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v_path text;
begin
    if p_pointer <> '' and left(p_pointer, 1) <> '/' or p_pointer ~ '~(?![01])' then
        perform asyouwere.fail('invalid_address',
            'An address is a JSON Pointer: it starts with "/", and "~" is written "~0", "/" in a key "~1".',
            asyouwere.address_detail(to_json(p_pointer)::text));
    end if;
    if p_pointer ~ '["\\\x01-\x1f]' then
        v_path := substr(to_json(p_pointer)::text, 2, length(to_json(p_pointer)::text) - 2) || '/';
    else
        v_path := p_pointer || '/';
    end if;
    if octet_length(v_path) > 2000 then
        perform asyouwere.fail('address_too_long',
            p_detail => asyouwere.address_detail(to_json(p_pointer)::text));
    end if;
    return v_path;
end;
$$;
comment on function asyouwere.path_of_pointer is
    'The path of a JSON Pointer. Raises invalid_address, address_too_long.';
revoke execute on function asyouwere.path_of_pointer from public;

create function asyouwere.readable_json(p_body text) returns json
language sql immutable parallel safe
-- Postgres can hold JSON text with \u0000 or a lone surrogate but not look inside it (->> fails). Replace
-- them by U+FFFD where, and only where, somebody wants to look. Escaped backslashes go first (JSON text holds
-- no control characters that could be in their place), so that each backslash that is left begins an escape;
-- then the pairs of surrogates.
return case when p_body !~ '\\u(?:0000|[dD][89a-fA-F])' then p_body::json
    else replace(replace(
        regexp_replace(
            regexp_replace(replace(p_body, '\\', E'\x01'),
                '\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)', E'\x02u\\1\x02u\\2', 'g'),
            '\\u(?:0000|[dD][89a-fA-F]..)', U&'\FFFD', 'g'),
        E'\x02', '\'), E'\x01', '\\')::json
    end;
comment on function asyouwere.readable_json is
    'A body one can look into: NUL and lone surrogates shown as U+FFFD.';
revoke execute on function asyouwere.readable_json from public;
grant execute on function asyouwere.readable_json to anon, authenticated, service_role;

create function asyouwere.json_head(p_body text, p_characters int) returns json
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text;
    v_bare text;
    v_open text;
    v_inside boolean;
    v_is_key boolean;
begin
    if octet_length(p_body) <= p_characters then
        return asyouwere.readable_json(p_body);
    end if;
    -- The beginning of a JSON text, closed so that it is one: escaped backslashes out of the way as in
    -- readable_json, no half escape at the end, and of what is in strings nothing left to mislead.
    v_text := regexp_replace(replace(left(p_body, p_characters), '\\', E'\x01'),
        '\\(?:u[0-9a-fA-F]{0,3})?$', '');
    v_bare := regexp_replace(v_text, '"(?:[^"\\]|\\.)*"', E'\x02', 'g');
    v_inside := strpos(v_bare, '"') > 0;
    if v_inside then
        v_bare := regexp_replace(v_bare, '\s*".*$', '');
    else
        v_bare := regexp_replace(v_bare, E'[^][{}\x02",:]+$', '');
        v_text := regexp_replace(v_text, '[^][{}",:]+$', '');
    end if;
    v_open := regexp_replace(v_bare, '[^][{}]+', '', 'g');
    while v_open ~ '\{\}|\[\]' loop
        v_open := replace(replace(v_open, '{}', ''), '[]', '');
    end loop;
    v_is_key := right(v_open, 1) = '{'
        and regexp_replace(v_bare, E'\\s*\x02$', '') ~ '[{,]\s*$' and (v_inside or v_bare ~ E'\x02$');
    if v_inside and v_is_key then
        v_text := regexp_replace(v_text, '[\s,]*"(?:[^"\\]|\\.)*$', '');
    elsif v_inside then
        v_text := v_text || '"';
    elsif v_is_key then
        v_text := v_text || ':null';
    elsif v_bare ~ ':$' then
        v_text := v_text || 'null';
    else
        v_text := regexp_replace(v_text, '[\s,]+$', '');
    end if;
    v_text := replace(v_text || reverse(translate(v_open, '{[', '}]')), E'\x01', '\\');
    return asyouwere.readable_json(coalesce(nullif(v_text, ''), 'null')); -- nothing is left of half a number
end;
$$;
comment on function asyouwere.json_head is
    'A body one can look into; of one that has more bytes than that, as many characters, closed so that'
    ' they are JSON.';
revoke execute on function asyouwere.json_head from public;
grant execute on function asyouwere.json_head to anon, authenticated, service_role;

do $$
begin
    -- IS JSON reads a text without failing, from Postgres 16 on. On 15 only a cast can tell.
    if current_setting('server_version_num')::int >= 160000 then
        execute $f$
            create function asyouwere.is_json(p_text text) returns boolean
            language sql immutable parallel safe return p_text is not null and p_text is json
        $f$;
    else
        execute $f$
            create function asyouwere.is_json(p_text text) returns boolean
            language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $b$
            begin
                return p_text is not null and json_typeof(p_text::json) is not null;
            exception when invalid_text_representation then
                return false;
            end $b$
        $f$;
    end if;
end;
$$;
comment on function asyouwere.is_json is 'Whether a text is JSON; null is not.';
revoke execute on function asyouwere.is_json from public;

-- 06_opening.sql

-- Opening: how a JSON value becomes parts, and how what a caller sends becomes change rows.
-- The rule: objects are opened down to depth 3, lists met on the way are opened too, their items kept whole.
--
-- Change rows are four arrays side by side:
--   op             what
--   set            put this body at this address, in place of whatever is at and under it
--   in             a part inside the value of a set or add row before it
--   remove         take away what is at and under this address
--   append         put this body after the list's last item; makes the list where nothing is
--   put            like set, but this one part only   (made by merging, refused from callers)
--   drop           like remove, but this one part only (made by merging, refused from callers)
-- and the conditions, of which 09_conditions.sql makes these:
--   add            like set, where nothing is; else what is there stays
--   expect         refuse all if anything else is at this address
--   expect_in      a part inside the value of an expect row before it
--   expect_absent  refuse all if anything is at this address
--   by             the member (body: its name, as JSON) that the list's once rows are told apart by
--   once           like append, if no item there has the same
-- The functions open JSON themselves and send the arrays, which is quicker and keeps every character; SQL
-- callers send json, which is opened here. Both end in the same rows. Postgres can't look inside JSON that
-- has \u0000 or half a character; for such the escapes are masked while it looks.
-- Breaks running code: no.

create type asyouwere.change_rows as (ops text[], paths text[], items int[], bodies text[]);
comment on type asyouwere.change_rows is 'What a save is to do: see 06_opening.sql.';

create function asyouwere.refuse_count(p_count int) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    -- The functions have the same number, so that no list of millions of items gets as far as here. A body of
    -- 10 MB is as quick to write with five million items as with ten thousand, and costs hundreds of times as
    -- much.
    if p_count > 125000 then
        perform asyouwere.fail('too_large', 'One save may write 125,000 parts. Send them in several saves.',
            '{"max_parts": 125000}');
    end if;
end;
$$;
comment on function asyouwere.refuse_count is 'Raises too_large for more change rows than one save may have.';
revoke execute on function asyouwere.refuse_count from public;

create function asyouwere.open_value(p_path text, p_depth int, p_value json)
returns table (path text, item int, body text)
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    with recursive opened (path, depth, item, value, type) as (
        select p_path, p_depth, -1, p_value, json_typeof(p_value)
        union all
        select inside.path, inside.depth, inside.item, inside.value, json_typeof(inside.value)
        from opened o cross join lateral (
            select o.path || asyouwere.path_key(m.key) || '/' as path, o.depth + 1 as depth, -1 as item,
                m.value
            from json_each(case o.type when 'object' then o.value else '{}' end) m
            union all
            select o.path, o.depth, (e.position - 1)::int, e.value
            from json_array_elements(case o.type when 'array' then o.value else '[]' end)
                with ordinality as e (value, position)
        ) inside
        where o.item = -1 and o.depth < 3 and o.type in ('object', 'array')
    )
    select o.path, o.item,
        case when o.item = -1 and o.depth < 3 and o.type = 'object' then '{}'
             when o.item = -1 and o.depth < 3 and o.type = 'array' then '[]'
             else o.value::text end
    from opened o
$$;
comment on function asyouwere.open_value is
    'The parts of a value that stands at a path of that depth; the value''s own part comes first. A key that '
    'stands twice makes two parts: see refuse_twice().';
revoke execute on function asyouwere.open_value from public;

create function asyouwere.masked_escapes(p_body text) returns text
language sql immutable strict parallel safe
-- Postgres reads JSON with \u0000 or half a character but can't look into it. So these are written as letters
-- that it can, \u0001 and one more; and so is the letter \u0001 itself. Pairs of backslashes are put aside
-- first, in place of them a control character, which no JSON has: every backslash that is left begins an
-- escape.
return replace(replace(replace(replace(replace(p_body, '\\', E'\x01'),
    '\u0001', '\u0001\u0002'), '\u0000', '\u0001\u0003'), '\ud', '\u0001\u0004d'), E'\x01', '\\');
comment on function asyouwere.masked_escapes is
    'A body that json functions can look into; unmasked_escapes() is the way back.';
revoke execute on function asyouwere.masked_escapes from public;

create function asyouwere.unmasked_escapes(p_text text) returns text
language sql immutable strict parallel safe
return replace(replace(replace(replace(replace(p_text, '\\', E'\x01'),
    '\u0001\u0004', '\u'), '\u0001\u0003', '\u0000'), '\u0001\u0002', '\u0001'), E'\x01', '\\');
comment on function asyouwere.unmasked_escapes is
    'The way back from masked_escapes(), for bodies and for keys as they stand in a path.';
revoke execute on function asyouwere.unmasked_escapes from public;

create function asyouwere.masked_json(p_value json) returns json
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    -- The same for JSON as people write it, where two escapes may be one character, spelled in any case: only
    -- \u0000 and halves without their other half are masked, so that every key keeps its one spelling.
    select replace(regexp_replace(regexp_replace(
        replace(replace(small.text, '\u0001', '\u0001\u0002'), '\u0000', '\u0001\u0003'),
        '\\u(d[89ab][0-9a-f]{2})(?!\\ud[c-f])', '\\u0001\\u0004\1', 'g'),
        '(?<!\\ud[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})', '\\u0001\\u0004\1', 'g'), E'\x01', '\\')::json
    from (
        select case when aside.text ~ '\\u(?:D|d[0-9a-f]{0,2}[A-F])' then (
                select string_agg(m[1] || lower(m[2]), '' order by position)
                from regexp_matches(aside.text, '(.*?)(\\u[dD][0-9a-fA-F]{3}|$)', 'g')
                    with ordinality as r (m, position)
            ) else aside.text end as text
        from (select replace(p_value::text, '\\', E'\x01') as text) aside
    ) small
$$;
comment on function asyouwere.masked_json is
    'JSON from a caller that json functions can look into; unmasked_rows() is the way back.';
revoke execute on function asyouwere.masked_json from public;

create function asyouwere.unmasked_rows(p_rows asyouwere.change_rows) returns asyouwere.change_rows
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select row(p_rows.ops,
        array(select asyouwere.unmasked_escapes(u.path)
            from unnest(p_rows.paths) with ordinality u (path, position) order by u.position),
        p_rows.items,
        array(select asyouwere.unmasked_escapes(u.body)
            from unnest(p_rows.bodies) with ordinality u (body, position) order by u.position)
    )::asyouwere.change_rows
$$;
comment on function asyouwere.unmasked_rows is 'Change rows that were opened from masked_json().';
revoke execute on function asyouwere.unmasked_rows from public;

create function asyouwere.json_inside(p_text json) returns json
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_inside json;
begin
    v_inside := p_text #>> '{}';
    return v_inside;
exception
    when invalid_text_representation or untranslatable_character then
        perform asyouwere.fail('invalid_json', 'The text is not JSON.');
        return null;
    when statement_too_complex then
        perform asyouwere.fail('nesting_too_deep');
        return null;
end;
$$;
comment on function asyouwere.json_inside is
    'The JSON that a JSON string says: what PostgREST reads no JSON with, \u0000 or half a character, comes to us '
    'in a text. Raises invalid_json, nesting_too_deep.';
revoke execute on function asyouwere.json_inside from public;

create function asyouwere.open_state(p_state json) returns asyouwere.change_rows
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_rows asyouwere.change_rows;
begin
    if json_typeof(p_state) = 'string' then
        return asyouwere.open_state(asyouwere.json_inside(p_state));
    elsif json_typeof(p_state) is distinct from 'object' then
        perform asyouwere.fail('invalid_state');
    end if;
    select array_agg(case when o.path = '/' then 'set' else 'in' end),
        array_agg(o.path), array_agg(o.item), array_agg(o.body)
    into v_rows from (select * from asyouwere.open_value('/', 0, p_state) limit 125001) o;
    perform asyouwere.refuse_count(cardinality(v_rows.ops));
    return v_rows;
exception when untranslatable_character or invalid_text_representation then
    -- \u0000 or half a character: only who sends them pays for them
    if octet_length(p_state::text) > 65536 then
        perform asyouwere.refuse_second_large(); -- four seconds for each MB of them
    end if;
    if asyouwere.masked_json(p_state)::text = p_state::text then
        perform asyouwere.fail('not_representable', 'Postgres can''t read this JSON.');
    end if;
    return asyouwere.unmasked_rows(asyouwere.open_state(asyouwere.masked_json(p_state)));
end;
$$;
comment on function asyouwere.open_state is
    'A whole state as change rows. Raises invalid_state, not_representable, too_large.';
revoke execute on function asyouwere.open_state from public;

create function asyouwere.op_inside(p_op text) returns text
language sql immutable parallel safe
return case p_op when 'expect' then 'expect_in' else 'in' end;
comment on function asyouwere.op_inside is 'The op of the rows inside the value of a set, add or expect row.';
revoke execute on function asyouwere.op_inside from public;

create function asyouwere.is_index(p_key text) returns boolean
language sql immutable strict parallel safe
return p_key ~ '^(0|[1-9][0-9]{0,8})$';
comment on function asyouwere.is_index is 'Whether a key may be a position in a list.';
revoke execute on function asyouwere.is_index from public;

-- Changes taken apart; null is a member that was left out.
create type asyouwere.changes as (
    set json, append json, remove json, add json, append_once json, expect json, expect_absent json
);
comment on type asyouwere.changes is 'The members of changes as callers send them.';

create function asyouwere.are_strings(p_list json) returns boolean
language sql immutable parallel safe
return not exists (select from json_array_elements(p_list) e where json_typeof(e) <> 'string');
comment on function asyouwere.are_strings is 'Whether a JSON list has strings only.';
revoke execute on function asyouwere.are_strings from public;

create function asyouwere.changes_members(p_changes json) returns asyouwere.changes
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_changes asyouwere.changes;
    v_member record;
    v_well_formed boolean := json_typeof(p_changes) is not distinct from 'object';
begin
    -- one pass: each look at a member of json reads all of it
    for v_member in
        select e.key, e.value, json_typeof(e.value) as type
        from json_each(case when v_well_formed then p_changes else '{}' end) e
    loop
        case v_member.key
            when 'set' then
                v_well_formed := v_well_formed and v_changes.set is null and v_member.type = 'object';
                v_changes.set := v_member.value;
            when 'append' then
                v_well_formed := v_well_formed and v_changes.append is null and v_member.type = 'object';
                v_changes.append := v_member.value;
            when 'remove' then
                v_well_formed := v_well_formed and v_changes.remove is null and v_member.type = 'array';
                v_changes.remove := v_member.value;
            when 'add' then
                v_well_formed := v_well_formed and v_changes.add is null and v_member.type = 'object';
                v_changes.add := v_member.value;
            when 'append_once' then
                v_well_formed := v_well_formed and v_changes.append_once is null and v_member.type = 'object';
                v_changes.append_once := v_member.value;
            when 'expect' then
                v_well_formed := v_well_formed and v_changes.expect is null and v_member.type = 'object';
                v_changes.expect := v_member.value;
            when 'expect_absent' then
                v_well_formed := v_well_formed and v_changes.expect_absent is null and v_member.type = 'array';
                v_changes.expect_absent := v_member.value;
            else
                v_well_formed := false;
        end case;
    end loop;
    if not v_well_formed
        or v_changes.append is not null and exists (
            select from json_each(v_changes.append) a where json_typeof(a.value) <> 'array')
        or v_changes.remove is not null and not asyouwere.are_strings(v_changes.remove)
        or v_changes.expect_absent is not null and not asyouwere.are_strings(v_changes.expect_absent)
        or v_changes.append_once is not null and exists (
            select from json_each(v_changes.append_once) a
            where case json_typeof(a.value) when 'object' then
                json_typeof(a.value -> 'by') is distinct from 'string'
                or json_typeof(a.value -> 'items') is distinct from 'array'
                or (select count(*) from json_object_keys(a.value)) <> 2 else true end)
    then
        perform asyouwere.fail('invalid_changes',
            'Changes are {"set": {pointer: value}, "append": {pointer: [items]}, "remove": [pointer], '
            '"add": {pointer: value}, "append_once": {pointer: {"by": name, "items": [items]}}, '
            '"expect": {pointer: value}, "expect_absent": [pointer]}, each optional, none twice.');
    end if;
    return v_changes;
end;
$$;
comment on function asyouwere.changes_members is
    'Changes taken apart; addresses are not looked at. Raises invalid_changes.';
revoke execute on function asyouwere.changes_members from public;

create function asyouwere.refuse_root(p_changes asyouwere.changes) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    if json_typeof(p_changes.set -> '') <> 'object' or json_typeof(p_changes.expect -> '') <> 'object' then
        perform asyouwere.fail('invalid_state');
    elsif p_changes.remove::jsonb ? '' then
        perform asyouwere.fail('invalid_address', 'The state itself can''t be removed.', '{"address": ""}');
    elsif (p_changes.append -> '') is not null or (p_changes.append_once -> '') is not null then
        perform asyouwere.fail('not_a_list', 'The state is no list.', '{"address": ""}');
    elsif (p_changes.add -> '') is not null or p_changes.expect_absent::jsonb ? '' then
        perform asyouwere.fail('invalid_address', 'The state itself is always there.', '{"address": ""}');
    end if;
end;
$$;
comment on function asyouwere.refuse_root is
    'Raises invalid_state, invalid_address, not_a_list for what can''t be done to the state as a whole.';
revoke execute on function asyouwere.refuse_root from public;

create function asyouwere.open_changes(p_changes json) returns asyouwere.change_rows
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_changes asyouwere.changes;
    v_rows asyouwere.change_rows;
    v_pointer text; -- that stands twice
begin
    if json_typeof(p_changes) = 'string' then
        return asyouwere.open_changes(asyouwere.json_inside(p_changes));
    end if;
    v_changes := asyouwere.changes_members(p_changes);
    if strpos(p_changes::text, '""') > 0 then -- the pointer of the state
        perform asyouwere.refuse_root(v_changes);
    end if;
    if v_changes.append is not null then
        -- which refuse_overlaps() can't see: items appended to one list are rows of one address
        select e.key into v_pointer from (
            select k.key from json_object_keys(v_changes.append) k (key)
            union all
            select k.key from json_object_keys(v_changes.set) k (key)
        ) e
        group by e.key having count(*) > 1 limit 1;
    end if;
    if v_pointer is not null then
        perform asyouwere.fail('overlapping_addresses',
            p_detail => asyouwere.address_detail(asyouwere.pointer_json(
                asyouwere.path_of_pointer(v_pointer), -1)));
    end if;
    with asked as (
        select 'remove' as op, asyouwere.path_of_pointer(r) as path, null::json as value
        from json_array_elements_text(v_changes.remove) r
        union all
        select 'expect_absent', asyouwere.path_of_pointer(r), null
        from json_array_elements_text(v_changes.expect_absent) r
        union all
        select m.op, asyouwere.path_of_pointer(m.key), m.value
        from (
            select 'set' as op, s.key, s.value from json_each(v_changes.set) s
            union all
            select 'add', a.key, a.value from json_each(v_changes.add) a
            union all
            select 'expect', e.key, e.value from json_each(v_changes.expect) e
            union all
            select 'by', a.key, a.value -> 'by' from json_each(v_changes.append_once) a
        ) m
        union all
        select 'once', asyouwere.path_of_pointer(a.key), i.value
        from json_each(v_changes.append_once) a, json_array_elements(a.value -> 'items') i
        union all
        select 'append', asyouwere.path_of_pointer(a.key), i.value
        from json_each(v_changes.append) a, json_array_elements(a.value) i
    ), opened as (
        select a.op, a.path, null::int as item, a.value::text as body
        from asked a
        where a.op not in ('set', 'add', 'expect') or asyouwere.is_index(split_part(a.path, '/', -2))
        union all
        -- whether /a/12 is an item or a member only the stored state can tell: resolve_addresses() opens
        -- those
        select case when o.path = a.path and o.item = -1 then a.op else asyouwere.op_inside(a.op) end, o.path,
            case when o.path = a.path and o.item = -1 then null else o.item end, o.body
        from asked a, asyouwere.open_value(a.path, asyouwere.path_depth(a.path), a.value) o
        where a.op in ('set', 'add', 'expect') and not asyouwere.is_index(split_part(a.path, '/', -2))
    )
    select array_agg(op), array_agg(path), array_agg(item), array_agg(body) into v_rows
    from (select * from opened limit 125001) o;
    perform asyouwere.refuse_count(cardinality(v_rows.ops));
    return v_rows;
exception when untranslatable_character or invalid_text_representation then
    if octet_length(p_changes::text) > 65536 then
        perform asyouwere.refuse_second_large(); -- four seconds for each MB of them
    end if;
    if asyouwere.masked_json(p_changes)::text = p_changes::text then
        perform asyouwere.fail('not_representable', 'Postgres can''t read this JSON.');
    end if;
    return asyouwere.unmasked_rows(asyouwere.open_changes(asyouwere.masked_json(p_changes)));
end;
$$;
comment on function asyouwere.open_changes is
    'Changes as a caller sends them, as change rows. Raises invalid_changes, invalid_address, '
    'not_representable, too_large.';
revoke execute on function asyouwere.open_changes from public;

create function asyouwere.open_body(p_path text, p_body text)
returns table (path text, item int, body text)
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_body ~ '\\u(?:0000|d)' then
        return query
        select p_path || asyouwere.unmasked_escapes(substr(o.path, length(p_path) + 1)), o.item,
            asyouwere.unmasked_escapes(o.body)
        from asyouwere.open_value(
            p_path, asyouwere.path_depth(p_path), asyouwere.masked_escapes(p_body)::json) o;
    else
        return query select * from asyouwere.open_value(p_path, asyouwere.path_depth(p_path), p_body::json);
    end if;
end;
$$;
comment on function asyouwere.open_body is
    'The parts of a body that was sent whole and turns out to be a member: open_value() for any JSON.';
revoke execute on function asyouwere.open_body from public;

create function asyouwere.resolve_addresses(p_session bigint, p_base int, p_rows asyouwere.change_rows)
returns asyouwere.change_rows
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_rows asyouwere.change_rows;
begin
    with asked as materialized (
        select g.*, case when g.op in ('set', 'remove', 'add', 'expect', 'expect_absent') and g.item is null
            and asyouwere.is_index(split_part(g.path, '/', -2)) then asyouwere.path_parent(g.path) end as above
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
            as g (op, path, item, body, position)
    ), above as materialized (
        select distinct a.above as path from asked a where a.above is not null
    ), lists as materialized (
        select p.path from asyouwere.parts_of_places(
            p_session, p_base, array(select a.path from above a), array(select -1 from above)) p
        where p.kind = 'l'
    ), given as (
        select a.*, a.above is not null and a.above in (select l.path from lists l) as is_item from asked a
    ), resolved as (
        select g.position, 0::bigint as inner_position, g.op,
            case when g.is_item then asyouwere.path_parent(g.path) else g.path end as path,
            case when g.is_item then split_part(g.path, '/', -2)::int
                 when g.op in ('append', 'by', 'once') then null
                 else coalesce(g.item, -1) end as item,
            g.body
        from given g
        where g.is_item or g.op not in ('set', 'add', 'expect') or g.item is not null
            or left(g.body, 1) not in ('{', '[') or asyouwere.path_depth(g.path) >= 3
        union all
        select g.position, o.inner_position,
            case o.inner_position when 1 then g.op else asyouwere.op_inside(g.op) end, o.path, o.item, o.body
        from given g,
            asyouwere.open_body(g.path, g.body) with ordinality as o (path, item, body, inner_position)
        where not g.is_item and g.op in ('set', 'add', 'expect') and g.item is null
            and left(g.body, 1) in ('{', '[') and asyouwere.path_depth(g.path) < 3
    )
    select array_agg(r.op order by r.position, r.inner_position),
        array_agg(r.path order by r.position, r.inner_position),
        array_agg(r.item order by r.position, r.inner_position),
        array_agg(r.body order by r.position, r.inner_position)
    into v_rows from (select * from resolved limit 125001) r;
    perform asyouwere.refuse_count(cardinality(v_rows.ops));
    perform asyouwere.refuse_twice(v_rows);
    return v_rows;
end;
$$;
comment on function asyouwere.resolve_addresses is
    'Change rows whose addresses end in a number, made sure of: an item if the parent is a list at the '
    'base, else a member.';
revoke execute on function asyouwere.resolve_addresses from public;

-- 07_merging.sql

-- Merging: a save whose base is not the latest. Decided here and nowhere else.
--
-- mine:   what the caller's copy changed since the base, address by address
-- theirs: what the stored state changed since the base, address by address
-- An address that both changed to the same is left alone. Otherwise a change of mine and a change of theirs
-- conflict when
--   1. they are at the same address, or
--   2. one is at a member that the other lies in (a container made, removed or replaced under a change), or
--   3. mine cuts items off the end of a list that theirs made longer.
-- Two who both make an object, or a list, where none was at the base agree on it: what they put into it is
-- merged as if it had been there, empty. Items of mine past the end that a list had at the base are appends.
-- They never conflict while the list lives, however short it is by now: they go after what is there. On any
-- conflict nothing is written and the addresses are named. Breaks running code: no.

create type asyouwere.part_change as (path text, item int, old text, new text);
comment on type asyouwere.part_change is
    'One address whose body was changed; old or new is null where there was or is none.';

create function asyouwere.each_change(p_changes asyouwere.part_change[]) returns setof asyouwere.part_change
language sql immutable parallel safe rows 2000 set search_path = pg_catalog, pg_temp
-- unnest() of a parameter is taken for ten rows, and ten by ten are tried each with each. Not so thousands.
as $$ select c.* from unnest(p_changes) c $$;
comment on function asyouwere.each_change is 'Changes as rows, many of them for the planner.';
revoke execute on function asyouwere.each_change from public;

create function asyouwere.changes_of_others(p_session bigint, p_base int)
returns table (path text, item int, old text, new text)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    select coalesce(b.path, l.path), coalesce(b.item, l.item), b.body, l.body
    from asyouwere.parts_ended(p_session, p_base) b
    full join asyouwere.parts_begun(p_session, p_base) l on l.path = b.path and l.item = b.item
    where b.body is distinct from l.body
$$;
comment on function asyouwere.changes_of_others is
    'Addresses whose body now differs from the one at the base; old or new is null where there was or '
    'is none.';
revoke execute on function asyouwere.changes_of_others from public;

create function asyouwere.parts_of_places(p_session bigint, p_base int, p_paths text[], p_items int[])
returns setof asyouwere.parts
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
    -- The alive by their index, one probe each; what has ended since in a hash ("is true", or the planner makes a loop
    -- of it). To ask parts_at() for each would read all that has ended for each: thousands by thousands.
    return query
    select a.*
    from (select distinct u.path, u.item from unnest(p_paths, p_items) u (path, item)) w
    cross join lateral (
        select * from asyouwere.live_parts p
        where p.session = p_session and p.path = w.path and p.item = w.item and p.since <= p_base
        offset 0
    ) a
    union all
    select * from asyouwere.parts_ended(p_session, p_base) e
    where ((e.path, e.item) in (select u.path, u.item from unnest(p_paths, p_items) u (path, item))) is true;
end;
$$;
comment on function asyouwere.parts_of_places is
    'What was at these places at a number (2147483646: the latest).';
revoke execute on function asyouwere.parts_of_places from public;

create function asyouwere.changes_of_caller(p_session bigint, p_base int, p_rows asyouwere.change_rows)
returns table (path text, item int, old text, new text)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    with given as materialized (
        select g.op, g.path, coalesce(g.item, -1) as item, g.body
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) as g (op, path, item, body)
        where g.op <> 'append'
    ), places as (
        -- each address as the range of what is at and under it; no path has a control character
        select g.path,
            case when g.item >= 0 then g.path || E'\x01' else asyouwere.path_end(g.path) end as path_end,
            g.item, case when g.item >= 0 then g.item else 999999999 end as last_item -- no index is larger
        from given g where g.op <> 'in'
    ), before as (
        -- What was there at the base: the alive that are old enough, a range of their index for each
        -- address, and what has ended since. Asking parts_at() would read the whole session.
        select alive.* from places l cross join lateral (
            select p.path, p.item, p.body from asyouwere.live_parts p
            where p.session = p_session and p.since <= p_base
                and p.path >= l.path and p.path < l.path_end and p.item between l.item and l.last_item
            offset 0
        ) alive
        union all
        select d.path, d.item, d.body from asyouwere.parts_ended(p_session, p_base) d
        -- hashed: thousands that have ended, tried with thousands that are wanted, would take minutes
        where (d.path, d.item) in (select l.path, l.item from places l)
            or exists (
                select from unnest(array_append(asyouwere.path_ancestors(d.path), '/')) a (above)
                where a.above in (select l.path from places l where l.item = -1))
    ), ways as materialized (
        select distinct a.path from given g
        cross join unnest(asyouwere.path_ancestors(asyouwere.path_parent(g.path))) a (path)
        where g.op = 'set' and g.item = -1 and asyouwere.path_depth(g.path) between 2 and 3
    ), standing as materialized (
        select p.path from asyouwere.parts_of_places(
            p_session, p_base, array(select w.path from ways w), array(select -1 from ways)) p
    ), wanted as (
        select g.path, g.item, g.body from given g where g.op in ('set', 'in') and g.path <> '/'
        union all
        -- and the objects on the way that were missing
        select distinct above.path, -1, '{}'
        from given g
        cross join lateral (
            select array_agg(a.path order by a.path collate "C") as missing
            from unnest(asyouwere.path_ancestors(asyouwere.path_parent(g.path))) a (path)
            where a.path not in (select s.path from standing s)
        ) way
        cross join unnest(way.missing) above (path)
        where g.op = 'set' and g.item = -1 and asyouwere.path_depth(g.path) between 2 and 3
            and asyouwere.may_be_made(g.path, way.missing[1])
    )
    select coalesce(b.path, w.path), coalesce(b.item, w.item), b.body, w.body
    from before b full join wanted w on w.path = b.path and w.item = b.item
    where b.body is distinct from w.body
$$;
comment on function asyouwere.changes_of_caller is
    'The same for what a caller wants, against the base. Appends are not in it.';
revoke execute on function asyouwere.changes_of_caller from public;

create function asyouwere.lists_in_common(
    p_session bigint, p_base int, p_mine asyouwere.part_change[], p_theirs asyouwere.part_change[]
) returns table (path text, length int)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    -- lists that stayed lists in the caller's copy and lost no item: one more than the last item that was
    -- there at the base, which is alive or has ended since
    select l.path, 1 + greatest(e.last_item, (
        select p.item from asyouwere.live_parts p
        where p.session = p_session and p.path = l.path and p.since <= p_base
        order by p.path desc, p.item desc limit 1))
    from (
        select m.path from asyouwere.each_change(p_mine) m where m.item >= 0
        except
        select m.path from asyouwere.each_change(p_mine) m where m.item = -1 or m.new is null
    ) l
    left join (
        select p.path, max(p.item) as last_item
        from asyouwere.parts_ended(p_session, p_base) p group by p.path
    ) e on e.path = l.path
    union all
    -- lists that both made
    select m.path, 0
    from asyouwere.each_change(p_mine) m
    join asyouwere.each_change(p_theirs) t on t.path = m.path and t.item = m.item
    where m.item = -1 and m.new = '[]' and t.new = '[]'
$$;
comment on function asyouwere.lists_in_common is
    'Lists into which the caller put items, and how long they were at the base: what lies further on is'
    ' appended.';
revoke execute on function asyouwere.lists_in_common from public;

create function asyouwere.refuse_gaps_of_caller(
    p_session bigint, p_base int, p_placed asyouwere.part_change[], p_appended asyouwere.part_change[]
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_path text;
    v_item int;
begin
    -- a list of the caller's with a hole, though with others' items there would be none now
    with lists as materialized (
        select c.path, min(c.item) as first, max(c.item) as last, count(*) as count
        from asyouwere.each_change(p_appended) c group by c.path
    ), before as materialized (
        select p.path, p.item from asyouwere.parts_of_places(p_session, p_base,
            array(select l.path from lists l where l.first > 0 order by l.path),
            array(select l.first - 1 from lists l where l.first > 0 order by l.path)) p
    )
    select a.path, a.last into v_path, v_item
    from lists a
    where a.last - a.first + 1 <> a.count
        or a.first > 0 and (a.path, a.first - 1) not in (select b.path, b.item from before b)
    order by a.path limit 1;
    if not found then
        -- taken from the middle, though others' cuts may leave no gap there now
        with cuts as materialized (
            select m.path, m.item from asyouwere.each_change(p_placed) m
            where m.item >= 0 and m.new is null
                and (m.path, m.item + 1) not in (
                    select n.path, n.item from asyouwere.each_change(p_placed) n where n.new is null)
        ), behind as materialized (
            select p.path, p.item from asyouwere.parts_of_places(p_session, p_base,
                array(select c.path from cuts c order by c.path, c.item),
                array(select c.item + 1 from cuts c order by c.path, c.item)) p
        )
        select c.path, c.item into v_path, v_item
        from cuts c where (c.path, c.item + 1) in (select b.path, b.item from behind b)
        order by c.path, c.item limit 1;
    end if;
    if found then
        perform asyouwere.fail('list_gap',
            p_detail => format('{"address": %s}', asyouwere.pointer_json(v_path, v_item)));
    end if;
end;
$$;
comment on function asyouwere.refuse_gaps_of_caller is
    'Raises list_gap for a list that the caller''s own changes leave with a hole.';
revoke execute on function asyouwere.refuse_gaps_of_caller from public;

create function asyouwere.clashes(
    p_mine asyouwere.part_change[], p_placed asyouwere.part_change[], p_theirs asyouwere.part_change[],
    p_appended_to text[]
) returns table (path text, item int)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    -- Equal keys all of them, so that thousands of changes on both sides are hashed and not tried each with
    -- each.
    with theirs as materialized (
        select t.path, t.item, t.old, t.new from asyouwere.each_change(p_theirs) t
    ), alone_mine as materialized (
        -- what the other side did not change to the same
        select m.path, m.item, m.new from asyouwere.each_change(p_placed) m
        left join theirs t on t.path = m.path and t.item = m.item
        where t.path is null or m.new is distinct from t.new
    ), alone_theirs as materialized (
        select t.path, t.item, t.old, t.new from theirs t
        left join asyouwere.each_change(p_placed) m on m.path = t.path and m.item = t.item
        where m.path is null or m.new is distinct from t.new
    ), clashes as (
        -- 1. at the same address
        select m.path, m.item from alone_mine m join alone_theirs t on t.path = m.path and t.item = m.item
        union
        -- 2. mine lies in a member of theirs, theirs in a member of mine
        select m.path, m.item
        from asyouwere.each_change(p_mine) m cross join unnest(asyouwere.path_ancestors(m.path)) above
        join alone_theirs t on t.path = above and t.item = -1
        where (m.path, m.item) <> (t.path, t.item)
        union
        select m.path, m.item
        from theirs t cross join unnest(asyouwere.path_ancestors(t.path)) above
        join alone_mine m on m.path = above and m.item = -1
        where (m.path, m.item) <> (t.path, t.item)
        union
        -- 3. mine cuts items off a list that theirs made longer, or changed behind the cut
        select m.path, m.item
        from alone_mine m
        join (select t.path, max(t.item) as last_item from theirs t where t.new is not null group by t.path) l
            on l.path = m.path and l.last_item > m.item
        where m.item >= 0 and m.new is null
        union
        -- appending to a list that was there and is gone or something else now
        select a.path, -1
        from unnest(p_appended_to) a (path) cross join unnest(asyouwere.path_ancestors(a.path)) above
        join theirs t on t.path = above and t.item = -1 and t.old is not null
    )
    select c.path, c.item from clashes c
$$;
comment on function asyouwere.clashes is
    'Changes of the caller''s that conflict with those of others, by the three rules at the head of this file.';
revoke execute on function asyouwere.clashes from public;

create function asyouwere.refuse_clashes(
    p_mine asyouwere.part_change[], p_placed asyouwere.part_change[], p_theirs asyouwere.part_change[],
    p_appended_to text[], p_latest int
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_count int;
    v_addresses text[];
begin
    with found as materialized (
        select c.path, c.item from asyouwere.clashes(p_mine, p_placed, p_theirs, p_appended_to) c
    )
    select (select count(*) from found),
        array(select asyouwere.pointer_json(c.path, c.item) from found c order by c.path, c.item limit 100)
    into v_count, v_addresses;
    if v_count > 0 then
        perform asyouwere.refuse_conflict(v_addresses, v_count, p_latest);
    end if;
end;
$$;
comment on function asyouwere.refuse_clashes is 'Raises conflict if anything clashes.';
revoke execute on function asyouwere.refuse_clashes from public;

create function asyouwere.merge_changes(
    p_session bigint, p_base int, p_latest int, p_rows asyouwere.change_rows
) returns asyouwere.change_rows
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_mine asyouwere.part_change[] := array(
        select c::asyouwere.part_change from asyouwere.changes_of_caller(p_session, p_base, p_rows) c);
    v_theirs asyouwere.part_change[] := array(
        select c::asyouwere.part_change from asyouwere.changes_of_others(p_session, p_base) c);
    v_placed asyouwere.part_change[];   -- mine, where it stands in the caller's copy
    v_appended asyouwere.part_change[]; -- mine, past the end of a list: stands wherever that is by now
    v_rows asyouwere.change_rows;
begin
    select array_agg(m order by m.path, m.item) filter (where m.item >= l.length is not true),
        array_agg(m order by m.path, m.item) filter (where m.item >= l.length)
    into v_placed, v_appended
    from asyouwere.each_change(v_mine) m
    left join asyouwere.lists_in_common(p_session, p_base, v_mine, v_theirs) l
        on l.path = m.path and m.item >= 0;

    perform asyouwere.refuse_clashes(v_mine, v_placed, v_theirs, array(
        select distinct u.path from unnest(p_rows.ops, p_rows.paths) u (op, path) where u.op = 'append'
    ), p_latest);
    perform asyouwere.refuse_gaps_of_caller(p_session, p_base, v_placed, v_appended);

    with merged as (
        select case when m.new is null then 'drop' else 'put' end as op, m.path, m.item, m.new as body,
            0::bigint as position, m.item as item_order
        from asyouwere.each_change(v_placed) m
        left join asyouwere.each_change(v_theirs) t on t.path = m.path and t.item = m.item
        where t.path is null or m.new is distinct from t.new
        union all
        select 'append', m.path, null, m.new, 0, m.item from asyouwere.each_change(v_appended) m
        union all
        select g.op, g.path, null, g.body, g.position, 0
        from unnest(p_rows.ops, p_rows.paths, p_rows.bodies) with ordinality as g (op, path, body, position)
        where g.op = 'append'
    )
    select array_agg(op order by position, path, item_order),
        array_agg(path order by position, path, item_order),
        array_agg(item order by position, path, item_order),
        array_agg(body order by position, path, item_order)
    into v_rows.ops, v_rows.paths, v_rows.items, v_rows.bodies
    from merged;
    return v_rows;
end;
$$;
comment on function asyouwere.merge_changes is
    'Change rows against an older base, as change rows against the latest (put, drop, append). Raises '
    'conflict, list_gap.';
revoke execute on function asyouwere.merge_changes from public;

create function asyouwere.refuse_conflict(p_addresses text[], p_count int, p_latest int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- Bounded, as it goes into the answer and into Postgres' log: 100 addresses, 4 kB of them, and how many
    -- there are.
    perform asyouwere.fail('conflict', p_detail => format('{"addresses": [%s], "count": %s, "latest": %s}', (
        select string_agg(a.address, ',' order by a.position) from (
            select u.address, u.position, sum(octet_length(u.address)) over (order by u.position) as bytes
            from unnest(p_addresses) with ordinality u (address, position) where u.position <= 100
        ) a
        where a.bytes <= 4096 or a.position = 1), least(p_count, 1000), p_latest));
end;
$$;
comment on function asyouwere.refuse_conflict is
    'Raises conflict. p_addresses: the first of them, as JSON strings; p_count: of all, told up to 1,000.';
revoke execute on function asyouwere.refuse_conflict from public;

create function asyouwere.refuse_any_change(p_session bigint, p_base int, p_latest int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_count int;
    v_addresses text[];
begin
    -- no more than a thousand are looked at: who is refused pays nothing, so it must cost little
    with changed as (
        select coalesce(b.path, e.path) as path, coalesce(b.item, e.item) as item
        from (select * from asyouwere.parts_begun(p_session, p_base) limit 1000) b
        full join (select * from asyouwere.parts_ended(p_session, p_base) limit 1000) e
            on e.path = b.path and e.item = b.item
        where b.body is distinct from e.body
    )
    select (select count(*) from changed),
        array(select asyouwere.pointer_json(c.path, c.item) from changed c order by c.path, c.item limit 100)
    into v_count, v_addresses;
    perform asyouwere.refuse_conflict(v_addresses, v_count, p_latest);
end;
$$;
comment on function asyouwere.refuse_any_change is
    'Raises conflict for a save that bears no change by others since its base.';
revoke execute on function asyouwere.refuse_any_change from public;

-- 08_checks.sql

-- Checks: what a save is refused for. Each raises its own code; the addresses go into the error's detail.
-- Breaks running code: no.

create function asyouwere.refuse_overlaps(p_rows asyouwere.change_rows) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_address text;
begin
    -- In path order whatever lies in an address comes right after it, so neighbours tell it all. Items of a
    -- list to which something is appended as well are no overlap: appended is last, after what the other rows
    -- leave.
    select asyouwere.pointer_json(n.path, n.item) into v_address
    from (
        select g.op, g.path, g.item, g.place, lag(g.op) over w as prior_op, lag(g.place) over w as prior_place
        from (
            -- what is expected meets only what else is expected: a place that begins with no "/"
            select u.op, u.path, u.item,
                concat(case when u.op in ('expect', 'expect_absent') then '=' end, u.path,
                    nullif(u.item, -1) || '/') collate "C" as place
            from unnest(p_rows.ops, p_rows.paths, p_rows.items) as u (op, path, item)
            where u.op not in ('in', 'once', 'expect_in')
        ) g
        window w as (order by g.place, g.op <> 'append')
    ) n
    where case n.prior_op when 'append' then n.op <> 'append' and n.place = n.prior_place
        else n.place >= n.prior_place and n.place < asyouwere.path_end(n.prior_place) end
    limit 1;
    if v_address is not null then
        perform asyouwere.fail('overlapping_addresses', p_detail => format('{"address": %s}', v_address));
    end if;
end;
$$;
comment on function asyouwere.refuse_overlaps is
    'Raises overlapping_addresses: the rows of one save come in no order.';
revoke execute on function asyouwere.refuse_overlaps from public;

create function asyouwere.refuse_twice(p_rows asyouwere.change_rows) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_path text;
begin
    select g.path into v_path from unnest(p_rows.ops, p_rows.paths, p_rows.items) as g (op, path, item)
    where g.op in ('in', 'expect_in') and g.item = -1
    group by g.op, g.path having count(*) > 1 order by g.path collate "C" limit 1;
    if found then
        perform asyouwere.refuse_overlaps(p_rows); -- that may be why
        perform asyouwere.fail('invalid_state', 'A key stands twice in one object.',
            asyouwere.address_detail(asyouwere.pointer_json(v_path, -1)));
    end if;
end;
$$;
comment on function asyouwere.refuse_twice is
    'Raises invalid_state for rows opened here from an object with a key that stands twice: which is meant?';
revoke execute on function asyouwere.refuse_twice from public;

create function asyouwere.refuse_loose_rows(p_rows asyouwere.change_rows) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_ops text[] := p_rows.ops;
    v_paths text[] := p_rows.paths;
    v_items int[] := p_rows.items;
    v_path text; -- of the row that those after it belong to
    v_item int;
    v_inside text; -- their op
begin
    for i in 1 .. cardinality(v_ops) loop
        if v_ops[i] not in ('in', 'once', 'expect_in') then
            v_path := case when v_ops[i] in ('set', 'add', 'by', 'expect') and coalesce(v_items[i], -1) = -1
                then v_paths[i] end;
            v_inside := case v_ops[i] when 'by' then 'once' else asyouwere.op_inside(v_ops[i]) end;
        elsif v_ops[i] <> v_inside or not coalesce(starts_with(v_paths[i], v_path), false)
            or v_ops[i] <> 'once' and v_items[i] = -1 and v_paths[i] = v_path
            or v_ops[i] = 'once' and v_paths[i] <> v_path
        then
            perform asyouwere.fail('invalid_changes',
                'An "in" row lies inside the address of the "set" row before it, and likewise.',
                asyouwere.address_detail(asyouwere.pointer_json(v_paths[i], v_items[i])));
        end if;
    end loop;
    select g.path, g.item into v_path, v_item from unnest(v_ops, v_paths, v_items) as g (op, path, item)
    where g.op in ('in', 'expect_in') group by g.op, g.path, g.item having count(*) > 1 limit 1;
    if found then
        perform asyouwere.fail('invalid_changes', 'Two "in" rows have one address.',
            asyouwere.address_detail(asyouwere.pointer_json(v_path, v_item)));
    end if;
end;
$$;
comment on function asyouwere.refuse_loose_rows is
    'Raises invalid_changes for in rows that no set row opens, or that come twice.';
revoke execute on function asyouwere.refuse_loose_rows from public;

create function asyouwere.first_misplaced(
    p_session bigint, p_number int, p_rows asyouwere.change_rows, out path text, out item int
)
language sql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
    -- What this save put where nothing was before: its container must be there, and no position may be
    -- missing. Scalar sub-selects, not exists(): that may be planned as a hash of the whole session.
    select n.path, n.item from (
        select p.path, p.item, p.depth from asyouwere.parts p
        where p.session = p_session and p.since = p_number
        union all
        -- and what it was to take away where nothing is: fine, unless the address lies below a part
        select g.path, -1, asyouwere.path_depth(g.path)
        from unnest(p_rows.ops, p_rows.paths, p_rows.items) as g (op, path, item)
        where g.op = 'remove' and coalesce(g.item, -1) = -1 and asyouwere.path_depth(g.path) > 1
            and (select c.kind in ('v', 'l') from asyouwere.live_parts c where c.session = p_session
                and c.item = -1 and c.path = any (asyouwere.path_ancestors(asyouwere.path_parent(g.path)))
                order by c.path desc limit 1)
    ) n
    where not coalesce(case
        when n.item >= 0 then
            (select c.kind = 'l' from asyouwere.live_parts c
                where c.session = p_session and c.path = n.path and c.item = -1)
            and (n.item = 0 or (select true from asyouwere.live_parts c
                where c.session = p_session and c.path = n.path and c.item = n.item - 1))
        when n.depth = 1 then true
        when n.depth > 3 then false
        else (select c.kind = 'o' from asyouwere.live_parts c where c.session = p_session
            and c.path = asyouwere.path_parent(n.path) and c.item = -1)
        end, false)
    order by n.path, n.item limit 1
$$;
comment on function asyouwere.first_misplaced is
    'The first part that a save put where it can''t be, if any: no container, or a gap before it.';
revoke execute on function asyouwere.first_misplaced from public;

create function asyouwere.refuse_misplaced(p_session bigint, p_path text, p_item int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_address text := asyouwere.pointer_json(p_path, p_item);
    -- the members on the way to it
    v_way text[] := asyouwere.path_ancestors(
        case when p_item >= 0 then p_path else asyouwere.path_parent(p_path) end);
    v_part record;
    v_next text; -- the address' next key after that part
begin
    -- The deepest part there is above the address tells which mistake it is.
    select c.path, c.kind into v_part from asyouwere.live_parts c
    where c.session = p_session and c.item = -1 and c.path = any (v_way) order by c.path desc limit 1;
    v_next := split_part(substr(p_path, length(v_part.path) + 1), '/', 1);
    if v_part.kind = 'l' and p_item >= 0 and v_part.path = p_path then
        perform asyouwere.fail('list_gap', p_detail => format('{"address": %s}', v_address));
    elsif v_part.kind = 'l' and asyouwere.is_index(v_next) and (select true from asyouwere.live_parts i
        where i.session = p_session and i.path = v_part.path and i.item = v_next::int)
    then
        perform asyouwere.fail('address_below_part', p_detail => format('{"address": %s, "part": %s}',
            v_address, asyouwere.pointer_json(v_part.path, v_next::int)));
    elsif v_part.kind = 'l' then
        perform asyouwere.fail('invalid_address', 'Lists have items 0, 1, 2 …, and this address names none.',
            format('{"address": %s}', v_address));
    elsif v_part.kind = 'v' or asyouwere.path_depth(p_path) > 3 then
        -- no part is deeper: whatever is made above it, the address will lie in one
        perform asyouwere.fail('address_below_part', p_detail => format('{"address": %s, "part": %s}',
            v_address,
            asyouwere.pointer_json(case v_part.kind when 'v' then v_part.path else v_way[3] end, -1)));
    end if;
    perform asyouwere.fail('missing_parent', p_detail => format('{"address": %s, "parent": %s}',
        v_address, asyouwere.pointer_json(
            v_way[least(coalesce(array_position(v_way, v_part.path), 0) + 1, cardinality(v_way))], -1)));
end;
$$;
comment on function asyouwere.refuse_misplaced is
    'Raises list_gap, address_below_part, missing_parent or invalid_address for a part that can''t be there.';
revoke execute on function asyouwere.refuse_misplaced from public;

create function asyouwere.is_plain_part(p_path text, p_item int, p_body text) returns boolean
language sql immutable parallel safe
-- A cheap look, inlined by the planner. Hardly any part needs the closer one, nor then the settings: no limit
-- can be set so low that what passes here breaks it.
return octet_length(p_path) <= 2000
    and (left(p_body, 1) not in ('{', '[') or p_item >= 0 or p_body in ('{}', '[]'))
    and octet_length(p_body) - octet_length(replace(replace(p_body, '[', ''), '{', '')) <= 16
    and p_body !~ '[eE][+-]?[0-9]{3}|[0-9]{100}';
comment on function asyouwere.is_plain_part is 'Whether refuse_part() is sure to find nothing.';
revoke execute on function asyouwere.is_plain_part from public;

create function asyouwere.refuse_part(p_path text, p_item int, p_body text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_max_nesting int := (select s.max_nesting from asyouwere.settings s);
    -- how many containers it stands in, the state being the first
    v_level int := asyouwere.path_depth(p_path) + case when p_item >= 0 then 1 else 0 end;
    v_bare text;
begin
    if octet_length(p_path) > 2000 then
        perform asyouwere.fail('address_too_long',
            p_detail => asyouwere.address_detail(asyouwere.pointer_json(p_path, p_item)));
    elsif p_item = -1 and v_level < 3 and left(p_body, 1) in ('{', '[') and p_body not in ('{}', '[]') then
        perform asyouwere.fail('invalid_changes',
            'A container at this depth is sent opened, its inside as rows of its own.',
            asyouwere.address_detail(asyouwere.pointer_json(p_path, p_item)));
    end if;
    if octet_length(p_body) - octet_length(replace(replace(p_body, '[', ''), '{', '')) + v_level
        > v_max_nesting
    then
        -- Brackets of one kind do, as the body is known to be JSON; pairs of them that hold nothing fall
        -- away, level by level, and what is left over is deeper than allowed. replace() is a hundred times as
        -- quick as an expression.
        v_bare := translate(regexp_replace(p_body, '"(?:[^"\\]|\\.)*"|[^][{}"]+', '', 'g'), '{}', '[]');
        while v_bare <> '' and v_level < v_max_nesting loop
            v_bare := replace(v_bare, '[]', '');
            v_level := v_level + 1;
        end loop;
        if v_bare <> '' then
            perform asyouwere.fail('nesting_too_deep',
                format('Containers may lie in one another to %s levels.', v_max_nesting),
                asyouwere.address_detail(asyouwere.pointer_json(p_path, p_item)));
        end if;
    end if;
    if p_body ~ '[eE][+-]?[0-9]{3}|[0-9]{100}' then
        v_bare := regexp_replace(p_body, '"(?:[^"\\]|\\.)*"', '', 'g');
        if exists (
            select from regexp_matches(v_bare, '-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', 'g') m
            where case when m[1] ~ '[eE][+-]?0*[0-9]{4}' or length(m[1]) > 1000 then true
                else abs(m[1]::numeric) >= 1.797693134862315808e308 end)
        then
            perform asyouwere.fail('number_out_of_range',
                p_detail => asyouwere.address_detail(asyouwere.pointer_json(p_path, p_item)));
        end if;
    end if;
    return true;
end;
$$;
comment on function asyouwere.refuse_part is
    'True, or raises nesting_too_deep, number_out_of_range, address_too_long, invalid_changes.';
revoke execute on function asyouwere.refuse_part from public;

create function asyouwere.refuse_document(p_field text, p_value jsonb, p_max_bytes int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_numbers record;
begin
    if p_value is null or p_value = '{}' then
        return;
    end if;
    -- jsonb keeps 1e131071 in a dozen bytes and shows it as 131,072 digits, so it is looked at number by
    -- number, in binary, before any text is made of it. Its binary form is never eight times as large as its
    -- text.
    if pg_column_size(p_value) <= 8 * p_max_bytes then
        select coalesce(bool_or(not n.fits), false) as out_of_range,
            coalesce(sum(case when n.fits then length(n.number::text) end), 0) as digits
        into v_numbers
        from (
            select v::numeric as number,
                abs(v::numeric) < 1.797693134862315808e308 and scale(v::numeric) <= 1000 as fits
            from jsonb_path_query(p_value, 'strict $.** ? (@.type() == "number")') v
        ) n;
        if v_numbers.out_of_range then
            perform asyouwere.fail('number_out_of_range',
                format('In %s a number is outside the range of a double, or written absurdly long.',
                    p_field));
        elsif v_numbers.digits <= p_max_bytes and octet_length(p_value::text) <= p_max_bytes then
            -- as if it were a member of a state
            perform asyouwere.refuse_part('/', 0, p_value::text);
            return;
        end if;
    end if;
    perform asyouwere.fail('invalid_argument',
        format('%s is an object of at most %s KB.', p_field, p_max_bytes / 1024));
exception when statement_too_complex then
    perform asyouwere.fail('nesting_too_deep',
        format('The containers in %s lie too deep in one another.', p_field));
end;
$$;
comment on function asyouwere.refuse_document is
    'Holds jsonb that people send to the rules of parts. Raises number_out_of_range, nesting_too_deep, '
    'invalid_argument.';
revoke execute on function asyouwere.refuse_document from public;

create function asyouwere.refuse_gaps(p_session bigint, p_number int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_path text;
    v_item int;
begin
    select gone.path, gone.first into v_path, v_item
    from (
        select p.path, min(p.item) as first from asyouwere.parts p
        where p.session = p_session and p.until = p_number and p.item >= 0
            and (select true from asyouwere.live_parts n where n.session = p.session
                and n.path = p.path and n.item = p.item) is null
        group by p.path
    ) gone
    where (select p.item from asyouwere.live_parts p where p.session = p_session
        and p.path = gone.path order by p.path desc, p.item desc limit 1) > gone.first
    limit 1;
    if found then
        perform asyouwere.fail('list_gap',
            'Items can be removed from the end of a list only. Set the whole list instead.',
            format('{"address": %s}', asyouwere.pointer_json(v_path, v_item)));
    end if;
end;
$$;
comment on function asyouwere.refuse_gaps is
    'Raises list_gap if a save took items from the middle of a list.';
revoke execute on function asyouwere.refuse_gaps from public;

create function asyouwere.refuse_size(p_size_bytes bigint) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_max_bytes bigint := (select s.max_state_bytes from asyouwere.settings s);
begin
    if p_size_bytes > v_max_bytes then
        perform asyouwere.fail('too_large', format('The state may have %s MB.', v_max_bytes / (1024 * 1024)),
            format('{"size_bytes": %s, "max_bytes": %s}', p_size_bytes, v_max_bytes));
    end if;
end;
$$;
comment on function asyouwere.refuse_size is 'Raises too_large.';
revoke execute on function asyouwere.refuse_size from public;

create function asyouwere.refuse_base(p_session public.free_agent_sessions, p_base int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_base > p_session.latest_number or p_base < 0 then
        perform asyouwere.fail('unknown_base',
            p_detail => format('{"base": %s, "latest": %s}', p_base, p_session.latest_number));
    elsif p_base > 0 and (select true from public.session_snapshots n
        where n.session_id = p_session.id and n.number = p_base) is null
    then
        perform asyouwere.fail('snapshot_gone',
            p_detail => format('{"number": %s, "latest": %s}', p_base, p_session.latest_number));
    end if;
end;
$$;
comment on function asyouwere.refuse_base is
    'Raises unknown_base, snapshot_gone unless the number is a kept one, or 0.';
revoke execute on function asyouwere.refuse_base from public;

-- 09_changing.sql

-- What the changes of one save do to the parts: appended, overwritten, replaced, with the containers that are
-- missing. Called under the session's lock, by saving alone: see 09_saving.sql.
-- Breaks running code: no.

-- What a step of a save did: parts written or ended, the difference in bytes and in messages, whether
-- something stands where nothing stood before, so that its container has to be looked at, and the bytes of
-- all parts written.
create type asyouwere.step as (changed int, bytes bigint, messages int, new_places boolean, written bigint);
comment on type asyouwere.step is 'What a step of a save did to the session''s parts.';

create function asyouwere.no_step() returns asyouwere.step
language sql immutable parallel safe
return row(0, 0, 0, false, 0)::asyouwere.step;
comment on function asyouwere.no_step is 'A step that did nothing, to count up from.';
revoke execute on function asyouwere.no_step from public;

create function asyouwere.append_items(p_session bigint, p_number int, p_rows asyouwere.change_rows)
returns asyouwere.step
language plpgsql volatile
as $$
declare
    -- variables of their own: so plpgsql takes the arrays apart once, not for every look
    v_ops text[] := p_rows.ops;
    v_paths text[] := p_rows.paths;
    v_bodies text[] := p_rows.bodies;
    v_step asyouwere.step := asyouwere.no_step();
    v_path text;
    v_depth int;
    v_item int;
    v_kind "char";
    v_size int;
begin
    for i in 1 .. cardinality(v_ops) loop
        continue when v_ops[i] <> 'append';
        if v_paths[i] is distinct from v_path then
            v_path := v_paths[i];
            v_depth := asyouwere.path_depth(v_path);
            -- the last part alive at the path: an item, or the list itself
            select p.item, p.kind into v_item, v_kind from asyouwere.live_parts p
            where p.session = p_session and p.path = v_path
            order by p.path desc, p.item desc limit 1;
            if not found then
                -- at depth 3 a list would be kept whole; what else may be wrong there is found later
                if v_depth = 3 and (select bool_and(c.kind = 'o') from asyouwere.live_parts c
                    where c.session = p_session and c.item = -1
                        and c.path = any (asyouwere.path_ancestors(asyouwere.path_parent(v_path))))
                    is not false
                then
                    perform asyouwere.fail('not_a_list',
                        p_detail => format('{"address": %s}', asyouwere.pointer_json(v_path, -1)));
                end if;
                insert into asyouwere.parts (
                    session, since, item, ord, size, depth, kind, created_at, path, body)
                values (p_session, p_number, -1, -i, asyouwere.part_size(v_path, '[]'), v_depth,
                    asyouwere.part_kind(v_depth, -1, '[]'), now(), v_path, '[]');
                v_item := -1;
                v_step.changed := v_step.changed + 1;
                v_step.bytes := v_step.bytes + asyouwere.part_size(v_path, '[]');
                v_step.new_places := true;
            elsif v_kind not in ('l', 'i') then
                perform asyouwere.fail('not_a_list',
                    p_detail => format('{"address": %s}', asyouwere.pointer_json(v_path, -1)));
            end if;
        end if;
        v_item := v_item + 1;
        if not asyouwere.is_plain_part(v_path, v_item, v_bodies[i]) then
            perform asyouwere.refuse_part(v_path, v_item, v_bodies[i]);
        end if;
        v_size := asyouwere.part_size(v_path, v_bodies[i]);
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        values (p_session, p_number, v_item, i, v_size, v_depth, 'i', now(), v_path,
            v_bodies[i]);
        v_step.changed := v_step.changed + 1;
        v_step.bytes := v_step.bytes + v_size;
        v_step.messages := v_step.messages + case v_path when '/messages/' then 1 else 0 end;
    end loop;
    v_step.written := v_step.bytes; -- nothing ends
    return v_step;
end;
$$;
comment on function asyouwere.append_items is 'Does the append rows of a save. Raises not_a_list.';
revoke execute on function asyouwere.append_items from public;

create function asyouwere.overwrite_parts(p_session bigint, p_number int, p_rows asyouwere.change_rows)
returns asyouwere.step
language plpgsql volatile
as $$
declare
    v_ops text[] := p_rows.ops;
    v_bodies text[] := p_rows.bodies;
    v_step asyouwere.step := asyouwere.no_step();
    v_old record;
    v_size int;
begin
    -- The common case made quick: a few values in place of a few values. What is not of that kind is left
    -- over, and replace_parts() may then run over all of it: what is done here is no change any more.
    for i in 1 .. cardinality(v_ops) loop
        continue when v_ops[i] = 'append';
        update asyouwere.live_parts p set until = p_number
        where p.session = p_session and p.path = p_rows.paths[i] and p.item = coalesce(p_rows.items[i], -1)
            and p.kind in ('v', 'i') and p.body <> v_bodies[i]
            and (p.kind = 'i' or p.depth = 3 or left(v_bodies[i], 1) not in ('{', '['))
        returning p.path, p.item, p.size, p.depth, p.kind, p.created_at into v_old;
        continue when not found;
        if not asyouwere.is_plain_part(v_old.path, v_old.item, v_bodies[i]) then
            perform asyouwere.refuse_part(v_old.path, v_old.item, v_bodies[i]);
        end if;
        v_size := asyouwere.part_size(v_old.path, v_bodies[i]);
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        values (p_session, p_number, v_old.item, i, v_size, v_old.depth, v_old.kind,
            v_old.created_at, v_old.path, v_bodies[i]);
        v_step.changed := v_step.changed + 1;
        v_step.bytes := v_step.bytes + v_size - v_old.size;
        v_step.written := v_step.written + v_size;
    end loop;
    return v_step;
end;
$$;
comment on function asyouwere.overwrite_parts is
    'Does those set rows of a small save that put one value in place of another.';
revoke execute on function asyouwere.overwrite_parts from public;

create function asyouwere.replace_parts(p_session bigint, p_number int, p_rows asyouwere.change_rows)
returns asyouwere.step
language plpgsql volatile
as $$
declare
    v_step asyouwere.step;
    v_gap boolean;
begin
    with given as materialized (
        select g.op, g.path collate "C" as path, coalesce(g.item, -1) as item, g.body, g.position,
            g.item >= 0 or g.op in ('put', 'drop') as alone
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
            as g (op, path, item, body, position)
        where g.op <> 'append'
    ), standing as (
        -- What is alive at and, for set and remove, under the addresses: one range of the live index for
        -- each, whatever the statistics say.
        select p.* from given g cross join lateral (
            select q.ctid as place, q.path, q.item, q.body, q.size, q.created_at from asyouwere.parts q
            where q.session = p_session and q.until = 2147483647
                and (q.path, q.item) >= (g.path, g.item)
                and (q.path, q.item) < (
                    case when g.alone then g.path else asyouwere.path_end(g.path) end,
                    case when g.alone then g.item + 1 else -1 end)
            offset 0
        ) p
        where g.op <> 'in'
    ), changed as materialized (
        select w.path, w.item, w.body, w.position,
            s.place, s.path as old_path, s.item as old_item, s.size as old_size, s.created_at
        from (
            select g.path, g.item, g.body, g.position from given g
            where g.op in ('set', 'in', 'put') and g.path <> '/'
        ) w
        full join standing s on s.path = w.path and s.item = w.item
        where w.body is distinct from s.body
    ), closed as (
        update asyouwere.parts p set until = p_number
        where p.ctid = any (array(select c.place from changed c where c.place is not null))
        returning 1
    ), inserted as (
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        select p_session, p_number, c.item, c.position, asyouwere.part_size(c.path, c.body),
            asyouwere.path_depth(c.path), asyouwere.part_kind(asyouwere.path_depth(c.path), c.item, c.body),
            coalesce(c.created_at, now()), c.path, c.body
        from changed c
        -- the old ones must be closed first, or the new ones meet them in the live index
        where c.path is not null and (select count(*) from closed) >= 0
            and (asyouwere.is_plain_part(c.path, c.item, c.body)
                or asyouwere.refuse_part(c.path, c.item, c.body))
        returning size
    )
    select count(*), coalesce((select sum(i.size) from inserted i), 0) - coalesce(sum(c.old_size), 0),
        count(*) filter (where c.path = '/messages/' and c.item >= 0 and c.place is null)
            - count(*) filter (where c.old_path = '/messages/' and c.old_item >= 0 and c.path is null),
        coalesce(bool_or(c.place is null or c.path is null), false)
            or (select bool_or(g.op = 'remove') from given g),
        coalesce((select sum(i.size) from inserted i), 0),
        bool_or(c.path is null and c.old_item >= 0)
    into v_step.changed, v_step.bytes, v_step.messages, v_step.new_places, v_step.written, v_gap
    from changed c;
    if v_gap then
        -- items went: only from the end?
        perform asyouwere.refuse_gaps(p_session, p_number);
    end if;
    return v_step;
end;
$$;
comment on function asyouwere.replace_parts is
    'Does all other rows of a save: closes what is to go or to change, inserts what is new. Raises list_gap.';
revoke execute on function asyouwere.replace_parts from public;

create function asyouwere.make_parents(p_session bigint, p_number int) returns asyouwere.step
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_step asyouwere.step := asyouwere.no_step();
begin
    -- The objects that are missing on the way to what this save put where nothing was: below objects only,
    -- and not where the address could mean a list.
    with wanted as (
        select distinct above.path
        from asyouwere.live_parts p
        cross join lateral (
            select array_agg(a.path order by a.path collate "C") as missing
            from unnest(asyouwere.path_ancestors(asyouwere.path_parent(p.path))) a (path)
            where (select true from asyouwere.live_parts c
                where c.session = p_session and c.path = a.path and c.item = -1) is null
        ) way
        cross join unnest(way.missing) above (path)
        where p.session = p_session and p.since = p_number and p.item = -1 and p.depth between 2 and 3
            and asyouwere.may_be_made(p.path, way.missing[1])
            and (asyouwere.path_depth(way.missing[1]) = 1 or (
                select c.kind = 'o' from asyouwere.live_parts c where c.session = p_session
                    and c.path = asyouwere.path_parent(way.missing[1]) and c.item = -1))
    ), made as (
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        -- ord: past what append_items() gives to the lists that it makes
        select p_session, p_number, -1, -125000 - row_number() over (), asyouwere.part_size(w.path, '{}'),
            asyouwere.path_depth(w.path), 'o', now(), w.path, '{}'
        from wanted w
        returning size
    )
    select count(*), coalesce(sum(m.size), 0), coalesce(sum(m.size), 0)
    into v_step.changed, v_step.bytes, v_step.written from made m;
    return v_step;
end;
$$;
comment on function asyouwere.make_parents is 'Makes the objects that the parts of a save lack to stand in.';
revoke execute on function asyouwere.make_parents from public;

-- 09_conditions.sql

-- Conditions: changes that look at what is stored before they are done. They are judged under the session's
-- lock, against the latest state, whatever the save's base is: so of many callers at once the first wins. A
-- merge has nothing to do with them.
--   add          writes where nothing is; else what is there stays, and the answer says what it is
--   append_once  appends the items whose member of that name no item of the list has
--   expect, expect_absent  refuse the whole save unless that is, or nothing is, at the address
-- Values are compared as everywhere: part by part, bodies by their text. Members of opened objects have no
-- order; inside of a part order, digits and spaces count.
-- Breaks running code: no.

create function asyouwere.are_conditional(p_rows asyouwere.change_rows) returns boolean
language sql immutable parallel safe
return p_rows.ops && array['add', 'by', 'expect', 'expect_absent'];
comment on function asyouwere.are_conditional is 'Whether there are conditions among change rows.';
revoke execute on function asyouwere.are_conditional from public;

create function asyouwere.conditions_of(p_rows asyouwere.change_rows, p_conditional boolean)
returns asyouwere.change_rows
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    -- an in row goes with the row that it lies in, the one before it that is none
    select row(array_agg(g.op order by g.position), array_agg(g.path order by g.position),
        array_agg(g.item order by g.position), array_agg(g.body order by g.position))::asyouwere.change_rows
    from (
        select u.*, first_value(u.op) over (partition by u.head order by u.position)
                in ('add', 'by', 'once', 'expect', 'expect_in', 'expect_absent') as is_condition
        from (
            select e.*, count(*) filter (where e.op <> 'in') over (order by e.position) as head
            from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
                as e (op, path, item, body, position)
        ) u
    ) g
    where g.is_condition = p_conditional
$$;
comment on function asyouwere.conditions_of is 'The conditions among change rows, or all other rows.';
revoke execute on function asyouwere.conditions_of from public;

create function asyouwere.rows_and(p_rows asyouwere.change_rows, p_more asyouwere.change_rows)
returns asyouwere.change_rows
language sql immutable parallel safe
return row(p_rows.ops || p_more.ops, p_rows.paths || p_more.paths, p_rows.items || p_more.items,
    p_rows.bodies || p_more.bodies)::asyouwere.change_rows;
comment on function asyouwere.rows_and is 'Change rows and more of them.';
revoke execute on function asyouwere.rows_and from public;

create function asyouwere.item_id(p_body text, p_name text) returns text
language sql immutable parallel safe
-- name and answer as JSON text; what Postgres can't look into is masked on both sides
return case when strpos(p_body, '\u') + strpos(p_name, '\u') > 0
        and (p_body ~ '\\u(?:0000|[dD])' or p_name ~ '\\u(?:0000|[dD])')
    then asyouwere.unmasked_escapes(
        (asyouwere.masked_escapes(p_body)::json -> (asyouwere.masked_escapes(p_name)::json #>> '{}'))::text)
    else (p_body::json -> (p_name::json #>> '{}'))::text end;
comment on function asyouwere.item_id is
    'The member of that name of an item, as JSON text; null if the item has none, or is no object.';
revoke execute on function asyouwere.item_id from public;

create function asyouwere.ids_of_items(p_rows asyouwere.change_rows) returns text[]
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids text[];
    v_path text;
begin
    if 'by' <> all (p_rows.ops) then
        return null;
    end if;
    select array_agg(asyouwere.item_id(o.body, b.body) order by o.position),
        min(o.path) filter (
            where o.op = 'once' and asyouwere.item_id(o.body, b.body) ~ '^["0-9-]' is not true)
    into v_ids, v_path
    from unnest(p_rows.ops, p_rows.paths, p_rows.bodies) with ordinality as o (op, path, body, position)
    left join unnest(p_rows.ops, p_rows.paths, p_rows.bodies) b (op, path, body)
        on o.op = 'once' and b.op = 'by' and b.path = o.path;
    if v_path is not null then
        perform asyouwere.fail('invalid_changes',
            'Items of append_once are objects that have the member they are told apart by, a string or a number.',
            asyouwere.address_detail(asyouwere.pointer_json(v_path, -1)));
    end if;
    return v_ids;
end;
$$;
comment on function asyouwere.ids_of_items is
    'The ids of once rows, row by row; null if there are none. Raises invalid_changes.';
revoke execute on function asyouwere.ids_of_items from public;

create function asyouwere.items_with_ids(
    p_session bigint, p_at int, p_before int, p_path text, p_name text, p_ids text[]
) returns table (item int, id text, body text)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    -- No index knows an item's id: one would make every save dearer. So all items are read; most are
    -- passed over for not having the id's text anywhere, which is quick.
    return query
    select f.item, f.id, f.body from (
        select p.item, asyouwere.item_id(p.body, p_name) as id, p.body
        from asyouwere.parts_at(p_session, p_at) p
        where p.path = p_path and p.item >= 0 and p.since <= p_before
            and case when cardinality(p_ids) = 1 then strpos(p.body, p_ids[1]) > 0
                when cardinality(p_ids) <= 16 then (
                    select bool_or(strpos(p.body, w.id) > 0) from unnest(p_ids) w (id))
                else true end
        offset 0
    ) f
    where f.id = any (p_ids)
    order by f.item;
end;
$$;
comment on function asyouwere.items_with_ids is
    'The items of a list at a number (2147483646: the latest), not younger than another, that have one of '
    'these ids.';
revoke execute on function asyouwere.items_with_ids from public;

create type asyouwere.standing as (op text, path text, item int, id text, value text);
comment on type asyouwere.standing is
    'What was there already: at the address of an add row, or an item with the id of a once row.';

create function asyouwere.places_of_adds(p_session bigint, p_at int, p_rows asyouwere.change_rows)
returns setof asyouwere.parts
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select p.* from asyouwere.parts_of_places(p_session, p_at,
        array(select g.path from unnest(p_rows.ops, p_rows.paths) g (op, path) where g.op = 'add'),
        array(select -1 from unnest(p_rows.ops) g (op) where g.op = 'add')) p
$$;
comment on function asyouwere.places_of_adds is 'What stands at the addresses of add rows at a number.';
revoke execute on function asyouwere.places_of_adds from public;

create function asyouwere.what_stands(
    p_session bigint, p_at int, p_before int, p_rows asyouwere.change_rows, p_ids text[]
) returns setof asyouwere.standing
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_row record;
    v_ids text[];
begin
    -- an add that named an item of a list was refused
    return query
    select 'add', p.path, p.item, null::text,
        asyouwere.part_text(p_session, p_at, (p.path, p.item, p.kind, p.body)::asyouwere.found_part)
    from asyouwere.places_of_adds(p_session, p_at, p_rows) p where p.since <= p_before;
    for v_row in
        select g.path, g.body as name from unnest(p_rows.ops, p_rows.paths, p_rows.bodies) g (op, path, body)
        where g.op = 'by'
    loop
        v_ids := array(
            select distinct g.id from unnest(p_rows.ops, p_rows.paths, p_ids) g (op, path, id)
            where g.op = 'once' and g.path = v_row.path);
        return query
        select 'once', v_row.path, i.item, i.id, i.body
        from asyouwere.items_with_ids(p_session, p_at, p_before, v_row.path, v_row.name, v_ids) i;
    end loop;
end;
$$;
comment on function asyouwere.what_stands is
    'Of conditions: what is there at a number (2147483646: the latest) and is not younger than another.';
revoke execute on function asyouwere.what_stands from public;

create function asyouwere.standing_size(
    p_session bigint, p_at int, p_before int, p_rows asyouwere.change_rows
) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    -- by the sizes that are kept with the parts: no body is read
    return (
        with stands as materialized (
            select p.path from asyouwere.places_of_adds(p_session, p_at, p_rows) p where p.since <= p_before
        )
        select coalesce((
            select sum(a.size) from stands s cross join lateral (
                select q.size from asyouwere.live_parts q
                where q.session = p_session and q.path >= s.path and q.path < asyouwere.path_end(s.path)
                    and q.since <= p_at
                offset 0
            ) a), 0) + coalesce((
            -- none lies in another, so each counts once
            select sum(e.size) from asyouwere.parts_ended(p_session, p_at) e
            where exists (
                select from unnest(asyouwere.path_ancestors(e.path)) above
                where (above in (select s.path from stands s)) is true)), 0));
end;
$$;
comment on function asyouwere.standing_size is
    'The bytes of what stands at the addresses of add rows, with all that is in it.';
revoke execute on function asyouwere.standing_size from public;

create function asyouwere.pay_for_standing(
    p_session bigint, p_at int, p_before int, p_rows asyouwere.change_rows, p_ids text[]
) returns asyouwere.standing[]
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_standing asyouwere.standing[];
begin
    if 'add' = any (p_rows.ops) then
        -- before it is put together
        perform asyouwere.charge_answer(asyouwere.standing_size(p_session, p_at, p_before, p_rows));
    end if;
    v_standing := array(
        select s from asyouwere.what_stands(p_session, p_at, p_before, p_rows, p_ids) s);
    perform asyouwere.charge_answer((
        select sum(octet_length(s.value)) from unnest(v_standing) s where s.op = 'once'));
    return v_standing;
end;
$$;
comment on function asyouwere.pay_for_standing is
    'what_stands(), with a token taken for every MB of it. Raises rate_limited.';
revoke execute on function asyouwere.pay_for_standing from public;

create function asyouwere.standing_text(p_standing asyouwere.standing[]) returns text
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select concat('{', string_agg(concat(asyouwere.pointer_json(s.path, s.item), ':', s.value), ','
        order by s.path collate "C", s.item), '}')
    from unnest(p_standing) s having count(*) > 0
$$;
comment on function asyouwere.standing_text is
    'What was there already as JSON text, {pointer: value}; null if nothing was.';
revoke execute on function asyouwere.standing_text from public;

create function asyouwere.refuse_conditions(p_session bigint, p_latest int, p_rows asyouwere.change_rows)
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_path text;
    v_item int;
begin
    select g.path, g.item into v_path, v_item
    from unnest(p_rows.ops, p_rows.paths, p_rows.items) g (op, path, item)
    where g.op = 'add' and g.item >= 0 limit 1;
    if found then
        perform asyouwere.fail('invalid_address',
            'Members are added. To a list items are appended, or appended once.',
            format('{"address": %s}', asyouwere.pointer_json(v_path, v_item)));
    end if;
    -- nothing can be expected inside of a part: the same look as for what is removed
    select m.path, m.item into v_path, v_item
    from asyouwere.first_misplaced(p_session, p_latest + 1, (
        select row(array_agg('remove'::text), array_agg(g.path), array_agg(g.item), array_agg(null::text))
            ::asyouwere.change_rows
        from unnest(p_rows.ops, p_rows.paths, p_rows.items) g (op, path, item)
        where g.op in ('expect', 'expect_absent'))) m;
    if v_path is not null then
        perform asyouwere.refuse_misplaced(p_session, v_path, v_item);
    end if;
end;
$$;
comment on function asyouwere.refuse_conditions is
    'Raises invalid_address, address_below_part for conditions that can''t be judged.';
revoke execute on function asyouwere.refuse_conditions from public;

create function asyouwere.refuse_unexpected(p_session bigint, p_latest int, p_rows asyouwere.change_rows)
returns void
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_count int;
    v_addresses text[];
begin
    with given as materialized (
        select g.op, g.path collate "C" as path, coalesce(g.item, -1) as item, g.body,
            count(*) filter (where g.op <> 'expect_in') over (order by g.position) as head
        from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
            as g (op, path, item, body, position)
        where g.op in ('expect', 'expect_in', 'expect_absent')
    ), standing as (
        -- what is alive at and under each address, a range of the live index
        select g.head, p.path, p.item, p.body from given g cross join lateral (
            select q.path, q.item, q.body from asyouwere.live_parts q
            where q.session = p_session and (q.path, q.item) >= (g.path, g.item)
                and (q.path, q.item) < (
                    case when g.item >= 0 then g.path else asyouwere.path_end(g.path) end,
                    case when g.item >= 0 then g.item + 1 else -1 end)
            offset 0
        ) p
        where g.op <> 'expect_in'
    ), unexpected as (
        select distinct coalesce(s.head, e.head) as head
        from (select * from given g where g.op <> 'expect_absent' and g.path <> '/') e
        full join standing s on s.head = e.head and s.path = e.path and s.item = e.item
        where e.body is distinct from s.body
    ), told as materialized (
        select g.path, g.item from given g
        where g.op <> 'expect_in' and g.head in (select u.head from unexpected u)
    )
    select (select count(*) from told),
        array(select asyouwere.pointer_json(t.path, t.item) from told t order by t.path, t.item limit 100)
    into v_count, v_addresses;
    if v_count > 0 then
        perform asyouwere.refuse_conflict(v_addresses, v_count, p_latest);
    end if;
end;
$$;
comment on function asyouwere.refuse_unexpected is
    'Raises conflict, with the addresses, for what is not as expected.';
revoke execute on function asyouwere.refuse_unexpected from public;

create function asyouwere.conditional_writes(
    p_rows asyouwere.change_rows, p_ids text[], p_standing asyouwere.standing[]
) returns asyouwere.change_rows
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select row(array_agg(w.op order by w.place, w.position), array_agg(w.path order by w.place, w.position),
        array_agg(w.item order by w.place, w.position), array_agg(w.body order by w.place, w.position))
        ::asyouwere.change_rows
    from (
        select case g.op when 'add' then 'set' else 'in' end as op, g.path, g.item, g.body, 0 as place, g.position
        from (
            select e.*, first_value(e.path) over (partition by e.head order by e.position) as added
            from (
                select u.*, count(*) filter (where u.op = 'add') over (order by u.position) as head
                from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) with ordinality
                    as u (op, path, item, body, position)
                where u.op in ('add', 'in')
            ) e
        ) g
        where g.added not in (select s.path from unnest(p_standing) s where s.op = 'add')
        union all
        -- last, as appends are; of equal ids the first
        select 'append', o.path, null, o.body, 1, o.position
        from (
            select distinct on (i.path, i.id) i.path, i.id, i.body, i.position
            from unnest(p_rows.ops, p_rows.paths, p_rows.bodies, p_ids) with ordinality
                as i (op, path, body, id, position)
            where i.op = 'once'
            order by i.path, i.id, i.position
        ) o
        where (o.path, o.id) not in (select s.path, s.id from unnest(p_standing) s where s.op = 'once')
    ) w
$$;
comment on function asyouwere.conditional_writes is
    'What conditions write, given what stands already: change rows against the latest.';
revoke execute on function asyouwere.conditional_writes from public;

-- 09_saving.sql

-- Saving: one call, one transaction. Takes the session's lock, so saves of a session come one after the
-- other. The four functions that every save runs through (save_snapshot, write_snapshot, append_items and
-- replace_parts of 09_changing.sql) have no SET clause of their own, which would cost a tenth of a save:
-- nobody may execute them but the two definers at the end of this file, which pin search_path for all they
-- call.
-- Breaks running code: no.

create type asyouwere.save_result as (
    number int, created boolean, replayed boolean, merged boolean,
    changed_parts int, size_bytes bigint, message_count int, others json, existing json
);
comment on type asyouwere.save_result is 'What a save answers.';

create type asyouwere.annotations as (metadata jsonb, external_id text, parent_number int);
comment on type asyouwere.annotations is 'What the app says of a snapshot; the columns of session_snapshots.';

create function asyouwere.save_snapshot(
    p_session_id uuid, p_rows asyouwere.change_rows,
    p_base int, p_idempotency_key text, p_label text, p_on_conflict text,
    p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile
as $$
declare
    v_session public.free_agent_sessions;
    v_rows asyouwere.change_rows := p_rows;
    v_result asyouwere.save_result;
    v_key uuid := md5(p_idempotency_key)::uuid;
    v_content uuid;
    v_earlier asyouwere.save_keys;
    v_merged boolean;
    v_conditional boolean := asyouwere.are_conditional(p_rows);
    v_conditions asyouwere.change_rows;
    v_ids text[];
    v_standing asyouwere.standing[];
begin
    if p_on_conflict is null or p_on_conflict not in ('merge', 'reject', 'overwrite') then
        perform asyouwere.fail('invalid_argument', 'on_conflict is merge, reject or overwrite.');
    elsif length(p_label) not between 1 and 200 then
        perform asyouwere.fail('invalid_argument', 'A label has 1 to 200 characters.');
    elsif length(p_idempotency_key) not between 1 and 255 then
        perform asyouwere.fail('invalid_argument', 'An idempotency key has 1 to 255 characters.');
    end if;
    if asyouwere.is_large_save(v_rows) then
        perform asyouwere.refuse_second_large();
    end if;
    v_session := asyouwere.session_to_write(p_session_id);

    if v_key is not null then
        v_content := asyouwere.digest_of_save(v_rows, p_base, p_label, p_annotations);
        select * into v_earlier from asyouwere.save_keys k
        where k.session = v_session.internal_id and k.key = v_key;
        if found then
            v_result := asyouwere.replay_save(v_session, v_earlier, v_content, p_base);
            if v_conditional and v_result.size_bytes is not null then
                -- what stood then is there still, at that number, and older than what the save wrote
                v_result.existing := asyouwere.standing_text(asyouwere.pay_for_standing(
                    v_session.internal_id, v_result.number, v_result.number - v_result.created::int,
                    v_rows, asyouwere.ids_of_items(v_rows)));
            end if;
            return v_result;
        end if;
    end if;

    if not (p_annotations is null) then
        perform asyouwere.refuse_annotations(v_session, p_annotations);
    end if;
    if p_base is not null and p_base <> v_session.latest_number then
        perform asyouwere.refuse_base(v_session, p_base);
        if asyouwere.is_far_behind(v_session.internal_id, p_base) then
            perform asyouwere.refuse_second_large();
        end if;
        if p_on_conflict = 'reject' then
            perform asyouwere.refuse_any_change(v_session.internal_id, p_base, v_session.latest_number);
        end if;
    end if;
    if cardinality(v_rows.ops) > 1 then
        perform asyouwere.refuse_overlaps(v_rows);
    end if;
    if v_conditional then
        v_conditions := asyouwere.resolve_addresses(v_session.internal_id, v_session.latest_number,
            asyouwere.conditions_of(v_rows, true));
        v_rows := asyouwere.conditions_of(v_rows, false);
        perform asyouwere.refuse_conditions(
            v_session.internal_id, v_session.latest_number, v_conditions);
        perform asyouwere.refuse_unexpected(
            v_session.internal_id, v_session.latest_number, v_conditions);
    end if;
    -- only an address that ends in a number can mean two things
    if array_to_string(v_rows.paths, E'\n') ~ '/[0-9]+/(?:\n|$)' then
        v_rows := asyouwere.resolve_addresses(
            v_session.internal_id, coalesce(p_base, v_session.latest_number), v_rows);
    end if;
    v_merged := coalesce(p_base < v_session.latest_number, false) and p_on_conflict = 'merge';
    if v_merged then
        v_rows := asyouwere.merge_changes(v_session.internal_id, p_base, v_session.latest_number, v_rows);
    end if;
    if v_conditional then
        v_ids := asyouwere.ids_of_items(v_conditions);
        v_standing := asyouwere.pay_for_standing(
            v_session.internal_id, 2147483646, v_session.latest_number, v_conditions, v_ids);
        v_rows := asyouwere.rows_and(v_rows, asyouwere.conditional_writes(v_conditions, v_ids, v_standing));
    end if;

    v_result := asyouwere.write_snapshot(
        v_session, v_rows, v_merged, p_label, v_key, v_content, p_annotations);
    if p_base < v_session.latest_number then
        v_result.others := asyouwere.told_changes(v_session.internal_id, p_base);
    end if;
    if v_conditional then
        v_result.existing := asyouwere.standing_text(v_standing);
    end if;
    return v_result;
end;
$$;
comment on function asyouwere.save_snapshot is
    'The body of every save. Raises session_not_found, forbidden, conflict, snapshot_gone, unknown_base, '
    'idempotency_key_reused, label_taken, snapshot_exists, too_large and what the rows can be refused for.';
revoke execute on function asyouwere.save_snapshot from public;

create function asyouwere.write_snapshot(
    p_session public.free_agent_sessions, p_rows asyouwere.change_rows, p_merged boolean,
    p_label text, p_key uuid, p_content uuid, p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile
as $$
declare
    v_number int := p_session.latest_number + 1;
    v_appended asyouwere.step := asyouwere.no_step();
    v_overwritten asyouwere.step := asyouwere.no_step();
    v_replaced asyouwere.step := asyouwere.no_step();
    v_made asyouwere.step := asyouwere.no_step();
    v_misplaced text;
    v_left_over boolean;
    v_rows int := cardinality(p_rows.ops);
    v_caller uuid := auth.uid();
    v_written bigint;
    v_prepaid int;
    v_result asyouwere.save_result;
begin
    v_left_over := 'append' <> any (p_rows.ops);
    if v_left_over and cardinality(p_rows.ops) <= 8 and p_rows.ops <@ array['append', 'set'] then
        v_overwritten := asyouwere.overwrite_parts(p_session.internal_id, v_number, p_rows);
        v_left_over := v_overwritten.changed < cardinality(array_positions(p_rows.ops, 'set'));
    end if;
    if v_left_over then
        v_replaced := asyouwere.replace_parts(p_session.internal_id, v_number, p_rows);
    end if;
    -- last: appended items come after what the other rows leave of the list
    if 'append' = any (p_rows.ops) then
        v_appended := asyouwere.append_items(p_session.internal_id, v_number, p_rows);
    end if;
    if v_appended.new_places or v_replaced.new_places then
        select m.path into v_misplaced
        from asyouwere.first_misplaced(p_session.internal_id, v_number, p_rows) m;
        if v_misplaced is not null then
            v_made := asyouwere.make_parents(p_session.internal_id, v_number);
            perform asyouwere.refuse_misplaced(p_session.internal_id, m.path, m.item)
            from asyouwere.first_misplaced(p_session.internal_id, v_number, p_rows) m
            where m.path is not null;
        end if;
    end if;
    v_result.number := p_session.latest_number;
    v_result.created := false;
    v_result.replayed := false;
    v_result.merged := p_merged;
    v_result.changed_parts
        := v_appended.changed + v_overwritten.changed + v_replaced.changed + v_made.changed;
    v_result.size_bytes
        := p_session.size_bytes + v_appended.bytes + v_overwritten.bytes + v_replaced.bytes + v_made.bytes;
    v_result.message_count := p_session.message_count + v_appended.messages + v_replaced.messages;
    -- the limit can't be set lower than that, so smaller states need not know it
    if v_result.size_bytes > 1024 * 1024 then
        perform asyouwere.refuse_size(v_result.size_bytes);
    end if;
    -- what the app says of a snapshot is said of one of its own
    if v_result.changed_parts > 0 or v_number = 1 or not (p_annotations is null) then
        v_result.number := v_number;
        v_result.created := true;
        v_written := v_appended.written + v_overwritten.written + v_replaced.written + v_made.written;
        if not (p_annotations is null) then
            v_written := v_written
                + asyouwere.annotations_size(p_annotations.metadata, p_annotations.external_id);
        end if;
        v_prepaid := p_session.prepaid_saves - 1;
        -- the common case without a call: the owner has paid ahead, in this minute
        if v_prepaid < 0 or v_written >= 1024 * 1024 or v_caller is distinct from p_session.user_id
            or p_session.updated_at < date_trunc('minute', clock_timestamp())
        then
            v_prepaid := asyouwere.charge_save(p_session, v_written);
        end if;
        with made as (
            insert into public.session_snapshots (
                session_id, number, size_bytes, changed_parts, message_count, created_by, metadata,
                external_id, parent_number)
            values (p_session.id, v_number, v_result.size_bytes, v_result.changed_parts,
                v_result.message_count, nullif(v_caller, p_session.user_id), p_annotations.metadata,
                p_annotations.external_id, p_annotations.parent_number)
        )
        update public.free_agent_sessions s
        set latest_number = v_number, size_bytes = v_result.size_bytes,
            message_count = v_result.message_count,
            stored_bytes = s.stored_bytes + v_written, prepaid_saves = v_prepaid,
            last_message = case
                -- the everyday save: the message that it ends with is the last, so nobody looks for it
                when p_rows.ops[v_rows] = 'append' and p_rows.paths[v_rows] = '/messages/'
                    then asyouwere.message_preview(p_rows.bodies[v_rows])
                when '/messages/' = any (p_rows.paths) or '/' = any (p_rows.paths)
                    then asyouwere.last_message(p_session.internal_id)
                else s.last_message end,
            updated_at = now(),
            -- a save that began earlier may have waited for this one's lock
            last_activity_at = greatest(s.last_activity_at, now())
        where s.id = p_session.id;
    end if;
    if p_session.expired_at is not null then
        -- an expired session lives again with the first save, also with one that changes nothing
        update public.free_agent_sessions s set status = 'idle' where s.id = p_session.id;
    end if;
    if p_label is not null then
        perform asyouwere.set_label(p_session.id, v_result.number, p_label);
    end if;
    if p_key is not null and not v_result.created then
        perform asyouwere.charge(); -- the key is a row, even if nothing has changed
    end if;
    if p_key is not null then
        insert into asyouwere.save_keys (session, key, content, number, changed_parts, made_snapshot, merged)
        values (p_session.internal_id, p_key, p_content, v_result.number, v_result.changed_parts,
            v_result.created, p_merged);
    end if;
    return v_result;
end;
$$;
comment on function asyouwere.write_snapshot is
    'Writes change rows against the latest as the next snapshot, if they change anything, and remembers the'
    ' key. The caller holds the session''s lock. Raises too_large, rate_limited, quota_exceeded, '
    'label_taken and what the rows can be refused for.';
revoke execute on function asyouwere.write_snapshot from public;

create function asyouwere.digest_of_save(
    p_rows asyouwere.change_rows, p_base int, p_label text, p_annotations asyouwere.annotations default null
) returns uuid
language sql immutable set search_path = pg_catalog, pg_temp
-- the label late: it may hold any character; what follows is JSON, so no label ends like it by chance
return md5(concat(
    array_to_string(p_rows.ops, E'\x02', '-'), E'\x01',
    array_to_string(p_rows.paths, E'\x02'), E'\x01',
    array_to_string(p_rows.items, E'\x02', '-'), E'\x01',
    array_to_string(p_rows.bodies, E'\x02', '-'), E'\x01',
    p_base, E'\x01', '=' || p_label,
    case when not (p_annotations is null) then E'\x01' || to_jsonb(p_annotations)::text end))::uuid;
comment on function asyouwere.digest_of_save is
    'Tells two saves apart; JSON text and paths hold no control characters.';
revoke execute on function asyouwere.digest_of_save from public;

create function asyouwere.replay_save(
    p_session public.free_agent_sessions, p_earlier asyouwere.save_keys, p_content uuid, p_base int
) returns asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_result asyouwere.save_result;
begin
    if p_earlier.content <> p_content then
        perform asyouwere.fail('idempotency_key_reused');
    end if;
    -- the sizes of that number as far as it is kept, else null
    select n.size_bytes, n.message_count into v_result.size_bytes, v_result.message_count
    from public.session_snapshots n where n.session_id = p_session.id and n.number = p_earlier.number;
    v_result.number := p_earlier.number;
    v_result.created := p_earlier.made_snapshot;
    v_result.changed_parts := p_earlier.changed_parts;
    v_result.replayed := true;
    v_result.merged := p_earlier.merged;
    -- The same as in the answer that may have been lost: what leads to that number and no further. A client
    -- that took later changes for part of that number would send them as its own with the next save.
    if p_base < p_earlier.number - p_earlier.made_snapshot::int and v_result.size_bytes is not null
        and (p_base = 0 or exists (
            select from public.session_snapshots n where n.session_id = p_session.id and n.number = p_base))
    then
        v_result.others := asyouwere.told_changes(p_session.internal_id, p_base, p_earlier.number);
    end if;
    return v_result;
end;
$$;
comment on function asyouwere.replay_save is
    'The answer to a save that was done before. Sizes are null if its number is pruned, others if that or '
    'the base is, or it is over 8 MB: restore then. Raises idempotency_key_reused, rate_limited.';
revoke execute on function asyouwere.replay_save from public;

-- What callers see -----------------------------------------------------------------------------------------
create function public.create_session_snapshot(
    p_session_id uuid, p_state json default null, p_changes json default null, p_base int default null,
    p_idempotency_key text default null, p_label text default null, p_on_conflict text default 'merge',
    p_metadata jsonb default null, p_external_id text default null, p_parent_number int default null
) returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if (p_state is null) = (p_changes is null) then
        perform asyouwere.fail('invalid_argument', 'Give either p_state, a whole state, or p_changes.');
    end if;
    return next asyouwere.save_json(
        p_session_id, p_state, p_changes, p_base, p_idempotency_key, p_label, p_on_conflict,
        (p_metadata, p_external_id, p_parent_number)::asyouwere.annotations);
end;
$$;
comment on function public.create_session_snapshot is
    'Save a whole state, or changes {"set": {pointer: value}, "append": {pointer: [items]}, "remove": '
    '[pointer]}, also with conditions: "add", "append_once", "expect", "expect_absent". One row: number, '
    'whether a snapshot was created (false: nothing had changed), sizes, what changed since p_base (others) '
    'and what add and append_once found there (existing). The same idempotency key answers the first '
    'result again. Older '
    'base: on_conflict merge (default), reject, overwrite.';
revoke execute on function public.create_session_snapshot from public, anon, authenticated, service_role;
grant execute on function public.create_session_snapshot to authenticated, service_role;

create function asyouwere.save_json(
    p_session_id uuid, p_state json, p_changes json, p_base int,
    p_idempotency_key text, p_label text, p_on_conflict text,
    p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_rows asyouwere.change_rows;
begin
    -- definer: nobody writes parts but through here and save_parts()
    if greatest(pg_column_size(p_state), pg_column_size(p_changes)) > 1024 * 1024 then
        perform asyouwere.refuse_second_large(); -- before it is opened
    end if;
    v_rows := case when p_state is null then asyouwere.open_changes(p_changes)
        else asyouwere.open_state(p_state) end;
    perform asyouwere.refuse_twice(v_rows);
    return asyouwere.save_snapshot(
        p_session_id, v_rows, p_base, p_idempotency_key, p_label, p_on_conflict, p_annotations);
end;
$$;
comment on function asyouwere.save_json is 'Opens JSON and saves it.';
revoke execute on function asyouwere.save_json from public;
grant execute on function asyouwere.save_json to authenticated, service_role;

create function public.save_session_parts(
    p_session_id uuid, p_ops text[], p_paths text[], p_items int[], p_bodies text[], p_base int default null,
    p_idempotency_key text default null, p_label text default null, p_on_conflict text default 'merge',
    p_metadata jsonb default null, p_external_id text default null, p_parent_number int default null
) returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.save_parts(p_session_id, (p_ops, p_paths, p_items, p_bodies)::asyouwere.change_rows,
        p_base, p_idempotency_key, p_label, p_on_conflict,
        (p_metadata, p_external_id, p_parent_number)::asyouwere.annotations);
end;
$$;
comment on function public.save_session_parts is
    'The same save, opened by the caller into change rows (four arrays, see 06_opening.sql): keeps any JSON'
    ' exactly, \u0000 too. What the HTTPS functions call.';
revoke execute on function public.save_session_parts from public, anon, authenticated, service_role;
grant execute on function public.save_session_parts to authenticated, service_role;

create function asyouwere.save_parts(
    p_session_id uuid, p_rows asyouwere.change_rows, p_base int,
    p_idempotency_key text, p_label text, p_on_conflict text,
    p_annotations asyouwere.annotations default null
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_count int := cardinality(p_rows.ops);
    v_dims text := '[1:' || v_count || ']';
    v_wrong boolean;
    v_not_json boolean;
begin
    -- definer: nobody writes parts but through here and save_json(). Rows from outside are not trusted: check
    -- what opening would have made sure of.
    if v_count > 125000 then
        perform asyouwere.refuse_count(v_count);
    elsif asyouwere.is_large_save(p_rows) then
        perform asyouwere.refuse_second_large(); -- before it is checked
    end if;
    select bool_or(g.op is null or g.op not in ('set', 'in', 'remove', 'append')
                and g.op not in ('add', 'by', 'once', 'expect', 'expect_in', 'expect_absent')
            or g.path is null or not asyouwere.is_path(g.path)
            or (g.op in ('remove', 'expect_absent')) <> (g.body is null)
            or g.path = '/' and (g.op not in ('set', 'expect') or g.item <> -1 or g.body <> '{}')
            or g.op in ('append', 'by', 'once') and g.item is not null or g.item not between -1 and 2147483646
            or g.op in ('in', 'expect_in') and g.item is null
            or g.op = 'by' and left(g.body, 1) <> '"'),
        bool_or(g.body is not null and not asyouwere.is_json(g.body))
    into v_wrong, v_not_json
    from unnest(p_rows.ops, p_rows.paths, p_rows.items, p_rows.bodies) g (op, path, item, body);
    if v_not_json then
        perform asyouwere.fail('invalid_json', 'A body is not JSON.');
    elsif v_wrong or v_count is null or v_count > 0
        -- also not of two dimensions, nor counted from elsewhere than 1: further on they are read by number
        and not coalesce(
            array_dims(p_rows.ops) = v_dims and array_dims(p_rows.paths) = v_dims
            and array_dims(p_rows.items) = v_dims and array_dims(p_rows.bodies) = v_dims, false)
    then
        perform asyouwere.fail('invalid_changes',
            'These are no change rows: four arrays of one length, as documented.');
    end if;
    if p_rows.ops && array['in', 'once', 'expect_in'] then
        perform asyouwere.refuse_loose_rows(p_rows);
    end if;
    return asyouwere.save_snapshot(
        p_session_id, p_rows, p_base, p_idempotency_key, p_label, p_on_conflict, p_annotations);
end;
$$;
comment on function asyouwere.save_parts is 'Checks change rows from outside and saves them.';
revoke execute on function asyouwere.save_parts from public;
grant execute on function asyouwere.save_parts to authenticated, service_role;

-- 10_restoring.sql

-- Restoring: the parts alive at a number, put together as JSON text.
-- The text comes as rows to be joined: 32 items a row. One value of 1 MB costs more to build and copy than
-- all the rest, and no value may have 1 GB.
-- Breaks running code: no.

create function asyouwere.json_between(p_prior_depth int, p_prior_kind "char", p_depth int) returns text
language sql immutable parallel safe
-- What stands between a member and the one before it: closes what the one before left open, then a comma.
--   {"a":{"b":1   }}      after b (depth 2, kept whole) at the end: close a and the root
--   {"a":{        "b":1   after a (depth 1, opened) comes its first member: nothing
--   {"a":[…       ],"c":  after a list its bracket
return case when p_prior_depth is null then '{' else
    case when p_prior_kind = 'l' then ']' else '' end
    || repeat('}', p_prior_depth + case when p_prior_kind = 'o' then 1 else 0 end - greatest(p_depth, 1))
    || case
        when p_depth = 0 then '}'
        when p_prior_kind = 'o' and p_prior_depth = p_depth - 1 then ''
        else ',' end
end;
comment on function asyouwere.json_between is
    'JSON text between two members in path order; depth 0: the end of the state.';
revoke execute on function asyouwere.json_between from public;

create function asyouwere.json_member(p_path text, p_kind "char", p_body text) returns text
language sql immutable parallel safe
return asyouwere.path_json_key(p_path)
    || case p_kind when 'o' then ':{' when 'l' then ':[' else ':' || p_body end;
comment on function asyouwere.json_member is
    'A member''s key with its value, or with the opening bracket of its container.';
revoke execute on function asyouwere.json_member from public;

create function asyouwere.latest_state(p_session bigint) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off
as $$
begin
    -- First the order, of members and of chunks of items; then the text of the chunks, so that it is never
    -- sorted. All by the index of the living; a small table would be scanned, by a plan that stays when it
    -- has grown.
    return query
    select case when f.chunk is null then f.text else (
        select case when f.chunk > 0 then ',' || i.bodies else i.bodies end from (
            select string_agg(o.body, ',') as bodies from (
                select p.body from asyouwere.live_parts p
                where p.session = p_session and p.path = f.path
                    and p.item between f.chunk and f.chunk + 31
                order by p.path, p.item
            ) o
        ) i) end
    from (
        select m.path, null::int as chunk,
            asyouwere.json_between(m.prior_depth, m.prior_kind, m.depth)
                || asyouwere.json_member(m.path, m.kind, m.body) as text
        from (
            select p.path, p.kind, p.depth, p.body,
                lag(p.depth) over (order by p.path) as prior_depth,
                lag(p.kind) over (order by p.path) as prior_kind
            from asyouwere.live_parts p where p.session = p_session and p.item = -1
        ) m
        union all
        select l.path, chunk.first, null
        from asyouwere.live_parts l
        cross join lateral (
            select p.item from asyouwere.live_parts p
            where p.session = p_session and p.path = l.path
            order by p.path desc, p.item desc limit 1
        ) last
        cross join lateral generate_series(0, last.item, 32) as chunk (first)
        where l.session = p_session and l.item = -1 and l.kind = 'l'
        union all
        select '0', null, asyouwere.json_between(e.depth, e.kind, 0) from (
            select p.depth, p.kind from asyouwere.live_parts p
            where p.session = p_session and p.item = -1
            order by p.path desc limit 1
        ) e
        order by 1, 2 nulls first
    ) f;
    if not found then
        return next '{}';
    end if;
end;
$$;
comment on function asyouwere.latest_state is 'The latest state as JSON text, in rows to be joined.';
revoke execute on function asyouwere.latest_state from public;

create function asyouwere.state_at(p_session bigint, p_number int) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set work_mem = '64MB'
as $$
begin
    return query
    select string_agg(f.text, '' order by f.place) from (
        select m.place, concat(
            case when m.kind <> 'i' then asyouwere.json_between(m.prior_depth, m.prior_kind, m.depth)
                    || asyouwere.json_member(m.path, m.kind, m.body)
                when m.prior_kind = 'l' then m.body
                else ',' || m.body end,
            case when m.is_last then asyouwere.json_between(m.depth, m.list_kind, 0) end) as text
        from (
            select p.path, p.kind, p.depth, p.body,
                row_number() over w as place, lead(p.kind) over w is null as is_last,
                lag(p.depth) over w as prior_depth,
                -- after an item the list is still open: json_between must see a list, the next item only a
                -- comma
                case when lag(p.kind) over w = 'i' and p.kind <> 'i' then 'l'
                    else lag(p.kind) over w end as prior_kind,
                case when p.kind = 'i' then 'l' else p.kind end as list_kind
            from asyouwere.parts_at(p_session, p_number) p
            window w as (order by p.path, p.item)
        ) m
    ) f
    group by f.place / 32 order by f.place / 32;
    if not found then
        return next '{}';
    end if;
end;
$$;
comment on function asyouwere.state_at is 'The state at an older number as JSON text, in rows to be joined.';
revoke execute on function asyouwere.state_at from public;

create type asyouwere.snapshot_header as (
    session_id uuid, number int, label text, size_bytes bigint, message_count int,
    created_at timestamptz, status text, latest_number int,
    metadata jsonb, external_id text, parent_number int
);
comment on type asyouwere.snapshot_header is 'What there is to know of a snapshot besides its content.';

create function asyouwere.find_snapshot(
    p_session public.free_agent_sessions, p_number int, p_label text, p_external_id text default null
) returns asyouwere.snapshot_header
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_header asyouwere.snapshot_header;
    v_found public.session_snapshots;
begin
    if p_label is not null then
        select * into v_found from public.session_snapshots n
        where n.session_id = p_session.id and n.label = p_label
            and n.number = coalesce(p_number, n.number)
            and (p_external_id is null or n.external_id = p_external_id);
    elsif p_external_id is not null then
        select * into v_found from public.session_snapshots n
        where n.session_id = p_session.id and n.external_id = p_external_id
            and n.number = coalesce(p_number, n.number);
    else
        select * into v_found from public.session_snapshots n
        where n.session_id = p_session.id and n.number = coalesce(p_number, p_session.latest_number);
    end if;
    -- what the app says of a snapshot concerns those who work together
    if v_found.external_id is not null or v_found.metadata is not null or v_found.parent_number is not null
    then
        if not asyouwere.is_insider(p_session.id, p_session.user_id) then
            v_found.metadata := null;
            v_found.external_id := null;
            v_found.parent_number := null;
            if p_external_id is not null then
                v_found.number := null;
            end if;
        end if;
    end if;
    if v_found.number is null then
        if p_label is not null or p_external_id is not null then
            perform asyouwere.fail('snapshot_not_found', case when p_external_id is null
                then 'This session has no snapshot with this label.'
                else 'This session has no snapshot with this external id.' end);
        elsif coalesce(p_number, p_session.latest_number) = 0 then
            -- before the first save there is the empty state
            v_found.number := 0;
            v_found.size_bytes := 0;
            v_found.message_count := 0;
            v_found.created_at := p_session.created_at;
        elsif p_number between 1 and p_session.latest_number then
            perform asyouwere.refuse_base(p_session, p_number);
        else
            perform asyouwere.fail('snapshot_not_found', 'This session has no snapshot with this number.',
                format('{"number": %s, "latest": %s}', p_number, p_session.latest_number));
        end if;
    end if;
    v_header := (p_session.id, v_found.number, v_found.label, v_found.size_bytes, v_found.message_count,
        v_found.created_at, p_session.status, p_session.latest_number,
        v_found.metadata, v_found.external_id, v_found.parent_number);
    return v_header;
end;
$$;
comment on function asyouwere.find_snapshot is
    'The snapshot with a number, a label, an external id, or the latest. Raises snapshot_not_found; '
    'snapshot_gone if it was pruned.';
revoke execute on function asyouwere.find_snapshot from public;

create function asyouwere.read_snapshot(
    p_session_id uuid, p_number int, p_label text, p_external_id text default null
) returns setof text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_header asyouwere.snapshot_header
        := asyouwere.find_snapshot(v_session, p_number, p_label, p_external_id);
begin
    -- definer: access is checked once, above
    return next row_to_json(v_header)::text;
    if v_header.number = v_session.latest_number then
        return query select asyouwere.latest_state(v_session.internal_id);
    else
        return query select asyouwere.state_at(v_session.internal_id, v_header.number);
    end if;
end;
$$;
comment on function asyouwere.read_snapshot is 'Header and state of a snapshot as rows of text.';
revoke execute on function asyouwere.read_snapshot from public;
grant execute on function asyouwere.read_snapshot to anon, authenticated, service_role;

create function public.get_snapshot_chunks(
    p_session_id uuid, p_number int default null, p_label text default null,
    p_external_id text default null
) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select asyouwere.read_snapshot(p_session_id, p_number, p_label, p_external_id);
end;
$$;
comment on function public.get_snapshot_chunks is
    'A snapshot (the latest, a number, a label, an external id) as text: the first row is a JSON object '
    'that describes it, '
    'all further rows joined are the JSON text of the state, exactly as it was saved.';
revoke execute on function public.get_snapshot_chunks from public, anon, authenticated, service_role;
grant execute on function public.get_snapshot_chunks to anon, authenticated, service_role;

create function public.get_snapshot(
    p_session_id uuid, p_number int default null, p_label text default null,
    p_external_id text default null
) returns table (
    session_id uuid, number int, label text, size_bytes bigint, message_count int,
    created_at timestamptz, status text, latest_number int,
    metadata jsonb, external_id text, parent_number int, state json
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select h.*, s.state::json
    from (
        select min(c.chunk) filter (where c.position = 1) as header,
            string_agg(c.chunk, '' order by c.position) filter (where c.position > 1) as state
        from asyouwere.read_snapshot(p_session_id, p_number, p_label, p_external_id)
            with ordinality as c (chunk, position)
    ) s
    cross join lateral json_populate_record(null::asyouwere.snapshot_header, s.header::json) h;
end;
$$;
comment on function public.get_snapshot is
    'One row: a snapshot (the latest, a number, a label, an external id) with its state as JSON; metadata, '
    'external_id and parent_number for the owner and members. Raises session_not_found, '
    'snapshot_not_found, snapshot_gone.';
revoke execute on function public.get_snapshot from public, anon, authenticated, service_role;
grant execute on function public.get_snapshot to anon, authenticated, service_role;

create function public.get_latest_snapshot(p_session_id uuid)
returns table (
    session_id uuid, number int, label text, size_bytes bigint, message_count int,
    created_at timestamptz, status text, latest_number int,
    metadata jsonb, external_id text, parent_number int, state json
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from public.get_snapshot(p_session_id);
end;
$$;
comment on function public.get_latest_snapshot is
    'One row: the latest snapshot with its state; number 0 and {} before the first save. Raises '
    'session_not_found.';
revoke execute on function public.get_latest_snapshot from public, anon, authenticated, service_role;
grant execute on function public.get_latest_snapshot to anon, authenticated, service_role;

-- 11_syncing.sql

-- Syncing and comparing: both are read off the parts' lifespans, nothing is replayed.
-- Breaks running code: no.

create function asyouwere.changes_text(p_session bigint, p_since int, p_number int default 2147483646)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    -- plpgsql, so that a connection plans it once; before Postgres 18 an sql function is planned anew for
    -- each query that calls it
    return (with begun as materialized (
        select b.path, b.item, b.body from asyouwere.parts_begun(p_session, p_since, p_number) b
    ), gone as materialized (
        -- what was there at p_since and has no successor
        select e.path, e.item from asyouwere.parts_ended(p_session, p_since, p_number) e
        except select b.path, b.item from begun b
    ), gone_on_top as (
        -- under a container that went or changed kind only that; "in" is one look into a hash, a join might
        -- be a loop
        select g.path, g.item from gone g
        where not exists (
            select from unnest(asyouwere.path_ancestors(g.path)) above
            where (above <> g.path or g.item >= 0) and above in (select a.path from gone a where a.item = -1))
    )
    select concat(
        '{"set":{', (
            select string_agg(
                concat(asyouwere.pointer_json(b.path, b.item), ':', b.body), ',' order by b.path, b.item)
            from begun b),
        '},"remove":[', (
            select string_agg(asyouwere.pointer_json(g.path, g.item), ',' order by g.path, g.item desc)
            from gone_on_top g),
        ']}'));
end;
$$;
comment on function asyouwere.changes_text is
    'What makes the state at a kept number that at a later one (default: the latest): {"set": {pointer: '
    'value}, "remove": [pointer]}. Apply remove, then set, in the order given; a set container is empty, '
    'its inside follows.';
revoke execute on function asyouwere.changes_text from public;

create function asyouwere.told_changes(p_session bigint, p_since int, p_number int default 2147483646)
returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    -- by the sizes that are kept with the parts: before anything is put together
    v_bytes bigint := (select sum(b.size) from asyouwere.parts_begun(p_session, p_since, p_number) b);
begin
    -- as in read_changes()
    if v_bytes > 8000000 then
        return null;
    end if;
    perform asyouwere.charge_answer(v_bytes);
    return asyouwere.changes_text(p_session, p_since, p_number);
end;
$$;
comment on function asyouwere.told_changes is
    'changes_text() as a save answers it: null if it is more than 8 MB, a token taken for each MB. '
    'Raises rate_limited.';
revoke execute on function asyouwere.told_changes from public;

create function asyouwere.read_changes(
    p_session_id uuid, p_since int, out number int, out reset boolean, out changes json
) language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
begin
    -- definer: access is checked once, above
    number := v_session.latest_number;
    reset := false;
    if p_since = number then
        changes := '{"set":{},"remove":[]}';
    elsif p_since between 0 and number and (p_since = 0 or (select true from public.session_snapshots n
        where n.session_id = p_session_id and n.number = p_since))
    then
        -- much is restored, which goes out as it is read; this is one value
        select sum(b.size) > 8000000 into reset from asyouwere.parts_begun(v_session.internal_id, p_since) b;
        reset := coalesce(reset, false);
        if not reset then
            changes := asyouwere.changes_text(v_session.internal_id, p_since);
        end if;
    else
        -- of a pruned number nobody knows what has been removed since
        reset := true;
    end if;
end;
$$;
comment on function asyouwere.read_changes is 'The latest number and what has changed since another.';
revoke execute on function asyouwere.read_changes from public;
grant execute on function asyouwere.read_changes to anon, authenticated, service_role;

create function public.get_session_changes(p_session_id uuid, p_since int)
returns table (number int, reset boolean, changes json)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_changes(p_session_id, p_since);
end;
$$;
comment on function public.get_session_changes is
    'One row: the latest number and the changes since p_since, {"set": {pointer: value}, "remove": '
    '[pointer]}: apply remove, then set in order. reset true: p_since is no kept number, or more than 8 MB '
    'have changed; restore instead. Raises session_not_found.';
revoke execute on function public.get_session_changes from public, anon, authenticated, service_role;
grant execute on function public.get_session_changes to anon, authenticated, service_role;

create function asyouwere.read_diff(p_session_id uuid, p_from int, p_to int)
returns table (address json, change text, before json, after json)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
begin
    -- definer: access is checked once, above
    if p_from is null or p_to is null then
        perform asyouwere.fail('invalid_argument', 'Say which two numbers are to be compared.');
    end if;
    perform asyouwere.find_snapshot(v_session, p_from, null);
    perform asyouwere.find_snapshot(v_session, p_to, null);
    if (
        select count(*) > 20000 or sum(d.size) > 16000000 from (
            (
                select p.size from asyouwere.parts_ended(
                    v_session.internal_id, least(p_from, p_to), greatest(p_from, p_to)) p
                limit 20001
            ) union all (
                select p.size from asyouwere.parts_begun(
                    v_session.internal_id, least(p_from, p_to), greatest(p_from, p_to)) p
                limit 20001
            )
        ) d)
    then
        perform asyouwere.fail('too_large',
            'These two differ in more than 20,000 parts or 16 MB. Restore both and compare them.');
    end if;
    return query
    select asyouwere.pointer_json(coalesce(o.path, n.path), coalesce(o.item, n.item))::json,
        case when o.path is null then 'added' when n.path is null then 'removed' else 'changed' end,
        o.body::json, n.body::json
    from (
        -- what ended on the way forth began on the way back
        select p.path, p.item, p.body from asyouwere.parts_ended(v_session.internal_id, p_from, p_to) p
        union all
        select p.path, p.item, p.body from asyouwere.parts_begun(v_session.internal_id, p_to, p_from) p
    ) o
    full join (
        select p.path, p.item, p.body from asyouwere.parts_begun(v_session.internal_id, p_from, p_to) p
        union all
        select p.path, p.item, p.body from asyouwere.parts_ended(v_session.internal_id, p_to, p_from) p
    ) n on n.path = o.path and n.item = o.item
    where o.body is distinct from n.body
    order by coalesce(o.path, n.path), coalesce(o.item, n.item);
end;
$$;
comment on function asyouwere.read_diff is 'The addresses whose body differs between two numbers.';
revoke execute on function asyouwere.read_diff from public;
grant execute on function asyouwere.read_diff to anon, authenticated, service_role;

create function public.diff_snapshots(p_session_id uuid, p_from int, p_to int)
returns table (address json, change text, before json, after json)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_diff(p_session_id, p_from, p_to);
end;
$$;
comment on function public.diff_snapshots is
    'What differs between two snapshots, a row for each address: added, removed or changed, with the '
    'values. 0 is the empty state before the first. Raises session_not_found, snapshot_not_found, '
    'snapshot_gone, too_large.';
revoke execute on function public.diff_snapshots from public, anon, authenticated, service_role;
grant execute on function public.diff_snapshots to anon, authenticated, service_role;

-- 12_history.sql

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

-- 13_messages.sql

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

-- 13_usage.sql

-- Usage: what answers have cost, as the app says it. Sums are kept, by model and day (UTC): of a session,
-- for as long as it is there; of the person who owned it then, for budgets that deleting a session does not
-- fill again. Money is numeric, never a float. The currency is the app's: one for all of its figures, which
-- is not stored. Before the lists, which show a session's cost.
-- Breaks running code: no.

create table public.session_usage (
    session_id uuid not null references public.free_agent_sessions (id) on delete cascade,
    day date not null,
    model text not null,
    calls int not null default 0,
    input_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost numeric not null default 0,
    primary key (session_id, day, model)
) with (fillfactor = 80); -- a sum grows with each record; the update stays on its page (HOT)
comment on table public.session_usage is
    'What a session has used, by day and model. Written by record_usage(), read by the owner and members.';
comment on column public.session_usage.day is 'UTC.';
comment on column public.session_usage.cached_tokens is
    'Of the input tokens those that the model''s provider read from its cache.';
comment on column public.session_usage.cost is 'In the app''s currency.';

create table asyouwere.session_costs (
    session_id uuid primary key references public.free_agent_sessions (id) on delete cascade,
    calls int not null default 0,
    input_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost numeric not null default 0,
    budget numeric
) with (fillfactor = 80);
comment on table asyouwere.session_costs is
    'Sum of a session''s usage, one row for lists to look up, and its budget. Sessions that used nothing '
    'have none.';
comment on column asyouwere.session_costs.budget is 'In the app''s currency; null: none.';

create table public.user_usage (
    user_id uuid not null,
    day date not null,
    model text not null,
    calls int not null default 0,
    input_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost numeric not null default 0,
    primary key (user_id, day, model)
) with (fillfactor = 80);
comment on table public.user_usage is
    'What a person''s sessions have used, those that are deleted or another''s by now too. Each reads the '
    'own.';
create index user_usage_by_day on public.user_usage (day);

create table asyouwere.user_budgets (
    user_id uuid primary key,
    budget numeric not null,
    period text not null check (period in ('day', 'month'))
);
comment on table asyouwere.user_budgets is
    'How much each person''s sessions are to cost in a period; the service writes it.';

create table asyouwere.usage_records (
    session bigint not null,
    key uuid not null,
    content uuid not null,
    recorded_at timestamptz not null default now(),
    turn_id uuid,
    calls int not null default 1,
    input_tokens bigint not null,
    cached_tokens bigint not null,
    output_tokens bigint not null,
    cost numeric not null,
    primary key (session, key)
);
comment on table asyouwere.usage_records is
    'What was recorded with a key or a turn, for keep_keys_for: a retry counts once, and a turn knows '
    'what it cost.';
comment on column asyouwere.usage_records.session is
    'free_agent_sessions.internal_id. No foreign key: the sweep takes them, in steps.';
comment on column asyouwere.usage_records.key is 'MD5 of the idempotency key; at random if there was none.';
comment on column asyouwere.usage_records.content is 'MD5 of what was recorded, to tell a retry.';
create index usage_records_by_age on asyouwere.usage_records (recorded_at);
create index usage_records_by_turn on asyouwere.usage_records (session, turn_id) where turn_id is not null;

alter table public.session_usage enable row level security;
alter table public.user_usage enable row level security;
alter table asyouwere.session_costs enable row level security;
alter table asyouwere.user_budgets enable row level security; -- no policy: the functions only
alter table asyouwere.usage_records enable row level security; -- no policy: the functions only
revoke all on public.session_usage, public.user_usage from anon, authenticated, service_role;
grant select on public.session_usage, public.user_usage, asyouwere.session_costs to authenticated,
    service_role;

-- What a public session costs is nobody's business but of those who work with it. The session itself is
-- read under its own policy, so a member of one that is private again reads nothing.
create policy "Owners and members read what a session has used"
    on public.session_usage for select to authenticated
    using ((
        select s.user_id = (select auth.uid())
            or s.id = any (array(select asyouwere.session_ids_shared_with_me()))
        from public.free_agent_sessions s where s.id = session_usage.session_id));
create policy "Owners and members read what a session costs"
    on asyouwere.session_costs for select to authenticated
    using ((
        select s.user_id = (select auth.uid())
            or s.id = any (array(select asyouwere.session_ids_shared_with_me()))
        from public.free_agent_sessions s where s.id = session_costs.session_id));
create policy "People read what their sessions have used"
    on public.user_usage for select to authenticated using (user_id = (select auth.uid()));

create function asyouwere.forget_usage(p_rows int) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_settings asyouwere.settings;
    v_records int;
    v_sums int;
begin
    select * into v_settings from asyouwere.settings;
    delete from asyouwere.usage_records t where t.ctid = any (array(
        select r.ctid from asyouwere.usage_records r
        where r.recorded_at < now() - v_settings.keep_keys_for
        order by r.recorded_at limit p_rows for update skip locked));
    get diagnostics v_records = row_count;
    delete from public.user_usage t where t.ctid = any (array(
        select u.ctid from public.user_usage u
        where u.day < (now() - v_settings.keep_usage_for)::date
        order by u.day limit p_rows for update skip locked));
    get diagnostics v_sums = row_count;
    return v_records = p_rows or v_sums = p_rows;
end;
$$;
comment on function asyouwere.forget_usage is
    'Deletes old records of usage and old sums of people; true if there are more.';
revoke execute on function asyouwere.forget_usage from public;

-- 14_session_functions.sql

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

-- 15_export.sql

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

-- 15_import.sql

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

-- 16_cleanup_runs.sql

-- What the clean-up remembers: how far its passes have come, and where it failed.
-- Breaks running code: no.

create table asyouwere.cleanup_runs (
    id bigint generated always as identity primary key,
    started_at timestamptz not null,
    ran_at timestamptz not null,
    calls int not null default 0,
    took_ms numeric(14, 1) not null default 0,
    longest_ms numeric(12, 1) not null default 0,
    kind text not null check (kind in ('snapshots', 'sessions')),
    last_session bigint not null default 0,
    sessions int not null default 0,
    snapshots int not null default 0,
    parts bigint not null default 0,
    bytes bigint not null default 0,
    done boolean not null default false
);
comment on table asyouwere.cleanup_runs is
    'What each pass of the clean-up over all sessions did, the calls of it together.';
comment on column asyouwere.cleanup_runs.ran_at is 'When its latest call was.';
comment on column asyouwere.cleanup_runs.last_session is
    'internal_id up to which it has come; there the next call goes on.';
alter table asyouwere.cleanup_runs enable row level security;
grant select on asyouwere.cleanup_runs to service_role;
create index cleanup_runs_latest on asyouwere.cleanup_runs (kind, id desc);

create table asyouwere.cleanup_failures (
    session bigint not null,
    kind text not null check (kind in ('snapshots', 'parts', 'sessions', 'turns', 'accounts')),
    sql_state text not null,
    first_failed_at timestamptz not null default now(),
    last_failed_at timestamptz not null default now(),
    primary key (session, kind)
);
comment on table asyouwere.cleanup_failures is
    'Sessions that a step of the clean-up could not be done for, at most 1,000; `asyouwere doctor` tells of'
    ' them. No message: it might quote what people wrote.';
alter table asyouwere.cleanup_failures enable row level security;
grant select on asyouwere.cleanup_failures to service_role;

create function asyouwere.note_failure(p_session bigint, p_kind text, p_sql_state text) returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    insert into asyouwere.cleanup_failures (session, kind, sql_state)
    select p_session, p_kind, p_sql_state where (select count(*) from asyouwere.cleanup_failures) < 1000
    on conflict (session, kind) do update set sql_state = excluded.sql_state, last_failed_at = now()
$$;
comment on function asyouwere.note_failure is
    'Remembers that a step failed for a session; it is tried again in the next pass.';
revoke execute on function asyouwere.note_failure from public;

create function asyouwere.last_session(p_kind text) returns bigint
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select case when r.done then 0 else r.last_session end from asyouwere.cleanup_runs r
        where r.kind = p_kind order by r.id desc limit 1), 0)
$$;
comment on function asyouwere.last_session is
    'Where a pass goes on: the internal_id up to which it has come, 0 for a new pass.';
revoke execute on function asyouwere.last_session from public;

create function asyouwere.note_run(p_call asyouwere.cleanup_runs) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_took numeric := 1000 * extract(epoch from clock_timestamp() - p_call.started_at);
begin
    update asyouwere.cleanup_runs r
    set ran_at = clock_timestamp(), calls = r.calls + 1, took_ms = r.took_ms + v_took,
        longest_ms = greatest(r.longest_ms, v_took), last_session = p_call.last_session,
        sessions = r.sessions + p_call.sessions, snapshots = r.snapshots + p_call.snapshots,
        parts = r.parts + p_call.parts, bytes = r.bytes + p_call.bytes, done = p_call.done
    where not r.done and r.id = (
        select l.id from asyouwere.cleanup_runs l where l.kind = p_call.kind order by l.id desc limit 1);
    if not found then
        insert into asyouwere.cleanup_runs (started_at, ran_at, calls, took_ms, longest_ms, kind,
            last_session,
            sessions, snapshots, parts, bytes, done)
        values (p_call.started_at, clock_timestamp(), 1, v_took, v_took, p_call.kind, p_call.last_session,
            p_call.sessions, p_call.snapshots, p_call.parts, p_call.bytes, p_call.done);
        delete from asyouwere.cleanup_runs r
        where r.ran_at < now() - interval '30 days'
            and r.id in (select o.id from asyouwere.cleanup_runs o order by o.id limit 100);
    end if;
end;
$$;
comment on function asyouwere.note_run is
    'Adds what a call did to its pass, or begins one; forgets passes after 30 days.';
revoke execute on function asyouwere.note_run from public;

-- 16_expiry.sql

-- Expiry: idle sessions are marked, and deleted after a time of grace. Works session by session, apart from
-- pruning.
-- Breaks running code: no.

-- Never changes with a save, as an index by activity would.
create index free_agent_sessions_expiring on public.free_agent_sessions (internal_id)
    where expires_after is not null;

create function asyouwere.next_to_expire(p_after bigint, out session bigint, out looked_through bigint)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_grace numeric := extract(epoch from (select t.delete_expired_after from asyouwere.settings t));
begin
    -- By seconds: to subtract an interval of any kind from a time may fail. Stops at the first one.
    select l.internal_id into session
    from (
        select s.internal_id, s.id, s.expired_at, s.last_activity_at, s.expires_after
        from public.free_agent_sessions s
        where s.internal_id > p_after and s.expires_after is not null order by s.internal_id limit 500
    ) l
    where case
        when l.expired_at is null then
            extract(epoch from l.last_activity_at) + extract(epoch
                from l.expires_after) < extract(epoch from now())
        else extract(epoch from l.expired_at) + v_grace < extract(epoch from now())
            -- what somebody has named is not thrown away
            and not exists (
                select from public.session_snapshots n where n.session_id = l.id and n.label is not null)
        end
    order by l.internal_id limit 1;
    if session is null then
        select max(l.internal_id) into looked_through
        from (
            select s.internal_id from public.free_agent_sessions s
            where s.internal_id > p_after and s.expires_after is not null order by s.internal_id limit 500
        ) l;
    end if;
end;
$$;
comment on function asyouwere.next_to_expire is
    'Of the next 500 sessions that can expire the first one to be marked or deleted; or, if there is none, '
    'looked_through: the last of them, null after the last session.';
revoke execute on function asyouwere.next_to_expire from public;

create function asyouwere.expire_session(p_session bigint, out expired int, out deleted int)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions;
    v_grace numeric := extract(epoch from (select t.delete_expired_after from asyouwere.settings t));
    v_ids uuid[];
begin
    expired := 0;
    deleted := 0;
    select * into v_session from public.free_agent_sessions s
        where s.internal_id = p_session for update skip locked;
    if not found then
        return; -- somebody is saving into it, so it lives
    elsif exists (select from public.session_turns t
        where t.session_id = v_session.id and t.status = 'running' and t.lease_until > now())
    then
        return; -- an answer is being made, so it is not idle
    elsif v_session.expired_at is null then
        -- it may have been saved into since it was found
        if extract(epoch from v_session.last_activity_at) + extract(epoch from v_session.expires_after)
            < extract(epoch from now())
        then
            update public.free_agent_sessions s set status = 'expired', expired_at = now()
                where s.internal_id = p_session;
            expired := 1;
        end if;
        return;
    end if;
    -- neither revived and expired again since then, nor given a label: what somebody has named stays
    v_ids := asyouwere.sessions_within(array[v_session.id]);
    if extract(epoch from v_session.expired_at) + v_grace >= extract(epoch from now())
        or exists (
            select from public.session_snapshots n where n.session_id = any (v_ids) and n.label is not null)
        -- nor is anything thrown away that was worked with in that time, be it in what belongs to it
        or exists (
            select from public.free_agent_sessions s
            where s.id = any (v_ids) and s.internal_id <> p_session
                and extract(epoch from s.last_activity_at) + v_grace >= extract(epoch from now()))
        or exists (
            select from public.session_turns t
            where t.session_id = any (v_ids) and t.status = 'running' and t.lease_until > now())
    then
        return;
    end if;
    -- what belongs to it goes with it, if nobody is saving into that; else at another time
    if not asyouwere.lock_within(v_session.id) then
        return;
    end if;
    delete from public.free_agent_sessions s where s.internal_id = p_session;
    deleted := 1;
end;
$$;
comment on function asyouwere.expire_session is
    'Marks a session as expired, or deletes one whose time of grace is over.';
revoke execute on function asyouwere.expire_session from public;

create function asyouwere.run_expiry(p_max_sessions int)
returns table (expired int, deleted int, done boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_max_sessions int := coalesce(p_max_sessions, 200);
    v_until timestamptz := clock_timestamp() + interval '50 ms';
    v_call asyouwere.cleanup_runs;
    v_next record;
    v_step record;
begin
    -- definer: sessions of all people
    if v_max_sessions not between 1 and 10000 then
        perform asyouwere.fail('invalid_argument', 'Between 1 and 10,000 sessions a call.');
    end if;
    expired := 0;
    deleted := 0;
    done := true;
    if not pg_try_advisory_xact_lock(hashtextextended('asyouwere expiry', 0)) then
        return next;
        return;
    end if;
    v_call.started_at := clock_timestamp();
    v_call.kind := 'sessions';
    v_call.last_session := asyouwere.last_session('sessions');
    loop
        select * into v_next from asyouwere.next_to_expire(v_call.last_session);
        done := v_next.session is null and v_next.looked_through is null;
        v_call.last_session := coalesce(v_next.session, v_next.looked_through, v_call.last_session);
        if v_next.session is not null then
            begin
                select * into v_step from asyouwere.expire_session(v_next.session);
                delete from asyouwere.cleanup_failures f where f.session = v_next.session
                    and f.kind = 'sessions';
                expired := expired + v_step.expired;
                deleted := deleted + v_step.deleted;
            exception when others then
                perform asyouwere.note_failure(v_next.session, 'sessions', sqlstate);
            end;
        end if;
        exit when done or expired >= v_max_sessions or deleted >= v_max_sessions
            or clock_timestamp() > v_until;
    end loop;
    v_call.sessions := expired + deleted;
    v_call.snapshots := 0;
    v_call.parts := 0;
    v_call.bytes := 0;
    v_call.done := done;
    perform asyouwere.note_run(v_call);
    return next;
end;
$$;
comment on function asyouwere.run_expiry is 'One call of the expiry, noted in cleanup_runs.';
revoke execute on function asyouwere.run_expiry from public;
grant execute on function asyouwere.run_expiry to service_role;

create function public.expire_idle_sessions(p_max_sessions int default 200)
returns table (expired int, deleted int, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.run_expiry(p_max_sessions);
end;
$$;
comment on function public.expire_idle_sessions is
    'Mark sessions as expired that were idle longer than their expires_after, and delete those expired '
    'longer than the grace time (asyouwere.settings) that have no labelled snapshot. A save into an expired'
    ' session revives it. One short batch a call; call until done. Service only.';
revoke execute on function public.expire_idle_sessions from public, anon, authenticated, service_role;
grant execute on function public.expire_idle_sessions to service_role;

-- 16_pruning.sql

-- Pruning: history that thins out. A snapshot is kept for as long as its rank says (asyouwere.settings):
--   any                       keep_for          7 days
--   the last one of an hour   keep_hourly_for   30 days
--   the last one of a day     keep_daily_for    a year
--   the last one of a month   keep_monthly_for  for ever
-- and the labelled, the newest keep_snapshots, the latest, and what a fork is merged back by, whatever their
-- age. Hours, days and months are UTC's. The rank hangs on the next snapshot alone: one is the last of its
-- hour if the next is of another. So a pass reads a session's snapshots in order, once; what it keeps tells
-- when to come back.
-- Breaks running code: no.

create type asyouwere.retention as (
    newest int, all_seconds float8, hourly_seconds float8, daily_seconds float8, monthly_seconds float8
);
comment on type asyouwere.retention is
    'What clean-up keeps: how many, and for how long by rank; infinity: for ever.';

create table asyouwere.thinned (
    session bigint primary key,
    due_at timestamptz not null,
    retention int not null
);
comment on table asyouwere.thinned is 'Sessions of which old snapshots are kept that will go one day.';
comment on column asyouwere.thinned.due_at is 'When the first of those that a pass has kept is to go.';
comment on column asyouwere.thinned.retention is
    'Hash of the retention that it was computed for; another one looks at all again.';
alter table asyouwere.thinned enable row level security; -- no policy: the functions only

create function asyouwere.retention_of(p_keep int, p_older_than interval) returns asyouwere.retention
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_retention asyouwere.retention;
begin
    -- seconds, not intervals: months and days of an interval can have opposite signs
    select * into v_settings from asyouwere.settings;
    v_retention.newest := coalesce(p_keep, v_settings.keep_snapshots);
    if p_older_than is null then
        v_retention.all_seconds := extract(epoch from v_settings.keep_for);
        v_retention.hourly_seconds := greatest(v_retention.all_seconds, extract(epoch
            from v_settings.keep_hourly_for));
        v_retention.daily_seconds := greatest(v_retention.hourly_seconds, extract(epoch
            from v_settings.keep_daily_for));
        v_retention.monthly_seconds := greatest(v_retention.daily_seconds,
            coalesce(extract(epoch from v_settings.keep_monthly_for), 'infinity'));
    else
        v_retention.all_seconds := extract(epoch from p_older_than);
        v_retention.hourly_seconds := v_retention.all_seconds;
        v_retention.daily_seconds := v_retention.all_seconds;
        v_retention.monthly_seconds := v_retention.all_seconds;
    end if;
    if v_retention.newest < 1 or v_retention.all_seconds not between 0 and 1e10 then
        perform asyouwere.fail('invalid_argument', 'Keep at least 1 snapshot, an age from 0 to 300 years.');
    end if;
    return v_retention;
end;
$$;
comment on function asyouwere.retention_of is
    'The retention of the settings, or of a call that has its own. Raises invalid_argument.';
revoke execute on function asyouwere.retention_of from public;

create function asyouwere.kept_until(p_at timestamptz, p_next timestamptz, p_retention asyouwere.retention)
returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select case when k.seconds = 'infinity' then 'infinity' else p_at + make_interval(secs => k.seconds) end
    from (
        select case
            when date_trunc('month', p_at, 'UTC') <> date_trunc('month', p_next, 'UTC')
                then p_retention.monthly_seconds
            when date_trunc('day', p_at, 'UTC') <> date_trunc('day', p_next, 'UTC')
                then p_retention.daily_seconds
            when date_trunc('hour', p_at, 'UTC') <> date_trunc('hour', p_next, 'UTC')
                then p_retention.hourly_seconds
            else p_retention.all_seconds end as seconds
    ) k
$$;
comment on function asyouwere.kept_until is
    'How long a snapshot is kept that has no label, by its time and the next one''s.';
revoke execute on function asyouwere.kept_until from public;

create function asyouwere.next_to_prune(
    p_after bigint, p_retention asyouwere.retention, out session bigint, out looked_through bigint
)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_young timestamptz := now() - make_interval(secs => p_retention.all_seconds);
    v_retention int := hashtext(p_retention::text);
begin
    -- stops at the first one, so that a pass asks each session once
    select l.internal_id into session
    from (
        select s.internal_id, s.id, s.latest_number, s.pruned_through from public.free_agent_sessions s
        where s.internal_id > p_after order by s.internal_id limit 500
    ) l
    left join asyouwere.thinned t on t.session = l.internal_id
    where t.due_at <= now() or t.retention <> v_retention
        -- what has been added since the last time: is the first of it old enough?
        or l.latest_number::bigint - p_retention.newest > l.pruned_through
            and (
                select n.created_at from public.session_snapshots n
                where n.session_id = l.id and n.number > l.pruned_through order by n.number limit 1) < v_young
    order by l.internal_id limit 1;
    if session is null then
        select max(l.internal_id) into looked_through
        from (
            select s.internal_id from public.free_agent_sessions s
            where s.internal_id > p_after order by s.internal_id limit 500
        ) l;
    end if;
end;
$$;
comment on function asyouwere.next_to_prune is
    'Of the next 500 sessions the first one with something to prune; or, if there is none, looked_through: '
    'the last of '
    'them, null after the last session.';
revoke execute on function asyouwere.next_to_prune from public;

create function asyouwere.prune_session(
    p_session bigint, p_retention asyouwere.retention, out snapshots int, out finished boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions;
    v_thinned asyouwere.thinned;
    v_retention int := hashtext(p_retention::text);
    v_young timestamptz := now() - make_interval(secs => p_retention.all_seconds);
    v_bound bigint; -- the highest number that is not among the newest
    v_from int;
    v_due timestamptz;
    v_listed int;
    v_through int;
    v_stopped_at int;
begin
    select * into v_session from public.free_agent_sessions s where s.internal_id = p_session
    for no key update skip locked;
    if not found then
        return;
    end if;
    v_bound := v_session.latest_number::bigint - p_retention.newest;
    select * into v_thinned from asyouwere.thinned t where t.session = p_session;
    if v_thinned.due_at <= now() or v_thinned.retention <> v_retention then
        v_from := 0; -- from the start again: something that was kept is to go now
        v_due := null;
    else
        v_from := v_session.pruned_through;
        v_due := v_thinned.due_at;
    end if;

    with listed as materialized (
        select n.*, lead(n.number) over w as next_number, lead(n.created_at) over w as next_at,
            bool_and(n.number <= v_bound and n.created_at < v_young) over w as is_ripe
        from (
            select q.ctid as place, q.number, q.created_at, q.label from public.session_snapshots q
            where q.session_id = v_session.id and q.number > v_from order by q.number limit 501
        ) n
        window w as (order by n.number)
    ), judged as materialized (
        select l.place, l.number, l.next_number, l.label, k.kept_until,
            l.label is null and k.kept_until <= now() as goes
        from listed l
        cross join lateral (
            select case
                when l.number = (
                    select f.base_number from asyouwere.fork_origins f where f.session_id = v_session.id)
                then 'infinity' else asyouwere.kept_until(l.created_at, l.next_at, p_retention) end
        ) k (kept_until)
        where l.is_ripe and l.next_number is not null
    ), neighbours as (
        -- between which two that stay each one lies
        select j.number, j.goes,
            coalesce(max(j.number) filter (where not j.goes) over (order by j.number), (
                select max(n.number) from public.session_snapshots n
                where n.session_id = v_session.id and n.number <= v_from), 0) as before,
            coalesce(min(j.number) filter (where not j.goes)
                over (order by j.number rows between current row and unbounded following),
                max(j.next_number) over ()) as behind
        from judged j
    ), removed as (
        delete from public.session_snapshots t
        where t.ctid = any (array(select j.place from judged j where j.goes)) returning 1
    ), unseen as (
        insert into asyouwere.unswept (session, since_after, until_after, until_through)
        select p_session, n.before, min(n.number), n.behind from neighbours n
            where n.goes group by n.before, n.behind
    )
    select (select count(*) from removed), count(*), max(l.number) filter (where l.is_ripe
        and l.next_number is not null),
        min(l.number) filter (where not l.is_ripe),
        least(v_due, (select min(j.kept_until) from judged j where not j.goes and j.label is null))
    into snapshots, v_listed, v_through, v_stopped_at, v_due
    from listed l;

    finished := v_listed <= 500 or v_stopped_at is not null;
    update public.free_agent_sessions s
    set pruned_through = case
        when finished and coalesce(v_stopped_at, v_bound + 1) > v_bound then greatest(v_bound, v_from)
        else coalesce(v_through, v_from) end
    where s.internal_id = p_session;
    if v_due is null then
        delete from asyouwere.thinned t where t.session = p_session;
    else
        insert into asyouwere.thinned (session, due_at, retention) values (p_session, v_due, v_retention)
        on conflict (session) do update set due_at = excluded.due_at, retention = excluded.retention;
    end if;
end;
$$;
comment on function asyouwere.prune_session is
    'Judges up to 500 of a session''s snapshots and removes those that are to go; their parts are left to '
    'sweep(). finished: there are no more. snapshots is null if somebody else has the session''s lock.';
revoke execute on function asyouwere.prune_session from public;

-- 16_sweeping.sql

-- Sweeping: parts that no kept snapshot can see are written down first, as a range of lifespans, and deleted
-- later, a bounded number at a time and without a session's lock: nobody reads them any more. So removing a
-- snapshot, or a session, costs the same however much is in it.
-- Breaks running code: no.

create table asyouwere.unswept (
    id bigint generated always as identity primary key,
    session bigint not null,
    since_after int not null default 0,
    until_after int not null default 0,
    until_through int not null default 2147483647,
    freed_bytes bigint not null default 0,
    is_swept boolean not null default false,
    retry_at timestamptz not null default '-infinity'
);
comment on table asyouwere.unswept is
    'Parts to be deleted: those of a session with since > since_after and until_after < until <= '
    'until_through.';
comment on column asyouwere.unswept.until_through is
    'The largest int: the living as well, the session''s keys, chunks and records of usage: it is gone.';
comment on column asyouwere.unswept.freed_bytes is
    'Size of those deleted so far, to be taken off the session''s stored_bytes.';
comment on column asyouwere.unswept.is_swept is
    'All are deleted; only the session''s row has yet to be told.';
comment on column asyouwere.unswept.retry_at is 'After a failure: not before this.';
alter table asyouwere.unswept enable row level security; -- no policy: the functions only
create index unswept_by_session on asyouwere.unswept (session);

create index save_keys_by_age on asyouwere.save_keys (created_at);

create function asyouwere.sweep_range(
    inout p_range asyouwere.unswept, p_rows int, p_bytes bigint, p_one_anyway boolean, out parts int
)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_is_gone boolean := p_range.until_through = 2147483647;
    v_places tid[];
    v_listed int;
    v_last int;
    v_bytes bigint;
    v_keys int;
    v_chunks int;
    v_records int;
begin
    -- In the order of an index, so that the next step need not pass by what is deleted already.
    with listed as (
        select q.ctid as place, q.until as position, q.size from asyouwere.parts q
        where not v_is_gone and q.session = p_range.session and q.until < 2147483647
            and q.until > p_range.until_after and q.until <= p_range.until_through
                and q.since > p_range.since_after
        order by q.session, q.until limit p_rows
    ), listed_of_gone as (
        select q.ctid as place, q.since as position, q.size from asyouwere.parts q
        where v_is_gone and q.session = p_range.session and q.since > p_range.since_after
        order by q.session, q.since limit p_rows
    ), measured as (
        select l.place, l.position, sum(l.size::bigint) over w <= p_bytes or p_one_anyway
            and row_number() over w = 1 as fits
        from (select * from listed union all select * from listed_of_gone) l
        window w as (order by l.position rows unbounded preceding)
    )
    select count(*), array_agg(m.place) filter (where m.fits), max(m.position) filter (where m.fits)
    into v_listed, v_places, v_last from measured m;

    with gone as (delete from asyouwere.parts t where t.ctid = any (v_places) returning t.size)
    select count(*), coalesce(sum(g.size), 0) into parts, v_bytes from gone g;
    p_range.freed_bytes := p_range.freed_bytes + v_bytes;
    p_range.is_swept := v_listed < p_rows and parts = v_listed;
    if not v_is_gone then
        p_range.until_after := coalesce(v_last - 1, p_range.until_after);
    else
        p_range.since_after := coalesce(v_last - 1, p_range.since_after);
        if p_range.is_swept then
            delete from asyouwere.save_keys t where t.ctid = any (array(
                select k.ctid from asyouwere.save_keys k where k.session = p_range.session limit p_rows));
            get diagnostics v_keys = row_count;
            delete from asyouwere.turn_chunks t where t.ctid = any (array(
                select c.ctid from asyouwere.turn_chunks c where c.session = p_range.session limit p_rows));
            get diagnostics v_chunks = row_count;
            delete from asyouwere.usage_records t where t.ctid = any (array(
                select r.ctid from asyouwere.usage_records r where r.session = p_range.session limit p_rows));
            get diagnostics v_records = row_count;
            p_range.is_swept := v_keys < p_rows and v_chunks < p_rows and v_records < p_rows;
        end if;
    end if;
    update asyouwere.unswept u
    set since_after = p_range.since_after, until_after = p_range.until_after,
        freed_bytes = p_range.freed_bytes,
        is_swept = p_range.is_swept
    where u.id = p_range.id;
end;
$$;
comment on function asyouwere.sweep_range is
    'Deletes up to p_rows parts of a range, of at most p_bytes in all (p_one_anyway: or one that is '
    'larger), and says what range is left.';
revoke execute on function asyouwere.sweep_range from public;

create function asyouwere.sweep(
    p_rows int, p_bytes bigint, p_session bigint default null, out parts int, out bytes bigint,
        out finished boolean
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_until timestamptz := clock_timestamp() + interval '50 ms';
    v_range asyouwere.unswept;
    v_step record;
begin
    parts := 0;
    bytes := 0;
    loop
        if p_session is null then
            select * into v_range from asyouwere.unswept u
            where not u.is_swept and u.retry_at <= now() order by u.id limit 1;
        else
            select * into v_range from asyouwere.unswept u
            where not u.is_swept and u.retry_at <= now() and u.session = p_session order by u.id limit 1;
        end if;
        finished := not found;
        exit when finished or parts >= p_rows or bytes >= p_bytes or clock_timestamp() > v_until;
        begin
            -- who holds a session's lock never waits for one large part
            select * into v_step from asyouwere.sweep_range(v_range, p_rows - parts, p_bytes - bytes,
                p_session is null and parts = 0);
        exception when others then
            perform asyouwere.note_failure(v_range.session, 'parts', sqlstate);
            update asyouwere.unswept u set retry_at = now() + interval '1 hour' where u.id = v_range.id;
            continue;
        end;
        parts := parts + v_step.parts;
        bytes := bytes + (v_step.p_range).freed_bytes - v_range.freed_bytes;
        exit when v_step.parts = 0 and not (v_step.p_range).is_swept; -- the next one is too large for this call
    end loop;
end;
$$;
comment on function asyouwere.sweep is
    'Deletes parts that nobody can see, of all sessions or of one, within limits and 50 ms. finished: there'
    ' are no more.';
revoke execute on function asyouwere.sweep from public;

create function asyouwere.settle_sweeps() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_swept record;
begin
    for v_swept in
        select u.session, sum(u.freed_bytes) as bytes, array_agg(u.id) as ids
        from (select * from asyouwere.unswept o where o.is_swept order by o.id limit 500) u group by u.session
    loop
        perform from public.free_agent_sessions s where s.internal_id = v_swept.session
        for no key update skip locked;
        if found then
            update public.free_agent_sessions s set stored_bytes = s.stored_bytes - v_swept.bytes
            where s.internal_id = v_swept.session;
        else
            -- somebody is saving into it: next time
            continue when exists (select from public.free_agent_sessions s
                where s.internal_id = v_swept.session);
        end if;
        delete from asyouwere.unswept u where u.id = any (v_swept.ids);
        delete from asyouwere.cleanup_failures f where f.session = v_swept.session and f.kind = 'parts';
    end loop;
end;
$$;
comment on function asyouwere.settle_sweeps is
    'Takes what was freed off the sessions'' stored_bytes: the last, short step of a call.';
revoke execute on function asyouwere.settle_sweeps from public;

create function asyouwere.leave_to_sweep() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_until timestamptz := clock_timestamp() + interval '50 ms';
    v_sessions bigint[] := array(select g.internal_id from gone g order by g.internal_id);
    v_rows int := 2000;
    v_swept record;
begin
    -- definer: nobody may delete parts
    insert into asyouwere.unswept (session) select u.session from unnest(v_sessions) u (session);
    delete from asyouwere.thinned t where t.session = any (v_sessions);
    delete from asyouwere.cleanup_failures f where f.session = any (v_sessions);
    -- what is small is deleted at once
    for i in 1 .. cardinality(v_sessions) loop
        select * into v_swept from asyouwere.sweep(v_rows, 4 * 1024 * 1024, v_sessions[i]);
        v_rows := v_rows - v_swept.parts;
        exit when v_rows <= 0 or not v_swept.finished or clock_timestamp() > v_until;
    end loop;
    delete from asyouwere.unswept u where u.session = any (v_sessions) and u.is_swept;
    return null;
end;
$$;
comment on function asyouwere.leave_to_sweep is
    'When sessions go, nobody can read their parts from then on; up to 2,000 are deleted with them, the '
    'others by the clean-up.';
revoke execute on function asyouwere.leave_to_sweep from public;
create trigger leave_to_sweep after delete on public.free_agent_sessions
    referencing old table as gone
    for each statement execute function asyouwere.leave_to_sweep();

create function asyouwere.forget_keys(p_rows int) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_keys int;
begin
    delete from asyouwere.save_keys t where t.ctid = any (array(
        select k.ctid from asyouwere.save_keys k
        where k.created_at < now() - (select s.keep_keys_for from asyouwere.settings s)
        order by k.created_at limit p_rows));
    get diagnostics v_keys = row_count;
    return v_keys = p_rows;
end;
$$;
comment on function asyouwere.forget_keys is
    'Deletes old idempotency keys, whatever their sessions; true if there are more.';
revoke execute on function asyouwere.forget_keys from public;

-- 17_embeds.sql

-- Embeds: what PostgREST (11 and up) can't read off foreign keys, because views have none and sessions_list
-- stands on a view it does not see. A function of one row, named as what it leads to, is a relationship to
-- it. Their bodies were bound when they were made and they have no SET clause, so that the planner can see
-- inside: an embed of a table is then a join (not one of sessions_list: its rows hold sub-selects, which keep
-- the planner out). They run as the caller; the rows' policies decide.
-- Breaks running code: no.

create function public.session_messages(public.free_agent_sessions) returns setof public.session_messages
language sql stable rows 100
begin atomic
    -- not through the view: of its join the planner does not know that it comes in the order of positions
    select asyouwere.message_id($1.id, p.item) as id, $1.id as session_id, p.item as position,
        asyouwere.body_role(p.body) as role, asyouwere.body_text(p.body) as content,
        p.body::json as body, p.created_at
    from asyouwere.live_parts p
    where p.session = $1.internal_id and p.path = '/messages/' and p.item >= 0;
end;
comment on function public.session_messages(public.free_agent_sessions) is
    'The messages of a session, to be embedded.';

create function public.session_messages(public.sessions_list) returns setof public.session_messages
language sql stable rows 100
begin atomic
    -- a scalar sub-select, not a join, which would lose the order again
    select asyouwere.message_id($1.id, p.item) as id, $1.id as session_id, p.item as position,
        asyouwere.body_role(p.body) as role, asyouwere.body_text(p.body) as content,
        p.body::json as body, p.created_at
    from asyouwere.live_parts p
    where p.session = (select s.internal_id from public.free_agent_sessions s where s.id = $1.id)
        and p.path = '/messages/' and p.item >= 0;
end;
comment on function public.session_messages(public.sessions_list) is
    'The messages of a session, to be embedded.';

create function public.free_agent_sessions(public.session_messages) returns setof public.free_agent_sessions
language sql stable rows 1 -- so PostgREST embeds one object, no list
begin atomic
    select s.* from public.free_agent_sessions s where s.id = $1.session_id;
end;
comment on function public.free_agent_sessions(public.session_messages) is
    'The session of a message, to be embedded.';

create function public.session_snapshots(public.sessions_list) returns setof public.session_snapshots
language sql stable rows 100
begin atomic
    select n.* from public.session_snapshots n where n.session_id = $1.id;
end;
comment on function public.session_snapshots(public.sessions_list) is
    'The kept snapshots of a session, to be embedded.';

create function public.session_members(public.sessions_list) returns setof public.session_members
language sql stable rows 10
begin atomic
    select m.* from public.session_members m where m.session_id = $1.id;
end;
comment on function public.session_members(public.sessions_list) is
    'The members of a session, to be embedded.';

revoke execute on function
    public.session_messages(public.free_agent_sessions), public.session_messages(public.sessions_list),
    public.free_agent_sessions(public.session_messages), public.session_snapshots(public.sessions_list),
    public.session_members(public.sessions_list)
from public, anon, authenticated, service_role;
-- not to anon: whoever embeds by a function has to read the whole row that it starts from
grant execute on function
    public.session_messages(public.free_agent_sessions), public.session_messages(public.sessions_list),
    public.free_agent_sessions(public.session_messages), public.session_snapshots(public.sessions_list),
    public.session_members(public.sessions_list)
to authenticated, service_role;

-- 18_realtime.sql

-- Realtime: whoever may read a session can hear of its snapshots as they are made, where Supabase Realtime is
-- there. The database sends {session, number} to the private topic asyouwere:<session id>, event snapshot.
-- Nothing of the content
-- travels: clients pull by number, and those who poll miss nothing but the hurry.
-- Where there is no Realtime there is no trigger, so it costs nothing; enable_realtime() can be called again
-- later.
-- Breaks running code: no.

create function asyouwere.may_listen(p_topic text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: as role_of(). Null and foreign topics end here, before the cast.
    if p_topic is null or p_topic !~ '^asyouwere:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        return false;
    end if;
    return coalesce((
        select asyouwere.role_of(s.id, s.user_id, s.visibility) is not null
        from public.free_agent_sessions s
        where s.id = substr(p_topic, length('asyouwere:') + 1)::uuid), false);
end;
$$;
comment on function asyouwere.may_listen is
    'Whether the caller may read the session that the topic asyouwere:<id> is about.';
revoke execute on function asyouwere.may_listen from public;
grant execute on function asyouwere.may_listen to anon, authenticated, service_role;

create function asyouwere.announce_snapshots() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '250ms'
as $$
begin
    -- Definer: the owner sends, nobody else may. One message a session, however many numbers an import
    -- writes.
    perform realtime.send(
        jsonb_build_object('session', m.session_id, 'number', m.number),
        'snapshot', 'asyouwere:' || m.session_id, true)
    from (select n.session_id, max(n.number) as number from made n group by n.session_id) m;
    return null;
exception when others then
    -- realtime.send() keeps most failures to itself; this is for the rest, such as a lock that doesn't come
    -- free or a Realtime that was taken away. Never is a save lost for it.
    raise warning 'asyouwere: snapshot saved, but realtime.send() failed (SQLSTATE %)', sqlstate;
    return null;
end;
$$;
comment on function asyouwere.announce_snapshots is
    'Tells listeners the number of a new snapshot; never fails a save.';
revoke execute on function asyouwere.announce_snapshots from public;

create function asyouwere.disable_realtime() returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    drop trigger if exists announce_snapshots on public.session_snapshots;
    drop trigger if exists announce_turn on public.session_turns;
    drop trigger if exists announce_chunks on asyouwere.turn_chunks;
    if to_regclass('realtime.messages') is not null then
        drop policy if exists "Whoever reads a session hears of its snapshots" on realtime.messages;
        drop policy if exists "Only the database speaks on asyouwere's topics" on realtime.messages;
    end if;
    return 'off';
end;
$$;
comment on function asyouwere.disable_realtime is 'Stops sending; for the owner of the database.';
revoke execute on function asyouwere.disable_realtime from public;

create function asyouwere.enable_realtime() returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is null
        or to_regprocedure('realtime.topic()') is null or to_regclass('realtime.messages') is null
    then
        return 'off: this database has no Supabase Realtime';
    end if;
    perform asyouwere.disable_realtime();
    create policy "Whoever reads a session hears of its snapshots"
        on realtime.messages for select to anon, authenticated
        -- not presence. Realtime asks with a row of the topic that somebody joins.
        using (extension = 'broadcast' and topic = (select realtime.topic()) and asyouwere.may_listen(topic));
    -- Restrictive: an app's own policy that lets everybody hear or say everything does not reach these
    -- topics.
    create policy "Only the database speaks on asyouwere's topics"
        on realtime.messages as restrictive for all to anon, authenticated
        using (topic not like 'asyouwere:%' or asyouwere.may_listen(topic))
        with check (topic not like 'asyouwere:%'
            and coalesce((select realtime.topic()) not like 'asyouwere:%', true));
    create trigger announce_snapshots after insert on public.session_snapshots
        referencing new table as made
        for each statement execute function asyouwere.announce_snapshots();
    create trigger announce_turn after insert or update of status, stop_requested_at on public.session_turns
        for each row execute function asyouwere.announce_turn();
    create trigger announce_chunks after insert on asyouwere.turn_chunks
        for each row execute function asyouwere.announce_chunks();
    return 'on';
exception when insufficient_privilege then
    -- all of the above is undone: without policies nobody could listen
    return 'off: this role may not create policies on realtime.messages';
end;
$$;
comment on function asyouwere.enable_realtime is
    'Sends from now on, if this database has Supabase Realtime; answers "on", or "off" and why. May be '
    'called again at any time; for the owner of the database.';
revoke execute on function asyouwere.enable_realtime from public;

-- 19_cleanup.sql

-- Clean-up: what one call of it is. What goes and why is in 16_pruning.sql (old snapshots), 16_sweeping.sql
-- (parts that nobody can see, old keys) and 16_expiry.sql (idle sessions).
-- A call is one short transaction, bounded in rows, bytes and time; whoever calls goes on until done is true.
-- One that is broken off has done no harm. A session that can't be cleaned up is noted, passed by, and in
-- nobody's way.
-- Breaks running code: no.

create function asyouwere.prune_next(p_retention asyouwere.retention, p_max_sessions int,
    inout p_call asyouwere.cleanup_runs)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    -- half as long as a sweep: the locks of all sessions pruned are held from here on
    v_until timestamptz := clock_timestamp() + interval '25 ms';
    v_next record;
    v_step record;
    v_swept record;
begin
    loop
        select * into v_next from asyouwere.next_to_prune(p_call.last_session, p_retention);
        p_call.last_session := coalesce(v_next.session, v_next.looked_through, p_call.last_session);
        if v_next.session is null then
            p_call.done := v_next.looked_through is null;
            exit when p_call.done or clock_timestamp() > v_until;
            continue;
        end if;
        begin
            select * into v_step from asyouwere.prune_session(v_next.session, p_retention);
            delete from asyouwere.cleanup_failures f where f.session = v_next.session
                and f.kind = 'snapshots';
        exception when others then
            perform asyouwere.note_failure(v_next.session, 'snapshots', sqlstate);
            continue;
        end;
        continue when v_step.snapshots is null; -- somebody is saving into it; there will be another pass
        -- its lock is held from here to the end of the call: only what is quick
        select * into v_swept from asyouwere.sweep(2000, 1024 * 1024, v_next.session);
        p_call.sessions := p_call.sessions + v_step.finished::int;
        p_call.snapshots := p_call.snapshots + v_step.snapshots;
        p_call.parts := p_call.parts + v_swept.parts;
        p_call.bytes := p_call.bytes + v_swept.bytes;
        if not v_step.finished then
            p_call.last_session := v_next.session - 1; -- there is more of it
            exit;
        end if;
        exit when not v_swept.finished or p_call.sessions >= p_max_sessions or clock_timestamp() > v_until;
    end loop;
end;
$$;
comment on function asyouwere.prune_next is
    'Prunes sessions, going on behind p_call.last_session; done if there are no more. Holds the lock of '
    'each it has pruned.';
revoke execute on function asyouwere.prune_next from public;

create function asyouwere.run_cleanup(p_keep int, p_older_than interval, p_max_sessions int)
returns table (sessions int, snapshots int, parts int, bytes bigint, done boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_retention asyouwere.retention := asyouwere.retention_of(p_keep, p_older_than);
    v_max_sessions int := coalesce(p_max_sessions, 200);
    v_call asyouwere.cleanup_runs;
    v_more_keys boolean;
    v_more_turns boolean;
    v_more_usage boolean;
    v_swept record;
begin
    -- definer: nobody deletes parts but through here
    if v_max_sessions not between 1 and 10000 then
        perform asyouwere.fail('invalid_argument', '1 to 10,000 sessions a call.');
    end if;
    -- two at once: the second has nothing to do
    if not pg_try_advisory_xact_lock(hashtextextended('asyouwere cleanup', 0)) then
        return query select 0, 0, 0, 0::bigint, true;
        return;
    end if;
    v_call.started_at := clock_timestamp();
    v_call.kind := 'snapshots';
    v_call.last_session := asyouwere.last_session('snapshots');
    v_call.sessions := 0;
    v_call.snapshots := 0;
    -- first what needs no session's lock
    v_more_keys := asyouwere.forget_keys(2000);
    v_more_turns := asyouwere.settle_turns(20, 5000);
    v_more_usage := asyouwere.forget_usage(2000);
    select * into v_swept from asyouwere.sweep(5000, 16 * 1024 * 1024);
    v_call.parts := v_swept.parts;
    v_call.bytes := v_swept.bytes;
    v_call.done := false;
    if v_swept.finished then
        v_call := asyouwere.prune_next(v_retention, v_max_sessions, v_call);
    end if;
    perform asyouwere.settle_sweeps();
    if v_call.done then
        perform asyouwere.forget_buckets(1000);
        -- a window may be left of the last session
        v_call.done := not v_more_keys and not v_more_turns and not v_more_usage and not exists (
            select from asyouwere.unswept u where u.retry_at <= now());
    end if;
    perform asyouwere.note_run(v_call);
    return query select v_call.sessions, v_call.snapshots, v_call.parts::int, v_call.bytes, v_call.done;
end;
$$;
comment on function asyouwere.run_cleanup is 'One call of the clean-up, noted in cleanup_runs.';
revoke execute on function asyouwere.run_cleanup from public;
grant execute on function asyouwere.run_cleanup to service_role;

create function public.cleanup_old_snapshots(
    p_keep int default null, p_older_than interval default null, p_max_sessions int default 200
)
returns table (sessions int, snapshots int, parts int, bytes bigint, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.run_cleanup(p_keep, p_older_than, p_max_sessions);
end;
$$;
comment on function public.cleanup_old_snapshots is
    'Thin out old snapshots as asyouwere.settings say; with p_older_than all older than that go instead. '
    'The newest p_keep, the labelled and the latest stay. One short batch a call, going on where the last '
    'one ended; call until done. Service only.';
revoke execute on function public.cleanup_old_snapshots from public, anon, authenticated, service_role;
grant execute on function public.cleanup_old_snapshots to service_role;

-- 19_schedule.sql

-- The schedule, where the database can keep one itself (pg_cron, an extension that Supabase offers): clean-up
-- and expiry every five minutes. Where it can't, a scheduler outside calls the function
-- cleanup-old-snapshots; both at once do no harm.
-- Breaks running code: no.

create function asyouwere.attempt_cleanup(p_kind text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_done boolean;
begin
    if p_kind = 'snapshots' then
        select r.done into v_done from asyouwere.run_cleanup(null, null, null) r;
    elsif p_kind = 'sessions' then
        select r.done into v_done from asyouwere.run_expiry(null) r;
    else
        select r.done into v_done from asyouwere.erase_next() r;
    end if;
    return v_done;
exception when others then
    -- one kind never keeps the other from its turn
    raise warning 'asyouwere: clean-up of % failed (%)', p_kind, sqlstate;
    return true;
end;
$$;
comment on function asyouwere.attempt_cleanup is
    'One call of a kind of clean-up: whether it is done, or can''t be.';
revoke execute on function asyouwere.attempt_cleanup from public;

create procedure asyouwere.clean_up(p_seconds int default 60)
language plpgsql
as $$
declare
    v_until timestamptz;
    v_kinds text[] := array['snapshots', 'sessions', 'accounts'];
    v_kind text;
    v_over boolean;
begin
    -- Each call in a transaction of its own, so that nobody waits for more than one. A procedure that commits
    -- can't have a SET clause; instead each transaction begins by setting the search_path for itself.
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    v_until := clock_timestamp() + make_interval(secs => p_seconds);
    loop
        foreach v_kind in array v_kinds loop
            perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
            if asyouwere.attempt_cleanup(v_kind) then
                v_kinds := array_remove(v_kinds, v_kind);
            end if;
            v_over := v_kinds = '{}' or clock_timestamp() > v_until;
            commit;
        end loop;
        exit when v_over;
    end loop;
end;
$$;
comment on procedure asyouwere.clean_up is
    'Clean-up, expiry and deleted users in turn, call by call, until there is nothing left or p_seconds are'
    ' over. For the owner of the database, and its schedule.';
revoke execute on procedure asyouwere.clean_up from public;

create function asyouwere.schedule_cleanup(p_schedule text default '*/5 * * * *') returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regprocedure('cron.schedule(text, text, text)') is null then
        return 'off: this database has no pg_cron';
    end if;
    -- the same name again changes the job; it runs as whoever calls this, who must own asyouwere's functions
    perform cron.schedule('asyouwere clean-up', p_schedule, 'call asyouwere.clean_up()');
    return 'on';
exception when insufficient_privilege then
    return 'off: this role may not use pg_cron';
end;
$$;
comment on function asyouwere.schedule_cleanup is
    'Has pg_cron, where it is there, call asyouwere.clean_up(); answers "on", or "off" and why. May be '
    'called again at any time. Undo: select cron.unschedule(''asyouwere clean-up'').';
revoke execute on function asyouwere.schedule_cleanup from public;

select asyouwere.schedule_cleanup();

-- 20_limits.sql

-- How much one person may do: a token bucket for writes, and quotas for sessions and stored bytes.
-- Every write takes tokens from the bucket of whoever calls; the service is not limited. A save must not cost
-- a second row update, so a session's owner takes some tokens ahead and keeps them in the session's row,
-- which a save writes anyway. They lapse with the minute, and until then the bucket fills up to that much
-- less: however many sessions one has, never more pass at once than a full bucket holds. When it runs low,
-- none are taken ahead. A call that is refused takes nothing, because its transaction leaves nothing behind.
-- So what can be refused for what others did costs little: a conflict looks at, and answers, a bounded number
-- of addresses. And what is large, done or refused, is done one at a time for each person: however many calls
-- somebody makes, no more than one processor is busy with them.
-- Breaks running code: no.

-- Unlogged: a crash fills the buckets again, which harms nobody, and spares every user's writes the log.
create unlogged table asyouwere.rate_buckets (
    user_id uuid primary key,
    tokens double precision not null,
    filled_at timestamptz not null default clock_timestamp(),
    sessions int not null default 0,
    stored_bytes bigint not null default 0,
    counted_at timestamptz not null default '-infinity',
    ahead int not null default 0,
    ahead_minute timestamptz not null default '-infinity',
    forget_at timestamptz
) with (fillfactor = 50);
comment on table asyouwere.rate_buckets is
    'What each person may still write now, and what they had at the last count.';
comment on column asyouwere.rate_buckets.ahead is
    'Taken ahead for sessions in ahead_minute; void afterwards.';
comment on column asyouwere.rate_buckets.forget_at is
    'The person''s data was deleted: the row goes once the bucket is full again, as a new one would be.';
create index rate_buckets_to_forget on asyouwere.rate_buckets (forget_at) where forget_at is not null;
comment on column asyouwere.rate_buckets.tokens is
    'In the bucket at filled_at; since then it has been filling.';
comment on column asyouwere.rate_buckets.sessions is
    'Sessions owned: counted at counted_at, and one more for each made since.';
comment on column asyouwere.rate_buckets.stored_bytes is 'Sum of their stored_bytes at counted_at.';
comment on column asyouwere.rate_buckets.counted_at is
    'Counted anew after a minute, and before anything is refused.';
alter table asyouwere.rate_buckets enable row level security; -- no policy: the functions only

create function asyouwere.is_busy(p_user uuid) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_key bigint := hashtextextended('asyouwere large ' || p_user, 0);
begin
    -- a lock of its own, given back at once: the one who asks is not busy for having asked
    if pg_try_advisory_lock_shared(v_key) then
        perform pg_advisory_unlock_shared(v_key);
        return false;
    end if;
    return true;
end;
$$;
comment on function asyouwere.is_busy is 'Whether another call of a person''s is under way that takes long.';
revoke execute on function asyouwere.is_busy from public;

create function asyouwere.locked_bucket(p_user uuid) returns asyouwere.rate_buckets
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_bucket asyouwere.rate_buckets;
begin
    for attempt in 1 .. 10 loop
        select * into v_bucket from asyouwere.rate_buckets b where b.user_id = p_user
        for no key update skip locked;
        if found then
            return v_bucket;
        end if;
        -- Somebody has it, or there is none. Whoever waits holds a connection, and perhaps the lock of a session, and
        -- both are others' too: so nobody waits for what takes long.
        if not asyouwere.is_busy(p_user) then
            insert into asyouwere.rate_buckets (user_id, tokens)
            select p_user, coalesce(s.writes_at_once, 0) from asyouwere.settings s
            where not exists (select from asyouwere.rate_buckets b where b.user_id = p_user)
            on conflict do nothing;
            select * into v_bucket from asyouwere.rate_buckets b where b.user_id = p_user for no key update;
            return v_bucket;
        end if;
        perform pg_sleep(0.005);
    end loop;
    perform asyouwere.fail('rate_limited',
        'A large call of yours is under way. Wait for the end of it, then send the same again.',
        '{"retry_after": 1}');
    return null;
end;
$$;
comment on function asyouwere.locked_bucket is
    'A person''s bucket, made full if there is none, locked till the end of the transaction. Raises rate_limited '
    'rather than wait for a large call of the same person''s.';
revoke execute on function asyouwere.locked_bucket from public;

create function asyouwere.take_tokens(p_user uuid, p_cost bigint, p_ahead int default 0) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_bucket asyouwere.rate_buckets;
    v_minute timestamptz := date_trunc('minute', clock_timestamp());
    v_most int; -- tokens there can be besides those taken ahead
    v_tokens double precision;
    v_cost bigint;
    v_ahead int;
begin
    select * into v_settings from asyouwere.settings;
    if v_settings.writes_per_second is null then
        return p_ahead;
    end if;
    v_bucket := asyouwere.locked_bucket(p_user);
    if v_bucket.ahead_minute <> v_minute then
        v_bucket.ahead := 0;
    end if;
    v_most := greatest(v_settings.writes_at_once - v_bucket.ahead, 1);
    -- what costs more than a full bucket passes with a full one
    v_cost := least(p_cost, v_most);
    v_tokens := least(v_most,
        v_bucket.tokens + v_settings.writes_per_second
            * greatest(0, extract(epoch from clock_timestamp() - v_bucket.filled_at))::double precision);
    if v_tokens < v_cost then
        perform asyouwere.fail('rate_limited',
            'Too many writes in a short time. Wait, then send the same again.',
            format('{"retry_after": %s}', ceil((v_cost - v_tokens) / v_settings.writes_per_second)));
    end if;
    v_ahead := greatest(0, least(p_ahead, floor((v_tokens - v_cost) / 64),
        v_settings.writes_at_once / 2 - v_bucket.ahead));
    update asyouwere.rate_buckets b
    set tokens = v_tokens - v_cost - v_ahead, filled_at = clock_timestamp(),
        ahead = v_bucket.ahead + v_ahead, ahead_minute = v_minute
    where b.user_id = p_user;
    return v_ahead;
end;
$$;
comment on function asyouwere.take_tokens is
    'Takes tokens and says how many of p_ahead further ones it gave. Raises rate_limited with the seconds '
    'to wait.';
revoke execute on function asyouwere.take_tokens from public;

create function asyouwere.is_limited() returns boolean
language sql stable
-- Nobody signed in: the clean-up or an administrator; to all others our functions let nobody write. The role
-- first: a service's token need not name a user, and auth.uid() takes nothing but a uuid.
return case when current_setting('role') = 'service_role' then false else auth.uid() is not null end;
comment on function asyouwere.is_limited is 'Whether the caller is a person whose writes are counted.';
revoke execute on function asyouwere.is_limited from public;

create function asyouwere.charge(p_cost bigint default 1) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: buckets are private. Whoever calls it takes from their own bucket.
    if asyouwere.is_limited() then
        perform asyouwere.take_tokens(auth.uid(), greatest(p_cost, 1));
    end if;
end;
$$;
comment on function asyouwere.charge is 'Takes tokens from the caller''s bucket. Raises rate_limited.';
revoke execute on function asyouwere.charge from public;
grant execute on function asyouwere.charge to authenticated, service_role;

create function asyouwere.is_large_save(p_rows asyouwere.change_rows) returns boolean
language sql stable
-- inlined by the planner
return cardinality(p_rows.ops) > 2000 or pg_column_size(p_rows.bodies) > 1024 * 1024;
comment on function asyouwere.is_large_save is
    'Whether a save takes long enough to be one at a time: over 2,000 rows or 1 MB.';
revoke execute on function asyouwere.is_large_save from public;

create function asyouwere.is_far_behind(p_session bigint, p_base int) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
    return (select count(*) from (select from asyouwere.parts_begun(p_session, p_base) limit 2001) b) > 2000
        or (select count(*) from (select from asyouwere.parts_ended(p_session, p_base) limit 2001) e) > 2000;
end;
$$;
comment on function asyouwere.is_far_behind is
    'Whether so much has changed since a base that to merge with it, or to tell it, takes long.';
revoke execute on function asyouwere.is_far_behind from public;

create function asyouwere.refuse_second_large() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- Never waits: whoever waits holds a connection, and few of those are everybody's.
    if asyouwere.is_limited()
        and not pg_try_advisory_xact_lock(hashtextextended('asyouwere large ' || auth.uid(), 0))
    then
        perform asyouwere.fail('rate_limited',
            'Another large call of yours is under way. Wait for the end of it, then send the same again.',
            '{"retry_after": 1}');
    end if;
end;
$$;
comment on function asyouwere.refuse_second_large is
    'Marks the caller as busy with something large till the end of the transaction. Raises rate_limited if another '
    'call of the caller''s is.';
revoke execute on function asyouwere.refuse_second_large from public;

create function asyouwere.charge_answer(p_bytes bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- a save that writes nothing costs nothing, but others wait for its session while the answer is made
    if p_bytes >= 1024 * 1024 then
        perform asyouwere.refuse_second_large();
        perform asyouwere.charge(p_bytes / (1024 * 1024));
    end if;
end;
$$;
comment on function asyouwere.charge_answer is
    'Takes a token for every MB that a save answers, and makes those of 1 MB one at a time. Raises rate_limited.';
revoke execute on function asyouwere.charge_answer from public;

create function asyouwere.charge_save(p_session public.free_agent_sessions,
    p_written_bytes bigint) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller uuid := auth.uid();
    v_cost bigint := 1 + p_written_bytes / (1024 * 1024);
    -- those of an earlier minute have lapsed
    v_left int := case when p_session.updated_at >= date_trunc('minute', clock_timestamp())
        then p_session.prepaid_saves else 0 end;
begin
    if not asyouwere.is_limited() then
        return v_left;
    elsif v_caller <> p_session.user_id then
        -- what is paid ahead is the owner's
        perform asyouwere.take_tokens(v_caller, v_cost);
    elsif v_left >= v_cost then
        return v_left - v_cost;
    else
        v_left := asyouwere.take_tokens(v_caller, v_cost - v_left, 20);
    end if;
    perform asyouwere.refuse_quota(p_session.user_id, 0, p_written_bytes);
    return v_left;
end;
$$;
comment on function asyouwere.charge_save is
    'Charges a save, a token and one for every MB written, and says how many the session''s owner has left '
    'ahead. Raises rate_limited, quota_exceeded.';
revoke execute on function asyouwere.charge_save from public;

create function asyouwere.refuse_quota(
    p_owner uuid, p_new_sessions int, p_new_bytes bigint, p_are_counted boolean default false
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_bucket asyouwere.rate_buckets;
begin
    select * into v_settings from asyouwere.settings;
    if p_new_sessions = 0 and v_settings.max_stored_bytes_per_user is null
        or p_new_bytes = 0 and v_settings.max_sessions_per_user is null
    then
        return;
    end if;
    if p_owner = auth.uid() then
        v_bucket := asyouwere.locked_bucket(p_owner);
    else
        -- never waits for another person's bucket while holding the caller's: two who save for each other
        -- would lock up
        select * into v_bucket from asyouwere.rate_buckets b
            where b.user_id = p_owner for no key update skip locked;
    end if;
    -- counted each minute at most, unless it would be refused
    if v_bucket.user_id is null or v_bucket.counted_at < clock_timestamp() - interval '1 minute'
        or v_bucket.sessions + p_new_sessions > v_settings.max_sessions_per_user
        or v_bucket.stored_bytes + p_new_bytes > v_settings.max_stored_bytes_per_user
    then
        select count(*), coalesce(sum(s.stored_bytes), 0)
        into v_bucket.sessions, v_bucket.stored_bytes
        from public.free_agent_sessions s where s.user_id = p_owner;
        v_bucket.counted_at := clock_timestamp();
        if p_are_counted then -- the new ones are in the table by now
            v_bucket.sessions := v_bucket.sessions - p_new_sessions;
            v_bucket.stored_bytes := v_bucket.stored_bytes - p_new_bytes;
        end if;
    end if;
    if p_new_sessions > 0 and v_bucket.sessions + p_new_sessions > v_settings.max_sessions_per_user then
        perform asyouwere.fail('quota_exceeded',
            'The owner has as many sessions as allowed. Delete some first.',
            format('{"quota": "sessions", "used": %s, "limit": %s}', v_bucket.sessions,
                v_settings.max_sessions_per_user));
    elsif p_new_bytes > 0 and v_bucket.stored_bytes + p_new_bytes > v_settings.max_stored_bytes_per_user then
        perform asyouwere.fail('quota_exceeded',
            'The owner''s sessions hold as many bytes as allowed. Delete some, or let the clean-up take old versions.',
            format('{"quota": "stored_bytes", "used": %s, "limit": %s}', v_bucket.stored_bytes,
                v_settings.max_stored_bytes_per_user));
    end if;
    update asyouwere.rate_buckets b
    set sessions = v_bucket.sessions + p_new_sessions, stored_bytes = v_bucket.stored_bytes + p_new_bytes,
        counted_at = v_bucket.counted_at
    where b.user_id = v_bucket.user_id; -- not if it was left out as locked
end;
$$;
comment on function asyouwere.refuse_quota is
    'Raises quota_exceeded if the owner would have too many sessions or stored bytes. p_are_counted: they '
    'are in the table already.';
revoke execute on function asyouwere.refuse_quota from public;

create function asyouwere.charge_copy(p_owner uuid, p_bytes bigint) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if asyouwere.is_limited() then
        perform asyouwere.take_tokens(auth.uid(), p_bytes / (1024 * 1024));
        perform asyouwere.refuse_quota(p_owner, 0, p_bytes);
    end if;
end;
$$;
comment on function asyouwere.charge_copy is
    'Charges the bytes of a fork or an import; its session is charged when it is made. Raises rate_limited,'
    ' quota_exceeded.';
revoke execute on function asyouwere.charge_copy from public;

create function asyouwere.annotations_size(p_metadata jsonb, p_external_id text) returns int
language sql immutable parallel safe
return coalesce(octet_length(p_metadata::text), 0) + coalesce(octet_length(p_external_id), 0);
comment on function asyouwere.annotations_size is 'What a snapshot counts as for what the app says of it.';
revoke execute on function asyouwere.annotations_size from public;

create function asyouwere.uncount_annotations() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Definer: whoever deletes a session may not write its counts. Whoever deletes snapshots holds the session.
    update public.free_agent_sessions s set stored_bytes = s.stored_bytes - g.bytes
    from (
        select o.session_id, sum(asyouwere.annotations_size(o.metadata, o.external_id)) as bytes
        from gone o where o.metadata is not null or o.external_id is not null group by o.session_id
    ) g
    where s.id = g.session_id;
    return null;
end;
$$;
comment on function asyouwere.uncount_annotations is 'When snapshots go, what the app said of them counts no more.';
revoke execute on function asyouwere.uncount_annotations from public;
create trigger uncount_annotations after delete on public.session_snapshots
    referencing old table as gone for each statement execute function asyouwere.uncount_annotations();

create function asyouwere.stored_bytes(p_session bigint) returns bigint
language sql stable set search_path = pg_catalog, pg_temp
return (select coalesce(sum(p.size), 0) from asyouwere.parts p where p.session = p_session) + (
    select coalesce(sum(asyouwere.annotations_size(n.metadata, n.external_id)), 0)
    from public.free_agent_sessions s join public.session_snapshots n on n.session_id = s.id
    where s.internal_id = p_session);
comment on function asyouwere.stored_bytes is 'What free_agent_sessions.stored_bytes must be.';
revoke execute on function asyouwere.stored_bytes from public;

create function asyouwere.forget_bucket(p_user uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    -- not deleted: a new one would be full
    update asyouwere.rate_buckets b set forget_at = now(), sessions = 0, stored_bytes = 0,
        counted_at = '-infinity'
    where b.user_id = p_user
$$;
comment on function asyouwere.forget_bucket is
    'When a person''s data is deleted: the clean-up deletes the bucket once it is full.';
revoke execute on function asyouwere.forget_bucket from public;

create function asyouwere.forget_buckets(p_rows int) returns void
language sql volatile set search_path = pg_catalog, pg_temp
as $$
    delete from asyouwere.rate_buckets t where t.ctid = any (array(
        select b.ctid from asyouwere.rate_buckets b cross join asyouwere.settings s
        where b.forget_at <= now()
            and b.filled_at <= now() - make_interval(
                secs => coalesce((s.writes_at_once / s.writes_per_second)::double precision, 0))
        order by b.forget_at limit p_rows
        for update of b skip locked))
$$;
comment on function asyouwere.forget_buckets is
    'Deletes the buckets of people whose data is deleted, those that are full.';
revoke execute on function asyouwere.forget_buckets from public;

-- 21_members.sql

-- Members: the owner invites, the invited person accepts, and leaves whenever she likes.
-- Until she has accepted she is a stranger to the session, and it is in none of her lists but that of the
-- invitations.
-- Breaks running code: no.

create function asyouwere.refuse_invitation(p_session_id uuid, p_owner uuid, p_user_id uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_quota text;
    v_limit int;
begin
    -- definer: the settings and other people's invitations. No count goes further than its limit.
    select * into v_settings from asyouwere.settings;
    select c.quota, c.most into v_quota, v_limit
    from (
        select 'members' as quota, v_settings.max_members_per_session as most, (
            select count(*) from (
                select from public.session_members m where m.session_id = p_session_id
                limit v_settings.max_members_per_session) n) as used
        union all
        select 'invitations_sent', v_settings.max_invitations_sent, (
            select count(*) from (
                (select from public.session_members m where m.invited_by = p_owner and m.accepted_at is null
                limit v_settings.max_invitations_sent)
                union all
                -- an offered session is an invitation as well
                (select from asyouwere.transfers t where t.from_user = p_owner
                limit v_settings.max_invitations_sent)) n)
        union all
        select 'invitations_from_one', v_settings.max_invitations_from_one, (
            select count(*) from (
                (select from public.session_members m
                where m.invited_by = p_owner and m.user_id = p_user_id and m.accepted_at is null
                limit v_settings.max_invitations_from_one)
                union all
                (select from asyouwere.transfers t where t.from_user = p_owner and t.to_user = p_user_id
                limit v_settings.max_invitations_from_one)) n)
        union all
        select 'invitations_received', v_settings.max_invitations_received, (
            select count(*) from (
                (select from public.session_members m where m.user_id = p_user_id and m.accepted_at is null
                limit v_settings.max_invitations_received)
                union all
                (select from asyouwere.transfers t where t.to_user = p_user_id
                limit v_settings.max_invitations_received)) n)
    ) c
    where c.used >= c.most
    limit 1;
    if found then
        perform asyouwere.fail('quota_exceeded',
            case v_quota when 'members' then 'This session has as many members as allowed. Remove some first.'
            when 'invitations_received' then 'This person has as many open invitations as allowed.'
            else 'Too many open invitations. Wait until some are accepted, or take some back.' end,
            format('{"quota": "%s", "used": %s, "limit": %s}', v_quota, v_limit, v_limit));
    end if;
end;
$$;
comment on function asyouwere.refuse_invitation is
    'Raises quota_exceeded if this invitation would be one too many.';
revoke execute on function asyouwere.refuse_invitation from public;

create function asyouwere.refuse_unknown_person(p_owner uuid, p_user_id uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Definer: auth.users is not for callers. Whoever may invite learns by this whether an id is a user's, and
    -- nothing else: no name, no address. Ids are 122 random bits, which nobody finds by trying.
    if not asyouwere.is_limited() and current_setting('role') <> 'service_role' then
        return; -- an administrator, or a dump that is read in: perhaps before the users are
    elsif not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass('auth.users') and a.attname = 'id' and a.atttypid = 'uuid'::regtype
            and has_column_privilege(a.attrelid, a.attnum, 'select')
    ) then
        return; -- without such a table, or the right to read it, nobody is known
    end if;
    -- Where the owner is not in it either, users are kept elsewhere (tokens of another issuer), or row level
    -- security hides them.
    if exists (select from auth.users u where u.id = p_owner)
        and not exists (select from auth.users u where u.id = p_user_id)
    then
        perform asyouwere.fail('user_not_found');
    end if;
end;
$$;
comment on function asyouwere.refuse_unknown_person is
    'Raises user_not_found if the database knows its users, the owner among them, and this is the id of none.';
revoke execute on function asyouwere.refuse_unknown_person from public;

create function asyouwere.check_member() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner uuid;
begin
    -- definer: as refuse_invitation(). Whichever way an invitation comes, as a call or as a row, it comes by
    -- here.
    select s.user_id into v_owner from public.free_agent_sessions s where s.id = new.session_id;
    if asyouwere.is_limited() and v_owner is distinct from auth.uid() then
        perform asyouwere.refuse_access(new.session_id, 'owner');
    elsif new.role is null or new.role not in ('viewer', 'editor') or new.user_id is null
        or new.user_id = v_owner then
        perform asyouwere.fail('invalid_argument',
            'A member is somebody other than the owner, as viewer or editor.');
    end if;
    if tg_op = 'INSERT' then
        new.invited_by := case when new.accepted_at is null then v_owner end; -- given by the database's owner only
        if asyouwere.is_limited() then
            perform asyouwere.refuse_invitation(new.session_id, v_owner, new.user_id);
        end if;
        perform asyouwere.refuse_unknown_person(v_owner, new.user_id);
    end if;
    return new;
end;
$$;
comment on function asyouwere.check_member is 'Makes a new member an invited one; refuses what is too much.';
revoke execute on function asyouwere.check_member from public;

create function asyouwere.charge_member() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.charge(); -- after the row: see the order of locks in 02_sessions.sql
    return null;
end;
$$;
comment on function asyouwere.charge_member is 'Charges an invitation, or another role. Raises rate_limited.';
revoke execute on function asyouwere.charge_member from public;

create trigger lock_own_rows before insert or update or delete on public.session_members
    for each statement execute function asyouwere.lock_own_rows();
create trigger check_member before insert or update of role on public.session_members
    for each row execute function asyouwere.check_member();
create trigger charge_member after insert or update of role on public.session_members
    for each row execute function asyouwere.charge_member();

-- The owner's side
-- ---------------------------------------------------------------------------------------------
create function public.list_session_members(p_session_id uuid) returns setof public.session_members
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.require_readable(p_session_id);
    return query
    select * from public.session_members m where m.session_id = p_session_id order by m.created_at, m.user_id;
end;
$$;
comment on function public.list_session_members is
    'All members and invited people for the owner, a member''s own row for a member. Raises '
    'session_not_found.';
revoke execute on function public.list_session_members from public, anon, authenticated, service_role;
grant execute on function public.list_session_members to authenticated, service_role;

create function asyouwere.put_member(p_session_id uuid, p_user_id uuid,
    p_role text) returns public.session_members
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id, 'owner');
    v_member public.session_members;
begin
    -- definer: session_to_write is private
    update public.session_members m set role = p_role
    where m.session_id = v_session.id and m.user_id = p_user_id
    returning * into v_member;
    if not found then
        insert into public.session_members (session_id, user_id, role) values (v_session.id, p_user_id,
            p_role)
        on conflict (session_id, user_id) do update set role = excluded.role
        returning * into v_member;
    end if;
    update public.free_agent_sessions s set visibility = 'shared' where s.id = v_session.id
        and s.visibility = 'private';
    return v_member;
end;
$$;
comment on function asyouwere.put_member is
    'Invites somebody or changes the role; a private session becomes shared.';
revoke execute on function asyouwere.put_member from public;
grant execute on function asyouwere.put_member to authenticated, service_role;

create function public.set_session_member(p_session_id uuid, p_user_id uuid, p_role text)
returns setof public.session_members
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.put_member(p_session_id, p_user_id, p_role);
end;
$$;
comment on function public.set_session_member is
    'Invite somebody to read (viewer) or also save (editor), or change the role of one who is in already. '
    'It takes effect once accepted. Makes a private session shared. Owner only. Raises user_not_found, '
    'quota_exceeded.';
revoke execute on function public.set_session_member from public, anon, authenticated, service_role;
grant execute on function public.set_session_member to authenticated, service_role;

create function asyouwere.remove_member(p_session_id uuid, p_user_id uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Definer: session_to_write is private. Leaving and declining ask for nothing and tell nothing, not even
    -- that there is such a session.
    if p_user_id is distinct from auth.uid() then
        perform asyouwere.session_to_write(p_session_id, 'owner');
    end if;
    delete from public.session_members m where m.session_id = p_session_id and m.user_id = p_user_id;
    if p_user_id = auth.uid() then
        delete from asyouwere.transfers t where t.session_id = p_session_id and t.to_user = p_user_id;
    end if;
end;
$$;
comment on function asyouwere.remove_member is
    'Takes a member or an invitation away, or lets one leave or decline.';
revoke execute on function asyouwere.remove_member from public;
grant execute on function asyouwere.remove_member to authenticated, service_role;

create function public.remove_session_member(p_session_id uuid, p_user_id uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.remove_member(p_session_id, p_user_id);
end;
$$;
comment on function public.remove_session_member is
    'Owners remove a member or take an invitation back; with the caller''s own id: leave, or decline, which'
    ' always works. Nothing happens if there is none. Raises session_not_found, forbidden.';
revoke execute on function public.remove_session_member from public, anon, authenticated, service_role;
grant execute on function public.remove_session_member to authenticated, service_role;

-- The invited person's side
-- ------------------------------------------------------------------------------------
create function asyouwere.read_invitations(p_limit int, p_before timestamptz, p_before_id uuid)
returns table (session_id uuid, role text, name text, invited_by uuid, created_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_caller uuid := auth.uid();
    v_before timestamptz := coalesce(p_before, 'infinity');
    v_before_id uuid := coalesce(p_before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
begin
    -- definer: to see the name of a session that is not yet the caller's to read
    return query
    select i.session_id, i.role, left(s.name, 200), s.user_id, i.created_at
    from (
        select m.session_id, m.role, m.created_at from public.session_members m
        where m.user_id = v_caller and m.accepted_at is null
            and (m.created_at, m.session_id) < (v_before, v_before_id)
        union all
        select t.session_id, 'owner', t.offered_at from asyouwere.transfers t
        where t.to_user = v_caller and (t.offered_at, t.session_id) < (v_before, v_before_id)
    ) i
    join public.free_agent_sessions s on s.id = i.session_id
    where (s.visibility <> 'private' or i.role = 'owner') and not asyouwere.is_erased(s.user_id)
    order by i.created_at desc, i.session_id desc limit least(greatest(coalesce(p_limit, 50), 0), 200);
end;
$$;
comment on function asyouwere.read_invitations is 'A page of the caller''s open invitations.';
revoke execute on function asyouwere.read_invitations from public;
grant execute on function asyouwere.read_invitations to authenticated, service_role;

create function public.list_invitations(
    p_limit int default 50, p_before timestamptz default null, p_before_id uuid default null
)
returns table (session_id uuid, role text, name text, invited_by uuid, created_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_invitations(p_limit, p_before, p_before_id);
end;
$$;
comment on function public.list_invitations is
    'The caller''s open invitations, newest first, at most 200; role owner: a session to take over. Names '
    'are cut at 200 characters. Next page: p_before and p_before_id of the last row.';
revoke execute on function public.list_invitations from public, anon, authenticated, service_role;
grant execute on function public.list_invitations to authenticated, service_role;

create function asyouwere.refuse_membership(p_user_id uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_most int := (select s.max_memberships_per_user from asyouwere.settings s);
    v_used int;
begin
    -- definer: the settings. The count goes no further than its limit.
    select count(*) into v_used from (
        select from public.session_members m where m.user_id = p_user_id and m.accepted_at is not null
        limit v_most + 1) n;
    if v_used > v_most then
        perform asyouwere.fail('quota_exceeded',
            'You are a member of as many sessions as allowed. Leave some first.',
            format('{"quota": "memberships", "used": %s, "limit": %s}', v_most, v_most));
    end if;
end;
$$;
comment on function asyouwere.refuse_membership is
    'Raises quota_exceeded if a person has accepted one too many.';
revoke execute on function asyouwere.refuse_membership from public;

create function asyouwere.accept_member(p_session_id uuid, p_user_id uuid) returns public.session_members
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_person uuid := case when current_setting('role') = 'service_role' then coalesce(p_user_id, auth.uid())
        else auth.uid() end;
    v_member public.session_members;
begin
    -- definer: nobody else may say that somebody has accepted. Not the session's lock: it is not the caller's
    -- yet.
    if v_person is null then
        perform asyouwere.fail('not_signed_in', 'Sign in to accept. The service gives p_user_id.');
    elsif p_user_id <> v_person then
        perform asyouwere.fail('forbidden', 'Only the service accepts for others.');
    end if;
    update public.session_members m
    set accepted_at = coalesce(m.accepted_at, now()), invited_by = null
    from public.free_agent_sessions s
    where m.session_id = p_session_id and m.user_id = v_person and s.id = m.session_id
        and s.visibility <> 'private' and not asyouwere.is_erased(s.user_id)
            and not asyouwere.is_erased(v_person)
    returning m.* into v_member;
    if not found then
        perform asyouwere.fail('invitation_not_found');
    end if;
    if asyouwere.is_limited() then
        perform asyouwere.refuse_membership(v_person);
    end if;
    perform asyouwere.charge();
    return v_member;
end;
$$;
comment on function asyouwere.accept_member is 'Makes an invited person a member.';
revoke execute on function asyouwere.accept_member from public;
grant execute on function asyouwere.accept_member to authenticated, service_role;

create function public.accept_invitation(p_session_id uuid, p_user_id uuid default null)
returns setof public.session_members
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.accept_member(p_session_id, p_user_id);
end;
$$;
comment on function public.accept_invitation is
    'Become a member of a session that one was invited to; again: the same row. p_user_id is for the '
    'service, which accepts for others. Raises invitation_not_found, quota_exceeded, not_signed_in, '
    'forbidden.';
revoke execute on function public.accept_invitation from public, anon, authenticated, service_role;
grant execute on function public.accept_invitation to authenticated, service_role;

-- 22_accounts.sql

-- Accounts: all that is a person's is deleted in steps, each short, whoever asks for it.
-- One step holds the locks of the person's own sessions only; of other people's sessions it touches the rows
-- that name the person, and leaves those out that somebody is busy with. Whoever calls goes on until done is
-- true.
-- Breaks running code: no.

create type asyouwere.erased as (sessions int, snapshots int, parts int, turns int, memberships int, done boolean);
comment on type asyouwere.erased is
    'What a step of deleting a person''s data took. done: there is nothing left.';

create function asyouwere.erase_rows(p_ids uuid[], p_numbers bigint[]) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_large uuid;
    v_erased asyouwere.erased := (0, 0, 0, 0, 0, false);
begin
    -- Thousands of snapshots or turns go before their session does, some with each step: else one statement would
    -- have to take them all, and a time limit would undo it for ever.
    select c.id into v_large from unnest(p_ids) c (id) where asyouwere.is_large_session(c.id) limit 1;
    if found then
        delete from public.session_turns t where t.ctid = any (array(
            select q.ctid from public.session_turns q where q.session_id = v_large limit 2000));
        get diagnostics v_erased.turns = row_count;
        delete from public.session_snapshots n where n.ctid = any (array(
            select q.ctid from public.session_snapshots q where q.session_id = v_large
            order by q.number limit 2000));
        get diagnostics v_erased.snapshots = row_count;
        return v_erased;
    end if;
    v_erased.sessions := cardinality(p_ids);
    v_erased.snapshots := (select count(*) from public.session_snapshots n where n.session_id = any (p_ids));
    v_erased.parts := (select count(*) from asyouwere.parts p where p.session = any (p_numbers));
    v_erased.turns := (select count(*) from public.session_turns t where t.session_id = any (p_ids));
    delete from public.free_agent_sessions s where s.id = any (p_ids);
    return v_erased;
end;
$$;
comment on function asyouwere.erase_rows is
    'Deletes sessions and counts what went, or some of what is in a large one of them.';
revoke execute on function asyouwere.erase_rows from public;

create function asyouwere.erase_sessions(p_user_id uuid, p_until timestamptz) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_ids uuid[];
    v_numbers bigint[];
    v_at_once int := 20;
    v_step asyouwere.erased;
    v_erased asyouwere.erased := (0, 0, 0, 0, 0, false);
begin
    loop
        -- What failed is passed by for an hour, so that it does not keep the rest. What belongs to others goes
        -- before them: a cascade would have to take all of it.
        select array_agg(s.id), array_agg(s.internal_id) into v_ids, v_numbers
        from (
            select s.id, s.internal_id from public.free_agent_sessions s
            where s.user_id = p_user_id and not exists (
                select from asyouwere.cleanup_failures f
                where f.session = s.internal_id and f.kind = 'accounts'
                    and f.last_failed_at > now() - interval '1 hour')
                and not exists (select from public.free_agent_sessions c where c.parent_id = s.id)
            order by s.id desc limit v_at_once for update of s -- the younger first: they belong to the older
        ) s;
        if v_ids is null then
            v_erased.done := true;
            return v_erased;
        end if;
        begin
            v_step := asyouwere.erase_rows(v_ids, v_numbers);
            v_erased.sessions := v_erased.sessions + v_step.sessions;
            v_erased.snapshots := v_erased.snapshots + v_step.snapshots;
            v_erased.parts := v_erased.parts + v_step.parts;
            v_erased.turns := v_erased.turns + v_step.turns;
        exception when others then -- a key of the app's own that refers to it, a trigger
            if v_at_once = 1 then
                perform asyouwere.note_failure(v_numbers[1], 'accounts', sqlstate);
            end if;
            v_at_once := 1; -- which of them was it?
        end;
        if clock_timestamp() > p_until then
            return v_erased;
        end if;
    end loop;
end;
$$;
comment on function asyouwere.erase_sessions is
    'Deletes a person''s sessions, 20 at a time, until a moment or nothing is left but what failed within the hour.';
revoke execute on function asyouwere.erase_sessions from public;

create function asyouwere.erase_traces(p_user_id uuid, p_until timestamptz) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_erased asyouwere.erased := (0, 0, 0, 0, 0, false);
    v_turns int;
    v_changed int;
    v_rows int;
begin
    loop
        -- Before the memberships, whose end revokes a running turn: a row that one transaction changes twice
        -- has its key checked again, which waits for the session. If the turn is busy, so is the membership.
        update public.session_turns t
        set started_by = null, lease_until = case t.status when 'running' then now() else t.lease_until end
        where t.ctid = any (array(
            select o.ctid from public.session_turns o where o.started_by = p_user_id
            limit 1000 for no key update skip locked));
        get diagnostics v_turns = row_count;
        delete from public.session_members m
        where m.ctid = any (array(
            select o.ctid from public.session_members o where o.user_id = p_user_id
                and o.accepted_at is not null
                and not exists (select from public.session_turns t
                    where t.session_id = o.session_id and t.status = 'running' and t.started_by = p_user_id)
            limit 1000 for update skip locked));
        get diagnostics v_changed = row_count;
        delete from public.session_members m
        where m.ctid = any (array(
            select o.ctid from public.session_members o where o.user_id = p_user_id and o.accepted_at is null
            limit 1000 for update skip locked));
        get diagnostics v_rows = row_count;
        v_changed := v_changed + v_rows;
        v_erased.memberships := v_erased.memberships + v_changed;
        -- in other people's sessions the words stay, the name goes
        update public.session_snapshots n set created_by = null
        where n.ctid = any (array(
            select o.ctid from public.session_snapshots o where o.created_by = p_user_id
            limit 1000 for no key update skip locked));
        get diagnostics v_rows = row_count;
        v_changed := v_changed + v_rows;
        -- the ids stay used, by nobody
        update asyouwere.used_ids u set user_id = null
        where u.id = any (array(select o.id from asyouwere.used_ids o where o.user_id = p_user_id
            limit 1000));
        get diagnostics v_rows = row_count;
        v_changed := v_changed + v_rows;
        delete from asyouwere.transfers t
        where t.session_id = any (array(
            select o.session_id from asyouwere.transfers o where o.to_user = p_user_id
            limit 1000 for update skip locked));
        get diagnostics v_rows = row_count;
        v_changed := v_changed + v_rows;
        delete from public.user_usage u
        where u.ctid = any (array(
            select o.ctid from public.user_usage o where o.user_id = p_user_id
            limit 1000 for update skip locked));
        get diagnostics v_rows = row_count;
        exit when v_turns + v_changed + v_rows = 0 or clock_timestamp() > p_until;
    end loop;
    delete from asyouwere.offers o where o.user_id = p_user_id;
    delete from asyouwere.user_budgets b where b.user_id = p_user_id;
    v_erased.done := not exists (select from public.session_members m where m.user_id = p_user_id
        and m.accepted_at is not null)
        and not exists (select from public.session_members m where m.user_id = p_user_id
            and m.accepted_at is null)
        and not exists (select from public.session_snapshots n where n.created_by = p_user_id)
        and not exists (select from public.session_turns t where t.started_by = p_user_id)
        and not exists (select from asyouwere.used_ids u where u.user_id = p_user_id)
        and not exists (select from asyouwere.transfers t where t.to_user = p_user_id)
        and not exists (select from public.user_usage u where u.user_id = p_user_id);
    return v_erased;
end;
$$;
comment on function asyouwere.erase_traces is
    'Takes a person out of other people''s sessions, a thousand rows at a time, until a moment or the end.';
revoke execute on function asyouwere.erase_traces from public;

create function asyouwere.erase(p_user_id uuid) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_until timestamptz := clock_timestamp() + interval '100 ms';
    v_erased asyouwere.erased;
    v_traces asyouwere.erased;
begin
    perform asyouwere.lock_owner(p_user_id);
    v_erased := asyouwere.erase_sessions(p_user_id, v_until);
    if v_erased.done then
        v_traces := asyouwere.erase_traces(p_user_id, v_until);
        v_erased.memberships := v_traces.memberships;
        v_erased.done := v_traces.done;
        if exists (select from public.free_agent_sessions s where s.user_id = p_user_id) then
            -- passed by; once nothing else is left, whoever calls until done would call for ever
            v_erased.done := case when v_traces.done and v_erased.sessions = 0 and v_erased.snapshots = 0
                and v_erased.turns = 0 and v_erased.memberships = 0 then null else false end;
        end if;
    end if;
    return v_erased;
end;
$$;
comment on function asyouwere.erase is
    'A step of some 100 ms: first the person''s own sessions, then what names the person elsewhere. done '
    'is null when nothing is left but sessions that can''t be deleted.';
revoke execute on function asyouwere.erase from public;

-- By oneself
-- ---------------------------------------------------------------------------------------------------
create function asyouwere.refuse_remains(p_erased asyouwere.erased) returns asyouwere.erased
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_erased.done is null then
        perform asyouwere.fail('internal',
            'A session can''t be deleted: something of the app''s own refers to it, or refuses.');
    end if;
    return p_erased;
end;
$$;
comment on function asyouwere.refuse_remains is
    'Raises internal for a step after which nothing is left but what can''t be deleted.';
revoke execute on function asyouwere.refuse_remains from public;

create function asyouwere.forget_caller() returns asyouwere.erased
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_erased asyouwere.erased;
begin
    -- Definer: counts parts before they go. The bucket stays until it is full, as a new one would be.
    if auth.uid() is null then
        perform asyouwere.fail('not_signed_in', 'Sign in as the person whose data is to go.');
    end if;
    v_erased := asyouwere.refuse_remains(asyouwere.erase(auth.uid()));
    if v_erased.done then
        perform asyouwere.forget_bucket(auth.uid());
    end if;
    return v_erased;
end;
$$;
comment on function asyouwere.forget_caller is
    'Deletes a step''s worth of all that belongs to the caller and counts it.';
revoke execute on function asyouwere.forget_caller from public;
grant execute on function asyouwere.forget_caller to authenticated;

create function public.delete_my_data()
returns table (sessions int, snapshots int, parts int, turns int, memberships int, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.forget_caller();
end;
$$;
comment on function public.delete_my_data is
    'Delete all sessions of the caller and the caller''s memberships, for good. One row with the counts: '
    'the receipt. Call until done: a step takes some 100 ms.';
revoke execute on function public.delete_my_data from public, anon, authenticated, service_role;
grant execute on function public.delete_my_data to authenticated;

-- By the service
-- -----------------------------------------------------------------------------------------------
create function asyouwere.erase_account(p_user_id uuid) returns asyouwere.erased
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_erased asyouwere.erased;
begin
    if p_user_id is null then
        perform asyouwere.fail('invalid_argument', 'Say whose data is to go.');
    end if;
    insert into asyouwere.erasures (user_id) values (p_user_id) on conflict (user_id) do nothing;
    v_erased := asyouwere.erase(p_user_id);
    if v_erased.done then
        delete from asyouwere.rate_buckets b where b.user_id = p_user_id;
        update asyouwere.erasures e set finished_at = now() where e.user_id = p_user_id and e.account_gone;
        delete from asyouwere.erasures e where e.user_id = p_user_id and not e.account_gone;
    end if;
    return v_erased;
end;
$$;
comment on function asyouwere.erase_account is
    'A step of deleting a person''s data, marked as such from the first one on.';
revoke execute on function asyouwere.erase_account from public;

create function asyouwere.erase_person(p_user_id uuid) returns asyouwere.erased
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    -- definer: as forget_caller()
    select asyouwere.refuse_remains(asyouwere.erase_account(p_user_id))
$$;
comment on function asyouwere.erase_person is 'The same, telling when nothing is left but what can''t be deleted.';
revoke execute on function asyouwere.erase_person from public;
grant execute on function asyouwere.erase_person to service_role;

create function public.delete_user_data(p_user_id uuid)
returns table (sessions int, snapshots int, parts int, turns int, memberships int, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.erase_person(p_user_id);
end;
$$;
comment on function public.delete_user_data is
    'Delete all sessions and memberships of a person, as delete_my_data() does, and the rest that is known '
    'of the person. From the first call on nobody else reads the sessions. Call until done: a step takes '
    'some 100 ms. Service only.';
revoke execute on function public.delete_user_data from public, anon, authenticated, service_role;
grant execute on function public.delete_user_data to service_role;

-- By the deletion of the user
-- ------------------------------------------------------------------------------------ No foreign key with a
-- cascade: that would delete ten thousand sessions in one statement, or fail. The user goes at once and
-- leaves a mark, which hides the sessions; the clean-up deletes them.
create function asyouwere.mark_deleted_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: whoever deletes users need not know this schema
    insert into asyouwere.erasures (user_id, account_gone) values (old.id, true)
    on conflict (user_id) do update set account_gone = true, requested_at = now(), finished_at = null;
    return null;
end;
$$;
comment on function asyouwere.mark_deleted_user is
    'When a user is deleted, the sessions are hidden and will be deleted.';
revoke execute on function asyouwere.mark_deleted_user from public;

create function asyouwere.follow_users() returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass('auth.users') is null then
        return 'off: this database has no auth.users';
    end if;
    drop trigger if exists asyouwere_user_deleted on auth.users;
    create trigger asyouwere_user_deleted after delete on auth.users
        for each row execute function asyouwere.mark_deleted_user();
    return 'on';
exception when insufficient_privilege then
    return 'off: this role may not create triggers on auth.users; call delete_user_data() for each user deleted';
end;
$$;
comment on function asyouwere.follow_users is
    'From now on the data of users who are deleted from auth.users goes too; answers "on", or "off" and '
    'why. May be called again at any time; for the owner of the database.';
revoke execute on function asyouwere.follow_users from public;

select asyouwere.follow_users();

create function asyouwere.erase_next() returns asyouwere.erased
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_user uuid;
    v_erased asyouwere.erased := (0, 0, 0, 0, 0, true);
begin
    -- definer: sessions of all people
    select e.user_id into v_user from asyouwere.erasures e
    where e.finished_at is null and coalesce(e.failed_at, '-infinity') < now() - interval '1 hour'
    order by e.requested_at limit 1
    for no key update skip locked;
    if found then
        begin
            v_erased := asyouwere.erase_account(v_user);
            update asyouwere.erasures e set failed_at = null, sql_state = null
            where e.user_id = v_user and e.failed_at is not null;
            if v_erased.done is null then
                update asyouwere.erasures e set failed_at = clock_timestamp(), sql_state = coalesce((
                    select f.sql_state from public.free_agent_sessions s
                    join asyouwere.cleanup_failures f on f.session = s.internal_id and f.kind = 'accounts'
                    where s.user_id = v_user limit 1), '55000')
                where e.user_id = v_user;
            end if;
        exception when query_canceled or others then -- a time limit as well: somebody may hold a lock for long
            update asyouwere.erasures e set failed_at = clock_timestamp(), sql_state = sqlstate
            where e.user_id = v_user;
        end;
    end if;
    delete from asyouwere.erasures e where e.finished_at is not null
        and e.requested_at < now() - interval '7 days';
    delete from asyouwere.offers o where o.expires_at < now();
    v_erased.done := not exists (
        select from asyouwere.erasures e
        where e.finished_at is null and coalesce(e.failed_at, '-infinity') < now() - interval '1 hour');
    return v_erased;
end;
$$;
comment on function asyouwere.erase_next is
    'A step for the person who has waited longest; one whose step fails is passed by for an hour.';
revoke execute on function asyouwere.erase_next from public;
grant execute on function asyouwere.erase_next to service_role;

create function public.erase_deleted_users()
returns table (sessions int, snapshots int, parts int, turns int, memberships int, done boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.erase_next();
end;
$$;
comment on function public.erase_deleted_users is
    'A step of deleting what users left behind who are no more, of some 100 ms; part of the clean-up. Call '
    'until done. Service only.';
revoke execute on function public.erase_deleted_users from public, anon, authenticated, service_role;
grant execute on function public.erase_deleted_users to service_role;

-- 22_large_sessions.sql

-- Large sessions: one with thousands of snapshots, or that thousands belong to, is not deleted in one statement, which
-- would take minutes or meet a time limit and be undone. It is set aside: from that moment on it is nobody's, without a
-- name, key or member, and the clean-up deletes it in steps like the sessions of people who are no more
-- (22_accounts.sql).
-- Breaks running code: no.

create function asyouwere.is_large_session(p_session_id uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_ids uuid[] := asyouwere.sessions_within(array[p_session_id]);
begin
    -- parts are no matter: they go in steps by themselves (16_sweeping.sql)
    return cardinality(v_ids) > 100
        or (select count(*) from (
            select from public.session_snapshots n where n.session_id = any (v_ids) limit 1001) n) > 1000
        or (select count(*) from (
            select from public.session_turns t where t.session_id = any (v_ids) limit 1001) t) > 1000;
end;
$$;
comment on function asyouwere.is_large_session is
    'Whether a session has, with those that belong to it, over a thousand snapshots or turns, or is over a hundred.';
revoke execute on function asyouwere.is_large_session from public;

create function asyouwere.make_nobodys(p_ids uuid[], p_nobody uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
    perform asyouwere.remember_used(array_agg(s.id), array_agg(s.user_id))
    from public.free_agent_sessions s where s.id = any (p_ids);
    update public.free_agent_sessions s
    set user_id = p_nobody, key = null, visibility = 'private', name = null, model = null, upstream = null,
        metadata = '{}', expires_after = null, last_message = null, parent_id = null
    where s.id = any (p_ids);
    delete from public.session_members m where m.session_id = any (p_ids);
    delete from asyouwere.transfers t where t.session_id = any (p_ids);
    delete from public.session_turns t where t.session_id = any (p_ids) and t.status = 'running';
end;
$$;
comment on function asyouwere.make_nobodys is 'Takes sessions from their owners and out of everybody''s sight.';
revoke execute on function asyouwere.make_nobodys from public;

create function asyouwere.set_aside() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_nobody uuid := gen_random_uuid();
begin
    -- Definer: whoever deletes writes into tables that are the functions' only. Of the table itself it changes no
    -- other row: the statement may be about to delete that one too, and would fail.
    if not asyouwere.is_large_session(old.id) then
        return old;
    end if;
    insert into asyouwere.erasures (user_id, session_id) values (v_nobody, old.id);
    perform asyouwere.make_nobodys(array[old.id], v_nobody);
    return null;
end;
$$;
comment on function asyouwere.set_aside is
    'Makes a large session nobody''s instead of deleting it, and leaves it to the clean-up.';
revoke execute on function asyouwere.set_aside from public;
create trigger set_aside before delete on public.free_agent_sessions
    for each row execute function asyouwere.set_aside();

create function asyouwere.set_aside_within() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_aside record;
begin
    -- definer: as set_aside(). The row that they belong to stays, so no cascade takes them.
    for v_aside in
        select e.user_id, e.session_id from asyouwere.erasures e
        where e.session_id is not null and e.requested_at = now() and exists (
            select from public.free_agent_sessions s where s.parent_id = e.session_id)
    loop
        perform asyouwere.make_nobodys(
            array_remove(asyouwere.sessions_within(array[v_aside.session_id]), v_aside.session_id), v_aside.user_id);
    end loop;
    return null;
end;
$$;
comment on function asyouwere.set_aside_within is 'What belongs to sessions that were set aside goes with them.';
revoke execute on function asyouwere.set_aside_within from public;
create trigger set_aside_within after delete on public.free_agent_sessions
    for each statement execute function asyouwere.set_aside_within();

-- 23_handing_over.sql

-- Handing sessions over: one to another person, who accepts it; or all of a guest's to the account signed in
-- to. Sessions keep their ids, numbers and history, and count against the new owner's quotas.
-- Breaks running code: no.

create table asyouwere.transfers (
    session_id uuid primary key references public.free_agent_sessions (id) on delete cascade,
    from_user uuid not null,
    to_user uuid not null,
    offered_at timestamptz not null default now()
);
comment on table asyouwere.transfers is 'Sessions that their owner has offered to somebody.';
alter table asyouwere.transfers enable row level security; -- no policy: the functions only
create index transfers_by_owner on asyouwere.transfers (from_user, to_user);
create index transfers_by_person on asyouwere.transfers (to_user, offered_at desc, session_id desc);

create table asyouwere.offers (
    user_id uuid primary key,
    code bytea not null unique,
    expires_at timestamptz not null
);
comment on table asyouwere.offers is 'Guests who are about to take their sessions along.';
comment on column asyouwere.offers.code is 'SHA-256 of the code.';
alter table asyouwere.offers enable row level security; -- no policy: the functions only

create function asyouwere.give_sessions(p_ids uuid[], p_new_owner uuid) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_bytes bigint;
    v_new_keys int;
begin
    -- The caller holds lock_owner() of the new owner, and then the sessions. The bucket last: see
    -- 02_sessions.sql.
    select coalesce(sum(s.stored_bytes), 0) into v_bytes
    from public.free_agent_sessions s where s.id = any (p_ids);
    delete from public.session_members m where m.session_id = any (p_ids) and m.user_id = p_new_owner;
    update public.session_members m set invited_by = p_new_owner
    where m.session_id = any (p_ids) and m.accepted_at is null;
    delete from asyouwere.transfers t where t.session_id = any (p_ids);
    with given as (
        select s.id, exists (
            select from public.free_agent_sessions o where o.user_id = p_new_owner and o.key = s.key) as meets
        from public.free_agent_sessions s where s.id = any (p_ids)
    ), moved as (
        update public.free_agent_sessions s
        set user_id = p_new_owner, prepaid_saves = 0,
            parent_id = case when s.parent_id = any (p_ids) then s.parent_id end,
            key = case when g.meets then left(s.key, 460) || ' ' || gen_random_uuid() else s.key end
        from given g where s.id = g.id
        returning g.meets
    )
    select count(*) filter (where m.meets) into v_new_keys from moved m;
    perform asyouwere.charge(1 + cardinality(p_ids) / 100);
    if asyouwere.is_limited() then
        perform asyouwere.refuse_quota(p_new_owner, cardinality(p_ids), v_bytes, p_are_counted => true);
    end if;
    return v_new_keys;
end;
$$;
comment on function asyouwere.give_sessions is
    'Makes somebody the owner and says how many keys met and are new. Raises rate_limited, quota_exceeded.';
revoke execute on function asyouwere.give_sessions from public;

-- One session, to somebody
-- -----------------------------------------------------------------------------------
create function asyouwere.offer_transfer(p_session_id uuid, p_user_id uuid) returns asyouwere.transfers
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id, 'owner');
    v_transfer asyouwere.transfers;
begin
    -- definer: session_to_write is private
    if p_user_id = v_session.user_id then
        perform asyouwere.fail('invalid_argument', 'The session is this person''s already.');
    end if;
    delete from asyouwere.transfers t where t.session_id = v_session.id returning * into v_transfer;
    if p_user_id is null then
        return v_transfer;
    elsif asyouwere.is_limited() then
        perform asyouwere.refuse_invitation(v_session.id, v_session.user_id, p_user_id);
    end if;
    perform asyouwere.refuse_unknown_person(v_session.user_id, p_user_id);
    insert into asyouwere.transfers (session_id, from_user, to_user)
    values (v_session.id, v_session.user_id, p_user_id) returning * into v_transfer;
    perform asyouwere.charge();
    return v_transfer;
end;
$$;
comment on function asyouwere.offer_transfer is
    'Offers a session to somebody in place of whom it was offered to before.';
revoke execute on function asyouwere.offer_transfer from public;
grant execute on function asyouwere.offer_transfer to authenticated, service_role;

create function public.transfer_session(p_session_id uuid, p_to_user uuid)
returns table (session_id uuid, to_user uuid, offered_at timestamptz)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select t.session_id, t.to_user, t.offered_at
    from asyouwere.offer_transfer(p_session_id, p_to_user) t;
end;
$$;
comment on function public.transfer_session is
    'Offer a session to somebody, who becomes its owner with accept_transfer(); null takes the offer back. '
    'Shown in list_invitations() as role owner. Owner only. Raises user_not_found, quota_exceeded, '
    'invalid_argument.';
revoke execute on function public.transfer_session from public, anon, authenticated, service_role;
grant execute on function public.transfer_session to authenticated, service_role;

create function asyouwere.take_transfer(p_session_id uuid) returns public.free_agent_sessions
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller uuid := auth.uid();
    v_owner uuid;
    v_session public.free_agent_sessions;
begin
    -- definer: the session is not the caller's yet
    if v_caller is null then
        perform asyouwere.fail('not_signed_in', 'Sign in as the person whom the session was offered to.');
    end if;
    -- looked at first, so that nobody locks a session that was not offered; and again under the lock
    if exists (select from asyouwere.transfers t where t.session_id = p_session_id
        and t.to_user = v_caller) then
        select s.user_id into v_owner from public.free_agent_sessions s where s.id = p_session_id;
        perform asyouwere.lock_owner(least(v_owner, v_caller));
        perform asyouwere.lock_owner(greatest(v_owner, v_caller));
        -- sessions of its own go with it
        perform from public.free_agent_sessions s
        where s.id = any (asyouwere.sessions_within(array[p_session_id])) and s.user_id = v_owner
        order by s.id for update;
        select * into v_session from public.free_agent_sessions s where s.id = p_session_id for update;
    end if;
    if v_session.id is null or asyouwere.is_erased(v_session.user_id) or asyouwere.is_erased(v_caller)
        or not exists (select from asyouwere.transfers t where t.session_id = p_session_id
            and t.to_user = v_caller)
    then
        perform asyouwere.fail('invitation_not_found');
    end if;
    -- the owner before has invited them, not this one, who may never have heard of them
    delete from public.session_members m
    where m.session_id = any (asyouwere.sessions_within(array[v_session.id])) and m.accepted_at is null;
    perform asyouwere.give_sessions(asyouwere.sessions_within(array[v_session.id]), v_caller);
    select * into v_session from public.free_agent_sessions s where s.id = p_session_id;
    return v_session;
end;
$$;
comment on function asyouwere.take_transfer is 'Makes the caller the owner of a session that was offered.';
revoke execute on function asyouwere.take_transfer from public;
grant execute on function asyouwere.take_transfer to authenticated, service_role;

create function public.accept_transfer(p_session_id uuid) returns setof public.free_agent_sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.take_transfer(p_session_id);
end;
$$;
comment on function public.accept_transfer is
    'Become the owner of a session that was offered: with its id, history and members, without open '
    'invitations; a key that the '
    'caller has already becomes a new one. The owner before is a stranger then. Raises '
    'invitation_not_found, quota_exceeded.';
revoke execute on function public.accept_transfer from public, anon, authenticated, service_role;
grant execute on function public.accept_transfer to authenticated, service_role;

-- All of a guest's, to the account that the guest signs in to
-- ----------------------------------------------------
create function asyouwere.make_offer() returns table (code text, expires_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: offers are private
    if auth.uid() is null then
        perform asyouwere.fail('not_signed_in',
            'Sign in, be it anonymously, as the one whose sessions they are.');
    end if;
    -- 122 random bits (RFC 9562, 5.4): nobody finds one in ten minutes
    code := replace(gen_random_uuid()::text, '-', '');
    expires_at := now() + interval '10 minutes';
    insert into asyouwere.offers as o (user_id, code, expires_at)
    values (auth.uid(), sha256(convert_to(make_offer.code, 'UTF8')), make_offer.expires_at)
    on conflict on constraint offers_pkey do update set code = excluded.code,
        expires_at = excluded.expires_at;
    perform asyouwere.charge();
    return next;
end;
$$;
comment on function asyouwere.make_offer is 'A code for the caller''s sessions; the database keeps its hash.';
revoke execute on function asyouwere.make_offer from public;
grant execute on function asyouwere.make_offer to authenticated;

create function public.offer_my_sessions() returns table (code text, expires_at timestamptz)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.make_offer();
end;
$$;
comment on function public.offer_my_sessions is
    'A code, good once and for ten minutes, with which claim_sessions() takes all sessions of the caller '
    'over to another account. A new one ends the one before.';
revoke execute on function public.offer_my_sessions from public, anon, authenticated, service_role;
grant execute on function public.offer_my_sessions to authenticated;

create function asyouwere.take_offer(p_code text) returns table (sessions int, new_keys int)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller uuid := auth.uid();
    v_hash bytea := sha256(convert_to(p_code, 'UTF8'));
    v_guest uuid;
    v_is_offered boolean := false;
    v_ids uuid[];
begin
    -- definer: the sessions are not the caller's yet
    if v_caller is null then
        perform asyouwere.fail('not_signed_in', 'Sign in to the account that the sessions are to go to.');
    end if;
    select o.user_id into v_guest from asyouwere.offers o where o.code = v_hash and o.user_id <> v_caller;
    if found and not asyouwere.is_erased(v_caller) and not asyouwere.is_erased(v_guest) then
        perform asyouwere.lock_owner(least(v_guest, v_caller));
        perform asyouwere.lock_owner(greatest(v_guest, v_caller));
        -- once: of two who come with it the second finds none
        delete from asyouwere.offers o where o.code = v_hash and o.expires_at > now();
        v_is_offered := found;
    end if;
    if not v_is_offered then
        perform asyouwere.fail('offer_not_found');
    end if;
    v_ids := array(
        select s.id from public.free_agent_sessions s where s.user_id = v_guest order by s.id
            limit 10001 for update);
    if cardinality(v_ids) > 10000 then
        perform asyouwere.fail('quota_exceeded',
            'At most 10,000 sessions can be taken over at once. Delete some first.',
            '{"quota": "claimed_sessions", "used": 10001, "limit": 10000}');
    end if;
    -- One person: answers that run go on, made with the account's token from now on. Before give_sessions, whose
    -- trigger ends the leases of the owner before.
    update public.session_turns t set started_by = v_caller
    where t.session_id = any (v_ids) and t.status = 'running' and t.started_by = v_guest;
    sessions := cardinality(v_ids);
    new_keys := asyouwere.give_sessions(v_ids, v_caller);
    return next;
end;
$$;
comment on function asyouwere.take_offer is
    'Makes the caller the owner of all sessions that a code stands for.';
revoke execute on function asyouwere.take_offer from public;
grant execute on function asyouwere.take_offer to authenticated;

create function public.claim_sessions(p_code text) returns table (sessions int, new_keys int)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.take_offer(p_code);
end;
$$;
comment on function public.claim_sessions is
    'Take over all sessions that a code of offer_my_sessions() stands for, all or none; keys that meet get '
    'a new one (new_keys counts them). Raises offer_not_found, quota_exceeded, rate_limited.';
revoke execute on function public.claim_sessions from public, anon, authenticated, service_role;
grant execute on function public.claim_sessions to authenticated;

-- 24_turns.sql

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

-- 25_turn_chunks.sql

-- Chunks: how whoever makes an answer flushes it, and how others read it as it comes.
-- Breaks running code: no.

create function asyouwere.charge_flush(p_last asyouwere.turn_chunks, p_flush int, p_bytes int) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_max_bytes bigint := (select s.max_turn_bytes from asyouwere.settings s);
    -- of sixteen flushes one pays, so that the others write one row
    v_cost int := (p_flush % 16 = 0)::int + (p_bytes >> 20) - (coalesce(p_last.bytes, 0) >> 20);
begin
    if p_bytes > v_max_bytes then
        perform asyouwere.fail('too_large',
            format('A turn may have %s bytes, each flush counting 100 more and each chunk 64.', v_max_bytes),
            format('{"size_bytes": %s, "max_bytes": %s}', p_bytes, v_max_bytes));
    end if;
    if v_cost > 0 then
        perform asyouwere.charge(v_cost);
    end if;
end;
$$;
comment on function asyouwere.charge_flush is
    'A token for every 16 flushes of a turn and for every MB. Raises rate_limited, too_large.';
revoke execute on function asyouwere.charge_flush from public;

create function asyouwere.append_chunks(
    p_session_id uuid, p_turn_id uuid, p_from_seq int, p_chunks json, out next_seq int, out stop boolean
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_turn public.session_turns := asyouwere.turn_to_write(p_session_id, p_turn_id);
    v_last asyouwere.turn_chunks;
    -- A text with the list in it is taken too: PostgREST reads no JSON with half a character in it, and a
    -- stream is cut anywhere.
    v_chunks json := case json_typeof(p_chunks) when 'string'
        then asyouwere.json_inside(p_chunks) else p_chunks end;
    v_body text := btrim(v_chunks::text, E' \t\r\n');
    v_count int;
    v_known int;
    v_flush int;
    v_bytes int;
    v_left interval;
begin
    -- definer: chunks are private
    perform asyouwere.refuse_ended(v_turn);
    if v_body is null or p_from_seq is null or p_from_seq < 1 or left(v_body, 1) <> '[' then
        perform asyouwere.fail('invalid_argument',
            'chunks is a list, its first one''s number from_seq is 1 or more.');
    elsif octet_length(v_body) > 262144 then
        perform asyouwere.fail('too_large', 'One flush may have 256 KB.',
            format('{"size_bytes": %s, "max_bytes": 262144}', octet_length(v_body)));
    end if;
    -- A chunk may become a part, so it obeys the rules of parts: what is too deep could never be read again.
    if not asyouwere.is_plain_part('/messages/', 0, v_body) then
        perform asyouwere.refuse_part('/messages/', 0, v_body);
    end if;
    v_count := json_array_length(v_chunks);
    v_body := substr(v_body, 2, length(v_body) - 2);
    if v_count > 1000 then
        perform asyouwere.fail('too_large', 'One flush may have 1,000 chunks.', '{"max_parts": 1000}');
    end if;
    select c.seq, c.flush, c.bytes into v_last.seq, v_last.flush, v_last.bytes from asyouwere.turn_chunks c
    where c.session = v_turn.internal_session_id and c.turn = v_turn.internal_id
    order by c.session desc, c.turn desc, c.seq desc limit 1;
    v_known := coalesce(v_last.seq, 0) + 1 - p_from_seq; -- so many of them are there already
    if v_known < 0 then
        perform asyouwere.fail('turn_gap', p_detail => format('{"next_seq": %s}', coalesce(v_last.seq,
            0) + 1));
    elsif v_known > 0 and v_known < v_count then
        select string_agg(e.value::text, ',' order by e.n) into v_body
        from json_array_elements(v_chunks) with ordinality e (value, n) where e.n > v_known;
    end if;
    next_seq := p_from_seq + greatest(v_count, v_known);
    if v_count > v_known then
        v_flush := coalesce(v_last.flush, 0) + 1;
        -- not free, however small: to settle a turn, each chunk is looked at
        v_bytes := coalesce(v_last.bytes, octet_length(v_turn.message::text))
            + octet_length(v_body) + 100 + 64 * (v_count - v_known);
        insert into asyouwere.turn_chunks (session, turn, seq, chunks, flush, bytes, body)
        values (v_turn.internal_session_id, v_turn.internal_id, next_seq - 1, v_count - v_known, v_flush,
            v_bytes, v_body);
        -- no setting can be so small that what passes here breaks it
        if v_flush % 16 = 0 or v_bytes >= 65536 then
            perform asyouwere.charge_flush(v_last, v_flush, v_bytes);
        end if;
    end if;
    if v_count = 0
        or v_turn.lease_until - clock_timestamp() < make_interval(secs => v_turn.lease_seconds / 3.0)
    then
        update public.session_turns t
        set lease_until = clock_timestamp() + make_interval(secs => v_turn.lease_seconds),
            last_seq = next_seq - 1
        where t.session_id = p_session_id and t.id = p_turn_id;
        if v_count = 0 then
            perform asyouwere.charge();
        end if;
    end if;
    stop := v_turn.stop_requested_at is not null;
end;
$$;
comment on function asyouwere.append_chunks is 'Writes a flush of a running turn as one row.';
revoke execute on function asyouwere.append_chunks from public;
grant execute on function asyouwere.append_chunks to authenticated, service_role;

create function public.append_turn_chunks(p_session_id uuid, p_turn_id uuid, p_from_seq int, p_chunks json)
returns table (next_seq int, stop boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.append_chunks(p_session_id, p_turn_id, p_from_seq, p_chunks);
end;
$$;
comment on function public.append_turn_chunks is
    'Flush chunks, a list of texts or of any JSON, numbered from p_from_seq; the first of a turn is 1. What'
    ' is there is not written again; an empty list only renews the lease. The row says the next number, and'
    ' whether a stop was asked for. At most 1,000 chunks and 256 KB a flush. Raises turn_over, turn_gap, '
    'turn_not_found, too_large, rate_limited.';
revoke execute on function public.append_turn_chunks from public, anon, authenticated, service_role;
grant execute on function public.append_turn_chunks to authenticated, service_role;

-- Following
-- --------------------------------------------------------------------------------------------------
create function asyouwere.look_at_turn(p_session_id uuid, p_turn_id uuid,
    p_after_seq int) returns asyouwere.turn_state
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_turn public.session_turns;
    v_after int := greatest(p_after_seq, 0);
    v_last int;
    v_state asyouwere.turn_state;
begin
    -- the turn is read before its chunks: if it has ended, they are all there
    if p_turn_id is not null then
        select * into v_turn from public.session_turns t
        where t.session_id = p_session_id and t.id = p_turn_id
            and (select asyouwere.role_of(s.id, s.user_id, s.visibility) from public.free_agent_sessions s
                where s.id = t.session_id) is not null;
    else
        select * into v_turn from public.session_turns t
        where t.session_id = p_session_id
            and (select asyouwere.role_of(s.id, s.user_id, s.visibility) from public.free_agent_sessions s
                where s.id = t.session_id) is not null
        order by t.session_id, t.internal_id desc limit 1;
    end if;
    if v_turn.id is null then
        if p_turn_id is null and exists (select from public.free_agent_sessions s where s.id = p_session_id
            and asyouwere.role_of(s.id, s.user_id, s.visibility) is not null)
        then
            return null;
        end if;
        perform asyouwere.refuse_turn(p_session_id, null, 'viewer');
    end if;
    if v_turn.status = 'running' and v_turn.lease_until <= clock_timestamp()
        and current_setting('transaction_read_only') = 'off'
    then
        perform asyouwere.interrupt_turn(p_session_id, v_turn.id);
        select * into v_turn from public.session_turns t where t.session_id = p_session_id
            and t.id = v_turn.id;
    end if;
    select c.seq into v_last from asyouwere.turn_chunks c
    where c.session = v_turn.internal_session_id and c.turn = v_turn.internal_id
    order by c.session desc, c.turn desc, c.seq desc limit 1;
    v_last := coalesce(v_last, v_turn.last_seq);
    v_state := (v_turn.id, v_turn.status,
        -- who only reads a public session is not told whose it is
        case when v_turn.started_by is not null and asyouwere.is_insider(p_session_id, (
            select s.user_id from public.free_agent_sessions s where s.id = p_session_id))
        then v_turn.started_by end, v_turn.lease_until, v_turn.stop_requested_at is not null,
        least(v_after, v_last) + 1, '[]', v_last + 1, false,
        v_turn.number, v_turn.position, v_turn.started_at, v_turn.ended_at);
    if v_last > v_after and v_turn.due_at <= now() then
        v_state.first_seq := v_last + 1; -- their time is over, whether or not the clean-up has taken them
    elsif v_last > v_after then
        with page as (
            select c.* from asyouwere.turn_chunks c
            where c.session = v_turn.internal_session_id and c.turn = v_turn.internal_id and c.seq > v_after
            order by c.session, c.turn, c.seq limit 500
        ), fitting as (
            select p.seq, p.chunks, p.body, p.seq - p.chunks >= v_after as is_whole
            from page p where p.bytes - (select min(f.bytes) from page f) < 1000000
        )
        select greatest(min(f.seq - f.chunks), v_after) + 1, max(f.seq) < v_last, max(f.seq) + 1,
            concat('[', string_agg(case when f.is_whole then f.body else (
                select string_agg(e.value::text, ',' order by e.n)
                from json_array_elements(concat('[', f.body, ']')::json) with ordinality e (value, n)
                where f.seq - f.chunks + e.n > v_after) end, ',' order by f.seq), ']')
        into v_state.first_seq, v_state.more, v_state.next_seq, v_state.chunks
        from fitting f having count(*) > 0;
        if not found then
            v_state.first_seq := v_last + 1; -- the clean-up has taken them
            v_state.chunks := '[]';
            v_state.more := false;
            v_state.next_seq := v_last + 1;
        end if;
    end if;
    return v_state;
end;
$$;
comment on function asyouwere.look_at_turn is
    'A turn and its chunks after a number; null: the session has none. Settles one whose lease ran out.';
revoke execute on function asyouwere.look_at_turn from public;

create function asyouwere.read_turn(p_session_id uuid, p_turn_id uuid,
    p_after_seq int) returns asyouwere.turn_state
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_state asyouwere.turn_state;
begin
    -- Definer: access is checked in the statement. The everyday poll finds nothing: one statement, without
    -- the settings of look_at_turn(), which would cost a tenth of it.
    select t.id, t.status, t.started_by, t.lease_until, t.stop_requested_at is not null,
        c.seq + 1, '[]', c.seq + 1, false, t.number, t.position, t.started_at, t.ended_at
    into v_state
    from public.session_turns t
    cross join lateral (
        select l.seq from asyouwere.turn_chunks l
        where l.session = t.internal_session_id and l.turn = t.internal_id
        order by l.session desc, l.turn desc, l.seq desc limit 1) c
    cross join public.free_agent_sessions s
    where t.session_id = p_session_id and t.id = p_turn_id and s.id = p_session_id
        and t.status = 'running' and t.lease_until > clock_timestamp()
        and (s.user_id = auth.uid()
            or s.visibility <> 'public' and asyouwere.role_of(s.id, s.user_id, s.visibility) is not null)
        and c.seq = p_after_seq;
    if not found then
        v_state := asyouwere.look_at_turn(p_session_id, p_turn_id, p_after_seq);
    end if;
    return v_state;
end;
$$;
comment on function asyouwere.read_turn is 'A turn, and its chunks after a number if there are any.';
revoke execute on function asyouwere.read_turn from public;
grant execute on function asyouwere.read_turn to anon, authenticated, service_role;

create function public.get_turn(p_session_id uuid, p_turn_id uuid default null, p_after_seq int default 0)
returns setof asyouwere.turn_state
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_state asyouwere.turn_state := asyouwere.read_turn(p_session_id, p_turn_id, p_after_seq);
begin
    if v_state.id is not null then
        return next v_state;
    end if;
end;
$$;
comment on function public.get_turn is
    'A turn (null: the running or the latest one; no row if there is none) and its chunks after p_after_seq, '
    'from first_seq on up to about 1 MB; more: ask again after next_seq - 1. number and position tell of '
    'the finished message. '
    'Cheap enough to ask four times a second. Raises turn_not_found, session_not_found.';
revoke execute on function public.get_turn from public, anon, authenticated, service_role;
grant execute on function public.get_turn to anon, authenticated, service_role;

-- 26_turn_ends.sql

-- How a turn ends: finished by whoever made it, or interrupted, when the lease ran out, by whoever looks
-- next. Either way its message is saved once, in the transaction that ends it. Locks: the session, then the
-- turn.
-- Breaks running code: no.

create function asyouwere.turn_text(p_turn public.session_turns) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- What is between the quotes of JSON strings, joined, is a JSON string again, to the character.
    select concat('"', string_agg(substr(e.value::text, 2, length(e.value::text) - 2), '' order by c.seq,
        e.n), '"')
    from asyouwere.turn_chunks c
    cross join json_array_elements(concat('[', c.body, ']')::json) with ordinality e (value, n)
    where c.session = p_turn.internal_session_id and c.turn = p_turn.internal_id
        and json_typeof(e.value) = 'string'
    having count(*) > 0
$$;
comment on function asyouwere.turn_text is
    'The text chunks of a turn as one JSON string; null if there are none.';
revoke execute on function asyouwere.turn_text from public;

create function asyouwere.turn_message(p_turn public.session_turns, p_status text) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select concat(rtrim(left(rtrim(p_turn.message::text, E' \t\r\n'), -1), E' \t\r\n'),
        case when exists (select from json_object_keys(asyouwere.readable_json(p_turn.message::text)))
            then ',' end,
        '"content":', t.text, case when p_status <> 'done' then format(',"status":"%s"', p_status) end, '}')
    from asyouwere.turn_text(p_turn) t (text) where t.text is not null
$$;
comment on function asyouwere.turn_message is
    'The message that the text chunks of a turn make; null if there are none.';
revoke execute on function asyouwere.turn_message from public;

create function asyouwere.end_turn(
    p_turn public.session_turns, p_status text, p_result asyouwere.save_result, p_position int,
        p_finished_with uuid
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_last int := asyouwere.last_seq(p_turn);
begin
    update public.session_turns t
    set status = p_status, ended_at = clock_timestamp(), last_seq = v_last, number = p_result.number,
        position = p_position,
        changed_parts = p_result.changed_parts, finished_with = p_finished_with,
        message = null,
        due_at = clock_timestamp()
            + case p_status when 'interrupted' then s.delete_expired_after else s.keep_chunks_for end
    from asyouwere.settings s
    where t.session_id = p_turn.session_id and t.id = p_turn.id;
end;
$$;
comment on function asyouwere.end_turn is 'Writes down how a turn ended, and until when its chunks stay.';
revoke execute on function asyouwere.end_turn from public;

-- Interrupted
-- ------------------------------------------------------------------------------------------------------
create function asyouwere.interrupt_turn(p_session_id uuid, p_turn_id uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_claims text := current_setting('request.jwt.claims', true);
    v_claimed_sub text := current_setting('request.jwt.claim.sub', true);
    v_session public.free_agent_sessions;
    v_turn public.session_turns;
    v_message text;
    v_result asyouwere.save_result;
begin
    select * into v_session from public.free_agent_sessions s where s.id = p_session_id for no key update;
    select * into v_turn from public.session_turns t
    where t.session_id = p_session_id and t.id = p_turn_id for no key update;
    -- again under the locks: it may have been finished, or interrupted by another
    if v_turn.status is distinct from 'running' or v_turn.lease_until > clock_timestamp() then
        return;
    end if;
    v_message := asyouwere.turn_message(v_turn, 'interrupted');
    if v_message is not null then
        begin
            -- As nobody: whoever looks neither wrote it nor pays for it, and may be somebody who only reads.
            -- But what people have begun counts as stored bytes, as if they had finished it. No SET clause:
            -- only a superuser could create the function with one for such a setting.
            perform set_config('request.jwt.claims', '', true), set_config('request.jwt.claim.sub', '', true);
            v_result := asyouwere.write_snapshot(v_session,
                (array['append'], array['/messages/'], array[null::int],
                    array[v_message])::asyouwere.change_rows,
                false, null, null, null);
            if v_turn.started_by is not null then
                perform asyouwere.refuse_quota(v_session.user_id, 0, octet_length(v_message),
                    p_are_counted => true);
            end if;
            perform set_config('request.jwt.claims', coalesce(v_claims, ''), true),
                set_config('request.jwt.claim.sub', coalesce(v_claimed_sub, ''), true);
        exception when sqlstate 'PT403' or sqlstate 'PT413' or sqlstate 'PT422' or statement_too_complex then
            -- No room, or messages is no list: it ends all the same, and the chunks stay for the time of
            -- grace.
            v_message := null;
        end;
    end if;
    perform asyouwere.end_turn(v_turn, 'interrupted', v_result,
        case when v_message is not null then v_result.message_count - 1 end, null);
end;
$$;
comment on function asyouwere.interrupt_turn is
    'Ends a turn whose lease ran out, once: its text so far becomes a message with "status": "interrupted".';
revoke execute on function asyouwere.interrupt_turn from public;

-- Finished
-- ---------------------------------------------------------------------------------------------------------
create function asyouwere.complete_turn(
    p_session_id uuid, p_turn_id uuid, p_message json, p_changes json, p_status text
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id);
    v_turn public.session_turns := asyouwere.turn_to_write(p_session_id, p_turn_id);
    v_finished_with uuid := md5(concat(p_status, E'\x01', p_message, E'\x01', p_changes))::uuid;
    v_message text;
    v_rows asyouwere.change_rows := (array[]::text[], array[]::text[], array[]::int[], array[]::text[]);
    v_result asyouwere.save_result;
begin
    -- definer: nobody ends turns but through here
    if p_status is null or p_status not in ('done', 'stopped', 'failed') then
        perform asyouwere.fail('invalid_argument', 'status is done, stopped or failed.');
    end if;
    if v_turn.finished_with = v_finished_with then
        -- the answer may have been lost
        v_result := (v_turn.number, v_turn.changed_parts > 0, true, false, v_turn.changed_parts, null, null,
            null);
        select n.size_bytes, n.message_count into v_result.size_bytes, v_result.message_count
        from public.session_snapshots n where n.session_id = p_session_id and n.number = v_turn.number;
        return v_result;
    end if;
    perform asyouwere.refuse_ended(v_turn);
    v_message := coalesce(p_message::text, asyouwere.turn_message(v_turn, p_status));
    if p_changes is not null then
        v_rows := asyouwere.open_changes(p_changes);
        perform asyouwere.refuse_twice(v_rows);
    end if;
    if v_message is not null then
        -- last, so that its position is that of the last message
        v_rows := (v_rows.ops || 'append'::text, v_rows.paths || '/messages/'::text,
            v_rows.items || null::int,
            v_rows.bodies || v_message);
    end if;
    if cardinality(v_rows.ops) > 0 then
        v_result := asyouwere.save_snapshot(p_session_id, v_rows, null, null, null, 'merge');
    else
        v_result := (v_session.latest_number, false, false, false, 0, v_session.size_bytes,
            v_session.message_count, null);
    end if;
    perform asyouwere.end_turn(v_turn, p_status, v_result,
        case when v_message is not null then v_result.message_count - 1 end, v_finished_with);
    return v_result;
end;
$$;
comment on function asyouwere.complete_turn is 'Saves the message and other changes, and ends the turn.';
revoke execute on function asyouwere.complete_turn from public;
grant execute on function asyouwere.complete_turn to authenticated, service_role;

create function public.finish_turn(
    p_session_id uuid, p_turn_id uuid, p_message json default null, p_changes json default null,
    p_status text default 'done'
) returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.complete_turn(p_session_id, p_turn_id, p_message, p_changes, p_status);
end;
$$;
comment on function public.finish_turn is
    'End a turn as done, stopped or failed, and save its message in the same transaction: p_message, or '
    'else one made of the text chunks; p_changes go with it. The answer is that of a save; again with the '
    'same arguments: the same. Raises turn_over, turn_not_found, forbidden and what a save can be refused '
    'for.';
revoke execute on function public.finish_turn from public, anon, authenticated, service_role;
grant execute on function public.finish_turn to authenticated, service_role;

-- Stopped
-- ----------------------------------------------------------------------------------------------------------
create function asyouwere.request_stop(p_session_id uuid, p_turn_id uuid) returns public.session_turns
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_turn public.session_turns;
begin
    -- definer: nobody writes turns but through here
    select * into v_turn from public.session_turns t
    where t.session_id = p_session_id and t.id = p_turn_id
        and (select asyouwere.role_of(s.id, s.user_id, s.visibility) from public.free_agent_sessions s
            where s.id = t.session_id) in ('owner', 'editor')
    for no key update;
    if not found then
        perform asyouwere.refuse_turn(p_session_id, p_turn_id, 'editor');
    end if;
    if v_turn.status = 'running' and v_turn.stop_requested_at is null then
        update public.session_turns t set stop_requested_at = clock_timestamp()
        where t.session_id = p_session_id and t.id = p_turn_id
        returning * into v_turn;
        perform asyouwere.charge();
    end if;
    return v_turn;
end;
$$;
comment on function asyouwere.request_stop is 'Notes that a stop was asked for, once.';
revoke execute on function asyouwere.request_stop from public;
grant execute on function asyouwere.request_stop to authenticated, service_role;

create function public.stop_turn(p_session_id uuid, p_turn_id uuid)
returns table (status text, stop_requested_at timestamptz)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return query select t.status, t.stop_requested_at from asyouwere.request_stop(p_session_id, p_turn_id) t;
end;
$$;
comment on function public.stop_turn is
    'Ask whoever makes the answer to stop: told with the next flush. Any editor may. Of a turn that is '
    'over: how it ended. Raises turn_not_found, forbidden.';
revoke execute on function public.stop_turn from public, anon, authenticated, service_role;
grant execute on function public.stop_turn to authenticated, service_role;

-- Clean-up
-- ---------------------------------------------------------------------------------------------------------
create function asyouwere.drop_chunks(p_session public.free_agent_sessions, out turns int,
    out finished boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set jit = off
as $$
declare
    v_turns bigint[];
    v_rows int;
begin
    -- from turn to turn in the key of the chunks: a session may have had any number of turns
    with recursive kept (turn) as (
        select min(c.turn) from asyouwere.turn_chunks c where c.session = p_session.internal_id
        union all
        select (select min(c.turn) from asyouwere.turn_chunks c
            where c.session = p_session.internal_id and c.turn > k.turn)
        from kept k where k.turn is not null
    ), dropped as (
        update public.session_turns t set due_at = least(t.due_at, now())
        from kept k
        where t.session_id = p_session.id and t.internal_id = k.turn and t.status <> 'running'
        returning t.internal_id
    )
    select coalesce(array_agg(d.internal_id), '{}') into v_turns from dropped d;
    turns := cardinality(v_turns);
    delete from asyouwere.turn_chunks c where c.ctid = any (array(
        select o.ctid from asyouwere.turn_chunks o
        where o.session = p_session.internal_id and o.turn = any (v_turns) limit 5000));
    get diagnostics v_rows = row_count;
    finished := v_rows < 5000;
end;
$$;
comment on function asyouwere.drop_chunks is
    'From now on nobody reads chunks of a session''s turns that are over; up to 5,000 rows of them are deleted, '
    'the clean-up deletes the others.';
revoke execute on function asyouwere.drop_chunks from public;

create function asyouwere.settle_turns(p_turns int, p_rows int) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_until timestamptz := clock_timestamp() + interval '50 ms';
    v_turn public.session_turns;
    v_rows int;
    v_left int := p_rows;
begin
    -- what nobody has looked at
    for v_turn in
        select t.* from public.session_turns t where t.status = 'running' and t.lease_until <= now()
        order by t.lease_until limit p_turns
    loop
        -- busy: next time
        perform from public.free_agent_sessions s
            where s.id = v_turn.session_id for no key update skip locked;
        continue when not found;
        begin
            perform asyouwere.interrupt_turn(v_turn.session_id, v_turn.id);
        exception when others then
            perform asyouwere.note_failure(v_turn.internal_session_id, 'turns', sqlstate);
            continue;
        end;
        return true; -- one session's lock at a time
    end loop;
    for v_turn in
        select t.* from public.session_turns t where t.due_at <= now() order by t.due_at limit 500
        for no key update skip locked
    loop
        delete from asyouwere.turn_chunks c where c.ctid = any (array(
            select o.ctid from asyouwere.turn_chunks o
            where o.session = v_turn.internal_session_id and o.turn = v_turn.internal_id limit v_left));
        get diagnostics v_rows = row_count;
        v_left := v_left - v_rows;
        if v_left <= 0 or clock_timestamp() > v_until then
            return true;
        end if;
        -- the row is known for as long as an idempotency key is
        update public.session_turns t set due_at = v_turn.ended_at + s.keep_keys_for
        from asyouwere.settings s
        where t.session_id = v_turn.session_id and t.id = v_turn.id
            and v_turn.ended_at + s.keep_keys_for > now();
        if not found then
            delete from public.session_turns t where t.session_id = v_turn.session_id and t.id = v_turn.id;
        end if;
    end loop;
    return exists (select from public.session_turns t where t.due_at <= now());
end;
$$;
comment on function asyouwere.settle_turns is
    'Interrupts turns whose lease ran out, deletes chunks whose time is over and turns long ended; true if '
    'there are more.';
revoke execute on function asyouwere.settle_turns from public;

-- 26_turn_exports.sql

-- Turns taken along: an export has those whose chunks say more than the messages do, an import brings them
-- back. A turn that runs is exported as far as it has come. Where it is imported nobody makes it any more: it
-- comes as one whose lease ran out, and whoever looks first settles it.
-- Breaks running code: no.

create function asyouwere.export_turns(p_session public.free_agent_sessions) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- The newest ten, together no larger than one may be: all of it is one row of the export.
    select ',"turns":[' || string_agg(concat(
            left(json_build_object('id', t.id, 'status', t.status, 'started_at', t.started_at, 'ended_at',
                t.ended_at,
                'number', t.number, 'position', t.position)::text, -1),
            ',"message":' || case when t.is_insider then t.message end::text,
            ',"chunks":[', t.chunks, ']}'), ',' order by t.internal_id) || ']'
    from (
        select f.*, asyouwere.is_insider(p_session.id, p_session.user_id) as is_insider, (
            select string_agg(c.body, ',' order by c.seq) from asyouwere.turn_chunks c
            where c.session = f.internal_session_id and c.turn = f.internal_id) as chunks
        from (
            select n.*, sum((
                select c.bytes from asyouwere.turn_chunks c
                where c.session = n.internal_session_id and c.turn = n.internal_id order by c.seq desc limit 1
            )) over (order by n.internal_id desc) as bytes
            from (
                select * from public.session_turns i
                where i.session_id = p_session.id
                    and (i.status = 'running' or i.status = 'interrupted' and i.due_at > now())
                order by i.internal_id desc limit 10
            ) n
        ) f
        where f.bytes <= (select s.max_turn_bytes from asyouwere.settings s)
    ) t
    where t.chunks is not null
$$;
comment on function asyouwere.export_turns is
    'The running turn of a session and the interrupted ones that have chunks yet, as a member of its export; '
    'null if there are none.';
revoke execute on function asyouwere.export_turns from public;

create function asyouwere.refuse_turn_bytes(p_bytes bigint, p_most bigint) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_bytes > p_most then
        perform asyouwere.fail('too_large', format('The turns of an import may have %s bytes.', p_most),
            format('{"size_bytes": %s, "max_bytes": %s}', p_bytes, p_most));
    end if;
end;
$$;
comment on function asyouwere.refuse_turn_bytes is 'Raises too_large.';
revoke execute on function asyouwere.refuse_turn_bytes from public;

create function asyouwere.write_imported_chunks(p_turn public.session_turns, p_chunks json) returns int
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_bytes bigint;
begin
    if not asyouwere.is_plain_part('/messages/', 0, p_chunks::text) then
        perform asyouwere.refuse_part('/messages/', 0, p_chunks::text);
    end if;
    -- in flushes of some 128 KB, as a page of get_turn() is made of whole ones
    insert into asyouwere.turn_chunks (session, turn, seq, chunks, flush, bytes, body)
    select p_turn.internal_session_id, p_turn.internal_id, max(f.n), count(*), row_number() over w,
        coalesce(octet_length(p_turn.message::text), 0) + sum(sum(f.size) + 99) over w,
        string_agg(f.body, ',' order by f.n)
    from (
        select c.*, (sum(c.size) over (order by c.n) - c.size) / 131072 as flush
        from (
            select e.n, e.value::text as body, octet_length(e.value::text) + 65 as size
            from json_array_elements(p_chunks) with ordinality e (value, n)
        ) c
    ) f
    group by f.flush
    window w as (order by f.flush);
    select max(c.bytes) into v_bytes from asyouwere.turn_chunks c
    where c.session = p_turn.internal_session_id and c.turn = p_turn.internal_id;
    return coalesce(v_bytes, 0);
end;
$$;
comment on function asyouwere.write_imported_chunks is
    'Writes the chunks of a turn, and says what they count as.';
revoke execute on function asyouwere.write_imported_chunks from public;

create function asyouwere.import_turns(p_session public.free_agent_sessions, p_turns json) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings asyouwere.settings;
    v_given record;
    v_turn public.session_turns;
    v_bytes bigint := 0;
begin
    select * into v_settings from asyouwere.settings;
    if json_typeof(p_turns) is distinct from 'array' or json_array_length(p_turns) > 10 then
        perform asyouwere.refuse_import('turns is a list of at most 10');
    end if;
    for v_given in
        select t.*, t.status = 'running' as runs from json_to_recordset(p_turns) as t (
            id uuid, status text, started_at timestamptz, ended_at timestamptz, number int, "position" int,
            message json, chunks json)
    loop
        v_given.message := asyouwere.unmasked_escapes(v_given.message::text);
        v_given.chunks := asyouwere.unmasked_escapes(v_given.chunks::text);
        if v_given.id is null or v_given.status is null or v_given.status not in ('running', 'interrupted')
            or json_typeof(v_given.chunks) is distinct from 'array'
            or v_given.number not between 1 and p_session.latest_number or v_given.position < 0
        then
            perform asyouwere.refuse_import('a turn is not well formed');
        end if;
        -- before they are taken apart: millions of small ones would be refused no sooner than written
        perform asyouwere.refuse_turn_bytes(v_bytes + octet_length(v_given.chunks::text)
            + 64 * json_array_length(v_given.chunks)::bigint, v_settings.max_turn_bytes);
        if v_given.runs then
            v_given.message := coalesce(v_given.message, '{"role":"assistant"}');
            perform asyouwere.refuse_turn_message(v_given.message);
        end if;
        if asyouwere.is_limited() then
            perform asyouwere.refuse_turns(auth.uid()); -- their chunks are kept as well
        end if;
        insert into public.session_turns (
            session_id, id, internal_session_id, status, started_by, started_at, lease_seconds, lease_until,
            ended_at, last_seq, number, position, message, due_at)
        values (
            p_session.id, v_given.id, p_session.internal_id, v_given.status, auth.uid(),
            asyouwere.clamp_time(coalesce(v_given.started_at, now())), 1, now(),
            case when not v_given.runs then asyouwere.clamp_time(coalesce(v_given.ended_at, now())) end,
            json_array_length(v_given.chunks),
            case when not v_given.runs then v_given.number end,
            case when not v_given.runs then v_given.position end,
            case when v_given.runs then v_given.message end,
            case when not v_given.runs then now() + v_settings.delete_expired_after end)
        returning * into v_turn;
        v_bytes := v_bytes + asyouwere.write_imported_chunks(v_turn, v_given.chunks);
        perform asyouwere.refuse_turn_bytes(v_bytes, v_settings.max_turn_bytes);
    end loop;
exception
    when data_exception or integrity_constraint_violation or invalid_parameter_value then
        perform asyouwere.refuse_import('a turn is not well formed');
end;
$$;
comment on function asyouwere.import_turns is
    'The turns of an export, out of masked_json(), as the caller''s. Raises invalid_argument, too_large, '
    'quota_exceeded and '
    'what a '
    'part can be refused for.';
revoke execute on function asyouwere.import_turns from public;

-- 26_turn_realtime.sql

-- Whoever hears of a session's snapshots hears of its turns: {session, turn, seq}, event turn, when one
-- begins, is flushed, is to stop, or ends. Nothing of the content travels; get_turn() tells. Where there is
-- no Realtime there is no trigger.
-- Breaks running code: no.

create function asyouwere.send_turn(p_session_id uuid, p_turn_id uuid, p_seq int) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set lock_timeout = '250ms'
as $$
begin
    perform realtime.send(
        jsonb_build_object('session', p_session_id, 'turn', p_turn_id, 'seq', p_seq), 'turn',
        'asyouwere:' || p_session_id, true);
exception when others then
    -- as announce_snapshots(): never is a flush lost for it
    raise warning 'asyouwere: turn saved, but realtime.send() failed (SQLSTATE %)', sqlstate;
end;
$$;
comment on function asyouwere.send_turn is 'Tells listeners how far a turn has come; never fails.';
revoke execute on function asyouwere.send_turn from public;

create function asyouwere.announce_turn() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: the owner sends, nobody else may
    perform asyouwere.send_turn(new.session_id, new.id, new.last_seq);
    return null;
end;
$$;
comment on function asyouwere.announce_turn is
    'Tells listeners that a turn has begun, is to stop, or has ended.';
revoke execute on function asyouwere.announce_turn from public;

create function asyouwere.announce_chunks() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_turn record;
begin
    -- definer: as above
    select t.session_id, t.id into v_turn
    from public.free_agent_sessions s
    join public.session_turns t on t.session_id = s.id and t.internal_id = new.turn
    where s.internal_id = new.session;
    perform asyouwere.send_turn(v_turn.session_id, v_turn.id, new.seq);
    return null;
end;
$$;
comment on function asyouwere.announce_chunks is 'Tells listeners of a flush.';
revoke execute on function asyouwere.announce_chunks from public;

select asyouwere.enable_realtime();

-- 26_turn_revocation.sql

-- Who may not save into a session any more keeps nobody out of it: the lease of a turn that such a person has
-- begun ends at once, however long it was. Whoever looks next settles it, as any whose lease ran out.
-- The triggers come before the row changes, so that they lock turns while no bucket is held: see the order of
-- locks in 02_sessions.sql.
-- Breaks running code: no.

create function asyouwere.revoke_turns_of_member() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: nobody writes turns but the functions
    if tg_op = 'UPDATE' and new.role = 'editor' then
        return new;
    end if;
    update public.session_turns t set lease_until = clock_timestamp()
    where t.session_id = old.session_id and t.status = 'running' and t.started_by = old.user_id
        and t.lease_until > clock_timestamp();
    return case tg_op when 'DELETE' then old else new end;
end;
$$;
comment on function asyouwere.revoke_turns_of_member is
    'When an editor is removed, leaves, or becomes a viewer.';
revoke execute on function asyouwere.revoke_turns_of_member from public;
create trigger revoke_turns before delete or update of role on public.session_members
    for each row when (old.role = 'editor' and old.accepted_at is not null)
    execute function asyouwere.revoke_turns_of_member();

create function asyouwere.revoke_turns_of_session() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: as above. Made private: all but the owner's; handed over: the owner's before.
    update public.session_turns t set lease_until = clock_timestamp()
    where t.session_id = new.id and t.status = 'running' and t.lease_until > clock_timestamp()
        and (t.started_by = old.user_id and old.user_id <> new.user_id
            or t.started_by <> new.user_id and new.visibility = 'private');
    return new;
end;
$$;
comment on function asyouwere.revoke_turns_of_session is 'When a session is made private, or handed over.';
revoke execute on function asyouwere.revoke_turns_of_session from public;
create trigger revoke_turns before update of visibility, user_id on public.free_agent_sessions
    for each row
    when (old.user_id <> new.user_id or new.visibility = 'private' and old.visibility <> 'private')
    execute function asyouwere.revoke_turns_of_session();

create function asyouwere.revoke_turns_of_person() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: as above. The name goes with it, which the memberships do later, step by step.
    update public.session_turns t set lease_until = clock_timestamp(), started_by = null
    where t.started_by = new.user_id and t.ended_at is null and t.lease_until > clock_timestamp();
    return null;
end;
$$;
comment on function asyouwere.revoke_turns_of_person is
    'When a user was deleted, or a person''s data is to go.';
revoke execute on function asyouwere.revoke_turns_of_person from public;
create trigger revoke_turns after insert or update of requested_at on asyouwere.erasures
    for each row execute function asyouwere.revoke_turns_of_person();

-- 27_reading_parts.sql

-- Reading some addresses: a value, an item, a list's beginning, end or middle, without the rest of the state.
-- Each costs what is at it, whatever else the state holds.
-- Breaks running code: no.

create type asyouwere.asked_part as (
    path text, after_position int, before_position int, most int, from_end boolean, is_range boolean
);
comment on type asyouwere.asked_part is
    'What to read: a path; of a list the items between two positions, the first or the last so many of them.';

create function asyouwere.is_count(p_value json, p_least int, p_most int) returns boolean
language sql immutable parallel safe
return p_value::text ~ '^(?:0|-?[1-9][0-9]{0,8})$' and p_value::text::int between p_least and p_most;
comment on function asyouwere.is_count is 'Whether JSON is a whole number between two; null if it is null.';
revoke execute on function asyouwere.is_count from public;

create function asyouwere.open_asked(p_addresses json) returns setof asyouwere.asked_part
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_masked boolean := p_addresses::text ~ '\\u(?:0000|[dD][89a-fA-F])';
    v_addresses json := case when v_masked then asyouwere.masked_json(p_addresses) else p_addresses end;
    v_entry json;
    v_asked asyouwere.asked_part;
begin
    if json_typeof(v_addresses) is distinct from 'array' or json_array_length(v_addresses) not between 1
        and 100 then
        perform asyouwere.fail('invalid_argument', 'Give a list of 1 to 100 addresses.');
    end if;
    for v_entry in select e.value from json_array_elements(v_addresses) e loop
        v_asked := (null, -1, 2147483647, 2147483647, false, false)::asyouwere.asked_part;
        if json_typeof(v_entry) = 'object' then
            if json_typeof(v_entry -> 'address') is distinct from 'string'
                or (v_entry -> 'first') is not null and (v_entry -> 'last') is not null
                or exists (
                    select from json_each(v_entry) m
                    where not case m.key when 'address' then true
                        when 'after' then asyouwere.is_count(m.value, -1, 999999999)
                        when 'before' then asyouwere.is_count(m.value, 0, 999999999)
                        when 'first' then asyouwere.is_count(m.value, 0, 999999999)
                        when 'last' then asyouwere.is_count(m.value, 0, 999999999)
                        else false end)
            then
                perform asyouwere.fail('invalid_argument',
                    'An address is a pointer, or {"address": pointer} with "after", "before", '
                    'and "first" or "last".');
            end if;
            v_asked.is_range := exists (select from json_object_keys(v_entry) k where k <> 'address');
            v_asked.after_position := coalesce((v_entry ->> 'after')::int, v_asked.after_position);
            v_asked.before_position := coalesce((v_entry ->> 'before')::int, v_asked.before_position);
            v_asked.most := coalesce((v_entry ->> 'first')::int, (v_entry ->> 'last')::int, v_asked.most);
            v_asked.from_end := (v_entry -> 'last') is not null;
            v_entry := v_entry -> 'address';
        elsif json_typeof(v_entry) <> 'string' then
            perform asyouwere.fail('invalid_argument',
                'An address is a JSON Pointer, or an object with one.');
        end if;
        v_asked.path := asyouwere.path_of_pointer(v_entry #>> '{}');
        if v_masked then
            v_asked.path := asyouwere.unmasked_escapes(v_asked.path);
        end if;
        if octet_length(v_asked.path) > 2000 then
            perform asyouwere.fail('address_too_long');
        end if;
        return next v_asked;
    end loop;
end;
$$;
comment on function asyouwere.open_asked is
    'What p_addresses of get_session_parts asks for. Raises invalid_argument, invalid_address, '
    'address_too_long.';
revoke execute on function asyouwere.open_asked from public;

-- What is read of a part: its address as it is stored (an item has its list's path), and its list's length.
create type asyouwere.found_part as (path text, item int, kind "char", body text);
comment on type asyouwere.found_part is 'The part that an address names.';

create function asyouwere.find_part(p_session bigint, p_number int, p_path text) returns asyouwere.found_part
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_part asyouwere.found_part;
    v_above asyouwere.found_part;
begin
    select p.path, p.item, p.kind, p.body into v_part from asyouwere.parts_at(p_session, p_number) p
    where p.path = p_path and p.item = -1;
    if found then
        return v_part;
    end if;
    -- an item, or inside of a part: the deepest member there is above tells
    select p.path, p.item, p.kind, p.body into v_above from asyouwere.parts_at(p_session, p_number) p
    where p.path = any (asyouwere.path_ancestors(asyouwere.path_parent(p_path))) and p.item = -1
    order by p.path desc limit 1;
    if v_above.kind = 'l' and asyouwere.is_index(split_part(substr(p_path, length(v_above.path) + 1), '/',
        1)) then
        select p.path, p.item, p.kind, p.body into v_above from asyouwere.parts_at(p_session, p_number) p
        where p.path = v_above.path and p.item = split_part(substr(p_path, length(v_above.path) + 1), '/',
            1)::int;
        if v_above.path || v_above.item || '/' = p_path then
            return v_above;
        end if;
    end if;
    if v_above.kind in ('v', 'i') and left(v_above.body, 1) in ('{', '[') then
        perform asyouwere.fail('address_below_part', p_detail => format('{"address": %s, "part": %s}',
            asyouwere.pointer_json(p_path, -1), asyouwere.pointer_json(v_above.path, v_above.item)));
    end if;
    return null;
end;
$$;
comment on function asyouwere.find_part is
    'The part that an address names at a number (2147483646: the latest), or null. Raises '
    'address_below_part.';
revoke execute on function asyouwere.find_part from public;

create function asyouwere.object_text(p_session bigint, p_number int, p_path text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_depth int := asyouwere.path_depth(p_path);
begin
    -- like state_at(), with this object in the place of the state
    return (
        select string_agg(concat(
            case when m.prior_kind is null then '{'
                when m.kind <> 'i' then asyouwere.json_between(m.prior_depth, m.prior_kind, m.depth)
                    || asyouwere.json_member(m.path, m.kind, m.body)
                when m.prior_kind = 'l' then m.body
                else ',' || m.body end,
            case when m.is_last then asyouwere.json_between(m.depth, m.list_kind, 0) end), ''
                order by m.place)
        from (
            select p.path, p.kind, p.depth - v_depth as depth, p.body,
                row_number() over w as place, lead(p.kind) over w is null as is_last,
                lag(p.depth - v_depth) over w as prior_depth,
                case when lag(p.kind) over w = 'i' and p.kind <> 'i' then 'l' else lag(p.kind) over w
                    end as prior_kind,
                case when p.kind = 'i' then 'l' else p.kind end as list_kind
            from asyouwere.parts_at(p_session, p_number) p
            where p.path >= p_path and p.path < asyouwere.path_end(p_path)
            window w as (order by p.path, p.item)
        ) m);
end;
$$;
comment on function asyouwere.object_text is
    'An opened object at a number (2147483646: the latest) as JSON text.';
revoke execute on function asyouwere.object_text from public;

create function asyouwere.list_length(p_session bigint, p_number int, p_path text) returns int
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    return 1 + greatest(
        (
            -- the items alive at a number are the first so many: of those alive now, the last one that is old
            -- enough
            select p.item from asyouwere.live_parts p
            where p.session = p_session and p.path = p_path and p.since <= p_number
            order by p.path desc, p.item desc limit 1
        ), (
            select max(p.item) from asyouwere.ended_parts p
            where p.session = p_session and p.path = p_path and p.until > p_number and p.since <= p_number
        ));
end;
$$;
comment on function asyouwere.list_length is 'Items of a list at a number (2147483646: the latest).';
revoke execute on function asyouwere.list_length from public;

create function asyouwere.list_text(p_session bigint, p_number int, p_path text, p_first int, p_last int)
returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    return (
        -- brackets on the first and the last, not around them all: a long text is not copied once more
        select coalesce(string_agg(concat(
            case when o.item = p_first then '[' end, o.body, case when o.item = p_last then ']' end), ','), '[]')
        from (
            select p.item, p.body from asyouwere.parts_at(p_session, p_number) p
            where p.path = p_path and p.item between p_first and p_last
            order by p.item
        ) o);
end;
$$;
comment on function asyouwere.list_text is
    'Items of a list at a number (2147483646: the latest), which are there from the first to the last, as JSON '
    'text.';
revoke execute on function asyouwere.list_text from public;

create function asyouwere.part_text(p_session bigint, p_number int, p_part asyouwere.found_part)
returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select case p_part.kind
        when 'o' then asyouwere.object_text(p_session, p_number, p_part.path)
        when 'l' then asyouwere.list_text(p_session, p_number, p_part.path, 0,
            asyouwere.list_length(p_session, p_number, p_part.path) - 1)
        else p_part.body end
$$;
comment on function asyouwere.part_text is
    'A found part at a number (2147483646: the latest) as JSON text, with all that is in it.';
revoke execute on function asyouwere.part_text from public;

create function asyouwere.read_parts(
    p_session_id uuid, p_addresses json, p_number int, p_label text, p_external_id text default null
) returns table (number int, address json, present boolean, value json, first_position int, list_length int)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_number int;
    v_at int;
    v_asked asyouwere.asked_part;
    v_part asyouwere.found_part;
    v_last int;
    v_bytes bigint := 0;
begin
    -- definer: access is checked once, above
    number := v_session.latest_number;
    if num_nonnulls(p_number, p_label, p_external_id) > 0 then
        number := (asyouwere.find_snapshot(v_session, p_number, p_label, p_external_id)).number;
    end if;
    v_at := case when number = v_session.latest_number then 2147483646 else number end;
    for v_asked in select * from asyouwere.open_asked(p_addresses) loop
        address := asyouwere.pointer_json(v_asked.path, -1)::json;
        -- one address is never more than the state; many that overlap could be
        if v_bytes > 1024 * 1024 then
            perform asyouwere.refuse_size(v_bytes);
        end if;
        first_position := null;
        list_length := null;
        v_part := case v_asked.path when '/' then ('/', -1, 'o', '{}')::asyouwere.found_part
            else asyouwere.find_part(v_session.internal_id, v_at, v_asked.path) end;
        -- made where it goes out: each step more is a copy of what may be long
        if v_part.kind = 'l' then
            list_length := asyouwere.list_length(v_session.internal_id, v_at, v_asked.path);
            first_position := v_asked.after_position + 1;
            v_last := least(v_asked.before_position, list_length) - 1;
            if v_asked.from_end then
                first_position := greatest(first_position, v_last - v_asked.most + 1);
            else
                v_last := least(v_last, first_position::bigint + v_asked.most - 1);
            end if;
            value := asyouwere.list_text(
                v_session.internal_id, v_at, v_asked.path, first_position, v_last)::json;
        elsif v_asked.is_range and v_part.kind is not null then
            perform asyouwere.fail('not_a_list', 'Only lists have a range.', format('{"address": %s}',
                address));
        elsif v_asked.path = '/' then
            value := (
                select string_agg(t, '')::json from (
                    select asyouwere.latest_state(v_session.internal_id) as t
                        where number = v_session.latest_number
                    union all
                    select asyouwere.state_at(v_session.internal_id, number)
                        where number < v_session.latest_number
                ) s);
        elsif v_part.kind = 'o' then
            value := asyouwere.object_text(v_session.internal_id, v_at, v_asked.path)::json;
        else
            value := v_part.body::json;
        end if;
        v_bytes := v_bytes + coalesce(pg_column_size(value), 0);
        present := value is not null;
        return next;
    end loop;
end;
$$;
comment on function asyouwere.read_parts is 'The values at some addresses of one version.';
revoke execute on function asyouwere.read_parts from public;
grant execute on function asyouwere.read_parts to anon, authenticated, service_role;

create function public.get_session_parts(
    p_session_id uuid, p_addresses json, p_number int default null, p_label text default null,
    p_external_id text default null
) returns table (number int, address json, present boolean, value json, first_position int, list_length int)
language sql stable
begin atomic
    -- no SET clause and bound when made: the planner calls read_parts() itself, so that no row is copied
    select * from asyouwere.read_parts(p_session_id, p_addresses, p_number, p_label, p_external_id);
end;
comment on function public.get_session_parts is
    'The values at 1 to 100 addresses of the latest snapshot, a number, a label or an external id, a row each '
    'in the order asked: a list of pointers, or of {"address": pointer} with "after", "before" '
    '(positions) and "first" or "last" '
    '(counts) '
    'for a part of a list. present false: nothing is there. Raises session_not_found, snapshot_not_found, '
    'snapshot_gone, '
    'invalid_argument, invalid_address, address_below_part, not_a_list, too_large.';
revoke execute on function public.get_session_parts from public, anon, authenticated, service_role;
grant execute on function public.get_session_parts to anon, authenticated, service_role;

-- 28_taking.sql

-- Taking from the end of a list: atomic under the session's lock, so that of many callers each gets other
-- items.
-- Breaks running code: no.

create type asyouwere.taken as (
    number int, created boolean, replayed boolean, items json, first_position int,
    size_bytes bigint, message_count int
);
comment on type asyouwere.taken is 'What pop_session_items answers.';

create function asyouwere.taken_items(p_session bigint, p_number int, p_path text)
returns table (items json, first_position int, count int)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    return query
    select concat('[', string_agg(p.body, ',' order by p.item), ']')::json, min(p.item), count(*)::int
    from asyouwere.parts_ended(p_session, p_number - 1, p_number) p
    where p.path = p_path and p.item >= 0;
end;
$$;
comment on function asyouwere.taken_items is 'The items of a list that ended with a number.';
revoke execute on function asyouwere.taken_items from public;

create function asyouwere.pop_items(p_session_id uuid, p_address text, p_count int, p_idempotency_key text)
returns asyouwere.taken
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id);
    v_path text := asyouwere.path_of_pointer(p_address);
    v_key uuid := md5(p_idempotency_key)::uuid;
    v_content uuid := md5(format('pop %s %s', p_count, v_path))::uuid;
    v_earlier asyouwere.save_keys;
    v_part asyouwere.found_part;
    v_length int := 0;
    v_first int;
    v_saved asyouwere.save_result;
    v_taken asyouwere.taken;
    v_count int;
begin
    -- definer: nobody writes parts but through here
    if p_address is null or p_count is null or p_count not between 1 and 1000
        or length(p_idempotency_key) not between 1 and 255
    then
        perform asyouwere.fail('invalid_argument',
            'Give the address of a list and a count of 1 to 1,000. '
            'An idempotency key has 1 to 255 characters.');
    end if;
    select * into v_earlier from asyouwere.save_keys k
    where k.session = v_session.internal_id and k.key = v_key;
    if found then
        v_saved := asyouwere.replay_save(v_session, v_earlier, v_content, null);
    else
        v_part := case v_path when '/' then ('/', -1, 'o', '{}')::asyouwere.found_part
            else asyouwere.find_part(v_session.internal_id, 2147483646, v_path) end;
        if v_part.kind <> 'l' then
            perform asyouwere.fail('not_a_list', 'Items can be taken from lists only.',
                format('{"address": %s}', asyouwere.pointer_json(v_path, -1)));
        elsif v_part.kind = 'l' then
            v_length := asyouwere.list_length(v_session.internal_id, 2147483646, v_path);
        end if;
        v_first := greatest(0, v_length - p_count);
        v_saved := asyouwere.write_snapshot(v_session,
            (
                select row(array_agg('drop'::text), array_agg(v_path), array_agg(i), array_agg(null::text))
                    ::asyouwere.change_rows
                from generate_series(v_first, v_length - 1) i
            ), false, null, v_key, v_content);
    end if;
    v_taken.number := v_saved.number;
    v_taken.created := v_saved.created;
    v_taken.replayed := v_saved.replayed;
    v_taken.size_bytes := v_saved.size_bytes;
    v_taken.message_count := v_saved.message_count;
    v_taken.items := '[]';
    if v_saved.changed_parts > 0 then
        perform asyouwere.charge_answer((
            select sum(p.size) from asyouwere.parts_ended(
                v_session.internal_id, v_saved.number - 1, v_saved.number) p));
        select t.items, t.first_position, t.count into v_taken.items, v_taken.first_position, v_count
        from asyouwere.taken_items(v_session.internal_id, v_saved.number, v_path) t;
        if v_count < v_saved.changed_parts then
            -- a replay whose items clean-up has taken since
            v_taken.items := null;
            v_taken.first_position := null;
        end if;
    end if;
    return v_taken;
end;
$$;
comment on function asyouwere.pop_items is 'Takes the last items of a list, as the next snapshot.';
revoke execute on function asyouwere.pop_items from public;
grant execute on function asyouwere.pop_items to authenticated, service_role;

create function public.pop_session_items(
    p_session_id uuid, p_address text, p_count int default 1, p_idempotency_key text default null
) returns setof asyouwere.taken
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.pop_items(p_session_id, p_address, p_count, p_idempotency_key);
end;
$$;
comment on function public.pop_session_items is
    'Take up to p_count (1 to 1,000) items from the end of a list, as one snapshot: two callers never get '
    'the same one. One '
    'row with the items; none if the list is empty or not there. The same idempotency key answers the '
    'first result again; items is null then if that snapshot''s predecessor was cleaned up. Raises '
    'session_not_found, forbidden, not_a_list, '
    'invalid_address, address_below_part, idempotency_key_reused.';
revoke execute on function public.pop_session_items from public, anon, authenticated, service_role;
grant execute on function public.pop_session_items to authenticated, service_role;

-- 29_forgetting.sql

-- Forgetting by a session's owner: numbers that are to go at once, and a removal that leaves nothing of
-- itself in older numbers. What no kept number shows is deleted with it, up to a bound; the clean-up deletes
-- the rest.
-- Breaks running code: no.

create type asyouwere.forgotten as (
    number int, snapshots int, parts int, turns int, bytes bigint, done boolean
);
comment on type asyouwere.forgotten is
    'A receipt: the latest number, what went, and whether all of it is deleted already (else the clean-up '
    'does it).';

create function asyouwere.delete_numbers(p_session public.free_agent_sessions, p_numbers int[])
returns asyouwere.forgotten
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_forgotten asyouwere.forgotten;
    v_latest int := (select s.latest_number from public.free_agent_sessions s where s.id = p_session.id);
    v_swept record;
begin
    with judged as materialized (
        select n.number, n.number = any (p_numbers) and n.number < v_latest as goes
        from public.session_snapshots n where n.session_id = p_session.id
    ), neighbours as (
        -- between which two that stay each one lies
        select j.number, j.goes,
            coalesce(max(j.number) filter (where not j.goes) over (order by j.number), 0) as before,
            min(j.number) filter (where not j.goes)
                over (order by j.number rows between current row and unbounded following) as behind
        from judged j
    ), removed as (
        delete from public.session_snapshots n
        where n.session_id = p_session.id and n.number in (select j.number from judged j where j.goes)
        returning 1
    ), unseen as (
        insert into asyouwere.unswept (session, since_after, until_after, until_through)
        select p_session.internal_id, n.before, min(n.number), n.behind
        from neighbours n where n.goes group by n.before, n.behind
    )
    select count(*) into v_forgotten.snapshots from removed;
    select * into v_swept from asyouwere.sweep(5000, 16 * 1024 * 1024, p_session.internal_id);
    with settled as (
        delete from asyouwere.unswept u where u.session = p_session.internal_id
            and u.is_swept returning u.freed_bytes
    )
    update public.free_agent_sessions s
    set stored_bytes = s.stored_bytes - (select coalesce(sum(f.freed_bytes), 0) from settled f)
    where s.id = p_session.id and exists (select from settled);
    v_forgotten.number := v_latest;
    v_forgotten.parts := v_swept.parts;
    v_forgotten.turns := 0;
    v_forgotten.bytes := v_swept.bytes;
    v_forgotten.done := v_swept.finished;
    return v_forgotten;
end;
$$;
comment on function asyouwere.delete_numbers is
    'Deletes snapshots, never the latest, and what only they show. The caller holds the session''s lock.';
revoke execute on function asyouwere.delete_numbers from public;

create function asyouwere.forget_snapshots(p_session_id uuid, p_numbers int[], p_labels text[])
returns asyouwere.forgotten
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id, 'owner');
    v_numbers int[];
begin
    -- definer: nobody deletes snapshots but through here
    if coalesce(cardinality(p_numbers), 0) + coalesce(cardinality(p_labels), 0) not between 1 and 1000 then
        perform asyouwere.fail('invalid_argument', 'Give 1 to 1,000 numbers and labels.');
    end if;
    v_numbers := array(
        select n.number from public.session_snapshots n
        where n.session_id = v_session.id and (n.number = any (p_numbers) or n.label = any (p_labels)));
    if v_session.latest_number = any (v_numbers) then
        perform asyouwere.fail('invalid_argument',
            'The latest snapshot is the state. Save another one first.');
    end if;
    return asyouwere.delete_numbers(v_session, v_numbers);
end;
$$;
comment on function asyouwere.forget_snapshots is 'Checks access and numbers, then deletes them.';
revoke execute on function asyouwere.forget_snapshots from public;
grant execute on function asyouwere.forget_snapshots to authenticated, service_role;

create function public.delete_snapshots(p_session_id uuid, p_numbers int[] default null,
    p_labels text[] default null)
returns setof asyouwere.forgotten
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.forget_snapshots(p_session_id, p_numbers, p_labels);
end;
$$;
comment on function public.delete_snapshots is
    'Delete snapshots by number or label, labelled ones too, never the latest, with all that only they show.'
    ' One row: the '
    'receipt. Numbers and labels that are not there are passed by. Owner only. Raises '
    'session_not_found, forbidden, '
    'invalid_argument.';
revoke execute on function public.delete_snapshots from public, anon, authenticated, service_role;
grant execute on function public.delete_snapshots to authenticated, service_role;

create function asyouwere.numbers_with(p_session public.free_agent_sessions,
    p_rows asyouwere.change_rows) returns int[]
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
begin
    return array(
        select n.number from public.session_snapshots n
        where n.session_id = p_session.id and exists (
            select from (
                select int4range(e.since, e.until) as life
                from asyouwere.ended_parts e
                join unnest(p_rows.paths, p_rows.items) as g (path, item)
                    on case when g.item >= 0 then e.path = g.path and e.item = g.item
                        else e.path >= g.path and e.path < asyouwere.path_end(g.path) end
                where e.session = p_session.internal_id
            ) l
            where n.number <@ l.life));
end;
$$;
comment on function asyouwere.numbers_with is
    'The kept numbers that show something, by now gone or changed, at or under the addresses of change rows.';
revoke execute on function asyouwere.numbers_with from public;

create function asyouwere.forget_parts(p_session_id uuid, p_addresses json) returns asyouwere.forgotten
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set jit = off
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_write(p_session_id, 'owner');
    v_rows asyouwere.change_rows;
    v_all boolean;
    v_chunks record;
    v_forgotten asyouwere.forgotten;
begin
    -- definer: nobody writes parts but through here
    select array_agg('remove'::text), array_agg(a.path), array_agg(null::int), array_agg(null::text),
        bool_or(a.path = '/')
    into v_rows.ops, v_rows.paths, v_rows.items, v_rows.bodies, v_all
    from asyouwere.open_asked(p_addresses) a;
    if exists (select from asyouwere.open_asked(p_addresses) a where a.is_range) then
        perform asyouwere.fail('invalid_argument', 'What is to be forgotten is named by pointers.');
    end if;
    if v_all then
        v_rows := (array['set'], array['/'], array[-1], array['{}'])::asyouwere.change_rows;
    else
        perform asyouwere.refuse_overlaps(v_rows);
        v_rows := asyouwere.resolve_addresses(v_session.internal_id, v_session.latest_number, v_rows);
    end if;
    perform asyouwere.write_snapshot(v_session, v_rows, false, null, null, null);
    v_forgotten := asyouwere.delete_numbers(v_session, asyouwere.numbers_with(v_session, v_rows));
    -- what the answers of turns said lies in their chunks as well, for whoever follows behind
    if v_all or exists (select from unnest(v_rows.paths) p (path) where starts_with(p.path, '/messages/')) then
        select * into v_chunks from asyouwere.drop_chunks(v_session);
        v_forgotten.turns := v_chunks.turns;
        v_forgotten.done := v_forgotten.done and v_chunks.finished;
    end if;
    return v_forgotten;
end;
$$;
comment on function asyouwere.forget_parts is
    'Removes addresses, and every older number that shows something there.';
revoke execute on function asyouwere.forget_parts from public;
grant execute on function asyouwere.forget_parts to authenticated, service_role;

create function public.forget_session_parts(p_session_id uuid, p_addresses json)
returns setof asyouwere.forgotten
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.forget_parts(p_session_id, p_addresses);
end;
$$;
comment on function public.forget_session_parts is
    'Remove what is at 1 to 100 addresses ("" is all) and delete every older snapshot that shows something '
    'there, labelled '
    'ones too. One row: the receipt. Called again it removes and deletes nothing more. Owner only. Raises '
    'session_not_found, forbidden, invalid_argument, invalid_address, overlapping_addresses, '
    'address_below_part, list_gap.';
revoke execute on function public.forget_session_parts from public, anon, authenticated, service_role;
grant execute on function public.forget_session_parts to authenticated, service_role;

-- 30_finding.sql

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

-- 31_parents.sql

-- Sessions in sessions: a sub-agent's, a branch's. A session may belong to another one of the same owner; then
-- it stays out of lists and goes where that goes: deleted with it, handed over with it.
-- Breaks running code: no.

create function asyouwere.refuse_parent(p_parent_id uuid, p_owner uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner uuid;
    v_above uuid;
    v_levels int := 2; -- the parent, and the session itself
    v_limit int := (select s.max_child_sessions from asyouwere.settings s);
    v_used int;
begin
    -- A parent is said once, when a session is made, so no circle can come about. The lock: the parent stays
    -- until the session is there, and is no obstacle to saves.
    select s.user_id, s.parent_id into v_owner, v_above from public.free_agent_sessions s
    where s.id = p_parent_id for key share;
    if v_owner is distinct from p_owner then
        perform asyouwere.fail('session_not_found', 'The parent is no session of the same owner.');
    end if;
    while v_above is not null loop
        v_levels := v_levels + 1;
        if v_levels > 5 then
            perform asyouwere.fail('invalid_argument', 'Sessions may lie five deep in one another.');
        end if;
        select s.parent_id into v_above from public.free_agent_sessions s where s.id = v_above;
    end loop;
    select count(*) into v_used from (
        select from public.free_agent_sessions s where s.parent_id = p_parent_id limit v_limit) c;
    if v_used >= v_limit and asyouwere.is_limited() then
        perform asyouwere.fail('quota_exceeded', 'The parent has as many sessions as allowed. Nothing was saved.',
            format('{"quota": "child_sessions", "used": %s, "limit": %s}', v_used, v_limit));
    end if;
end;
$$;
comment on function asyouwere.refuse_parent is
    'Raises session_not_found, invalid_argument, quota_exceeded; holds a lock on the parent.';
revoke execute on function asyouwere.refuse_parent from public;

create function asyouwere.sessions_within(p_ids uuid[]) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
    with recursive tree as (
        select u.id from unnest(p_ids) u (id)
        union -- each once
        select s.id from tree t join public.free_agent_sessions s on s.parent_id = t.id
    )
    select coalesce(array_agg(t.id), '{}') from tree t
$$;
comment on function asyouwere.sessions_within is 'Sessions and all that belong to them, down to the last.';
revoke execute on function asyouwere.sessions_within from public;

create function asyouwere.lock_within(p_session_id uuid) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_ids uuid[] := asyouwere.sessions_within(array[p_session_id]);
    v_locked int;
begin
    -- without waiting: the caller holds the session already, so no order of locks is kept
    select count(*) into v_locked from (
        select from public.free_agent_sessions s where s.id = any (v_ids) for update skip locked) l;
    return v_locked = cardinality(v_ids);
end;
$$;
comment on function asyouwere.lock_within is 'Locks all that belongs to a session; false if some of it is busy.';
revoke execute on function asyouwere.lock_within from public;

-- 32_recording_usage.sql

-- Recording usage and asking for it. Who may save into a session records what its answers cost; the
-- session's owner pays, as for stored bytes, whoever records. A budget refuses nothing: the money is spent
-- when it is recorded. It says how much of it is used, and the app decides. What must not be forged is
-- recorded by the service.
-- Breaks running code: no.

create type asyouwere.budget_state as (
    recorded boolean, cost numeric, budget numeric, used numeric,
    user_cost numeric, user_budget numeric, user_used numeric
);
comment on type asyouwere.budget_state is 'What record_usage answers.';

create type asyouwere.usage_sum as (
    calls bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost numeric
);
comment on type asyouwere.usage_sum is 'Usage added up.';

create function asyouwere.used_of(p_cost numeric, p_budget numeric) returns numeric
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
return trim_scale(round(p_cost / p_budget, 4));
comment on function asyouwere.used_of is
    'How much of a budget is used: 0.8 is 80 %, over 1 is over; null without one.';
revoke execute on function asyouwere.used_of from public;

create function asyouwere.refuse_amounts(
    p_model text, p_input_tokens bigint, p_output_tokens bigint, p_cost numeric, p_cached_tokens bigint,
        p_key text
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    -- NaN and infinity are above every number
    v_problem text := case
        when p_model is null or length(p_model) not between 1 and 200 then 'A model has 1 to 200 characters'
        when p_input_tokens is null or p_input_tokens not between 0 and 1000000000
            then 'input_tokens is 0 to 1,000,000,000'
        when p_output_tokens is null or p_output_tokens not between 0 and 1000000000
            then 'output_tokens is 0 to 1,000,000,000'
        when p_cached_tokens is null or p_cached_tokens not between 0 and p_input_tokens
            then 'cached_tokens is 0 to input_tokens'
        when p_cost is null or p_cost not between 0 and 1000000000
            then 'cost is a number from 0 to 1,000,000,000'
        when length(p_key) not between 1 and 255 then 'An idempotency key has 1 to 255 characters' end;
begin
    if v_problem is not null then
        perform asyouwere.fail('invalid_argument', v_problem || '.');
    end if;
end;
$$;
comment on function asyouwere.refuse_amounts is 'Raises invalid_argument for what is no usage.';
revoke execute on function asyouwere.refuse_amounts from public;

create function asyouwere.refuse_budget(p_budget numeric) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if p_budget not between 0.000001 and 1000000000000 then
        perform asyouwere.fail('invalid_argument',
            'A budget is more than 0, at most 1,000,000,000,000; null: none.');
    end if;
end;
$$;
comment on function asyouwere.refuse_budget is 'Raises invalid_argument for what is no budget.';
revoke execute on function asyouwere.refuse_budget from public;

create function asyouwere.counted_model(p_model text, p_known text[]) returns text
language sql stable set search_path = pg_catalog, pg_temp
return case
    when p_model = any (p_known) or not asyouwere.is_limited() then p_model
    when cardinality(p_known) < (select s.max_models_per_day from asyouwere.settings s) then p_model
    else 'other' end;
comment on function asyouwere.counted_model is
    'Under which name usage is added up, given those that a day has: past so many, all further ones are "other". '
    'What is kept does not grow with names made up, and nobody''s usage goes missing for another''s.';
revoke execute on function asyouwere.counted_model from public;

create function asyouwere.add_usage(
    p_session public.free_agent_sessions, p_model text, p_sum asyouwere.usage_sum
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_day date := (now() at time zone 'UTC')::date;
begin
    -- the order of locks: what belongs to the session, then the owner's sum, which other sessions meet at
    insert into asyouwere.session_costs as c (session_id, calls, input_tokens, cached_tokens, output_tokens,
        cost)
    values (p_session.id, p_sum.calls, p_sum.input_tokens, p_sum.cached_tokens, p_sum.output_tokens,
        p_sum.cost)
    on conflict (session_id) do update set calls = c.calls + excluded.calls,
        input_tokens = c.input_tokens + excluded.input_tokens,
        cached_tokens = c.cached_tokens + excluded.cached_tokens,
        output_tokens = c.output_tokens + excluded.output_tokens, cost = c.cost + excluded.cost;
    insert into public.session_usage as u (session_id, day, model, calls, input_tokens, cached_tokens,
        output_tokens,
        cost)
    values (p_session.id, v_day, asyouwere.counted_model(p_model, array(
            select u.model from public.session_usage u where u.session_id = p_session.id and u.day = v_day)),
        p_sum.calls, p_sum.input_tokens, p_sum.cached_tokens, p_sum.output_tokens, p_sum.cost)
    on conflict (session_id, day, model) do update set calls = u.calls + excluded.calls,
        input_tokens = u.input_tokens + excluded.input_tokens,
        cached_tokens = u.cached_tokens + excluded.cached_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens, cost = u.cost + excluded.cost;
    insert into public.user_usage as u (user_id, day, model, calls, input_tokens, cached_tokens,
        output_tokens, cost)
    values (p_session.user_id, v_day, asyouwere.counted_model(p_model, array(
            select u.model from public.user_usage u where u.user_id = p_session.user_id and u.day = v_day)),
        p_sum.calls, p_sum.input_tokens, p_sum.cached_tokens, p_sum.output_tokens, p_sum.cost)
    on conflict (user_id, day, model) do update set calls = u.calls + excluded.calls,
        input_tokens = u.input_tokens + excluded.input_tokens,
        cached_tokens = u.cached_tokens + excluded.cached_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens, cost = u.cost + excluded.cost;
end;
$$;
comment on function asyouwere.add_usage is
    'Adds to the sums of a session and of its owner.';
revoke execute on function asyouwere.add_usage from public;

create function asyouwere.period_start(p_period text) returns date
language sql stable set search_path = pg_catalog, pg_temp
return date_trunc(coalesce(p_period, 'month'), now() at time zone 'UTC')::date;
comment on function asyouwere.period_start is
    'Since which day (UTC) a person''s budget counts; without one, the month.';
revoke execute on function asyouwere.period_start from public;

create function asyouwere.sum_of_user(p_user_id uuid, p_since date) returns asyouwere.usage_sum
language sql stable set search_path = pg_catalog, pg_temp
return (
    select (coalesce(sum(u.calls), 0), coalesce(sum(u.input_tokens), 0), coalesce(sum(u.cached_tokens), 0),
        coalesce(sum(u.output_tokens), 0), coalesce(sum(u.cost), 0))::asyouwere.usage_sum
    from public.user_usage u where u.user_id = p_user_id and u.day >= p_since);
comment on function asyouwere.sum_of_user is 'What a person''s sessions have used since a day.';
revoke execute on function asyouwere.sum_of_user from public;

create function asyouwere.budgets_after(p_session public.free_agent_sessions, p_recorded boolean)
returns asyouwere.budget_state
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_costs asyouwere.session_costs;
    v_budget asyouwere.user_budgets;
    v_state asyouwere.budget_state;
begin
    select * into v_costs from asyouwere.session_costs c where c.session_id = p_session.id;
    v_state.recorded := p_recorded;
    v_state.cost := coalesce(v_costs.cost, 0);
    v_state.budget := v_costs.budget;
    v_state.used := asyouwere.used_of(v_state.cost, v_costs.budget);
    -- an editor is told of this session, not of all that its owner does
    if p_session.user_id = auth.uid() or current_setting('role') = 'service_role' then
        select * into v_budget from asyouwere.user_budgets b where b.user_id = p_session.user_id;
        if found then
            v_state.user_budget := v_budget.budget;
            v_state.user_cost := (asyouwere.sum_of_user(
                p_session.user_id, asyouwere.period_start(v_budget.period))).cost;
            v_state.user_used := asyouwere.used_of(v_state.user_cost, v_budget.budget);
        end if;
    end if;
    return v_state;
end;
$$;
comment on function asyouwere.budgets_after is
    'How much of a session''s budget, and for its owner of theirs, is used.';
revoke execute on function asyouwere.budgets_after from public;

create function asyouwere.write_usage(
    p_session_id uuid, p_model text, p_sum asyouwere.usage_sum, p_turn_id uuid, p_idempotency_key text
) returns asyouwere.budget_state
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions;
    v_key uuid := coalesce(md5(p_idempotency_key)::uuid, gen_random_uuid());
    v_content uuid;
    v_earlier uuid;
begin
    -- Definer: nobody writes sums but through here. Of the session only that it stays, and whose: saves go
    -- on meanwhile.
    select * into v_session from public.free_agent_sessions s
    where s.id = p_session_id and asyouwere.role_of(s.id, s.user_id, s.visibility) in ('owner', 'editor')
    for key share;
    if not found then
        perform asyouwere.refuse_access(p_session_id, 'editor');
    elsif asyouwere.is_erased(v_session.user_id) then
        perform asyouwere.fail('forbidden', 'This account is being deleted.');
    end if;
    perform asyouwere.refuse_amounts(
        p_model, p_sum.input_tokens, p_sum.output_tokens, p_sum.cost, p_sum.cached_tokens, p_idempotency_key);
    p_sum.calls := 1;
    p_sum.cost := trim_scale(round(p_sum.cost,
        12)); -- a millionth of a millionth: no row has a thousand digits
    v_content := md5(concat_ws(E'\x01', p_turn_id, p_sum.input_tokens, p_sum.cached_tokens,
        p_sum.output_tokens,
        p_sum.cost, p_model))::uuid;
    if p_idempotency_key is not null or p_turn_id is not null then
        -- whoever comes second waits here for the first, and then finds it
        insert into asyouwere.usage_records (session, key, content, turn_id, input_tokens, cached_tokens,
            output_tokens, cost)
        values (v_session.internal_id, v_key, v_content, p_turn_id, p_sum.input_tokens, p_sum.cached_tokens,
            p_sum.output_tokens, p_sum.cost)
        on conflict do nothing;
        if not found then
            select r.content into v_earlier from asyouwere.usage_records r
            where r.session = v_session.internal_id and r.key = v_key;
            if v_earlier is distinct from v_content then
                perform asyouwere.fail('idempotency_key_reused');
            end if;
            return asyouwere.budgets_after(v_session, false);
        end if;
    end if;
    perform asyouwere.add_usage(v_session, p_model, p_sum);
    perform asyouwere.charge();
    return asyouwere.budgets_after(v_session, true);
end;
$$;
comment on function asyouwere.write_usage is
    'Checks access and amounts, then records once per key. Raises session_not_found, forbidden, '
    'invalid_argument, '
    'idempotency_key_reused, rate_limited.';
revoke execute on function asyouwere.write_usage from public;
grant execute on function asyouwere.write_usage to authenticated, service_role;

create function public.record_usage(
    p_session_id uuid, p_model text, p_input_tokens bigint, p_output_tokens bigint, p_cost numeric default 0,
    p_turn_id uuid default null, p_idempotency_key text default null, p_cached_tokens bigint default 0
) returns setof asyouwere.budget_state
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.write_usage(p_session_id, p_model,
        (1, p_input_tokens, p_cached_tokens, p_output_tokens, p_cost)::asyouwere.usage_sum,
        p_turn_id, p_idempotency_key);
end;
$$;
comment on function public.record_usage is
    'Record what a call of a model used and cost, once per idempotency key. Answers what the session '
    'costs by now and '
    'how much of its budget, and for its owner of the owner''s, is used; refuses nothing for a budget. '
    'Owner and '
    'editors. Raises invalid_argument, idempotency_key_reused.';
revoke execute on function public.record_usage from public, anon, authenticated, service_role;
grant execute on function public.record_usage to authenticated, service_role;

-- 32_usage_asking.sql

-- Asking for usage: of a session, in all, by day and model; of a person.
-- Breaks running code: no.

create function asyouwere.session_of_insider(p_session_id uuid) returns public.free_agent_sessions
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
begin
    if not asyouwere.is_insider(v_session.id, v_session.user_id) then
        perform asyouwere.fail('forbidden', 'What a session costs is told to its owner and members.');
    end if;
    return v_session;
end;
$$;
comment on function asyouwere.session_of_insider is
    'The session''s row for its owner and members. Raises session_not_found, forbidden.';
revoke execute on function asyouwere.session_of_insider from public;

create function asyouwere.read_session_usage(p_session_id uuid, p_turn_id uuid)
returns table (
    calls bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost numeric,
        budget numeric,
    used numeric
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_session public.free_agent_sessions := asyouwere.session_of_insider(p_session_id);
begin
    -- definer: access is checked once, above
    if p_turn_id is not null then
        return query
        select count(*), coalesce(sum(r.input_tokens), 0)::bigint, coalesce(sum(r.cached_tokens), 0)::bigint,
            coalesce(sum(r.output_tokens), 0)::bigint, coalesce(sum(r.cost), 0), null::numeric, null::numeric
        from asyouwere.usage_records r where r.session = v_session.internal_id and r.turn_id = p_turn_id;
        return;
    end if;
    return query
    select coalesce(c.calls, 0)::bigint, coalesce(c.input_tokens, 0), coalesce(c.cached_tokens, 0),
        coalesce(c.output_tokens, 0), coalesce(c.cost, 0), c.budget, asyouwere.used_of(c.cost, c.budget)
    from (select) one left join asyouwere.session_costs c on c.session_id = v_session.id;
end;
$$;
comment on function asyouwere.read_session_usage is 'What a session, or one of its turns, has used.';
revoke execute on function asyouwere.read_session_usage from public;
grant execute on function asyouwere.read_session_usage to authenticated, service_role;

create function public.get_session_usage(p_session_id uuid, p_turn_id uuid default null)
returns table (
    calls bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost numeric,
        budget numeric,
    used numeric
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_session_usage(p_session_id, p_turn_id);
end;
$$;
comment on function public.get_session_usage is
    'What a session has used in all, its budget and how much of it is used; with p_turn_id what one turn '
    'has used, '
    'for as long as keys are kept. The owner and members. Raises session_not_found, forbidden.';
revoke execute on function public.get_session_usage from public, anon, authenticated, service_role;
grant execute on function public.get_session_usage to authenticated, service_role;

create function asyouwere.read_usage_days(
    p_session_id uuid, p_limit int, p_before date, p_before_model text
) returns setof public.session_usage
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_of_insider(p_session_id);
begin
    -- definer: access is checked once, above
    return query
    select * from public.session_usage u
    where u.session_id = v_session.id
        and (u.day, u.model) < (coalesce(p_before, 'infinity'), coalesce(p_before_model, ''))
    order by u.day desc, u.model desc limit least(greatest(coalesce(p_limit, 100), 0), 1000);
end;
$$;
comment on function asyouwere.read_usage_days is 'A page of a session''s sums.';
revoke execute on function asyouwere.read_usage_days from public;
grant execute on function asyouwere.read_usage_days to authenticated, service_role;

create function public.list_session_usage(
    p_session_id uuid, p_limit int default 100, p_before date default null, p_before_model text default null
) returns setof public.session_usage
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_usage_days(p_session_id, p_limit, p_before, p_before_model);
end;
$$;
comment on function public.list_session_usage is
    'What a session has used by day and model, newest day first, at most 1,000 a call. Next page: day and '
    'model of '
    'the last row. The owner and members. Raises session_not_found, forbidden.';
revoke execute on function public.list_session_usage from public, anon, authenticated, service_role;
grant execute on function public.list_session_usage to authenticated, service_role;

create function asyouwere.read_user_usage(p_user_id uuid)
returns table (
    user_id uuid, period text, since date, calls bigint, input_tokens bigint, cached_tokens bigint,
    output_tokens bigint, cost numeric, budget numeric, used numeric
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_person uuid := case when current_setting('role') = 'service_role' then coalesce(p_user_id, auth.uid())
        else auth.uid() end;
    v_budget asyouwere.user_budgets;
    v_sum asyouwere.usage_sum;
begin
    -- definer: budgets are private
    if v_person is null then
        perform asyouwere.fail('not_signed_in', 'Sign in, or say as the service whose usage it is.');
    elsif p_user_id <> v_person then
        perform asyouwere.fail('forbidden', 'What others have used is told to the service only.');
    end if;
    select * into v_budget from asyouwere.user_budgets b where b.user_id = v_person;
    v_budget.period := coalesce(v_budget.period, 'month');
    v_sum := asyouwere.sum_of_user(v_person, asyouwere.period_start(v_budget.period));
    return query select v_person, v_budget.period, asyouwere.period_start(v_budget.period),
        v_sum.calls, v_sum.input_tokens, v_sum.cached_tokens, v_sum.output_tokens, v_sum.cost,
            v_budget.budget,
        asyouwere.used_of(v_sum.cost, v_budget.budget);
end;
$$;
comment on function asyouwere.read_user_usage is
    'What a person''s sessions have used in the budget''s period.';
revoke execute on function asyouwere.read_user_usage from public;
grant execute on function asyouwere.read_user_usage to authenticated, service_role;

create function public.get_my_usage(p_user_id uuid default null)
returns table (
    user_id uuid, period text, since date, calls bigint, input_tokens bigint, cached_tokens bigint,
    output_tokens bigint, cost numeric, budget numeric, used numeric
)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query select * from asyouwere.read_user_usage(p_user_id);
end;
$$;
comment on function public.get_my_usage is
    'What the caller''s sessions have used in this period of the caller''s budget (without one: this '
    'month, UTC), '
    'deleted ones too, and how much of it is used. p_user_id is for the service. By day and model: '
    'user_usage. Raises '
    'not_signed_in, forbidden.';
revoke execute on function public.get_my_usage from public, anon, authenticated, service_role;
grant execute on function public.get_my_usage to authenticated, service_role;

-- 32_usage_budgets.sql

-- Budgets: set and taken away. What they do is in 32_recording_usage.sql: they tell, and refuse nothing.
-- Breaks running code: no.

create function asyouwere.write_session_budget(p_session_id uuid, p_budget numeric) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: nobody writes costs but through here
    perform from public.free_agent_sessions s
    where s.id = p_session_id and asyouwere.role_of(s.id, s.user_id, s.visibility) = 'owner' for key share;
    if not found then
        perform asyouwere.refuse_access(p_session_id, 'owner');
    end if;
    perform asyouwere.refuse_budget(p_budget);
    insert into asyouwere.session_costs (session_id, budget) values (p_session_id,
        trim_scale(round(p_budget, 12)))
    on conflict (session_id) do update set budget = excluded.budget;
    perform asyouwere.charge();
end;
$$;
comment on function asyouwere.write_session_budget is 'Sets a session''s budget, or takes it away.';
revoke execute on function asyouwere.write_session_budget from public;
grant execute on function asyouwere.write_session_budget to authenticated, service_role;

create function public.set_session_budget(p_session_id uuid, p_budget numeric default null)
returns table (
    calls bigint, input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost numeric,
        budget numeric,
    used numeric
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.write_session_budget(p_session_id, p_budget);
    return query select * from asyouwere.read_session_usage(p_session_id, null);
end;
$$;
comment on function public.set_session_budget is
    'How much a session is to cost in all; null: no budget. Answers as get_session_usage. Owner only. Raises '
    'session_not_found, forbidden, invalid_argument.';
revoke execute on function public.set_session_budget from public, anon, authenticated, service_role;
grant execute on function public.set_session_budget to authenticated, service_role;

create function asyouwere.write_user_budget(p_user_id uuid, p_budget numeric, p_period text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- definer: budgets are private
    perform asyouwere.refuse_budget(p_budget);
    if p_user_id is null or p_period is null or p_period not in ('day', 'month') then
        perform asyouwere.fail('invalid_argument', 'Say whose budget it is; a period is day or month.');
    elsif asyouwere.is_erased(p_user_id) then
        perform asyouwere.fail('forbidden', 'This account is being deleted.');
    end if;
    if p_budget is null then
        delete from asyouwere.user_budgets b where b.user_id = p_user_id;
    else
        insert into asyouwere.user_budgets (user_id, budget, period) values (p_user_id,
            trim_scale(round(p_budget, 12)), p_period)
        on conflict (user_id) do update set budget = excluded.budget, period = excluded.period;
    end if;
end;
$$;
comment on function asyouwere.write_user_budget is 'Sets a person''s budget, or takes it away.';
revoke execute on function asyouwere.write_user_budget from public;
grant execute on function asyouwere.write_user_budget to service_role;

create function public.set_user_budget(p_user_id uuid, p_budget numeric, p_period text default 'month')
returns table (
    user_id uuid, period text, since date, calls bigint, input_tokens bigint, cached_tokens bigint,
    output_tokens bigint, cost numeric, budget numeric, used numeric
)
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    perform asyouwere.write_user_budget(p_user_id, p_budget, p_period);
    return query select * from asyouwere.read_user_usage(p_user_id);
end;
$$;
comment on function public.set_user_budget is
    'How much a person''s sessions are to cost in a day or month (UTC); null: no budget. Answers as '
    'get_my_usage. Service only. Raises invalid_argument, forbidden.';
revoke execute on function public.set_user_budget from public, anon, authenticated, service_role;
grant execute on function public.set_user_budget to service_role;

-- 33_branches.sql

-- Branches: a fork remembers where it comes from and can be merged back, in one call. Three ways: the base
-- is the fork's own number at which the two were equal last, so it needs no history of the origin's; mine
-- is what the fork changed since, theirs how the origin differs from that base. What is a conflict is
-- decided in 07_merging.sql.
-- Breaks running code: no.

create table asyouwere.fork_origins (
    session_id uuid primary key references public.free_agent_sessions (id) on delete cascade,
    origin_id uuid not null,
    origin_number int not null,
    base_number int not null,
    merged_number int,
    merged_at timestamptz
);
comment on table asyouwere.fork_origins is 'Where forks come from, and how far each has been merged back.';
comment on column asyouwere.fork_origins.origin_id is
    'No foreign key: an origin forked a million times is deleted as any. An id that was used is nobody '
    'else''s ever.';
comment on column asyouwere.fork_origins.origin_number is
    'The number of the origin''s that it was forked from.';
comment on column asyouwere.fork_origins.base_number is
    'The fork''s own number that is in the origin by now: 1, later the one merged last. Clean-up leaves it.';
comment on column asyouwere.fork_origins.merged_number is
    'The origin''s number that the last merge answered.';
alter table asyouwere.fork_origins enable row level security; -- no policy: the functions only

create function asyouwere.read_fork_origin(p_session_id uuid) returns asyouwere.fork_origins
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_session public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_origin asyouwere.fork_origins;
begin
    -- definer: the table is private
    if asyouwere.is_insider(v_session.id, v_session.user_id) then
        select * into v_origin from asyouwere.fork_origins f where f.session_id = v_session.id;
    end if;
    return v_origin;
end;
$$;
comment on function asyouwere.read_fork_origin is 'Where a fork comes from, for its owner and members.';
revoke execute on function asyouwere.read_fork_origin from public;
grant execute on function asyouwere.read_fork_origin to authenticated, service_role;

create function public.get_fork_origin(p_session_id uuid)
returns table (origin_id uuid, origin_number int, base_number int, merged_number int, merged_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select o.origin_id, o.origin_number, o.base_number, o.merged_number, o.merged_at
    from asyouwere.read_fork_origin(p_session_id) o where o.session_id is not null;
end;
$$;
comment on function public.get_fork_origin is
    'The session that this one was forked from and its number then; the fork''s own number that was '
    'merged back last '
    '(at first 1), and when, as which number of the origin''s. No row: it is no fork, or the caller is '
    'neither owner '
    'nor member. Raises session_not_found.';
revoke execute on function public.get_fork_origin from public, anon, authenticated, service_role;
grant execute on function public.get_fork_origin to authenticated, service_role;

create type asyouwere.merge_sides as (
    mine asyouwere.part_change[], placed asyouwere.part_change[], appended asyouwere.part_change[],
    theirs asyouwere.part_change[]
);
comment on type asyouwere.merge_sides is
    'What a fork changed (placed: where it stands, appended: past the end of a list) and how its origin '
    'differs.';

create function asyouwere.sides_of_fork(
    p_fork bigint, p_base int, p_latest int, p_origin bigint, p_number int
) returns asyouwere.merge_sides
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    v_sides asyouwere.merge_sides;
begin
    v_sides.mine := array(
        select (coalesce(b.path, l.path), coalesce(b.item, l.item), b.body, l.body)::asyouwere.part_change
        from asyouwere.parts_ended(p_fork, p_base, p_latest) b
        full join asyouwere.parts_begun(p_fork, p_base, p_latest) l on l.path = b.path and l.item = b.item
        where b.body is distinct from l.body
        limit 20001);
    v_sides.theirs := array(
        select (coalesce(b.path, l.path), coalesce(b.item, l.item), b.body, l.body)::asyouwere.part_change
        from asyouwere.parts_at(p_fork, p_base) b
        full join asyouwere.parts_at(p_origin, p_number) l on l.path = b.path and l.item = b.item
        where b.body is distinct from l.body
        limit 20001);
    if cardinality(v_sides.mine) > 20000 or cardinality(v_sides.theirs) > 20000 then
        perform asyouwere.fail('too_large',
            'Fork and origin differ in more than 20,000 parts. Restore both and save what is to be.');
    end if;
    select array_agg(m) filter (where m.item >= l.length is not true),
        array_agg(m) filter (where m.item >= l.length)
    into v_sides.placed, v_sides.appended
    from asyouwere.each_change(v_sides.mine) m
    left join asyouwere.lists_in_common(p_fork, p_base, v_sides.mine, v_sides.theirs) l
        on l.path = m.path and m.item >= 0;
    return v_sides;
end;
$$;
comment on function asyouwere.sides_of_fork is
    'Both sides of a merge, address by address. Raises too_large.';
revoke execute on function asyouwere.sides_of_fork from public;

create function asyouwere.without(
    p_changes asyouwere.part_change[], p_paths text[], p_items int[]
) returns asyouwere.part_change[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- each place is an item, or (-1) a member with all that is in it
    select array_agg(c) from asyouwere.each_change(p_changes) c
    where (c.path, c.item) not in (select u.path, u.item from unnest(p_paths, p_items) u (path, item))
        and not exists (
            select from unnest(asyouwere.path_ancestors(c.path)) above
            where (above in (select u.path from unnest(p_paths, p_items) u (path, item) where u.item = -1)) is true)
$$;
comment on function asyouwere.without is 'Changes without those at or inside of some places.';
revoke execute on function asyouwere.without from public;

create function asyouwere.decided_places(
    p_sides asyouwere.merge_sides, p_prefer text, p_choices jsonb, p_latest int
) returns table (side text, path text, item int)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_sides text[];
    v_paths text[];
    v_items int[];
    v_open text[];
begin
    -- the longest address of p_choices that a clash is at or in; else p_prefer
    with chosen as materialized (
        select asyouwere.path_of_pointer(k.key) as path, k.value as side from jsonb_each_text(p_choices) k
    ), decided as (
        -- by equal addresses, so that a thousand choices for thousands of clashes are hashed
        select c.path, c.item, coalesce(
            (array_agg(h.side order by length(h.path) desc) filter (where h.side is not null))[1], p_prefer) as side
        from asyouwere.clashes(p_sides.mine, p_sides.placed, p_sides.theirs, '{}') c
        cross join unnest(asyouwere.path_ancestors(c.path) || '/'::text
            || case when c.item >= 0 then c.path || c.item || '/' end) above
        left join chosen h on h.path = above
        group by c.path, c.item
    )
    select array_agg(d.side order by d.path, d.item), array_agg(d.path order by d.path, d.item),
        array_agg(d.item order by d.path, d.item),
        array_agg(asyouwere.pointer_json(d.path, d.item) order by d.path, d.item) filter (where d.side
            is null)
    into v_sides, v_paths, v_items, v_open
    from decided d;
    if v_open is not null then
        perform asyouwere.refuse_conflict(v_open, cardinality(v_open), p_latest);
    end if;
    -- How far a decision reaches: to the topmost member that the origin has removed or replaced, if the
    -- fork's is to be there; and a list that either has made shorter is decided as a whole.
    return query
    select distinct w.side, coalesce(w.above, w.path), case when w.above is not null or w.is_cut then -1
        else w.item end
    from (
        select c.side, c.path, c.item, (
            select min(above collate "C") from unnest(asyouwere.path_ancestors(c.path)) above
            -- "is true": a hash made once, not a loop for each
            where c.side = 'fork' and (above in (
                select t.path from asyouwere.each_change(p_sides.theirs) t where t.item = -1)) is true) as above,
            c.item >= 0 and c.path in (
                select m.path from asyouwere.each_change(p_sides.mine) m where m.item >= 0 and m.new is null
                union all
                select t.path from asyouwere.each_change(p_sides.theirs) t where t.item >= 0 and t.new is null
            ) as is_cut
        from unnest(v_sides, v_paths, v_items) c (side, path, item)
    ) w;
end;
$$;
comment on function asyouwere.decided_places is
    'For each clash whose side stands, and how far that reaches. Raises conflict with those that nobody '
    'decided.';
revoke execute on function asyouwere.decided_places from public;

create function asyouwere.rows_of_merge(
    p_fork public.free_agent_sessions, p_base int, p_origin public.free_agent_sessions, p_prefer text,
        p_choices jsonb
) returns asyouwere.change_rows
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    v_sides asyouwere.merge_sides := asyouwere.sides_of_fork(
        p_fork.internal_id, p_base, p_fork.latest_number, p_origin.internal_id, p_origin.latest_number);
    v_paths text[];
    v_items int[];
    v_fork_paths text[];
    v_fork_items int[];
    v_rows asyouwere.change_rows;
begin
    select array_agg(d.path), array_agg(d.item), array_agg(d.path) filter (where d.side = 'fork'),
        array_agg(d.item) filter (where d.side = 'fork')
    into v_paths, v_items, v_fork_paths, v_fork_items
    from asyouwere.decided_places(v_sides, p_prefer, p_choices, p_origin.latest_number) d;
    if v_paths is not null then
        v_sides.mine := asyouwere.without(v_sides.mine, v_paths, v_items);
        v_sides.placed := asyouwere.without(v_sides.placed, v_paths, v_items);
        v_sides.appended := asyouwere.without(v_sides.appended, v_paths, v_items);
    end if;
    perform asyouwere.refuse_gaps_of_caller(p_fork.internal_id, p_base, v_sides.placed, v_sides.appended);
    with merged as (
        select case when m.new is null then 'drop' else 'put' end as op, m.path, m.item, m.new as body,
            m.item as place
        from asyouwere.each_change(v_sides.placed) m
        left join asyouwere.each_change(v_sides.theirs) t on t.path = m.path and t.item = m.item
        where t.path is null or m.new is distinct from t.new
        union all
        select 'append', m.path, null, m.new, m.item from asyouwere.each_change(v_sides.appended) m
        union all
        -- where the fork's stands, all of it as in the fork
        select case when f.path is null then 'drop' else 'put' end, coalesce(f.path, o.path),
            coalesce(f.item, o.item), f.body, coalesce(f.item, o.item)
        from (
            select p.path, p.item, p.body from asyouwere.parts_at(p_fork.internal_id, p_fork.latest_number) p
            where v_fork_paths is not null
        ) f
        full join (
            select p.path, p.item, p.body from asyouwere.parts_at(p_origin.internal_id,
                p_origin.latest_number) p
            where v_fork_paths is not null
        ) o on o.path = f.path and o.item = f.item
        where f.body is distinct from o.body and (
            (coalesce(f.path, o.path), coalesce(f.item, o.item)) in (
                select u.path, u.item from unnest(v_fork_paths, v_fork_items) u (path, item))
            or exists (
                select from unnest(asyouwere.path_ancestors(coalesce(f.path, o.path))) above
                where (above in (
                    select u.path from unnest(v_fork_paths, v_fork_items) u (path, item) where u.item = -1)) is true))
    )
    select array_agg(op order by path, place), array_agg(path order by path, place),
        array_agg(item order by path, place), array_agg(body order by path, place)
    into v_rows.ops, v_rows.paths, v_rows.items, v_rows.bodies
    from merged;
    return v_rows;
end;
$$;
comment on function asyouwere.rows_of_merge is
    'What merging a fork writes into its origin, as change rows. Raises conflict, list_gap, too_large.';
revoke execute on function asyouwere.rows_of_merge from public;

create function asyouwere.merge_back(
    p_session_id uuid, p_prefer text, p_choices jsonb, p_idempotency_key text, p_label text
) returns asyouwere.save_result
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    v_fork public.free_agent_sessions := asyouwere.session_to_read(p_session_id);
    v_origin public.free_agent_sessions;
    v_from asyouwere.fork_origins;
    v_rows asyouwere.change_rows;
    v_result asyouwere.save_result;
    v_key uuid := md5(p_idempotency_key)::uuid;
    v_content uuid := md5(concat_ws(E'\x01', 'merge', p_session_id, p_prefer, p_choices, p_label))::uuid;
    v_earlier asyouwere.save_keys;
begin
    -- definer: nobody writes parts but through here
    if p_prefer not in ('fork', 'origin') or jsonb_typeof(p_choices) is distinct from 'object'
        or (select count(*) > 1000 or bool_or(k.value is null or k.value not in ('fork', 'origin'))
            from jsonb_each_text(case jsonb_typeof(p_choices) when 'object' then p_choices else '{}' end) k)
    then
        perform asyouwere.fail('invalid_argument',
            'A side is fork or origin; p_choices has at most 1,000 addresses with a side each.');
    elsif length(p_idempotency_key) not between 1 and 255 or length(p_label) not between 1 and 200 then
        perform asyouwere.fail('invalid_argument',
            'An idempotency key has 1 to 255 characters, a label 1 to 200.');
    end if;
    perform asyouwere.path_of_pointer(k.key) from jsonb_each_text(p_choices) k;
    select * into v_from from asyouwere.fork_origins f where f.session_id = v_fork.id;
    if not found then
        perform asyouwere.fail('invalid_argument', 'This session is no fork of another.');
    end if;
    -- The fork is only read, at the number it has now: its own saves go on. Two merges of it meet at this
    -- lock.
    v_origin := asyouwere.session_to_write(v_from.origin_id);
    select * into v_earlier from asyouwere.save_keys k
    where k.session = v_origin.internal_id and k.key = v_key;
    if found then
        return asyouwere.replay_save(v_origin, v_earlier, v_content, null);
    end if;
    -- Who holds this row is deleting the fork, and may wait for the origin: not waited for.
    select * into v_from from asyouwere.fork_origins f where f.session_id = v_fork.id
    for update skip locked;
    if not found then
        perform asyouwere.fail('session_not_found');
    end if;
    if greatest(v_fork.size_bytes, v_origin.size_bytes) > 1024 * 1024 then
        perform asyouwere.refuse_second_large(); -- both are read whole
    end if;
    v_fork := asyouwere.session_to_read(p_session_id);
    perform asyouwere.find_snapshot(v_fork, v_from.base_number, null);
    v_rows := asyouwere.rows_of_merge(v_fork, v_from.base_number, v_origin, p_prefer, p_choices);
    v_result := asyouwere.write_snapshot(v_origin, v_rows, true, p_label, v_key, v_content);
    update asyouwere.fork_origins f
    set base_number = v_fork.latest_number, merged_number = v_result.number, merged_at = now()
    where f.session_id = v_fork.id;
    return v_result;
end;
$$;
comment on function asyouwere.merge_back is
    'Checks access to both sessions, then writes what the fork has changed into its origin.';
revoke execute on function asyouwere.merge_back from public;
grant execute on function asyouwere.merge_back to authenticated, service_role;

create function public.merge_fork(
    p_session_id uuid, p_prefer text default null, p_choices jsonb default '{}',
    p_idempotency_key text default null, p_label text default null
) returns setof asyouwere.save_result
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return next asyouwere.merge_back(p_session_id, p_prefer, p_choices, p_idempotency_key, p_label);
end;
$$;
comment on function public.merge_fork is
    'Merge what a fork has changed since it was forked, or merged last, into its origin, as one snapshot '
    'there. '
    'Conflicts are named and nothing is written, unless p_choices {pointer: "fork" or "origin"} or '
    'p_prefer decide '
    'each. Whoever reads the fork and may save into the origin. Answers as create_session_snapshot, of '
    'the origin. '
    'Raises conflict, snapshot_gone, too_large, invalid_argument.';
revoke execute on function public.merge_fork from public, anon, authenticated, service_role;
grant execute on function public.merge_fork to authenticated, service_role;

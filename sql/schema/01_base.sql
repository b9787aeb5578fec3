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

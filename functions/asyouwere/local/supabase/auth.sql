-- What @supabase/lite's sign-up and sign-in keep, in the schema auth. Run by `asyouwere run` as superuser, as often
-- as it starts. It adds to what the bootstrap made and changes nothing that is there, so users and sessions made
-- before go on; on Supabase itself it is never run. Names and types are those of Supabase's own tables.

begin;

select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('asyouwere local auth', 0));

do $role$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'asyouwere_local_auth') then
        -- May read and write the tables below and nothing else: no session, no part, no schema of ours.
        create role asyouwere_local_auth login noinherit;
    end if;
end
$role$;

alter table auth.users
    add column if not exists aud text default 'authenticated',
    add column if not exists role text default 'authenticated',
    add column if not exists encrypted_password text,
    add column if not exists phone text unique,
    add column if not exists email_confirmed_at timestamptz,
    add column if not exists phone_confirmed_at timestamptz,
    add column if not exists invited_at timestamptz,
    add column if not exists confirmation_token text,
    add column if not exists confirmation_sent_at timestamptz,
    add column if not exists recovery_token text,
    add column if not exists recovery_sent_at timestamptz,
    add column if not exists email_change text,
    add column if not exists email_change_token_new text,
    add column if not exists email_change_token_current text,
    add column if not exists email_change_sent_at timestamptz,
    add column if not exists email_change_confirm_status smallint default 0,
    add column if not exists phone_change text,
    add column if not exists phone_change_token text,
    add column if not exists phone_change_sent_at timestamptz,
    add column if not exists reauthentication_token text,
    add column if not exists reauthentication_sent_at timestamptz,
    add column if not exists raw_app_meta_data jsonb default '{}',
    add column if not exists raw_user_meta_data jsonb default '{}',
    add column if not exists banned_until timestamptz,
    add column if not exists deleted_at timestamptz,
    add column if not exists is_sso_user boolean not null default false,
    add column if not exists is_anonymous boolean not null default false,
    add column if not exists last_sign_in_at timestamptz;
alter table auth.users add column if not exists confirmed_at timestamptz
    generated always as (least(email_confirmed_at, phone_confirmed_at)) stored;

do $unique$
begin
    create unique index if not exists users_email_partial_key on auth.users (email) where not is_sso_user;
exception when unique_violation then
    raise notice 'auth.users has an address twice; sign-in takes the first it finds';
end
$unique$;

create table if not exists auth.sessions (
    id uuid primary key,
    user_id uuid not null references auth.users (id) on delete cascade,
    not_after timestamptz,
    refreshed_at timestamp,
    user_agent text,
    ip inet,
    tag text,
    refresh_token_hmac_key text,
    refresh_token_counter bigint,
    scopes text,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    aal text,
    factor_id uuid
);
create index if not exists sessions_user_id_idx on auth.sessions (user_id);

create table if not exists auth.refresh_tokens (
    id text primary key,
    token text not null,
    user_id uuid not null,
    session_id uuid references auth.sessions (id) on delete cascade,
    revoked boolean default false,
    parent text,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index if not exists refresh_tokens_token_idx on auth.refresh_tokens (token);
create index if not exists refresh_tokens_session_id_idx on auth.refresh_tokens (session_id);

create table if not exists auth.identities (
    id uuid primary key,
    provider text not null,
    provider_id text not null,
    user_id uuid not null references auth.users (id) on delete cascade,
    identity_data jsonb not null default '{}',
    email text generated always as (lower(identity_data ->> 'email')) stored,
    last_sign_in_at timestamptz,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    unique (provider, provider_id)
);
create index if not exists identities_user_id_idx on auth.identities (user_id);

create table if not exists auth.flow_state (
    id uuid primary key,
    user_id uuid,
    auth_code text,
    authentication_method text not null,
    code_challenge_method text,
    code_challenge text,
    provider_type text not null,
    provider_access_token text,
    provider_refresh_token text,
    auth_code_issued_at timestamptz,
    invite_token text,
    referrer text,
    oauth_client_state_id uuid,
    linking_target_id uuid,
    email_optional boolean not null default false,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table if not exists auth.audit_log_entries (
    id uuid primary key,
    payload json,
    created_at timestamptz default now(),
    ip_address text default ''
);

grant usage on schema auth to asyouwere_local_auth;
grant select, insert, update, delete on auth.users, auth.sessions, auth.refresh_tokens, auth.identities,
    auth.flow_state, auth.audit_log_entries to asyouwere_local_auth;

commit;

-- Gives a plain Postgres what Supabase brings along and our migrations rely on: the API's roles and the
-- functions that say who is calling. Run it as a superuser, as often as you like, before the migrations;
-- `asyouwere migrate --bootstrap` does both. On Supabase itself it changes nothing.
--
-- It touches only what is listed here: no default privileges, no settings of the database.

begin;

-- Two runs at once in one database take turns. Roles belong to the whole server, where this lock does not
-- reach, so the steps about roles below also bear that another database's bootstrap is faster.
select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('asyouwere bootstrap', 0));

do $bootstrap$
declare
    v_role text;
begin
    -- Only Supabase has these two, and there everything below exists already.
    if exists (select from pg_catalog.pg_roles where rolname in ('supabase_admin', 'supabase_auth_admin')) then
        raise notice 'this is Supabase: nothing to do';
        return;
    end if;

    -- 1. Roles. The API logs in as authenticator, which has no right of its own (noinherit) and switches,
    --    for each request, to the role that the caller's token names.
    foreach v_role in array array['anon', 'authenticated', 'service_role', 'authenticator'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            begin
                execute pg_catalog.format('create role %I %s', v_role, case v_role
                    when 'service_role' then 'nologin noinherit bypassrls'
                    when 'authenticator' then 'login noinherit'  -- no password: whoever deploys sets one
                    else 'nologin noinherit'
                end);
            exception when duplicate_object or unique_violation then
                null;  -- made by another database's bootstrap in this moment
            end;
        end if;
    end loop;

    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not pg_catalog.pg_has_role('authenticator', v_role, 'member') then
            begin
                execute pg_catalog.format('grant %I to authenticator', v_role);
            exception when unique_violation or internal_error then
                -- As above ("tuple concurrently updated" has no code of its own). Let it finish, then look.
                perform pg_catalog.pg_sleep(0.2);
                if not pg_catalog.pg_has_role('authenticator', v_role, 'member') then
                    raise;
                end if;
            end;
        end if;
    end loop;

    -- 2. The schema auth: who the users are, and who is calling.
    if pg_catalog.to_regnamespace('auth') is null then
        create schema auth;
        comment on schema auth is 'Users and the caller''s identity, as on Supabase (made by asyouwere).';
    end if;

    if pg_catalog.to_regclass('auth.users') is null then
        create table auth.users (
            id uuid primary key default pg_catalog.gen_random_uuid(),
            email text,
            created_at timestamptz not null default pg_catalog.now(),
            updated_at timestamptz not null default pg_catalog.now()
        );
        comment on table auth.users is
            'The people who may own sessions: the part of Supabase''s table that asyouwere needs.';
    end if;

    -- The API puts the verified token's claims into the setting request.jwt.claims of its transaction, as
    -- JSON. Old versions of PostgREST made a setting of each claim instead; both are read, as on Supabase.
    -- An empty setting counts as missing: that is what a setting is after the transaction that set it.
    if pg_catalog.to_regprocedure('auth.jwt()') is null then
        create function auth.jwt() returns jsonb
        language sql stable
        return coalesce(
            nullif(pg_catalog.current_setting('request.jwt.claim', true), ''),
            nullif(pg_catalog.current_setting('request.jwt.claims', true), '')
        )::jsonb;
        comment on function auth.jwt() is 'All claims of the caller''s token; null when there is no caller.';
    end if;

    if pg_catalog.to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid
        language sql stable
        return coalesce(
            nullif(pg_catalog.current_setting('request.jwt.claim.sub', true), ''),
            nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
        )::uuid;
        comment on function auth.uid() is 'The caller''s id (claim sub); null when nobody is signed in.';
    end if;

    if pg_catalog.to_regprocedure('auth.role()') is null then
        create function auth.role() returns text
        language sql stable
        return coalesce(
            nullif(pg_catalog.current_setting('request.jwt.claim.role', true), ''),
            nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
        );
        comment on function auth.role() is 'The role in the caller''s token: anon, authenticated or service_role.';
    end if;

    -- 3. The API's roles may call what is in these schemas, as far as each object allows. Granting again is
    --    harmless, but it writes: only do it where it is missing.
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not pg_catalog.has_schema_privilege(v_role, 'public', 'usage') then
            execute pg_catalog.format('grant usage on schema public to %I', v_role);
        end if;
        if not pg_catalog.has_schema_privilege(v_role, 'auth', 'usage') then
            execute pg_catalog.format('grant usage on schema auth to %I', v_role);
        end if;
    end loop;
end
$bootstrap$;

commit;

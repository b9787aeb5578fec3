-- A server's roles and schemas as Supabase's image and services leave them (supabase/postgres, migrations/db;
-- supabase/realtime and supabase/auth, their migrations), as far as asyouwere meets them. One thing differs: there the
-- role that people log in as is called postgres, which here is the server's own superuser, so it is called people.
create role supabase_admin superuser nologin;
create role supabase_auth_admin noinherit createrole nologin;
create role supabase_realtime_admin noinherit nologin;
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
create role people login createdb createrole replication bypassrls password 'only-for-this-server';
grant anon, authenticated, service_role to people with admin option;
grant supabase_realtime_admin to people;

create schema extensions authorization supabase_admin;
grant all on schema extensions to people;
grant all on schema public to people;
do $$ begin execute format('grant all on database %I to people', current_database()); end $$;

-- auth: the bare image's own functions, before Supabase Auth has started once
create schema auth authorization supabase_admin;
grant usage on schema auth to anon, authenticated, service_role, people;
create table auth.users (
    id uuid primary key, instance_id uuid, aud text, role text, email text unique,
    created_at timestamptz default now(), updated_at timestamptz default now()
);
alter table auth.users owner to supabase_auth_admin;
grant all on schema auth to supabase_auth_admin, people;
grant all on all tables in schema auth to people;
create function auth.uid() returns uuid language sql stable
as $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
create function auth.role() returns text language sql stable
as $$ select nullif(current_setting('request.jwt.claim.role', true), '')::text $$;
create function auth.email() returns text language sql stable
as $$ select nullif(current_setting('request.jwt.claim.email', true), '')::text $$;
grant execute on all functions in schema auth to public;

-- Who is calling, as on a project where Supabase Auth has started: its migrations (supabase/auth, migrations/tenant)
-- replace the functions of the bare image, which read a setting of each claim. PostgREST of today sets all claims at
-- once, in request.jwt.claims, and none of the others. Names, types, volatility and what they read are Auth's; the
-- text is ours. Run by a superuser, as Auth's own role may not be there to log in.
create or replace function auth.uid() returns uuid language sql stable
as $$
    select nullif(coalesce(
        current_setting('request.jwt.claim.sub', true),
        current_setting('request.jwt.claims', true)::jsonb ->> 'sub'
    ), '')::uuid
$$;

create or replace function auth.role() returns text language sql stable
as $$
    select nullif(coalesce(
        current_setting('request.jwt.claim.role', true),
        current_setting('request.jwt.claims', true)::jsonb ->> 'role'
    ), '')::text
$$;

create or replace function auth.email() returns text language sql stable
as $$
    select nullif(coalesce(
        current_setting('request.jwt.claim.email', true),
        current_setting('request.jwt.claims', true)::jsonb ->> 'email'
    ), '')::text
$$;

create or replace function auth.jwt() returns jsonb language sql stable
as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;

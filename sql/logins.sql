-- Two logins that can little, for deployed functions that connect to Postgres themselves. Run it as often as
-- you like, after the migrations, as who may create roles (on Supabase: postgres, in the SQL editor);
-- `asyouwere migrate --logins` does.
--
-- Neither has a right of its own (noinherit): for each request the functions switch to the role of the
-- caller's token. So whoever gets hold of the API's login acts as users do, under row level security, and
-- the clean-up's never leaves the function that nobody outside reaches. They have no password yet: in psql
-- `\password asyouwere_api`, which sends a hash only, and the same for asyouwere_cleanup; with pg_cron the
-- second needs none.

do $logins$
declare
    v_role text;
begin
    foreach v_role in array array['asyouwere_api', 'asyouwere_cleanup'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            begin
                execute pg_catalog.format('create role %I login noinherit', v_role);
            exception when duplicate_object or unique_violation then
                null;  -- made in this moment from another of the server's databases
            end;
        end if;
    end loop;
end
$logins$;

grant anon, authenticated to asyouwere_api;
grant service_role to asyouwere_cleanup;
comment on role asyouwere_api is 'asyouwere''s functions log in as this; may act as anon and authenticated.';
comment on role asyouwere_cleanup is 'asyouwere''s clean-up logs in as this; may act as service_role.';

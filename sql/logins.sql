-- Two logins that can little, for deployed functions that connect to Postgres themselves. Run it as often as
-- you like, after the migrations, as who may create roles (on Supabase: postgres, in the SQL editor);
-- `asyouwere migrate --logins` does.
--
-- Neither has a right of its own (noinherit): for each request the functions switch to the role of the
-- caller's token. So whoever gets hold of the API's login acts as any user, under row level security, but
-- makes, changes and reads nothing else; and the clean-up's never leaves the function that nobody outside
-- reaches. They have no password yet: in psql `\password asyouwere_api`, which sends a hash only, and the same
-- for asyouwere_cleanup; with pg_cron the second needs none.

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

-- Said again only where it is missing, and as roles are the whole server's another of its databases may say it in
-- the same moment.
do $logins$
declare
    v_login text;
    v_role text;
    v_said text;
begin
    for v_login, v_role in values
        ('asyouwere_api', 'anon'), ('asyouwere_api', 'authenticated'), ('asyouwere_cleanup', 'service_role')
    loop
        if not pg_catalog.pg_has_role(v_login, v_role, 'member') then
            begin
                execute pg_catalog.format('grant %I to %I', v_role, v_login);
            exception when unique_violation or internal_error then
                -- "tuple concurrently updated" has no code of its own. Let the other finish, then look.
                perform pg_catalog.pg_sleep(0.2);
                if not pg_catalog.pg_has_role(v_login, v_role, 'member') then
                    raise;
                end if;
            end;
        end if;
    end loop;
    for v_login, v_said in values
        ('asyouwere_api', 'asyouwere''s functions log in as this; may act as anon and authenticated.'),
        ('asyouwere_cleanup', 'asyouwere''s clean-up logs in as this; may act as service_role.')
    loop
        if pg_catalog.shobj_description(v_login::regrole, 'pg_authid') is distinct from v_said then
            begin
                execute pg_catalog.format('comment on role %I is %L', v_login, v_said);
            exception when unique_violation or internal_error then
                null;  -- the other's comment is the same
            end;
        end if;
    end loop;
end
$logins$;

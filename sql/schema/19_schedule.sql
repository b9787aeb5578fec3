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

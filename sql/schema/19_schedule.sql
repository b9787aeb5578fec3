-- The schedule, where the database can keep one itself (pg_cron, an extension that Supabase offers): clean-up and expiry
-- every five minutes. Where it can't, a scheduler outside calls the function cleanup-old-snapshots; both at once do no harm.
-- Breaks running code: no.

create procedure asyouwere.clean_up(p_seconds int default 60)
language plpgsql
as $$
declare
    v_until timestamptz;
    v_over boolean;
begin
    -- Each batch in a transaction of its own, so that nobody waits for more than one. A procedure that commits can't have
    -- a SET clause; instead each transaction begins by setting the search_path for itself.
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    v_until := clock_timestamp() + make_interval(secs => p_seconds);
    loop
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        select r.done or clock_timestamp() > v_until into v_over from asyouwere.run_cleanup(null, null, null) r;
        commit;
        exit when v_over;
    end loop;
    loop
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        select r.done or clock_timestamp() > v_until into v_over from asyouwere.run_expiry(200) r;
        commit;
        exit when v_over;
    end loop;
    loop
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        select r.done or clock_timestamp() > v_until into v_over from asyouwere.erase_next() r;
        commit;
        exit when v_over;
    end loop;
end;
$$;
comment on procedure asyouwere.clean_up is
    'Clean-up and expiry in batches of their own until there is nothing left or p_seconds are over (then one batch more). For the owner of the database, and its schedule.';
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
    'Has pg_cron, where it is there, call asyouwere.clean_up(); answers "on", or "off" and why. May be called again at any time. Undo: select cron.unschedule(''asyouwere clean-up'').';
revoke execute on function asyouwere.schedule_cleanup from public;

select asyouwere.schedule_cleanup();

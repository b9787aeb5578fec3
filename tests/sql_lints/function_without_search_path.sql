-- Rows are findings: functions that find types, tables and functions by the caller's search_path.
-- What may happen: a caller's own object of the same name is used, with the function's rights.
-- Repair: set search_path = pg_catalog, pg_temp, and write schema names in the body.
select p.oid::regprocedure as function
from pg_catalog.pg_proc p
where p.pronamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    and not exists (select from unnest(p.proconfig) setting where setting like 'search\_path=%')
    -- A body in the SQL standard's form (return …, begin atomic …) was bound when the function was made; no
    -- search_path can change it. Without a SET clause the planner can see inside.
    and p.prosqlbody is null
    -- The steps of a save: a SET clause of their own would cost a tenth of it. Only functions that pin the
    -- search_path call them, and no role of the API may.
    and not (
        p.oid in (
            'asyouwere.session_to_write(uuid, text)'::regprocedure,
            'asyouwere.save_snapshot(uuid, asyouwere.change_rows, int, text, text, text, asyouwere.annotations)'::regprocedure,
            'asyouwere.write_snapshot(public.free_agent_sessions, asyouwere.change_rows, boolean, text, uuid, uuid, asyouwere.annotations)'::regprocedure,
            'asyouwere.append_items(bigint, int, asyouwere.change_rows)'::regprocedure,
            'asyouwere.overwrite_parts(bigint, int, asyouwere.change_rows)'::regprocedure,
            'asyouwere.replace_parts(bigint, int, asyouwere.change_rows)'::regprocedure,
            -- and of a flush
            'asyouwere.turn_to_write(uuid, uuid)'::regprocedure,
            -- commits, which a procedure with a SET clause may not; sets it in each transaction instead
            'asyouwere.clean_up(int)'::regprocedure
        )
        and not pg_catalog.has_function_privilege('anon', p.oid, 'execute')
        and not pg_catalog.has_function_privilege('authenticated', p.oid, 'execute')
        and not pg_catalog.has_function_privilege('service_role', p.oid, 'execute')
    )
order by 1;

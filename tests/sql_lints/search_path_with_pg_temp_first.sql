-- Rows are findings: functions that set a search_path in which pg_temp does not stand last.
-- What may happen: where pg_temp is not named, Postgres looks for types and tables there first of all, before
-- pg_catalog, also with search_path = ''. A caller's own type named uuid, with a check, then runs the caller's code
-- with the function's rights.
-- Repair: set search_path = pg_catalog, pg_temp.
select p.oid::regprocedure as function, setting
from pg_catalog.pg_proc p, unnest(p.proconfig) setting
where p.pronamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    and setting like 'search\_path=%' and setting <> 'search_path=pg_catalog, pg_temp'
order by 1;

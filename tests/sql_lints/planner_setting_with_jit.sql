-- Rows are findings: functions that turn a way of planning off and leave the compiler on.
-- What may happen: where there is no other way, Postgres (to 17) plans with a cost of ten billion, and jit, which is on
-- by default, then compiles the query: half a second instead of half a millisecond.
-- Repair: set jit = off beside it.
select p.oid::regprocedure as function
from pg_catalog.pg_proc p
where p.pronamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    and exists (select from unnest(p.proconfig) setting where setting like 'enable\_%=off')
    and not 'jit=off' = any (p.proconfig)
order by 1;

-- Rows are findings: functions of the exposed schema that run with their owner's rights.
-- What may happen: the API lets every signed-in person call them, past all row level security.
-- Repair: put the definer into asyouwere, with a wrapper in public that runs as the caller.
select p.oid::regprocedure as function
from pg_catalog.pg_proc p
where p.pronamespace = 'public'::regnamespace and p.prosecdef
order by 1;

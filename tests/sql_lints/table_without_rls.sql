-- Rows are findings: tables without row level security.
-- What may happen: one grant too many and all rows of all people are open.
-- Repair: alter table … enable row level security; with no policy only the functions get through.
select c.oid::regclass as table
from pg_catalog.pg_class c
where c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    and c.relkind in ('r', 'p') and not c.relrowsecurity
order by 1;

-- Rows are findings: policies that do not say for which roles they are.
-- What may happen: they apply to roles that nobody thought of, and are evaluated for them.
-- Repair: create policy … to anon, authenticated.
select p.polname as policy, p.polrelid::regclass as table
from pg_catalog.pg_policy p
where p.polrelid in (
        select c.oid from pg_catalog.pg_class c
        where c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace))
    and 0 = any (p.polroles)
order by 1;

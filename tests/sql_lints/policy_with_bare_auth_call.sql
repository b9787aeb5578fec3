-- Rows are findings: policies that call auth.uid(), auth.role() or auth.jwt() bare.
-- What may happen: the call is made anew for every row, which makes long lists slow.
-- Repair: (select auth.uid()), which is evaluated once a statement.
select p.polname as policy, p.polrelid::regclass as table
from pg_catalog.pg_policy p
cross join lateral (
    select concat_ws(' ', pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) as text
) written
where p.polrelid in (
        select c.oid from pg_catalog.pg_class c
        where c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace))
    and regexp_replace(written.text, 'SELECT auth\.(uid|role|jwt)\(\)', '', 'g') ~ 'auth\.(uid|role|jwt)\(\)'
order by 1;

-- Rows are findings: views that read with their owner's rights.
-- What may happen: row level security of the tables below does not apply to whoever reads the view.
-- Repair: create view … with (security_invoker = true).
select c.oid::regclass as view
from pg_catalog.pg_class c
where c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    and c.relkind in ('v', 'm')
    and not exists (
        select from unnest(c.reloptions) o
        where lower(o) in ('security_invoker=true', 'security_invoker=on', 'security_invoker=yes', 'security_invoker=1'))
order by 1;

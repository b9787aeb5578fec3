-- Rows are findings: tables, views, functions and types that do not say what they are.
-- What may happen: psql's \d+, the API's own documentation and the next reader have nothing to show.
-- Repair: comment on … is '…'.
select kind, object
from (
    select case c.relkind when 'v' then 'view' when 'c' then 'type' else 'table' end as kind,
        c.oid::regclass::text as object,
        case c.relkind when 'c' then pg_catalog.obj_description(c.reltype, 'pg_type')
            else pg_catalog.obj_description(c.oid, 'pg_class') end as comment
    from pg_catalog.pg_class c
    where c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
        and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
    union all
    select 'function', p.oid::regprocedure::text, pg_catalog.obj_description(p.oid, 'pg_proc')
    from pg_catalog.pg_proc p
    where p.pronamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    union all
    select 'schema', n.nspname, pg_catalog.obj_description(n.oid, 'pg_namespace')
    from pg_catalog.pg_namespace n
    where n.nspname = 'asyouwere'
) o
where coalesce(btrim(comment), '') = ''
order by 1, 2;

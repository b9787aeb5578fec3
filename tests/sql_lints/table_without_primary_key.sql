-- Rows are findings: tables without a primary key.
-- What may happen: rows that can't be told apart; replication and Citus refuse updates.
-- Repair: alter table … add primary key (…).
select c.oid::regclass as table
from pg_catalog.pg_class c
where c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace) and c.relkind in ('r', 'p')
    and not exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary)
order by 1;

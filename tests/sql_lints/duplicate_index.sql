-- Rows are findings: indexes that do what another index of the table does.
-- What may happen: every write pays twice.
-- Repair: drop the one that no constraint needs.
select duplicate.indexrelid::regclass as index, other.indexrelid::regclass as same_as
from pg_catalog.pg_index duplicate
join pg_catalog.pg_class c on c.oid = duplicate.indrelid
    and c.relnamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
join pg_catalog.pg_index other on other.indrelid = duplicate.indrelid and other.indexrelid <> duplicate.indexrelid
    and other.indkey = duplicate.indkey and other.indclass = duplicate.indclass
    and other.indoption = duplicate.indoption and other.indcollation = duplicate.indcollation
    and pg_catalog.pg_get_expr(other.indexprs, other.indrelid)
        is not distinct from pg_catalog.pg_get_expr(duplicate.indexprs, duplicate.indrelid)
    and pg_catalog.pg_get_expr(other.indpred, other.indrelid)
        is not distinct from pg_catalog.pg_get_expr(duplicate.indpred, duplicate.indrelid)
    -- each pair once: the one to keep is unique, or at least the older
    and (other.indisunique, -other.indexrelid::bigint) > (duplicate.indisunique, -duplicate.indexrelid::bigint)
order by 1;

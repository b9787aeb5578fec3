-- Rows are findings: foreign keys whose columns no index leads with.
-- What may happen: deleting a row of the other table reads this whole one.
-- Repair: an index that begins with the columns of the key.
select k.conname as foreign_key, k.conrelid::regclass as table
from pg_catalog.pg_constraint k
where k.contype = 'f' and k.connamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    and not exists (
        select from pg_catalog.pg_index i
        where i.indrelid = k.conrelid and i.indisvalid
            -- rows without a key refer to nothing
            and (i.indpred is null or pg_catalog.pg_get_expr(i.indpred, i.indrelid) = (
                select pg_catalog.format('(%I IS NOT NULL)', a.attname) from pg_catalog.pg_attribute a
                where a.attrelid = k.conrelid and a.attnum = any (k.conkey) and cardinality(k.conkey) = 1))
            -- the key's columns, in any order, are the index's first ones
            and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
order by 1;

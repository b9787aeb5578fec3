-- Rows are findings: functions that every role of the server may execute.
-- What may happen: whoever can connect calls them; a new function is open to all until somebody revokes it.
-- Repair: revoke execute on function … from public, then grant it by name.
select p.oid::regprocedure as function
from pg_catalog.pg_proc p
where p.pronamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)
    and exists (
        select from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
        where a.grantee = 0 and a.privilege_type = 'EXECUTE')
order by 1;

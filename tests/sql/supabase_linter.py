"""What Supabase's database linter (github.com/supabase/splinter) looks for, as queries of our own.

Each finds what that lint would report of the schemas public and asyouwere, as names; lints on extensions, storage, queues
and on the state of a running server have nothing to say of a schema and are left out (see LEFT_OUT).
"""

from __future__ import annotations

from dataclasses import dataclass

OURS = "('public'::regnamespace, 'asyouwere'::regnamespace)"


@dataclass(frozen=True)
class Lint:
    """level: the linter's own. finds: names. offence: what would be found, so that no query is blind."""

    level: str
    finds: str
    offence: str


def readable_by(role: str) -> str:
    """pg_graphql shows what a role may select, be it one column."""
    return f"""
        select distinct c.oid::regclass::text from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid
        where c.relnamespace in {OURS} and c.relkind in ('r', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped
            and pg_catalog.has_column_privilege('{role}', c.oid, a.attnum, 'select')
    """


def definers_executable_by(role: str) -> str:
    return f"""
        select p.proname from pg_catalog.pg_proc p
        where p.pronamespace in {OURS} and p.prosecdef and pg_catalog.has_function_privilege('{role}', p.oid, 'execute')
    """


def policies(condition: str) -> str:
    """Policies of ours on tables; the expressions as they are printed where auth is not in the search_path."""
    return f"""
        select c.relname || ': ' || p.polname
        from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
        cross join lateral (select coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '') as using,
            coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '') as checks) e
        where c.relnamespace in {OURS} and ({condition})
    """


EXECUTE = " returns int language sql security definer set search_path = pg_catalog, pg_temp as 'select 1'; grant execute on function "

LINTS: dict[str, Lint] = {
    "0001_unindexed_foreign_keys": Lint(
        # some versions of it want an index of just those columns
        "INFO",
        f"""
        select k.conname from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid
        where k.contype = 'f' and c.relnamespace in {OURS} and not exists (
            select from pg_catalog.pg_index i where i.indrelid = k.conrelid and i.indisvalid
                and pg_catalog.string_to_array(i.indkey::text, ' ')::int[] = k.conkey::int[])
        """,
        "create table public.bad (a uuid constraint bad references public.free_agent_sessions (id))",
    ),
    "0002_auth_users_exposed": Lint(
        "ERROR",
        f"""
        select v.relname from pg_catalog.pg_depend d join pg_catalog.pg_rewrite r on r.oid = d.objid
        join pg_catalog.pg_class v on v.oid = r.ev_class
        where d.refobjid = 'auth.users'::regclass and v.relnamespace in {OURS}
            and (pg_catalog.has_table_privilege('anon', v.oid, 'select')
                or pg_catalog.has_table_privilege('authenticated', v.oid, 'select'))
        """,
        "create view public.bad as select id from auth.users; grant select on public.bad to anon",
    ),
    "0003_auth_rls_initplan": Lint(
        "WARN",
        policies(
            "e.using ~ 'auth\\.(uid|jwt|role|email)\\(\\)' and e.using !~* 'select auth\\.(uid|jwt|role|email)\\(\\)'"
            " or e.checks ~ 'auth\\.(uid|jwt|role|email)\\(\\)' and e.checks !~* 'select auth\\.(uid|jwt|role|email)\\(\\)'"
        ),
        "create policy bad on asyouwere.settings for select to anon using (auth.uid() is not null)",
    ),
    "0004_no_primary_key": Lint(
        "INFO",
        f"""
        select c.relname from pg_catalog.pg_class c where c.relkind = 'r' and c.relnamespace in {OURS}
            and not exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary)
        """,
        "create table asyouwere.bad (a int)",
    ),
    "0006_multiple_permissive_policies": Lint(
        "WARN",
        f"""
        select c.relname || ' ' || r.role || ' ' || cmd.name
        from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
        cross join unnest(array['anon', 'authenticated', 'authenticator']) r (role)
        cross join (values ('r', 'select'), ('a', 'insert'), ('w', 'update'), ('d', 'delete')) cmd (letter, name)
        where c.relnamespace in {OURS} and p.polpermissive and (p.polcmd = '*' or p.polcmd::text = cmd.letter)
            and (0 = any (p.polroles) or r.role::regrole = any (p.polroles))
        group by c.relname, r.role, cmd.name having count(*) > 1
        """,
        "create policy bad on public.session_members for all to authenticated using (false)",
    ),
    "0007_policy_exists_rls_disabled": Lint(
        "ERROR",
        policies("not c.relrowsecurity"),
        "alter table public.session_members disable row level security",
    ),
    "0008_rls_enabled_no_policy": Lint(
        "INFO",
        f"""
        select c.relname from pg_catalog.pg_class c where c.relkind = 'r' and c.relnamespace in {OURS} and c.relrowsecurity
            and not exists (select from pg_catalog.pg_policy p where p.polrelid = c.oid)
        """,
        "create table asyouwere.bad (a int); alter table asyouwere.bad enable row level security",
    ),
    "0009_duplicate_index": Lint(
        "WARN",
        f"""
        select pg_catalog.min(c.relname) from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
        where c.relnamespace in {OURS}
        group by pg_catalog.replace(pg_catalog.pg_get_indexdef(i.indexrelid), c.relname, '') having count(*) > 1
        """,
        "create index bad on public.session_snapshots (created_by) where created_by is not null",
    ),
    "0010_security_definer_view": Lint(
        "ERROR",
        f"""
        select c.relname from pg_catalog.pg_class c where c.relkind = 'v' and c.relnamespace in {OURS}
            and not coalesce(c.reloptions, '{{}}') && array['security_invoker=true', 'security_invoker=on']
            and (pg_catalog.has_table_privilege('anon', c.oid, 'select')
                or pg_catalog.has_table_privilege('authenticated', c.oid, 'select'))
        """,
        "create view public.bad as select 1 as one; grant select on public.bad to anon",
    ),
    "0011_function_search_path_mutable": Lint(
        "WARN",
        f"""
        select p.proname from pg_catalog.pg_proc p where p.pronamespace in {OURS}
            and not exists (select from unnest(p.proconfig) s where s like 'search\\_path=%')
        """,
        "create function asyouwere.bad() returns int language sql return 1",
    ),
    "0013_rls_disabled_in_public": Lint(
        "ERROR",
        f"select c.relname from pg_catalog.pg_class c where c.relkind = 'r' and c.relnamespace in {OURS} and not c.relrowsecurity",
        "create table public.bad (a int)",
    ),
    "0014_extension_in_public": Lint(
        "WARN",
        "select extname from pg_catalog.pg_extension where extnamespace = 'public'::regnamespace",
        "update pg_catalog.pg_extension set extnamespace = 'public'::regnamespace",
    ),
    "0015_rls_references_user_metadata": Lint(
        "ERROR",
        policies("e.using || e.checks like '%user_metadata%'"),
        "create policy bad on asyouwere.settings for select to anon using ((select auth.jwt() -> 'user_metadata') is null)",
    ),
    "0016_materialized_view_in_api": Lint(
        "WARN",
        f"select c.relname from pg_catalog.pg_class c where c.relkind in ('m', 'f') and c.relnamespace in {OURS}",
        "create materialized view public.bad as select 1 as one",
    ),
    "0018_unsupported_reg_types": Lint(
        "WARN",
        f"""
        select c.relname || '.' || a.attname from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
        where c.relnamespace in {OURS} and c.relkind = 'r' and a.attnum > 0
            and a.atttypid::regtype::text ~ '^reg(collation|config|dictionary|namespace|oper|operator|proc|procedure)$'
        """,
        "create table public.bad (a regproc)",
    ),
    "0021_fkey_to_auth_unique": Lint(
        "ERROR",
        f"""
        select k.conname from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid
        where k.contype = 'f' and c.relnamespace in {OURS} and k.confrelid::regclass::text like 'auth.%'
        """,
        "create table public.bad (a uuid constraint bad references auth.users (id))",
    ),
    "0024_rls_policy_always_true": Lint(
        "WARN",
        policies("p.polpermissive and (p.polcmd <> 'r' and e.using in ('true', '(1 = 1)') or e.checks in ('true', '(1 = 1)'))"),
        "create policy bad on asyouwere.settings for update to anon using (true)",
    ),
    "0026_pg_graphql_anon_table_exposed": Lint(
        "WARN", readable_by("anon"), "create table public.bad (a int); grant select (a) on public.bad to anon"
    ),
    "0027_pg_graphql_authenticated_table_exposed": Lint(
        "WARN", readable_by("authenticated"), "create table public.bad (a int); grant select on public.bad to authenticated"
    ),
    "0028_anon_security_definer_function_executable": Lint(
        "WARN", definers_executable_by("anon"), f"create function public.bad(){EXECUTE} public.bad to anon"
    ),
    "0029_authenticated_security_definer_function_executable": Lint(
        "WARN", definers_executable_by("authenticated"), f"create function public.bad(){EXECUTE} public.bad to authenticated"
    ),
    "0030_rls_policy_null_auth_disjunct": Lint(
        "WARN",
        policies("p.polpermissive and e.using ~* 'auth\\.(uid|jwt|role)\\(\\)[^)]*\\)? is null'"),
        "create policy bad on asyouwere.settings for select to anon using (auth.uid() is null or only_row)",
    ),
    "0030_autovacuum_disabled": Lint(
        "INFO",
        f"""
        select c.relname from pg_catalog.pg_class c where c.relnamespace in {OURS} and 'autovacuum_enabled=false' = any (c.reloptions)
        """,
        "alter table public.session_members set (autovacuum_enabled = false)",
    ),
    "0030_invalid_index": Lint(
        "WARN",
        f"""
        select c.relname from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
        where c.relnamespace in {OURS} and not i.indisvalid
        """,
        "update pg_catalog.pg_index set indisvalid = false where indexrelid = 'public.session_members_pkey'::regclass",
    ),
}

LEFT_OUT = {
    "0005_unused_index": "what has been used so far",
    "0012_auth_allow_anonymous_sign_ins": "the project's settings; policies of asyouwere treat them as users, which they are",
    "0017_foreign_table_in_api": "with 0016",
    "0019_insecure_queue_exposed_in_api": "pgmq",
    "0020_table_bloat": "what has been written and vacuumed so far",
    "0022_extension_versions_outdated": "extensions",
    "0023_sensitive_columns_exposed": "tables without row level security: 0013",
    "0025_public_bucket_allows_listing": "storage",
    "0031_unused_replication_slot": "the server",
}

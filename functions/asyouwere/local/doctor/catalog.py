"""The database's objects against `sql/catalog.json`: functions, rights, row level security and more.

`make generate` writes that file from the migrations. It says the same on every Postgres from 15 to 18.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg

from asyouwere.local.doctor.finding import Finding, some
from asyouwere.local.migrations import sql_folder

Catalog = dict[str, dict[str, Any]]

OURS = "('public'::regnamespace, 'asyouwere'::regnamespace)"
# Of whom rights are compared. What other roles of the database may do is its owner's business.
ROLES = "array['public', 'anon', 'authenticated', 'service_role', 'authenticator']"

QUERIES = {
    # is_json() is written for the version of Postgres
    "functions": f"""
        select p.oid::regprocedure::text as name, p.prosecdef as definer, p.provolatile::text as volatility,
            case when p.proname <> 'is_json' then coalesce(p.proconfig, '{{}}') end as settings,
            case when p.proname <> 'is_json' then pg_catalog.md5(p.prosrc) end as body,
            array(
                select distinct coalesce(r.rolname, 'public')
                from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
                left join pg_catalog.pg_roles r on r.oid = a.grantee
                where a.grantee <> p.proowner and coalesce(r.rolname, 'public') = any ({ROLES}) order by 1
            ) as rights
        from pg_catalog.pg_proc p where p.pronamespace in {OURS} order by 1
    """,
    "relations": f"""
        select c.oid::regclass::text as name, c.relkind::text as kind, c.relrowsecurity as rls,
            c.relforcerowsecurity as forced, array(
                select distinct pg_catalog.concat_ws(' ', coalesce(r.rolname, 'public'), a.privilege_type)
                from pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault(
                    case c.relkind when 'S' then 's'::"char" else 'r'::"char" end, c.relowner))) a
                left join pg_catalog.pg_roles r on r.oid = a.grantee
                where a.grantee <> c.relowner and coalesce(r.rolname, 'public') = any ({ROLES})
                union
                select pg_catalog.concat_ws(' ', coalesce(r.rolname, 'public'), a.privilege_type, t.attname)
                from pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a
                left join pg_catalog.pg_roles r on r.oid = a.grantee
                where t.attrelid = c.oid and a.grantee <> c.relowner
                    and coalesce(r.rolname, 'public') = any ({ROLES})
                order by 1
            ) as rights
        from pg_catalog.pg_class c
        where c.relnamespace in {OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') order by 1
    """,
    "policies": f"""
        select c.oid::regclass::text || ': ' || p.polname as name, p.polcmd::text as command,
            p.polpermissive as permissive, array(
                select coalesce(r.rolname, 'public') from unnest(p.polroles) o
                left join pg_catalog.pg_roles r on r.oid = o order by 1) as roles,
            pg_catalog.pg_get_expr(p.polqual, p.polrelid) as using,
            pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) as check
        from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
        where c.relnamespace in {OURS} order by 1
    """,
    "triggers": f"""
        select c.oid::regclass::text || ': ' || t.tgname as name, t.tgenabled::text as enabled,
            t.tgfoid::regproc::text as function
        from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
        where c.relnamespace in {OURS} and not t.tgisinternal and t.tgname <> 'announce_snapshots' order by 1
    """,
    "indexes": f"""
        select i.indexrelid::regclass::text as name, i.indisvalid as valid, i.indisunique as unique
        from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid
        where c.relnamespace in {OURS} order by 1
    """,
}
# What of each kind is compared under which name, and what it is to the reader.
ASPECTS = {
    "functions": {"": "functions", "definer": "functions", "volatility": "functions", "settings": "functions",
        "body": "functions", "rights": "grants"},
    "relations": {"": "relations", "kind": "relations", "rls": "rls", "forced": "rls", "rights": "grants"},
    "policies": {"": "policies", "command": "policies", "permissive": "policies", "roles": "policies",
        "using": "policies", "check": "policies"},
    "triggers": {"": "triggers", "enabled": "triggers", "function": "triggers"},
    "indexes": {"": "indexes", "valid": "indexes", "unique": "indexes"},
}  # fmt: skip
ADVICE = {
    "functions": "somebody changed them by hand: restore them from sql/schema",
    "relations": "they are not as the migrations made them: compare with sql/schema",
    "grants": "grant and revoke as sql/schema says; a grant too many may let clients forge or read",
    "rls": "alter table … enable (no force) row level security, at once: clients see everything without it",
    "policies": "drop and create them as sql/schema says",
    "triggers": "create or enable them as sql/schema says",
    "indexes": "create them as sql/schema says (an invalid one: reindex index concurrently)",
}
OK = {
    "functions": "as the migrations made them: bodies, definers, search_path",
    "relations": "tables, views and sequences are all there",
    "grants": "as the migrations gave them",
    "rls": "on, on every table",
    "policies": "as the migrations made them",
    "triggers": "all there and enabled",
    "indexes": "all there and valid",
}


def read_catalog(connection: psycopg.Connection[Any]) -> Catalog:
    """What the database has: kind -> name -> facts."""
    found: Catalog = {}
    # names are printed with their schema only where the search_path doesn't have it
    connection.execute("set local search_path = pg_catalog, pg_temp")
    for kind, query in QUERIES.items():
        cursor = connection.execute(query.encode())
        columns = [column.name for column in cursor.description or ()]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        found[kind] = {row.pop("name"): row for row in rows}
    return found


def catalog_text(dsn: str) -> str:
    """The text of sql/catalog.json for a migrated database: a line for each object."""
    with psycopg.connect(dsn) as connection:
        catalog = read_catalog(connection)
    kinds = []
    for kind, objects in catalog.items():
        lines = [f"    {json.dumps(name)}: {json.dumps(facts)}" for name, facts in objects.items()]
        kinds.append(f"  {json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


def check_catalog(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    if connection.execute("select to_regnamespace('asyouwere')").fetchall() == [(None,)]:
        for check in (*OK, "owners"):
            yield Finding(check, "skip", "not looked at: asyouwere is not in this database")
        return
    expected: Catalog = json.loads((sql_folder() / "catalog.json").read_text())
    found = read_catalog(connection)
    wrong: dict[str, list[str]] = {name: [] for name in OK}
    for kind, aspects in ASPECTS.items():
        for name, facts in expected[kind].items():
            if name not in found[kind]:
                wrong[aspects[""]].append(f"{name} is missing")
                continue
            for aspect, check in aspects.items():
                if aspect and facts[aspect] != found[kind][name][aspect]:
                    wrong[check].append(_difference(name, aspect, facts[aspect], found[kind][name][aspect]))
        # The schema public has other people's objects, too; asyouwere has only ours. A policy of any name on a
        # table of ours lets somebody do something, and a trigger runs in every save.
        for name in found[kind].keys() - expected[kind].keys():
            of_ours = kind in ("policies", "triggers") and name.split(":")[0] in expected["relations"]
            if name.startswith("asyouwere.") or of_ours:
                wrong[aspects[""]].append(f"{name} is none of asyouwere's")
    for check, problems in wrong.items():
        if problems:
            yield Finding(check, "fail", some(sorted(problems)), ADVICE[check])
        else:
            yield Finding(check, "ok", OK[check])
    yield from _owners(connection)


def _difference(name: str, aspect: str, wanted: Any, there: Any) -> str:
    if aspect == "rights":
        more, less = sorted(set(there) - set(wanted)), sorted(set(wanted) - set(there))
        return f"{name}: " + "; ".join(
            [*(f"{right} too much" for right in more), *(f"{right} is missing" for right in less)]
        )
    words = {"rls": "row level security is off", "forced": "row level security is forced on the owner"}
    return f"{name}: {words.get(aspect, aspect + ' differs')}"


def _owners(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Definers read and write as their owner, who must own the tables too."""
    query = """
        select pg_catalog.pg_get_userbyid(p.proowner) from pg_catalog.pg_proc p
        where p.pronamespace = 'asyouwere'::regnamespace
        union select pg_catalog.pg_get_userbyid(c.relowner) from pg_catalog.pg_class c
        where c.relnamespace = 'asyouwere'::regnamespace or c.oid in (
            'public.free_agent_sessions'::regclass, 'public.session_members'::regclass,
            'public.session_snapshots'::regclass)
    """
    owners = sorted(name for (name,) in connection.execute(query.encode()).fetchall())
    if len(owners) == 1:
        yield Finding("owners", "ok", f"all is owned by {owners[0]}")
    else:
        yield Finding(
            "owners",
            "fail",
            f"objects of asyouwere are owned by {some(owners)}",
            "give all to one role (alter … owner to): definers act as their owner, who must own the tables",
        )

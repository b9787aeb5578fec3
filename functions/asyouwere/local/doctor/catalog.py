"""The database's objects against `sql/catalog.json`: all that `sql/schema` says of them, and who may do what.

`make generate` writes that file from the migrations. It says the same on every Postgres from 15 to 18.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg

from asyouwere.local.doctor.finding import Finding, Level, some
from asyouwere.local.migrations import sql_folder

Catalog = dict[str, dict[str, Any]]

OURS = "('public'::regnamespace, 'asyouwere'::regnamespace)"
# Of whom rights are compared. What other roles of the database may do is its owner's business.
ROLES = "array['public', 'anon', 'authenticated', 'service_role', 'authenticator']"


def _comment(oid: str, catalog: str) -> str:
    return f"pg_catalog.md5(pg_catalog.obj_description({oid}, '{catalog}')) as comment"


QUERIES = {
    "schemas": f"""
        select n.nspname::text as name, {_comment("n.oid", "pg_namespace")}, array(
                select distinct pg_catalog.concat_ws(' ', coalesce(r.rolname, 'public'), a.privilege_type)
                from pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
                left join pg_catalog.pg_roles r on r.oid = a.grantee
                where a.grantee <> n.nspowner and coalesce(r.rolname, 'public') = any ({ROLES}) order by 1
            ) as rights
        from pg_catalog.pg_namespace n where n.nspname = 'asyouwere'
    """,
    # is_json() is written for the version of Postgres. A body is kept as text or, of `return` and `begin atomic`, as
    # a tree, which is printed alike by all of them.
    "functions": f"""
        select p.oid::regprocedure::text as name,
            pg_catalog.pg_get_function_arguments(p.oid) as arguments,
            pg_catalog.pg_get_function_result(p.oid) as result,
            p.prokind::text as kind, p.prosecdef as definer, p.provolatile::text as volatility,
            p.proparallel::text as parallel, p.proisstrict as strict, p.prorows::int as rows,
            case when p.proname <> 'is_json' then l.lanname::text end as language,
            case when p.proname <> 'is_json' then coalesce(p.proconfig, '{{}}') end as settings,
            case when p.proname <> 'is_json' then
                pg_catalog.md5(coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc)) end as body,
            {_comment("p.oid", "pg_proc")},
            array(
                select distinct coalesce(r.rolname, 'public')
                from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
                left join pg_catalog.pg_roles r on r.oid = a.grantee
                where a.grantee <> p.proowner and coalesce(r.rolname, 'public') = any ({ROLES}) order by 1
            ) as rights
        from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
        where p.pronamespace in {OURS} order by 1
    """,
    # Postgres 15 writes the table before each column of a view, later ones only where there are several tables.
    "relations": f"""
        select c.oid::regclass::text as name, c.relkind::text as kind, c.relpersistence::text as persistence,
            c.relrowsecurity as rls, c.relforcerowsecurity as forced,
            (select coalesce(pg_catalog.array_agg(o order by o), '{{}}')
                from pg_catalog.unnest(c.reloptions) o) as options,
            case c.relkind when 'v' then pg_catalog.md5(pg_catalog.regexp_replace(
                pg_catalog.pg_get_viewdef(c.oid), '\\m(?!(?:asyouwere|public|auth)\\.)[a-z_]+\\.', '', 'g'))
                end as definition,
            {_comment("c.oid", "pg_class")}, array(
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
        where c.relnamespace in {OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') order by 1
    """,
    "columns": f"""
        select c.oid::regclass::text || '.' || a.attname as name, a.attnum - (
                select pg_catalog.count(*) from pg_catalog.pg_attribute d
                where d.attrelid = c.oid and d.attisdropped and d.attnum < a.attnum)::int as position,
            pg_catalog.format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as not_null,
            pg_catalog.pg_get_expr(d.adbin, d.adrelid) as default, a.attidentity::text as identity,
            a.attgenerated::text as generated,
            case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end as collation,
            pg_catalog.md5(pg_catalog.col_description(c.oid, a.attnum)) as comment
        from pg_catalog.pg_attribute a
        join pg_catalog.pg_class c on c.oid = a.attrelid
        join pg_catalog.pg_type t on t.oid = a.atttypid
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where c.relnamespace in {OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
            and a.attnum > 0 and not a.attisdropped
        order by c.oid::regclass::text, a.attnum
    """,
    # What is not null is told by the columns; from Postgres 18 on it is a constraint as well.
    "constraints": f"""
        select k.conrelid::regclass::text || ': ' || k.conname as name,
            pg_catalog.pg_get_constraintdef(k.oid) as definition, k.convalidated as valid
        from pg_catalog.pg_constraint k
        where k.connamespace in {OURS} and k.conrelid <> 0 and k.contype not in ('n', 't') order by 1
    """,
    # Composite types are relations; of others asyouwere has none, nor should somebody else put one there.
    "types": f"""
        select t.oid::regtype::text as name, t.typtype::text as kind, {_comment("t.oid", "pg_type")},
            array(
                select distinct coalesce(r.rolname, 'public')
                from pg_catalog.aclexplode(coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))) a
                left join pg_catalog.pg_roles r on r.oid = a.grantee
                where a.grantee <> t.typowner and coalesce(r.rolname, 'public') = any ({ROLES}) order by 1
            ) as rights
        from pg_catalog.pg_type t left join pg_catalog.pg_class c on c.oid = t.typrelid
        where t.typnamespace in {OURS} and (t.typtype in ('d', 'e', 'r') or c.relkind = 'c') order by 1
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
            pg_catalog.pg_get_triggerdef(t.oid) as definition
        from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
        where c.relnamespace in {OURS} and not t.tgisinternal and t.tgname !~ '^announce_' order by 1
    """,
    "indexes": f"""
        select i.indexrelid::regclass::text as name, pg_catalog.pg_get_indexdef(i.indexrelid) as definition,
            i.indisvalid as valid
        from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid
        where c.relnamespace in {OURS} order by 1
    """,
}
# What of each kind is compared under which name, and what it is to the reader.
ASPECTS = {
    "schemas": {"": "relations", "comment": "comments", "rights": "grants"},
    "functions": {
        **dict.fromkeys(
            ("", "arguments", "result", "kind", "definer", "volatility", "parallel", "strict", "rows", "language",
                "settings", "body"), "functions"),
        "comment": "comments", "rights": "grants"},
    "relations": {
        **dict.fromkeys(("", "kind", "persistence", "options", "definition"), "relations"),
        "comment": "comments", "rls": "rls", "forced": "rls", "rights": "grants"},
    "columns": {
        **dict.fromkeys(
            ("", "position", "type", "not_null", "default", "identity", "generated", "collation"), "columns"),
        "comment": "comments"},
    "constraints": dict.fromkeys(("", "definition", "valid"), "constraints"),
    "types": {"": "relations", "kind": "relations", "comment": "comments", "rights": "grants"},
    "policies": dict.fromkeys(("", "command", "permissive", "roles", "using", "check"), "policies"),
    "triggers": dict.fromkeys(("", "enabled", "definition"), "triggers"),
    "indexes": dict.fromkeys(("", "definition", "valid"), "indexes"),
}  # fmt: skip
DIGEST = re.compile(r"[0-9a-f]{32}")
ADVICE = {
    "functions": "somebody changed them by hand: restore them from sql/schema",
    "relations": "they are not as the migrations made them: compare with sql/schema",
    "columns": "alter the table as sql/schema says; a default or a type that is another changes what is stored",
    "constraints": "add or drop them as sql/schema says (one that is not valid: alter table … validate constraint)",
    "grants": "grant and revoke as sql/schema says; a grant too many may let clients forge or read",
    "rls": "alter table … enable (no force) row level security, at once: clients see everything without it",
    "policies": "drop and create them as sql/schema says",
    "triggers": "create or enable them as sql/schema says",
    "indexes": "create them as sql/schema says (an invalid one: reindex index concurrently)",
    "comments": "they explain and change nothing: comment on … as sql/schema says",
}
OK = {
    "functions": "as the migrations made them: bodies, definers, search_path",
    "relations": "tables, views, types and sequences are as the migrations made them",
    "columns": "types, defaults and not null as the migrations made them",
    "constraints": "all there and valid",
    "grants": "as the migrations gave them",
    "rls": "on, on every table",
    "policies": "as the migrations made them",
    "triggers": "all there and enabled",
    "indexes": "all there and valid",
    "comments": "as the migrations made them",
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
            if _relation_of(kind, name) in expected["relations"].keys() - found["relations"].keys():
                continue  # said of the relation
            if name not in found[kind]:
                wrong[aspects[""]].append(f"{name} is missing")
                continue
            for aspect, check in aspects.items():
                if aspect and facts[aspect] != found[kind][name][aspect]:
                    wrong[check].append(_difference(name, aspect, facts[aspect], found[kind][name][aspect]))
        # The schema public has other people's objects, too; asyouwere has only ours. A policy of any name on a
        # table of ours lets somebody do something, and a trigger runs in every save.
        for name in found[kind].keys() - expected[kind].keys():
            of_ours = _relation_of(kind, name) in expected["relations"]
            if name.startswith("asyouwere.") or of_ours:
                wrong[aspects[""]].append(f"{name} is none of asyouwere's")
    for check, problems in wrong.items():
        if problems:
            level: Level = "warn" if check == "comments" else "fail"
            yield Finding(check, level, some(sorted(problems)), ADVICE[check])
        else:
            yield Finding(check, "ok", OK[check])
    yield from _owners(connection)


def _relation_of(kind: str, name: str) -> str | None:
    """The relation that a column, constraint, policy or trigger is of."""
    if kind == "columns":
        return name.rpartition(".")[0]
    return name.split(":")[0] if kind in ("constraints", "policies", "triggers") else None


def _difference(name: str, aspect: str, wanted: Any, there: Any) -> str:
    if aspect == "rights":
        more, less = sorted(set(there) - set(wanted)), sorted(set(wanted) - set(there))
        return f"{name}: " + "; ".join(
            [*(f"{right} too much" for right in more), *(f"{right} is missing" for right in less)]
        )
    words = {"rls": "row level security is off", "forced": "row level security is forced on the owner"}
    if aspect in words:
        return f"{name}: {words[aspect]}"
    told = f"{name}: {aspect.replace('_', ' ')} differs"
    said = [_said(there), _said(wanted)]
    # a digest tells nobody anything, and a long definition would bury the name
    if any(len(value) > 60 or DIGEST.fullmatch(value) for value in said):
        return told
    return f"{told}: {said[0]}, not {said[1]}"


def _said(value: Any) -> str:
    """A fact as people read it."""
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value in (None, "") else str(value).lower() if isinstance(value, bool) else str(value)


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

"""sql/README.md says what is: its examples are run, its signatures and lists compared with the catalog."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asyouwere.errors import CODES
from asyouwere.local.error_codes import codes_raised_in_sql
from asyouwere.local.statements import split_statements
from tests.sql.access_matrix import FUNCTIONS
from tests.support.database import Db

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "sql" / "README.md").read_text()
SIGNATURES = """
    select p.proname as name, pg_catalog.pg_get_function_arguments(p.oid) as arguments,
        pg_catalog.pg_get_function_result(p.oid) as result
    from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace
        -- embeds, which PostgREST calls: test_embeds.py
        and not exists (select from pg_catalog.pg_type t where t.oid = any (p.proargtypes) and t.typrelid <> 0)
"""


def sections() -> dict[str, str]:
    """The text of each function's section."""
    text = README.split("## Functions\n", 1)[1].split("\n## ", 1)[0]
    return {section.split("\n", 1)[0]: section.split("\n", 1)[1] for section in text.split("\n### ")[1:]}


def short(text: str) -> str:
    """Types and defaults as people write them."""
    text = re.sub(r"'([^']*)'::integer", r"\1", text)
    text = re.sub(r" DEFAULT (NULL|'[^']*'|[^,:]+)(::[a-z ]+(?:\[\])?)?", lambda found: f" = {found[1]}", text)
    text = text.replace("= NULL", "= null").replace("integer", "int").replace("timestamp with time zone", "timestamptz")
    table = re.fullmatch(r"TABLE\((.*)\)", text)
    return table[1] if table else text.replace("SETOF", "setof")


def test_readme__is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) < 1020


def test_readme__each_function_has_its_section(shared: Db) -> None:
    rows = shared.superuser.execute(SIGNATURES).fetchall()
    documented = {name: text.split("\n", 1)[0].split("`")[1] for name, text in sections().items()}
    assert documented == {
        row["name"]: f"{row['name']}({short(row['arguments'])}) → {short(row['result'])}" for row in rows
    }


def test_readme__each_section_has_an_example() -> None:
    for name, text in sections().items():
        (example,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
        assert f"{name}(" in example
        assert len(text.split("```sql")[0].split("\n", 1)[1].strip()) > 40, f"{name} is not explained"


def examples() -> list[tuple[str, list[str]]]:
    """All statements of the examples in order, each with the rows that follow it as comments."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```sql\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("-- "):
                found[-1][1].append(line.removeprefix("-- "))
            elif not line.startswith("\\set "):
                found.append((line, []))
    return found


def as_psql_shows(cursor: psycopg.Cursor[Any]) -> list[str]:
    """The rows with the very text that Postgres sends."""
    result = cursor.pgresult
    assert result is not None
    return [
        " | ".join(
            "null" if (value := result.get_value(row, column)) is None else value.decode()
            for column in range(result.nfields)
        )
        for row in range(result.ntuples)
    ]


def test_readme__examples_give_what_they_say(db: Db) -> None:
    (session,) = re.findall(r"^\\set s (\S+)$", README, re.MULTILINE)
    connection = db.connect(db.api_dsn)
    called = 0
    for text, expected in examples():
        (statement,) = split_statements(text.replace(":'s'", f"'{session}'"))
        cursor = connection.execute(statement.encode())
        if cursor.description and expected != [""]:
            shown = as_psql_shows(cursor)
            assert shown == (expected or [""]), text
            called += 1
    assert called >= len(sections())


def test_readme__files_are_all_there() -> None:
    named = re.findall(r"^\| `(\d{2}_\w+\.sql)` \|", README, re.MULTILINE)
    assert named == sorted(path.name for path in (ROOT / "sql" / "schema").glob("*.sql"))


def test_readme__settings_are_all_there(shared: Db) -> None:
    named = re.findall(r"^\| `(\w+)` \| [^|]*\d[^|]* \| [^|]* \|$", README, re.MULTILINE)
    (row,) = shared.superuser.execute("select * from asyouwere.settings").fetchall()
    assert named == [name for name in row if name != "only_row"]


def test_codes__sql_has_those_of_the_list(shared: Db) -> None:
    rows = shared.superuser.execute("select * from asyouwere.error_codes()").fetchall()
    assert [(row["code"], row["status"], row["sentence"]) for row in rows] == [
        (code, entry.status, entry.sentence) for code, entry in CODES.items()
    ]


def test_codes__the_table_names_what_sql_raises() -> None:
    documented = re.findall(r"^\| `(\w+)` \| [45]\d\d \|", README, re.MULTILINE)
    assert set(documented) == codes_raised_in_sql()
    assert documented == [code for code in CODES if code in documented]


def test_codes__no_other_way_of_raising() -> None:
    for path in (ROOT / "sql" / "schema").glob("*.sql"):
        # a warning refuses nothing
        statements = re.sub(r"--.*|\braise warning\b", "", path.read_text())
        raising = 2 if path.name == "01_base.sql" else 0  # fail() itself: what it is for, and a code it doesn't know
        assert len(re.findall(r"\braise\b", statements)) == raising, path.name
        # Each call names its code as a literal, so that the list above is complete.
        calls = statements.count("asyouwere.fail(") - statements.count("create function asyouwere.fail(")
        assert calls == len(re.findall(r"perform asyouwere\.fail\(\s*'\w+'[,)]", statements)), path.name


def test_codes__comments_name_known_ones(shared: Db) -> None:
    rows = shared.superuser.execute(
        "select p.oid::regprocedure::text as name, pg_catalog.obj_description(p.oid, 'pg_proc') as comment "
        "from pg_catalog.pg_proc p where p.pronamespace in ('public'::regnamespace, 'asyouwere'::regnamespace)"
    ).fetchall()
    for row in rows:
        for sentence in re.findall(r"Raises ([^.;]*)", row["comment"]):
            for code in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", sentence):
                assert code in CODES, f"{row['name']}: {code}"


def test_grants__are_as_documented(shared: Db) -> None:
    """The table of grants, against who may execute what."""
    grants = shared.superuser.execute(
        "select p.proname as name, array(select r from unnest(array['anon', 'authenticated', 'service_role']) r "
        "where pg_catalog.has_function_privilege(r, p.oid, 'execute')) as roles "
        "from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace "
        "and not exists (select from pg_catalog.pg_type t where t.oid = any (p.proargtypes) and t.typrelid <> 0)"
    ).fetchall()
    actual = {row["name"]: row["roles"] for row in grants}
    assert {f"public.{name}" for name in actual} == {name for name in FUNCTIONS if name.startswith("public.")}
    table = README.split("| object | may be called")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    documented: dict[str, list[str]] = {}
    for names, readers, _ in rows[:4]:
        for name in names.removeprefix("functions that read: ").removeprefix("but not: ").split(", "):
            matching = [each for each in actual if each.startswith("get_") and each != "get_or_create_session"]
            for each in matching if name == "get_…" else [name]:
                documented[each] = readers.split(", ")
    assert rows[4][0] == "all other functions"
    assert actual == {name: documented.get(name, rows[4][1].split(", ")) for name in actual}


MIGRATIONS = sorted((ROOT / "sql" / "migrations").iterdir())


def test_migrations__are_named_and_numbered() -> None:
    assert [path.name[:4] for path in MIGRATIONS] == [f"{n:04}" for n in range(1, len(MIGRATIONS) + 1)]
    for path in MIGRATIONS:
        assert re.fullmatch(r"\d{4}_(create|add|change|drop|fix|move)(_[a-z]+)+\.sql", path.name), path.name


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.name)
def test_migrations__say_whether_they_break_running_code(path: Path) -> None:
    head = path.read_text().split("\n\n", 1)[0]
    assert all(line.startswith("--") for line in head.splitlines())
    assert re.search(r"^-- Breaks running code: (no|yes, .+)\.$", head, re.MULTILINE)

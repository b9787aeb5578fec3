"""Supabase's linter: what it would find here is listed in sql/README.md with its reason, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sql.supabase_linter import LEFT_OUT, LINTS
from tests.support.database import Db

README = (Path(__file__).resolve().parents[2] / "sql" / "README.md").read_text()
SECTION = README.split("## Supabase's linter\n")[1].split("\n## ")[0]


def found(db: Db, lint: str) -> set[str]:
    with db.superuser.transaction():
        db.superuser.execute("set local search_path = pg_catalog, pg_temp")
        rows = db.superuser.execute(LINTS[lint].finds.encode()).fetchall()
    return {str(value).removeprefix("asyouwere.").removeprefix("public.") for row in rows for value in row.values()}


def explained() -> dict[str, set[str]]:
    """The README's table: the number of a lint -> names."""
    rows = re.findall(r"^\| (\d{4}) [^|]*\| ([^|]*) \| [^|]{20,} \|$", SECTION, re.MULTILINE)
    return {number: set(re.findall(r"`(\w+)`", names)) for number, names in rows}


def test_findings__are_those_explained_in_the_readme(shared: Db) -> None:
    findings = {lint[:4]: names for lint in LINTS if (names := found(shared, lint))}
    listed = explained()
    if shared.cluster.major == 15:  # where this one is written in another way
        listed["0011"].remove("is_json")
    assert findings == listed


def test_findings__none_is_an_error(shared: Db) -> None:
    assert [lint for lint, facts in LINTS.items() if facts.level == "ERROR" and found(shared, lint)] == []


@pytest.mark.parametrize("lint", LINTS)
def test_lint__would_find_an_offender(db: Db, lint: str) -> None:
    before = found(db, lint)
    if "update pg_catalog" in LINTS[lint].offence:
        db.superuser.execute("set allow_system_table_mods = on")
    db.superuser.execute(LINTS[lint].offence.encode())
    assert found(db, lint) - before


def test_lints__are_all_there() -> None:
    numbers = {name[:4] for name in LINTS} | {name[:4] for name in LEFT_OUT}
    assert numbers == {f"{number:04}" for number in range(1, 32)}

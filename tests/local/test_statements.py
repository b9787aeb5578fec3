"""Cutting SQL files into statements."""

from __future__ import annotations

import psycopg
import pytest

from asyouwere.local.doctor.catalog import catalog_text
from asyouwere.local.migrations import read_migrations, run_file, sql_folder
from asyouwere.local.statements import split_statements
from tests.support.cluster import Cluster


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        ("  -- only a comment;\n /* and ; another */ ", []),
        ("select 1", ["select 1"]),
        ("select 1;select 2;", ["select 1", "select 2"]),
        ("-- why; why not\nselect 1;\n", ["-- why; why not\nselect 1"]),
        ("select ';', 'it''s;'; select 2", ["select ';', 'it''s;'", "select 2"]),
        (r"select E'\';'; select 2", [r"select E'\';'", "select 2"]),
        (r"select '\'; select 2", [r"select '\'", "select 2"]),
        ('select 1 as "a;b"";"; select 2', ['select 1 as "a;b"";"', "select 2"]),
        ("do $$ begin; end $$; select 2", ["do $$ begin; end $$", "select 2"]),
        ("do $a$ x; $$ ; $b$ $a$; select 2", ["do $a$ x; $$ ; $b$ $a$", "select 2"]),
        ("select a$1$, b; select $1;", ["select a$1$, b", "select $1"]),
        ("/* a /* b; */ c; */ select 1; select 2", ["/* a /* b; */ c; */ select 1", "select 2"]),
        (
            "create rule r as on insert to t do (select 1; select 2); select 3",
            ["create rule r as on insert to t do (select 1; select 2)", "select 3"],
        ),
        (
            "create procedure f() begin atomic select case when a then 1 end; select 2; end;select 3",
            [
                "create procedure f() begin atomic select case when a then 1 end; select 2; end",
                "select 3",
            ],
        ),
        ("begin; select 1; end;", ["begin", "select 1", "end"]),
        (";;select 1;;", ["select 1"]),
    ],
)
def test_split_statements(text: str, statements: list[str]) -> None:
    assert split_statements(text) == statements


def test_split_statements__one_by_one_they_make_the_same_database(
    cluster: Cluster, template: str, empty_database: str
) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        run_file(connection, sql_folder() / "bootstrap.sql")
        for file in read_migrations():
            with connection.transaction():
                for statement in split_statements(file.path.read_text()):
                    # Extended protocol: the server itself refuses more than one statement at a time.
                    connection.execute(statement.encode(), prepare=True)
    assert catalog_text(empty_database) == catalog_text(cluster.dsn_for(template))

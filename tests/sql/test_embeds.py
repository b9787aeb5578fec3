"""Embeds, asked for as PostgREST does: a lateral join on a function of the row. tests/postgrest asks over HTTP."""

from __future__ import annotations

import re

import pytest

from tests.sql import access_matrix as matrix
from tests.sql.access_matrix import CALLERS, VISIBILITIES, Scene
from tests.sql.acting import acting, outcome
from tests.support.database import Db

EMBEDS = [
    ("free_agent_sessions", "session_messages"),
    ("sessions_list", "session_messages"),
    ("sessions_list", "session_snapshots"),
    ("sessions_list", "session_members"),
    ("session_messages", "free_agent_sessions"),
]
FUNCTIONS_OF_A_ROW = """
    select t.typname as source, p.proname as target, p.prorows = 1 as one
    from pg_catalog.pg_proc p join pg_catalog.pg_type t on t.oid = p.proargtypes[0] and p.pronargs = 1
    where p.pronamespace = 'public'::regnamespace and t.typrelid <> 0
"""


def test_embeds__are_all_tried_here(shared: Db) -> None:
    rows = shared.superuser.execute(FUNCTIONS_OF_A_ROW).fetchall()
    assert sorted((row["source"], row["target"]) for row in rows) == sorted(EMBEDS)
    # one object instead of a list where a row leads to its session
    assert [row["source"] for row in rows if row["one"]] == ["session_messages"]


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize(("source", "target"), EMBEDS)
def test_embed__shows_everybody_what_the_table_would(
    scene: Scene, source: str, target: str, visibility: str
) -> None:
    """As many rows as the embedded table itself has for the caller, and none through rows the caller does not see."""
    session_id = scene.sessions[visibility]
    source_key = "session_id" if source == "session_messages" else "id"
    target_key = "id" if target == "free_agent_sessions" else "session_id"
    joined = (
        f"select count(distinct e.*) from public.{source} s cross join lateral public.{target}(s) e "
        f"where s.{source_key} = %(id)s"
    )
    sources = f"select count(*) from public.{source} where {source_key} = %(id)s"
    targets = f"select count(*) from public.{target} where {target_key} = %(id)s"
    for caller in CALLERS:
        counts = []
        for query in (joined, sources, targets):
            with acting(scene.db, caller) as connection:
                # json has no equality: count whole rows as text
                text = query.replace("distinct e.*", "distinct e::text")
                code, rows = outcome(lambda c=connection, q=text: c.execute(q.encode(), {"id": session_id}).fetchall())
                counts.append(rows[0]["count"] if code == "ok" else code)
        embedded, seen, there = counts
        if caller in (matrix.ANONYMOUS, matrix.CLAIMLESS):
            assert embedded == "denied"  # an embed by a function takes a whole row, and they may read no whole row
            continue
        assert embedded == (there if seen else 0 if there != "denied" else "denied"), caller


@pytest.mark.parametrize(("source", "target"), EMBEDS)
def test_embed__of_a_forged_row_shows_nothing_more(scene: Scene, source: str, target: str) -> None:
    """A row that a caller makes up is no key: what it leads to is read as the caller."""
    owner = scene.db.superuser
    session_id = scene.sessions["private"]
    key = "session_id" if source == "session_messages" else "id"
    (row,) = owner.execute(
        f"select s::text as row from public.{source} s where s.{key} = %s limit 1".encode(), (session_id,)
    ).fetchall() or [{"row": None}]
    if row["row"] is None:  # sessions_list is empty for the superuser: take the owner's
        with acting(scene.db, matrix.OWNER) as connection:
            (row,) = connection.execute(
                f"select s::text as row from public.{source} s where s.{key} = %s".encode(), (session_id,)
            ).fetchall()
    for caller, expected in ((matrix.OWNER, True), (matrix.STRANGER, False), (matrix.UNNAMED, False)):
        with acting(scene.db, caller) as connection:
            found = connection.execute(
                f"select count(*) from public.{target}(%s::public.{source})".encode(), (row["row"],)
            ).fetchall()
            assert (found[0]["count"] > 0) == expected, caller


def test_embed__of_last_messages_reads_only_those(db: Db) -> None:
    """The newest message of a long session is one step in the index, also under the policies."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": [{"role": "user", "content": f"message {n}"} for n in range(500)]})
        rows = db.sql(
            "explain (analyze, costs off, timing off, summary off) "
            "select s.name, m.content from public.free_agent_sessions s left join lateral ("
            "select e.content from public.session_messages(s) e order by e.position desc limit 1) m on true"
        )
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    (read,) = re.findall(r"Index Scan Backward using parts_live on parts \(actual rows=([\d.]+)", plan)
    assert float(read) == 1, plan
    assert "Sort" not in plan
    assert "Function Scan" not in plan


def test_embed__of_a_messages_session_is_a_join(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": ["a", "b"]})
        rows = db.sql(
            "explain select m.content, s.name from public.session_messages m "
            "left join lateral public.free_agent_sessions(m) s on true"
        )
        assert "Function Scan" not in "\n".join(row["QUERY PLAN"] for row in rows)

"""The functions on a server with nothing but stock settings: none of their statements starts the compiler (jit).

auto_explain writes every statement's plan into the server's log, those inside functions too. It needs a Postgres that
comes with it and with LLVM: Debian's.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asyouwere.local.migrations import migrate
from asyouwere.local.postgres import EmbeddedPostgres
from tests.sql.test_attacks import CALLS
from tests.support.cluster import Cluster, debian_binaries, new_folder
from tests.support.database import SERVICE, Db
from tests.support.roles import set_role_password

#: Postgres' own default of jit_above_cost.
JIT_ABOVE_COST = 100_000
EXPLAIN = {
    "shared_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_settings": "on",
    "auto_explain.log_format": "json",
    "log_line_prefix": "at ",
}
READS: list[tuple[str, dict[str, Any]]] = [
    ("fork_session", {}),
    ("get_latest_snapshot", {}),
    ("get_session_changes", {"p_since": 1}),
    ("diff_snapshots", {"p_from": 1, "p_to": 2}),
    ("list_messages", {"p_after": 100}),
    ("export_session_page", {"p_latest_only": True}),
    ("revert_session", {"p_number": 1}),
]


@pytest.fixture(scope="module")
def stock() -> Iterator[EmbeddedPostgres]:
    binaries = debian_binaries(15)
    if not (binaries.folder.parent / "lib" / "llvmjit.so").exists():
        pytest.skip("needs a Postgres 15 built with LLVM")
    folder = new_folder()
    try:
        with EmbeddedPostgres(folder, binaries=binaries, settings=EXPLAIN, durable=False) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def stock_db(stock: EmbeddedPostgres) -> Iterator[Db]:
    cluster = Cluster(stock.dsn, 15, stock.folder)
    migrate(stock.dsn, bootstrap=True)
    with psycopg.connect(stock.dsn, autocommit=True) as admin:
        set_role_password(admin, "authenticator", cluster.password)
    db = Db(cluster, "postgres")
    # many sessions of one owner among many owners, and the planner knows
    for name, sessions in (("ada", 4_000), ("bob", 500)):
        db.sql(
            "insert into public.free_agent_sessions (user_id, name, last_activity_at) "
            "select %s, 's' || n, now() - n * interval '1 minute' from generate_series(1, %s) n",
            (db.user(name), sessions),
        )
    db.sql("update asyouwere.settings set writes_per_second = null")
    with db.acting_as("ada"):
        session_id = db.one("get_or_create_session", p_key="long")["id"]
        db.save(session_id, {"messages": [{"role": "user", "content": "x"}] * 5_000, "memory": {"a": {"b": 1}}})
    db.sql("analyze")
    yield db
    db.close()


def plans(log: Path, begin: int) -> Iterator[dict[str, Any]]:
    """The plans in the log from this byte on."""
    text = log.read_bytes()[begin:].decode(errors="replace")
    for found in re.finditer(r"plan:\n((?:\t.*\n)+)", text):
        yield json.loads(found[1])


def test_server__plans_as_stock_postgres_does(stock_db: Db) -> None:
    """Nor does ours for development and for the other tests: what is slow for users must be slow here."""
    changed = stock_db.sql(
        "select name from pg_settings where category like 'Query Tuning%' and source not in ('default', 'override')"
    )
    assert changed == []
    assert stock_db.sql("select current_setting('jit') as jit, pg_jit_available() as there") == [
        {"jit": "on", "there": True}
    ]


def test_functions__start_no_compiler(stock: EmbeddedPostgres, stock_db: Db) -> None:
    db, begin = stock_db, stock.log.stat().st_size
    db.user("newcomer")  # whom CALLS share with
    with db.acting_as("ada"):
        for arguments in ({}, {"p_limit": 1000}, {"p_search": "7"}, {"p_archived": None, "p_status": "idle"}):
            db.call("list_sessions", **arguments)
        for function in ("list_invitations", "offer_my_sessions"):
            db.call(function)
        long, fresh = (db.one("get_or_create_session", p_key=key)["id"] for key in ("long", "fresh"))
        db.call("append_session_messages", p_session_id=long, p_messages="[1,2]")
        for function, arguments in READS:
            db.call(function, p_session_id=long, **arguments)
        for function, arguments in CALLS:
            db.call(function, p_session_id=fresh, **arguments)
    with db.acting_as(SERVICE):
        for _ in range(3):
            db.call("cleanup_old_snapshots", p_keep=1, p_older_than="0")
            db.call("expire_idle_sessions")
    with db.acting_as("bob"):
        db.call("delete_my_data")
    seen = list(plans(stock.log, begin))
    assert len(seen) > 200
    compiled = [plan["Query Text"] for plan in seen if "JIT" in plan]
    assert compiled == []
    costly = [
        (plan["Plan"]["Total Cost"], plan["Query Text"])
        for plan in seen
        if plan["Plan"]["Total Cost"] > JIT_ABOVE_COST and plan.get("Settings", {}).get("jit") != "off"
    ]
    assert costly == []

"""Whether a pooler stands before the database, and how it shares connections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg

from asyouwere.local.doctor.finding import Finding

CONNECT_SECONDS = 10


def check_pooler(dsn: str) -> Iterator[Finding]:
    """Two connections that are served by one backend can only be a transaction-mode pooler's."""
    try:
        with contextlib.ExitStack() as stack:
            first, second = (
                stack.enter_context(
                    psycopg.connect(
                        dsn, autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_SECONDS
                    )
                )
                for _ in range(2)
            )
            query = "select pg_catalog.pg_backend_pid(), pg_catalog.inet_server_port()"
            shared, asked = False, first.info.port
            for _ in range(5):
                ((pid, port),) = first.execute(query).fetchall()
                ((other, _),) = second.execute(query).fetchall()
                shared = shared or pid == other
            prepared = _prepared_statements_work(first) if shared else True
    except psycopg.Error as exc:
        yield Finding(
            "pooler",
            "skip",
            f"could not be found out (SQLSTATE {exc.sqlstate})",
            "allow two connections at once",
        )
        return
    if shared:
        kind = "" if prepared else ", which does not keep prepared statements"
        yield Finding("pooler", "ok", f"a transaction-mode pooler{kind}; asyouwere needs no more")
    elif port is not None and port != asked:
        yield Finding(
            "pooler",
            "ok",
            "something stands between, in session mode: good for migrations; "
            "for functions that scale out take a transaction-mode pooler (on Supabase port 6543)",
        )
    else:
        yield Finding(
            "pooler",
            "ok",
            "none: a direct connection; functions that scale out need a transaction-mode pooler",
        )


def _prepared_statements_work(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        for _ in range(3):
            connection.execute("select 1", prepare=True)
    except psycopg.Error:
        return False
    return True

"""Who takes part: each side's process, a database of its own, and what is read off that database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.bench.peers.environment import peers_python
from tests.bench.peers.process import SideProcess
from tests.bench.place import USER, Connection, Place
from tests.trust.python_client import as_url

ASYOUWERE, OVER_HTTP, CLIENT = "asyouwere", "asyouwere over HTTP", "asyouwere's Python client"
FLOOR, DOCUMENT = "bare insert", "JSONB document"
PLAIN, DELTA = "LangGraph", "LangGraph, delta channel"
DELTA_OF_MESSAGES = "LangGraph, delta channel of message objects"
PLAIN_AS_IT_COMES = "LangGraph, default durability"
DELTA_AS_IT_COMES = "LangGraph, delta channel, default durability"
OPENAI, ADK = "OpenAI Agents", "Google ADK"

OURS = (ASYOUWERE, OVER_HTTP, CLIENT)
FLOORS = (FLOOR, DOCUMENT)
LANGGRAPH = (PLAIN, DELTA, DELTA_OF_MESSAGES, PLAIN_AS_IT_COMES, DELTA_AS_IT_COMES)
PEERS = (*LANGGRAPH, OPENAI, ADK)
WHOLE_EVERY_TIME = (DOCUMENT, PLAIN, PLAIN_AS_IT_COMES)
"""Who writes the whole session at every turn: asked less often, or the run takes an hour and the disk fills."""

SIZE = """
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')
"""


@dataclass
class Participant:
    """A side that is ready. admin: a superuser's connection to the database that it writes to."""

    name: str
    process: SideProcess
    admin: Connection
    versions: dict[str, str]

    def stored(self) -> int:
        """Bytes of all its tables with indexes and TOAST, after a vacuum."""
        self.admin.execute("vacuum")
        return int(self._value(SIZE))

    def settle(self) -> None:
        """Statistics, and nothing left for autovacuum to do at once."""
        self.admin.execute("vacuum (analyze)")

    def written(self) -> int:
        """Where the write-ahead log is, in bytes. Nobody else may write in between."""
        return int(self._value("select pg_current_wal_insert_lsn() - '0/0'"))

    def _value(self, query: str) -> Any:
        row = self.admin.execute(query.encode(), prepare=True).fetchone()
        assert row is not None
        return row[0]


@contextmanager
def participants(place: Place, names: tuple[str, ...]) -> Iterator[dict[str, Participant]]:
    """Start these sides, each in a database of its own (over HTTP: the one that the functions use)."""
    folder = place.stack.folder.parent
    others = any(name in PEERS for name in names)
    python = str(peers_python(folder / "peers")) if others else sys.executable
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                _participant(place, name, python if name in PEERS else sys.executable, folder)
            )
            for name in names
        }


@contextmanager
def _participant(place: Place, name: str, python: str, folder: Path) -> Iterator[Participant]:
    with ExitStack() as stack:
        if name == ASYOUWERE:
            elsewhere = stack.enter_context(place.fresh())
            dsn, admin = elsewhere.api_dsn, elsewhere.superuser
            options = {"role": "authenticated", "claims": elsewhere.claims}
        elif name == OVER_HTTP:
            dsn, admin = "", place.superuser
            options = {"port": place.stack.functions.port, "token": place.stack.token(USER)}
        elif name == CLIENT:
            elsewhere = stack.enter_context(place.fresh())
            dsn, admin = elsewhere.api_dsn, elsewhere.superuser
            options = {"url": as_url(dsn), "user_id": str(elsewhere.user_id)}
        else:
            database = stack.enter_context(
                _database(place, f"side_{''.join(filter(str.isalnum, name)).lower()}")
            )
            dsn = place.stack.postgres.dsn_for(database)
            admin = stack.enter_context(psycopg.connect(dsn, autocommit=True))
            options = {"url": _sqlalchemy_url(dsn)}
        process = SideProcess(name, python, folder / "sides.log")
        stack.callback(process.close)
        versions = process.ask("open", dsn=dsn, options=options)["versions"]
        yield Participant(name, process, admin, versions)


@contextmanager
def _database(place: Place, name: str) -> Iterator[str]:
    place.superuser.execute(f"create database {name}".encode())
    try:
        yield name
    finally:
        place.superuser.execute(f"drop database {name} with (force)".encode())


def _sqlalchemy_url(dsn: str) -> str:
    """A connection string as the URL of SQLAlchemy over asyncpg."""
    parts = conninfo_to_dict(dsn)
    return f"postgresql+asyncpg://{parts['user']}:{parts.get('password', '')}@{parts['host']}:{parts['port']}/{parts['dbname']}"

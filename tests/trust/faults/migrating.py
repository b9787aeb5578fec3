"""Migrations as the next release would bring them, applied while sixteen clients save.

Covered: every function replaced, a column added to each table that a save writes (with the functions made anew that
have the table's columns written into them, in the same file), an index built. Not covered: changes that rewrite a large table or hold its lock for long, which a release has to avoid or to announce.
No client asks again here: every save must be answered at its first try.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from asyouwere.local.migrations import migrate, sql_folder
from asyouwere.local.statements import split_statements
from tests.trust.faults.probe import Probe
from tests.trust.place import Place
from tests.trust.report import Outcome

CLIENTS = 16
TABLES = ("public.free_agent_sessions", "public.session_snapshots", "asyouwere.save_keys", "asyouwere.parts")
FUNCTIONS = """
    select pg_get_functiondef(p.oid) || ';' as text from pg_proc p
    where p.pronamespace in ('public'::regnamespace, 'asyouwere'::regnamespace) and p.prokind = 'f'
    order by p.oid
"""


def while_clients_save(outcome: Outcome, folder: Path, long: bool) -> None:
    """Sixteen clients save without a pause; each migration comes in between."""
    with Place(folder) as place:
        files = folder / "migrations"
        shutil.copytree(sql_folder() / "migrations", files)
        clients = [_Client(Probe(outcome, place, "migrating")) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            for number, (name, text) in enumerate(_migrations(place)):
                time.sleep(1.5 if long else 0.7)
                (files / f"9{number:03}_{name}.sql").write_text(text)
                migrate(place.postgres.dsn, folder=files)
                outcome.count("migrating: migrations applied")
            time.sleep(1.0)
        finally:
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(60)
        failed = [answer for client in clients for answer in client.failed]
        outcome.figures["migrating: saves"] = sum(client.saves for client in clients)
        outcome.figures["migrating: failed saves and reads"] = len(failed)
        outcome.require(not failed, f"migrating: {len(failed)} failed: {failed[:3]}")
        for client in clients:
            client.probe.recovers()


def _migrations(place: Place) -> Iterator[tuple[str, str]]:
    """Name and text of each; written only when it is its turn, as they build on each other."""

    def functions() -> str:
        return "\n".join(row["text"] for row in place.db.superuser.execute(FUNCTIONS).fetchall())

    yield "replace_functions", functions()
    for table in TABLES:
        anew = ";\n".join(_readers_of(place, table))
        yield (
            f"add_column_to_{table.partition('.')[2]}",
            f"alter table {table} add column later text;\n{anew};",
        )
    yield "replace_functions_again", functions()
    yield "create_index", "create index later on public.session_snapshots (session_id, created_at);"


def _readers_of(place: Place, table: str) -> list[str]:
    """What has the table's columns written into it: views of whole rows, then the functions that return such rows."""
    statements = [
        statement
        for file in sorted((sql_folder() / "migrations").glob("*.sql"))
        for statement in split_statements(file.read_text())
    ]
    functions = place.db.superuser.execute(
        "select proname from pg_proc where prosqlbody is not null"
        " and prorettype = (select reltype from pg_class where oid = %s::regclass)",
        [table],
    ).fetchall()
    views = [s for s in statements if re.search(rf"create view .*\s+as\s+select \* from {re.escape(table)}\b", s)]
    made = [re.sub(r"\bcreate view\b", "create or replace view", statement, count=1) for statement in views]
    for row in functions:
        head = re.compile(rf"create (or replace )?function \w+\.{row['proname']}\b")
        (statement,) = [s for s in statements if head.search(s)]
        made.append(head.sub(lambda m: m[0].replace("create function", "create or replace function"), statement))
    return made


class _Client(threading.Thread):
    """Saves again and again into a session of its own, and restores it now and then."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(daemon=True)
        self.probe = probe
        self.over = threading.Event()
        self.saves = 0
        self.failed: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            answer = self.probe.save()
            self.saves += 1
            read = self.probe.read() if self.saves % 5 == 0 else answer
            self.failed += [f"{a.status_code} {a.text[:200]}" for a in (answer, read) if a.status_code != 200]

"""Turns in few words, for the tests of their functions. All act as whoever acts."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tests.support.database import Db, Row


def begin(db: Db, session_id: UUID, turn: UUID | None = None, **arguments: Any) -> UUID:
    row = db.one("begin_turn", p_session_id=session_id, p_turn_id=turn or uuid4(), **arguments)
    return UUID(str(row["id"]))


def flush(db: Db, session_id: UUID, turn: UUID, from_seq: int, *chunks: Any) -> Row:
    return db.one(
        "append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=from_seq, p_chunks=list(chunks)
    )


def finish(db: Db, session_id: UUID, turn: UUID, **arguments: Any) -> Row:
    return db.one("finish_turn", p_session_id=session_id, p_turn_id=turn, **arguments)


def look(db: Db, session_id: UUID, turn: UUID | None = None, after: int = 0) -> Row:
    return db.one("get_turn", p_session_id=session_id, p_turn_id=turn, p_after_seq=after)


def run_out(db: Db, turn: UUID) -> None:
    """The lease of a turn ran out a second ago."""
    db.superuser.execute(
        "update public.session_turns set lease_until = clock_timestamp() - interval '1 s' where id = %s", (turn,)
    )


def all_at_once(db: Db, count: int, work: Any) -> list[Any]:
    """What work(connection of ada's) gives, run so many times at once: a row, or the code of the refusal."""
    connections = [db.connect_as("ada") for _ in range(count)]
    results: list[Any] = [None] * count
    ready = threading.Barrier(count)

    def run(n: int) -> None:
        ready.wait()
        try:
            results[n] = work(connections[n])
        except psycopg.Error as exc:
            results[n] = exc.diag.message_hint

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    return results

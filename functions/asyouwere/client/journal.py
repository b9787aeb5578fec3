"""What a client has handed over and the server has not got yet, on disk: SQLite, one file for each user and app.

Written before anything is sent, so that ``kill -9`` loses nothing; whoever opens the session next finishes what was
begun. Each open session has a record of its own: the base as parts, the save under way with its key, the parts that
were changed since, and the key under which they will be sent. So a record that is behind, because the disk was full
or the power cut, doubles nothing: the server knows that key. Many processes share a file. Whose process is gone is
known by a lock that it held.

The file survives the process, not a power cut at once (``synchronous = normal``): the last moments may be missing
then, never more. A disk that is full or read-only keeps nobody from working; ``health`` says so.
"""

from __future__ import annotations

import errno
import json
import logging
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from asyouwere.client.holding import is_gone
from asyouwere.client.journal_file import JournalFile, delete, sending_of
from asyouwere.client.replica import Replica
from asyouwere.errors import Invalid
from asyouwere.state.tree import Parts, flatten, tree_of_parts

__all__ = ["Found", "Health", "Journal"]

_LOG: Final = logging.getLogger("asyouwere")
Health: TypeAlias = Literal["ok", "full", "off"]

_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOMEM})
_RELEASE: Final = "update record set process = null where client = ?"


@dataclass(slots=True)
class Found:
    """What a client that is gone has left."""

    client: str
    replica: Replica


class Journal:
    """A file of records, for this process. path: None for none."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.health: Health = "off"
        #: Records that were set aside since this was opened.
        self.unreadable: list[str] = []
        self._held: set[str] = set()
        self._file: JournalFile | None = None
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            self._file = JournalFile.at(path)
            self.health = "ok"
        except (sqlite3.Error, OSError) as exc:
            self._failed(exc)

    def _failed(self, exc: BaseException) -> None:
        code = getattr(exc, "sqlite_errorcode", None) or 0
        before, is_full = self.health, code & 0xFF in _FULL or getattr(exc, "errno", None) == errno.ENOSPC
        self.health = "full" if is_full else "off"
        if self.health != before or self._file is None:  # once, not with each chunk
            _LOG.warning("the journal can't be written (%s): what is not saved yet would not survive a crash", exc)

    def safely(self, work: Callable[[sqlite3.Connection], Any]) -> bool:
        """Do something to the file in one transaction. Whether it is done."""
        if self._file is None:
            return False
        db = self._file.db
        try:
            db.execute("begin immediate")
            try:
                work(db)
                db.execute("commit")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("rollback")
                raise
        except sqlite3.Error as exc:
            self._failed(exc)
            return False
        self.health = "ok"
        return True

    def adopt(self, session: str) -> list[Found]:
        """The records of clients that are gone, newest first; from now on they are this process'."""
        if self._file is None:
            return []
        gone: list[tuple[str, int, str | None, str | None]] = []
        process = self._file.holder.name

        def take(db: sqlite3.Connection) -> None:
            rows = db.execute(
                "select client, number, sending, next_key, process from record where session = ? and not set_aside"
                " order by at desc",
                (session,),
            ).fetchall()
            known: dict[str | None, bool] = {None: True, process: False}
            for client, number, sending, next_key, holder in rows:
                if holder not in known:
                    known[holder] = is_gone(self._lock_of(holder))
                if known[holder]:  # what is pending keeps its key, what comes later gets another one
                    mine = (process, str(uuid.uuid4()), client)
                    db.execute("update record set process = ?, next_key = ? where client = ?", mine)
                    gone.append((client, number, sending, next_key))

        if not self.safely(take):
            return []
        self._held.update(client for client, *_ in gone)
        return [found for row in gone if (found := self._read(*row)) is not None]

    def _lock_of(self, process: str) -> Path:
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.{process}.lock")

    def _read(self, client: str, number: int, sending: str | None, next_key: str | None) -> Found | None:
        assert self._file is not None
        db = self._file.db
        try:
            base: Parts = {
                (path, item): body
                for path, item, body in db.execute("select path, item, body from base where client = ?", (client,))
            }
            tree = tree_of_parts(base)
            under_way = None if sending is None else sending_of(json.loads(sending), tree)
            parts = base if under_way is None else dict(flatten(under_way.tree))
            for path, item, body in db.execute("select path, item, body from pending where client = ?", (client,)):
                if body is None:
                    parts.pop((path, item), None)
                else:
                    parts[path, item] = body
            local = tree_of_parts(parts)
        except (Invalid, ValueError, KeyError, TypeError, sqlite3.Error) as exc:
            _LOG.error("a record of the journal can't be read (%s): it is set aside, and kept", type(exc).__name__)
            self.set_aside(client)
            self.unreadable.append(client)
            return None
        if under_way is None and local == tree:
            local = tree
        replica = Replica(number, tree, local, under_way)
        if next_key is not None and local != replica.sent:
            replica.written = next_key, local
        return Found(client, replica)

    def set_aside(self, client: str) -> None:
        """Keep a record that the server will not take, but do not try it again."""
        self.safely(lambda db: db.execute("update record set set_aside = 1 where client = ?", (client,)))

    def release(self) -> None:
        """What was adopted and not finished is anybody's again."""
        held, self._held = self._held, set()
        if held:
            self.safely(lambda db: db.executemany(_RELEASE, [(client,) for client in held]))

    def let_go(self, client: str) -> None:
        """A record is taken care of."""
        self._held.discard(client)

    def forget(self, client: str) -> None:
        """Delete a record."""
        self._held.discard(client)
        self.safely(lambda db: delete(db, client))

    def add_chunk(self, session: str, turn: str, seq: int, body: str) -> None:
        """Keep a chunk of a turn until the turn has ended."""
        row = (turn, seq, session, self.process, body)
        self.safely(lambda db: db.execute("insert or replace into chunk values (?, ?, ?, ?, ?)", row))

    def end_turn(self, turn: str, *, is_saved: bool) -> None:
        """Its chunks are not needed any more; or, not saved, are for the next one who opens the session."""
        if is_saved:
            self.safely(lambda db: db.execute("delete from chunk where turn = ?", (turn,)))
        else:
            self.safely(lambda db: db.execute("update chunk set process = null where turn = ?", (turn,)))

    def adopt_turns(self, session: str) -> dict[str, list[tuple[int, str]]]:
        """Turns that their runner could not end: the chunks of each with their numbers. From now on they are ours."""
        turns: dict[str, list[tuple[int, str]]] = {}
        if self._file is None:
            return turns
        process = self.process

        def take(db: sqlite3.Connection) -> None:
            rows = db.execute(
                "select turn, seq, body, process from chunk where session = ? order by turn, seq", (session,)
            ).fetchall()
            known: dict[str | None, bool] = {None: True, process: False}
            for turn, seq, body, holder in rows:
                if holder not in known:
                    known[holder] = is_gone(self._lock_of(holder))
                if known[holder]:
                    turns.setdefault(turn, []).append((seq, body))
            db.executemany("update chunk set process = ? where turn = ?", [(process, turn) for turn in turns])

        return turns if self.safely(take) else {}

    def session_of(self, name: str | None) -> str | None:
        """The session that had this key when it was last opened, or this id."""
        if self._file is None or name is None:
            return None
        with suppress(sqlite3.Error):
            row = self._file.db.execute("select session from name where key = ?", (name,)).fetchone()
            return None if row is None else str(row[0])
        return None

    def remember(self, session: str, key: str | None) -> None:
        """Note that a session was open here, and its key."""
        rows = [(name, session) for name in (session, key) if name is not None]
        self.safely(lambda db: db.executemany("insert or replace into name values (?, ?)", rows))

    def set_aside_records(self) -> list[dict[str, Any]]:
        """What was set aside, as far as it can be read."""
        if self._file is None:
            return []
        rows = self._file.db.execute("select client, session, number, sending from record where set_aside").fetchall()
        return [
            {
                "session": session,
                "number": number,
                "sending": sending,
                "pending": self._file.db.execute(
                    "select path, item, body from pending where client = ?", (client,)
                ).fetchall(),
            }
            for client, session, number, sending in rows
        ]

    @property
    def process(self) -> str | None:
        """The name that this process' records carry."""
        return None if self._file is None else self._file.holder.name

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

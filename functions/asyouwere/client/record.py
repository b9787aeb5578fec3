"""One open session in a journal."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
from typing import Final

from asyouwere.client.deltas import changed_parts
from asyouwere.client.journal import Journal
from asyouwere.client.journal_file import ChangedParts, delete, put, text_of
from asyouwere.client.replica import Replica, Sending
from asyouwere.state.tree import Tree, flatten

__all__ = ["Record"]

_AGAIN_SECONDS: Final = 5.0


class Record:
    """One open session in a journal. After a failed write the next one writes all of it.

    What the server has answered is written together with what comes next, or by ``flush``: until then the save is one
    that it would answer again. (Trees do not change, so what differs is found out then, too.)
    """

    def __init__(self, journal: Journal, session: str, replica: Replica, client: str | None = None) -> None:
        self.journal = journal
        self.session = session
        self.client = client or str(uuid.uuid4())
        self.replica = replica
        self._is_written = client is not None
        self._next_try = 0.0
        self._owed: list[Callable[[sqlite3.Connection], None]] = []

    def edited(self, parts: ChangedParts) -> None:
        """These parts were changed since the last call."""
        self._write(lambda db: put(db, "pending", self.client, parts))

    def sending(self, sending: Sending) -> None:
        """All that was pending is under way."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "update record set sending = ?, next_key = ?, at = ? where client = ?",
                (text_of(sending), self.replica.next_key, time.time(), self.client),
            )
            db.execute("delete from pending where client = ?", (self.client,))
            if self.replica.local is not sending.tree:
                put(db, "pending", self.client, changed_parts(sending.tree, self.replica.local))

        self._write(write)

    def taken_back(self, pending: ChangedParts) -> None:
        """What was under way is pending again; these parts are all that is."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("update record set sending = null, at = ? where client = ?", (time.time(), self.client))
            db.execute("delete from pending where client = ?", (self.client,))
            put(db, "pending", self.client, pending)

        self._write(write)

    def answered(self, number: int, was: dict[str, Tree], base: dict[str, Tree], pending: ChangedParts) -> None:
        """The base is another: it was, it is, and these parts are pending on it. Nothing is under way."""
        now = time.time()

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "update record set sending = null, number = ?, at = ? where client = ?",
                (number, now, self.client),
            )
            changed = list(changed_parts(was, base))
            gone = [(self.client, path, item) for path, item, body in changed if body is None]
            if gone:
                db.executemany("delete from base where client = ? and path = ? and item = ?", gone)
            put(db, "base", self.client, (part for part in changed if part[2] is not None))
            db.execute("delete from pending where client = ?", (self.client,))
            put(db, "pending", self.client, pending)

        if self.journal.path is not None:
            self._owed.append(write)

    def flush(self) -> None:
        """Write what is owed."""
        if self._owed:
            self._write(lambda db: None)

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        if self.journal.path is None or (self.journal.health != "ok" and time.monotonic() < self._next_try):
            self._is_written = False
            self._owed.clear()
            return
        owed, self._owed = self._owed, []

        def write(db: sqlite3.Connection) -> None:
            for earlier in owed:
                earlier(db)
            work(db)

        self._is_written = self.journal.safely(write if self._is_written else self._write_all)
        if not self._is_written:
            self._next_try = time.monotonic() + _AGAIN_SECONDS

    def _write_all(self, db: sqlite3.Connection) -> None:
        replica = self.replica
        delete(db, self.client)
        db.execute(
            "insert into record (client, session, process, number, at, sending, next_key)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            (
                self.client,
                self.session,
                self.journal.process,
                replica.number,
                time.time(),
                None if replica.sending is None else text_of(replica.sending),
                replica.next_key,
            ),
        )
        put(db, "base", self.client, ((path, item, body) for (path, item), body in flatten(replica.base)))
        put(db, "pending", self.client, changed_parts(replica.sent, replica.local))

    def close(self) -> None:
        """The session is closed. Something waiting: the next one that opens it finds it. Nothing: it is a copy to
        begin from, the newest, and older ones go."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("update record set process = null, at = ? where client = ?", (time.time(), self.client))
            if not self.replica.is_waiting:
                older = db.execute(
                    "select client from record r where session = ? and client <> ? and process is null"
                    " and sending is null and not set_aside"
                    " and not exists (select from_pending.client from pending from_pending"
                    " where from_pending.client = r.client)",
                    (self.session, self.client),
                ).fetchall()
                for (client,) in older:
                    delete(db, client)

        self.journal.let_go(self.client)
        if self._is_written or self.replica.is_waiting or self.replica.number:
            self._next_try = 0.0
            if not self._is_written:
                self._write(lambda db: None)
            self._write(write)

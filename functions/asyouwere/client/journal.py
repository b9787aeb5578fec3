"""What a client has handed over and the server has not got yet, on disk: SQLite, one file for each user and app.

Written before anything is sent, so that ``kill -9`` loses nothing; whoever opens the session next finishes what was
begun. Each open session has a record of its own: the base as parts, the save under way with its key, and the parts
that were changed since. Many processes share a file. Whose process is gone is known by a lock that it held.

The file survives the process, not a power cut at once (``synchronous = normal``): the last moments may be missing
then, never more. A disk that is full or read-only keeps nobody from working; ``health`` says so.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from asyouwere.client.deltas import changed_parts
from asyouwere.client.holding import Holder, is_gone
from asyouwere.client.replica import Replica, Sending, with_changes
from asyouwere.errors import Invalid
from asyouwere.state.tree import Parts, Tree, flatten, tree_of_parts

__all__ = ["Health", "Journal", "Record", "default_folder", "journal_file"]

_LOG: Final = logging.getLogger("asyouwere")
Health: TypeAlias = Literal["ok", "full", "off"]
ChangedParts: TypeAlias = Iterable[tuple[str, int, str | None]]

_FORMAT: Final = 1
_AGAIN_SECONDS: Final = 5.0
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOMEM})
_BUSY_MS: Final = 1_000
_RELEASE: Final = "update record set process = null where client = ?"
_TABLES: Final = """
create table if not exists record (
    client text primary key, session text not null, process text, number integer not null, at real not null,
    sending text, set_aside integer not null default 0);
create index if not exists record_session on record (session);
create table if not exists base (client text, path text, item integer, body text not null,
    primary key (client, path, item)) without rowid;
create table if not exists pending (client text, path text, item integer, body text,
    primary key (client, path, item)) without rowid;
create table if not exists chunk (turn text, seq integer, session text not null, process text, body text not null,
    primary key (turn, seq)) without rowid;
create table if not exists name (key text primary key, session text not null);
"""


def default_folder() -> Path:
    """Where journals are kept: a folder of the user's for state, not for caches, which others may empty."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "asyouwere"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "asyouwere"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "asyouwere"


def journal_file(folder: Path, url: str, user: str) -> Path:
    """The file for a user of an app; its name tells neither."""
    return folder / f"{sha256(f'{url} {user}'.encode()).hexdigest()[:32]}.sqlite3"


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
        self._file: _File | None = None
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            self._file = _File.at(path)
            self.health = "ok"
        except (sqlite3.Error, OSError) as exc:
            self._failed(exc)

    def _failed(self, exc: BaseException) -> None:
        code = getattr(exc, "sqlite_errorcode", None) or 0
        self.health = "full" if code & 0xFF in _FULL or getattr(exc, "errno", None) == 28 else "off"
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
        gone: list[tuple[str, int, str | None]] = []
        process = self._file.holder.name

        def take(db: sqlite3.Connection) -> None:
            rows = db.execute(
                "select client, number, sending, process from record where session = ? and not set_aside"
                " order by at desc",
                (session,),
            ).fetchall()
            known: dict[str | None, bool] = {None: True, process: False}
            for client, number, sending, holder in rows:
                if holder not in known:
                    known[holder] = is_gone(self._lock_of(holder))
                if known[holder]:
                    db.execute("update record set process = ? where client = ?", (process, client))
                    gone.append((client, number, sending))

        if not self.safely(take):
            return []
        self._held.update(client for client, _, _ in gone)
        return [found for row in gone if (found := self._read(*row)) is not None]

    def _lock_of(self, process: str) -> Path:
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.{process}.lock")

    def _read(self, client: str, number: int, sending: str | None) -> Found | None:
        assert self._file is not None
        db = self._file.db
        try:
            base: Parts = {
                (path, item): body
                for path, item, body in db.execute("select path, item, body from base where client = ?", (client,))
            }
            tree = tree_of_parts(base)
            under_way = None if sending is None else _sending_of(json.loads(sending), tree)
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
        return Found(client, Replica(number, tree, local, under_way))

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
        self.safely(lambda db: _delete(db, client))

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

    def session_of(self, key: str) -> str | None:
        """The session that had this key when it was last opened."""
        if self._file is None:
            return None
        with suppress(sqlite3.Error):
            row = self._file.db.execute("select session from name where key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])
        return None

    def remember(self, key: str, session: str) -> None:
        """Note which session has a key."""
        self.safely(lambda db: db.execute("insert or replace into name values (?, ?)", (key, session)))

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
        self._write(lambda db: _put(db, "pending", self.client, parts))

    def sending(self, sending: Sending) -> None:
        """All that was pending is under way."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "update record set sending = ?, at = ? where client = ?",
                (_text_of(sending), time.time(), self.client),
            )
            db.execute("delete from pending where client = ?", (self.client,))
            if self.replica.local is not sending.tree:
                _put(db, "pending", self.client, changed_parts(sending.tree, self.replica.local))

        self._write(write)

    def taken_back(self, pending: ChangedParts) -> None:
        """What was under way is pending again; these parts are all that is."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("update record set sending = null, at = ? where client = ?", (time.time(), self.client))
            db.execute("delete from pending where client = ?", (self.client,))
            _put(db, "pending", self.client, pending)

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
            _put(db, "base", self.client, (part for part in changed if part[2] is not None))
            db.execute("delete from pending where client = ?", (self.client,))
            _put(db, "pending", self.client, pending)

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
        _delete(db, self.client)
        db.execute(
            "insert into record (client, session, process, number, at, sending) values (?, ?, ?, ?, ?, ?)",
            (
                self.client,
                self.session,
                self.journal.process,
                replica.number,
                time.time(),
                None if replica.sending is None else _text_of(replica.sending),
            ),
        )
        _put(db, "base", self.client, ((path, item, body) for (path, item), body in flatten(replica.base)))
        _put(db, "pending", self.client, changed_parts(replica.sent, replica.local))

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
                    _delete(db, client)

        self.journal.let_go(self.client)
        if self._is_written or self.replica.is_waiting or self.replica.number:
            self._next_try = 0.0
            if not self._is_written:
                self._write(lambda db: None)
            self._write(write)


def _put(db: sqlite3.Connection, table: str, client: str, parts: ChangedParts) -> None:
    db.executemany(
        f"insert or replace into {table} values (?, ?, ?, ?)",
        [(client, path, item, body) for path, item, body in parts],
    )


def _delete(db: sqlite3.Connection, client: str) -> None:
    for table in ("record", "base", "pending"):
        db.execute(f"delete from {table} where client = ?", (client,))


def _text_of(sending: Sending) -> str:
    told = {"key": sending.key, "base": sending.base, "changes": sending.changes}
    told |= {"wire": sending.wire, "label": sending.label}
    return json.dumps(told)


def _sending_of(told: dict[str, Any], base: dict[str, Tree]) -> Sending:
    tree = with_changes(base, told["changes"])
    return Sending(told["key"], told["base"], told["changes"], tree, told.get("wire"), told.get("label"))


class _File:
    """An open file, shared by the sessions of one thread. (Connections of SQLite belong to a thread.)"""

    _open: Final[dict[tuple[Path, int, int], _File]] = {}
    _guard: Final = threading.Lock()

    def __init__(self, path: Path, name: tuple[Path, int, int]) -> None:
        self._name = name
        self._users = 0
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self.db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000)
        try:
            self.db.execute("pragma journal_mode = wal")
            self.db.execute("pragma synchronous = normal")
            version = self.db.execute("pragma user_version").fetchone()[0]
            if version not in (0, _FORMAT):
                raise sqlite3.DatabaseError("written by another version")
            self.db.executescript(_TABLES)
            self.db.execute(f"pragma user_version = {_FORMAT}")
            self.holder = Holder.of(path)
        except BaseException:
            self.db.close()
            raise

    @classmethod
    def at(cls, path: Path) -> _File:
        name = (path, os.getpid(), threading.get_ident())
        with cls._guard:
            file = cls._open.get(name)
            if file is None:
                file = cls._open[name] = cls(path, name)
            file._users += 1
            return file

    def close(self) -> None:
        with self._guard:
            self._users -= 1
            if self._users == 0:
                self._open.pop(self._name, None)
                self.db.close()

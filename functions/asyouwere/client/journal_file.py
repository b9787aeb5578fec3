"""The file of a journal: SQLite in WAL mode, its tables, and who has it open."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

from asyouwere.client.holding import Holder
from asyouwere.client.replica import Sending, with_changes
from asyouwere.state.tree import Tree

__all__ = ["ChangedParts", "JournalFile", "default_folder", "delete", "journal_file", "put", "sending_of", "text_of"]

ChangedParts: TypeAlias = Iterable[tuple[str, int, str | None]]

_FORMAT: Final = 2
_BUSY_MS: Final = 1_000
_TABLES: Final = """
create table if not exists record (
    client text primary key, session text not null, process text, number integer not null, at real not null,
    sending text, set_aside integer not null default 0, next_key text);
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


def folder_named(name: Path | str) -> Path:
    """A folder by its one name, whatever it was called: a process is known by its name for the file."""
    return Path(name).expanduser().resolve()


def journal_file(folder: Path, url: str, user: str) -> Path:
    """The file for a user of an app; its name tells neither."""
    return folder / f"{sha256(f'{url} {user}'.encode()).hexdigest()[:32]}.sqlite3"


def put(db: sqlite3.Connection, table: str, client: str, parts: ChangedParts) -> None:
    """Write parts of a client into a table."""
    db.executemany(
        f"insert or replace into {table} values (?, ?, ?, ?)",
        [(client, path, item, body) for path, item, body in parts],
    )


def delete(db: sqlite3.Connection, client: str) -> None:
    """Delete the record of a client."""
    for table in ("record", "base", "pending"):
        db.execute(f"delete from {table} where client = ?", (client,))


def text_of(sending: Sending) -> str:
    """A save under way, to be read again by ``sending_of``."""
    told = {"key": sending.key, "base": sending.base, "changes": sending.changes}
    told |= {"wire": sending.wire, "label": sending.label}
    return json.dumps(told)


def sending_of(told: dict[str, Any], base: dict[str, Tree]) -> Sending:
    """The save under way that was written like that, made from this base."""
    tree = with_changes(base, told["changes"])
    return Sending(told["key"], told["base"], told["changes"], tree, told.get("wire"), told.get("label"))


class JournalFile:
    """An open file, shared by the sessions of one thread. (Connections of SQLite belong to a thread.)"""

    _open: Final[dict[tuple[Path, int, int], JournalFile]] = {}
    _guard = threading.Lock()

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
            if version not in (0, 1, _FORMAT):
                raise sqlite3.DatabaseError("written by another version")
            self.db.executescript(_TABLES)
            if version < _FORMAT:  # records had no key for what is pending; a new file has the column
                with suppress(sqlite3.OperationalError):
                    self.db.execute("alter table record add column next_key text")
            self.db.execute(f"pragma user_version = {_FORMAT}")
            self.holder = Holder.of(path)
        except BaseException:
            self.db.close()
            raise

    @classmethod
    def at(cls, path: Path) -> JournalFile:
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

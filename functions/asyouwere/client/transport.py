"""What a client asks of a server, whichever way it gets there.

JSON that must not lose a character (states, changes, chunks) travels as canonical text, all else as Python values.
Everything here may raise AsYouWereError: what the server refused, or Unreachable if no answer came. Whatever has
a key (or an id of the caller's) may be sent again as it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Begun", "Delta", "Flushed", "Row", "Saved", "Snapshot", "Transport", "TurnLook"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """The answer to a save. others: text of what leads from the base to number; None: nothing but the own changes."""

    number: int
    created: bool
    replayed: bool
    others: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state at a number, as canonical text. number 0: never saved."""

    number: int
    latest_number: int
    label: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Delta:
    """What has changed since a number. changes: None if that is not to be had any more; restore then."""

    number: int
    changes: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn. created: whether this call began it."""

    id: str
    status: str
    next_seq: int
    created: bool


@dataclass(frozen=True, slots=True)
class Flushed:
    """stop: whether somebody asked for it."""

    next_seq: int
    stop: bool


@dataclass(frozen=True, slots=True)
class TurnLook:
    """A turn and its chunks after a number, as texts of JSON values."""

    id: str
    status: str
    chunks: list[str]
    first_seq: int
    next_seq: int
    more: bool
    stop_requested: bool
    number: int | None
    position: int | None


class Transport(Protocol):
    """A way to the server, for one user. Usable by any number of sessions at once."""

    async def find_or_make(self, session: str | None, key: str | None, fields: Row) -> Row: ...

    async def change(self, session: str, fields: Row) -> Row: ...

    async def save(self, session: str, changes: str, base: int, key: str, label: str | None = None) -> Saved: ...

    async def restore(self, session: str, number: int | None = None, label: str | None = None) -> Snapshot: ...

    async def changes(self, session: str, since: int) -> Delta: ...

    async def snapshots(self, session: str, limit: int, before: int | None) -> list[Row]: ...

    async def diff(self, session: str, old: int, new: int) -> list[Row]: ...

    async def revert(self, session: str, number: int, key: str) -> Saved: ...

    async def label(self, session: str, number: int, label: str | None) -> None: ...

    async def fork(self, session: str, number: int | None, name: str | None, key: str | None) -> Row: ...

    async def origin(self, session: str) -> Row: ...

    async def merge(self, session: str, merging: Row) -> Saved: ...

    async def record_usage(self, session: str, usage: Row) -> Row: ...

    async def usage(self, session: str, turn: str | None) -> Row: ...

    async def set_budget(self, session: str, budget: float | None) -> Row: ...

    async def export(self, session: str, format: str) -> bytes: ...

    async def begin_turn(self, session: str, turn: str, lease: int, message: str | None, join: bool) -> Begun: ...

    async def flush(self, session: str, turn: str, first: int, chunks: str) -> Flushed: ...

    async def finish_turn(
        self, session: str, turn: str, message: str | None, changes: str | None, status: str
    ) -> Saved: ...

    async def stop_turn(self, session: str, turn: str) -> None: ...

    async def look(self, session: str, turn: str, after: int) -> TurnLook: ...

    async def latest(self, session: str, after: int) -> TurnLook | None:
        """The running turn, or the one that began last; None: there never was one."""

    def follow(self, session: str, turn: str, after: int) -> AsyncIterator[TurnLook] | None:
        """Looks as they come, where the server can push them; None where it can't."""

    async def close(self) -> None: ...

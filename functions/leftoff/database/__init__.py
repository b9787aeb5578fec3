"""The way to the database: call an SQL function as a user, nothing else.

    rows = await database.rows(caller, "get_session_changes", {"p_session_id": session_id, "p_since": 4})

Handlers know this interface only: function names, named arguments, rows as plain values. There is no SQL
outside an implementation, so one that speaks HTTP to PostgREST fits in as well as the direct one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from leftoff.callers import Caller

__all__ = ["Argument", "Database", "Row"]

#: What may be handed to an SQL function. JSON arguments are handed over as their text.
Argument = str | int | bool | None | Sequence[str | None] | Sequence[int | None]

#: Column -> int, bool, str or None. Columns of type json and jsonb come as their text, exactly as stored;
#: uuids and times as text, times in RFC 3339 with an offset.
Row = dict[str, Any]


class Database(Protocol):
    """Calls SQL functions of the schema ``public`` as a user; safe to use from many tasks at once.

    Every call is one transaction. Refusals by the function raise the LeftoffError of their code; a database
    that cannot be reached raises Unavailable. ``repeatable`` says that a second run does no harm (it reads,
    or carries an idempotency key): only then is a call repeated after the connection broke in the middle of
    it.
    """

    async def rows(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[Row]:
        """The rows of a set-returning function, or the single row of any other."""
        ...

    async def chunks(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[bytes]:
        """The rows of a function that returns ``setof text``, as UTF-8, never parsed."""
        ...

    async def check(self) -> None:
        """Return if the database answers; raise Unavailable if not."""
        ...

    async def close(self) -> None:
        """Give the connections back. Using it again opens new ones."""
        ...

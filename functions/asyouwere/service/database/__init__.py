"""The database: call an SQL function as a user, nothing else.

    rows = await database.rows(caller, "get_session_changes", {"p_session_id": session_id, "p_since": 4})

Handlers know this interface only: function names, named arguments, rows as plain values. There is no SQL
outside an implementation; ``open_database`` chooses between the two there are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from asyouwere.service.auth.caller import Caller

if TYPE_CHECKING:
    from asyouwere.service.settings import Settings

__all__ = ["Argument", "Database", "Row", "open_database"]

#: What may be handed to an SQL function. JSON arguments are handed over as their text. A text[] may be one of
#: asyouwere.service.database.text_array.TextArray, which saves copies of large ones.
Argument = str | int | bool | None | Sequence[str | None] | Sequence[int | None]

#: Column -> int, bool, str or None. Columns of type json and jsonb come as their text, exactly as stored;
#: uuids and times as text, times in RFC 3339 with an offset.
Row = dict[str, Any]


class Database(Protocol):
    """Calls SQL functions of the schema ``public`` as a user; safe to use from many tasks at once.

    Every call is one transaction. Errors that the function raises come as the AsYouWereError of their code;
    a database that cannot be reached raises Unavailable. ``repeatable`` says that a second run does no harm
    (it reads, or carries an idempotency key): only then is a call repeated after the connection broke in the
    middle of it.
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

    def pieces(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument]
    ) -> AsyncGenerator[bytes, None]:
        """The same rows of a function that reads, a few at a time; close it, a connection may be held until then.

        Fewer pieces than rows are possible. Errors come before the first; later ones mean that the rest is missing.
        """
        ...

    async def check(self) -> None:
        """Return if the database answers; raise Unavailable if not."""
        ...

    async def close(self) -> None:
        """Give the connections back. Using it again opens new ones."""
        ...


def open_database(settings: Settings) -> Database:
    """The implementation that ASYOUWERE_DATABASE names; the other one is not even imported."""
    if settings.database == "postgrest":
        from asyouwere.service.database.postgrest import PostgrestDatabase

        return PostgrestDatabase(
            settings.postgrest_url or "",
            publishable_key=settings.publishable_key,
            service_key=settings.service_key,
            pool_size=settings.pool_size,
            pool_timeout=settings.pool_timeout_seconds,
            statement_timeout=settings.statement_timeout_seconds,
        )
    from asyouwere.service.database.direct import DirectDatabase

    return DirectDatabase(
        settings.database_url,
        ca=settings.database_ca,
        pool_size=settings.pool_size,
        pool_timeout=settings.pool_timeout_seconds,
        statement_timeout=settings.statement_timeout_seconds,
    )

"""The barest thing that could be done instead of a save: inserting the same rows, and nothing else."""

from __future__ import annotations

import itertools

from tests.bench.place import Connection

# Every row gets an item of its own, so that all can stand in the index of live parts, as new parts do.
COLUMNS = "(session, created_at, since, item, ord, size, depth, kind, path, body)"
INSERT_ONE = f"insert into bench.parts {COLUMNS} values (%s, now(), %s, %s, 1, %s, 1, 'i', '/messages/', %s)"
INSERT_THREE = f"""
    insert into bench.parts {COLUMNS} values
        (%s, now(), %s, %s, 1, %s, 1, 'i', '/messages/', %s),
        (%s, now(), %s, %s, 2, 2, 1, 'v', '/step/', %s),
        (%s, now(), %s, %s, 3, 20, 3, 'v', '/memory/board/topic/', %s)
"""
INSERT_MANY = f"""
    insert into bench.parts {COLUMNS}
    select %s, now(), %s, u.item + 1000 * %s, u.item, octet_length(u.body), 1, 'i', '/messages/', u.body
    from unnest(%s::int[], %s::text[]) u (item, body)
"""


class BareInserts:
    """Inserts into bench.parts in the connection that also saves."""

    def __init__(self, connection: Connection, session: int = 1) -> None:
        self._connection = connection
        self._session = session
        self._numbers = itertools.count(1)

    def one(self, message: str) -> None:
        """A message."""
        n = next(self._numbers)
        self._connection.execute(
            INSERT_ONE.encode(), (self._session, n, n, len(message), message), prepare=True
        )

    def three(self, message: str, step: str, topic: str) -> None:
        """A message and two small parts, in one statement."""
        s, n = self._session, next(self._numbers)
        parameters = (s, n, n, len(message), message, s, n, n, step, s, n, n, topic)
        self._connection.execute(INSERT_THREE.encode(), parameters, prepare=True)

    def many(self, items: str, messages: str) -> None:
        """Messages given as arrays in text."""
        n = next(self._numbers)
        self._connection.execute(INSERT_MANY.encode(), (self._session, n, n, items, messages), prepare=True)

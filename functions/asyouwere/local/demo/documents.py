"""The other way to keep every version: one row with the whole state as jsonb for each save.

The demo saves each turn this way as well, right after asyouwere, into the same Postgres, so that both are
measured in the same run on the same machine. It is spared all else: HTTP, access rules, keys, merging.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import psycopg

CREATE = """
create schema if not exists demo_scratch;
create table if not exists demo_scratch.demo_documents (
    session_id text not null,
    number integer not null,
    state jsonb not null,
    created_at timestamptz not null default now(),
    primary key (session_id, number)
)
"""
INSERT = "insert into demo_scratch.demo_documents (session_id, number, state) values (%s, %s, %s)"
SIZE = "select pg_total_relation_size('demo_scratch.demo_documents')"
REFUSED = re.compile("[\0\ud800-\udfff]")


class Documents:
    """The table of whole documents. ``connection`` is in autocommit mode and is replaced after a crash."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self._messages: list[Any] = []
        self.replaced = 0
        self.json_bytes = 0
        connection.execute(CREATE)

    def save(self, session_id: str, number: int, state: dict[str, Any]) -> float:
        """Store the whole state; the time in milliseconds, writing the JSON included.

        jsonb refuses the NUL character and lone surrogates. They are replaced before the clock starts,
        message by message; ``replaced`` counts the messages that could not be kept as they were, and
        ``json_bytes`` is the size of the JSON text that was saved last.
        """
        for message in state["messages"][len(self._messages) :]:
            kept = acceptable(message)
            self.replaced += kept != message
            self._messages.append(kept)
        state = {**state, "messages": self._messages}
        begin = time.perf_counter()
        text = json.dumps(state, ensure_ascii=False)
        self.connection.execute(INSERT, (session_id, number, text))
        took_ms = (time.perf_counter() - begin) * 1000
        self.json_bytes = len(text.encode())
        return took_ms

    def size_bytes(self) -> int:
        """What the table takes on disk, with its index and its long values."""
        row = self.connection.execute(SIZE).fetchone()
        assert row is not None
        return int(row[0])


def acceptable(value: Any) -> Any:
    """The value with every character that jsonb refuses replaced by U+FFFD."""
    if isinstance(value, str):
        return REFUSED.sub("\ufffd", value)
    if isinstance(value, list):
        return [acceptable(item) for item in value]
    if isinstance(value, dict):
        return {acceptable(key): acceptable(item) for key, item in value.items()}
    return value

"""LangGraph's AsyncPostgresSaver and the checkpointer of examples/adapters, in turn: a turn put, the latest read.

A conversation of plain messages that grows by two a turn; both savers get the same checkpoints, as a graph of
durability "exit" makes them. Milliseconds: the quickest tenth and the median of so many turns.
The log is what Postgres wrote ahead for a turn, all of its tables and indexes.
"""

from __future__ import annotations

import asyncio
import random
import string
import sys
import time
import uuid
from statistics import median
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from examples.adapters.database import Database
from examples.adapters.langgraph_checkpointer import AsYouWereSaver

TURNS = 40
LENGTHS = (20, 200, 2000)
WORDS = ["".join(random.choices(string.ascii_lowercase, k=length)) for length in range(2, 10) for _ in range(200)]


def said(role: str, length: int) -> dict[str, str]:
    """A message of words, which compress as words do."""
    return {"role": role, "content": " ".join(random.choices(WORDS, k=length))}


async def measured(saver: Any, length: int, pool: AsyncConnectionPool[Any]) -> tuple[list[float], list[float], float]:
    """How long each put and each read took, and the log of a turn."""
    config: Any = {"configurable": {"thread_id": str(uuid.uuid4()), "checkpoint_ns": ""}}
    messages = [said("user", 40) for _ in range(length)]
    puts, reads, before = [], [], 0
    for turn in range(TURNS + 1):
        messages = [*messages, said("user", 10), said("assistant", 60)]
        checkpoint = empty_checkpoint() | {
            "channel_values": {"messages": messages, "step": turn},
            "channel_versions": {"messages": turn + 1, "step": turn + 1},
        }
        begin = time.perf_counter()
        config = await saver.aput(config, checkpoint, {"source": "loop", "step": turn}, checkpoint["channel_versions"])
        puts.append((time.perf_counter() - begin) * 1000)
        begin = time.perf_counter()
        found = await saver.aget_tuple({"configurable": {**config["configurable"], "checkpoint_id": None}})
        reads.append((time.perf_counter() - begin) * 1000)
        assert found.checkpoint["channel_values"]["messages"] == messages
        before = before or await written(pool)  # the first one is the whole conversation
    return puts[1:], reads[1:], (await written(pool) - before) / TURNS / 1000


def of(times: list[float]) -> str:
    return f"{sorted(times)[len(times) // 10]:.1f}, {median(times):.1f}"


async def written(pool: AsyncConnectionPool[Any]) -> int:
    """Where the write-ahead log is, in bytes."""
    async with pool.connection() as connection:
        cursor = await connection.execute("select (pg_current_wal_insert_lsn() - '0/0')::bigint as place")
        row = await cursor.fetchone()
    return int(row["place"])


async def main(dsn: str, user_id: str, owner: str) -> None:
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with (
        AsyncConnectionPool(owner, min_size=1, max_size=2, open=False, kwargs=options) as theirs,
        AsyncConnectionPool(dsn, min_size=1, max_size=2, open=False) as ours,
    ):
        savers = {"AsyncPostgresSaver": AsyncPostgresSaver(theirs), "asyouwere": AsYouWereSaver(Database(ours, user_id))}
        await savers["AsyncPostgresSaver"].setup()
        print("| messages | saver | put: tenth, median, ms | read latest: tenth, median, ms | log, kB |\n|---|---|---|---|---|")
        for length in LENGTHS:
            for name, saver in savers.items():
                puts, reads, log = await measured(saver, length, theirs)
                print(f"| {length:,} | {name} | {of(puts)} | {of(reads)} | {log:,.0f} |")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

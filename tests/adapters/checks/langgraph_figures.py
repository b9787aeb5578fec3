"""LangGraph's AsyncPostgresSaver and the checkpointer of examples/adapters, in turn: a turn put, the latest read.

A conversation of plain messages that grows by two a turn; both savers get the same checkpoints, as a graph of
durability "exit" makes them. Milliseconds: the median of so many turns.
"""

from __future__ import annotations

import asyncio
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


async def measured(saver: Any, length: int) -> tuple[list[float], list[float]]:
    """How long each put and each read took."""
    config: Any = {"configurable": {"thread_id": str(uuid.uuid4()), "checkpoint_ns": ""}}
    messages = [{"role": "user", "content": f"message {n} " + "x" * 200} for n in range(length)]
    puts, reads = [], []
    for turn in range(TURNS + 1):
        messages = [*messages, {"role": "user", "content": f"turn {turn}"}, {"role": "assistant", "content": "y" * 300}]
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
    return puts[1:], reads[1:]  # the first one is the whole conversation


async def main(dsn: str, user_id: str, owner: str) -> None:
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with (
        AsyncConnectionPool(owner, min_size=1, max_size=2, open=False, kwargs=options) as theirs,
        AsyncConnectionPool(dsn, min_size=1, max_size=2, open=False) as ours,
    ):
        savers = {"AsyncPostgresSaver": AsyncPostgresSaver(theirs), "asyouwere": AsYouWereSaver(Database(ours, user_id))}
        await savers["AsyncPostgresSaver"].setup()
        print("| messages | saver | put, ms | read latest, ms |\n|---|---|---|---|")
        for length in LENGTHS:
            for name, saver in savers.items():
                puts, reads = await measured(saver, length)
                print(f"| {length:,} | {name} | {median(puts):.1f} | {median(reads):.1f} |")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""What every check begins with: a database, and sixteen callers at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from psycopg_pool import AsyncConnectionPool

from examples.adapters.database import Database

CALLERS = 16


async def at_once(work: Callable[[int], Awaitable[Any]], count: int = CALLERS) -> list[Any]:
    """The results of `work(0)`, `work(1)`, …, all begun together."""
    return list(await asyncio.gather(*(work(number) for number in range(count))))


def run(check: Callable[[Database], Coroutine[Any, Any, str]]) -> None:
    """Runs a check against the database and as the user of the command line, and prints what it says."""
    dsn, user_id = sys.argv[1:]

    async def main() -> str:
        async with AsyncConnectionPool(dsn, min_size=1, max_size=CALLERS, open=False) as pool:
            return await check(Database(pool, user_id))

    print(asyncio.run(main()))

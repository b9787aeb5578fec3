"""The Python client beside the bare request and the bare SQL call: a save of one message into 1,000, and turns.

    .venv/bin/python -m tests.bench.client
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
import tracemalloc
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg

import asyouwere
from asyouwere.client.postgres import PostgresTransport
from asyouwere.state.changes import diff_trees
from asyouwere.state.exact_json import encode
from tests.functions.api import token_for
from tests.trust.clients import as_url
from tests.trust.place import Place, folder_of_a_run

MESSAGES = 1_000
ROUNDS = 300
TEXT = "x" * 900


def state_of(count: int) -> dict[str, Any]:
    """A conversation of about a megabyte."""
    messages = [{"role": "user" if at % 2 else "assistant", "content": f"{at} {TEXT}"} for at in range(count)]
    return {"messages": messages, "memory": {"topic": "tea"}, "step": count}


async def alternately(*calls: Callable[[int], Awaitable[Any]]) -> list[float]:
    """Medians in ms of calls made in turn, so that what the machine does meanwhile meets all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(ROUNDS):
        for call, taken in zip(calls, times, strict=True):
            begin = time.perf_counter()
            await call(number)
            taken.append((time.perf_counter() - begin) * 1e3)
    return [statistics.median(taken[20:]) for taken in times]


async def over_http(place: Place, folder: Path) -> dict[str, float]:
    """A save by the client, and the same request by httpx."""
    token = token_for(place.user)
    url = place.functions.url
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        asyouwere.open(url, token=token, key="http", journal=folder, poll=None, debounce=1e6, max_wait=1e6) as session,
    ):
        session.state = state_of(MESSAGES)
        await session.save_now()
        other = (await http.post(f"{url}/sessions", json={"key": "bare"})).json()["id"]
        answer = await http.post(
            f"{url}/session-snapshot-save", json={"session_id": other, "state": state_of(MESSAGES)}
        )
        base = answer.json()["number"]

        async def bare(number: int) -> None:
            nonlocal base
            message = {"role": "user", "content": f"{number} {TEXT}"}
            body = {"session_id": other, "base": base, "idempotency_key": str(uuid.uuid4())}
            body["changes"] = {"append": {"/messages": [message]}}
            answer = await http.post(f"{url}/session-snapshot-save", json=body)
            base = answer.json()["number"]

        async def client(number: int) -> None:
            session.append({"role": "user", "content": f"{number} {TEXT}"})
            await session.save_now()

        bare_ms, client_ms = await alternately(bare, client)
    return {"request": bare_ms, "client": client_ms, "ratio": client_ms / bare_ms}


async def on_postgres(place: Place, folder: Path) -> dict[str, float]:
    """A save by the client, and the same call by psycopg in a transaction, and through the client's own transport."""
    url = as_url(place.environment["ASYOUWERE_DATABASE_URL"])
    transport = PostgresTransport(url, place.user)
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    claims = json.dumps({"sub": place.user, "role": "authenticated"})
    async with asyouwere.open(
        url, user_id=place.user, key="sql", journal=folder, poll=None, debounce=1e6, max_wait=1e6
    ) as session:
        session.state = state_of(MESSAGES)
        await session.save_now()
        changes = f'{{"set":{{"":{encode(state_of(MESSAGES))}}}}}'
        ids, bases = [], []
        for key in ("bare", "transport"):
            row = await transport.find_or_make(None, key, {})
            ids.append(row["id"])
            bases.append((await transport.save(row["id"], changes, 0, str(uuid.uuid4()))).number)

        async def bare(number: int) -> None:
            message = encode([{"role": "user", "content": f"{number} {TEXT}"}])
            async with connection.transaction():
                await connection.execute(
                    "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
                    (claims,),
                )
                cursor = await connection.execute(
                    "select * from create_session_snapshot(%s, p_changes => %s, p_base => %s, p_idempotency_key => %s)",
                    (ids[0], f'{{"append":{{"/messages":{message}}}}}', bases[0], str(uuid.uuid4())),
                )
                row = await cursor.fetchone()
                assert row is not None
                bases[0] = row[0]

        async def by_transport(number: int) -> None:
            message = encode([{"role": "user", "content": f"{number} {TEXT}"}])
            saved = await transport.save(
                ids[1], f'{{"append":{{"/messages":{message}}}}}', bases[1], str(uuid.uuid4())
            )
            bases[1] = saved.number

        async def client(number: int) -> None:
            session.append({"role": "user", "content": f"{number} {TEXT}"})
            await session.save_now()

        bare_ms, transport_ms, client_ms = await alternately(bare, by_transport, client)
    await transport.close()
    await connection.close()
    return {
        "psycopg, a transaction": bare_ms,
        "one packet": transport_ms,
        "client": client_ms,
        "ratio to psycopg": client_ms / bare_ms,
        "ratio to one packet": client_ms / transport_ms,
    }


async def turns(place: Place, folder: Path) -> dict[str, float]:
    """A turn of twenty chunks: begun, written, finished."""
    url, taken = place.functions.url, []
    async with asyouwere.open(url, token=token_for(place.user), key="turns", journal=folder, poll=None) as session:
        for _ in range(30):
            begin = time.perf_counter()
            async with session.turn() as turn:
                for number in range(20):
                    await turn.write(f"word {number} ")
            taken.append((time.perf_counter() - begin) * 1e3)
    return {"a turn of 20 chunks": statistics.median(taken)}


def noticing() -> dict[str, float]:
    """Finding out that one message of a megabyte has changed; and the memory that a session takes."""
    from asyouwere.client.document import Document
    from asyouwere.client.sync import tree_of_text

    text = encode(state_of(MESSAGES))
    gc.collect()
    tracemalloc.start()
    document = Document()
    document.show(tree_of_text(text))
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    before, taken = document.tree(), []
    for number in range(200):
        document.root["messages"][number]["content"] += "!"
        begin = time.perf_counter()
        tree = document.tree()
        assert diff_trees(before, tree) != "{}"
        taken.append((time.perf_counter() - begin) * 1e3)
        before = tree
    return {
        "noticing, ms": statistics.median(taken),
        "noticing, slowest ms": max(taken),
        "JSON, bytes": len(text.encode()),
        "memory, times its JSON": memory / len(text.encode()),
    }


def main() -> None:
    """Measure and print."""
    found: dict[str, Any] = {"noticing": noticing()}
    with folder_of_a_run() as folder, Place(folder) as place, TemporaryDirectory() as journal:
        for measure in (over_http, on_postgres, turns):
            found[measure.__name__] = asyncio.run(measure(place, Path(journal)))
    json.dump(found, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

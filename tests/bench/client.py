"""The Python client beside the bare request and the bare SQL call; what it takes to notice a change; turns."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import tracemalloc
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg

import asyouwere
from asyouwere.client.document import Document
from asyouwere.client.sync import tree_of_text
from asyouwere.state.changes import diff_trees
from asyouwere.state.exact_json import encode
from tests.bench.measurements import WARM_UP, Comparison, Figure, Target, percentile, undisturbed
from tests.bench.place import Place
from tests.trust.clients import as_url

GROUP = "Python client"

MESSAGES = 1_000
TEXT = "x" * 900
QUIET: dict[str, Any] = {"poll": None, "debounce": 1e6, "max_wait": 1e6}


def measure(place: Place) -> Iterator[Figure]:
    """Journal included, on the disk that the temporary folder is on."""
    rounds = place.rounds(400, 80)
    with TemporaryDirectory() as folder:
        yield asyncio.run(_over_http(place, Path(folder), rounds)).figure(
            GROUP, "saving a message, over HTTP", Target(1.15), "the same request by httpx; 1,000 messages, 1 MB"
        )
        yield asyncio.run(_on_postgres(place, Path(folder), rounds)).figure(
            GROUP, "saving a message, on Postgres", Target(1.15), "the same call by psycopg, as the user; 1,000 messages"
        )
        yield asyncio.run(_turns(place, Path(folder), place.rounds(60, 20)))
    yield from _noticing()


def _state() -> dict[str, Any]:
    messages = [{"role": "user" if at % 2 else "assistant", "content": f"{at} {TEXT}"} for at in range(MESSAGES)]
    return {"messages": messages, "memory": {"topic": "tea"}, "step": MESSAGES}


def _message(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"{number} {TEXT}"}


async def _in_turn(
    ours: Callable[[int], Awaitable[None]], floor: Callable[[int], Awaitable[None]], rounds: int
) -> Comparison:
    for lap in range(WARM_UP):
        await ours(lap)
        await floor(lap)
    times: tuple[list[float], list[float]] = ([], [])
    with undisturbed():
        for lap in range(rounds):
            turns = ((0, ours), (1, floor)) if lap % 2 else ((1, floor), (0, ours))
            for which, action in turns:
                begin = time.perf_counter_ns()
                await action(lap)
                times[which].append((time.perf_counter_ns() - begin) / 1e6)
    return Comparison(*times)


async def _over_http(place: Place, folder: Path, rounds: int) -> Comparison:
    url, token = place.stack.functions.url, place.stack.token("bench")
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        asyouwere.open(url, token=token, key="client", journal=folder, **QUIET) as session,
    ):
        session.state = _state()
        await session.save_now()
        other = (await http.post(f"{url}/sessions", json={"key": "bare", "state": _state()})).json()
        base = other["latest_number"]

        async def bare(number: int) -> None:
            nonlocal base
            changes = {"append": {"/messages": [_message(number)]}}
            body = {"session_id": other["id"], "changes": changes, "base": base, "idempotency_key": str(uuid.uuid4())}
            base = (await http.post(f"{url}/session-snapshot-save", json=body)).json()["number"]

        async def client(number: int) -> None:
            session.append(_message(number))
            await session.save_now()

        return await _in_turn(client, bare, rounds)


async def _on_postgres(place: Place, folder: Path, rounds: int) -> Comparison:
    url = as_url(place.api_dsn)
    act_as = "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)"
    save = "select number from create_session_snapshot(%s, p_changes => %s, p_base => %s, p_idempotency_key => %s)"
    make = "select id, latest_number from get_or_create_session(p_key => 'bare sql', p_state => %s)"
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        asyouwere.open(url, user_id=str(place.user_id), key="sql", journal=folder, **QUIET) as session,
    ):

        async def run(statement: str, *values: Any) -> tuple[Any, ...]:
            async with connection.transaction():
                await connection.execute(act_as, (place.claims,))
                row = await (await connection.execute(statement.encode(), values)).fetchone()
                assert row is not None
                return tuple(row)

        session.state = _state()
        await session.save_now()
        other, base = await run(make, encode(_state()))

        async def bare(number: int) -> None:
            nonlocal base
            changes = encode({"append": {"/messages": [_message(number)]}})
            (base,) = await run(save, other, changes, base, str(uuid.uuid4()))

        async def client(number: int) -> None:
            session.append(_message(number))
            await session.save_now()

        return await _in_turn(client, bare, rounds)


async def _turns(place: Place, folder: Path, rounds: int) -> Figure:
    taken: list[float] = []
    url, token = place.stack.functions.url, place.stack.token("bench")
    async with asyouwere.open(url, token=token, key="turns", journal=folder, **QUIET) as session:
        for _ in range(rounds):
            begin = time.perf_counter_ns()
            async with session.turn() as turn:
                for number in range(20):
                    await turn.write(f"word {number} ")
            taken.append((time.perf_counter_ns() - begin) / 1e6)
    detail = "begun, written, finished and seen in the state; over HTTP"
    return Figure(GROUP, "a turn of 20 chunks", percentile(taken, 50), "ms", None, *_spread(taken), rounds, detail)


def _noticing() -> Iterator[Figure]:
    text = encode(_state())
    gc.collect()
    tracemalloc.start()
    document = Document()
    document.show(tree_of_text(text))
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    before, taken = document.tree(), []
    for number in range(300):
        document.root["messages"][number]["content"] += "!"
        begin = time.perf_counter_ns()
        tree = document.tree()
        changes = diff_trees(before, tree)
        taken.append((time.perf_counter_ns() - begin) / 1e6)
        assert list(json.loads(changes)["set"]) == [f"/messages/{number}"]
        before = tree
    detail = "finding the changes; one message of 1,000 changed, 1 MB"
    yield Figure(GROUP, "noticing a change", percentile(taken, 50), "ms", Target(1), *_spread(taken), 300, detail)
    size = len(text.encode())
    yield Figure(GROUP, "memory of a session", memory / size, "×", Target(3), detail=f"its JSON, {size:,} bytes")


def _spread(values: list[float]) -> tuple[float, float]:
    return percentile(values, 10), percentile(values, 90)

"""The Python client beside the bare request and the bare SQL call, in one process: what it adds, journal included."""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
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
from asyouwere.local.tokens import user_id
from asyouwere.state.changes import diff_trees
from asyouwere.state.exact_json import encode
from tests.bench.measurements import WARM_UP, Comparison, Figure, Target, percentile, undisturbed
from tests.bench.place import USER, Place
from tests.trust.python_client import as_url

GROUP = "Python client"

MESSAGES = 1_000
TEXT = "x" * 900
CHUNKS = 20
MOST = Target(1.15)
QUIET = {"poll": None, "debounce": 1e6, "max_wait": 1e6}
TIMED = "import time; begin = time.process_time(); {}; print((time.process_time() - begin) * 1000)"

Call = Callable[[int], Awaitable[object]]


def measure(place: Place) -> Iterator[Figure]:
    """Saves and turns in sessions of a megabyte, then what needs no server."""
    with TemporaryDirectory() as folder:
        place.settle()
        yield asyncio.run(_over_http(place, Path(folder)))
        yield asyncio.run(_on_postgres(place, Path(folder)))
        yield asyncio.run(_turns(place, Path(folder)))
    yield from _noticing()
    yield _importing(place)


async def _compare(ours: Call, floor: Call, rounds: int) -> Comparison:
    """Both in turn, as ``measurements.compare`` does."""
    times: tuple[list[float], list[float]] = ([], [])
    with undisturbed():
        for lap in range(WARM_UP + rounds):
            turns = ((0, ours), (1, floor)) if lap % 2 else ((1, floor), (0, ours))
            for which, call in turns:
                begin = time.perf_counter_ns()
                await call(lap)
                if lap >= WARM_UP:
                    times[which].append((time.perf_counter_ns() - begin) / 1e6)
    return Comparison(*times)


def _state() -> dict[str, Any]:
    """A conversation of about a megabyte."""
    return {"messages": [_message(number) for number in range(MESSAGES)], "memory": {"topic": "tea"}, "step": 1}


def _message(number: int) -> dict[str, str]:
    return {"role": "user" if number % 2 else "assistant", "content": f"{number} {TEXT}"}


def _saver(session: asyouwere.Session) -> Call:
    async def save(number: int) -> None:
        session.append(_message(number))
        await session.save_now()

    return save


async def _over_http(place: Place, folder: Path) -> Figure:
    token, url = place.stack.token(USER), place.stack.functions.url
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        asyouwere.open(url, token=token, journal=folder, **QUIET) as session,
    ):
        session.state = _state()
        await session.save_now()
        other = (await http.post(f"{url}/sessions", json={})).json()["id"]
        answer = await http.post(f"{url}/session-snapshot-save", json={"session_id": other, "state": _state()})
        base = answer.json()["number"]

        async def bare(number: int) -> None:
            nonlocal base
            body = {"session_id": other, "base": base, "idempotency_key": str(uuid.uuid4())}
            body["changes"] = {"append": {"/messages": [_message(number)]}}
            answer = await http.post(f"{url}/session-snapshot-save", json=body)
            base = answer.json()["number"]

        compared = await _compare(_saver(session), bare, place.rounds(600, 300))
    detail = "the same request by httpx.AsyncClient, its answer read"
    return compared.figure(GROUP, f"one message saved into {MESSAGES:,}, over HTTP", MOST, detail)


async def _on_postgres(place: Place, folder: Path) -> Figure:
    url, user = as_url(place.api_dsn), str(user_id(USER))
    bare_session = place.new_session(place.connect_as_user())
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    save = "select * from create_session_snapshot(%s, p_changes => %s, p_base => %s, p_idempotency_key => %s)"
    number_now = 0

    async def call(changes: str) -> None:
        nonlocal number_now
        async with connection.transaction():
            await connection.execute(
                "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
                (place.claims,),
            )
            cursor = await connection.execute(save, (bare_session, changes, number_now, str(uuid.uuid4())))
            row = await cursor.fetchone()
            assert row is not None
            number_now = row[0]

    async with connection, asyouwere.open(url, user_id=user, journal=folder, **QUIET) as session:
        session.state = _state()
        await session.save_now()
        await call(f'{{"set":{{"":{encode(_state())}}}}}')
        compared = await _compare(
            _saver(session),
            lambda number: call(f'{{"append":{{"/messages":{encode([_message(number)])}}}}}'),
            place.rounds(600, 300),
        )
    detail = "create_session_snapshot() by psycopg, in a transaction that sets role and claims"
    return compared.figure(GROUP, f"one message saved into {MESSAGES:,}, on Postgres", MOST, detail)


async def _turns(place: Place, folder: Path) -> Figure:
    """Begun, written, finished; the chunks of a turn in one request on both sides."""
    token, url = place.stack.token(USER), place.stack.functions.url
    pieces = [f"word {number} " for number in range(CHUNKS)]
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        asyouwere.open(url, token=token, journal=folder, **QUIET) as session,
    ):
        other = (await http.post(f"{url}/sessions", json={})).json()["id"]

        async def bare(_: int) -> None:
            turn, turns = str(uuid.uuid4()), f"{url}/sessions/{other}/turns"
            for path, body in (
                ("", {"turn_id": turn}),
                (f"/{turn}/chunks", {"from_seq": 1, "chunks": pieces}),
                (f"/{turn}/finish", {}),
            ):
                (await http.post(f"{turns}{path}", json=body)).raise_for_status()

        async def client(_: int) -> None:
            async with session.turn() as turn:
                for piece in pieces:
                    await turn.write(piece)

        # of one person's turns 500 are kept
        compared = await _compare(client, bare, place.rounds(200, 100))
    detail = "begin, chunks and finish, three requests by httpx.AsyncClient"
    return compared.figure(GROUP, f"a turn of {CHUNKS} chunks, over HTTP", None, detail)


def _noticing() -> Iterator[Figure]:
    """Finding out that one message of a megabyte has changed; and the memory that a session takes."""
    text = encode(_state())
    gc.collect()
    tracemalloc.start()
    document = Document()
    document.show(tree_of_text(text))
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    before, taken = document.tree(), []
    for number in range(500):
        document.root["messages"][number]["content"] += "!"
        begin = time.perf_counter()
        tree = document.tree()
        assert diff_trees(before, tree) != "{}"
        taken.append((time.perf_counter() - begin) * 1e3)
        before = tree
    size = len(text.encode())
    detail = f"a state of {size:,} bytes; found, and its change written as JSON"
    low, high = percentile(taken, 10), percentile(taken, 90)
    name = "one changed message noticed"
    yield Figure(GROUP, name, statistics.median(taken), "ms", Target(1), low, high, len(taken), detail)
    yield Figure(GROUP, "memory of a session", memory / size, "× its JSON", Target(3), detail=detail)


def _importing(place: Place) -> Figure:
    """Fresh interpreters; the clock runs inside them, after Python's own start."""
    environment = {"PYTHONPATH": str(Path(asyouwere.__file__).parents[1])}
    command = [sys.executable, "-c", TIMED.format("import asyouwere; asyouwere.open")]
    taken = [
        float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
        for _ in range(place.rounds(40, 12))
    ][2:]  # the first ones write and read the compiled files
    low, high = percentile(taken, 10), percentile(taken, 90)
    detail = "CPU time; the first address of HTTP that is opened imports httpx besides"
    return Figure(GROUP, "import asyouwere", statistics.median(taken), "ms", Target(150), low, high, len(taken), detail)

"""What a flush, a poll and a whole answer cost, and how long followers wait for a chunk."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg

from asyouwere.local.stack import add_user
from asyouwere.local.tokens import user_id
from tests.bench.measurements import WARM_UP, Figure, Target, compare, number, percentile
from tests.bench.memory import resident
from tests.bench.place import Connection, Place, value
from tests.bench.texts import Messages

GROUP = "Turns"

FLUSHES = 30
CHUNK_BYTES = 275
BEGIN = "select id from public.begin_turn(%s, %s, 300)"
APPEND = "select next_seq from public.append_turn_chunks(%s, %s, %s, %s)"
FINISH = "select number from public.finish_turn(%s, %s)"
POLL = "select status, next_seq from public.get_turn(%s, %s, %s)"
TABLES = """
    create table if not exists bench.turn_chunks (like asyouwere.turn_chunks including all);
    create table if not exists bench.turns (like public.session_turns including all);
    create table if not exists bench.snapshots (like public.session_snapshots including all);
    grant all on all tables in schema bench to authenticated;
"""
NO_LIMITS = """
    update asyouwere.settings set max_running_turns_per_user = null, max_recent_turns_per_user = null,
        max_turn_bytes = 1000000000
"""
INSERT_CHUNK = (
    "insert into bench.turn_chunks (session, turn, seq, chunks, flush, bytes, body) values (1, %s, %s, 1, %s, %s, %s)"
)
SIZE = """
    select sum(pg_total_relation_size(t::regclass))::bigint from unnest(array['asyouwere.turn_chunks',
        'public.session_turns', 'asyouwere.parts', 'public.session_snapshots', 'public.free_agent_sessions']) t
"""
#: Of one connection: autovacuum writes as well, whenever it likes. Postgres 18.
WAL = "select wal_bytes from pg_stat_get_backend_wal(%s)"

PEOPLE, TURNS_EACH, FOLLOWERS_EACH = 10, 5, 4
EVERY_SECONDS = 0.5


def measure(place: Place) -> Iterator[Figure]:
    """Calls by SQL against the barest thing that could be done; then followers over HTTP."""
    place.superuser.execute(TABLES.encode())
    place.superuser.execute(NO_LIMITS.encode())
    connection = place.connect_as_user()
    yield _flush(place, connection)
    yield from _polls(place, connection)
    yield from _answers(place, connection)
    yield from asyncio.run(_followers(place))


def _flush(place: Place, connection: Connection) -> Figure:
    rounds = place.rounds(1500, 400)
    session, turn = place.new_session(connection), uuid.uuid4()
    value(connection, BEGIN, (session, turn))
    chunks = [json.dumps([text[:CHUNK_BYTES]]) for text in Messages().take(rounds + WARM_UP)]

    def insert(lap: int) -> None:
        connection.execute(INSERT_CHUNK.encode(), (1, lap + 1, lap, lap, chunks[lap][1:-1]), prepare=True)

    compared = compare(
        lambda lap: connection.execute(APPEND.encode(), (session, turn, lap + 1, chunks[lap]), prepare=True),
        insert,
        rounds,
    )
    return compared.figure(GROUP, "one chunk flushed", Target(1.5), "a bare insert of the same row")


def _polls(place: Place, connection: Connection) -> Iterator[Figure]:
    """Against what anybody who reads the turn needs, the row under its policy; and against a bare row."""
    session, turn = place.new_session(connection), uuid.uuid4()
    value(connection, BEGIN, (session, turn))
    value(connection, APPEND, (session, turn, 1, '["x"]'))
    place.superuser.execute(b"insert into bench.turns overriding system value select * from public.session_turns")
    floors = (
        (
            "a poll that finds nothing",
            "public.session_turns",
            Target(1.3),
            "a select of the row by key, as the same user",
        ),
        (
            "a poll that finds nothing, without row level security below",
            "bench.turns",
            None,
            "a select of one row by key, no access check",
        ),
    )
    for name, table, target, detail in floors:
        select = f"select status, last_seq from {table} where session_id = %s and id = %s".encode()
        compared = compare(
            lambda lap: connection.execute(POLL.encode(), (session, turn, 1), prepare=True),
            lambda lap, select=select: connection.execute(select, (session, turn), prepare=True),  # type: ignore[misc]
            place.rounds(2000, 500),
        )
        yield compared.figure(GROUP, name, target, detail)


def _answers(place: Place, connection: Connection) -> Iterator[Figure]:
    """Answers of 8 KB in 30 flushes, each in a session of its own that has one already."""
    count = place.rounds(200, 100)
    text = "".join(Messages(3).take(60))[: FLUSHES * CHUNK_BYTES].replace('"', "'").replace("\\", "/")
    pieces = [text[at : at + CHUNK_BYTES] for at in range(0, len(text), CHUNK_BYTES)]
    sessions = [place.new_session(connection) for _ in range(count)]
    for session in sessions:
        _answer(connection, session, pieces)
    _settle(place)
    size = value(place.superuser, SIZE)
    numbers = [_answer(connection, session, pieces) for session in sessions]
    _settle(place)
    stored = (value(place.superuser, SIZE) - size) / count
    for session in sessions:
        _answer(connection, session, pieces)  # the first change of a page after a checkpoint logs it whole
    wal = _wal(place, connection)
    for session in sessions:
        _answer(connection, session, pieces)
    wal = _wal(place, connection) - wal
    yield Figure(
        GROUP, "stored at the end of an answer", float(stored) / len(text), "×", Target(2.5),
        detail=f"{stored:,.0f} bytes of tables and indexes, chunks and message, for {len(text):,} bytes of text",
    )  # fmt: skip
    yield Figure(GROUP, "snapshot numbers an answer", sum(numbers) / count - 1, "", Target(1))
    place.superuser.execute(b"checkpoint")
    _insert(connection, range(0, count), pieces, text)
    bare = _wal(place, connection)
    _insert(connection, range(count, 2 * count), pieces, text)
    bare = _wal(place, connection) - bare
    yield Figure(
        GROUP, "write-ahead log of an answer", wal / bare, "×", Target(1.2),
        detail=f"{wal / count:,.0f} bytes, begin, save and all, against {bare / count:,.0f} of its bare rows: chunks, "
        "snapshot, message, and the turn as it begins and as it ends",
    )  # fmt: skip


def _insert(connection: Connection, turns: range, pieces: list[str], text: str) -> None:
    """The rows of answers, and nothing else."""
    for turn in turns:
        turn_id = uuid.uuid4()
        connection.execute(
            b"insert into bench.turns (session_id, id, internal_session_id, started_by, lease_seconds, lease_until, message) "
            b'values (%s, %s, 1, auth.uid(), 300, now(), \'{"role":"assistant"}\')',
            (turn_id, turn_id),
        )
        connection.execute(
            b"insert into bench.snapshots (session_id, number, size_bytes, changed_parts, message_count) "
            b"values (gen_random_uuid(), 1, 1, 1, 1)"
        )
        for at, piece in enumerate(pieces):
            connection.execute(INSERT_CHUNK.encode(), (turn + 2, at + 1, at, at, json.dumps(piece)), prepare=True)
        connection.execute(
            b"insert into bench.parts (session, created_at, since, item, ord, size, depth, kind, path, body) "
            b"values (2, now(), %s, %s, 1, 1, 1, 'i', '/messages/', %s)",
            (turn, turn, json.dumps(text)),
        )
        connection.execute(
            b"update bench.turns set status = 'done', ended_at = now(), due_at = now() + interval '10 minutes', "
            b"last_seq = %s, number = 1, position = 0, changed_parts = 1, message = null, finished_with = id "
            b"where session_id = %s and id = %s",
            (len(pieces), turn_id, turn_id),
        )


def _answer(connection: Connection, session: uuid.UUID, pieces: list[str]) -> int:
    turn = uuid.uuid4()
    value(connection, BEGIN, (session, turn))
    for seq, piece in enumerate(pieces, 1):
        connection.execute(APPEND.encode(), (session, turn, seq, json.dumps([piece])), prepare=True)
    return int(value(connection, FINISH, (session, turn)))


def _wal(place: Place, connection: Connection) -> int:
    connection.execute(b"select pg_stat_force_next_flush()")
    return int(value(place.superuser, WAL, (connection.info.backend_pid,)))


def _settle(place: Place) -> None:
    place.superuser.execute(
        b"vacuum (analyze) asyouwere.turn_chunks, public.session_turns, asyouwere.parts, public.session_snapshots"
    )
    place.superuser.execute(b"checkpoint")


# -- followers -------------------------------------------------------------------------------------------------------


async def _followers(place: Place) -> list[Figure]:
    """200 followers of 50 turns on one instance; each turn is flushed twice a second with the time in the chunk."""
    seconds = place.rounds(20, 8)
    lags: list[float] = []
    turns: list[tuple[str, uuid.UUID, uuid.UUID]] = []
    for person in (f"follower {n}" for n in range(PEOPLE)):
        add_user(place.superuser, person)
        claims = json.dumps({"sub": str(user_id(person)), "role": "authenticated"})
        with psycopg.connect(place.api_dsn, autocommit=True) as connection:
            connection.execute("set role authenticated")
            connection.execute("select set_config('request.jwt.claims', %s, false)", (claims,))
            for _ in range(TURNS_EACH):
                session, turn = place.new_session(connection), uuid.uuid4()
                value(connection, BEGIN, (session, turn))
                turns.append((person, session, turn))
    over = asyncio.Event()
    before = resident(place.stack.functions.pid, "VmRSS")
    tasks = [
        asyncio.create_task(_follow(place, person, session, turn, lags))
        for person, session, turn in turns
        for _ in range(FOLLOWERS_EACH)
    ]
    await asyncio.sleep(2)
    lags.clear()
    flushes = await asyncio.to_thread(_flush_all, place, turns, seconds)
    await asyncio.sleep(1.5)
    over.set()
    heard = len(lags)
    memory = resident(place.stack.functions.pid, "VmRSS")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    in_ms = [lag * 1000 for lag in lags] or [0.0]
    detail = (
        f"{len(tasks)} followers of {len(turns)} turns on one process, "
        f"{heard:,} of {flushes * FOLLOWERS_EACH:,} chunks heard"
    )
    return [
        Figure(GROUP, "a chunk from flush to follower, p50", percentile(in_ms, 50), "ms", Target(300), detail=detail),
        Figure(
            GROUP, "the same, p99", percentile(in_ms, 99), "ms", Target(1000), detail=f"most {number(max(in_ms))} ms"
        ),
        Figure(
            GROUP,
            "memory of the process with them",
            memory / 1e6,
            "MB",
            detail=f"{before / 1e6:.0f} MB before they came",
        ),
    ]


def _flush_all(place: Place, turns: list[tuple[str, uuid.UUID, uuid.UUID]], seconds: float) -> int:
    """Flush each turn in its turn, as the service; how many flushes."""
    connection = place.connect_as_service()
    until = time.time() + seconds
    seqs = dict.fromkeys((turn for _, _, turn in turns), 0)
    pause = EVERY_SECONDS / len(turns)
    for due in itertools.count():
        if time.time() >= until:
            return due
        _, session, turn = turns[due % len(turns)]
        seqs[turn] += 1
        connection.execute(APPEND.encode(), (session, turn, seqs[turn], json.dumps([time.time()])), prepare=True)
        time.sleep(pause)
    raise AssertionError("unreachable")


async def _follow(place: Place, person: str, session: uuid.UUID, turn: uuid.UUID, lags: list[float]) -> None:
    """Follow as curl -N does, without a library that would cost more than what is measured."""
    url = urlsplit(place.stack.functions.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    request = (
        f"GET {url.path}/sessions/{session}/turns/{turn} HTTP/1.1\r\nHost: {url.netloc}\r\n"
        f"Authorization: Bearer {place.stack.token(person)}\r\nAccept: text/event-stream\r\n\r\n"
    )
    writer.write(request.encode())
    try:
        while line := await reader.readline():
            if line.startswith(b"data: 1"):
                lags.append(time.time() - float(line[6:]))
    finally:
        writer.close()

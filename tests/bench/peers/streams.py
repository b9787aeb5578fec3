"""The group `streams`: an answer of 8 KB while it is made, asyouwere's turns against what apps do instead.

An answer of 30 seconds is 30 flushes, or 120 of a quarter of a second; nobody sleeps in between: what a flush costs does
not depend on it. Compared are the AI SDK's resumable-stream with Redis, and the whole message written anew with every
flush. Then a runner of each is killed in the middle of an answer, and the store of each: what is left for somebody who
comes then?
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from asyouwere.local.demo.client import Client
from asyouwere.local.demo.runner import until_answered
from asyouwere.local.errors import LocalError
from asyouwere.local.ports import free_port
from asyouwere.local.stack import LocalStack
from tests.bench.measurements import Figure, number, percentile, timed
from tests.bench.peers import rewriting
from tests.bench.peers.redis import PROGRAM, ROOT, Redis
from tests.bench.place import USER, Connection, Place, value
from tests.bench.texts import Messages
from tests.bench.turns import APPEND, BEGIN, FINISH

GROUP = "An answer while it is made"
BY_SQL, OVER_HTTP = "asyouwere by SQL", "asyouwere over HTTP"
REWRITTEN, RESUMABLE = "the whole message rewritten", "resumable-stream, Redis"

TEXT_BYTES = 8250
FLUSHES = (30, 120)
PAUSE_SECONDS = 0.2
WAIT_SECONDS = 30.0
#: Where the write-ahead log is, in bytes. Nobody else writes.
WRITTEN = "select (pg_current_wal_insert_lsn() - '0/0')::bigint"


@dataclass
class Cost:
    """What answers have cost. written: bytes of log, of each; flushes_ms: of each flush of each."""

    written: list[int] = field(default_factory=list)
    flushes_ms: list[list[float]] = field(default_factory=list)

    def times(self, other: Cost) -> float:
        """How many times as long a flush takes as another's, which was measured answer by answer beside this."""
        pairs = zip(self.flushes_ms, other.flushes_ms, strict=True)
        return statistics.median(statistics.median(own) / statistics.median(others) for own, others in pairs)


def measure(place: Place) -> Iterator[Figure]:
    """In a stack of its own, which is killed at last; without Redis if there is none."""
    folder = place.stack.folder.parent / "streams"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        redis = redis_or_none(folder / "redis", stack)
        yield from compared(folder, redis, FLUSHES, place.rounds(20, 4), quick=place.quick)


def redis_or_none(folder: Path, stack: ExitStack) -> Redis | None:
    """A running Redis until the stack is closed; says in a line why there is none."""
    try:
        return stack.enter_context(Redis(folder))
    except LocalError as exc:
        print(f"asyouwere: streams without Redis: {exc}", file=sys.stderr)
        return None


def compared(
    folder: Path, redis: Redis | None, flushes: Sequence[int], laps: int, *, quick: bool
) -> Iterator[Figure]:
    """All figures. flushes: of an answer; laps: answers of each; the stack's data go into the folder and stay."""
    with LocalStack(folder / "data", port=0, postgres_port=free_port()) as stack:
        place = Place(stack, quick=quick)
        place.superuser.execute(rewriting.TABLE.encode())
        for count in flushes:
            yield from _costs(place, redis, pieces_of(count), laps)
        place.close()
        yield from _left(stack, redis, pieces_of(flushes[0]))


def pieces_of(count: int) -> list[str]:
    """An answer in so many pieces of the same length."""
    text = "".join(Messages(3).take(60))[:TEXT_BYTES].replace('"', "'").replace("\\", "/")
    size = len(text) // count
    return [text[at * size : (at + 1) * size] for at in range(count)]


# -- what it costs ---------------------------------------------------------------------------------------------------


def _costs(place: Place, redis: Redis | None, pieces: list[str], laps: int) -> Iterator[Figure]:
    connection, http = place.connect_as_user(), Client(place.stack.url, place.stack.token(USER))
    sides: dict[str, Callable[[], list[float]]] = {
        BY_SQL: lambda: _by_sql(place, connection, pieces),
        OVER_HTTP: lambda: _over_http(http, pieces),
        REWRITTEN: lambda: _rewritten(connection, pieces),
    }
    costs = {name: Cost() for name in sides}
    with http:
        for lap in range(-2, laps):
            for name, answer in sides.items():
                before = value(place.superuser, WRITTEN)
                flushes_ms = answer()
                if lap >= 0:  # the first ones also write whole pages
                    costs[name].written.append(value(place.superuser, WRITTEN) - before)
                    costs[name].flushes_ms.append(flushes_ms)
    if redis is not None:
        costs[RESUMABLE] = _resumable(redis, pieces, laps)
    ours = costs[BY_SQL]
    for name, cost in costs.items():
        written, all_ms = statistics.median(cost.written), [*itertools.chain(*cost.flushes_ms)]
        yield Figure(
            GROUP, f"log written for an answer in {len(pieces)} flushes: {name}", written / 1000, "kB", None,
            percentile(cost.written, 10) / 1000, percentile(cost.written, 90) / 1000, len(cost.written),
            f"{number(written / statistics.median(ours.written))} × asyouwere by SQL, {number(written / TEXT_BYTES)} × "
            "its text",
        )  # fmt: skip
        yield Figure(
            GROUP, f"a flush of {len(pieces)}: {name}", statistics.median(all_ms), "ms", None,
            percentile(all_ms, 10), percentile(all_ms, 90), len(all_ms),
            f"{number(cost.times(ours))} × asyouwere by SQL; the runner waits for it",
        )  # fmt: skip


def _by_sql(place: Place, connection: Connection, pieces: list[str]) -> list[float]:
    session, turn = place.new_session(connection), uuid4()
    value(connection, BEGIN, (session, turn))
    times = [
        timed(lambda seq: value(connection, APPEND, (session, turn, seq, json.dumps([pieces[seq - 1]]))), seq)
        for seq in range(1, len(pieces) + 1)
    ]
    value(connection, FINISH, (session, turn))
    return times


def _over_http(client: Client, pieces: list[str]) -> list[float]:
    session, turn = client.create_session(), str(uuid4())
    client.begin_turn(session, turn)
    times = []
    for seq, piece in enumerate(pieces, 1):
        client.flush(session, turn, seq, [piece])
        times.append(client.took_ms)
    client.finish_turn(session, turn)
    return times


def _rewritten(connection: Connection, pieces: list[str]) -> list[float]:
    message = uuid4()
    connection.execute(rewriting.BEGIN.encode(), (message,), prepare=True)

    def rewrite(count: int) -> None:
        parameters = (rewriting.parts("".join(pieces[:count])), message)
        connection.execute(rewriting.REWRITE.encode(), parameters, prepare=True)

    times = [timed(rewrite, count) for count in range(1, len(pieces) + 1)]
    connection.execute(rewriting.FINISH.encode(), (message,), prepare=True)
    return times


def _resumable(redis: Redis, pieces: list[str], laps: int) -> Cost:
    """With one device that follows: without any, nothing is sent anywhere."""
    cost = Cost()
    for _ in range(laps):
        before, name = redis.written(), str(uuid4())
        runner = _resumable_runner(redis, name, pieces, pause_seconds=0.003)
        runner.wait_for(1)
        _resume(redis, name)
        runner.end()
        time.sleep(0.1)
        cost.written.append(redis.written() - before)
        cost.flushes_ms.append([line["ms"] for line in runner.lines])
    return cost


def _resumable_runner(redis: Redis, name: str, pieces: list[str], pause_seconds: float, hold: int = -1) -> Runner:
    told = {"id": name, "chunks": pieces, "pause_ms": pause_seconds * 1000, "hold": hold}
    return Runner([redis.node, str(PROGRAM), "make"], told, REDIS_URL=redis.url)


def _resume(redis: Redis, name: str) -> dict[str, str]:
    """What a second device gets of it, and why no more."""
    ran = subprocess.run(
        [redis.node, str(PROGRAM), "read"], input=json.dumps({"id": name, "wait_ms": 3000}), capture_output=True,
        text=True, check=True, env={**os.environ, "REDIS_URL": redis.url}, timeout=60,
    )  # fmt: skip
    answer: dict[str, str] = json.loads(ran.stdout)
    return answer


# -- what is left ----------------------------------------------------------------------------------------------------


def _left(stack: LocalStack, redis: Redis | None, pieces: list[str]) -> Iterator[Figure]:
    """Half-way the runner is killed; then another one's store, whose runner goes on if it can."""
    sides = {OVER_HTTP: partial(_ours_left, stack), REWRITTEN: partial(_rewritten_left, stack)}
    if redis is not None:
        sides[RESUMABLE] = partial(_resumable_left, redis)
    for victim in ("runner", "store"):
        for name, side in sides.items():
            left, taken, detail = side(pieces, victim)
            # one more may have been written than was answered
            yield Figure(
                GROUP, f"left after kill -9 of the {victim}: {name}", min(left, taken), f"of {taken} chunks",
                detail=detail,
            )  # fmt: skip


def _ours_left(stack: LocalStack, pieces: list[str], victim: str) -> tuple[int, int, str]:
    turn = str(uuid4())
    with Client(stack.url, stack.token(USER)) as client:
        session = client.create_session()
        told = {
            "url": stack.url, "token": stack.token(USER), "session_id": session, "turn_id": turn, "chunks": pieces,
            "pause_seconds": PAUSE_SECONDS, "lease_seconds": 30 if victim == "store" else 2,
        }  # fmt: skip
        runner = Runner([sys.executable, "-m", "asyouwere.local.demo.runner"], told)
        with runner.half_way(len(pieces)):
            if victim == "store":
                stack.postgres.kill()
                taken = runner.taken
                stack.postgres.start()
                left = len(until_answered(lambda: client.turn(session, turn))["chunks"])
                runner.end()
                (message,) = client.messages(session)
                whole = message["content"] == "".join(pieces)
                return left, taken, "the runner asked again and finished the answer" if whole else str(message)
            runner.kill()
        killed = time.monotonic()
        while client.turn(session, turn)["status"] == "running":
            time.sleep(0.05)
        after = time.monotonic() - killed
        (message,) = client.messages(session)
        left = len(message["content"]) // len(pieces[0])
        return left, runner.taken, f"a message with status {message['status']!r}, {after:.1f} s later (lease: 2 s)"


def _rewritten_left(stack: LocalStack, pieces: list[str], victim: str) -> tuple[int, int, str]:
    message = str(uuid4())
    told = {"dsn": stack.dsn, "id": message, "chunks": pieces, "pause_seconds": PAUSE_SECONDS}
    runner = Runner([sys.executable, "-m", "tests.bench.peers.rewriting"], told)
    with runner.half_way(len(pieces)):
        if victim == "store":
            stack.postgres.kill()
            stack.postgres.start()
    with psycopg.connect(stack.dsn) as connection:
        row = connection.execute(rewriting.READ.encode(), (message,)).fetchone()
        assert row is not None
    return len(row[0] or "") // len(pieces[0]), runner.taken, f"a row whose status says {row[1]!r}, whoever asks"


def _resumable_left(redis: Redis, pieces: list[str], victim: str) -> tuple[int, int, str]:
    name = str(uuid4())
    runner = _resumable_runner(redis, name, pieces, PAUSE_SECONDS, hold=len(pieces) // 2)
    with runner.half_way(len(pieces)):
        taken = runner.taken
        if victim == "store":
            redis.kill()
            redis.start()
        else:
            runner.kill()
            taken = runner.taken
        resumed = _resume(redis, name)
    return len(resumed["text"]) // len(pieces[0]), taken, f"who resumes is told: {resumed['why'] or 'the rest'}"


class Runner:
    """A process that makes an answer. lines: what it has told so far, one for each chunk that was taken."""

    def __init__(self, command: list[str], told: Mapping[str, Any], **environment: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )  # fmt: skip
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            json.dump(told, pipe)
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            self.lines.extend(json.loads(line) for line in pipe if line.endswith("\n"))

    @property
    def taken(self) -> int:
        """How many chunks were taken."""
        return max((line.get("seq", 0) for line in self.lines), default=0)

    def wait_for(self, chunks: int) -> None:
        """Until so many were taken. Raises RuntimeError if they are not."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.taken < chunks:
            gone = self._process.poll() is not None and not self._hearing.is_alive()
            if gone or time.monotonic() > deadline:
                raise RuntimeError(f"{self.taken} of {chunks} chunks were taken")
            time.sleep(0.005)

    @contextmanager
    def half_way(self, chunks: int) -> Iterator[None]:
        """A block that begins when half of these were taken, and at whose end it is killed."""
        try:
            self.wait_for(chunks // 2)
            yield
        finally:
            self.kill()

    def end(self) -> None:
        """Wait until it has ended by itself, or not for ever."""
        try:
            self._process.wait(WAIT_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        self._hearing.join(WAIT_SECONDS)

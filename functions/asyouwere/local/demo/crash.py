"""SIGKILL in the middle of a save.

A save is sent from a thread. At a chosen moment, while it still waits for its answer, every process of the
functions server and of Postgres is killed. Nothing is staged: no lock holds the save up and no proxy loses
its answer, so it may win the race. Then nobody is killed, and the caller tries again with its next save.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, LiteralString

import httpx
import psutil
import psycopg

from asyouwere.local.demo.client import Refused
from asyouwere.local.stack import API_ROLE, LocalStack

ANSWER_SECONDS = 30.0
WATCH_SECONDS = 5.0

Answering = Future[dict[str, Any]]

Moment = Callable[[Answering], bool]
"""Waits for the moment to kill; False if the save was answered before it came."""

Watch = contextlib.AbstractContextManager[Moment]
"""Has the moment ready while it is open."""


@dataclass(frozen=True)
class Attempt:
    """What came of one try.

    ``killed``: the processes were ended; ``answer``: what the app got all the same, if anything;
    ``after_ms``: the time from sending the save to the kill; ``processes``: how many were killed.
    """

    killed: bool
    answer: dict[str, Any] | None
    after_ms: float
    processes: int = 0

    @property
    def in_flight(self) -> bool:
        """Whether the kill hit a save that was sent and not answered."""
        return self.killed and self.answer is None


def kill_during(stack: LocalStack, send: Callable[[], dict[str, Any]], moment: Moment) -> Attempt:
    """Send a save and kill everything at the moment, if it comes before the answer."""
    # Looked up before: finding them takes longer than the save. The functions go first, so that they do not
    # live to answer that the database is gone; then whoever works for them, the newest first.
    postgres = psutil.Process(stack.postgres.pid)
    children = sorted(postgres.children(recursive=True), key=psutil.Process.create_time, reverse=True)
    victims = [stack.functions.pid, *(child.pid for child in children), postgres.pid]
    with ThreadPoolExecutor(1) as sender:
        begin = time.perf_counter()
        answering = sender.submit(send)
        killed = moment(answering) and not answering.done()
        after_ms = (time.perf_counter() - begin) * 1000
        if killed:
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            stack.kill()  # waits until they are gone, and ends what they started in between
        return Attempt(killed, _answer(answering), after_ms, len(victims) if killed else 0)


def _answer(answering: Answering) -> dict[str, Any] | None:
    """What the app got; None for a broken connection, or for the word that the database is not there."""
    try:
        return answering.result(ANSWER_SECONDS)
    except httpx.TransportError:
        return None
    except Refused as exc:
        if exc.status not in (503, 504):
            raise
        return None


def at_work(dsn: str) -> Watch:
    """As soon as the database is seen at work for the functions: in the middle of the save's transaction."""
    return _once_seen(
        dsn, "select 1 from pg_stat_activity where usename = %s and state <> 'idle'", (API_ROLE,)
    )


def once_written(dsn: str, session_id: str, number: int) -> Watch:
    """As soon as another connection sees the snapshot, so that only its answer is missing."""
    statement: LiteralString = "select 1 from public.session_snapshots where session_id = %s and number = %s"
    return _once_seen(dsn, statement, (session_id, number))


@contextlib.contextmanager
def _once_seen(dsn: str, statement: LiteralString, arguments: tuple[Any, ...]) -> Iterator[Moment]:
    """When the statement gives a row. It is asked again and again over a connection that is open already."""
    with contextlib.closing(psycopg.connect(dsn, autocommit=True)) as watcher:
        watcher.execute(statement, arguments, prepare=True)

        def moment(answering: Answering) -> bool:
            deadline = time.monotonic() + WATCH_SECONDS
            while time.monotonic() < deadline and not answering.done():
                if watcher.execute(statement, arguments, prepare=True).fetchone():
                    return True
            return False

        yield moment

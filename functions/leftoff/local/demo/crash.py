"""SIGKILL in the middle of a save.

A save is sent from a thread. At a chosen moment, while it still waits for its answer, every process of the
functions server and of Postgres is killed. Nothing is staged: no lock holds the save up and no proxy loses its
answer, so it may win the race. Then nobody is killed, and the caller tries again with its next save.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import psycopg

from leftoff.local.demo.client import Refused
from leftoff.local.stack import LocalStack

ANSWER_SECONDS = 30.0

Answering = Future[dict[str, Any]]

Moment = Callable[[Answering], bool]
"""Waits for the moment to kill; False if the save was answered before it came."""


@dataclass(frozen=True)
class Attempt:
    """What came of one try. ``killed``: the processes were ended; ``answer``: what the app got before, if anything.

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
    # live to answer that the database is gone.
    victims = [stack.functions.pid, stack.postgres.pid]
    victims += [child.pid for child in psutil.Process(stack.postgres.pid).children(recursive=True)]
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


def after(seconds: float) -> Moment:
    """Some time after sending: most likely before anything is written for good."""

    def moment(answering: Answering) -> bool:
        return not wait([answering], seconds).done

    return moment


def once_written(dsn: str, session_id: str, number: int, seconds: float = 5.0) -> Moment:
    """As soon as another connection sees the snapshot, so that only its answer is missing."""
    watcher = psycopg.connect(dsn, autocommit=True)
    statement = "select 1 from public.session_snapshots where session_id = %s and number = %s"
    watcher.execute(statement, (session_id, number), prepare=True)

    def moment(answering: Answering) -> bool:
        with watcher:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not answering.done():
                if watcher.execute(statement, (session_id, number), prepare=True).fetchone():
                    return True
        return False

    return moment

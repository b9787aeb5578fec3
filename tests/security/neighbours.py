"""Neighbours: one hostile caller beside one who saves, lists and restores.

Every attack runs on many threads against a functions server and a Postgres with their real limits. It is a process of
its own, of the lowest priority: what hostile clients compute, they compute on machines of their own. Nothing of the
victim's may fail, the function stays under its memory, and a refused call costs Postgres' log little. Times are
printed, and judged in the long form only: at most so much longer than beside nobody.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from tests.security.bombs import listener, memory_of
from tests.security.hostile import ATTACKS, Attack, Caller, Stage, Step
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

MEBIBYTE: Final = 1024 * 1024
MOST_MEMORY: Final = 512 * MEBIBYTE
MOST_LOG_BYTES: Final = 10_000
LONGER_MS: Final = 100.0
#: What everybody has: Place lifts them for its one person, here they are what protects the others.
LIMITS: Final = """
    update asyouwere.settings
    set writes_per_second = default, writes_at_once = default, max_stored_bytes_per_user = default
"""


@dataclass
class Seen:
    """The victim's calls beside an attack, in milliseconds, and what the attack cost.

    memory: the function's peak in bytes; log: bytes more of Postgres' log; calls, refused, answers: of the hostile
    one, the latter by status and code.
    """

    times: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    memory: float = 0.0
    log: int = 0
    calls: int = 0
    refused: int = 0
    answers: str = ""

    def quantile(self, share: float) -> float:
        ordered = sorted(self.times) or [0.0]
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    @property
    def log_bytes(self) -> int:
        """Of Postgres' log, for each call that was refused."""
        return self.log // self.refused if self.refused else 0

    def __str__(self) -> str:
        waited = f"p50 {self.quantile(0.5):.0f}, p99 {self.quantile(0.99):.0f}, worst {self.quantile(1):.0f} ms"
        hurt = f", {len(self.failed)} failed" if self.failed else ""
        cost = f"{self.memory / MEBIBYTE:.0f} MiB, {self.log_bytes} B of log a refused call"
        return f"{waited} of {len(self.times)} calls{hurt}; {self.refused} of {self.calls} refused ({self.answers}); {cost}"


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """Beside nobody, then beside each attack."""
    outcome.short = (
        "attacks",
        "victim's calls",
        "victim's calls that failed",
        "most memory",
        "most log a refused call",
    )
    outcome.figures.update({"attacks": 0, "victim's calls": 0, "victim's calls that failed": 0})
    seconds = 10.0 if long else 1.5
    with Place(folder) as place:
        outcome.facts.update(place.facts())
        place.db.superuser.execute(LIMITS)
        victim = Victim(place)
        alone = victim.watched(seconds, Hostile(0, lambda: None))
        outcome.figures["beside nobody"] = str(alone)
        judge(outcome, "beside nobody", alone, alone, long=False)
        worst = Seen()
        for attack in ATTACKS:
            say(attack.name)
            seen = beside(place, victim, attack, seconds, long)
            outcome.count("attacks")
            outcome.figures[f"{attack.item} {attack.name}"] = str(seen)
            judge(outcome, attack.name, seen, alone, long=long)
            worst.memory = max(worst.memory, seen.memory)
            worst.log = max(worst.log, seen.log_bytes)
        victim.close()
    outcome.figures["most memory"] = f"{worst.memory / MEBIBYTE:.0f} MiB"
    outcome.figures["most log a refused call"] = f"{worst.log} B"


def judge(outcome: Outcome, name: str, seen: Seen, alone: Seen, *, long: bool) -> None:
    """What must hold beside an attack; times only in the long form."""
    outcome.count("victim's calls", len(seen.times))
    outcome.count("victim's calls that failed", len(seen.failed))
    outcome.require(bool(seen.times), f"{name}: the victim never called")
    if seen.failed:
        outcome.failures.append(f"{name}: {len(seen.failed)} calls of the victim failed, first: {seen.failed[0]}")
    outcome.require(seen.memory <= MOST_MEMORY, f"{name}: the function used {seen.memory / MEBIBYTE:.0f} MiB")
    outcome.require(seen.log_bytes <= MOST_LOG_BYTES, f"{name}: {seen.log_bytes} bytes of log a refused call")
    outcome.require("40P01" not in seen.answers, f"{name}: deadlocks: {seen.answers}")
    if long:
        longer = seen.quantile(1) - alone.quantile(1)
        outcome.require(longer <= LONGER_MS, f"{name}: the victim waited {longer:.0f} ms longer than beside nobody")


def beside(place: Place, victim: Victim, attack: Attack, seconds: float, long: bool) -> Seen:
    """One attack, by somebody new in an otherwise quiet place."""
    db = place.db
    name = f"mallory of {attack.name}"
    hostile = Caller(place.url, str(db.user(name)))
    service = Caller(place.url, "scheduler", "service_role")
    stage = Stage(name, hostile, victim.caller, service, db, long)
    victim.forget_peak()
    log, before = place.postgres.log, place.postgres.log.stat().st_size
    try:
        seen = victim.watched(seconds, Hostile(attack.threads, attack.prepare(stage), hostile, service))
        seen.calls, seen.refused = sum(hostile.answers.values()), hostile.refused
        seen.answers = ", ".join(f"{count} × {answer}" for answer, count in hostile.answers.most_common())
        seen.log = log.stat().st_size - before
        bad = sum(count for status, count in service.answers.items() if status != "200")
        if bad:
            seen.failed.append(f"the clean-up: {dict(service.answers)}")
    finally:
        hostile.close()
        service.close()
    return seen


class Hostile:
    """Repeats a step on so many threads of a process of its own, for the length of a block.

    callers: those who count their answers there; the counts are brought back at the end.
    """

    def __init__(self, threads: int, step: Step, *callers: Caller) -> None:
        self._threads = threads
        self._step = step
        self._callers = callers
        context = multiprocessing.get_context("fork")
        self._over = context.Event()
        self._counts, counts = context.Pipe(duplex=False)
        self._process = context.Process(target=self._repeat, args=(counts,), daemon=True)

    def __enter__(self) -> None:
        self._process.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for caller in self._callers:
            caller.answers = self._counts.recv() if self._counts.poll(90) else Counter({"none": 1})
        self._process.join(30)

    def _repeat(self, counts: Connection) -> None:
        os.nice(19)
        for caller in self._callers:
            caller.connect()  # the parent's connections are the parent's
        busy = [threading.Thread(target=self._again, daemon=True) for _ in range(self._threads)]
        for thread in busy:
            thread.start()
        for thread in busy:
            thread.join()
        for caller in self._callers:
            counts.send(caller.answers)
        os._exit(0)  # and no connection is closed that the parent still uses

    def _again(self) -> None:
        while not self._over.is_set():
            self._step()


class Victim:
    """Saves a message, lists, restores, one after the other."""

    def __init__(self, place: Place) -> None:
        self.caller = Caller(place.url, place.user)
        self._process = Path(f"/proc/{listener(urlsplit(place.url).port or 0).pid}")
        self._session = self.caller.session(name="mine")
        for number in range(20):
            self.caller.session(name=f"another {number}")
        message = '{"role":"user","content":"Where were we?"}'
        self.caller.save(self._session, f'"state":{{"messages":[{",".join([message] * 200)}]}}')
        self._calls: tuple[tuple[str, Callable[[], httpx.Response | None]], ...] = (
            ("save", lambda: self.caller.save(self._session, f'"changes":{{"append":{{"/messages":[{message}]}}}}')),
            ("list", lambda: self.caller.call("GET", "/sessions")),
            ("restore", lambda: self.caller.restore(self._session)),
        )
        self._once(Seen())  # once, so that no first connection is counted

    def forget_peak(self) -> None:
        """The function's peak of memory begins anew."""
        (self._process / "clear_refs").write_text("5")

    def watched(self, seconds: float, hostile: Hostile) -> Seen:
        """Call for so long beside somebody hostile."""
        seen = Seen()
        with hostile:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self._once(seen)
                time.sleep(0.05)
        seen.memory = memory_of(self._process, "VmHWM")
        return seen

    def close(self) -> None:
        self.caller.close()

    def _once(self, seen: Seen) -> None:
        for name, call in self._calls:
            begin = time.monotonic()
            answer = call()
            seen.times.append((time.monotonic() - begin) * 1000)
            if answer is None or not answer.is_success:
                seen.failed.append(f"{name}: {'no answer' if answer is None else answer.text[:200]}")

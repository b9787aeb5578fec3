"""Crash: Postgres is killed again and again, and the functions with or without it, under eight writers.

Each writer saves through the HTTP functions with an idempotency key and asks again until it is answered. What
is stored afterwards must be what the model makes of the answered operations, each once, in the order of their
numbers. A kill is SIGKILL of every process at once: what Postgres had not given to the kernel is lost, what the
kernel had not given to the disk is not. (Only pulling the plug would show that; fsync is on.)
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.trust.place import Place
from tests.trust.report import Outcome, Say
from tests.trust.writers import PATIENCE_SECONDS, SEED, Checker, Shifts, Steady, raise_errors

WRITERS = 8
CHECK_EVERY_CYCLES = 10
# Who is killed, in turn; the moments are chance. "apart": the functions first and Postgres some time later.
KINDS = ("functions apart", "postgres", "functions apart", "functions first")


@dataclass(frozen=True)
class Size:
    """What a run has to reach. limit_seconds: it gives up then, and says so."""

    cycles: int
    answered: int
    ambiguous: int
    up_seconds: tuple[float, float]
    limit_seconds: float


SHORT = Size(cycles=5, answered=300, ambiguous=1, up_seconds=(0.8, 1.6), limit_seconds=120)
LONG = Size(cycles=200, answered=100_000, ambiguous=50, up_seconds=(0.5, 4.5), limit_seconds=3600)


def run(outcome: Outcome, folder: Path, long: bool, say: Say, size: Size | None = None) -> None:
    """Kill, start, check, until there were enough cycles and answered saves."""
    size = size or (LONG if long else SHORT)
    outcome.short = ("kills of Postgres", "answered saves", "missing", "counted twice", "ambiguous")
    with Place(folder) as place:
        outcome.facts.update(place.facts())
        shifts = Shifts(place.driver())
        writers = [Steady(number, place.driver(), shifts, wild=0.25) for number in range(WRITERS)]
        checker = Checker(outcome, place.driver(), place.postgres.dsn)
        for writer in writers:
            writer.start()
        try:
            _cycles(outcome, place, shifts, checker, writers, size, say)
        finally:
            shifts.over.set()
            for writer in writers:
                writer.join(PATIENCE_SECONDS)
        raise_errors(writers)
        for log in shifts.all_of_them():
            checker.check(log)
            say(f"checked {outcome.figures['answered saves']:,} saves")
    for name in ("missing", "counted twice"):
        outcome.figures.setdefault(name, 0)
    outcome.require(int(outcome.figures["kills of Postgres"]) >= size.cycles, "too few kills in the time")
    outcome.require(int(outcome.figures["answered saves"]) >= size.answered, "too few saves in the time")
    outcome.require(
        int(outcome.figures.get("ambiguous", 0)) >= size.ambiguous,
        f"the run does not count: fewer than {size.ambiguous} saves were ambiguous",
    )


def _cycles(
    outcome: Outcome,
    place: Place,
    shifts: Shifts,
    checker: Checker,
    writers: list[Steady],
    size: Size,
    say: Say,
) -> None:
    chance = random.Random(SEED)
    begin = time.monotonic()
    cycle, down = 0, 0.0
    while cycle < size.cycles or shifts.answered < size.answered:
        if time.monotonic() - begin > size.limit_seconds:
            break
        cycle += 1
        shifts.refill()
        time.sleep(chance.uniform(*size.up_seconds))
        down += _kill_and_start(outcome, place, KINDS[cycle % len(KINDS) - 1], chance)
        raise_errors(writers)
        if cycle % CHECK_EVERY_CYCLES == 0:
            checking = time.monotonic()
            with shifts.paused():
                for log in shifts.take_retired():
                    checker.check(log)
            down += time.monotonic() - checking
        say(f"{cycle:,} of {size.cycles:,} kills, {shifts.answered:,} of {size.answered:,} saves answered")
    outcome.figures["answered a second while up"] = shifts.answered / max(
        1e-9, time.monotonic() - begin - down
    )


def _kill_and_start(outcome: Outcome, place: Place, kind: str, chance: random.Random) -> float:
    """One cycle; how long it took."""
    begin = time.monotonic()
    if kind != "postgres":
        outcome.count("kills of the functions")
        place.functions.kill()
    if kind == "functions apart":
        place.functions.start()
        time.sleep(chance.uniform(0.2, 0.8))
    outcome.count("kills of Postgres")
    place.postgres.kill()
    place.restart_postgres()
    if kind == "functions first":
        place.functions.start()
    with psycopg.connect(place.postgres.dsn) as admin:
        admin.execute("select 1")
    return time.monotonic() - begin

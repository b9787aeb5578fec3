"""Crash: Postgres is killed again and again, and the functions with or without it, under eight writers.

Each writer saves through the HTTP functions with an idempotency key and asks again until it is answered. What
is stored afterwards must be what the model makes of the answered operations, each once, in the order of their
numbers. A kill is SIGKILL of every process at once: what Postgres had not given to the kernel is lost, what the
kernel had not given to the disk is not. (Only pulling the plug would show that; fsync is on.)
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.property.checks import Storage, check_list, check_number, check_sync
from tests.property.drivers import Driver
from tests.property.exact import State
from tests.property.model import Operation
from tests.property.writing import Done, Log, Writer, again, replayed
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

WRITERS = 8
OPEN_SESSIONS = 6
OPERATIONS_A_SESSION = 120
CHECK_EVERY_CYCLES = 10
PATIENCE_SECONDS = 120.0
SEED = 20260101


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
        shifts = Shifts(place)
        writers = [Steady(number, place.driver(), shifts) for number in range(WRITERS)]
        checker = Checker(outcome, place.driver(), place.postgres.dsn)
        for writer in writers:
            writer.start()
        try:
            _cycles(outcome, place, shifts, checker, writers, size, say)
        finally:
            shifts.over.set()
            for writer in writers:
                writer.join(PATIENCE_SECONDS)
        _raise_errors(writers)
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


class Shifts:
    """Which sessions are being written to. A session that has had enough is retired and another opened."""

    def __init__(self, place: Place) -> None:
        self.over = threading.Event()
        self.answered = 0
        self.retired: list[Log] = []
        self._driver = place.driver()
        self._lock = threading.Lock()
        self._open = [Log(self._driver.new_session()) for _ in range(OPEN_SESSIONS)]
        self._spare = [Log(self._driver.new_session()) for _ in range(OPEN_SESSIONS)]
        self._busy: dict[str, int] = {}

    def take(self, chance: random.Random) -> Log:
        """A session to do one operation in."""
        with self._lock:
            log = chance.choice(self._open)
            self._busy[log.session] = self._busy.get(log.session, 0) + 1
            return log

    def give_back(self, log: Log, answered: bool) -> None:
        """The operation is over; answered: and not refused."""
        with self._lock:
            self.answered += answered
            self._busy[log.session] -= 1
            if len(log.done) >= OPERATIONS_A_SESSION and log in self._open and self._spare:
                self._open.remove(log)
                self._open.append(self._spare.pop())
                self.retired.append(log)

    def refill(self) -> None:
        """Make new sessions to come; while everything is up."""
        missing = OPEN_SESSIONS * 2 - len(self._spare)
        made = [Log(self._driver.new_session()) for _ in range(missing)]
        with self._lock:
            self._spare += made

    def take_retired(self) -> list[Log]:
        """Those that nobody is writing to any more; each is given once."""
        with self._lock:
            idle = [log for log in self.retired if not self._busy[log.session]]
            self.retired = [log for log in self.retired if self._busy[log.session]]
            return idle

    def all_of_them(self) -> list[Log]:
        """Whatever was not yet checked, when all writers are done."""
        return self.retired + self._open


class Steady(Writer):
    """A writer that goes on until told."""

    def __init__(self, number: int, driver: Driver, shifts: Shifts) -> None:
        super().__init__(number, driver, [], patience=PATIENCE_SECONDS)
        self.shifts = shifts

    def work(self) -> None:
        count = 0
        while not self.shifts.over.is_set():
            count += 1
            log = self.shifts.take(self.random)
            answered = False
            try:
                answered = self.step(log, f"{self.number}-{count}")
            finally:
                self.shifts.give_back(log, answered)

    def _operation(self, name: str, base: int, copy: State) -> Operation:
        """Mostly what an agent does, so that few saves are refused; the rest is anything at all."""
        if self.random.random() < 0.25:
            return super()._operation(name, base, copy)
        token = f'{{"role":"user","content":"{name}"}}'
        op: Operation = {"do": "save", "on": 0, "key": name, "way": self.random.randrange(2), "label": None}
        op["changes"] = f'{{"append":{{"/messages":[{token}]}},"set":{{"/step {self.number}":"{name}"}}}}'
        return {**op, "base": base, "on_conflict": "merge"}


class Checker:
    """Compares a session with what the model makes of its answered operations."""

    def __init__(self, outcome: Outcome, driver: Driver, dsn: str) -> None:
        self.outcome = outcome
        self.driver = driver
        self.dsn = dsn
        self.random = random.Random(SEED)

    def check(self, log: Log) -> None:
        """Every number in the tables; a few of them, the list and the catching up as clients see them."""
        storage = Storage(self.dsn)
        try:
            self._count(storage, log)
            model = replayed(log)
            storage.check_tables(log.session, model)
            some = self.random.sample(model.kept, min(3, len(model.kept)))
            again(lambda: check_list(self.driver, log.session, model))
            for number in {*some, *model.kept[-1:]}:
                again(lambda number=number: check_number(self.driver, storage, log.session, model, number))
                again(lambda number=number: check_sync(self.driver, log.session, model, number))
        finally:
            storage.close()
        log.done.clear()

    def _count(self, storage: Storage, log: Log) -> None:
        """Missing and counted twice, by number; ambiguous, by the time at which the key was stored."""
        stored = {
            row["number"]: row["created_at"].timestamp()
            for row in storage.rows(
                "select number, created_at from session_snapshots where session_id = %s", log.session
            )
        }
        made = [done for done in log.done if done.row.get("created", True)]
        answered = {done.row["number"] for done in made}
        count = self.outcome.count
        count("answered saves", len(log.done))
        count("snapshots", len(stored))
        count("refused", log.refused)
        count("asked again", log.repeated)
        count("missing", len(answered - stored.keys()))
        count("counted twice", len(stored.keys() - answered))
        # Stored before the request was sent that got the answer: an earlier one, not answered, had done it.
        ambiguous = [d for d in made if d.lost and stored.get(d.row["number"], d.sent_at) < d.sent_at]
        count("ambiguous", len(ambiguous))
        count("ambiguous, in the functions' own second try", len([d for d in made if _hidden(d)]))


def _hidden(done: Done) -> bool:
    return not done.lost and bool(done.row.get("replayed"))


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
        down += _kill_and_start(outcome, place, chance)
        _raise_errors(writers)
        if cycle % CHECK_EVERY_CYCLES == 0:
            for log in shifts.take_retired():
                checker.check(log)
        say(f"{cycle:,} of {size.cycles:,} kills, {shifts.answered:,} of {size.answered:,} saves answered")
    outcome.figures["answered a second while up"] = shifts.answered / max(
        1e-9, time.monotonic() - begin - down
    )
    outcome.figures["mean seconds down a kill"] = round(down / cycle, 2)


def _kill_and_start(outcome: Outcome, place: Place, chance: random.Random) -> float:
    """One cycle: who is killed, and in which order, is chance. How long it took."""
    begin = time.monotonic()
    kind = chance.choice(["postgres", "functions first", "functions apart", "functions apart"])
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


def _raise_errors(writers: list[Steady]) -> None:
    for writer in writers:
        if writer.error is not None:
            raise writer.error

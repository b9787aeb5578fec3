"""Eight writers that go on while a run does its worst, and the check of what they saved."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from functools import partial

from tests.property.checks import Storage, check_list, check_number, check_sync
from tests.property.drivers import Driver
from tests.property.exact import State
from tests.property.model import Operation
from tests.property.writing import Done, Log, Writer, again, replayed
from tests.trust.report import Outcome

OPEN_SESSIONS = 6
SPARE_SESSIONS = 24
OPERATIONS_A_SESSION = 120
PATIENCE_SECONDS = 120.0
SEED = 20260101


class Shifts:
    """Which sessions are being written to. A session that has had enough is retired and another opened."""

    def __init__(self, driver: Driver) -> None:
        self.over = threading.Event()
        self.answered = 0
        self.retired: list[Log] = []
        self._driver = driver
        self._lock = threading.Lock()
        self._open = [Log(again(self._driver.new_session)) for _ in range(OPEN_SESSIONS)]
        self._spare: list[Log] = []
        self._busy: dict[str, int] = {}
        self._open_for_work = threading.Event()
        self._open_for_work.set()
        self.refill()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """No new operation is begun while this lasts, so that checking has the processor to itself."""
        self._open_for_work.clear()
        try:
            yield
        finally:
            self._open_for_work.set()

    def take(self, chance: random.Random) -> Log:
        """A session to do one operation in."""
        self._open_for_work.wait()
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
        missing = SPARE_SESSIONS - len(self._spare)
        made = [Log(again(self._driver.new_session)) for _ in range(missing)]
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
    """A writer that goes on until told. wild: the share of operations that may be anything at all, and refused;
    the rest is what an agent does, and no other writer can be in its way.
    """

    def __init__(self, number: int, driver: Driver, shifts: Shifts, *, wild: float = 0.0) -> None:
        super().__init__(number, driver, [], patience=PATIENCE_SECONDS)
        self.shifts = shifts
        self.wild = wild

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

    def _operation(self, name: str, base: int | None, copy: State) -> Operation:
        if self.random.random() < self.wild:
            return super()._operation(name, base or 0, copy)
        token = f'{{"role":"user","content":"{name}"}}'
        op: Operation = {"do": "save", "on": 0, "key": name, "way": self.random.randrange(2), "label": None}
        op["changes"] = f'{{"append":{{"/messages":[{token}]}}}}'
        if self.random.random() < 0.5:
            # its own address, and yet without a base: it may have changed it since the copy it has
            op["changes"] = op["changes"][:-1] + f',"set":{{"/step {self.number}":"{name}"}}}}'
            base = None
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
            again(partial(check_list, self.driver, log.session, model))
            for number in {*some, *model.kept[-1:]}:
                again(partial(check_number, self.driver, storage, log.session, model, number))
                again(partial(check_sync, self.driver, log.session, model, number))
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


def raise_errors(writers: list[Steady]) -> None:
    """What stopped a writer, if anything did."""
    for writer in writers:
        if writer.error is not None:
            raise writer.error

"""Eight writers at once, on one session and on several, with connections cut under them.

Saves of a session come one after the other, so whatever the threads did, the snapshots must be what the model
makes of the accepted operations when it does them in the order of their numbers.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.property.checks import Storage, caught_up, check_diff, check_list, check_number, check_sync
from tests.property.drivers import Driver, Handle, Refusal, Unanswered
from tests.property.exact import State, messages_in, state_of
from tests.property.generator import Generator
from tests.property.model import Operation, SessionModel
from tests.property.sequences import check_answer, wanted_answer
from tests.property.sql_driver import SqlDriver
from tests.support.database import Db

WRITERS = 8
OPERATIONS = 25
KEEP = 4
MAY_BE_REFUSED = {
    "conflict", "snapshot_gone", "list_gap", "not_a_list", "missing_parent", "address_below_part",
    "invalid_address", "overlapping_addresses", "invalid_state", "invalid_changes",
}  # fmt: skip


@dataclass
class Done:
    """An accepted operation with its answer, and what its writer made of it."""

    op: Operation
    row: dict[str, Any]
    copy: State | None


@dataclass
class Log:
    """What all writers did to one session."""

    session: Handle
    done: list[Done] = field(default_factory=list)
    refused: int = 0
    repeated: int = 0


class Writer(threading.Thread):
    """One client: keeps a copy of the state of each session, lags behind, catches up, retries."""

    def __init__(self, number: int, driver: Driver, logs: list[Log]) -> None:
        super().__init__(name=f"writer {number}", daemon=True)
        self.number = number
        self.driver = driver
        self.logs = logs
        self.random = random.Random(number)
        self.generator = Generator(number, 1)
        self.copies: dict[Handle, tuple[int, State]] = {log.session: (0, {}) for log in logs}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for count in range(OPERATIONS):
                self.step(self.random.choice(self.logs), f"{self.number}-{count}")
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error

    def step(self, log: Log, name: str) -> None:
        """One operation, asked for until it is answered."""
        base, copy = self.copies[log.session]
        op = self._operation(name, base, copy)
        do = {"save": self.driver.save, "messages": self.driver.append_messages, "revert": self.driver.revert}
        try:
            row = self._insist(log, lambda: do[op["do"]](log.session, op))
        except Refusal as refusal:
            if refusal.code not in MAY_BE_REFUSED:
                raise
            log.refused += 1
            self._restore(log.session)
            return
        if self.random.random() < 0.15:
            repeated = self._insist(log, lambda: do[op["do"]](log.session, op))
            assert repeated["number"] == row["number"], f"{op}: first {row}, then {repeated}"
        others = row.get("others")
        kept = caught_up(copy, others) if others is not None and op["base"] is not None else None
        log.done.append(Done(op, row, kept))
        if kept is not None:
            self.copies[log.session] = row["number"], kept
        elif self.random.random() < 0.6:
            self._restore(log.session)

    def _operation(self, name: str, base: int, copy: State) -> Operation:
        chance = self.random.random()
        common = {"on": 0, "key": name, "way": self.random.randrange(2)}
        token = f'{{"role":"user","content":"{name}"}}'
        if chance < 0.3:
            return {"do": "messages", "items": [token], "base": None, **common}
        if chance < 0.36 and base > 0:
            return {"do": "revert", "number": base, "base": None, **common}
        op: Operation = {"do": "save", "base": base, "label": None, "on_conflict": "merge", **common}
        if chance < 0.55:
            op["changes"] = f'{{"append":{{"/messages":[{token}]}},"set":{{"/at {self.number}":"{name}"}}}}'
        elif chance < 0.75:
            op["state"] = self.generator.whole_state(copy)
        else:
            op["changes"] = self.generator.changes(copy)
            op["on_conflict"] = self.random.choice(["merge", "merge", "overwrite"])
        return op

    def _insist(self, log: Log, attempt: Callable[[], Any]) -> Any:
        for _ in range(30):
            try:
                return attempt()
            except Unanswered:
                log.repeated += 1
                time.sleep(0.02)
        raise AssertionError("thirty times no answer")

    def _restore(self, session: Handle) -> None:
        restored = self._insist(self.logs[0], lambda: self.driver.restore(session))
        self.copies[session] = restored.number, state_of(restored.state)


class Cutter(threading.Thread):
    """Ends database connections of the writers, again and again."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(name="cutter", daemon=True)
        self.storage = storage
        self.over = threading.Event()
        self.cut = 0

    def run(self) -> None:
        while not self.over.wait(0.15):
            rows = self.storage.rows(
                "select count(pg_terminate_backend(pid)) as cut from (select pid from pg_stat_activity"
                " where datname = current_database() and usename = 'authenticator'"
                " order by random() limit 1) a"
            )
            self.cut += rows[0]["cut"]


class Cleaner(threading.Thread):
    """Prunes all sessions, again and again."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(name="cleaner", daemon=True)
        self.driver = driver
        self.over = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.over.wait(0.05):
                self.driver.prune(KEEP, 1)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error


@pytest.fixture(params=["sql", "http"])
def drivers(request: pytest.FixtureRequest, shared: Db) -> Iterator[list[Driver]]:
    """One driver for each writer, all the same person."""
    one: Driver = SqlDriver(shared) if request.param == "sql" else request.getfixturevalue("functions")
    made = [one.another() for _ in range(WRITERS)]
    yield made
    for driver in made:
        driver.close()


@pytest.mark.parametrize("sessions", [1, 3])
def test_writers__at_once(drivers: list[Driver], storage: Storage, sessions: int) -> None:
    for log in write(drivers, sessions):
        check_log(drivers[0], storage, log)
        storage.drop([log.session])


@pytest.mark.parametrize("sessions", [1, 3])
def test_writers__with_connections_cut(drivers: list[Driver], storage: Storage, sessions: int) -> None:
    cutter = Cutter(storage)
    cutter.start()
    try:
        logs = write(drivers, sessions)
    finally:
        cutter.over.set()
        cutter.join(10)
    assert cutter.cut > 0
    for log in logs:
        check_log(drivers[0], storage, log)
        storage.drop([log.session])


def test_writers__while_the_cleanup_runs(drivers: list[Driver], storage: Storage) -> None:
    cleaner = Cleaner(drivers[0].another())
    cleaner.start()
    try:
        logs = write(drivers, 3)
    finally:
        cleaner.over.set()
        cleaner.join(10)
        cleaner.driver.close()
    if cleaner.error is not None:
        raise cleaner.error
    drivers[0].prune(KEEP, 100)
    for log in logs:
        check_log(drivers[0], storage, log, keep=KEEP)
        storage.drop([log.session])


def write(drivers: list[Driver], sessions: int) -> list[Log]:
    """Let all writers do their operations; what they did to each session."""
    logs = [Log(drivers[0].new_session()) for _ in range(sessions)]
    writers = [Writer(number, driver, logs) for number, driver in enumerate(drivers)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert not writer.is_alive(), f"{writer.name} hangs"
    for writer in writers:
        if writer.error is not None:
            raise writer.error
    assert sum(len(log.done) for log in logs) > WRITERS * OPERATIONS / 3, "hardly anything was accepted"
    return logs


def check_log(driver: Driver, storage: Storage, log: Log, keep: int | None = None) -> None:
    """The accepted operations, done again one after the other, make what is stored."""
    model = SessionModel()
    for done in in_order(log):
        expected = model.expect(done.op)
        wanted = wanted_answer(done.op, done.row, expected, model)
        if done.row.get("replayed"):
            assert done.row["number"] == wanted.number
        else:
            check_answer(done.op, done.row, wanted, expected, model)
        model.done(done.op, expected, wanted)
        if done.copy is not None:
            assert done.copy == model.states[done.row["number"]], f"{done.op}: the writer's copy is wrong"
    if keep is not None:
        model.prune(keep)
    again(driver, lambda: check_everything(driver, storage, log, model))


def in_order(log: Log) -> list[Done]:
    """By number; what made no snapshot comes right after the one it found."""

    def created(done: Done) -> bool:
        return bool(done.row.get("created", True))  # messages always make a snapshot

    ordered = sorted(log.done, key=lambda done: (done.row["number"], not created(done)))
    made = [done.row["number"] for done in ordered if created(done)]
    assert made == list(range(1, len(made) + 1)), f"numbers are not 1, 2, 3 …: {made}"
    return ordered


def check_everything(driver: Driver, storage: Storage, log: Log, model: SessionModel) -> None:
    """Every number, the lists, the tables, and every message once and in its place."""
    chance = random.Random(1)
    for number in model.kept:
        check_number(driver, storage, log.session, model, number)
        check_sync(driver, log.session, model, number)
    check_list(driver, log.session, model)
    for _ in range(5):
        check_diff(driver, log.session, model, chance.choice(model.kept), chance.choice(model.kept))
    positions = [position for position, _ in driver.messages(log.session)]
    assert positions == list(range(len(messages_in(model.state))))
    storage.check_tables(log.session, model)


def again(driver: Driver, attempt: Callable[[], None]) -> None:
    """Once more if the connection was one of those that were cut."""
    for _ in range(WRITERS + 2):
        try:
            return attempt()
        except Unanswered:
            continue
    raise AssertionError("no connection")

"""Writers that save at once into the same sessions, and the check that nothing of it was lost.

Saves of a session come one after the other, so whatever the threads did, the snapshots must be what the model
makes of the accepted operations when it does them in the order of their numbers.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.property.checks import Storage, caught_up, check_diff, check_list, check_number, check_sync
from tests.property.drivers import Driver, Handle, Refusal, Unanswered
from tests.property.exact import State, messages_in, state_of
from tests.property.generator import Generator
from tests.property.model import Operation, SessionModel
from tests.property.sequences import check_answer, wanted_answer

PATIENCE_SECONDS = 15.0
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
    lost: int = 0
    """How many times it was sent before without an answer that says what became of it."""
    sent_at: float = 0.0
    """When the request was sent that got the answer; seconds since 1970."""


@dataclass
class Log:
    """What all writers did to one session."""

    session: Handle
    done: list[Done] = field(default_factory=list)
    refused: int = 0
    repeated: int = 0


@dataclass
class Reply:
    """The answer to a request that was sent until there was one."""

    row: Any
    lost: int
    sent_at: float


class Writer(threading.Thread):
    """One client: keeps a copy of the state of each session, lags behind, catches up, retries.

    operations: how many it does when it is run; patience: seconds until it gives up waiting for an answer.
    """

    def __init__(
        self,
        number: int,
        driver: Driver,
        logs: list[Log],
        *,
        operations: int = 0,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(name=f"writer {number}", daemon=True)
        self.number = number
        self.driver = driver
        self.logs = logs
        self.operations = operations
        self.patience = patience
        self.random = random.Random(number)
        self.generator = Generator(number, 1)
        self.copies: dict[Handle, tuple[int, State]] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error

    def work(self) -> None:
        """All its operations."""
        for count in range(self.operations):
            self.step(self.random.choice(self.logs), f"{self.number}-{count}")

    def step(self, log: Log, name: str) -> bool:
        """One operation, asked for until it is answered; whether it was accepted. Its name is its key."""
        base, copy = self.copies.get(log.session, (0, {}))
        op = self._operation(name, base, copy)
        do = {"save": self.driver.save, "messages": self.driver.append_messages, "revert": self.driver.revert}
        try:
            reply = self._insist(log, lambda: do[op["do"]](log.session, op))
        except Refusal as refusal:
            if refusal.code not in MAY_BE_REFUSED:
                raise
            log.refused += 1
            self._restore(log)
            return False
        row = reply.row
        if self.random.random() < 0.15:
            repeated = self._insist(log, lambda: do[op["do"]](log.session, op)).row
            assert repeated["number"] == row["number"], f"{op}: first {row}, then {repeated}"
        others = row.get("others")
        kept = caught_up(copy, others) if others is not None and op["base"] is not None else None
        log.done.append(Done(op, row, kept, reply.lost, reply.sent_at))
        if kept is not None:
            self.copies[log.session] = row["number"], kept
        elif self.random.random() < 0.6:
            self._restore(log)
        return True

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

    def _insist(self, log: Log, attempt: Callable[[], Any]) -> Reply:
        lost, deadline = 0, time.monotonic() + self.patience
        while True:
            sent_at = time.time()
            try:
                return Reply(attempt(), lost, sent_at)
            except Unanswered as exc:
                if time.monotonic() > deadline:
                    raise AssertionError(f"no answer for {self.patience} s: {exc}") from exc
            lost += 1
            log.repeated += 1
            time.sleep(self.random.uniform(0.01, min(0.02 * lost, 0.2)))

    def _restore(self, log: Log) -> None:
        restored = self._insist(log, lambda: self.driver.restore(log.session)).row
        self.copies[log.session] = restored.number, state_of(restored.state)


def check_log(driver: Driver, storage: Storage, log: Log, keep: int | None = None) -> None:
    """The accepted operations, done again one after the other, make what is stored."""
    model = replayed(log)
    if keep is not None:
        model.prune(keep)
    again(lambda: check_everything(driver, storage, log, model))


def replayed(log: Log) -> SessionModel:
    """The session as it must be: the accepted operations done one after the other, each answer compared."""
    model = SessionModel()
    for done in in_order(log.done):
        replay(model, done)
    return model


def replay(model: SessionModel, done: Done) -> None:
    """One accepted operation more; its answer must be the model's."""
    expected = model.expect(done.op)
    wanted = wanted_answer(done.op, done.row, expected, model)
    if done.row.get("replayed"):
        assert done.row["number"] == wanted.number
    else:
        check_answer(done.op, done.row, wanted, expected, model)
    model.done(done.op, expected, wanted)
    if done.copy is not None:
        assert done.copy == model.states[done.row["number"]], f"{done.op}: the writer's copy is wrong"


def in_order(accepted: list[Done], first: int = 1) -> list[Done]:
    """By number, from the first on; what made no snapshot comes right after the one it found."""

    def created(done: Done) -> bool:
        return bool(done.row.get("created", True))  # messages always make a snapshot

    ordered = sorted(accepted, key=lambda done: (done.row["number"], not created(done)))
    made = [done.row["number"] for done in ordered if created(done)]
    assert made == list(range(first, first + len(made))), f"numbers are not {first}, {first + 1} …: {made}"
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


T = TypeVar("T")


def again(attempt: Callable[[], T]) -> T:
    """What it gives; tried once more if the connection was one of those that were cut."""
    for _ in range(10):
        try:
            return attempt()
        except Unanswered:
            continue
    raise AssertionError("no connection")

"""Clean-up against everything: save, restore, label, revert, fork, delete and clean-up of one session at once.

Each interleaving fires three to seven of these at the same moment, from threads with connections of their own,
and then compares every answer, and all that is stored, with what the model makes of the accepted ones. A restore
must have got a whole snapshot or a clear 404 or 410, and may be refused only what the clean-up may take: never the
latest, never a labelled one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.property.checks import Storage, caught_up
from tests.property.drivers import Driver, Refusal, Restored
from tests.property.exact import copy, state_of
from tests.property.model import Operation, SessionModel
from tests.property.sql_driver import SqlDriver
from tests.property.writing import Done, in_order, replay
from tests.trust.place import PERSON, Place
from tests.trust.report import Outcome, Say
from tests.trust.writers import SEED

WORKERS = 7
KEEP = 3
ROUNDS_A_SESSION = 20
SHORT_ROUNDS, LONG_ROUNDS = 300, 10_000
APART_SECONDS = 0.004
GONE, NEVER = "snapshot_gone", "session_not_found"
#: one person does here at once what several do elsewhere: each worker may restore
ENVIRONMENT = {
    f"ASYOUWERE_{name}": str(WORKERS) for name in ("READS_PER_CALLER", "LARGE_READS_PER_CALLER", "LARGE_READS")
}


@dataclass
class Act:
    """One of the things that happen at once. number: of the snapshot it is about, 0 for the latest."""

    kind: str
    number: int = 0
    op: Operation | None = None
    label: str | None = None
    answer: Any = None
    refusal: Refusal | None = None


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """So many interleavings."""
    rounds = LONG_ROUNDS if long else SHORT_ROUNDS
    outcome.short = (
        "interleavings", "restored whole", "restores refused 410", "clean-ups", "snapshots removed meanwhile",
        "latest or labelled gone", "orphan parts",
    )  # fmt: skip
    outcome.figures.update(dict.fromkeys(outcome.short, 0))
    # an unfinished commit is no matter here, and without the disk there are more interleavings a second
    with Place(folder, settings={"synchronous_commit": "off"}, environment=ENVIRONMENT) as place:
        outcome.facts.update(place.facts())
        play(outcome, place, rounds, say)
        orphans(outcome, place.storage())


def play(outcome: Outcome, place: Place, rounds: int, say: Say) -> None:
    """So many interleavings, twenty to a session unless it is deleted before. Raises at the first difference."""
    drivers: list[Driver] = [
        SqlDriver(place.db, PERSON) if count % 2 else place.driver() for count in range(WORKERS)
    ]
    storage, table = place.storage(), None
    with ThreadPoolExecutor(WORKERS) as pool:
        for count in range(rounds):
            if table is None or table.rounds == ROUNDS_A_SESSION:
                table = Table(outcome, drivers, storage, random.Random(f"{SEED} {count}"))
            try:
                deleted = table.play(pool)
            except Exception as exc:
                raise AssertionError(f"interleaving {count}: {exc}\n{table.acts}") from exc
            outcome.count("interleavings")
            table = None if deleted else table
            say(f"{count + 1:,} of {rounds:,} interleavings")


def orphans(outcome: Outcome, storage: Storage) -> None:
    """Parts and keys whose session is gone, parts in which no kept number lies."""
    (row,) = storage.rows(
        "select (select count(*) from asyouwere.parts p where not exists"
        " (select from free_agent_sessions s where s.internal_id = p.session))"
        " + (select count(*) from asyouwere.save_keys k where not exists"
        " (select from free_agent_sessions s where s.internal_id = k.session)) as gone,"
        " (select count(*) from asyouwere.parts p join free_agent_sessions s on s.internal_id = p.session"
        " where not exists (select from session_snapshots n where n.session_id = s.id"
        " and n.number >= p.since and n.number < p.until)) as unseen"
    )
    outcome.figures["orphan parts"] = row["gone"] + row["unseen"]
    outcome.require(row["gone"] == 0, f"{row['gone']} parts or keys of sessions that are gone")
    outcome.require(row["unseen"] == 0, f"{row['unseen']} parts that no kept snapshot can see")


class Table:
    """One session and its model, interleaving after interleaving."""

    def __init__(
        self, outcome: Outcome, drivers: list[Driver], storage: Storage, chance: random.Random
    ) -> None:
        self.outcome = outcome
        self.drivers = drivers
        self.storage = storage
        self.random = chance
        self.session = drivers[0].new_session()
        self.internal = storage.internal_id(self.session)
        self.model = SessionModel()
        self.rounds = 0
        self.names = 0
        self.acts: list[Act] = []
        for _ in range(KEEP):
            self._accept(self._save(), drivers[0])

    def play(self, pool: ThreadPoolExecutor) -> bool:
        """One interleaving and its check; whether the session was deleted."""
        self.rounds += 1
        self.acts = self._choose()
        before = self._numbers()
        start = time.monotonic() + 0.002
        moments = [start + self.random.uniform(0, APART_SECONDS) for _ in self.acts]
        drivers = self.random.sample(self.drivers, len(self.acts))
        list(pool.map(self._act, self.acts, drivers, moments))
        deleted = any(act.kind == "delete" for act in self.acts)
        was = SessionModel()
        was.latest, was.labels = self.model.latest, dict(self.model.labels)
        self._write_down()
        allowed = self._may_be_refused(was, deleted)
        for act in self.acts:
            self._judge(act, was, allowed)
        if deleted:
            self.storage.check_gone([self.session], [self.internal])
        else:
            self._check_clean_ups(before)
            self._check_stored()
        return deleted

    # -- what happens at once ----------------------------------------------------------------------------------

    def _choose(self) -> list[Act]:
        """A save and a clean-up at least; then whatever comes. At most one each that changes a label."""
        chance, kept = self.random, self.model.kept
        acts = [self._save(), Act("cleanup")]
        for kind in chance.choices(
            ["save", "restore", "changes", "revert", "fork", "cleanup"],
            [3, 6, 2, 2, 2, 3],
            k=chance.randint(1, 4),
        ):
            number = chance.choice([0, *kept]) if kind in ("restore", "changes") else chance.choice(kept)
            number = chance.choice([number, kept[0]])  # the one that the clean-up is likely to take
            acts.append(self._save() if kind == "save" else self._numbered(kind, number))
        if chance.random() < 0.5:
            number = chance.choice(kept)
            named = number in self.model.labels and chance.random() < 0.7
            acts.append(Act("label", number, label=None if named else f"label {self._name()}"))
        if chance.random() < 0.04:
            acts[-1] = Act("delete")
        chance.shuffle(acts)
        return acts[:WORKERS]

    def _numbered(self, kind: str, number: int) -> Act:
        if kind == "revert":
            return Act(
                kind, number, {"do": "revert", "on": 0, "number": number, "base": None, "key": self._name()}
            )
        return Act(kind, number)

    def _save(self) -> Act:
        """Appends; half of them to an old number. Sets an address of its own, so that it can't be refused."""
        name = self._name()
        op: Operation = {"do": "save", "on": 0, "key": name, "label": None, "on_conflict": "merge"}
        op["changes"] = f'{{"append":{{"/messages":["{name}"]}},"set":{{"/{self.names % 9}":"{name}"}}}}'
        base = (
            None if self.random.random() < 0.5 or not self.model.kept else self.random.choice(self.model.kept)
        )
        if base is not None:
            op["changes"] = f'{{"append":{{"/messages":["{name}"]}}}}'
        return Act("save", base or 0, {**op, "base": base, "way": self.random.randrange(2)})

    def _name(self) -> str:
        self.names += 1
        return f"{self.names}"

    def _act(self, act: Act, driver: Driver, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))
        does: dict[str, Callable[[], Any]] = {
            "save": lambda: driver.save(self.session, act.op or {}),
            "revert": lambda: driver.revert(self.session, act.op or {}),
            "restore": lambda: driver.restore(self.session, act.number or None),
            "changes": lambda: driver.changes(self.session, act.number),
            "fork": lambda: driver.fork(self.session, act.number),
            "label": lambda: driver.label(self.session, act.number, act.label),
            "cleanup": lambda: driver.prune(KEEP, 100),
            "delete": lambda: driver.delete(self.session),
        }
        try:
            act.answer = does[act.kind]()
        except Refusal as refusal:
            act.refusal = refusal

    # -- what came of it ---------------------------------------------------------------------------------------

    def _accept(self, act: Act, driver: Driver) -> None:
        self._act(act, driver, 0.0)
        self.acts = [act]
        self._write_down()

    def _write_down(self) -> None:
        """The accepted writes, in the order of their numbers, make the model's next states."""
        done = [
            Done(act.op, act.answer, None) for act in self.acts if act.op is not None and act.refusal is None
        ]
        for one in in_order(done, first=self.model.latest + 1):
            replay(self.model, one)
        for act in self.acts:
            if act.kind == "label" and act.refusal is None:
                self.model.labels.pop(act.number, None)
                if act.label is not None:
                    self.model.labels[act.number] = act.label

    def _may_be_refused(self, was: SessionModel, deleted: bool) -> Callable[[Act], frozenset[str]]:
        """Only what the clean-up may take, and everything of a session that was deleted meanwhile."""

        def codes(act: Act) -> frozenset[str]:
            labelled = act.number in was.labels and act.number in self.model.labels
            may_go = 0 < act.number <= self.model.latest - KEEP and not labelled
            # between the look at the session and the look at its snapshot it may be deleted: 410 is as clear
            return frozenset([GONE] * (may_go or deleted) + [NEVER] * deleted)

        return codes

    def _judge(self, act: Act, was: SessionModel, allowed: Callable[[Act], frozenset[str]]) -> None:
        if act.refusal is not None:
            if act.refusal.code == GONE and GONE not in allowed(act):
                self.outcome.count("latest or labelled gone")
            assert act.refusal.code in allowed(act), f"{act.kind} {act.number}: {act.refusal}"
            status = 410 if act.refusal.code == GONE else 404
            self.outcome.count(
                f"restores refused {status}" if act.kind == "restore" else f"others refused {status}"
            )
            return
        if act.kind == "restore":
            restored: Restored = act.answer
            first = act.number or was.latest
            assert (act.number or self.model.latest) >= restored.number >= first, (
                f"{act} while {was.latest} was latest"
            )
            self.storage.check_state(
                restored.state, self.model.states[restored.number], f"number {restored.number}"
            )
            self.outcome.count("restored whole")
        elif act.kind == "changes":
            number, reset, changes = act.answer
            if reset:
                assert GONE in allowed(act), f"reset, though {act.number} is kept"
            else:
                assert caught_up(copy(self.model.states[act.number]), changes) == self.model.states[number]
                self.outcome.count("caught up")
        elif act.kind == "fork":
            forked = self.drivers[0].restore(act.answer)
            assert state_of(forked.state) == self.model.states[act.number], (
                f"the fork of {act.number} is {forked}"
            )
            self.storage.check_tables(act.answer, self.model.fork(act.number))
            self.drivers[0].delete(act.answer)
            self.outcome.count("forked whole")
        elif act.kind == "cleanup":
            self.outcome.count("clean-ups")
            self.outcome.count("snapshots removed meanwhile", act.answer)

    def _numbers(self) -> set[int]:
        rows = self.storage.rows("select number from session_snapshots where session_id = %s", self.session)
        return {row["number"] for row in rows}

    def _check_clean_ups(self, before: set[int]) -> None:
        """Together they say that they removed what is gone: nothing twice, nothing untold."""
        removed = sum(act.answer for act in self.acts if act.kind == "cleanup")
        made = {n for n in self.model.states if n > max(before)}
        gone = (before | made) - self._numbers()
        # a fork is one more session, but too young to lose anything
        assert removed == len(gone), f"{removed} removed, gone are {sorted(gone)}"

    def _check_stored(self) -> None:
        """At rest: what is to be kept and no more, every number whole; once more changes nothing."""
        driver = self.random.choice(self.drivers)
        driver.prune(KEEP, 100)
        self.model.prune(KEEP)
        self.storage.check_tables(self.session, self.model)
        assert self._numbers() == set(self.model.kept), f"kept are {self._numbers()}, not {self.model.kept}"
        assert driver.prune(KEEP, 100) == 0, "a second clean-up found something to do"

"""A session as it should be: every kept state in plain Python, and what each operation should answer.

Operations are JSON objects, so that a sequence can be printed and played again:

    {"do": "save", "on": 0, "state": "{…}" or "changes": "{…}", "base": 3, "key": "k1", "label": null,
     "on_conflict": "merge", "way": 0}
    {"do": "messages", "on": 0, "items": ["{…}"], "key": null, "way": 0}
    {"do": "revert", "on": 0, "number": 2, "key": null}
    {"do": "label", "on": 0, "number": 2, "label": "x"}
    {"do": "fork", "on": 0, "number": 2}
    {"do": "import", "on": 0}
    {"do": "prune", "keep": 2, "batch": 1}

"on" is the place of the session in the order they were made; "way" chooses between two ways to do the same.
States, changes and items are JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.property.changing import (
    MISPLACED,
    OVERLAPPING,
    Changes,
    Refused,
    append_conflicts,
    appended,
    changes_of,
    done,
    may_overlap,
    merged,
    must_be_named,
    overlap,
    replaced,
)
from tests.property.conditions import Judged, judged
from tests.property.exact import (
    Address,
    State,
    Tree,
    copy,
    differences,
    messages_in,
    parse,
    parts_of,
    size_of,
    state_of,
    written_twice,
)

Operation = dict[str, Any]


@dataclass
class SaveResult:
    """What a save answers, as far as it is told beforehand."""

    number: int
    created: bool
    replayed: bool = False
    merged: bool = False
    changed_parts: int = 0


@dataclass
class Expected:
    """What may come of an operation: a success with this state, a refusal with one of these codes, either."""

    state: State | None = None
    answer: SaveResult | None = None
    codes: frozenset[str] = frozenset()
    must_name: set[Address] = field(default_factory=set)
    """Addresses that a conflict has to name."""
    named_within: list[Address] | None = None
    """A conflict names something at or under each of these, and nothing else; None: not told."""
    names_exactly: set[Address] | None = None
    existing: dict[Address, Tree] = field(default_factory=dict)
    """What was there already where conditions were to write."""


@dataclass
class Key:
    """What is remembered of an idempotency key."""

    content: str
    answer: SaveResult
    existing: dict[Address, Tree]


class SessionModel:
    """One session. States are by number; 0 is the empty state before the first save."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {0: {}}
        self.latest = 0
        self.fork_base = 0  # of a fork: the number that it is merged back by, which the clean-up keeps
        self.labels: dict[int, str] = {}
        self.changed: dict[int, int] = {}
        self.keys: dict[str, Key] = {}

    @property
    def state(self) -> State:
        """The latest state."""
        return self.states[self.latest]

    @property
    def kept(self) -> list[int]:
        """The kept numbers, without 0."""
        return sorted(number for number in self.states if number)

    # -- what to expect --------------------------------------------------------------------------------

    def expect(self, op: Operation) -> Expected:
        """What a save, messages, revert or label operation may answer. Changes nothing."""
        if (earlier := self.keys.get(op.get("key") or "")) is not None:
            if earlier.content != fingerprint(op):
                # what is wrong with the new content may be found first
                codes = self._expect(op).codes | self._overlaps(op)
                return Expected(codes=codes | {"idempotency_key_reused"})
            return Expected(
                self.states.get(earlier.answer.number, {}),
                SaveResult(
                    earlier.answer.number,
                    earlier.answer.created,
                    True,
                    changed_parts=earlier.answer.changed_parts,
                ),
                existing=earlier.existing if self._keeps(earlier.answer.number) else {},
            )
        expected = self._expect(op)
        if op.get("changes") is not None:
            expected.codes |= self._overlaps(op)
        if expected.codes and self._label_taken(op.get("label"), self.latest + 1):
            expected.codes |= {"label_taken"}
        return expected

    def _keeps(self, number: int) -> bool:
        return number in self.states

    def _label_taken(self, label: str | None, number: int) -> bool:
        return label is not None and any(label == taken and at != number for at, taken in self.labels.items())

    def _expect(self, op: Operation) -> Expected:
        try:
            if op["do"] == "save":
                return self._expect_save(op)
            if op["do"] == "messages":
                changes = Changes(appends=[(("messages",), op["items"])])
                return self._success(*done(self.state, changes, self.state), None)
            if op["do"] == "revert":
                if (refusal := self._expect_number(op["number"])) is not None:
                    return refusal
                state = copy(self.states[op["number"]])
                return self._success(state, state, None)
            assert op["do"] == "label"
            return self._expect_label(op)
        except Refused as refused:
            return Expected(codes=refused.codes)

    def _expect_save(self, op: Operation) -> Expected:
        if op.get("state") is not None and written_twice(parse(op["state"]), 0):
            raise Refused("invalid_state")
        base = op["base"]
        if base is not None and base not in self.states:
            code = "snapshot_gone" if 0 <= base <= self.latest else "unknown_base"
            return Expected(codes=frozenset({code}))
        stale = base is not None and base < self.latest
        if stale and op["on_conflict"] == "reject":
            addresses = set(differences(self.states[base], self.state))
            return Expected(codes=frozenset({"conflict"}), names_exactly=addresses)
        changes, found = Changes(), Judged()
        if op.get("changes") is not None:
            changes = changes_of(op["changes"])
            self._refuse_overlaps(changes)
            found = judged(changes, self.state)
            if found.unexpected:
                return Expected(codes=frozenset({"conflict"}), names_exactly=found.unexpected)
        if stale and op["on_conflict"] == "merge":
            expected = self._expect_merge(op, self.states[base], changes, found.writes)
        elif op.get("state") is not None:
            state = state_of(op["state"])
            expected = self._success(state, state, op["label"])
        else:
            shape = self.state if base is None else self.states[base]
            expected = self._success(*done(self.state, changes, shape, found.writes), op["label"])
        expected.existing = found.existing
        return expected

    def _expect_merge(self, op: Operation, base: State, changes: Changes, writes: Changes) -> Expected:
        if op.get("state") is not None:
            mine = state_of(op["state"])
        else:
            try:
                mine = replaced(base, changes, base)
            except Refused as refused:
                # Wrong against its own base. Whether others have changed the same place, too, is found first.
                codes = refused.codes | {"conflict"} | _codes_of(lambda: appended(base, changes))
                codes |= _codes_of(lambda: done(self.state, Changes(), self.state, writes))
                return Expected(codes=codes, state=self._lenient(changes, base, writes))
        merge = merged(base, mine, self.state)
        conflicts = merge.conflicts + append_conflicts(base, self.state, changes)
        if conflicts:
            return Expected(
                codes=frozenset({"conflict"}),
                must_name=must_be_named(base, mine, self.state),
                named_within=conflicts,
            )
        before_appends, after = done(merge.state, Changes(appends=changes.appends), merge.state, writes)
        expected = self._success(before_appends, after, op["label"])
        if expected.answer is not None:
            expected.answer.merged = True
        return expected

    def _lenient(self, changes: Changes, base: State, writes: Changes) -> State | None:
        """A merge may leave out unsaid that nothing can be removed below a part: nothing is there."""
        removes = [
            keys
            for keys in changes.removes
            if not MISPLACED & _codes_of(partial(replaced, base, Changes(removes=[keys]), base))
        ]
        if len(removes) == len(changes.removes):
            return None
        without = Changes(changes.sets, changes.appends, removes)
        try:
            merge = merged(base, replaced(base, without, base), self.state)
            if merge.conflicts:
                return None
            return done(merge.state, Changes(appends=changes.appends), merge.state, writes)[1]
        except Refused:
            return None

    def _expect_label(self, op: Operation) -> Expected:
        if op["number"] == 0:
            return Expected(codes=frozenset({"snapshot_not_found"}))
        if (refusal := self._expect_number(op["number"])) is not None:
            return refusal
        if op["label"] in self.labels.values() and self.labels.get(op["number"]) != op["label"]:
            return Expected(codes=frozenset({"label_taken"}))
        return Expected(self.state, None)

    def _expect_number(self, number: int) -> Expected | None:
        if number in self.states:
            return None
        code = "snapshot_gone" if 0 < number <= self.latest else "snapshot_not_found"
        return Expected(codes=frozenset({code}))

    def _success(self, before_appends: State, state: State, label: str | None) -> Expected:
        # counted apart: an item removed and another appended in its place are two
        changed = len(differences(self.state, before_appends)) + len(differences(before_appends, state))
        created = changed > 0 or self.latest == 0
        number = self.latest + created
        if self._label_taken(label, number):
            return Expected(codes=frozenset({"label_taken"}))
        return Expected(state, SaveResult(number, created, changed_parts=changed))

    @staticmethod
    def _refuse_overlaps(changes: Changes) -> None:
        if overlap(changes):
            raise Refused(OVERLAPPING)

    def _overlaps(self, op: Operation) -> frozenset[str]:
        """What a caller that opens changes itself refuses before it asks."""
        if op.get("changes") is None:
            return frozenset()
        try:
            changes = changes_of(op["changes"])
        except Refused as refused:
            return refused.codes
        return frozenset([OVERLAPPING] if overlap(changes) or may_overlap(changes) else [])

    # -- what has come -----------------------------------------------------------------------------------

    def done(self, op: Operation, expected: Expected, answer: SaveResult | None) -> None:
        """Take over what an accepted operation did."""
        if op["do"] == "label":
            self.labels.pop(op["number"], None)
            if op["label"] is not None:
                self.labels[op["number"]] = op["label"]
            return
        assert answer is not None
        assert expected.state is not None
        if answer.replayed:
            return
        if answer.created:
            self.latest = answer.number
            self.states[self.latest] = expected.state
            self.changed[self.latest] = answer.changed_parts
        if op.get("label") is not None:
            self.labels[answer.number] = op["label"]
        if op.get("key") is not None:
            self.keys[op["key"]] = Key(fingerprint(op), answer, expected.existing)

    def prune(self, keep: int) -> int:
        """Drop what the clean-up should; how many snapshots that are."""
        stay = {*self.labels, self.fork_base}
        gone = [n for n in self.kept if n <= self.latest - keep and n not in stay]
        for number in gone:
            del self.states[number]
        return len(gone)

    def fork(self, number: int) -> SessionModel:
        """The session that a fork makes."""
        other = SessionModel()
        if number > 0:
            other.latest = other.fork_base = 1
            other.states[1] = copy(self.states[number])
            other.changed[1] = len(parts_of(other.states[1]))
        return other

    def imported(self) -> SessionModel:
        """The session that importing the export makes."""
        other = SessionModel()
        other.latest = self.latest
        other.states = {number: copy(state) for number, state in self.states.items()}
        other.labels = dict(self.labels)
        other.changed = dict(self.changed)
        return other

    def sizes(self, number: int) -> tuple[int, int]:
        """Bytes and messages of a kept number."""
        return size_of(self.states[number]), len(messages_in(self.states[number]))


def fingerprint(op: Operation) -> str:
    """What makes two operations the same request; on_conflict does not count."""
    content = {name: op.get(name) for name in ("do", "state", "changes", "items", "base", "number", "label")}
    return json.dumps({**content, "way": op.get("way") if op["do"] == "save" else None}, sort_keys=True)


def _codes_of(attempt: Callable[[], Any]) -> frozenset[str]:
    try:
        attempt()
    except Refused as refused:
        return refused.codes
    return frozenset()

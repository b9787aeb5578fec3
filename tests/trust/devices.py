"""One client of a session on a bad network: its copy, its one request under way, what it was told.

A device keeps what an app would keep: a copy of the state with its number, and a journal of the request that is
not answered yet. A crash takes the copy and leaves the journal.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.property.changing import changes_of, done
from tests.property.checks import caught_up
from tests.property.conditions import judged
from tests.property.drivers import Driver, Handle, Refusal
from tests.property.exact import State, copy, dump, messages_in, render, state_of
from tests.property.generator import Generator
from tests.property.model import Operation
from tests.property.writing import again

TOPICS = ["tea", "rain", "Kyoto", "null", "-0"]


@dataclass
class Request:
    """What a device wants done, and the copy that it was made from. token: a message of its own, if any."""

    op: Operation
    base: int
    tree: State
    token: str | None
    answer: dict[str, Any] | None = None
    refusal: Refusal | None = None


@dataclass
class Told:
    """What a device has been told of its requests."""

    accepted: list[Request] = field(default_factory=list)
    refused: list[Request] = field(default_factory=list)


class Device:
    """One client. It has one request under way at a time, as every client of asyouwere does."""

    def __init__(self, name: str, driver: Driver, session: Handle, chance: random.Random) -> None:
        self.name = name
        self.driver = driver
        self.session = session
        self.random = chance
        self.number = 0
        self.tree: State | None = {}
        self.pending: Request | None = None
        self.told = Told()
        self.count = 0
        self._generator = Generator(chance.randrange(1 << 30), 1)
        self._generator.keys = [key for key in self._generator.keys if key != "messages"] or ["a"]

    # -- making requests -----------------------------------------------------------------------------------

    def compose(self) -> Request:
        """The next change, made to its copy as it is now."""
        if self.tree is None:
            self.restore()
        assert self.tree is not None
        self.count += 1
        name = f"{self.name} {self.count}"
        op, token = self._operation(name)
        self.pending = Request(op, self.number, self.tree, token)
        return self.pending

    def _operation(self, name: str) -> tuple[Operation, str | None]:
        """The operation, and the message of its own that it appends, if any."""
        assert self.tree is not None
        way, chance = self.random.randrange(2), self.random.random()
        if chance < 0.15:
            return {
                "do": "messages",
                "on": 0,
                "items": [dump(name)],
                "base": None,
                "key": name,
                "way": way,
            }, dump(name)
        conflict = self.random.choices(["merge", "reject", "overwrite"], [8, 1, 1])[0]
        op: Operation = {"do": "save", "on": 0, "base": self.number, "key": name, "label": None, "way": way}
        op["on_conflict"] = conflict
        topic = dump(self.random.choice(TOPICS))
        if chance < 0.45:
            op["changes"] = (
                f'{{"append":{{"/messages":[{dump(name)}]}},"set":{{"/at {self.name}":{dump(name)}}}}}'
            )
            return op, dump(name)
        if chance < 0.53:
            # sent as if two had the same message, and all wanted to be the first
            message = f'{{"id":{dump(name)}}}'
            op["changes"] = (
                f'{{"append_once":{{"/messages":{{"by":"id","items":[{message},{message}]}}}},'
                f'"add":{{"/first":{dump(name)}}},"expect_absent":["/messages/999999"]}}'
            )
            return op, message
        if chance < 0.58:
            expected = dump(self.random.choice(TOPICS))
            op["changes"] = f'{{"expect":{{"/topic 0":{expected}}},"set":{{"/topic 0":{topic}}}}}'
            return op, None
        if chance < 0.65:
            op["changes"] = f'{{"set":{{"/topic {self.random.randrange(3)}":{topic}}}}}'
            return op, None
        if chance < 0.80:
            tree = copy(self.tree)
            tree["messages"] = [*messages_in(tree), dump(name)]
            tree[f"topic {self.random.randrange(3)}"] = topic
            op["state"] = render(tree)
            # to overwrite with a whole state means to take others' messages away
            op["on_conflict"] = "merge" if conflict == "overwrite" else conflict
            return op, dump(name)
        op["changes"] = self._anything()
        return op, None

    def _anything(self) -> str:
        """Any changes at all, right or wrong, that leave the messages alone."""
        assert self.tree is not None
        known = {key: inner for key, inner in self.tree.items() if key != "messages"}
        while '"set":{"":' in (text := self._generator.changes(known)):
            continue
        return text

    # -- being told ------------------------------------------------------------------------------------------

    def hear(self, request: Request) -> None:
        """The answer has arrived; a second time it is nothing new."""
        if self.pending is not request:
            return
        self.pending = None
        if request.refusal is not None:
            self.told.refused.append(request)
            self.restore()
            return
        self.told.accepted.append(request)
        assert request.answer is not None
        number = request.answer.get("number")
        if number is None or self.tree is None:
            self.restore()
        elif number > self.number:
            tree = self._after(request)
            if tree is None:
                self.sync()
            else:
                self.number, self.tree = number, tree

    @staticmethod
    def _after(request: Request) -> State | None:
        """The state of the number that was answered; None if the answer does not say it."""
        op, row = request.op, request.answer
        assert row is not None
        if op["do"] != "save":
            return None
        if row["others"] is not None:
            return caught_up(request.tree, row["others"])
        if row["number"] - row["created"] != request.base:
            return None
        if op.get("state") is not None:
            return state_of(op["state"])
        changes = changes_of(op["changes"])
        return done(request.tree, changes, request.tree, judged(changes, request.tree).writes)[1]

    # -- catching up -----------------------------------------------------------------------------------------

    def sync(self) -> None:
        """The changes since its number, or all if they are not to be had."""
        if self.tree is None:
            return self.restore()
        number, reset, changes = again(lambda: self.driver.changes(self.session, self.number))
        if reset:
            return self.restore()
        assert changes is not None
        self.number, self.tree = number, caught_up(self.tree, changes)
        return None

    def restore(self) -> None:
        """The latest state, whole."""
        restored = again(lambda: self.driver.restore(self.session))
        self.number, self.tree = restored.number, state_of(restored.state)

    def crash(self) -> None:
        """It forgets all but its journal."""
        self.tree, self.number = None, 0

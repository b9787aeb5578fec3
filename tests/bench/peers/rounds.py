"""The rounds: every side saves the same turns into the same sessions, in turn, then restores, then polls."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.peers.taking_part import WHOLE_EVERY_TIME, Participant
from tests.bench.texts import Messages

OPERATIONS = ("save", "restore", "restore_old", "poll")
MEAN_CHARACTERS = 850
ROLES = ("user", "assistant")

Turn = tuple[str, str, int]
"""The user's message and the assistant's as JSON text, and the step."""


@dataclass(frozen=True)
class Shape:
    """One size of session.

    messages: what each has before it is measured. sessions, turns: how many, and how many turns each gains. rarely: each how
    many turns those that write everything every time take part. reads: restores and polls.
    """

    messages: int
    sessions: int
    turns: int
    rarely: int
    reads: int


SHAPES = (
    Shape(10, 20, 5, 1, 40),
    Shape(100, 5, 20, 1, 40),
    Shape(1_000, 1, 100, 4, 30),
    Shape(10_000, 1, 100, 20, 8),
)
QUICK_SHAPES = (Shape(10, 10, 5, 1, 15), Shape(100, 3, 17, 1, 15), Shape(1_000, 1, 100, 10, 12))


@dataclass
class Measured:
    """What the rounds of one size and one kind of text gave.

    times: operation → side → lap → milliseconds, of the store; all_times: with everything around it. wal, stored: side →
    bytes a turn.
    """

    shape: Shape
    kind: str
    times: dict[str, dict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    all_times: dict[str, dict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    wal: dict[str, float] = field(default_factory=dict)
    stored: dict[str, float] = field(default_factory=dict)
    json_bytes: float = 0.0

    def ratios(self, operation: str, side: str, to: str) -> list[float]:
        """How many times longer it took than `to`, on each lap that both were in."""
        theirs, ours = self.times[operation][side], self.times[operation][to]
        return [theirs[lap] / ours[lap] for lap in theirs if lap in ours]


class Conversation:
    """An endless supply of turns, the same for the same seed."""

    def __init__(self, seed: int, *, compressible: bool) -> None:
        self._messages = Messages(seed, mean=MEAN_CHARACTERS, compressible=compressible)
        self._step = 0

    def __call__(self) -> Turn:
        self._step += 1
        user, assistant = (self._message(role) for role in ROLES)
        return user, assistant, self._step

    def _message(self, role: str) -> str:
        return json.dumps({**json.loads(self._messages()), "role": role}, ensure_ascii=False)

    def take(self, count: int) -> list[Turn]:
        """So many turns."""
        return [self() for _ in range(count)]


class Rounds:
    """All rounds of one size and one kind of text."""

    def __init__(
        self, sides: Sequence[Participant], shape: Shape, *, kind: str, compressible: bool, seed: int
    ) -> None:
        self._sides = sides
        self._shape = shape
        self._conversation = Conversation(seed, compressible=compressible)
        self._names = [f"{kind} {shape.messages} {number}" for number in range(shape.sessions)]
        self._known: dict[tuple[str, str], tuple[int, str]] = {}
        self.measured = Measured(shape, kind)

    def run(self, checkpoint: Callable[[], object]) -> Measured:
        """Fill, save, restore, restore what was, poll. checkpoint: called once all is filled."""
        for session in self._names:
            turns = self._conversation.take(self._shape.messages // 2)
            for side in self._sides:
                side.process.ask("fill", session=session, turns=turns)
                self._remember(side, session, turns)
        for side in self._sides:
            side.settle()
        checkpoint()
        self._save()
        for operation in OPERATIONS[1:]:
            self._read(operation)
        return self.measured

    def _save(self) -> None:
        before = {side.name: side.stored() for side in self._sides}
        written: dict[str, list[int]] = defaultdict(list)
        sizes = []
        laps = [(session, number) for number in range(self._shape.turns) for session in self._names]
        for lap, (session, number) in enumerate(laps):
            turn = self._conversation()
            sizes.append(len(turn[0].encode()) + len(turn[1].encode()))
            for side in _in_turn(self._sides, lap):
                if side.name in WHOLE_EVERY_TIME and number % self._shape.rarely:
                    continue
                start = side.written()
                self._note("save", side, lap, side.process.ask("save", session=session, turn=turn))
                written[side.name].append(side.written() - start)
                self._remember(side, session, [turn])
        for side in self._sides:
            turns = len(written[side.name])
            self.measured.wal[side.name] = sum(written[side.name]) / turns
            self.measured.stored[side.name] = (side.stored() - before[side.name]) / turns
        self.measured.json_bytes = sum(sizes) / len(sizes)

    def _read(self, operation: str) -> None:
        back = max(1, self._shape.turns // 2)
        for lap in range(self._shape.reads):
            session = self._names[lap % len(self._names)]
            for side in _in_turn(self._sides, lap):
                rarely = side.name in WHOLE_EVERY_TIME
                request = (
                    {"back": max(1, back // self._shape.rarely) if rarely else back}
                    if operation == "restore_old"
                    else {}
                )
                answer = side.process.ask(operation, session=session, **request)
                if answer.get("able") is False:
                    continue
                if operation == "restore":
                    self._check(side, session, answer)
                self._note(operation, side, lap, answer)

    def _note(self, operation: str, side: Participant, lap: int, answer: dict[str, Any]) -> None:
        self.measured.times[operation][side.name][lap] = answer["ms"]
        self.measured.all_times[operation][side.name][lap] = answer["all_ms"]

    def _remember(self, side: Participant, session: str, turns: list[Turn]) -> None:
        count, _ = self._known.get((side.name, session), (0, ""))
        self._known[side.name, session] = (count + 2 * len(turns), json.loads(turns[-1][1])["content"])

    def _check(self, side: Participant, session: str, answer: dict[str, Any]) -> None:
        """A store that is fast because it forgets is not what is looked for."""
        if (answer["messages"], answer["last"]) != self._known[side.name, session]:
            raise RuntimeError(f"{side.name} did not restore what it saved: {answer['messages']} messages")


def _in_turn(sides: Sequence[Participant], lap: int) -> Sequence[Participant]:
    """Another one comes first each time, and every other time they go backwards."""
    begin = lap % len(sides)
    turned = [*sides[begin:], *sides[:begin]]
    return turned[::-1] if lap % 2 else turned

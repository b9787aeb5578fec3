"""Plays sequences of operations, compares each answer with the model, and everything stored at the end.

play(driver, storage, [{"do": "save", …}, …])   raises at the first difference
play_seed(driver, storage, 17)                  the sequence of seed 17, shrunk if it fails
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from typing import Any

from tests.property.checks import Storage, caught_up, check_missing, check_session, check_sync
from tests.property.drivers import Driver, Handle, Refusal, described
from tests.property.exact import INDEX, Address, dump, keys_of, messages_in, opened, parse, pointer_of, size_of
from tests.property.generator import Generator
from tests.property.model import Expected, Operation, SaveResult, SessionModel

SHRINK_SECONDS = 60


class Failure(AssertionError):
    """A difference, with what it takes to see it again."""


def play_seed(driver: Driver, storage: Storage, seed: int) -> int:
    """Play the sequence of a seed; how many operations it had. Raises Failure with the shrunk sequence."""
    generator = Generator(seed, driver.lowest_number)
    game = Game(driver, storage, seed)
    try:
        for _ in range(generator.length):
            game.play(generator.operation(game.models, game.played))
        game.finish()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is shown with the sequence that led to it
        game.drop()
        shortest, last = shrink(driver, storage, seed, game.played, error)
        raise Failure(
            f"seed {seed} with the driver {driver.name}:\n{last}\n"
            f"the shortest sequence that fails the same way:\n{written(shortest)}"
        ) from last
    return len(game.played)


def play(driver: Driver, storage: Storage, operations: list[Operation], seed: int = 0) -> None:
    """Play a fixed sequence."""
    game = Game(driver, storage, seed)
    try:
        for op in operations:
            game.play(op)
        game.finish()
    finally:
        game.drop()


def written(operations: list[Operation]) -> str:
    """A sequence as it can be pasted into test_found.py."""
    return "[\n" + "".join(f"    {op!r},\n" for op in operations) + "]"


class Game:
    """One sequence being played: the sessions and what they should be."""

    def __init__(self, driver: Driver, storage: Storage, seed: int) -> None:
        self.driver = driver
        self.storage = storage
        self.random = random.Random(f"checks {seed}")
        self.models = [SessionModel()]
        self.handles: list[Handle] = [driver.new_session()]
        self.played: list[Operation] = []

    def play(self, op: Operation) -> None:
        """One operation, compared with what the model expects."""
        self.played.append(op)
        if op.get("on", 0) >= len(self.models):
            return  # a sequence being shrunk has lost the fork
        if op["do"] == "prune":
            self._prune(op)
        elif op["do"] in ("fork", "import"):
            self._branch(op)
        else:
            self._change(op)

    def finish(self) -> None:
        """Everything stored, then everything gone."""
        for handle, model in zip(self.handles, self.models, strict=True):
            check_session(self.driver, self.storage, handle, model, self.random)
        internal = [self.storage.internal_id(handle) for handle in self.handles]
        for handle in self.handles:
            self.driver.delete(handle)
        self.storage.check_gone(self.handles, internal)
        self.handles = []

    def drop(self) -> None:
        """Delete what is left, without a look."""
        self.storage.drop(self.handles)
        self.handles = []

    def _prune(self, op: Operation) -> None:
        self.driver.prune(op["keep"], op["batch"])
        for model in self.models:
            model.prune(op["keep"])

    def _branch(self, op: Operation) -> None:
        model, handle = self.models[op["on"]], self.handles[op["on"]]
        if op["do"] == "import":
            self.handles.append(self.driver.import_(self.driver.export(handle)))
            self.models.append(model.imported())
            return
        if op["number"] not in model.states:
            check_missing(model, op["number"], lambda: self.driver.fork(handle, op["number"]))
            return
        self.handles.append(self.driver.fork(handle, op["number"]))
        self.models.append(model.fork(op["number"]))

    def _change(self, op: Operation) -> None:
        model, handle = self.models[op["on"]], self.handles[op["on"]]
        expected = model.expect(op)
        answer: SaveResult | None = None
        try:
            if op["do"] == "label":
                self.driver.label(handle, op["number"], op["label"])
            else:
                answer = self._save(op, handle, model, expected)
        except Refusal as refusal:
            check_refusal(op, refusal, expected, model)
        else:
            assert expected.state is not None, f"accepted, though it should be refused: {set(expected.codes)}"
            model.done(op, expected, answer)
        self._look(handle, model)

    def _save(self, op: Operation, handle: Handle, model: SessionModel, expected: Expected) -> SaveResult:
        do: Callable[[Handle, Operation], dict[str, Any]] = {
            "save": self.driver.save,
            "messages": self.driver.append_messages,
            "revert": self.driver.revert,
        }[op["do"]]
        row = do(handle, op)
        wanted = wanted_answer(op, row, expected, model)
        check_answer(op, row, wanted, expected, model)
        return wanted

    def _look(self, handle: Handle, model: SessionModel) -> None:
        """After every step: the latest comes back, and a client that lags catches up."""
        restored = self.driver.restore(handle)
        assert restored.number == model.latest, f"the latest is {restored.number}, not {model.latest}"
        self.storage.check_state(restored.state, model.state, "the latest")
        check_sync(self.driver, handle, model, self.random.choice([0, *model.kept]))


def wanted_answer(op: Operation, row: dict[str, Any], expected: Expected, model: SessionModel) -> SaveResult:
    """The answer that is right, now that it is known that the operation was accepted."""
    if expected.state is None:
        raise AssertionError(f"{op} was accepted, though it should be refused: {set(expected.codes)}; {row}")
    if expected.answer is not None:
        return expected.answer
    changed = expected.state != model.state
    return SaveResult(model.latest + changed, changed, merged=True, changed_parts=row["changed_parts"])


def check_answer(
    op: Operation, row: dict[str, Any], wanted: SaveResult, expected: Expected, model: SessionModel
) -> None:
    """What a save answered against what it should."""
    assert expected.state is not None
    if op["do"] == "messages":
        count = len(op["items"])
        if row["message_count"] is not None and not (wanted.replayed and wanted.number not in model.states):
            state = model.states[wanted.number] if wanted.replayed else expected.state
            assert row["message_count"] == len(messages_in(state)), f"{row}"
            assert row["first_position"] == len(messages_in(state)) - count, f"{row}"
        if "number" in row:
            assert row["number"] == wanted.number, f"number {row['number']}, not {wanted.number}"
        return
    seen = SaveResult(row["number"], row["created"], row["replayed"], row["merged"], row["changed_parts"])
    if wanted.replayed:
        seen.merged = wanted.merged
    assert seen == wanted, f"answered {seen}, not {wanted}"
    if not wanted.replayed:
        sizes = (size_of(expected.state), len(messages_in(expected.state)))
        assert (row["size_bytes"], row["message_count"]) == sizes, f"sizes {row}, not {sizes}"
    elif wanted.number in model.states:
        assert (row["size_bytes"], row["message_count"]) == model.sizes(wanted.number), f"{row}"
    check_others(op, row, expected, model)
    check_existing(row, expected)


def check_existing(row: dict[str, Any], expected: Expected) -> None:
    """What was there already is what the model found there."""
    found = {} if row["existing"] is None else dict(parse(row["existing"]))
    wanted = {pointer_of(address): (address, tree) for address, tree in expected.existing.items()}
    assert found.keys() == wanted.keys(), f"existing: {found}, not {wanted}"
    for pointer, value in found.items():
        (keys, item), tree = wanted[pointer]
        there = dump(value) if item >= 0 else opened(value, len(keys))
        assert there == tree, f"existing at {pointer}: {there}, not {tree}"


def check_others(op: Operation, row: dict[str, Any], expected: Expected, model: SessionModel) -> None:
    """`others`, done to the client's copy, makes the latest."""
    base, number = op.get("base"), row["number"]
    assert expected.state is not None
    then = number - row["created"] if row["replayed"] else model.latest
    if base is None or base >= then or base not in model.states or (row["replayed"] and number not in model.states):
        assert row["others"] is None, f"others without a stale base: {row['others']}"
        return
    assert row["others"] is not None, "no others though the base is stale"
    now = caught_up(model.states[base], row["others"])
    assert now == expected.state, f"base and others make {now}, not {expected.state}"


def check_refusal(op: Operation, refusal: Refusal, expected: Expected, model: SessionModel) -> None:
    """The right code and, for a conflict, the right addresses."""
    assert refusal.code in expected.codes, f"{refusal}; expected {set(expected.codes) or 'success'}"
    if refusal.code != "conflict":
        return
    assert refusal.data["latest"] == model.latest
    named = refusal.data["addresses"]
    keys = [_keys(pointer) for pointer in named]
    # an item of what was a list and a member of what is an object now have one pointer
    plain = [k for k in keys if not (k and INDEX.fullmatch(k[-1]))]
    assert len(plain) == len(set(plain)), f"an address is named twice: {named}"
    if expected.names_exactly is not None:
        assert {_flat(a) for a in expected.names_exactly} == set(keys), f"{named}"
    for address in expected.must_name:
        assert _flat(address) in keys, f"{described(address)} is not among the named {named}"
    if expected.named_within is not None:
        scopes = [_flat(address) for address in expected.named_within]
        for scope in scopes:
            assert any(k[: len(scope)] == scope for k in keys), f"nothing is named at {scope}: {named}"
        # of a list that one cut and the other changed, every item may be named that was cut
        wider = [address[0] for address in expected.named_within]
        for k in keys:
            assert any(k[: len(scope)] == scope for scope in wider), f"{k} is named, conflicts are {scopes}"


def _keys(pointer: str) -> tuple[str, ...]:
    keys = keys_of(pointer)
    assert keys is not None, f"no pointer: {pointer!r}"
    return keys


def _flat(address: Address) -> tuple[str, ...]:
    keys, item = address
    return keys if item < 0 else (*keys, str(item))


# -- shrinking -----------------------------------------------------------------------------------------------


def shrink(
    driver: Driver, storage: Storage, seed: int, operations: list[Operation], error: Exception
) -> tuple[list[Operation], Exception]:
    """The shortest sequence found, within a minute, that still fails with the same kind of error."""
    deadline = time.monotonic() + SHRINK_SECONDS
    best, last = operations, error

    def fails(candidate: list[Operation]) -> Exception | None:
        try:
            play(driver, storage, candidate, seed)
        except Exception as found:  # noqa: BLE001 - compared with the error looked for
            return found if _kind(found) == _kind(error) else None
        return None

    size = max(1, len(best) // 2)
    while size and time.monotonic() < deadline:
        start = 0
        while start < len(best) and time.monotonic() < deadline:
            candidate = best[:start] + best[start + size :]
            if (found := fails(candidate)) is not None:
                best, last = candidate, found
            else:
                start += size
        size = size // 2
    index = 0
    while index < len(best) and time.monotonic() < deadline:
        for smaller in _smaller(best[index]):
            candidate = [*best[:index], smaller, *best[index + 1 :]]
            if (found := fails(candidate)) is not None:
                best, last = candidate, found
                break
        else:
            index += 1
    return best, last


def _kind(error: Exception) -> tuple[type, str]:
    return type(error), re.sub(r"[^a-z ]+", "", str(error))[:24]


def _smaller(op: Operation) -> list[Operation]:
    """The operation with one thing less."""
    found: list[Operation] = [
        {**op, name: None} for name in ("key", "label", "base") if op.get(name) is not None and op["do"] == "save"
    ]
    for name in ("state", "changes"):
        if op.get(name) is None:
            continue
        content = json.loads(op[name])
        found += [{**op, name: _text(less)} for less in _less(content)]
    return found


def _less(value: Any) -> list[Any]:
    if isinstance(value, dict):
        without = [{k: v for k, v in value.items() if k != gone} for gone in value]
        return without + [{**value, key: less} for key, inner in value.items() for less in _less(inner)]
    if isinstance(value, list):
        shorter = [value[:i] + value[i + 1 :] for i in range(len(value))]
        return shorter + [[*value[:i], less, *value[i + 1 :]] for i, v in enumerate(value) for less in _less(v)]
    return [] if isinstance(value, str) or value in (1, None) else [1]


def _text(value: Any) -> str:
    return dump(parse(json.dumps(value)))

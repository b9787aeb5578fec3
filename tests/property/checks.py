"""Everything that must hold of a stored session, whatever was done to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from asyouwere.state.tree import join
from tests.property.drivers import Driver, Handle, Refusal
from tests.property.exact import (
    Members,
    State,
    at,
    copy,
    counted,
    differences,
    dump,
    keys_of,
    messages_in,
    opened,
    parse,
    parts_of,
    path_of,
    place_of,
    pointer_of,
    state_of,
)
from tests.property.model import SessionModel

ALIVE = 2147483647
PAIRS = 6


def caught_up(base: State, text: str) -> State:
    """A client's copy after changes from a sync or a save: remove, then set, each in the order given."""
    tree = copy(base)
    changes = dict(parse(text))
    assert list(changes) == ["set", "remove"], f"changes have {list(changes)}"
    for pointer in changes["remove"]:
        holder, key = _place(tree, pointer)
        if isinstance(holder, list):
            assert int(key) == len(holder) - 1, (
                f"remove {pointer!r} is not the end of a list of {len(holder)}"
            )
            holder.pop()
        else:
            assert key in holder, f"remove {pointer!r}: nothing is there"
            del holder[key]
    pointers = [pointer for pointer, _ in changes["set"]]
    assert len(pointers) == len(set(pointers)), f"an address is set twice: {pointers}"
    for pointer, value in changes["set"]:
        holder, key = _place(tree, pointer)
        if isinstance(holder, list):
            position = int(key)
            assert position <= len(holder), f"set {pointer!r} leaves a gap in a list of {len(holder)}"
            holder[position : position + 1] = [dump(value)]
        else:
            keys = keys_of(pointer)
            assert keys is not None
            holder[key] = opened(value, len(keys))
    return tree


def _place(tree: State, pointer: str) -> tuple[Any, str]:
    keys = keys_of(pointer)
    assert keys, f"{pointer!r} is no address of a part"
    holder = at(tree, keys[:-1])
    assert isinstance(holder, dict | list), f"{pointer!r} has no container in the client's copy"
    return holder, keys[-1]


def check_sync(driver: Driver, session: Handle, model: SessionModel, since: int) -> None:
    """Changes since a number lead to the latest, or say that they can't."""
    number, reset, changes = driver.changes(session, since)
    assert number == model.latest
    if since not in model.states:
        assert reset, f"changes since {since}, which is not kept, without reset"
        return
    assert not reset, f"reset though {since} is kept"
    assert changes is not None
    now = caught_up(model.states[since], changes)
    assert now == model.state, f"sync since {since} makes {now}, not {model.state}"


def check_session(
    driver: Driver, storage: Storage, session: Handle, model: SessionModel, chance: random.Random
) -> None:
    """All of it, through the driver and in the tables."""
    for number in range(driver.lowest_number, model.latest + 2):
        check_number(driver, storage, session, model, number)
        check_sync(driver, session, model, number)
    for label in model.labels.items():
        restored = driver.restore(session, label=label[1])
        assert (restored.number, restored.label) == label
    check_list(driver, session, model)
    numbers = [n for n in model.states if n >= 0]
    for _ in range(PAIRS):
        check_diff(driver, session, model, chance.choice(numbers), chance.choice(numbers))
    bodies = [(position, dump(parse(body))) for position, body in driver.messages(session)]
    assert bodies == list(enumerate(messages_in(model.state))), f"messages are {bodies}"
    storage.check_tables(session, model)


def check_number(driver: Driver, storage: Storage, session: Handle, model: SessionModel, number: int) -> None:
    """A kept number comes back exactly; others say what they are."""
    if number not in model.states:
        check_missing(model, number, lambda: driver.restore(session, number))
        return
    restored = driver.restore(session, number)
    assert restored.number == number
    assert restored.label == model.labels.get(number)
    assert restored.latest_number == model.latest
    storage.check_state(restored.state, model.states[number], f"number {number}")
    sizes = (restored.size_bytes, restored.message_count)
    assert sizes == model.sizes(number), f"number {number} says {sizes}, not {model.sizes(number)}"


def check_missing(model: SessionModel, number: int, attempt: Callable[[], Any]) -> None:
    """What needs a number that is pruned, or that never was, says which of the two."""
    with pytest.raises(Refusal) as refused:
        attempt()
    wanted = "snapshot_gone" if 0 < number <= model.latest else "snapshot_not_found"
    assert refused.value.code == wanted, f"number {number}: {refused.value} instead of {wanted}"


def check_list(driver: Driver, session: Handle, model: SessionModel) -> None:
    """The list of snapshots, newest first."""
    rows = driver.snapshots(session)
    assert [row.number for row in rows] == model.kept[::-1], f"kept are {[row.number for row in rows]}"
    for row in rows:
        seen = (row.label, row.size_bytes, row.message_count, row.changed_parts)
        wanted = (model.labels.get(row.number), *model.sizes(row.number), model.changed[row.number])
        assert seen == wanted, f"snapshot {row.number} says {seen}, not {wanted}"


def check_diff(driver: Driver, session: Handle, model: SessionModel, one: int, other: int) -> None:
    """The difference of two kept numbers, in address order."""
    wanted = differences(model.states[one], model.states[other])
    rows = [
        (
            row.address,
            row.change,
            None if row.before is None else dump(parse(row.before)),
            None if row.after is None else dump(parse(row.after)),
        )
        for row in driver.diff(session, one, other)
    ]
    expected = [
        (
            pointer_of(address),
            "added" if before is None else "removed" if after is None else "changed",
            before,
            after,
        )
        for address, (before, after) in sorted(wanted.items(), key=lambda entry: place_of(entry[0]))
    ]
    assert rows == expected, f"diff {one} to {other}: {rows}, not {expected}"


class Storage:
    """The tables, seen by the superuser."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.connection.adapters.register_loader("json", TextLoader)

    def close(self) -> None:
        """Close its connection."""
        self.connection.close()

    def rows(self, text: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query."""
        return self.connection.execute(text.encode(), values).fetchall()

    def internal_id(self, session: Handle) -> int:
        """The short key of a session's parts."""
        (row,) = self.rows("select internal_id from free_agent_sessions where id = %s", session)
        return int(row["internal_id"])

    @staticmethod
    def check_state(text: str, wanted: State, what: str) -> None:
        """A restored text is the state: numbers, keys and strings to the letter, and nothing twice."""
        assert state_of(text) == wanted, f"{what} is {text}, not {wanted}"
        values = parse(text)
        assert len({key for key, _ in values}) == len(values), f"{what} has a key twice"
        _refuse_twice(values, 0, what)

    def check_tables(self, session: Handle, model: SessionModel) -> None:
        """Session, snapshots, parts and keys as they lie there."""
        (row,) = self.rows("select * from free_agent_sessions where id = %s", session)
        size, messages = model.sizes(model.latest)
        assert row["latest_number"] == model.latest
        assert (row["size_bytes"], row["message_count"]) == (size, messages)
        internal = row["internal_id"]
        parts = self.rows(
            "select * from asyouwere.parts where session = %s order by path, item, since", internal
        )
        self._check_rows(parts, model)
        for number in model.kept:
            alive = {
                (part["path"], part["item"]): part["body"]
                for part in parts
                if part["since"] <= number < part["until"]
            }
            wanted = {
                (path_of(keys), item): body for (keys, item), body in parts_of(model.states[number]).items()
            }
            assert alive == wanted, f"the parts of {number} are {alive}, not {wanted}"
            # the product's own reader of parts sees no gap and no member without its container
            assert state_of(join(alive)) == model.states[number]
        (keys,) = self.rows("select count(*) as count from asyouwere.save_keys where session = %s", internal)
        assert keys["count"] == len(model.keys), f"{keys['count']} keys are remembered, not {len(model.keys)}"

    def _check_rows(self, parts: list[dict[str, Any]], model: SessionModel) -> None:
        before: dict[str, Any] = {}
        for part in parts:
            what = f"part {part['path']} {part['item']} [{part['since']}, {part['until']})"
            assert part["size"] == counted(part["path"], part["body"]), f"{what}: size"
            assert part["depth"] == part["path"].count("/") - 1, f"{what}: depth"
            assert 1 <= part["since"] < part["until"], f"{what}: an empty lifespan"
            assert part["since"] <= model.latest, f"{what}: from the future"
            assert part["until"] in (ALIVE, *range(1, model.latest + 1)), f"{what}: ends in the future"
            assert part["until"] == ALIVE or any(part["since"] <= n < part["until"] for n in model.kept), (
                f"{what}: no kept number in it; kept are {model.kept}"
            )
            kind = (
                "i"
                if part["item"] >= 0
                else {"{}": "o", "[]": "l"}.get(part["body"], "v")
                if part["depth"] < 3
                else "v"
            )
            assert part["kind"] == kind, f"{what}: kind {part['kind']}, not {kind}"
            assert part["body"] == dump(parse(part["body"])), f"{what}: {part['body']} is not canonical"
            if before and (before["path"], before["item"]) == (part["path"], part["item"]):
                assert before["until"] <= part["since"], f"{what}: overlaps the one before"
            before = part

    def check_gone(self, sessions: list[Handle], internal: list[int]) -> None:
        """Nothing is left of deleted sessions."""
        for table, column, ids in (
            ("free_agent_sessions", "id", sessions),
            ("session_snapshots", "session_id", sessions),
            ("asyouwere.parts", "session", internal),
            ("asyouwere.save_keys", "session", internal),
        ):
            kind = "uuid" if ids is sessions else "bigint"
            found = self.rows(
                f"select count(*) as count from {table} where {column} = any (%s::{kind}[])", ids
            )
            assert found[0]["count"] == 0, f"{table} still has {found[0]['count']} rows of deleted sessions"

    def drop(self, sessions: list[Handle]) -> None:
        """Delete sessions of a sequence that failed."""
        self.rows_without("delete from free_agent_sessions where id = any (%s::uuid[])", sessions)

    def rows_without(self, text: str, *values: Any) -> None:
        """Run a statement that returns nothing."""
        self.connection.execute(text.encode(), values)


def _refuse_twice(members: Any, depth: int, what: str) -> None:
    if isinstance(members, Members) and depth < 3:
        assert len({key for key, _ in members}) == len(members), f"{what} has a key twice"
        for _, inner in members:
            _refuse_twice(inner, depth + 1, what)

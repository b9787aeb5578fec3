"""What has changed since a number: applied to the state of that number, it gives the latest."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.sql.states import applied, change, save_text, state_of
from tests.support.database import Db, Row


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def session_id(db: Db):
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


def changes_since(db: Db, session_id: Any, number: int) -> Any:
    row = db.one("get_session_changes", p_session_id=session_id, p_since=number)
    assert row["reset"] is False
    return row["changes"]


def test_changes__nothing_new(db: Db, session_id) -> None:
    nothing = {"set": {}, "remove": []}
    assert db.one("get_session_changes", p_session_id=session_id, p_since=0) == {
        "number": 0,
        "reset": False,
        "changes": nothing,
    }
    db.save(session_id, {"n": 1})
    assert changes_since(db, session_id, 1) == nothing


def test_changes__in_order(db: Db, session_id) -> None:
    db.save(session_id, {"l": [0, 1, 2, 3], "m": {"x": {"y": 1}}, "gone": {"a": {"b": [1]}}})
    change(
        db,
        session_id,
        {"set": {"/new": {"b": {}, "a": [1, 2]}, "/m/x": [7], "/l/0": "zero"}, "remove": ["/l/3", "/l/2", "/gone"]},
    )
    rows = db.sql("select changes::text from get_session_changes(%s, 1)", (session_id,))
    assert rows[0]["changes"] == (
        '{"set":{"/l/0":"zero","/m/x":[],"/m/x/0":7,"/new":{},"/new/a":[],"/new/a/0":1,"/new/a/1":2,"/new/b":{}},'
        '"remove":["/gone","/l/3","/l/2","/m/x/y"]}'
    )


def test_changes__what_went_and_came_back_is_said_once(db: Db, session_id) -> None:
    db.save(session_id, {"a": {"x": 1, "y": [1, 2]}, "b": 1})
    change(db, session_id, {"remove": ["/a", "/b"]})
    change(db, session_id, {"set": {"/a": {"y": [1]}, "/b": 1}})
    assert applied(state_of(db, session_id, 1), changes_since(db, session_id, 1)) == {"a": {"y": [1]}, "b": 1}


@pytest.mark.parametrize("number", [-1, 3, 2**31 - 1, -(2**31), None])
def test_changes__since_an_unknown_number_ask_for_a_restore(db: Db, session_id, number: int | None) -> None:
    db.save(session_id, {"n": 1})
    db.save(session_id, {"n": 2})
    row = db.one("get_session_changes", p_session_id=session_id, p_since=number)
    assert row == {"number": 2, "reset": True, "changes": None}


def test_changes__keys_that_postgres_cannot_read(db: Db, session_id) -> None:
    save_text(db, session_id, '{"a\\u0000":{"\\ud800":1}}')
    change(db, session_id, {"set": {"/b~1c": 1}})
    rows = db.sql("select changes::text from get_session_changes(%s, 0)", (session_id,))
    assert rows[0]["changes"] == '{"set":{"/a\\u0000":{},"/a\\u0000/\\ud800":1,"/b~1c":1},"remove":[]}'


def random_value(chance: random.Random, depth: int) -> Any:
    if depth and chance.random() < 0.5:
        return {key: random_value(chance, depth - 1) for key in chance.sample("abc", chance.randrange(4))}
    return chance.choice([chance.randrange(9), [], {}, "t", [1, 2], list(range(chance.randrange(6)))])


@pytest.mark.parametrize("seed", range(4))
def test_changes__from_every_kept_number_reproduce_the_latest(db: Db, session_id, seed: int) -> None:
    chance = random.Random(seed)
    for n in range(45):
        kind = chance.random()
        if kind < 0.25 or n == 0:
            db.save(session_id, {key: random_value(chance, 3) for key in "abcd"} | {"messages": [0]})
        elif kind < 0.35:
            kept = [row["number"] for row in db.call("list_snapshots", p_session_id=session_id)]
            db.one("revert_session", p_session_id=session_id, p_number=chance.choice(kept))
        else:
            pointer = "/" + "/".join(chance.sample("abcd", 1))
            changes: Row = {"set": {pointer: random_value(chance, 2)}, "append": {"/messages": [n]}}
            if chance.random() < 0.3:
                changes = {"remove": [pointer]}
            change(db, session_id, changes)
        if n % 15 == 14:
            with db.acting_as("service"):
                db.one("cleanup_old_snapshots", p_keep=8, p_older_than="0")
        if n % 5 == 4:
            latest = state_of(db, session_id)
            kept = [row["number"] for row in db.call("list_snapshots", p_session_id=session_id)]
            for number in [0, *kept]:
                assert applied(state_of(db, session_id, number), changes_since(db, session_id, number)) == latest


def test_changes__others_of_a_merge_bring_the_client_up_to_date(db: Db, session_id) -> None:
    base = {"messages": ["a"], "m": {"x": 1, "y": 2}, "gone": [1]}
    db.save(session_id, base)
    change(db, session_id, {"append": {"/messages": ["theirs"]}, "set": {"/m/x": 5}, "remove": ["/gone"]})
    row = change(db, session_id, {"append": {"/messages": ["mine"]}, "set": {"/m/y": 6}}, p_base=1)
    assert applied(base, row["others"]) == state_of(db, session_id)
    assert state_of(db, session_id) == {"messages": ["a", "theirs", "mine"], "m": {"x": 5, "y": 6}}
    # Nobody else saved: nothing to catch up with.
    assert change(db, session_id, {"set": {"/m/y": 7}}, p_base=row["number"])["others"] is None

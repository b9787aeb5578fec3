"""Changes that look at what is stored first: who wins a race, what a replay says, what rows from outside may not do.

What each kind does is in spec/cases/conditions.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.sql.states import change, detail_of, save_rows, state_of, text_of
from tests.support.database import Db


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def session_id(db: Db) -> Iterator[UUID]:
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


def once(*ids: Any, by: str = "id", **members: Any) -> dict[str, Any]:
    return {"append_once": {"/messages": {"by": by, "items": [{by: each, **members} for each in ids]}}}


# -- races -----------------------------------------------------------------------------------------------------


def test_append_once__48_callers_with_16_ids_add_16(db: Db, session_id: UUID) -> None:
    people = [db.connect_as("ada") for _ in range(16)]

    def three(caller: int) -> list[str]:
        added = []
        for turn in range(3):
            ids = [f"m{(caller + turn) % 16}", f"m{(caller + turn + 5) % 16}"]
            (row,) = db.call(
                "create_session_snapshot",
                on=people[caller],
                p_session_id=session_id,
                p_changes=once(*ids, by_whom=caller),
            )
            found = {item["id"] for item in (row["existing"] or {}).values()}
            added += [each for each in ids if each not in found]
            assert row["created"] == (len(found) < 2)
        return added

    with ThreadPoolExecutor(16) as pool:
        added = [each for ids in pool.map(three, range(16)) for each in ids]
    stored = state_of(db, session_id)["messages"]
    assert sorted(item["id"] for item in stored) == sorted(f"m{n}" for n in range(16))
    # who was told to have added an item did, and nobody else
    assert sorted(added) == sorted(item["id"] for item in stored)


def test_add__of_16_callers_one_wins_and_all_are_told(db: Db, session_id: UUID) -> None:
    people = [db.connect_as("ada") for _ in range(16)]

    def claim(caller: int) -> Any:
        (row,) = db.call(
            "create_session_snapshot",
            on=people[caller],
            p_session_id=session_id,
            p_changes={"add": {"/lock/owner": caller}, "append": {"/log": [caller]}},
        )
        return caller if row["existing"] is None else row["existing"]["/lock/owner"]

    with ThreadPoolExecutor(16) as pool:
        told = set(pool.map(claim, range(16)))
    state = state_of(db, session_id)
    assert told == {state["lock"]["owner"]}
    assert sorted(state["log"]) == list(range(16))  # the rest of each save was done


@pytest.mark.parametrize("condition", [{"expect": {"/n": 0}}, {"expect_absent": ["/winner"]}])
def test_expect__of_16_callers_one_saves(db: Db, session_id: UUID, condition: dict[str, Any]) -> None:
    db.save(session_id, {"n": 0})
    people = [db.connect_as("ada") for _ in range(16)]

    def swap(caller: int) -> int:
        try:
            db.call(
                "create_session_snapshot",
                on=people[caller],
                p_session_id=session_id,
                p_changes={**condition, "set": {"/n": 1, "/winner": caller}},
            )
        except psycopg.Error as refused:
            if refused.diag.message_hint != "conflict":
                raise
            return 0
        return 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(swap, range(16))) == 1
    assert db.one("get_session", p_session_id=session_id)["latest_number"] == 2


# -- answers ---------------------------------------------------------------------------------------------------


def test_conditions__a_replay_answers_what_was_there_then(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": [{"id": "a", "v": 1}], "memory": {"topic": {"t": 1}}})
    changes = {**once("a", "b"), "add": {"/memory": {}, "/new": {"x": 1}}, "expect": {"/memory/topic": {"t": 1}}}
    first = change(db, session_id, changes, p_idempotency_key="k")
    assert first["existing"] == {"/messages/0": {"id": "a", "v": 1}, "/memory": {"topic": {"t": 1}}}
    change(db, session_id, {"set": {"/messages/0": "gone", "/memory": 5}, "remove": ["/new"]})
    # a name of the same size that is taken now was free then, and what was expected is no more
    again = change(db, session_id, changes, p_idempotency_key="k")
    assert again == {**first, "replayed": True}
    with db.refuses("idempotency_key_reused"):
        change(db, session_id, {**changes, "add": {"/memory": {}}}, p_idempotency_key="k")


def test_conditions__a_replay_of_what_wrote_nothing(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"a": 1})
    first = change(db, session_id, {"add": {"/a": 2}}, p_idempotency_key="k")
    assert (first["number"], first["created"], first["existing"]) == (1, False, {"/a": 1})
    change(db, session_id, {"set": {"/a": 3}})
    assert change(db, session_id, {"add": {"/a": 2}}, p_idempotency_key="k") == {**first, "replayed": True}


def test_conditions__a_replay_after_its_number_is_gone(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"a": 1})
    first = change(db, session_id, {"add": {"/a": 2, "/b": 2}}, p_idempotency_key="k")
    change(db, session_id, {"set": {"/a": 3}})
    db.call("delete_snapshots", p_session_id=session_id, p_numbers=[2])
    again = change(db, session_id, {"add": {"/a": 2, "/b": 2}}, p_idempotency_key="k")
    assert again == {**first, "replayed": True, "size_bytes": None, "message_count": None, "existing": None}


def test_conditions__every_character_of_what_is_there_comes_back(db: Db, session_id: UUID) -> None:
    db.save(session_id, r'{"a":{"b":["\u0000",1.10,"\ud800"]},"z":1}')
    (row,) = db.sql(
        "select existing::text from create_session_snapshot(%s, p_changes => %s)",
        (session_id, r'{"add":{"/a":1,"/z":2}}'),
    )
    assert row["existing"] == r'{"/a":{"b":["\u0000",1.10,"\ud800"]},"/z":1}'


def test_conditions__messages_are_counted_and_the_last_is_shown(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": [{"id": 1, "role": "user", "content": "one"}]})
    row = change(db, session_id, once(1, 2, role="user", content="two"))
    assert (row["message_count"], row["changed_parts"]) == (2, 1)
    assert db.one("get_session", p_session_id=session_id)["last_message"] == "two"
    row = change(db, session_id, {"add": {"/more": {"a": {"b": [1]}}}})
    assert row["size_bytes"] == db.value(
        "select sum(octet_length(p.path) + octet_length(p.body) + 100) from asyouwere.live_parts p"
        " join free_agent_sessions s on s.internal_id = p.session where s.id = %s",
        (session_id,),
    )


def test_conditions__others_are_told_with_what_was_added(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": []})
    change(db, session_id, once("t"))
    row = change(db, session_id, {**once("t", "m"), "add": {"/x": {"y": 1}}}, p_base=1)
    assert row["merged"]
    assert row["others"]["set"] == {"/messages/0": {"id": "t"}, "/messages/1": {"id": "m"}, "/x": {}, "/x/y": 1}
    assert row["existing"] == {"/messages/0": {"id": "t"}}


@pytest.mark.parametrize("on_conflict", ["reject", "overwrite"])
def test_conditions__on_conflict_is_about_the_base(db: Db, session_id: UUID, on_conflict: str) -> None:
    db.save(session_id, {"a": 1})
    change(db, session_id, {"set": {"/a": 2}})
    arguments = {"p_base": 1, "p_on_conflict": on_conflict}
    changes = {"expect": {"/a": 2}, "add": {"/a": 9, "/b": 1}, "set": {"/c": 1}}
    if on_conflict == "reject":
        with db.refuses("conflict"):
            change(db, session_id, changes, **arguments)
        return
    assert change(db, session_id, changes, **arguments)["existing"] == {"/a": 2}
    assert state_of(db, session_id) == {"a": 2, "b": 1, "c": 1}


def test_expect__at_most_100_addresses_are_named(db: Db, session_id: UUID) -> None:
    with db.refuses("conflict") as refused:
        change(db, session_id, {"expect": {f"/{n}": 1 for n in range(200)}})
    detail = detail_of(refused)
    assert (len(detail["addresses"]), detail["count"], detail["latest"]) == (100, 200, 0)


def test_conditions__with_the_message_that_ends_a_turn(db: Db, session_id: UUID) -> None:
    turn = "0192f0c1-2a00-7000-8000-0000000000ff"
    db.save(session_id, {"messages": [], "seen": 1})
    db.call("begin_turn", p_session_id=session_id, p_turn_id=turn)
    finish = {"p_session_id": session_id, "p_turn_id": turn, "p_message": {"role": "assistant"}}
    with db.refuses("conflict"):
        db.one("finish_turn", **finish, p_changes={"expect": {"/seen": 2}})
    row = db.one("finish_turn", **finish, p_changes={"expect": {"/seen": 1}, "add": {"/seen": 5}})
    assert row["existing"] == {"/seen": 1}
    assert state_of(db, session_id)["messages"] == [{"role": "assistant"}]


# -- refusals --------------------------------------------------------------------------------------------------


def test_conditions__tell_nothing_to_who_may_not_write(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"secret": "x"})
        db.share(session_id, "vera", "viewer")
        db.share(session_id, "ed", "editor")
    for who, code in (("vera", "forbidden"), ("mallory", "session_not_found")):
        for changes in (
            {"expect": {"/secret": "y"}},
            {"add": {"/secret": 1}},
            {"expect_absent": ["/secret"]},
            once(1),
        ):
            with db.acting_as(who), db.refuses(code):
                change(db, session_id, changes)
    with db.acting_as(None), pytest.raises(psycopg.errors.InsufficientPrivilege):
        change(db, session_id, {"add": {"/secret": 1}})
    for who in ("ed", "service"):
        with db.acting_as(who):
            assert change(db, session_id, {"add": {"/secret": 1}})["existing"] == {"/secret": "x"}


Rows = list[tuple[str, str, int | None, str | None]]
LOOSE: dict[str, Rows] = {
    "add without a body": [("add", "/a/", -1, None)],
    "the root added": [("add", "/", -1, "{}")],
    "expect without a body": [("expect", "/a/", -1, None)],
    "the root expected as a list": [("expect", "/", -1, "[]")],
    "absent with a body": [("expect_absent", "/a/", -1, "1")],
    "the root absent": [("expect_absent", "/", -1, None)],
    "by what is no name": [("by", "/l/", None, "1"), ("once", "/l/", None, '{"id":1}')],
    "by at an item": [("by", "/l/", 0, '"id"')],
    "the root by a name": [("by", "/", None, '"id"')],
    "once at an item": [("by", "/l/", None, '"id"'), ("once", "/l/", 0, '{"id":1}')],
    "once without by": [("once", "/l/", None, '{"id":1}')],
    "once after another row": [
        ("by", "/l/", None, '"id"'),
        ("set", "/x/", -1, "1"),
        ("once", "/l/", None, '{"id":1}'),
    ],
    "once in another list": [("by", "/l/", None, '"id"'), ("once", "/l/m/", None, '{"id":1}')],
    "inside of what is expected, of a set": [("set", "/a/", -1, "{}"), ("expect_in", "/a/b/", -1, "1")],
    "inside of a set, of what is expected": [("expect", "/a/", -1, "{}"), ("in", "/a/b/", -1, "1")],
    "inside of nothing": [("expect_in", "/a/b/", -1, "1")],
    "inside without an item": [("expect", "/a/", -1, "[]"), ("expect_in", "/a/", None, "1")],
    "twice inside": [("expect", "/a/", -1, "[]"), ("expect_in", "/a/", 0, "1"), ("expect_in", "/a/", 0, "2")],
    "an add that is not opened": [("add", "/a/", -1, '{"b":1}')],
}


@pytest.mark.parametrize("rows", LOOSE.values(), ids=LOOSE)
def test_rows__loose_conditions_are_refused(db: Db, session_id: UUID, rows: Rows) -> None:
    with db.refuses("invalid_changes"):
        save_rows(db, session_id, *rows)
    assert db.one("get_session", p_session_id=session_id)["latest_number"] == 0


def test_rows__conditions_that_are_right(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"a": {"b": [1]}})
    row = save_rows(
        db,
        session_id,
        ("expect", "/a/", -1, "{}"),
        ("expect_in", "/a/b/", -1, "[]"),
        ("expect_in", "/a/b/", 0, "1"),
        ("set", "/a/", -1, "{}"),
        ("in", "/a/b/", -1, "2"),
        ("add", "/c/", -1, "{}"),
        ("in", "/c/d/", -1, "3"),
        ("by", "/l/", None, '"id"'),
        ("once", "/l/", None, '{"id":4}'),
        ("expect_absent", "/l/", -1, None),
    )
    assert (row["changed_parts"], row["existing"]) == (6, None)
    assert json.loads(text_of(db, session_id)) == {"a": {"b": 2}, "c": {"d": 3}, "l": [{"id": 4}]}


def test_conditions__count_as_what_they_write(db: Db, session_id: UUID) -> None:
    db.superuser.execute("update asyouwere.settings set max_state_bytes = 1024 * 1024")
    try:
        big = "x" * 600_000
        change(db, session_id, {"add": {"/a": big}})
        with db.refuses("too_large"):
            change(db, session_id, {"add": {"/b": big}})
        with db.refuses("too_large"):
            change(db, session_id, once(1, text=big))
        change(db, session_id, {"add": {"/a": big}, **once(1)})  # which writes little
    finally:
        db.superuser.execute("update asyouwere.settings set max_state_bytes = default")

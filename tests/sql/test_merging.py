"""Merging: every rule at the head of 07_merging.sql, from both sides."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from tests.sql.states import Changes, change, change_text, detail_of, state_of
from tests.support.database import Db

BASE = {
    "messages": ["m0", "m1", "m2"],
    "memory": {"a": 1, "b": {"x": 1, "y": [1, 2]}, "list": ["l0"]},
    "step": 1,
    "empty": {},
}
MISSING = object()


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


def started(db: Db) -> UUID:
    """A session of ada's with BASE as its number 1."""
    session_id = db.session("ada")
    db.save(session_id, BASE)
    return session_id


def with_changes(changes: Changes) -> Any:
    """What a caller who has the base and sends these changes has in mind, if nobody else does anything."""
    return {"p_changes": changes, "p_base": 1}


# name: (one's changes, the other's, what is there after both; messages and lists: one first, then the other)
MERGES: dict[str, tuple[Changes, Changes, dict[str, Any]]] = {
    "different members": (
        {"set": {"/step": 2}},
        {"set": {"/memory/a": 2}},
        {"step": 2, "memory": {**BASE["memory"], "a": 2}},  # type: ignore[dict-item]
    ),
    "a member and one removed": (
        {"set": {"/step": 2}},
        {"remove": ["/memory"]},
        {"step": 2, "memory": MISSING},
    ),
    "new members of one object": (
        {"set": {"/empty/a": 1}},
        {"set": {"/empty/b": {"c": 2}}},
        {"empty": {"a": 1, "b": {"c": 2}}},
    ),
    "appends to one list": (
        {"append": {"/messages": ["one"]}},
        {"append": {"/messages": ["two", "three"]}},
        {"messages": ["m0", "m1", "m2", "one", "two", "three"]},
    ),
    "the same appended by both": (
        {"append": {"/messages": ["ok"]}},
        {"append": {"/messages": ["ok"]}},
        {"messages": ["m0", "m1", "m2", "ok", "ok"]},
    ),
    "an append and a longer list": (
        {"append": {"/messages": ["one"]}},
        {"set": {"/messages": ["m0", "m1", "m2", "two"]}},
        {"messages": ["m0", "m1", "m2", "one", "two"]},
    ),
    "an append and an item set past the end": (
        {"append": {"/messages": ["one"]}},
        {"set": {"/messages/3": "two", "/messages/4": "three"}},
        {"messages": ["m0", "m1", "m2", "one", "two", "three"]},
    ),
    "an append and a change of an item": (
        {"append": {"/messages": ["one"]}},
        {"set": {"/messages/1": "edited"}},
        {"messages": ["m0", "edited", "m2", "one"]},
    ),
    "different items": (
        {"set": {"/messages/0": "zero"}},
        {"set": {"/messages/2": "two"}},
        {"messages": ["zero", "m1", "two"]},
    ),
    "an item changed and another cut off": (
        {"set": {"/messages/0": "zero"}},
        {"remove": ["/messages/2"]},
        {"messages": ["zero", "m1"]},
    ),
    "a list made by both, by appending": (
        {"append": {"/new": ["one"]}},
        {"append": {"/new": ["two"]}},
        {"new": ["one", "two"]},
    ),
    "a list made by both, by setting it": (
        {"set": {"/new": ["one"]}},
        {"set": {"/new": ["two"]}},
        {"new": ["one", "two"]},
    ),
    "an object made by both": (
        {"set": {"/new": {"a": {"x": 1}, "l": [1]}}},
        {"set": {"/new": {"a": {"y": 2}, "b": 1, "l": []}}},
        {"new": {"a": {"x": 1, "y": 2}, "b": 1, "l": [1]}},
    ),
    "the same value": ({"set": {"/step": 2}}, {"set": {"/step": 2}}, {"step": 2}),
    "the same removed": ({"remove": ["/step"]}, {"remove": ["/step"]}, {"step": MISSING}),
    "the same and something else": (
        {"set": {"/step": 2, "/x": 1}},
        {"set": {"/step": 2, "/y": 1}},
        {"step": 2, "x": 1, "y": 1},
    ),
    "the same container made": (
        {"set": {"/new": {"a": {"b": [1, {}]}}}},
        {"set": {"/new": {"a": {"b": [1, {}]}}}},
        {"new": {"a": {"b": [1, {}]}}},
    ),
    "the same empty container made": ({"set": {"/new": {}}}, {"set": {"/new": {}}}, {"new": {}}),
    "the same list made": ({"set": {"/new": [1, 2]}}, {"set": {"/new": [1, 2]}}, {"new": [1, 2, 1, 2]}),
    "the same container removed": ({"remove": ["/memory"]}, {"remove": ["/memory"]}, {"memory": MISSING}),
    "the same items cut off": (
        {"remove": ["/messages/1", "/messages/2"]},
        {"remove": ["/messages/2", "/messages/1"]},
        {"messages": ["m0"]},
    ),
    "one cut off, two cut off": (
        {"remove": ["/messages/2"]},
        {"remove": ["/messages/2", "/messages/1"]},
        {"messages": ["m0"]},
    ),
    "a container set to what it is, and a change in it": (
        {"set": {"/memory": BASE["memory"]}},
        {"set": {"/memory/a": 2}},
        {"memory": {**BASE["memory"], "a": 2}},  # type: ignore[dict-item]
    ),
    "whole states that differ in different places": (
        {"set": {"": {**BASE, "step": 2}}},
        {"set": {"": {**BASE, "messages": [*BASE["messages"], "two"]}}},  # type: ignore[misc]
        {"step": 2, "messages": ["m0", "m1", "m2", "two"]},
    ),
    "a whole state and changes": (
        {"set": {"": {**BASE, "step": 2, "new": {"x": 1}}}},
        {"set": {"/memory/b/x": 5}, "append": {"/messages": ["two"]}},
        {
            "step": 2,
            "new": {"x": 1},
            "messages": ["m0", "m1", "m2", "two"],
            "memory": {**BASE["memory"], "b": {"x": 5, "y": [1, 2]}},  # type: ignore[dict-item]
        },
    ),
}


@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("case", MERGES)
def test_merge__both_are_there(db: Db, case: str, swapped: bool) -> None:
    first, second, expected = MERGES[case]
    if swapped:
        first, second = second, first
    with db.acting_as("ada"):
        session_id = started(db)
        theirs = change(db, session_id, first, p_base=1)
        row = change(db, session_id, second, p_base=1)
        assert row["merged"] == theirs["created"]
        state = state_of(db, session_id)
        wanted = {**BASE, **expected}
        wanted = {key: value for key, value in wanted.items() if value is not MISSING}
        if swapped:  # who comes later is appended later
            assert _sorted(state) == _sorted(wanted)
        else:
            assert state == wanted
        # The first one's number is as it was, and nothing but this is in the way of a third.
        assert state_of(db, session_id, 1) == BASE
        if row["created"]:
            assert change(db, session_id, {"set": {"/third": 3}}, p_base=1)["number"] == row["number"] + 1


def _sorted(state: dict[str, Any]) -> dict[str, Any]:
    return {key: sorted(value, key=str) if isinstance(value, list) else value for key, value in state.items()}


# name: (one's changes, the other's, the addresses that are named whoever comes later)
CONFLICTS: dict[str, tuple[Changes, Changes, set[str]]] = {
    "1: the same member to different values": ({"set": {"/step": 2}}, {"set": {"/step": 3}}, {"/step"}),
    "1: two members": (
        {"set": {"/step": 2, "/memory/a": 2, "/x": 1}},
        {"set": {"/step": 3, "/memory/a": 3, "/y": 1}},
        {"/step", "/memory/a"},
    ),
    "1: a member set and removed": ({"set": {"/step": 2}}, {"remove": ["/step"]}, {"/step"}),
    "1: the same new member": ({"set": {"/new": 1}}, {"set": {"/new": 2}}, {"/new"}),
    "1: the same new member, of other types": ({"set": {"/new": 1}}, {"set": {"/new": "1"}}, {"/new"}),
    "1: the same item": ({"set": {"/messages/1": "a"}}, {"set": {"/messages/1": "b"}}, {"/messages/1"}),
    "1: an item set and cut off": ({"set": {"/messages/2": "a"}}, {"remove": ["/messages/2"]}, {"/messages/2"}),
    "2: a container removed under a change": (
        {"remove": ["/memory"]},
        {"set": {"/memory/a": 2}},
        {"/memory/a"},
    ),
    "2: a container removed under a change far in it": (
        {"remove": ["/memory"]},
        {"set": {"/memory/b/x": 2}},
        {"/memory/b/x"},
    ),
    "2: a container replaced under a change": ({"set": {"/memory": 5}}, {"set": {"/memory/a": 2}}, {"/memory/a"}),
    "2: a container made a list under a change": (
        {"set": {"/memory": [1]}},
        {"set": {"/memory/z": 2}},
        {"/memory/z"},
    ),
    "2: a container removed under a new member": ({"remove": ["/empty"]}, {"set": {"/empty/x": 2}}, {"/empty/x"}),
    "2: a list removed under a change": ({"remove": ["/messages"]}, {"set": {"/messages/0": "x"}}, {"/messages/0"}),
    "2: a list removed under an append": ({"remove": ["/messages"]}, {"append": {"/messages": ["x"]}}, {"/messages"}),
    "2: a list replaced under an append": (
        {"set": {"/messages": {}}},
        {"append": {"/messages": ["x"]}},
        {"/messages"},
    ),
    "2: an object removed under an append": (
        {"remove": ["/memory"]},
        {"append": {"/memory/list": ["x"]}},
        {"/memory/list"},
    ),
    "1: both make an object, with a member that differs": (
        {"set": {"/new": {"a": 1, "b": 1}}},
        {"set": {"/new": {"a": 2, "c": 1}}},
        {"/new/a"},
    ),
    "2: one makes an object, one a list": ({"set": {"/new": {}}}, {"set": {"/new": []}}, {"/new"}),
    "3: items cut off a list that has become longer": (
        {"append": {"/messages": ["x"]}},
        {"remove": ["/messages/2"]},
        {"/messages/2"},
    ),
}


BOTH_WAYS = [(case, swapped) for case in CONFLICTS for swapped in (False, True) if not (swapped and case[0] == "3")]


@pytest.mark.parametrize(("case", "swapped"), BOTH_WAYS)
def test_merge__conflict_names_the_addresses(db: Db, case: str, swapped: bool) -> None:
    first, second, named = CONFLICTS[case]
    if swapped:
        first, second = second, first
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, first, p_base=1)
        theirs = state_of(db, session_id)
        with db.refuses("conflict") as refused:
            change(db, session_id, second, p_base=1)
        detail = detail_of(refused)
        assert detail["latest"] == 2
        assert detail["addresses"]
        assert all(any(_touch(address, each) for each in named) for address in detail["addresses"]), detail
        # Nothing was written, and in spite of the conflict all else can be.
        assert state_of(db, session_id) == theirs
        assert db.one("get_session", p_session_id=session_id)["latest_number"] == 2
        assert change(db, session_id, {"set": {"/else": 1}}, p_base=1)["number"] == 3


def _touch(address: str, named: str) -> bool:
    """Whether one is the other or lies in it: which of the two is named depends on who came later."""
    return address == named or address.startswith(named + "/") or named.startswith(address + "/")


def test_merge__addresses_of_a_conflict_are_exact(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"set": {"/step": 2, "/memory/a": 2, "/new~1key": {"x": 1}}})
        with db.refuses("conflict") as refused:
            change(db, session_id, {"set": {"/step": 3, "/memory/a": 3, "/new~1key": 1, "/fine": 1}}, p_base=1)
        assert detail_of(refused) == {
            "addresses": ["/memory/a", "/new~1key", "/step"],
            "count": 3,
            "latest": 2,
        }


def test_merge__appends_after_a_cut(db: Db) -> None:
    """An append never conflicts while its list lives; it goes after what is there now."""
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"remove": ["/messages/2", "/messages/1"]})
        change(db, session_id, {"append": {"/messages": ["new"]}}, p_base=1)
        assert state_of(db, session_id)["messages"] == ["m0", "new"]


def test_merge__an_append_to_a_list_that_was_made_meanwhile(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"set": {"/new": ["theirs"]}})
        change(db, session_id, {"append": {"/new": ["mine"]}}, p_base=1)
        assert state_of(db, session_id)["new"] == ["theirs", "mine"]
        change(db, session_id, {"set": {"/new": ["other"]}}, p_base=1)
        assert state_of(db, session_id)["new"] == ["theirs", "mine", "other"]


def test_merge__a_list_that_stays_a_list_when_set_whole(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"append": {"/messages": ["theirs"]}})
        row = change(db, session_id, {"set": {"/messages": ["m0", "edited", "m2", "mine", "mine 2"]}}, p_base=1)
        assert state_of(db, session_id)["messages"] == ["m0", "edited", "m2", "theirs", "mine", "mine 2"]
        assert row["others"] == {
            "set": {"/messages/1": "edited", "/messages/3": "theirs", "/messages/4": "mine", "/messages/5": "mine 2"},
            "remove": [],
        }


def test_merge__of_three_numbers_at_once(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        for n in range(3):
            change(db, session_id, {"append": {"/messages": [f"t{n}"]}, "set": {"/step": n + 2}})
        row = change(db, session_id, {"append": {"/messages": ["mine"]}, "set": {"/memory/a": 9}}, p_base=1)
        assert (row["number"], row["message_count"], row["merged"]) == (5, 7, True)
        assert state_of(db, session_id)["messages"] == ["m0", "m1", "m2", "t0", "t1", "t2", "mine"]
        # What went back to what it was at the base is no change of theirs.
        change(db, session_id, {"set": {"/step": 1}})
        change(db, session_id, {"set": {"/step": 77}}, p_base=1)
        assert state_of(db, session_id)["step"] == 77


def test_merge__against_the_base_that_nothing_is_in(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"set": {"/else": 1}}, p_base=0)
        assert state_of(db, session_id) == {**BASE, "else": 1}
        with db.refuses("conflict") as refused:
            change(db, session_id, {"set": {"/step": 5}}, p_base=0)
        assert detail_of(refused)["addresses"] == ["/step"]


def test_merge__a_gap_is_a_gap(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"append": {"/messages": ["theirs"]}})
        with db.refuses("list_gap"):
            change(db, session_id, {"set": {"/messages/4": "x"}}, p_base=1)
        with db.refuses("list_gap"):
            change(db, session_id, {"set": {"/messages/3": "x", "/messages/5": "y"}}, p_base=1)


def test_merge__misplaced_is_still_misplaced(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"set": {"/step": 2}})
        for changes, code in (
            ({"set": {"/nothing/0": 1}}, "missing_parent"),
            ({"set": {"/messages/0/x": 1}}, "address_below_part"),
            ({"append": {"/memory/a": [1]}}, "not_a_list"),
            ({"set": {"/messages/x": 1}}, "invalid_address"),
        ):
            with db.refuses(code):
                change(db, session_id, changes, p_base=1)
        assert state_of(db, session_id) == {**BASE, "step": 2}


def test_merge__a_number_means_what_it_meant_at_the_base(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = db.session("ada")
        db.save(session_id, {"x": ["a", "b"], "y": {"0": "member"}})
        db.save(session_id, {"x": ["a", "b"], "y": {"0": "member"}, "z": 1})
        change_text(db, session_id, '{"set":{"/x/1":{"kept":"whole"},"/y/0":{"opened":1}}}', p_base=1)
        assert state_of(db, session_id) == {"x": ["a", {"kept": "whole"}], "y": {"0": {"opened": 1}}, "z": 1}
        change(db, session_id, {"set": {"/y/0/opened": 2}})
        with db.refuses("address_below_part"):
            change(db, session_id, {"set": {"/x/1/kept": 2}})


# -- the two other ways ----------------------------------------------------------------------------------------


def test_reject__any_change_of_others_is_a_conflict(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"set": {"/step": 2, "/x": {"y": 1}}, "remove": ["/empty"]})
        with db.refuses("conflict") as refused:
            change(db, session_id, {"set": {"/memory/a": 2}}, p_base=1, p_on_conflict="reject")
        assert detail_of(refused) == {
            "addresses": ["/empty", "/step", "/x", "/x/y"],
            "count": 4,
            "latest": 2,
        }
        row = change(db, session_id, {"set": {"/memory/a": 2}}, p_base=2, p_on_conflict="reject")
        assert (row["number"], row["merged"]) == (3, False)


def test_overwrite__mine_counts(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"set": {"/step": 2, "/x": 1}, "append": {"/messages": ["theirs"]}})
        row = change(db, session_id, {"set": {"/step": 3}}, p_base=1, p_on_conflict="overwrite")
        assert (row["merged"], row["others"]["set"]) == (False, {"/messages/3": "theirs", "/step": 3, "/x": 1})
        assert state_of(db, session_id) == {**BASE, "step": 3, "x": 1, "messages": [*BASE["messages"], "theirs"]}  # type: ignore[misc]
        db.save(session_id, {"all": "mine"}, p_base=1, p_on_conflict="overwrite")
        assert state_of(db, session_id) == {"all": "mine"}


def test_no_base__mine_counts(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        change(db, session_id, {"set": {"/step": 2}})
        row = change(db, session_id, {"set": {"/step": 3}})
        assert (row["merged"], row["others"]) == (False, None)
        assert state_of(db, session_id)["step"] == 3


@pytest.mark.parametrize("on_conflict", ["merge", "reject", "overwrite"])
def test_base__unknown(db: Db, on_conflict: str) -> None:
    with db.acting_as("ada"):
        session_id = started(db)
        for base in (2, 99, -1):
            with db.refuses("unknown_base") as refused:
                change(db, session_id, {"set": {"/step": 2}}, p_base=base, p_on_conflict=on_conflict)
            assert detail_of(refused) == {"base": base, "latest": 1}


@pytest.mark.parametrize("on_conflict", ["reject", "merge"])
def test_conflict__of_thousands_of_long_addresses_is_a_short_answer(db: Db, on_conflict: str) -> None:
    session_id = db.session("ada")
    keys = [f"{n:05}" + "k" * 1500 for n in range(3000)]
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
        db.save(session_id, dict.fromkeys(keys, 1))
        with db.refuses("conflict") as refused:
            db.save(session_id, dict.fromkeys(keys, 2), p_base=1, p_on_conflict=on_conflict)
    text = refused.value.diag.message_detail
    detail = json.loads(text)
    # what the log gets as well: less than 10 kB with all that Postgres adds
    assert len(text) + len(refused.value.diag.context or "") < 10_000
    assert 1 <= len(detail["addresses"]) <= 100
    assert detail["count"] == 1000  # and more


def test_conflict__names_a_hundred(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
        db.save(session_id, {f"{n:03}": 1 for n in range(200)})
        with db.refuses("conflict") as refused:
            db.save(session_id, {f"{n:03}": 2 for n in range(200)}, p_base=1)
    detail = json.loads(refused.value.diag.message_detail)
    assert detail["addresses"] == [f"/{n:03}" for n in range(100)]
    assert detail["count"] == 200

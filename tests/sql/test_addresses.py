"""What an address may be, and which refusal names which mistake."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sql.states import change, change_text, detail_of, state_of
from tests.support.database import Db

STATE = {
    "messages": [{"role": "user"}, {"role": "assistant"}],
    "memory": {"board": {"topic": {"title": {"text": "x"}}, "tags": ["a"]}, "numbers": {"5": 1}, "notes": ["n"]},
    "step": 3,
}


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def saved(db: Db):
    """A session of ada's with STATE as its number 1; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, STATE)
        yield session_id


MISPLACED: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "below an item": (
        {"set": {"/messages/1/role": "x"}},
        "address_below_part",
        {"address": "/messages/1/role", "part": "/messages/1"},
    ),
    "far below an item": (
        {"set": {"/messages/1/a/b/c/d": "x"}},
        "address_below_part",
        {"address": "/messages/1/a/b/c/d", "part": "/messages/1"},
    ),
    "below a member of depth 3": (
        {"set": {"/memory/board/topic/title": 1}},
        "address_below_part",
        {"address": "/memory/board/topic/title", "part": "/memory/board/topic"},
    ),
    "two below a member of depth 3": (
        {"set": {"/memory/board/topic/title/text": 1}},
        "address_below_part",
        {"address": "/memory/board/topic/title/text", "part": "/memory/board/topic"},
    ),
    "five below a member of depth 3": (
        {"set": {"/memory/board/topic/a/b/c/d/e": 1}},
        "address_below_part",
        {"address": "/memory/board/topic/a/b/c/d/e", "part": "/memory/board/topic"},
    ),
    "in a list of depth 3": (
        {"set": {"/memory/board/tags/0": 1}},
        "address_below_part",
        {"address": "/memory/board/tags/0", "part": "/memory/board/tags"},
    ),
    "below a number": (
        {"set": {"/step/x": 1}},
        "address_below_part",
        {"address": "/step/x", "part": "/step"},
    ),
    "removed below an item": (
        {"remove": ["/messages/0/role"]},
        "address_below_part",
        {"address": "/messages/0/role", "part": "/messages/0"},
    ),
    "removed below a member of depth 3": (
        {"remove": ["/memory/board/topic/title"]},
        "address_below_part",
        {"address": "/memory/board/topic/title", "part": "/memory/board/topic"},
    ),
    "removed far below a member of depth 3": (
        {"remove": ["/memory/board/topic/title/text/x"]},
        "address_below_part",
        {"address": "/memory/board/topic/title/text/x", "part": "/memory/board/topic"},
    ),
    "appended below an item": (
        {"append": {"/messages/0/parts": [1]}},
        "address_below_part",
        {"address": "/messages/0/parts", "part": "/messages/0"},
    ),
    "appended below a member of depth 3": (
        {"append": {"/memory/board/topic/list": [1]}},
        "address_below_part",
        {"address": "/memory/board/topic/list", "part": "/memory/board/topic"},
    ),
    "past the end": (
        {"set": {"/messages/3": 1}},
        "list_gap",
        {"address": "/messages/3"},
    ),
    "past the end of a list of depth 2": (
        {"set": {"/memory/notes/2": 1}},
        "list_gap",
        {"address": "/memory/notes/2"},
    ),
    "a word in a list": (
        {"set": {"/messages/first": 1}},
        "invalid_address",
        {"address": "/messages/first"},
    ),
    "the place after the end, as JSON Patch writes it": (
        {"set": {"/messages/-": 1}},
        "invalid_address",
        {"address": "/messages/-"},
    ),
    "a number with a leading zero in a list": (
        {"set": {"/messages/01": 1}},
        "invalid_address",
        {"address": "/messages/01"},
    ),
    "a number larger than any position": (
        {"set": {"/messages/99999999999": 1}},
        "invalid_address",
        {"address": "/messages/99999999999"},
    ),
    "below a word in a list": (
        {"set": {"/messages/first/x": 1}},
        "invalid_address",
        {"address": "/messages/first/x"},
    ),
    "below an item that is not there": (
        {"set": {"/messages/7/x": 1}},
        "invalid_address",
        {"address": "/messages/7/x"},
    ),
    "below an item larger than any position": (
        {"set": {"/messages/99999999999/x": 1}},
        "invalid_address",
        {"address": "/messages/99999999999/x"},
    ),
    "append to a string": ({"append": {"/step": [1]}}, "not_a_list", {"address": "/step"}),
    "append to an object": ({"append": {"/memory": [1]}}, "not_a_list", {"address": "/memory"}),
    "append to a list that is kept whole": (
        {"append": {"/memory/board/tags": [1]}},
        "not_a_list",
        {"address": "/memory/board/tags"},
    ),
}


@pytest.mark.parametrize("case", MISPLACED)
def test_change__misplaced(db: Db, saved, case: str) -> None:
    changes, code, data = MISPLACED[case]
    with db.refuses(code) as refused:
        change(db, saved, changes)
    assert detail_of(refused) == data
    with db.refuses(code) as refused:
        change_text(db, saved, json.dumps(changes, separators=(",", ":")))
    assert detail_of(refused) == data
    assert state_of(db, saved) == STATE
    assert db.one("get_session", p_session_id=saved)["latest_number"] == 1


INVALID: dict[str, tuple[Any, str]] = {
    "no leading slash": ({"set": {"step": 1}}, "invalid_address"),
    "a tilde alone": ({"set": {"/a~b": 1}}, "invalid_address"),
    "a tilde at the end": ({"remove": ["/a~"]}, "invalid_address"),
    "append without slash": ({"append": {"messages": [1]}}, "invalid_address"),
    "append to the state itself": ({"append": {"": [1]}}, "not_a_list"),
    "remove the state itself": ({"remove": [""]}, "invalid_address"),
    "another state that is no object": ({"set": {"": [1]}}, "invalid_state"),
    "an unknown word": ({"put": {}}, "invalid_changes"),
    "a list": ([], "invalid_changes"),
    "a string that is no JSON": ("set", "invalid_json"),
    "a string with a list in it": ("[]", "invalid_changes"),
    "null": ("null", "invalid_changes"),
    "set as a list": ({"set": []}, "invalid_changes"),
    "append as a list": ({"append": [1]}, "invalid_changes"),
    "append of one item": ({"append": {"/messages": 1}}, "invalid_changes"),
    "remove as a string": ({"remove": "/step"}, "invalid_changes"),
    "remove of a number": ({"remove": [1]}, "invalid_changes"),
    "remove of null": ({"remove": None}, "invalid_changes"),
    "the same removed twice": ({"remove": ["/step", "/step"]}, "overlapping_addresses"),
    "set and removed": ({"set": {"/step": 1}, "remove": ["/step"]}, "overlapping_addresses"),
    "set above set": ({"set": {"/memory": {}, "/memory/numbers": {}}}, "overlapping_addresses"),
    "set the state and in it": ({"set": {"": {}, "/step": 1}}, "overlapping_addresses"),
    "set a list and append to it": (
        {"set": {"/messages": []}, "append": {"/messages": [1]}},
        "overlapping_addresses",
    ),
    "append in what is removed": (
        {"remove": ["/memory"], "append": {"/memory/notes": [1]}},
        "overlapping_addresses",
    ),
    "set in what is removed, with a neighbour between": (
        {"set": {"/memory/board/tags": 1, "/memory!": 2}, "remove": ["/memory"]},
        "overlapping_addresses",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_change__invalid(db: Db, saved, case: str) -> None:
    changes, code = INVALID[case]
    text = changes if changes == "null" else json.dumps(changes)
    with db.refuses(code):
        change(db, saved, text)
    assert state_of(db, saved) == STATE
    assert db.one("get_session", p_session_id=saved)["latest_number"] == 1


def test_change__overlap_is_named(db: Db, saved) -> None:
    with db.refuses("overlapping_addresses") as refused:
        change(db, saved, {"set": {"/memory": {}, "/memory/numbers": {}}})
    assert detail_of(refused) == {"address": "/memory/numbers"}


def test_change__removing_nothing_is_no_change(db: Db, saved) -> None:
    nothing = ["/nothing", "/memory/nothing", "/none/at/all", "/messages/2", "/memory/board/none"]
    row = change(db, saved, {"remove": nothing})
    assert (row["number"], row["created"], row["changed_parts"]) == (1, False, 0)


def test_change__list_gap_by_cutting_the_middle(db: Db, saved) -> None:
    with db.refuses("list_gap"):
        change(db, saved, {"remove": ["/messages/0"]})
    row = change(db, saved, {"remove": ["/messages/0", "/messages/1"]})
    assert row["changed_parts"] == 2
    assert state_of(db, saved)["messages"] == []


def test_change__a_number_is_an_item_in_a_list_and_a_member_in_an_object(db: Db, saved) -> None:
    change(db, saved, {"set": {"/messages/2": "third", "/memory/numbers/6": {"x": {"y": 1}}, "/memory/numbers/5": []}})
    state = state_of(db, saved)
    assert state["messages"][2] == "third"
    assert state["memory"]["numbers"] == {"5": [], "6": {"x": {"y": 1}}}
    # Numbers as members are opened like any other: /memory/7 is an object of depth 2.
    change(db, saved, {"set": {"/memory/7": {"a": 1, "b": {"c": 2}}}})
    change(db, saved, {"set": {"/memory/7/a": 2}})
    assert state_of(db, saved)["memory"]["7"] == {"a": 2, "b": {"c": 2}}
    change(db, saved, {"remove": ["/memory/7/b"]})
    assert state_of(db, saved)["memory"]["7"] == {"a": 2}


def test_change__appended_items_come_after_what_the_other_rows_leave(db: Db, saved) -> None:
    change(db, saved, {"append": {"/messages": ["end"]}, "set": {"/messages/0": "first", "/messages/2": "third"}})
    assert state_of(db, saved)["messages"] == ["first", {"role": "assistant"}, "third", "end"]
    change(db, saved, {"append": {"/messages": ["new"]}, "remove": ["/messages/3", "/messages/2"]})
    assert state_of(db, saved)["messages"] == ["first", {"role": "assistant"}, "new"]


def test_change__several_items_past_the_end_in_any_order(db: Db, saved) -> None:
    change(db, saved, {"set": {f"/messages/{n}": n for n in (4, 2, 11, 3, 10, 9, 8, 7, 6, 5)}})
    assert state_of(db, saved)["messages"][2:] == list(range(2, 12))


@pytest.mark.parametrize(
    ("pointer", "key"),
    [
        ("/", ""),
        ("/a~1b", "a/b"),
        ("/a~0b", "a~b"),
        ("/~01", "~1"),
        ("/a.b", "a.b"),
        ("/0", "0"),
        ("/ü 😀", "ü 😀"),
        ('/"', '"'),
        ("/\\", "\\"),
        ("/\n", "\n"),
        ("/\x7f", "\x7f"),
        ("/__proto__", "__proto__"),
    ],
)
def test_change__any_key(db: Db, saved, pointer: str, key: str) -> None:
    change(db, saved, {"set": {pointer: {"inside": [1]}}})
    assert state_of(db, saved) == {**STATE, key: {"inside": [1]}}
    change(db, saved, {"append": {pointer + "/inside": [2]}, "set": {pointer + "/" + pointer[1:]: 3}})
    assert state_of(db, saved)[key] == {"inside": [1, 2], key: 3}
    change(db, saved, {"remove": [pointer]})
    assert state_of(db, saved) == STATE


def test_change__address_too_long(db: Db, saved) -> None:
    # The path of /kkk… is the key with a slash on either side.
    change(db, saved, {"set": {"/" + "k" * 1998: 1}})
    with db.refuses("address_too_long"):
        change(db, saved, {"set": {"/" + "k" * 1999: 1}})
    with db.refuses("address_too_long"):
        change(db, saved, {"set": {"/x": {"ü" * 1000: 1}}})
    with db.refuses("address_too_long"):
        change(db, saved, {"append": {"/" + "l" * 1999: [1]}})

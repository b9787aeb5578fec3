"""The demo's checks find what they are there to find: each is shown what holds and what does not."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from asyouwere.local.demo import checks
from asyouwere.local.demo.checks import Guarantees, SaveResult
from asyouwere.local.demo.client import json_bytes
from asyouwere.local.demo.conversation import Script, State, apply, build

ANSWERS = [SaveResult("a", 1), SaveResult("b", 2), SaveResult("c", 3), SaveResult("c", 3, replayed=True)]


def holds(guarantees: Guarantees) -> bool:
    return guarantees.hold


@pytest.fixture(scope="module")
def script() -> Script:
    return build(30)


@pytest.fixture
def state(script: Script) -> State:
    state: State = {}
    for step in script.steps:
        apply(state, step)
    return copy.deepcopy(state)


def test_saved_exactly_once__holds() -> None:
    assert checks.saved_exactly_once(ANSWERS, [3, 2, 1]) == []


@pytest.mark.parametrize(
    ("answers", "numbers", "problem"),
    [
        (ANSWERS, [1, 3], "number 2 was answered but is not there"),
        (ANSWERS, [1, 2], "number 3 was answered but is not there"),
        (ANSWERS, [1, 2, 3, 3], "number 3 is there 2 times"),
        (ANSWERS, [1, 2, 3, 4], "number 4 is there, but nobody was told so"),
        ([SaveResult("a", 1), SaveResult("b", 1)], [1], "number 1 was given to 2 saves"),
        ([SaveResult("a", 1), SaveResult("a", 2)], [1, 2], "one save got the numbers [1, 2]"),
        ([SaveResult("a", 1), SaveResult("b", 3)], [1, 3], "number 2 is missing between others"),
    ],
    ids=["lost", "last-lost", "duplicated", "unknown", "shared", "saved-twice", "gap"],
)
def test_saved_exactly_once__finds(answers: list[SaveResult], numbers: list[int], problem: str) -> None:
    assert problem in checks.saved_exactly_once(answers, numbers)


def test_same_messages__holds(script: Script, state: State) -> None:
    assert checks.same_messages(script.messages, state["messages"]) == []


def test_same_messages__finds_missing_doubled_foreign_changed_and_moved(script: Script, state: State) -> None:
    sent, back = script.messages, state["messages"]
    assert checks.same_messages(sent, back[:4] + back[5:]) == ["message msg_0004 is missing"]
    assert checks.same_messages(sent, back + back[4:5]) == ["message msg_0004 is there 2 times"]
    assert checks.same_messages(sent, [*back, {"id": "x"}]) == ["message x was never sent"]
    changed = [*back[:4], back[4] | {"content": "…"}, *back[5:]]
    assert checks.same_messages(sent, changed) == ["message msg_0004 came back changed"]
    moved = [*back[:4], back[5], back[4], *back[6:]]
    assert checks.same_messages(sent, moved) == [f"message msg_000{n} came back changed" for n in (4, 5)]


@pytest.mark.parametrize(
    ("mine", "back"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("\0", ""),
        ("\udcfc", "\ufffd"),
        ({}, []),
        ({"a": None}, {}),
        ([1, 2], [2, 1]),
    ],
)
def test_same_state__tells_close_values_apart(mine: Any, back: Any) -> None:
    assert checks.same_state({"a": mine}, {"a": mine}, "number 7") == []
    assert checks.same_state({"a": mine}, {"a": back}, "number 7") != []


def test_same_state__names_the_address(state: State) -> None:
    other = copy.deepcopy(state)
    other["memory"]["blackboard"]["heapq/merge"] = "?"
    other["messages"][3]["content"] = "?"
    problems = checks.same_state(state, other, "number 7")
    assert problems == [
        "number 7: /messages/3/content differs",
        "number 7: /memory/blackboard/heapq~1merge differs",
    ]


def test_merged__finds() -> None:
    first, second = (
        {"number": 8, "merged": False},
        {"number": 9, "merged": True, "others": {"set": {"/a": 1}}},
    )
    assert checks.merged([second, first], before=7) == []
    assert checks.merged([first, second | {"number": 8}], before=7)[0] == "two saves after 7 became [8, 8]"
    assert "merged" in checks.merged([first, second | {"merged": False}], before=7)[0]
    assert "told" in checks.merged([first, second | {"others": None}], before=7)[0]


def test_refused__finds() -> None:
    assert checks.refused(409, "conflict", ["/a"], ["/a"]) == []
    assert checks.refused(200, "", ["/a"], ["/a"]) == ["answered 200  instead of 409 conflict"]
    assert checks.refused(409, "label_taken", ["/a"], ["/a"]) == [
        "answered 409 label_taken instead of 409 conflict"
    ]
    assert checks.refused(409, "conflict", ["/a", "/b"], ["/a"]) == ["named ['/a', '/b'] instead of ['/a']"]


def test_same_diff__finds() -> None:
    before = {"step": 1, "messages": ["a"], "memory": {"board": {"x/y": {"deep": [1]}}}, "gone": None}
    after = {"step": 2, "messages": ["a", "b"], "memory": {"board": {"x/y": {"deep": [1, 2]}}}, "more": {}}
    rows: list[dict[str, Any]] = [
        {"address": "/gone", "change": "removed", "before": None, "after": None},
        {
            "address": "/memory/board/x~1y",
            "change": "changed",
            "before": {"deep": [1]},
            "after": {"deep": [1, 2]},
        },
        {"address": "/messages/1", "change": "added", "before": None, "after": "b"},
        {"address": "/more", "change": "added", "before": None, "after": {}},
        {"address": "/step", "change": "changed", "before": 1, "after": 2},
    ]
    assert checks.same_diff(rows, before, after) == []
    assert checks.same_diff(rows[1:], before, after) == ["the diff lacks /gone"]
    extra = {"address": "/messages/0", "change": "changed", "before": "a", "after": "a"}
    assert checks.same_diff([*rows, extra], before, after) == [
        "the diff names /messages/0, which did not change"
    ]
    wrong = rows[4] | {"after": 3}
    assert checks.same_diff([*rows[:4], wrong], before, after) == ["the diff tells /step wrongly"]
    assert checks.same_diff([*rows, rows[0]], before, after) == ["the diff names an address twice"]


def test_kept__finds() -> None:
    assert checks.kept([2, 5], [5, 2], gone=[1, 3, 4]) == []
    assert checks.kept([2, 5], [5], gone=[1, 2, 3, 4]) == ["number 2 should have been kept"]
    assert checks.kept([2, 5], [1, 2, 5], gone=[3, 4]) == ["number 1 should have been removed"]
    assert checks.kept([2, 5], [2, 5], gone=[1, 3, 4, 5]) == ["number 5 is listed, but does not restore"]


def test_followed__finds_lost_doubled_moved_and_changed() -> None:
    sent = ["Green", " or", " black"]
    seen = [(1, "Green"), (2, " or"), (3, " black")]
    assert checks.followed(sent, seen) == []
    assert checks.followed(sent, seen[:2]) == ["chunk 3 did not come"]
    assert checks.followed(sent, [*seen, seen[2]]) == ["chunk 3 came 2 times"]
    assert checks.followed(sent, [seen[1], seen[0], seen[2]]) == ["chunks came out of order"]
    assert checks.followed(sent, [*seen[:2], (3, "black")]) == ["chunk 3 is not what was sent"]
    assert checks.followed(sent, [*seen, (4, "!")]) == ["chunk 4 is not what was sent"]


def test_answered_once__finds() -> None:
    sent = ["Green", " or", " black"]
    done, so_far = {"content": "Green or black"}, {"content": "Green or", "status": "interrupted"}
    assert checks.answered_once([done], sent, 3) == []
    assert checks.answered_once([so_far], sent, 1, "interrupted") == []
    assert checks.answered_once([], sent, 3) == ["there are 0 messages of this answer"]
    assert checks.answered_once([done, done], sent, 3) == ["there are 2 messages of this answer"]
    assert checks.answered_once([so_far], sent, 3, "interrupted") == ["there are 0 messages of this answer"]
    more = {"content": "Green or blue", "status": "interrupted"}
    assert checks.answered_once([more], sent, 2, "interrupted") == ["the message holds what was not sent"]
    assert checks.answered_once([done | {"status": "failed"}], sent, 3) == ["the message's status is failed instead of None"]
    assert checks.answered_once([{"content": "Green or"}], sent, 2) == ["the message is not complete"]


def test_guarantees__hold_only_if_all_were_looked_at_and_nothing_was_found() -> None:
    guarantees = Guarantees(("one", "two"))
    assert guarantees.problems("one") == ["was not checked"]
    guarantees.report("one", [], "seen")
    assert guarantees.problems("two") == ["was not checked"]
    assert not holds(guarantees)
    assert guarantees.report("two", [], "seen")
    assert holds(guarantees)
    assert not guarantees.report("two", ["lost"], "seen")
    assert not guarantees.report("two", [], "a later look does not excuse an earlier one")
    assert not holds(guarantees)
    with pytest.raises(KeyError):
        guarantees.report("three", [], "")


def test_problems__are_shortened() -> None:
    answers = [SaveResult(str(number), number) for number in range(1, 21)]
    assert checks.saved_exactly_once(answers, [])[-1] == "and 15 more of the kind"


def test_json_bytes__escapes_only_what_utf8_lacks() -> None:
    value = {"name": "Müller \udcfc 折 🙂", "\ud800": "\0"}
    written = json_bytes(value)
    assert json.loads(written) == value
    assert "Müller \\udcfc 折 🙂" in written.decode()

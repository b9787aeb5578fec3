from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from asyouwere.errors import Invalid
from asyouwere.state.changes import apply, diff
from asyouwere.state.exact_json import encode, parse
from asyouwere.state.rows import open_changes, open_state
from asyouwere.state.tree import Parts, join, split
from tests.support.documents import pairs_of_edits, state_texts


def changed(state: str, changes: str) -> str:
    return join(apply(split(state), open_changes(changes)))


BEFORE = '{"a":1,"list":["x","y","z"],"memory":{"board":{"t":{"u":1}},"log":[1]},"step":3}'


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ("{}", {}),
        ('{"set":{"/a":2}}', {"a": 2}),
        ('{"set":{"/new":{"b":{"c":[]}}}}', {"new": {"b": {"c": []}}}),
        ('{"set":{"/memory":{}}}', {"memory": {}}),
        ('{"set":{"/memory":[1,{}]}}', {"memory": [1, {}]}),
        ('{"set":{"/memory/board/t":5}}', {"memory": {"board": {"t": 5}, "log": [1]}}),
        ('{"set":{"/memory/7":{"b":{"c":1}}}}',
         {"memory": {"7": {"b": {"c": 1}}, "board": {"t": {"u": 1}}, "log": [1]}}),
        ('{"set":{"/list/1":{"b":1}}}', {"list": ["x", {"b": 1}, "z"]}),
        ('{"set":{"/list/4":"e","/list/3":"d"}}', {"list": ["x", "y", "z", "d", "e"]}),
        ('{"set":{"/list/0":0},"remove":["/list/2","/list/1"]}', {"list": [0]}),
        ('{"remove":["/list/2","/list/1","/list/0"]}', {"list": []}),
        ('{"remove":["/list/3","/list/99","/nothing","/no/thing/here","/memory/none"]}', {}),
        ('{"set":{"/list":[]}}', {"list": []}),
        ('{"append":{"/list":[1,[]],"/memory/log":[2],"/fresh":[1],"/memory/notes":[3]}}',
         {"list": ["x", "y", "z", 1, []], "fresh": [1],
          "memory": {"board": {"t": {"u": 1}}, "log": [1, 2], "notes": [3]}}),
        ('{"append":{"/fresh":[]}}', {}),
        ('{"append":{"/list":["b"]},"set":{"/list/0":"a"},"remove":["/list/2"]}', {"list": ["a", "y", "b"]}),
    ],
)  # fmt: skip
def test_apply__changes(changes: str, after: dict[str, Any]) -> None:
    assert json.loads(changed(BEFORE, changes)) == json.loads(BEFORE) | after


def test_apply__remove() -> None:
    assert changed(BEFORE, '{"remove":["/memory","/list","/a"]}') == '{"step":3}'
    assert changed(BEFORE, '{"remove":["/memory/board/t","/memory/log","/list/2"]}') == (
        '{"a":1,"list":["x","y"],"memory":{"board":{}},"step":3}'
    )


def test_apply__whole_state_leaves_nothing_of_the_old() -> None:
    assert changed(BEFORE, '{"set":{"":{"b":[]}}}') == '{"b":[]}'
    assert join(apply(split(BEFORE), open_state("{}"))) == "{}"


def test_apply__leaves_its_argument_alone() -> None:
    parts = split(BEFORE)
    apply(parts, open_changes('{"set":{"/a":2,"/list/0":1},"append":{"/memory/log":[2]},"remove":["/step"]}'))
    assert parts == split(BEFORE)


@pytest.mark.parametrize(
    ("changes", "code", "data"),
    [
        ('{"set":{"/a/b":1}}', "address_below_part", {"address": "/a/b", "part": "/a"}),
        ('{"remove":["/a/b"]}', "address_below_part", {"address": "/a/b", "part": "/a"}),
        ('{"append":{"/a/b":[1]}}', "address_below_part", {"address": "/a/b", "part": "/a"}),
        ('{"set":{"/list/1/b":1}}', "address_below_part", {"address": "/list/1/b", "part": "/list/1"}),
        ('{"append":{"/list/1":[1]}}', "address_below_part", {"address": "/list/1", "part": "/list/1"}),
        ('{"set":{"/memory/board/t/u":1}}', "address_below_part",
         {"address": "/memory/board/t/u", "part": "/memory/board/t"}),
        ('{"set":{"/memory/log/0/x/y":1}}', "address_below_part",
         {"address": "/memory/log/0/x/y", "part": "/memory/log/0"}),
        ('{"set":{"/none/0":1}}', "missing_parent", {"address": "/none/0", "parent": "/none"}),
        ('{"set":{"/list/b":1}}', "invalid_address", {"address": "/list/b"}),
        ('{"set":{"/list/01":1}}', "invalid_address", {"address": "/list/01"}),
        ('{"set":{"/list/-":1}}', "invalid_address", {"address": "/list/-"}),
        ('{"set":{"/list/9999999999":1}}', "invalid_address", {"address": "/list/9999999999"}),
        ('{"remove":["/list/b"]}', "invalid_address", {"address": "/list/b"}),
        ('{"append":{"/list/b":[1]}}', "invalid_address", {"address": "/list/b"}),
        ('{"set":{"/list/4":1}}', "list_gap", {"address": "/list/4"}),
        ('{"set":{"/list/3":1,"/list/5":1}}', "list_gap", {"address": "/list/5"}),
        ('{"remove":["/list/0"]}', "list_gap", {"address": "/list/0"}),
        ('{"remove":["/list/2","/list/0"]}', "list_gap", {"address": "/list/0"}),
        ('{"set":{"/list/3":1},"remove":["/list/2"]}', "list_gap", {"address": "/list/3"}),
        ('{"append":{"/a":[1]}}', "not_a_list", {"address": "/a"}),
        ('{"append":{"/memory":[1]}}', "not_a_list", {"address": "/memory"}),
        ('{"append":{"/memory/board/t":[1]}}', "not_a_list", {"address": "/memory/board/t"}),
        ('{"append":{"/memory/board/none":[1]}}', "not_a_list", {"address": "/memory/board/none"}),
    ],
)  # fmt: skip
def test_apply__refuses(changes: str, code: str, data: dict[str, str] | None) -> None:
    with pytest.raises(Invalid) as refused:
        changed(BEFORE, changes)
    assert refused.value.code == code
    assert (json.loads(refused.value.data) if refused.value.data else None) == data


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("{}", "{}", {}),
        ('{"a":1}', '{"a":1.0}', {"set": {"/a": 1.0}}),
        ('{"a":{"b":{"c":1,"d":1}}}', '{"a":{"b":{"c":2,"e":1}}}',
         {"set": {"/a/b/c": 2, "/a/b/e": 1}, "remove": ["/a/b/d"]}),
        ('{"a":{"b":1}}', '{"a":{}}', {"remove": ["/a/b"]}),
        ('{"a":{}}', '{"a":[]}', {"set": {"/a": []}}),
        ('{"a":[1]}', '{"a":[1,{"b":2},3]}', {"append": {"/a": [{"b": 2}, 3]}}),
        ('{"a":[1,2]}', '{"a":[1,3,4]}', {"set": {"/a/1": 3}, "append": {"/a": [4]}}),
        ('{"a":[1,2,3]}', '{"a":[0]}', {"set": {"/a/0": 0}, "remove": ["/a/1", "/a/2"]}),
        ('{"a":[1,2,3]}', '{"a":[]}', {"set": {"/a": []}}),
        ("{}", '{"a":[1,{}]}', {"set": {"/a": [1, {}]}}),
        ('{"a":{"x":[{"b":1}]}}', '{"a":{"x":[{"b":2}]}}', {"set": {"/a/x/0": {"b": 2}}}),
        ('{"a":{"b":{"c":{"d":1}}}}', '{"a":{"b":{"c":{"d":2}}}}', {"set": {"/a/b/c": {"d": 2}}}),
        ('{"a/b":{"~":1}}', '{"a/b":{"~":2}}', {"set": {"/a~1b/~0": 2}}),
    ],
)  # fmt: skip
def test_diff__says_no_more_than_needed(old: str, new: str, changes: dict[str, Any]) -> None:
    assert json.loads(diff(split(old), split(new))) == changes


def assert_diff_leads(old: Parts, new: Parts) -> None:
    changes = diff(old, new)
    assert parse(changes.encode()) == changes
    assert apply(old, open_changes(changes)) == new
    assert (changes == "{}") == (old == new)


@given(pairs_of_edits())
def test_diff__leads_from_one_to_the_other(states: tuple[str, str, str]) -> None:
    one, two, three = map(split, states)
    for old, new in [(one, two), (two, one), (two, three), (one, one)]:
        assert_diff_leads(old, new)


@given(state_texts, state_texts)
@pytest.mark.slow
def test_diff__of_any_two_states(one: str, two: str) -> None:
    assert_diff_leads(split(parse(one.encode())), split(parse(two.encode())))


@given(state_texts)
def test_apply__any_state_as_a_whole(text: str) -> None:
    state = parse(text.encode())
    assert apply(split(BEFORE), open_state(state)) == split(state)
    assert apply(split(state), open_changes(f'{{"set":{{"":{state}}}}}')) == split(state)


def test_diff__numbers_differ_by_spelling_only() -> None:
    assert diff(split('{"n":[1E+2]}'), split('{"n":[100]}')) == '{"set":{"/n/0":100}}'
    assert encode({"n": -0.0}) == '{"n":-0.0}'

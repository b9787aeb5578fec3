"""The state as an app sees it: reads and changes like a dict, and notices each change at part level."""

from __future__ import annotations

import copy
import heapq
import json
import pickle
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from asyouwere.client.deltas import apply_delta, changed_parts
from asyouwere.client.document import Document
from asyouwere.client.sync import tree_of_text
from asyouwere.client.tracked import TrackedDict, TrackedList
from asyouwere.errors import Invalid
from asyouwere.state.changes import diff_trees
from asyouwere.state.exact_json import encode
from asyouwere.state.tree import flatten, render
from tests.support.documents import pairs_of_edits, small_states


def document_of(value: Any) -> Document:
    document = Document()
    document.show(tree_of_text(encode(value)))
    return document


def check(document: Document, value: Any) -> None:
    """The document is this value, in what it shows and in what it would save."""
    assert document.root == value
    assert document.tree() == tree_of_text(encode(value))
    assert document.tree() is document.tree()


def containers(value: Any, found: list[Any]) -> list[Any]:
    if isinstance(value, dict | list):
        found.append(value)
        for inner in value.values() if isinstance(value, dict) else value:
            containers(inner, found)
    return found


KEYS = st.sampled_from(["a", "b", "messages", "0", "a/b", "~", "é\x00"])
VALUES = st.recursive(
    st.sampled_from([0, 1, -1.5, "x", "", None, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def do_anything(data: st.DataObject, both: tuple[Any, Any]) -> None:
    """The same call on a plain container and on a tracked one: the same result, or the same exception."""
    is_dict = isinstance(both[0], dict)
    key, at = data.draw(KEYS), data.draw(st.integers(-2, 3))
    value, way = data.draw(VALUES), data.draw(st.integers(0, 11))
    calls = (
        [
            lambda c: c.__setitem__(key, copy.deepcopy(value)),
            lambda c: c.__delitem__(key),
            lambda c: c.pop(key),
            lambda c: c.pop(key, None),
            lambda c: c.popitem(),
            lambda c: c.clear(),
            lambda c: c.setdefault(key, copy.deepcopy(value)),
            lambda c: c.update({key: copy.deepcopy(value)}, b=1),
            lambda c: c.__ior__({key: 2}),
            lambda c: c.get(key),
            lambda c: c.__setitem__(key, c.get("a")),
            lambda c: c.copy(),
        ]
        if is_dict
        else [
            lambda c: c.__setitem__(at, copy.deepcopy(value)),
            lambda c: c.__delitem__(at),
            lambda c: c.pop(),
            lambda c: c.pop(at),
            lambda c: c.append(copy.deepcopy(value)),
            lambda c: c.extend([copy.deepcopy(value), 1]),
            lambda c: c.insert(at, copy.deepcopy(value)),
            lambda c: c.reverse(),
            lambda c: c.__setitem__(slice(at, None), [copy.deepcopy(value)]),
            lambda c: c.__delitem__(slice(0, at)),
            lambda c: c.__imul__(2) if len(c) < 4 else c.clear(),
            lambda c: c.remove(1),
        ]
    )
    outcomes = []
    for container in both:
        try:
            outcomes.append(calls[way](container))
        except (LookupError, ValueError) as exc:
            outcomes.append(type(exc))
    if outcomes[0] is not both[0]:
        assert outcomes[0] == outcomes[1]


@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])  # who holds what is not the same in a second run
@given(st.data())
def test_document__is_like_a_dict_whatever_is_done(data: st.DataObject) -> None:
    plain: Any = json.loads(json.dumps(data.draw(small_states)))  # no two names for one thing
    document = document_of(plain)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, 1 << 20))
        mine, theirs = containers(plain, []), containers(document.root, [])
        do_anything(data, (mine[at % len(mine)], theirs[at % len(mine)]))
        plain = json.loads(json.dumps(plain))  # JSON has no two names for one thing
        if data.draw(st.booleans()):
            check(document, plain)
    check(document, plain)


@given(pairs_of_edits())
def test_show__the_same_as_begun_with_it(states: tuple[str, str, str]) -> None:
    _, one, two = states
    document = document_of(json.loads(one))
    document.show(tree_of_text(two))
    check(document, json.loads(two))
    for container in containers(document.root, []):  # and each part still notices
        if isinstance(container, dict):
            container["new"] = 1
        else:
            container.append(1)
    assert document.tree() == tree_of_text(encode(json.loads(encode(document.root))))


@given(pairs_of_edits())
def test_apply_delta__what_leads_from_one_to_the_other(states: tuple[str, str, str]) -> None:
    _, one, two = map(tree_of_text, states)
    before = copy.deepcopy(one)
    parts = list(changed_parts(one, two))
    merged = dict(flatten(one))
    for path, item, body in parts:
        if body is None:
            del merged[path, item]
        else:
            assert merged.get((path, item)) != body
            merged[path, item] = body
    assert merged == dict(flatten(two))
    assert (diff_trees(one, two) == "{}") == (not parts)
    assert one == before


def test_apply_delta__in_the_order_given() -> None:
    tree = tree_of_text('{"messages":["a","b"],"memory":{"x":1},"n":1}')
    after = apply_delta(
        tree,
        '{"set":{"/messages/1":"c","/new":{},"/new/l":[],"/new/l/0":{"k":[]},"/memory":[],"/memory/0":2},"remove":["/messages/1","/n"]}',
    )
    assert json.loads(render(after)) == {
        "messages": ["a", "c"],
        "new": {"l": [{"k": []}]},
        "memory": [2],
    }
    assert json.loads(render(tree)) == {"messages": ["a", "b"], "memory": {"x": 1}, "n": 1}
    for wrong in (
        '{"set":{"/messages/3":1}}',
        '{"set":{"/no/x":1}}',
        '{"remove":["/no"]}',
        '{"set":{"/n/x":1}}',
        '{"set":{"/messages/0/x":1}}',
    ):
        with pytest.raises(Invalid):
            apply_delta(tree, wrong)


def test_tree__untouched_parts_keep_their_spelling() -> None:
    text = '{"a":1.0E2,"l":[1.50,{"x":1e0,"y":1},-0],"o":{"n":100000000000000000000.0}}'
    document = Document()
    document.show(tree_of_text(text))
    document.root["l"][1]["y"] = 2
    document.root["l"].append(3)
    document.root["b"] = 1
    assert json.loads(json.dumps(document.root)) == document.root
    assert render(document.tree()) == (
        '{"a":1.0E2,"l":[1.50,{"x":1.0,"y":2},-0,3],"o":{"n":100000000000000000000.0},"b":1}'
    )


def test_show__what_the_app_has_in_hand_stays() -> None:
    document = document_of({"messages": [{"id": 1}, {"id": 2}], "memory": {"deep": {"x": {"y": 1}}}})
    messages, second = document.root["messages"], document.root["messages"][1]
    deep = document.root["memory"]["deep"]
    inner = deep["x"]
    document.show(tree_of_text('{"messages":[{"id":1},{"id":9},{"id":2}],"memory":{"deep":{"x":{"y":2,"z":[]}}}}'))
    assert messages is document.root["messages"]
    assert messages[2] is second
    assert inner is document.root["memory"]["deep"]["x"]
    second["text"] = "grown"
    inner["z"].append(1)
    assert json.loads(render(document.tree())) == {
        "messages": [{"id": 1}, {"id": 9}, {"id": 2, "text": "grown"}],
        "memory": {"deep": {"x": {"y": 2, "z": [1]}}},
    }


def test_document__follows_what_was_put_in() -> None:
    document = document_of({"messages": []})
    message: dict[str, Any] = {"role": "assistant", "content": "", "parts": []}
    document.root["messages"].append(message)
    document.tree()
    message["content"] += "Hello"
    message["parts"].append({"text": "x"})
    assert json.loads(render(document.tree())) == {"messages": [message]}
    message["content"] += "!"
    assert document.tree() == tree_of_text(encode({"messages": [message]}))
    # what was changed in the state itself since is not undone
    document.root["messages"][0]["content"] = "mine"
    message["content"] = "theirs"
    assert json.loads(render(document.tree()))["messages"][0]["content"] == "mine"


def test_document__what_is_put_in_twice_is_two_things() -> None:
    document = document_of({"a": {"x": 1}})
    document.root["b"] = document.root["a"]
    document.root["a"]["x"] = 2
    check(document, {"a": {"x": 2}, "b": {"x": 1}})


def test_document__follows_no_more_than_somebody_else_has() -> None:
    document = document_of({})
    for number in range(100):
        document.root.setdefault("l", []).append({"n": number})
    document.tree()
    assert len(document._originals) == 0


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {1}}, [b"x"], {"d": [{"x": object()}]}])
def test_document__takes_json_alone(value: Any) -> None:
    document = document_of({"a": 1})
    with pytest.raises(TypeError, match="state is JSON"):
        document.root["b"] = value
    with pytest.raises(ValueError, match="NaN"):
        document.root["b"] = [float("nan")]
    check(document, {"a": 1})


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_document__says_what_is_no_json_and_where() -> None:
    document = document_of({"messages": [{"role": "user"}]})
    itself: dict[str, Any] = {"a": 1}
    itself["itself"] = [itself]
    for value, kind, told in (
        (datetime(2026, 1, 1), TypeError, "not datetime$"),
        (
            {"sent": {"at/on": datetime(2026, 1, 1)}},
            TypeError,
            r"not datetime \(at /sent/at~1on in what was put in\)",
        ),
        ({"parts": [{}, {"raw": b"x"}]}, TypeError, r"not bytes \(at /parts/1/raw in"),
        ({"scores": {1: 0.5}}, TypeError, r"keys are str, not int \(at /scores in"),
        ({"score": [0.5, float("nan")]}, ValueError, r"neither NaN nor Infinity \(at /score/1 in"),
        ({"big": 10**309}, ValueError, r"range of a double \(1.8e308\) \(at /big in"),
        (-(10**5000), ValueError, "range of a double"),
        (itself, ValueError, "none in itself$"),
        (nested(64), ValueError, "at most 64 containers"),
    ):
        for put in (
            lambda value: document.root["messages"].append(value),
            lambda value: document.root["messages"].extend([1, value]),
            lambda value: document.root["messages"][0].update(x=value),
            lambda value: document.root["messages"].__setitem__(slice(0, 1), ["x", value]),
            lambda value: document.set("", {"messages": [value]}),
        ):
            with pytest.raises(kind):
                put(value)
        with pytest.raises(kind, match=told):
            document.root["new"] = value
    check(document, {"messages": [{"role": "user"}]})
    document.root["big"] = [10**308, -(10**308), 2**64, True, (1, 2), nested(61)]
    check(document, {"messages": [{"role": "user"}], "big": [10**308, -(10**308), 2**64, True, [1, 2], nested(61)]})
    document.set("", {"deep": nested(63)})
    with pytest.raises(ValueError, match="at most 64"):
        document.set("", {"deep": nested(64)})
    check(document, {"deep": nested(63)})


def test_document__what_is_put_in_again_to_be_something_else_is_two_things() -> None:
    document = document_of({"messages": [], "last": None})
    message = {"content": "a"}
    document.root["messages"].append(message)
    message["content"] = "b"
    document.root["messages"].append(message)
    document.root["last"] = message
    message["content"] += "!"
    assert json.loads(render(document.tree())) == {
        "messages": [{"content": "a"}, {"content": "b!"}],
        "last": {"content": "b!"},
    }


def test_pointers__insert_and_remove() -> None:
    document = document_of({"l": [1, 2], "o": {"a/b": 1}})
    document.insert("/l/1", "between")
    document.insert("/l/9", "last")
    document.insert("/o/new", {"x": []})
    document.remove("/o/a~1b")
    document.remove("/l/0")
    check(document, {"l": ["between", 2, "last"], "o": {"new": {"x": []}}})
    with pytest.raises(LookupError):
        document.remove("/l/9")


def test_copies__are_plain() -> None:
    document = document_of({"o": {"l": [1, {"x": 1}]}})
    for plain in (
        copy.deepcopy(document.root),
        copy.copy(document.root),
        document.root.copy(),
        pickle.loads(pickle.dumps(document.root)),
    ):
        assert plain == document.root
        assert type(plain) is dict
        assert not any(isinstance(inner, TrackedDict | TrackedList) for inner in containers(plain, []))
    assert type(copy.deepcopy(document.root["o"]["l"])) is list


def test_pointers__get_and_set() -> None:
    document = document_of({"l": [{"x": 1}], "a/b": {"~": 2}})
    assert document.get("/l/0/x") == 1
    assert document.get("/a~1b/~0") == 2
    assert document.get("") is document.root
    document.set("/l/0/x", 5)
    document.set("/l/1", "new")
    document.set("/made/on/the/way", True)
    assert document.list_at("/more/list") == []
    check(
        document,
        {"l": [{"x": 5}, "new"], "a/b": {"~": 2}, "made": {"on": {"the": {"way": True}}}, "more": {"list": []}},
    )
    document.set("", {"all": "new"})
    check(document, {"all": "new"})
    with pytest.raises(TypeError, match="no list"):
        document.list_at("/all")
    with pytest.raises(TypeError, match="dict"):
        document.set("", [])
    with pytest.raises(ValueError, match="pointer"):
        document.set("x", 1)


def test_tree__a_list_that_is_changed_past_its_methods_and_then_appended_to__is_as_it_is() -> None:
    document = Document()
    document.root["scores"] = [5, 7, 9]
    document.tree()
    heapq.heappush(document.root["scores"], 1)  # speaks with the list's memory
    document.root["scores"].append(11)
    assert render(document.tree()) == json.dumps({"scores": list(document.root["scores"])}, separators=(",", ":"))
    assert document.root["scores"][0] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items.insert(0, 1),
        lambda items: items.reverse(),
        lambda items: items.sort(key=str),
        lambda items: items.__setitem__(0, True),
        lambda items: items.__setitem__(1, 1.0),
        lambda items: items.__delitem__(0),
        lambda items: items.pop(0),
        lambda items: items.remove(True),
        lambda items: items.clear(),
        lambda items: items.__imul__(2),
    ],
)
def test_tree__equal_values_that_are_spelled_otherwise_are_told_apart(change: Callable[[Any], object]) -> None:
    document = Document()
    document.root["items"] = [1, True, {"a": 1}, 1.0]
    document.tree()
    change(document.root["items"])
    document.root["items"].append("one more")
    assert render(document.tree()) == json.dumps({"items": document.root["items"].copy()}, separators=(",", ":"))

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, event, given, settings

from asyouwere.errors import Invalid
from asyouwere.state.changes import apply, diff
from asyouwere.state.merging import Merged, merge, merge_changes
from asyouwere.state.rows import open_changes, open_state
from asyouwere.state.tree import Parts, join, split
from tests.support.documents import pairs_of_edits


def outcome(merged: Merged) -> Any:
    """The merged state as a Python value, or the list of pointers in conflict."""
    assert (merged.parts is None) == bool(merged.conflicts)
    return merged.conflicts if merged.parts is None else json.loads(join(merged.parts))


def both_ways(base: str, theirs: str, mine: str) -> tuple[Any, Any]:
    one = outcome(merge(split(base), split(theirs), split(mine)))
    return one, outcome(merge(split(base), split(mine), split(theirs)))


@pytest.mark.parametrize(
    ("base", "theirs", "mine", "expected"),
    [
        # different addresses
        ('{"a":1}', '{"a":1,"b":2}', '{"a":1,"c":3}', {"a": 1, "b": 2, "c": 3}),
        ('{"m":{"a":1,"b":2}}', '{"m":{"a":9,"b":2}}', '{"m":{"a":1}}', {"m": {"a": 9}}),
        ('{"m":{"x":{"a":1,"b":2}}}', '{"m":{"x":{"a":9,"b":2}}}', '{"m":{"x":{"a":1,"b":8}}}',
         {"m": {"x": {"a": 9, "b": 8}}}),
        ('{"l":[1,2]}', '{"l":[9,2]}', '{"l":[1,8]}', {"l": [9, 8]}),
        # the same address
        ('{"a":1}', '{"a":2}', '{"a":2}', {"a": 2}),
        ('{"a":1}', '{"a":2}', '{"a":3}', ["/a"]),
        ('{"a":1}', '{"a":2}', '{"a":2.0}', ["/a"]),
        ('{"a":1}', "{}", '{"a":2}', ["/a"]),
        ('{"a":1}', "{}", "{}", {}),
        ("{}", '{"a":1}', '{"a":2}', ["/a"]),
        ("{}", '{"a":null}', "{}", {"a": None}),
        ('{"a":null}', "{}", '{"a":null}', {}),
        ('{"l":[1,2]}', '{"l":[1,3]}', '{"l":[1,4]}', ["/l/1"]),
        ('{"l":[1,2]}', '{"l":[1,3]}', '{"l":[1,3]}', {"l": [1, 3]}),
        ('{"m":{"x":{"d":{"e":1,"f":1}}}}',
         '{"m":{"x":{"d":{"e":2,"f":1}}}}', '{"m":{"x":{"d":{"e":1,"f":2}}}}',
         ["/m/x/d"]),
        ('{"a":1,"b":1,"l":[1]}', '{"a":2,"b":2,"l":[2]}', '{"a":3,"b":3,"l":[3]}', ["/a", "/b", "/l/0"]),
        # containers removed or replaced
        ('{"m":{"a":1}}', "{}", '{"m":{"a":1}}', {}),
        ('{"m":{"a":1}}', "{}", '{"m":{"a":2}}', ["/m"]),
        ('{"m":{"a":1}}', "{}", '{"m":{"a":1,"b":1}}', ["/m"]),
        ('{"m":{"a":1}}', "{}", '{"m":{}}', ["/m"]),
        ('{"m":{"a":1}}', '{"m":[]}', '{"m":{"a":1}}', {"m": []}),
        ('{"m":{"a":1}}', '{"m":[]}', '{"m":{"a":2}}', ["/m"]),
        ('{"m":{"a":1}}', '{"m":5}', '{"m":{"a":2}}', ["/m"]),
        ('{"m":{"a":1}}', '{"m":5}', '{"m":5}', {"m": 5}),
        ('{"m":{"x":{"a":1}}}', '{"m":{}}', '{"m":{"x":{"a":2}}}', ["/m/x"]),
        ('{"m":{"x":{"a":1}}}', "{}", '{"m":{"x":{"a":2}}}', ["/m"]),
        ('{"l":[1]}', "{}", '{"l":[1,2]}', ["/l"]),
        ('{"l":[1]}', "{}", '{"l":[2]}', ["/l"]),
        # containers made by both
        ("{}", '{"k":{}}', '{"k":{}}', {"k": {}}),
        ("{}", '{"k":{}}', '{"k":{"a":1}}', {"k": {"a": 1}}),
        ("{}", '{"k":{"a":1}}', '{"k":{"a":1}}', {"k": {"a": 1}}),
        ("{}", '{"k":{"a":1}}', '{"k":{"b":1}}', {"k": {"a": 1, "b": 1}}),
        ("{}", '{"k":{"a":1}}', '{"k":{"a":2}}', ["/k/a"]),
        ('{"k":1}', '{"k":{"a":{}}}', '{"k":{"a":{"b":1}}}', {"k": {"a": {"b": 1}}}),
        ('{"k":[]}', '{"k":{}}', '{"k":{"a":1}}', {"k": {"a": 1}}),
        ("{}", '{"k":{"a":{"b":{"c":1}}}}', '{"k":{"a":{"b":{"d":1}}}}', ["/k/a/b"]),
        ("{}", '{"k":[]}', '{"k":{}}', ["/k"]),
        ("{}", '{"k":[]}', '{"k":[1,2]}', {"k": [1, 2]}),
        ('{"k":{}}', '{"k":{"a":1}}', '{"k":{"b":1}}', {"k": {"a": 1, "b": 1}}),
        # lists cut
        ('{"l":[1,2,3]}', '{"l":[1]}', '{"l":[1,2]}', {"l": [1]}),
        ('{"l":[1,2,3]}', '{"l":[1,2]}', '{"l":[9,2,3]}', {"l": [9, 2]}),
        ('{"l":[1,2,3]}', '{"l":[1,2]}', '{"l":[1,2,9]}', ["/l/2"]),
        ('{"l":[1,2,3]}', '{"l":[]}', '{"l":[9]}', ["/l/0"]),
    ],
)  # fmt: skip
def test_merge__either_way_the_same(base: str, theirs: str, mine: str, expected: Any) -> None:
    assert both_ways(base, theirs, mine) == (expected, expected)


@pytest.mark.parametrize(
    ("base", "theirs", "mine", "expected"),
    [
        ('{"l":[]}', '{"l":["t"]}', '{"l":["m"]}', ["t", "m"]),
        ("{}", '{"l":["t"]}', '{"l":["m"]}', ["t", "m"]),
        ("{}", '{"l":["ok"]}', '{"l":["ok"]}', ["ok", "ok"]),
        ('{"l":5}', '{"l":["t"]}', '{"l":["m"]}', ["t", "m"]),
        ('{"l":{"a":1}}', '{"l":["t"]}', '{"l":["m"]}', ["t", "m"]),
        ('{"l":[1]}', '{"l":[1,"t","u"]}', '{"l":[1,"m"]}', [1, "t", "u", "m"]),
        ('{"l":[1]}', '{"l":[1,"ok"]}', '{"l":[1,"ok"]}', [1, "ok", "ok"]),
        ('{"l":[1,2]}', '{"l":[1,3,"t"]}', '{"l":[4,2,"m"]}', [4, 3, "t", "m"]),
        ('{"l":[1,2,3]}', '{"l":[1]}', '{"l":[1,2,3,"m"]}', [1, "m"]),
        ('{"l":[1,2]}', '{"l":[]}', '{"l":[1,2,"m","n"]}', ["m", "n"]),
    ],
)
def test_merge__appended_items_of_mine_come_last(
    base: str, theirs: str, mine: str, expected: list[Any]
) -> None:
    assert outcome(merge(split(base), split(theirs), split(mine))) == {"l": expected}


@pytest.mark.parametrize(
    ("theirs", "mine", "expected"),
    [
        ('{"l":[1,2,3,"t"]}', '{"l":[1,2]}', ["/l"]),
        ('{"l":[1,2,3,"t"]}', '{"l":[1,9]}', ["/l"]),
        ('{"l":[1,2,9,"t"]}', '{"l":[1,2]}', ["/l"]),
        ('{"l":[1,2]}', '{"l":[1,2,9,"m"]}', ["/l/2"]),
    ],
)
def test_merge__cutting_a_list_that_others_made_longer(theirs: str, mine: str, expected: list[str]) -> None:
    assert outcome(merge(split('{"l":[1,2,3]}'), split(theirs), split(mine))) == expected


@pytest.mark.parametrize(
    ("base", "theirs", "changes", "expected"),
    [
        ('{"l":[1]}', '{"l":[1,2]}', '{"append":{"/l":[3]}}', {"l": [1, 2, 3]}),
        ('{"l":[1]}', '{"l":[9,2]}', '{"append":{"/l":[3]}}', {"l": [9, 2, 3]}),
        ("{}", '{"l":[1]}', '{"append":{"/l":[1]}}', {"l": [1, 1]}),
        ("{}", "{}", '{"append":{"/l":[1]}}', {"l": [1]}),
        ("{}", '{"m":{}}', '{"append":{"/m/l":[1]}}', {"m": {"l": [1]}}),
        ('{"m":{}}', '{"m":{"l":[1]}}', '{"append":{"/m/l":[2]}}', {"m": {"l": [1, 2]}}),
        ('{"l":[1]}', '{"l":[1],"b":1}', '{"append":{"/l":[2]},"set":{"/c":1}}',
         {"l": [1, 2], "b": 1, "c": 1}),
        ('{"l":[1]}', '{"l":[1,2]}', '{"set":{"/l/1":3}}', {"l": [1, 2, 3]}),
        ('{"l":[1]}', '{"l":[1,2]}', '{"set":{"/l":[1,3]}}', {"l": [1, 2, 3]}),
        ('{"l":[1]}', '{"l":[1,2]}', '{"set":{"/l":[1]}}', {"l": [1, 2]}),
        ('{"l":[1]}', '{"l":[1,2]}', '{"set":{"/l":[]}}', ["/l"]),
        ('{"l":[1]}', '{"l":[1,2]}', '{"remove":["/l/0"]}', ["/l"]),
        ('{"l":[1]}', '{"l":[1,2]}', '{"remove":["/l"]}', ["/l"]),
        ('{"m":{"a":1}}', '{"m":{"a":1,"b":1}}', '{"set":{"/m":{"a":2}}}', {"m": {"a": 2, "b": 1}}),
        ('{"m":{"a":1}}', '{"m":{"a":3}}', '{"set":{"/m":{"a":2}}}', ["/m/a"]),
        ('{"m":{"a":1}}', '{"m":{"a":3}}', '{"remove":["/m"]}', ["/m"]),
        ('{"l":[1]}', "{}", '{"append":{"/l":[2]}}', ["/l"]),
        ('{"l":[1]}', '{"l":{}}', '{"append":{"/l":[2]}}', ["/l"]),
        ('{"l":[1,2]}', '{"l":[1]}', '{"append":{"/l":[3]}}', {"l": [1, 3]}),
        ('{"l":[1,2]}', '{"l":[1,2,3]}', '{"append":{"/l":[4]},"set":{"/l/0":9}}', {"l": [9, 2, 3, 4]}),
        ('{"l":[1,2]}', '{"l":[1,2,3]}', '{"append":{"/l":[4]},"remove":["/l/1"]}', ["/l"]),
        ('{"l":[1,2]}', '{"l":[0,2]}', '{"append":{"/l":[4]},"remove":["/l/1"]}', {"l": [0, 4]}),
        ('{"m":{"l":[1]}}', '{"m":{}}', '{"append":{"/m/l":[2]}}', ["/m/l"]),
        ('{"m":{"l":[1]}}', "{}", '{"append":{"/m/l":[2]}}', ["/m"]),
        ('{"m":{"l":[1]}}', '{"m":0}', '{"append":{"/m/l":[2]},"set":{"/m/x":1}}', ["/m"]),
        ('{"l":[1],"a":1}', '{"l":5,"a":2}', '{"append":{"/l":[2]},"set":{"/a":3}}', ["/a", "/l"]),
    ],
)  # fmt: skip
def test_merge_changes(base: str, theirs: str, changes: str, expected: Any) -> None:
    assert outcome(merge_changes(split(base), split(theirs), open_changes(changes))) == expected


@pytest.mark.parametrize(
    ("base", "theirs", "changes", "code"),
    [
        ("{}", '{"m":{}}', '{"set":{"/m/0":1}}', "missing_parent"),
        ('{"l":[1]}', '{"l":[1,2]}', '{"set":{"/l/2":1}}', "list_gap"),
        ("{}", '{"l":5}', '{"append":{"/l":[1]}}', "not_a_list"),
        ('{"l":5}', '{"l":5}', '{"append":{"/l":[1]}}', "not_a_list"),
    ],
)
def test_merge_changes__refuses(base: str, theirs: str, changes: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        merge_changes(split(base), split(theirs), open_changes(changes))
    assert refused.value.code == code


def test_merge__leaves_its_arguments_alone() -> None:
    texts = '{"l":[1],"m":{"a":1}}', '{"l":[1,2],"m":{"a":1}}', '{"l":[1,3],"m":{"a":2}}'
    base, theirs, mine = map(split, texts)
    merge(base, theirs, mine)
    merge_changes(base, theirs, open_changes('{"append":{"/l":[3]},"set":{"/m/a":2}}'))
    assert (base, theirs, mine) == tuple(map(split, texts))


def list_lengths(parts: Parts) -> dict[str, int]:
    lengths = {path: 0 for (path, item), body in parts.items() if item == -1 and body == "[]"}
    for path, item in parts:
        if item >= 0:
            lengths[path] += 1
    return lengths


def grown(base: Parts, after: Parts) -> set[str]:
    was = list_lengths(base)
    return {path for path, length in list_lengths(after).items() if length > was.get(path, 0)}


@given(pairs_of_edits())
def test_merge__one_side_unchanged(states: tuple[str, str, str]) -> None:
    base, theirs, mine = map(split, states)
    assert merge(base, theirs, base) == Merged(theirs, [])
    assert merge(base, base, mine) == Merged(mine, [])


@given(pairs_of_edits())
def test_merge__both_sides_the_same(states: tuple[str, str, str]) -> None:
    base, theirs, _ = map(split, states)
    assume(not grown(base, theirs))
    assert merge(base, theirs, theirs) == Merged(theirs, [])


@given(pairs_of_edits())
@settings(max_examples=200)
def test_merge__sides_matter_for_appends_only(states: tuple[str, str, str]) -> None:
    base, theirs, mine = map(split, states)
    assume(not grown(base, theirs) & grown(mine, base) and not grown(theirs, base) & grown(base, mine))
    one, other = merge(base, theirs, mine), merge(base, mine, theirs)
    assert one.conflicts == other.conflicts
    both = grown(base, theirs) & grown(base, mine)
    event(f"conflict: {bool(one.conflicts)}, both appended: {bool(both)}")
    if one.parts is not None and other.parts is not None:
        assert one.parts.keys() == other.parts.keys()
        assert {key for key in one.parts if one.parts[key] != other.parts[key]} <= {
            key for key in one.parts if key[0] in both and key[1] >= list_lengths(base).get(key[0], 0)
        }


@given(pairs_of_edits())
@settings(max_examples=200)
def test_merge__every_appended_item_is_there_once_and_in_order(states: tuple[str, str, str]) -> None:
    base, theirs, mine = map(split, states)
    merged = merge(base, theirs, mine).parts
    assume(merged is not None)
    assert merged is not None
    lengths = [list_lengths(parts) for parts in (base, theirs, mine)]
    for path in (
        set(lengths[0]) & set(lengths[1]) & set(lengths[2]) & (grown(base, theirs) | grown(base, mine))
    ):
        appended = [
            parts[path, item]
            for parts in (theirs, mine)
            for item in range(lengths[0][path], list_lengths(parts)[path])
        ]
        kept = min(length[path] for length in lengths)
        assert [merged[path, item] for item in range(kept, list_lengths(merged)[path])] == appended


@given(pairs_of_edits())
def test_merge_changes__like_the_states_they_lead_to(states: tuple[str, str, str]) -> None:
    base, theirs, mine = map(split, states)
    assert merge_changes(base, theirs, open_state(states[2])) == merge(base, theirs, mine)
    assert merge_changes(base, theirs, open_changes(diff(base, mine))) == merge(base, theirs, mine)


@given(pairs_of_edits())
def test_merge_changes__to_what_is_their_base_are_applied(states: tuple[str, str, str]) -> None:
    base, _, mine = map(split, states)
    rows = open_changes(diff(base, mine))
    assert merge_changes(base, base, rows).parts == apply(base, rows)


def changes_between(old: Parts, new: Parts) -> dict[tuple[str, int], str | None]:
    return {key: new.get(key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def pairwise_clash(base: Parts, theirs: Parts, mine: Parts) -> bool:
    """Whether two states conflict, decided by pairs of changed parts instead of by walking trees."""
    lengths = list_lengths(base)
    ours, others = changes_between(base, mine), changes_between(base, theirs)

    # opened ones only: what is deeper has no parts of its own
    both_made = {
        key
        for key in ours.keys() & others.keys()
        if key[1] == -1 and key[0].count("/") <= 3 and ours[key] == others[key] and ours[key] in ("{}", "[]")
    }

    def is_append(changes: dict[tuple[str, int], str | None], key: tuple[str, int]) -> bool:
        path, item = key
        if (path, -1) in both_made:
            return item >= 0 and changes[path, -1] == "[]" == (changes[key] and "[]")
        return item >= lengths.get(path, item + 1) and (path, -1) not in changes

    def holds(outer: tuple[str, int], inner: tuple[str, int]) -> bool:
        return outer[1] == -1 and outer not in both_made and inner[0].startswith(outer[0])

    agreed = {
        key
        for key in ours.keys() & others.keys()
        if ours[key] == others[key] and not (is_append(ours, key) and is_append(others, key))
    }
    for my in ours:
        for their in others:
            if my in agreed and their in agreed:
                continue
            appends = is_append(ours, my), is_append(others, their)
            if appends != (True, True) if my == their else holds(my, their) or holds(their, my):
                return True
            if my[0] == their[0] and min(my[1], their[1]) >= 0 and (appends[1] and ours[my] is None):
                return True
    return False


@given(pairs_of_edits())
@settings(max_examples=400)
def test_merge__conflicts_where_comparing_part_by_part_does(states: tuple[str, str, str]) -> None:
    base, theirs, mine = map(split, states)
    assert bool(merge(base, theirs, mine).conflicts) == pairwise_clash(base, theirs, mine)

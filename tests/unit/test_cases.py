"""What spec/cases says, of asyouwere.state."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyouwere.errors import AsYouWereError, Invalid
from asyouwere.state import addresses
from asyouwere.state.changes import apply, diff
from asyouwere.state.conditions import existing
from asyouwere.state.exact_json import encode, parse
from asyouwere.state.merging import merge_changes
from asyouwere.state.rebasing import rebase
from asyouwere.state.rows import open_changes
from asyouwere.state.tree import Tree, join, render, split, tree_of_parts
from tests.support.cases import Case, all_cases


def text_of(value: Any) -> str:
    return parse(encode(value).encode())


@all_cases("splitting.json")
def test_split__cases(case: Case) -> None:
    parts = split(parse(case["state"].encode()))
    assert {addresses.pointer_of(path, item): body for (path, item), body in parts.items()} == case["parts"]
    assert split(join(parts)) == parts


@all_cases("pointers.json")
def test_path_of__cases(case: Case) -> None:
    if "path" in case:
        assert addresses.path_of(case["pointer"]) == case["path"]
    else:
        with pytest.raises(Invalid) as refused:
            addresses.path_of(case["pointer"])
        assert refused.value.code == case["refused"]


@all_cases("diffing.json")
def test_diff__cases(case: Case) -> None:
    old, new = split(text_of(case["old"])), split(text_of(case["new"]))
    assert json.loads(diff(old, new)) == case["changes"]
    assert apply(old, open_changes(text_of(case["changes"]))) == new


@all_cases("changing.json")
def test_apply__cases(case: Case) -> None:
    state = split(text_of(case["state"]))
    if "after" in case:
        after = apply(state, open_changes(parse(case["changes"].encode())))
        assert json.loads(join(after)) == case["after"]
        return
    with pytest.raises(Invalid) as refused:
        apply(state, open_changes(parse(case["changes"].encode())))
    assert refused.value.code == case["refused"]
    assert json.loads(refused.value.data or "null") == case.get("detail")


@all_cases("merging.json")
def test_merge_changes__cases(case: Case) -> None:
    base, theirs = split(text_of(case["base"])), split(text_of(case["theirs"]))
    merged = merge_changes(base, theirs, open_changes(text_of(case["changes"])))
    if "merged" in case:
        assert merged.parts is not None, merged.conflicts
        assert json.loads(join(merged.parts)) == case["merged"]
    else:
        assert merged.conflicts == case["conflicts"]


def tree_of(value: Any) -> dict[str, Tree]:
    return tree_of_parts(split(text_of(value)))


@all_cases("rebasing.json")
def test_rebase__cases(case: Case) -> None:
    sent, theirs, mine = (tree_of(case[name]) for name in ("sent", "theirs", "mine"))
    moved = {pointer: (first, shift) for pointer, (first, shift) in case.get("moved", {}).items()}
    tree, doubts = rebase(sent, theirs, mine, moved)
    assert json.loads(render(tree)) == case["result"]
    told = [
        {"address": doubt.address}
        | {
            name: json.loads(render(value))
            for name in ("base", "mine", "theirs")
            if (value := getattr(doubt, name)) is not None
        }
        for doubt in doubts
    ]
    in_order = sorted(case["doubts"], key=lambda doubt: doubt["address"])
    assert sorted(told, key=lambda doubt: doubt["address"]) == in_order
    assert [tree_of(case[name]) for name in ("sent", "theirs", "mine")] == [sent, theirs, mine]


@all_cases("conditions.json")
def test_apply__conditions(case: Case) -> None:
    state = split(text_of(case["state"]))

    def change() -> tuple[str, str | None]:
        rows = open_changes(parse(case["changes"].encode()))
        if "base" not in case:
            return join(apply(state, rows)), existing(state, rows)
        merged = merge_changes(split(text_of(case["base"])), state, rows)
        if merged.parts is None:
            raise AsYouWereError("conflict", data=json.dumps({"addresses": merged.conflicts}))
        return join(merged.parts), existing(state, rows)

    if "after" in case:
        after, found = change()
        assert json.loads(after) == case["after"]
        assert json.loads(found or "null") == case["existing"]
        return
    with pytest.raises(AsYouWereError) as refused:
        change()
    detail = json.loads(refused.value.data or "null")
    if "conflicts" in case:
        assert refused.value.code == "conflict"
        assert detail["addresses"] == case["conflicts"]
    else:
        assert refused.value.code == case["refused"]
        assert detail == case.get("detail")


@all_cases("numbers.json")
def test_parse__numbers(case: Case) -> None:
    state = f'{{"n":{case["text"]},"l":[{{"n":{case["text"]}}}]}}'
    if "refused" in case:
        with pytest.raises(Invalid) as refused:
            parse(state.encode())
        assert refused.value.code == case["refused"]
    else:
        assert parse(state.encode()) == state

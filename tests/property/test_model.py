"""The model against leftoff.parts: two definitions of changing and merging, written apart, must agree."""

from __future__ import annotations

import pytest

from leftoff import exact_json, parts
from leftoff.errors import Invalid
from tests.property.changing import (
    MISPLACED,
    OVERLAPPING,
    Changes,
    Refused,
    append_conflicts,
    appended,
    changes_of,
    done,
    may_overlap,
    merged,
    overlap,
    replaced,
)
from tests.property.exact import (
    Keys,
    State,
    Tree,
    at,
    keys_of,
    parts_of,
    path_of,
    render,
    respell,
    state_of,
)
from tests.property.generator import Generator

SEEDS = range(400)


def stored(state: State) -> parts.Parts:
    """A state as the product's parts."""
    split = parts.split(render(state))
    assert split == {(path_of(keys), item): body for (keys, item), body in parts_of(state).items()}
    return split


def lists_in(state: State) -> list[Keys]:
    """Where lists are."""
    return [keys for keys, item in parts_of(state) if item < 0 and isinstance(at(state, keys), list)]


def is_cut_against_append(base: State, one: State, other: State, changes: Changes) -> bool:
    """Whether one side cut a list to which the other appended."""

    def length(tree: Tree | None) -> int:
        return len(tree) if isinstance(tree, list) else -1

    for keys in lists_in(base):
        was, now, then = (length(at(state, keys)) for state in (base, one, other))
        is_appended_to = then > was or any(keys == to and bodies for to, bodies in changes.appends)
        if -1 not in (now, then) and ((now < was and is_appended_to) or then < was < now):
            return True
    return False


@pytest.mark.parametrize("seed", SEEDS)
def test_model__changes_as_leftoff_parts_does(seed: int) -> None:
    generator = Generator(seed, 0)
    state = state_of(generator._whole_state({}))
    for _ in range(4):
        text = generator._changes(state)
        after, codes = outcome(state, text)
        if after is None:
            with pytest.raises(Invalid) as refused:
                parts.apply(stored(state), parts.open_changes(text))
            assert refused.value.code in codes, f"{text} on {render(state)}"
        else:
            assert parts.apply(stored(state), parts.open_changes(text)) == stored(after)
            state = after


def outcome(state: State, text: str) -> tuple[State | None, frozenset[str]]:
    """The state after changes, or the codes with which they may be refused."""
    try:
        changes = changes_of(text)
        after = done(state, changes, state)[1]
    except Refused as refused:
        return None, refused.codes | MISPLACED | {OVERLAPPING}
    if overlap(changes) or may_overlap(changes):
        return None, MISPLACED | {OVERLAPPING, "list_gap"}
    return after, frozenset()


@pytest.mark.parametrize("seed", SEEDS)
def test_model__merges_as_leftoff_parts_does(seed: int) -> None:
    generator = Generator(seed, 0)
    base = state_of(generator._whole_state({}))
    mine, theirs = (state_of(generator._whole_state(base)) for _ in range(2))
    merge = merged(base, mine, theirs)
    other = parts.merge(stored(base), stored(theirs), stored(mine))
    if is_cut_against_append(base, theirs, mine, Changes()):
        return  # leftoff.parts has a conflict where the database appends to what is left
    assert {keys_of(pointer) for pointer in other.conflicts} == {
        keys if item < 0 else (*keys, str(item)) for keys, item in merge.conflicts
    }
    if other.parts is not None:
        assert other.parts == stored(merge.state)


@pytest.mark.parametrize("seed", SEEDS)
def test_model__merges_changes_as_leftoff_parts_does(seed: int) -> None:
    generator = Generator(seed, 0)
    base = state_of(generator._whole_state({}))
    theirs = state_of(generator._whole_state(base))
    text = generator._changes(base)
    try:
        changes = changes_of(text)
        mine = replaced(base, changes, base)
        merge = merged(base, mine, theirs)
        conflicts = merge.conflicts + append_conflicts(base, theirs, changes)
        after = None if conflicts else appended(merge.state, changes)
    except Refused:
        return  # which refusal, the test above compares
    if overlap(changes) or may_overlap(changes) or is_cut_against_append(base, theirs, mine, changes):
        return
    other = parts.merge_changes(stored(base), stored(theirs), parts.open_changes(text))
    assert (other.parts is None) == (after is None), f"{text} on {render(base)} with {render(theirs)}"
    if after is not None:
        assert other.parts == stored(after)


@pytest.mark.parametrize("seed", SEEDS)
def test_model__reads_what_exact_json_reads(seed: int) -> None:
    text = Generator(seed, 0)._whole_state({})
    assert exact_json.parse(respell(text, seed).encode()) == text

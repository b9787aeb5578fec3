"""The model against asyouwere.state: two definitions of changing and merging, written apart, must agree."""

from __future__ import annotations

import pytest

from asyouwere.errors import AsYouWereError
from asyouwere.state import changes, conditions, exact_json, merging, tree
from asyouwere.state.rows import open_changes
from tests.property.changing import (
    MISPLACED,
    OVERLAPPING,
    Changes,
    Refused,
    append_conflicts,
    changes_of,
    done,
    may_overlap,
    merged,
    overlap,
    replaced,
)
from tests.property.conditions import judged
from tests.property.exact import (
    State,
    keys_of,
    parts_of,
    path_of,
    render,
    respell,
    state_of,
)
from tests.property.generator import Generator
from tests.property.model import Expected
from tests.property.sequences import check_existing

SEEDS = [range(start, start + 100) for start in range(0, 600, 100)]


def stored(state: State) -> tree.Parts:
    """A state as the product's parts."""
    split = tree.split(render(state))
    assert split == {(path_of(keys), item): body for (keys, item), body in parts_of(state).items()}
    return split


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_model__changes_as_asyouwere_parts_does(seeds: range) -> None:
    for seed in seeds:
        generator = Generator(seed, 0)
        state = state_of(generator.whole_state({}))
        for _ in range(4):
            text = generator.changes(state)
            after, codes = outcome(state, text)
            if after is None:
                with pytest.raises(AsYouWereError) as refused:
                    changes.apply(stored(state), open_changes(text))
                assert refused.value.code in codes, f"{text} on {render(state)}"
            else:
                assert changes.apply(stored(state), open_changes(text)) == stored(after), text
                found = conditions.existing(stored(state), open_changes(text))
                check_existing({"existing": found}, Expected(existing=judged(changes_of(text), state).existing))
                state = after


def outcome(state: State, text: str) -> tuple[State | None, frozenset[str]]:
    """The state after changes, or the codes with which they may be refused."""
    try:
        changes = changes_of(text)
        if overlap(changes):
            return None, frozenset({OVERLAPPING})
        found = judged(changes, state)
        if found.unexpected:
            return None, frozenset({"conflict"})
        after = done(state, changes, state, found.writes)[1]
    except Refused as refused:
        return None, refused.codes | MISPLACED | {OVERLAPPING}
    if may_overlap(changes):
        return None, MISPLACED | {OVERLAPPING, "list_gap"}
    return after, frozenset()


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_model__merges_as_asyouwere_parts_does(seeds: range) -> None:
    for seed in seeds:
        generator = Generator(seed, 0)
        base = state_of(generator.whole_state({}))
        mine, theirs = (state_of(generator.whole_state(base)) for _ in range(2))
        merge = merged(base, mine, theirs)
        other = merging.merge(stored(base), stored(theirs), stored(mine))
        assert {keys_of(pointer) for pointer in other.conflicts} == {
            keys if item < 0 else (*keys, str(item)) for keys, item in merge.conflicts
        }
        if other.parts is not None:
            assert other.parts == stored(merge.state)


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_model__merges_changes_as_asyouwere_parts_does(seeds: range) -> None:
    for seed in seeds:
        generator = Generator(seed, 0)
        base = state_of(generator.whole_state({}))
        theirs = state_of(generator.whole_state(base))
        text = generator.changes(base)
        try:
            changes = changes_of(text)
            found = judged(changes, theirs)
            merge = merged(base, replaced(base, changes, base), theirs)
            conflicts = merge.conflicts + append_conflicts(base, theirs, changes)
            after = None
            if not conflicts and not found.unexpected:
                appends = Changes(appends=changes.appends)
                after = done(merge.state, appends, merge.state, found.writes)[1]
        except Refused:
            continue  # which refusal, the first test compares
        if overlap(changes) or may_overlap(changes):
            continue
        other = merging.merge_changes(stored(base), stored(theirs), open_changes(text))
        assert (other.parts is None) == (after is None), f"{text} on {render(base)} with {render(theirs)}"
        if after is not None:
            assert other.parts == stored(after)


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_model__reads_what_exact_json_reads(seeds: range) -> None:
    for seed in seeds:
        text = Generator(seed, 0).whole_state({})
        assert exact_json.parse(respell(text, seed).encode()) == text

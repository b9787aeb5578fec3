"""What holds of rebasing whatever the states are; what single states come to is in spec/cases/rebasing.json."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator

from hypothesis import assume, event, given
from hypothesis import strategies as st

from asyouwere.state.merging import merge
from asyouwere.state.rebasing import moves, rebase
from asyouwere.state.tree import Tree, flatten, split, tree_of_parts
from tests.support.documents import edits, pairs_of_edits


def tree_of(text: str) -> dict[str, Tree]:
    return tree_of_parts(split(text))


def items(tree: Tree | None) -> Iterator[str]:
    """The bodies of all items of opened lists."""
    if isinstance(tree, list):
        yield from tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from items(value)


@given(pairs_of_edits())
def test_rebase__one_side_unchanged(states: tuple[str, str, str]) -> None:
    base, theirs, mine = map(tree_of, states)
    for unchanged in (base, copy.deepcopy(base)):
        assert rebase(base, unchanged, mine) == (mine, [])
        assert rebase(base, theirs, unchanged) == (theirs, [])


@given(pairs_of_edits())
def test_rebase__is_merging_where_nothing_is_in_doubt(states: tuple[str, str, str]) -> None:
    merged = merge(*map(split, states))
    tree, doubts = rebase(*map(tree_of, states))
    event("in doubt" if doubts else "plain")
    assert bool(doubts) == bool(merged.conflicts)
    if not doubts:
        assert dict(flatten(tree)) == merged.parts


@given(pairs_of_edits())
def test_rebase__looks_at_values_not_at_identity(states: tuple[str, str, str]) -> None:
    trees = list(map(tree_of, states))
    shared = tree_of_parts(split(states[0])), *trees[1:]
    for at in (1, 2):  # the unchanged branches are the same objects
        for key, value in shared[at].items():
            if shared[0].get(key) == value:
                shared[at][key] = shared[0][key]
    before = copy.deepcopy(trees)
    assert rebase(*shared) == rebase(*trees)
    assert trees == before


@given(st.data())
def test_rebase__into_a_copy_that_moved_on(data: st.DataObject) -> None:
    base, theirs, sent = data.draw(pairs_of_edits())
    mine = tree_of(data.draw(edits(sent)))
    merged = merge(split(base), split(theirs), split(sent)).parts
    assume(merged is not None)
    answer = tree_of_parts(merged)
    moved = moves(tree_of(base), tree_of(sent), answer)
    event("moved" if moved else "stayed")
    assert rebase(tree_of(sent), answer, tree_of(sent), moved) == (answer, [])
    if theirs == base:
        assert rebase(tree_of(sent), answer, mine, moved) == (mine, [])
    rebase(tree_of(sent), answer, mine, moved)


@given(st.data())
def test_rebase__every_appended_item_is_there_once(data: st.DataObject) -> None:
    """Streamed as answers are: appended, saved, grown meanwhile; while others make the list, append, or cut, and append
    once more before anybody looks (an answer that was lost is followed by a look at the newest)."""
    lists = st.integers(0, 3)
    base: dict[str, Tree] = data.draw(st.sampled_from([{}, {"messages": []}, {"messages": ['"b0"', '"b1"', '"b2"']}]))
    had = list(items(base))
    cut = data.draw(st.integers(0, len(had)))
    others = [f'"t{number}"' for number in range(data.draw(lists))]
    own = [f'"m{number}"' for number in range(data.draw(lists))]
    later = [f'"n{number}"' for number in range(data.draw(lists))]
    after = [f'"a{number}"' for number in range(data.draw(lists))]
    theirs: dict[str, Tree] = {"messages": had[:cut] + others} if had or others else base
    sent: dict[str, Tree] = {"messages": had + own} if had or own else base
    merged = merge(dict(flatten(base)), dict(flatten(theirs)), dict(flatten(sent))).parts
    assert merged is not None
    grown = [body[:-1] + '..."' if data.draw(st.booleans()) else body for body in own]
    mine: dict[str, Tree] = {"messages": had + grown + later} if had or own or later else base
    answer = tree_of_parts(merged)
    if after:
        answer = {"messages": [*items(answer), *after]}
    tree, doubts = rebase(sent, answer, mine, moves(base, sent, answer))
    assert list(items(tree)) == had[:cut] + others + grown + after + later
    assert doubts == []
    assert Counter(items(tree)).most_common(1)[0][1] == 1 if tree.get("messages") else True

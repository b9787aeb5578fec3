"""Who changed the same at once: mine stands, and the app may decide for theirs, which then is all there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyouwere.client.conflicts import decide, told
from asyouwere.client.document import Document
from asyouwere.client.sync import tree_of_text
from asyouwere.state.exact_json import encode
from asyouwere.state.rebasing import Doubt, rebase
from tests.client.conftest import Place
from tests.support.documents import pairs_of_edits


def decided(base: Any, theirs: Any, mine: Any, resolve: Any) -> Any:
    """What an app sees that decides like that."""
    tree, doubts = rebase(*(tree_of_text(encode(state)) for state in (base, theirs, mine)))
    document = Document()
    document.show(tree)
    decide(document, doubts, resolve)
    return json.loads(encode(document.root))


def all_theirs(doubt: Doubt) -> str:
    return "theirs"


@pytest.mark.parametrize(
    ("base", "theirs", "mine", "expected"),
    [
        ({"topic": "tea"}, {"topic": "rain"}, {"topic": "snow"}, {"topic": "rain"}),
        ({"topic": "tea"}, {}, {"topic": "snow"}, {}),  # they have removed it
        ({"topic": "tea"}, {"topic": "rain"}, {}, {"topic": "rain"}),  # mine had
        ({"l": ["a", "b"]}, {"l": ["a"]}, {"l": ["a", "mine"]}, {"l": ["a"]}),
        ({"l": ["a", "b", "c"]}, {"l": ["a"]}, {"l": ["a", "x", "y"]}, {"l": ["a"]}),
        ({"l": ["a", "b", "c"]}, {"l": ["a", "b", "theirs"]}, {"l": ["a"]}, {"l": ["a", "theirs"]}),
        ({"l": ["a", "b"]}, {"l": ["a", "theirs", "new"]}, {"l": ["a"]}, {"l": ["a", "theirs", "new"]}),
        ({"o": {"x": 1}}, {"o": {"x": 2}}, {"o": "mine"}, {"o": {"x": 2}}),
        ({"o": {"x": 1}}, {"o": "theirs"}, {"o": {"x": 2}}, {"o": "theirs"}),
    ],
)
def test_decide__for_theirs(base: Any, theirs: Any, mine: Any, expected: Any) -> None:
    assert decided(base, theirs, mine, all_theirs) == expected
    assert decided(base, theirs, mine, lambda doubt: "mine") == decided(base, theirs, mine, lambda doubt: None)


@given(pairs_of_edits(), st.randoms(use_true_random=False))
def test_decide__whatever_it_says(states: tuple[str, str, str], chance: Any) -> None:
    """Nothing fails, and what both sides have stays."""
    base, theirs, mine = (json.loads(state) for state in states)
    found = decided(base, theirs, mine, lambda doubt: chance.choice(["mine", "theirs"]))
    assert found.keys() >= theirs.keys() & mine.keys()
    assert found.keys() <= theirs.keys() | mine.keys()


def test_decide__where_resolve_fails_mine_stands() -> None:
    def resolve(doubt: Doubt) -> str:
        raise LookupError(doubt.address)

    assert decided({"a": 1}, {"a": 2, "b": 1}, {"a": 3}, resolve) == {"a": 3, "b": 1}


def test_told__as_values() -> None:
    _, doubts = rebase(tree_of_text('{"a":[1]}'), tree_of_text('{"a":[2]}'), tree_of_text('{"a":"mine"}'))
    assert told(doubts) == [{"address": "/a", "base": [1], "mine": "mine", "theirs": [2]}]


@pytest.mark.anyio
async def test_resolve__removed_by_them_is_removed(home: Place) -> None:
    async with home.open() as other, home.open(resolve=all_theirs, journal=False) as session:
        other.state["topic"] = "tea"
        await other.save_now()
        await session.refresh()
        del other.state["topic"]
        other.append("theirs")
        await other.save_now()
        session.state["topic"] = "snow"
        session.append("mine")
        await session.save_now()
        assert session.state == {"messages": ["theirs", "mine"]}
        await session.save_now()
    assert home.saved() == {"messages": ["theirs", "mine"]}

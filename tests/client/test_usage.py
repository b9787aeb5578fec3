"""What a session costs, and branches, as the Python client has them, over each of the three ways."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

import asyouwere
from asyouwere.client.prices import DATED, PRICES
from tests.client.conftest import Place

pytestmark = pytest.mark.anyio


async def test_record_usage__adds_up_and_a_retry_counts_once(place: Place) -> None:
    async with place.open() as session:
        first = await session.record_usage("large-1", 1200, 300, Decimal("0.0125"), key="call 1")
        again = await session.record_usage("large-1", 1200, 300, Decimal("0.0125"), key="call 1")
        assert (first["recorded"], again["recorded"], again["cost"]) == (True, False, 0.0125)
        async with session.turn() as turn:
            await turn.write("hi")
            await session.record_usage("large-1", 10, 5, 0.5, cached_tokens=10, turn=turn)
        assert (await session.usage(turn.id))["cost"] == 0.5
        total = await session.usage()
        assert (total["calls"], total["input_tokens"], total["cached_tokens"], total["cost"]) == (2, 1210, 10, 0.5125)


async def test_record_usage__what_is_no_amount_is_refused(place: Place) -> None:
    async with place.open() as session:
        for wrong in ({"cost": -1}, {"cost": float("nan")}, {"input_tokens": -1}):
            with pytest.raises(asyouwere.AsYouWereError):
                await session.record_usage(**{"model": "m", "input_tokens": 1, "output_tokens": 1, **wrong})
        assert (await session.usage())["calls"] == 0


async def test_budget__is_told_once_at_80_percent_and_once_at_its_end(place: Place) -> None:
    heard: list[dict[str, Any]] = []
    async with place.open() as session:
        session.on("budget", lambda event: heard.append(event.data))
        assert (await session.set_budget(Decimal(2)))["used"] == 0
        for cost in (1, 0.6, 0.2):  # 50, 80, 90 %
            await session.record_usage("m", 1, 1, cost)
        assert heard == [{"of": "session", "cost": 1.6, "budget": 2, "used": 0.8, "is_over": False}]
        await session.record_usage("m", 1, 1, 5)
        assert [(event["used"], event["is_over"]) for event in heard[1:]] == [(3.4, True)]
        assert (await session.set_budget(None))["budget"] is None
        await session.set_budget(7)  # 97 %: near its end again
        assert len(heard) == 3


async def test_merge__brings_a_branch_back_and_names_what_both_changed(place: Place) -> None:
    async with place.open() as session:
        session.state = {"nodes": {"a": {"x": 1}, "b": {"x": 1}}}
        fork = await session.fork(name="branch")
        assert (await session.origin())["origin_id"] is None
        async with place.open(key=None, session=fork) as branch:
            assert (await branch.origin())["origin_id"] == session.id
            branch.set("/nodes/a/x", 2)
            assert await branch.merge(label="a moved") == 2
            branch.set("/nodes/b/x", 3)
            session.set("/nodes/b/x", 4)
            await session.save_now()
            with pytest.raises(asyouwere.AsYouWereError) as refused:
                await branch.merge()
            assert refused.value.code == "conflict"
            assert json.loads(refused.value.data or "")["addresses"] == ["/nodes/b/x"]
            assert await branch.merge(choices={"/nodes/b": "fork"}) == 4
        await session.refresh()
        assert session.state == {"nodes": {"a": {"x": 2}, "b": {"x": 3}}}


def test_cost_of__is_exact_and_takes_the_apps_own_prices() -> None:
    assert asyouwere.cost_of("gpt-4.1-mini", 1_000_000, 1_000_000) == Decimal(2)
    own = {"mine": ("3", "0.3", "15")}
    assert asyouwere.cost_of("mine", 1000, 100, 900, prices=own) == Decimal("0.00207")
    assert asyouwere.cost_of("mine", 0, 0, prices=own) == 0
    with pytest.raises(KeyError):
        asyouwere.cost_of("unheard of", 1, 1)


def test_prices__are_dated_and_none_is_negative() -> None:
    assert len(DATED.split("-")) == 3
    assert all(Decimal(price) >= 0 for row in PRICES.values() for price in row)

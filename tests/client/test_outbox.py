"""Handing messages on: once, in order, also when whoever does it dies in the middle."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from asyouwere.client.errors import Unreachable
from asyouwere.client.outbox import Outbox
from tests.client.conftest import Place

pytestmark = pytest.mark.anyio


def said(content: str, *, role: str = "user", **more: Any) -> dict[str, Any]:
    return {"id": content, "role": role, "content": content, **more}


async def handed_on(outbox: Outbox, agent: list[str]) -> None:
    """All that there is to hand on, to an agent that keeps what it is told."""
    while (delivery := outbox.next()) is not None:
        if delivery.note is None or len(agent) == delivery.note["count"]:
            await delivery.begin({"count": len(agent)})
            agent.append(delivery.message["content"])
        await delivery.done()


async def test_outbox__hands_on_what_all_devices_say_once_in_the_sessions_order(place: Place) -> None:
    agent: list[str] = []
    async with (
        place.open(journal=False) as phone,
        place.open(journal=False) as desk,
        place.open(journal=False) as proxy,
    ):
        phone.append(said("one"), said("an answer", role="assistant"), said("~/two/~1"))
        await phone.save_now()
        desk.append(said("three"))
        await desk.save_now()
        await proxy.refresh()
        await handed_on(Outbox(proxy), agent)
        desk.append(said("four"))
        await desk.save_now()
        await proxy.refresh()
        await handed_on(Outbox(proxy), agent)
        assert Outbox(proxy).next() is None
    assert agent == ["one", "~/two/~1", "three", "four"]
    async with place.open(journal=False) as later:
        assert later.state["deliveries"] == {id: {"status": "sent"} for id in agent}


async def test_next__passes_over_what_is_no_message_of_that_role(home: Place) -> None:
    async with home.open() as session:
        assert Outbox(session).next() is None
        session.state["messages"] = "none"
        assert Outbox(session).next() is None
        session.state["messages"] = [
            "text",
            None,
            {"role": "user"},
            said("one", id=1),
            said("two", role="system"),
            said("three"),
        ]
        session.state["deliveries"] = {"three": "by somebody else"}
        found = Outbox(session).next()
        assert found is not None
        assert (found.id, found.message, found.note) == ("three", said("three"), None)
        other = Outbox(session, role="system", messages="/messages", deliveries="/mail/out").next()
        assert other is not None
        await other.done()
        assert session.state["mail"] == {"out": {"two": {"status": "sent"}}}


@pytest.mark.parametrize("has_arrived", [False, True])
async def test_outbox__goes_on_where_somebody_died(home: Place, has_arrived: bool) -> None:
    agent = ["an older one"]
    async with home.open(journal=False) as before:
        before.append(said("one"), said("two"))
        delivery = Outbox(before).next()
        assert delivery is not None
        await delivery.begin({"count": 1})
        if has_arrived:
            agent.append("one")
    async with home.open(journal=False) as after:
        found = Outbox(after).next()
        assert found is not None
        assert (found.id, found.note) == ("one", {"count": 1})
        await handed_on(Outbox(after), agent)
    assert agent == ["an older one", "one", "two"]


class Cut(httpx.AsyncHTTPTransport):
    """A line that can be cut."""

    is_cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("cut")
        return await super().handle_async_request(request)


async def test_begin__raises_where_it_can_not_be_saved__and_done_is_known_here(home: Place) -> None:
    line = Cut()
    async with httpx.AsyncClient(transport=line) as http, home.open(http=http, journal=False, debounce=60) as session:
        session.append(said("one"), said("two"))
        delivery = Outbox(session).next()
        assert delivery is not None
        line.is_cut = True
        with pytest.raises(Unreachable):
            await delivery.begin(7)
        again = Outbox(session).next()
        assert again is not None
        assert (again.id, again.note) == ("one", 7)
        with pytest.raises(Unreachable):
            await again.done()
        second = Outbox(session).next()
        assert second is not None
        assert second.id == "two"
        line.is_cut = False
        await second.done()
    async with home.open(journal=False) as later:
        assert later.state["deliveries"] == {"one": {"status": "sent"}, "two": {"status": "sent"}}


async def test_begin__wants_a_note(home: Place) -> None:
    async with home.open() as session:
        session.append(said("one"))
        delivery = Outbox(session).next()
        assert delivery is not None
        with pytest.raises(TypeError, match="not None"):
            await delivery.begin(None)
        assert "deliveries" not in session.state

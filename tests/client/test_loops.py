"""The same on other loops: uvloop, and Trio over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from tests.client.conftest import Place, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend",
        [
            pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
            pytest.param(("trio", {"restrict_keyboard_interrupt_to_checkpoints": True}), id="trio"),
        ],
    ),
]


async def model() -> AsyncIterator[str]:
    for word in ("Tea", ", ", "please"):
        yield word
        await anyio.lowlevel.checkpoint()


async def test_session__saves_by_itself_streams_and_follows(home: Place) -> None:
    async with home.open(debounce=0.01, poll=0.05) as session:
        session.append({"role": "user", "content": "hi"})
        await until(lambda: session.status.save_count)
        async with home.open(journal=False, poll=0.05) as other:
            assert other.state["messages"] == session.state["messages"]
            assert "".join([chunk async for chunk in session.stream(model())]) == "Tea, please"
            told = [progress async for progress in other.follow()]
            assert (told[-1].status, told[-1].position) == ("done", 1)
            other.append("theirs")
            await other.save_now()
        await until(lambda: len(session.state["messages"]) == 3)
    assert home.saved()["messages"][1:] == [
        {"role": "assistant", "content": "Tea, please"},
        "theirs",
    ]


async def test_session__cancelled_in_the_middle_is_saved_as_far_as_it_came(home: Place) -> None:
    async def endless() -> AsyncIterator[str]:
        while True:
            yield "word "
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as group, home.open() as session:
        count = 0
        async for _ in session.stream(endless()):
            count += 1
            if count == 3:
                group.cancel_scope.cancel()
    (message,) = home.saved()["messages"]
    assert message["content"].startswith("word word word ")
    assert message["status"] == "stopped"

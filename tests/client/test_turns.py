"""Answers that survive whoever makes them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace as Object
from typing import Any

import anyio
import pytest

from asyouwere.client.stream_events import text_of_event
from asyouwere.errors import Conflicting
from tests.client.conftest import Place, until

pytestmark = pytest.mark.anyio


async def test_turn__what_is_appended_in_its_block_stands_before_it(place: Place) -> None:
    async with place.open() as session:
        async with session.turn() as turn:
            session.append({"role": "user", "content": "tea?"})
            await turn.write("Here you are")
        assert [message["role"] for message in session.state["messages"]] == ["user", "assistant"]
    async with place.open(journal=False) as session:
        assert [message["role"] for message in session.state["messages"]] == ["user", "assistant"]


async def test_turn__written_followed_and_saved(place: Place) -> None:
    async with place.open() as runner, place.open() as reader:
        runner.append({"role": "user", "content": "tea?"})
        seen: list[str] = []

        async def read() -> None:
            async for progress in reader.follow(turn.id):
                seen.append(progress.text)
                if progress.status != "running":
                    seen.append(f"{progress.status} at {progress.position}")

        async with anyio.create_task_group() as group, runner.turn() as turn:
            group.start_soon(read)
            assert await turn.write("Here ")
            await until(lambda: "".join(seen) == "Here ")
            await turn.write("you are")
        assert "".join(seen) == "Here you aredone at 1"
        assert runner.state["messages"][1] == {"role": "assistant", "content": "Here you are"}
        await reader.refresh()
        assert reader.state == runner.state
        again = [progress async for progress in reader.follow(turn.id)]
        assert "".join(progress.text for progress in again) == "Here you are"
        assert again[-1].status == "done"


async def test_follow__there_never_was_a_turn(place: Place) -> None:
    async with place.open() as session:
        assert [progress async for progress in session.follow()] == []


async def test_turn__one_runs_and_the_other_is_told(place: Place) -> None:
    async with place.open() as one, place.open() as two:
        async with one.turn() as turn:
            await turn.write("x" * 5000)
            with pytest.raises(Conflicting) as refused:
                async with two.turn():
                    pass
            assert refused.value.code == "turn_running"
            await two.stop(turn.id)
            assert await turn.write("y" * 5000) is False
            assert turn.stop_requested
        message = one.state["messages"][-1]
        assert message["status"] == "stopped"
        assert message["content"] == "x" * 5000 + "y" * 5000
        async with two.turn(message={"role": "assistant", "name": "two"}) as turn:
            await turn.write("mine")
        assert two.state["messages"][-1] == {"role": "assistant", "name": "two", "content": "mine"}


async def test_turn__that_waits_begins_behind_the_other_and_knows_its_answer(place: Place) -> None:
    async with place.open() as one, place.open(poll=None) as two:
        seen: list[Any] = []

        async def follow_up() -> None:
            async with two.turn(wait=30) as turn:
                seen.extend(two.state["messages"])
                await turn.write("second")

        async with anyio.create_task_group() as group, one.turn() as turn:
            group.start_soon(follow_up)
            await anyio.sleep(0.5)  # so that it is refused once at least
            assert seen == []
            await turn.write("first")
        assert [message["content"] for message in seen] == ["first"]
        assert [message["content"] for message in two.state["messages"]] == ["first", "second"]


async def test_turn__that_has_waited_in_vain_is_told(home: Place) -> None:
    async with home.open() as one, home.open() as two, one.turn():
        with pytest.raises(Conflicting) as refused:
            async with two.turn(wait=0.5):
                pass
        assert refused.value.code == "turn_running"


async def test_turn__that_raises_is_saved_as_failed(home: Place) -> None:
    async with home.open() as session:

        async def broken() -> None:
            async with session.turn() as turn:
                await turn.write("Half")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await broken()
        assert session.state["messages"] == [{"role": "assistant", "content": "Half", "status": "failed"}]


async def test_turn__cancelled_in_the_middle_is_saved(home: Place) -> None:
    async def answer() -> None:
        async with home.open() as session, session.turn() as turn:
            session.state["step"] = 1
            await turn.write("Half")
            await anyio.sleep(60)

    with anyio.move_on_after(1):
        await answer()
    task = asyncio.create_task(answer())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with home.open(journal=False) as session:
        assert session.state["messages"] == [{"role": "assistant", "content": "Half", "status": "stopped"}] * 2
        assert session.state["step"] == 1


async def test_turn__another_result_than_the_text(home: Place) -> None:
    async with home.open() as session:
        async with session.turn() as turn:
            await turn.write({"type": "text-delta", "delta": "Hi"})
            await turn.write("")
            turn.result = {"role": "assistant", "parts": [{"type": "text", "text": "Hi"}]}
        assert session.state["messages"] == [turn.result]
        assert [progress.chunks async for progress in session.follow()] == [[{"type": "text-delta", "delta": "Hi"}]]


async def test_turn__the_lease_is_renewed_by_itself(home: Place) -> None:
    async with home.open() as session, home.open() as other:
        async with session.turn(lease=2) as turn:
            await turn.write("a")
            await anyio.sleep(4)
            with pytest.raises(Conflicting):
                async with other.turn():
                    pass
            await turn.write("b")
        assert session.state["messages"][-1]["content"] == "ab"


async def test_turn__taken_for_dead_writes_nothing_more(home: Place) -> None:
    async with home.open() as session:

        async def late() -> None:
            async with session.turn() as turn:
                home.db.superuser.execute(
                    "update session_turns set lease_until = now() - interval '1 second' where id = %s", (turn.id,)
                )
                await turn.write("late" * 2000)
                await turn.write("later" * 2000)

        with pytest.raises(Conflicting) as refused:
            await late()
        assert refused.value.code == "turn_over"


KILLED = """
import os, signal, sys, anyio, asyouwere

async def main():
    async with asyouwere.open(sys.argv[1], token=sys.argv[2], key="chat", journal=sys.argv[3], poll=None) as session:
        async with session.turn() as turn:
            for number in range(int(sys.argv[4])):
                await turn.write(f"w{number} ")
                await anyio.sleep(0)
            os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


@pytest.mark.parametrize("words", [0, 1, 43])
async def test_turn__of_a_killed_process_is_ended_whole_before_the_next(home: Place, words: int) -> None:
    options = home.options
    command = [options["url"], options["token"], str(options["journal"]), str(words)]
    killed = await anyio.run_process([sys.executable, "-c", KILLED, *command], check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    async with home.open() as session:
        async with session.turn() as turn:
            await turn.write("next")
        *whole, after = session.state["messages"]
        assert [message["content"] for message in whole] == ["".join(f"w{i} " for i in range(words))] * (words > 0)
        assert all(message["status"] == "failed" for message in whole)
        assert after["content"] == "next"


async def test_turn__of_a_killed_process_whose_ending_was_cut_off_is_ended_by_the_next(home: Place) -> None:
    options = home.options
    command = [options["url"], options["token"], str(options["journal"]), "3"]
    await anyio.run_process([sys.executable, "-c", KILLED, *command], check=False)
    async with home.open():
        pass  # left at once
    async with home.open() as session, session.turn() as turn:
        await turn.write("next")
        assert session.state["messages"][0]["content"] == "w0 w1 w2 "


CHUNKS: list[tuple[Any, str]] = [
    ("plain", "plain"),
    ({"choices": [{"delta": {"content": "openai"}}]}, "openai"),
    (Object(choices=[Object(delta=Object(content="objects"))]), "objects"),
    ({"choices": [{"delta": {"content": None, "tool_calls": []}}]}, ""),
    ({"choices": []}, ""),
    ({"type": "response.output_text.delta", "delta": "responses"}, "responses"),
    ({"type": "response.completed"}, ""),
    ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "anthropic"}}, "anthropic"),
    (Object(type="content_block_delta", delta=Object(type="input_json_delta", partial_json="{")), ""),
    (Object(type="text", text="anthropic", snapshot="anthropic"), ""),
    (Object(type="message_stop"), ""),
    (None, ""),
]


@pytest.mark.parametrize(("chunk", "text"), CHUNKS)
async def test_text_of_event(chunk: Any, text: str) -> None:
    assert text_of_event(chunk) == text


async def test_stream__passes_everything_through_and_saves_the_text(home: Place) -> None:
    async def model() -> AsyncIterator[Any]:
        for chunk, _ in CHUNKS:
            yield chunk

    async with home.open() as session:
        passed = [chunk async for chunk in session.stream(model(), message={"role": "assistant", "model": "m"})]
        assert passed == [chunk for chunk, _ in CHUNKS]
        content = "plainopenaiobjectsresponsesanthropic"
        assert session.state["messages"] == [{"role": "assistant", "model": "m", "content": content}]
        half = session.stream(model())
        assert await anext(half) == "plain"
        await half.aclose()
        assert session.state["messages"][-1] == {"role": "assistant", "content": "plain", "status": "stopped"}


async def test_stream__whose_reader_went_away_in_the_middle(home: Place) -> None:
    async def model() -> AsyncIterator[str]:
        yield "Half "
        yield "an answer"

    async def response() -> AsyncIterator[str]:
        async with home.open() as session:
            async for chunk in session.stream(model()):
                yield chunk

    answer = response()
    assert await anext(answer) == "Half "
    await answer.aclose()  # type: ignore[attr-defined]
    async with home.open(journal=False) as session:
        assert session.state["messages"] == [{"role": "assistant", "content": "Half ", "status": "stopped"}]


async def test_events__callbacks_and_iterators(home: Place) -> None:
    heard: list[str] = []
    found: list[str] = []
    async with home.open() as session:
        undo = session.on("*", lambda event: heard.append(event.name))
        session.on("saved", lambda event: 1 / 0)  # nobody else is kept from hearing

        async def listen() -> None:
            async for event in session.events():
                found.append(event.name)

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await anyio.sleep(0.01)
            session.state["step"] = 1
            await session.save_now()
            async with session.turn() as turn:
                await turn.write("x")
            undo()
            await session.close()
    heard, found = ([name for name in names if name != "restored"] for names in (heard, found))
    assert heard[0] == "saved"
    assert heard.count("turn") == 2
    assert found[: len(heard)] == heard

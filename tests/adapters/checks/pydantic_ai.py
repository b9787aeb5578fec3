"""The message history under agents of Pydantic AI with its model for tests, and raced."""

from __future__ import annotations

import uuid

from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, ModelResponse
from pydantic_ai.models.test import TestModel

from examples.adapters.database import Database
from examples.adapters.pydantic_ai_history import MessageHistory
from tests.adapters.checks.racing import CALLERS, at_once, run


async def check(database: Database) -> str:
    agent = Agent(TestModel())

    @agent.tool_plain
    def platform(city: str) -> str:
        return f"{city}: 3"

    history = MessageHistory(database, str(uuid.uuid4()))
    assert await history.load() == []
    first = await agent.run("Which platform?", message_history=await history.load())
    await history.append(first.new_messages(), run_id=first.run_id)
    assert await history.load() == first.all_messages()
    second = await agent.run("And now?", message_history=await history.load())
    count = await history.append(second.new_messages(), run_id=second.run_id)
    loaded = await history.load()
    assert loaded == second.all_messages()
    assert len(loaded) == count
    assert await history.load(last=2) == loaded[-2:]
    # a retry whose answer was lost
    assert await history.append(second.new_messages(), run_id=second.run_id) == count

    raced = MessageHistory(database, str(uuid.uuid4()))
    await at_once(lambda number: raced.append(first.new_messages(), run_id="one"))
    assert await raced.load() == first.new_messages()
    await at_once(lambda number: raced.append(second.new_messages(), run_id=f"run {number}"))
    loaded = await raced.load()
    length = len(second.new_messages())
    assert len(loaded) == len(first.new_messages()) + CALLERS * length
    for begin in range(len(first.new_messages()), len(loaded), length):
        assert loaded[begin : begin + length] == second.new_messages()
        assert isinstance(loaded[begin], ModelRequest)
        assert isinstance(loaded[begin + length - 1], ModelResponse)
    return f"{len(loaded)} messages of {CALLERS + 1} runs"


if __name__ == "__main__":
    run(check)

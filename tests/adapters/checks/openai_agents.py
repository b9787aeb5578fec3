"""The session in a run of the OpenAI Agents SDK with a model that answers at once, and raced."""

from __future__ import annotations

import uuid
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.memory import Session
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from examples.adapters.database import Database
from examples.adapters.openai_agents_session import AsYouWereSession
from tests.adapters.checks.racing import CALLERS, at_once, run


class Echo(Model):
    """Says how much it was told."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        text = ResponseOutputText(type="output_text", text=f"{len(input)} items", annotations=[])
        message = ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


async def check(database: Database) -> str:
    set_tracing_disabled(True)
    session = AsYouWereSession(str(uuid.uuid4()), database)
    assert isinstance(session, Session)
    assert await session.get_items() == []
    assert await session.pop_item() is None
    agent = Agent(name="echo", model=Echo())
    await Runner.run(agent, "one", session=session)
    again = AsYouWereSession(session.session_id, database)
    result = await Runner.run(agent, "two", session=again)
    assert result.final_output == "3 items", result.final_output
    items = await again.get_items()
    assert [item["role"] for item in items] == ["user", "assistant"] * 2
    assert await again.get_items(limit=1) == items[-1:]
    assert await again.pop_item() == items[-1]
    await again.clear_session()
    assert await session.get_items() == []

    name = str(uuid.uuid4())  # sixteen who make it, too
    sessions = [AsYouWereSession(name, database) for _ in range(CALLERS)]
    await at_once(
        lambda number: sessions[number].add_items([{"role": "user", "content": f"{number} {n}"} for n in (1, 2)])
    )
    contents = [item["content"] for item in await sessions[0].get_items()]
    assert len(contents) == 2 * CALLERS
    pairs = [(contents[n].split()[0], contents[n + 1].split()[0]) for n in range(0, len(contents), 2)]
    assert all(one == other for one, other in pairs), pairs  # what came together stands together
    taken = await at_once(lambda number: sessions[number].pop_item())
    assert {item["content"] for item in taken} == set(contents[-CALLERS:])
    taken = await at_once(lambda number: sessions[number].pop_item())
    assert len({item["content"] for item in taken}) == CALLERS
    assert await at_once(lambda number: sessions[number].pop_item()) == [None] * CALLERS
    return "a run, and 48 pops"


if __name__ == "__main__":
    run(check)

"""What a side can be asked to do, and the sides there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

Message = dict[str, Any]
"""`{"role": "user" or "assistant", "content": text}`, parsed."""

CLIENTS = 16

MODULES = {
    "asyouwere": "asyouwere_sql:AsYouWereSql",
    "asyouwere over HTTP": "asyouwere_http:AsYouWereHttp",
    "asyouwere's Python client": "asyouwere_client:AsYouWereClient",
    "bare insert": "floors:BareInsert",
    "JSONB document": "floors:JsonbDocument",
    "LangGraph": "langgraph_saver:Plain",
    "LangGraph, delta channel": "langgraph_saver:Delta",
    "LangGraph, delta channel of message objects": "langgraph_saver:DeltaOfMessages",
    "LangGraph, default durability": "langgraph_saver:PlainAsItComes",
    "LangGraph, delta channel, default durability": "langgraph_saver:DeltaAsItComes",
    "OpenAI Agents": "openai_agents:OpenAiAgents",
    "Google ADK": "google_adk:GoogleAdk",
    "in memory": "in_memory:InMemory",
}
"""Where each side's class is."""


@dataclass(frozen=True)
class Turn:
    """What a session gained: the user's message, the assistant's, and the step the app is at now."""

    user: Message
    assistant: Message
    step: int

    @property
    def messages(self) -> list[Message]:
        return [self.user, self.assistant]


class Side:
    """One store. A session is named by the bench; what the store calls it is the side's business.

    packages: whose versions the report states.
    """

    packages: Sequence[str] = ()

    async def open(self, dsn: str, **options: Any) -> None:
        """Connect, with a pool for 16 clients, and create tables if need be."""
        raise NotImplementedError

    async def fill(self, session: str, turns: list[Turn]) -> None:
        """Make a session that has these turns already. Not timed; may take short cuts that leave the same rows."""
        raise NotImplementedError

    async def save(self, session: str, turn: Turn) -> None:
        """Save one turn, as an app that runs on would: what it knows of the session is still in memory."""
        raise NotImplementedError

    async def restore(self, session: str) -> object:
        """The latest state, as objects an app works with; `contents` can read the messages out of it."""
        raise NotImplementedError

    async def restore_old(self, session: str, back: int) -> object | None:
        """The state so many turns ago. None: this store can't."""
        return None

    async def poll(self, session: str) -> bool:
        """Ask whether there is anything new, when there is not. False: this store can't without reading all."""
        return False

    def contents(self, restored: Any) -> list[str]:
        """The texts of all messages of what `restore` gave."""
        return [message["content"] for message in restored["messages"]]

    def took(self, elapsed_ms: float) -> float:
        """What of the time since the last call is the store's; default all of it."""
        return elapsed_ms

    async def close(self) -> None:
        """Close the connections."""


def make(name: str) -> Side:
    """The side of that name; imports its module, and with that its library."""
    module, _, class_name = MODULES[name].partition(":")
    side = getattr(import_module(f"{__package__}.{module}"), class_name)()
    assert isinstance(side, Side)
    return side

"""Choosing messages for a model's prompt."""

from __future__ import annotations

from typing import Any

__all__ = ["last_messages"]


def last_messages(messages: list[Any], last: int) -> list[Any]:
    """The last so many, with the instructions that stand at the beginning, and begun early enough that no result of
    a tool (OpenAI's role ``tool``, Anthropic's ``tool_result``) stands without its call."""
    instructions = 0
    while instructions < len(messages) and _role(messages[instructions]) in ("system", "developer"):
        instructions += 1
    begin = max(instructions, len(messages) - max(last, 0))
    while begin > instructions and begin < len(messages) and _is_tool_result(messages[begin]):
        begin -= 1
    return [*messages[:instructions], *messages[begin:]]


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _is_tool_result(message: Any) -> bool:
    if _role(message) == "tool":
        return True
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )

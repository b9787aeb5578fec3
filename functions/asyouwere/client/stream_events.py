"""What model APIs stream, as far as its text goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["text_of_event"]


def text_of_event(event: Any) -> str:
    """What an event of a stream adds to the answer's text; "" for those that add none.

    A text itself; a chunk of OpenAI's chat completions, an event of its responses, an event of Anthropic's messages,
    as objects or as dicts.
    """
    if isinstance(event, str):
        return event
    kind = _member(event, "type")
    if kind == "response.output_text.delta":
        return _text(_member(event, "delta"))
    if kind == "content_block_delta":
        return _text(_member(_member(event, "delta"), "text"))
    choices = _member(event, "choices")
    if choices:
        return _text(_member(_member(choices[0], "delta"), "content"))
    return ""


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

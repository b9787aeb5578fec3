"""One message, whatever wrote it: who says it, when, and what.

    message = read_message(parse('{"sender": "human", "text": "Hello"}'))
    message.role, message.blocks        # "user", (Text("Hello"),)

The rules are those of ``message_text`` and ``message_role`` in SQL, which previews and ``session_messages`` use;
spec/cases/messages.json holds for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from asyouwere.service.export.blocks import Block, Note, Text, ToolResult
from asyouwere.service.export.facts import human_size, moment
from asyouwere.service.export.fields import Fields, data, details, is_text
from asyouwere.service.export.shapes import (
    attachment,
    call,
    content,
    element,
    invocation,
    payload_size,
    result_of,
    text,
    thinking,
)

__all__ = ["Said", "read_message"]

#: Who speaks, by the words of those who have no "role".
_SPEAKERS: Final = {
    "human": "user", "user": "user", "HumanMessage": "user", "HumanMessageChunk": "user",
    "ai": "assistant", "assistant": "assistant", "model": "assistant", "AIMessage": "assistant",
    "AIMessageChunk": "assistant", "system": "system", "SystemMessage": "system", "developer": "developer",
    "tool": "tool", "ToolMessage": "tool", "function": "tool", "FunctionMessage": "tool",
}  # fmt: skip
_TIMES: Final = ("created_at", "createdAt", "create_time", "timestamp", "time", "date", "created", "ts")
_DEEPEST: Final = 4  # envelopes around a message
#: Fields that hold whole messages: of a completion, of Gemini's and OpenAI's answers.
_ANSWERS: Final = ("choices", "candidates", "output")


@dataclass(frozen=True, slots=True)
class Said:
    """role: as the message says it, else user, assistant, system, tool, or ""; time: "" if it has none."""

    role: str
    name: str
    time: str
    blocks: tuple[Block, ...]


def read_message(value: Any, depth: int = _DEEPEST) -> Said:
    """Everything a message says, in its order. Takes any value of readable_json.parse and never raises."""
    if is_text(value):
        return Said("", "", "", tuple(text(value)))
    if not isinstance(value, dict):
        return Said("", "", "", (data(value),))
    fields = Fields(value)
    inner, role = _envelope(fields) if depth else (None, "")
    if inner is not None:
        said = read_message(inner, depth - 1)
        role, name = (said.role or role, "") if said.role or role else _role(fields)
        return Said(
            role,
            said.name or name,
            said.time or _time(fields),
            (*said.blocks, *_named(name if said.name else ""), *details(fields, "Other fields")),
        )
    role, name = _role(fields)
    # An item that is no message but an element of one, as in OpenAI's responses.
    if not role and is_text(fields.get("type")) and fields.get("type") != "message":
        return Said(
            "tool" if _is_result(fields.get("type")) else "assistant", "", _time(fields), tuple(element(value))
        )
    fields.drop("type", "message")
    time = _time(fields)
    blocks = list(_blocks(fields, role, depth))
    if role not in ("tool", "function"):
        name = name or fields.name("name", limit=60)
    blocks += details(fields, "Other fields" if blocks else "")
    return Said(role, name, time, tuple(blocks))


def _is_result(kind: str) -> bool:
    return kind.endswith(("_output", "_result"))


def _envelope(fields: Fields) -> tuple[dict[str, Any] | None, str]:
    """What is around a message: LangChain's, a node of ChatGPT's export, an answer of Ollama."""
    kind = fields.get("type")
    inside = fields.get("data")
    if is_text(kind) and kind in _SPEAKERS and isinstance(inside, dict) and "content" in inside:
        fields.take("type")
        return fields.take("data"), _SPEAKERS[kind]
    inside = fields.get("kwargs")
    named = fields.get("id")
    if isinstance(inside, dict) and isinstance(named, list) and named and is_text(named[-1]):
        return fields.take("kwargs"), _SPEAKERS.get(named[-1], "")
    inside = fields.get("message")
    if isinstance(inside, dict) and not any(name in fields for name in ("content", "parts", "text", "role")):
        return fields.take("message"), ""
    return None, ""


def _role(fields: Fields) -> tuple[str, str]:
    """Who says it, and by which name."""
    said = fields.name("role", limit=40)
    if said:
        return said, ""
    for field in ("sender", "author"):
        value = fields.get(field)
        if isinstance(value, dict):
            inner = Fields(fields.take(field))
            said, name = inner.name("role", limit=40), inner.name("name", limit=60)
            if left := inner.rest():
                fields.put(field, left)
            return _SPEAKERS.get(said, said), name
        if said := fields.name(field, limit=40):
            return _SPEAKERS.get(said, said), ""
    kind = fields.get("type")
    if is_text(kind) and kind in _SPEAKERS and any(f in fields for f in ("content", "text", "parts", "tool_calls")):
        fields.take("type")
        return _SPEAKERS[kind], ""
    return "", ""


def _time(fields: Fields) -> str:
    for name in _TIMES:
        if time := moment(fields.get(name)):
            fields.take(name)
            return time
    return ""


def _blocks(fields: Fields, role: str, depth: int) -> Iterator[Block]:
    for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details"):
        yield from thinking(fields.take(name))
    blocks = list(_sources(fields))
    if role in ("tool", "function") and all(isinstance(block, (Text, Note)) for block in blocks):
        yield from _answer(fields, blocks)
    else:
        yield from blocks
    for name in ("tool_calls", "toolCalls", "toolInvocations", "invalid_tool_calls"):
        yield from _calls(fields.take(name, of=list))
    yield from _calls(_listed(fields.take("function_call", of=dict)))
    for name, label in (
        ("experimental_attachments", "Attachment"),
        ("attachments", "Attachment"),
        ("files", "File"),
        ("images", "Image"),
    ):
        yield from _attachments(fields.take(name, of=list), label)
    for name in _ANSWERS if depth else ():
        for answer in fields.take(name, of=list) or ():
            said = read_message(answer, depth - 1)
            yield from _named(said.role if said.role not in ("", "assistant", "tool", role) else "", said.name)
            yield from said.blocks


def _named(*names: str) -> Iterator[Block]:
    if shown := ", ".join(filter(None, names)):
        yield Note(shown)


def _sources(fields: Fields) -> Iterator[Block]:
    """Parts, content, text, refusal. Some repeat in one what they say in another: that is shown once."""
    said: list[str] = []
    for name in ("parts", "content", "text", "refusal"):
        found = list(content(fields.take(name)))
        texts = [_squeezed(block.text) for block in found if isinstance(block, Text) and not block.thinking]
        if found and len(texts) == len(found) and "".join(texts) in said:
            continue
        said += [*texts, "".join(texts)]
        yield from found


def _squeezed(words: str) -> str:
    return "".join(words.split())


def _answer(fields: Fields, blocks: list[Block]) -> Iterator[Block]:
    """What a tool says is a result, and so JSON if it looks like it."""
    words = "\n".join(block.text for block in blocks if isinstance(block, Text))
    notes = tuple(block.text for block in blocks if isinstance(block, Note))
    value = words if words else fields.take("output", "result")
    for block in result_of(value, fields):
        yield replace(block, notes=(*notes, *block.notes)) if notes and isinstance(block, ToolResult) else block


def _calls(calls: list[Any] | None) -> Iterator[Block]:
    for item in calls or ():
        if not isinstance(item, dict):
            yield data(item)
            continue
        if "type" in item and "function" not in item:
            yield from element(item)
            continue
        fields = Fields(item)
        yield from invocation(fields) if "toolCallId" in fields else call(fields)
        yield from details(fields, "Tool call")


def _listed(value: dict[str, Any] | None) -> list[Any]:
    return [] if value is None else [value]


def _attachments(items: list[Any] | None, label: str) -> Iterator[Block]:
    for item in items or ():
        if isinstance(item, dict):
            fields = Fields(item)
            yield from attachment(fields, label)
            yield from details(fields, label)
        elif is_text(item) and (size := payload_size(item, bare=True)[0]):
            yield Note(f"{label}: about {human_size(size)}")
        else:
            yield data(item, label)

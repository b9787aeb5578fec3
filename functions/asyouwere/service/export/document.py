"""The document of export_session, read as a conversation: facts, messages, and the rest of the state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from asyouwere.service.export.blocks import Block, ToolCall, ToolResult
from asyouwere.service.export.characters import one_line, visible
from asyouwere.service.export.facts import human_size, moment
from asyouwere.service.export.messages import read_message
from asyouwere.service.export.readable_json import Number, parse, pretty
from asyouwere.state.addresses import pointer_of

__all__ = ["Conversation", "Message", "read"]

_ROLES: Final = {
    "user": "User", "human": "User", "assistant": "Assistant", "ai": "Assistant", "model": "Assistant",
    "system": "System", "developer": "Developer", "tool": "Tool", "function": "Tool",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """One message. number: its position, from 1; role: a word to show; time: "" if not known."""

    number: int
    role: str
    name: str
    time: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session as people read it. facts: names and values; state: all but messages as indented JSON."""

    title: str
    facts: tuple[tuple[str, str], ...]
    messages: tuple[Message, ...]
    state: str


def read(document_text: str) -> Conversation:
    """The latest content of a session from its export document (format asyouwere-session, version 1).

    Any state is read, also one whose messages are not a list or not messages. Raises ValueError if the text
    is not such a document.
    """
    document = parse(document_text)
    if not isinstance(document, dict) or document.get("format") != "asyouwere-session":
        raise ValueError("not an export of a asyouwere session")
    state, times = _state(document.get("parts"))
    messages = state.pop("messages") if isinstance(state.get("messages"), list) else []
    session = document.get("session")
    session = session if isinstance(session, dict) else {}
    return Conversation(
        title=_title(session),
        facts=tuple(_facts(session, document.get("snapshots"), len(messages))),
        messages=tuple(_messages(messages, times)),
        state=visible(pretty(state)) if state else "",
    )


def _state(rows: Any) -> tuple[dict[str, Any], list[str]]:
    """The state that the living parts make up, and when each item of /messages was written."""
    alive = [row for row in rows or () if row[3] is None]
    keys_of = {path: _keys(path) for path in {row[0] for row in alive}}
    parts = [(keys_of[path], int(item), created_at, body) for path, item, _, _, created_at, body in alive]
    # Containers before what is in them, items in their order. The sort is stable: members keep theirs.
    parts.sort(key=lambda part: (len(part[0]) + (part[1] >= 0), part[1]))
    state: dict[str, Any] = {}
    times: list[str] = []
    for keys, item, created_at, body in parts:
        container: Any = state
        for key in keys if item >= 0 else keys[:-1]:
            container = container.get(key) if isinstance(container, dict) else None
        if item >= 0:
            if isinstance(container, list):
                container.append(body)
                if keys == ["messages"]:
                    times.append(moment(created_at))
        elif isinstance(container, dict) and keys:
            container[keys[-1]] = body
    return state, times


def _keys(path: str) -> list[str]:
    """The keys of a stored path: /memory/a~1b/ is ["memory", "a/b"]."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer_of(path).split("/")[1:]]


def _title(session: dict[str, Any]) -> str:
    for name in ("name", "key"):
        value = session.get(name)
        if isinstance(value, str) and (title := one_line(value)):
            return title
    return "Untitled session"


def _facts(session: dict[str, Any], snapshots: Any, messages: int) -> Iterator[tuple[str, str]]:
    kept = [row for row in snapshots if isinstance(row, dict)] if isinstance(snapshots, list) else []
    kept.sort(key=lambda row: _integer(row.get("number")))
    for label, name in (("Model", "model"), ("Kind", "kind"), ("Status", "status")):
        value = session.get(name)
        if isinstance(value, str) and (shown := one_line(value)):
            yield label, shown
    if created := moment(session.get("created_at")):
        yield "Created", created
    saved = moment(kept[-1].get("created_at")) if kept else ""
    if saved := saved or moment(session.get("last_saved_at")):
        yield "Last saved", saved
    yield "Messages", f"{messages:,}"
    if size := _integer(session.get("size_bytes")) or (_integer(kept[-1].get("size_bytes")) if kept else 0):
        yield "Size", human_size(size)
    if kept:
        first, last = _integer(kept[0].get("number")), _integer(kept[-1].get("number"))
        span = f"number {last:,}" if len(kept) == 1 else f"numbers {first:,} to {last:,}"
        yield "Snapshots", f"{len(kept):,} kept, {span}"
    labelled = [(row, row["label"]) for row in kept if isinstance(row.get("label"), str) and row["label"]]
    if labelled:
        names = [f"{one_line(label, 60)} ({_integer(row.get('number')):,})" for row, label in labelled[-12:]]
        more = f"{len(labelled) - 12:,} more, " if len(labelled) > 12 else ""
        yield "Labels", more + ", ".join(names)


def _integer(value: Any) -> int:
    return int(value) if isinstance(value, Number) and value.isdecimal() and len(value) < 19 else 0


def _messages(items: list[Any], times: list[str]) -> Iterator[Message]:
    called: dict[str, str] = {}  # results name only the call's id; readers want the tool's name
    for position, item in enumerate(items):
        said = read_message(item)
        blocks = []
        for block in said.blocks:
            if isinstance(block, ToolCall) and block.id:
                called[block.id] = block.name
            elif isinstance(block, ToolResult) and not block.name:
                block = replace(block, name=called.get(block.id, ""))
            blocks.append(block)
        role = _ROLES.get(said.role.lower()) or said.role or "Message"
        if role == "User" and blocks and all(isinstance(block, ToolResult) for block in blocks):
            role = "Tool"  # Anthropic's API carries a tool's answers in the user's name
        yield Message(position + 1, role, said.name, said.time or times[position], tuple(blocks))

"""An export read as a conversation, page by page: facts, messages, and the rest of the state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from asyouwere.service.export.blocks import Block, ToolCall, ToolResult
from asyouwere.service.export.characters import one_line, visible
from asyouwere.service.export.facts import human_size, moment
from asyouwere.service.export.messages import read_message
from asyouwere.service.export.readable_json import Number, parse, pretty
from asyouwere.state.addresses import pointer_of

__all__ = ["Conversation", "Message", "Part", "Reader", "read"]

_ROLES: Final = {
    "user": "User", "human": "User", "assistant": "Assistant", "ai": "Assistant", "model": "Assistant",
    "system": "System", "developer": "Developer", "tool": "Tool", "function": "Tool",
}  # fmt: skip
_LINE: Final = re.compile(r'\["((?:[^"\\]|\\.)*+)",(-?\d+),\d+,(null|\d+),"([^"]*)",')
#: A body of more values than this is shown as it was sent: as objects it would take fifty times its size.
_MOST_VALUES: Final = 200_000
#: The same for all of a state but the messages.
_MOST_PARTS: Final = 50_000


class Part(NamedTuple):
    """One part that is alive. path: as stored; item: -1 or its place in the list; body: JSON text."""

    path: str
    item: int
    created_at: str
    body: str


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


class Reader:
    """Reads a session from the pages of its export, keeping only what is no message.

        reader = Reader(head)
        for page in pages:
            for message in reader.messages(page): ...
        reader.state()

    head: the document's beginning up to its parts. Raises ValueError if it is none of ours. Of the parts the
    living ones are wanted, a list before its items, items in their order (as export_session_page has them).
    """

    def __init__(self, head: str) -> None:
        try:
            document = parse(head + "]}")
        except ValueError:
            document = None
        if not isinstance(document, dict) or document.get("format") != "asyouwere-session":
            raise ValueError("not an export of a asyouwere session")
        session = document.get("session")
        session = session if isinstance(session, dict) else {}
        self.title = _title(session)
        self.facts = tuple(_facts(session, document.get("snapshots")))
        self._rest: list[Part] = []
        self._has_list = False
        self._count = 0
        self._called: dict[str, str] = {}  # results name only the call's id; readers want the tool's name

    def messages(self, lines: Iterable[str]) -> Iterator[Message]:
        """The messages among these parts, in the form that an export has them."""
        for part in _parts(lines):
            if part.path == "/messages/" and part.item >= 0:
                self._count += 1
                yield self._message(part)
            elif part.path == "/messages/" and part.body == "[]":
                self._has_list = True
            else:
                self._rest.append(part)

    def state(self) -> str:
        """All but the messages as indented JSON, "" if there is nothing; a line a part if that is too much."""
        if len(self._rest) > _MOST_PARTS or sum(_values(part.body) for part in self._rest) > _MOST_VALUES:
            return "\n".join(f'"{_pointer(part)}": {visible(part.body)}' for part in self._rest)
        state = _assembled(self._rest)
        return visible(pretty(state)) if state else ""

    def _message(self, part: Part) -> Message:
        said = read_message(_body(part.body))
        blocks = []
        for block in said.blocks:
            if isinstance(block, ToolCall) and block.id:
                self._called[block.id] = block.name
            elif isinstance(block, ToolResult) and not block.name:
                block = replace(block, name=self._called.get(block.id, ""))
            blocks.append(block)
        role = _ROLES.get(said.role.lower()) or said.role or "Message"
        if role == "User" and blocks and all(isinstance(block, ToolResult) for block in blocks):
            role = "Tool"  # Anthropic's API carries a tool's answers in the user's name
        return Message(self._count, role, said.name, said.time or moment(part.created_at), tuple(blocks))


def read(head: str, lines: Iterable[str]) -> Conversation:
    """The whole conversation at once."""
    reader = Reader(head)
    messages = tuple(reader.messages(lines))
    return Conversation(reader.title, reader.facts, messages, reader.state())


def _parts(lines: Iterable[str]) -> Iterator[Part]:
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            raise ValueError("not a part of an export")
        path, item, until, created_at = found.groups()
        if until == "null":
            yield Part(str(parse(f'"{path}"')), int(item), created_at, line[found.end() : -1])


def _body(text: str) -> Any:
    """A body as values, or as the text it is if it would be too many or is none that can be read."""
    if _values(text) <= _MOST_VALUES:
        try:
            return parse(text)
        except ValueError:
            pass
    return Number(text)


def _values(text: str) -> int:
    """How many values a JSON text has, or more."""
    return text.count(",") + text.count("[") + text.count("{") if len(text) > _MOST_VALUES else len(text) // 4


def _pointer(part: Part) -> str:
    return pointer_of(part.path) + (f"/{part.item}" if part.item >= 0 else "")


def _assembled(parts: list[Part]) -> dict[str, Any]:
    """The state that parts make up: containers before what is in them, items in their order."""
    state: dict[str, Any] = {}
    for part in sorted(parts, key=lambda part: (part.path.count("/") + (part.item >= 0), part.item)):
        keys = [key.replace("~1", "/").replace("~0", "~") for key in pointer_of(part.path).split("/")[1:]]
        container: Any = state
        for key in keys if part.item >= 0 else keys[:-1]:
            container = container.get(key) if isinstance(container, dict) else None
        if part.item >= 0:
            if isinstance(container, list):
                container.append(_body(part.body))
        elif isinstance(container, dict) and keys:
            container[keys[-1]] = _body(part.body)
    return state


def _title(session: dict[str, Any]) -> str:
    for name in ("name", "key"):
        value = session.get(name)
        if isinstance(value, str) and (title := one_line(value)):
            return title
    return "Untitled session"


def _facts(session: dict[str, Any], snapshots: Any) -> Iterator[tuple[str, str]]:
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
    yield "Messages", f"{_integer(session.get('message_count')):,}"
    if size := _integer(session.get("size_bytes")) or (_integer(kept[-1].get("size_bytes")) if kept else 0):
        yield "Size", human_size(size)
    if kept:
        first, last = _integer(kept[0].get("number")), _integer(kept[-1].get("number"))
        span = f"number {last:,}" if len(kept) == 1 else f"numbers {first:,} to {last:,}"
        # of very many the head has but those named here, and says how many there are
        yield "Snapshots", f"{_integer(session.get('kept_snapshots')) or len(kept):,} kept, {span}"
    labelled = [(row, row["label"]) for row in kept if isinstance(row.get("label"), str) and row["label"]]
    if labelled:
        names = [f"{one_line(label, 60)} ({_integer(row.get('number')):,})" for row, label in labelled[-12:]]
        count = _integer(session.get("labelled_snapshots")) or len(labelled)
        more = f"{count - len(names):,} more, " if count > len(names) else ""
        yield "Labels", more + ", ".join(names)


def _integer(value: Any) -> int:
    return int(value) if isinstance(value, Number) and value.isdecimal() and len(value) < 19 else 0

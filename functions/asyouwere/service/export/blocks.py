"""What a message is made of, for the renderers: text, data, notes, tool calls and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Block", "Data", "Note", "Text", "ToolCall", "ToolResult"]


@dataclass(frozen=True, slots=True)
class Text:
    """Words of the conversation, usually Markdown. thinking: the model's reasoning, not its answer."""

    text: str
    thinking: bool = False
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class Data:
    """What is shown as it is. label: what it is, for example the type it declares; language: of its text,
    by default indented JSON."""

    text: str
    label: str = ""
    language: str = "json"
    kind: Literal["data"] = "data"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is named but not shown, such as an image: "Image: cat.png, image/png, 34 KB"."""

    text: str
    kind: Literal["note"] = "note"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model asks for a tool. arguments: indented JSON, or the text that was sent if it is not JSON."""

    name: str
    arguments: str
    id: str = ""
    kind: Literal["tool_call"] = "tool_call"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool's answer. text: as printed; json: whether it is indented JSON; notes: attachments named."""

    text: str
    name: str = ""
    id: str = ""
    json: bool = False
    failed: bool = False
    notes: tuple[str, ...] = ()
    kind: Literal["tool_result"] = "tool_result"


Block = Text | Data | Note | ToolCall | ToolResult

"""What one message says, whatever its shape: text, tool calls, results, attachments.

Read are the message shapes of OpenAI (chat and responses), Anthropic, the Vercel AI SDK (messages with
``parts`` and model messages) and Gemini, by their fields rather than by a declared format. What is not
recognised is kept as JSON, so nothing that a message says is silently lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from asyouwere.service.export.characters import one_line, visible
from asyouwere.service.export.facts import human_size
from asyouwere.service.export.readable_json import Number, parse, pretty

__all__ = ["Block", "Data", "Note", "Text", "ToolCall", "ToolResult", "blocks_of"]


@dataclass(frozen=True, slots=True)
class Text:
    """Words of the conversation, usually Markdown. thinking: the model's reasoning, not its answer."""

    text: str
    thinking: bool = False
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class Data:
    """JSON that has no other form, indented. label: what it is, for example the type it declares."""

    text: str
    label: str = ""
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

_TEXT: Final = {"text", "input_text", "output_text", "refusal", "markdown"}
_THINKING: Final = {"thinking", "reasoning", "reasoning_text", "summary_text"}
_CALLS: Final = {
    "tool_use", "server_tool_use", "mcp_tool_use", "tool-call", "tool_call", "function_call", "function",
}  # fmt: skip
_RESULTS: Final = {"tool_result", "tool-result", "function_call_output", "mcp_tool_result"}
_ATTACHMENTS: Final = {
    "image": "Image", "image_url": "Image", "input_image": "Image", "file": "File", "input_file": "File",
    "document": "Document", "input_audio": "Audio", "audio": "Audio", "video": "Video",
    "source-url": "Source", "source-document": "Source", "source": "Source",
}  # fmt: skip
_SILENT: Final = {"step-start", "step-finish", "start-step", "finish-step"}  # marks without content
_CONTENT_FIELDS: Final = ("content", "text", "reasoning_content", "thinking", "refusal", "parts", "data")


def blocks_of(message: Any) -> tuple[Block, ...]:
    """Everything a message says, in its order. Takes any value of readable_json.parse and never raises."""
    if isinstance(message, str) and not isinstance(message, Number):
        return _text(message)
    if not isinstance(message, dict):
        return (_data(message),)
    found: list[Block] = []
    if message.get("role") in ("tool", "function"):
        if not _has_typed_blocks(message.get("content")):
            return (_result(message, message.get("content")),)
    elif _kind(message) in _CALLS | _RESULTS:
        return _block(message)
    found += _text(message.get("reasoning_content") or message.get("reasoning"), thinking=True)
    parts = message.get("parts")
    if isinstance(parts, list) and parts:
        # The AI SDK repeats the text of its parts in `content`.
        for part in parts:
            found += _block(part)
    else:
        found += _content(message.get("content"))
        if message.get("content") is None:
            found += _text(message.get("text"))
        found += _text(message.get("refusal"))
    for call in _listed(message, "tool_calls", "toolCalls", "toolInvocations"):
        found += _block(call if isinstance(call, dict) and "type" in call else _as_call(call))
    if isinstance(message.get("function_call"), dict):
        found.append(_call(message["function_call"]))
    for extra in _listed(message, "experimental_attachments", "attachments"):
        found.append(_attachment("Attachment", extra) if isinstance(extra, dict) else _data(extra))
    if found or any(message.get(name) for name in _CONTENT_FIELDS):
        return tuple(found)
    return () if set(message) <= {"role", "content", "id", "name"} else (_data(message),)


def _listed(message: dict[str, Any], *names: str) -> list[Any]:
    for name in names:
        value = message.get(name)
        if isinstance(value, list) and value:
            return value
    return []


def _has_typed_blocks(content: Any) -> bool:
    return isinstance(content, list) and any(
        isinstance(item, dict) and _kind(item) in _RESULTS | _CALLS for item in content
    )


def _kind(item: dict[str, Any]) -> str:
    kind = item.get("type")
    return kind if isinstance(kind, str) else ""


def _content(content: Any) -> tuple[Block, ...]:
    if content is None:
        return ()
    if isinstance(content, list):
        return tuple(block for item in content for block in _block(item))
    return _block(content)


def _block(item: Any) -> tuple[Block, ...]:
    """One element of a content list."""
    if isinstance(item, str) and not isinstance(item, Number):
        return _text(item)
    if not isinstance(item, dict):
        return (_data(item),)
    kind = _kind(item)
    if kind in _SILENT:
        return ()
    if kind in _TEXT or (not kind and isinstance(item.get("text"), str)):
        thinking = item.get("thought") in (True, "true")
        return _text(item.get("text", item.get("refusal", item.get("content"))), thinking=thinking)
    if kind in _THINKING:
        return _thinking(item, kind)
    if kind == "redacted_thinking":
        return (Note("Reasoning: redacted by the provider"),)
    if "toolInvocation" in item and isinstance(item["toolInvocation"], dict):
        return _invocation(item["toolInvocation"])
    if kind in _CALLS:
        return (_call(item),)
    if kind in _RESULTS:
        fields = [name for name in ("content", "output", "result") if name in item]
        return (_result(item, item[fields[0]] if fields else None),)
    if "toolCallId" in item and (kind == "dynamic-tool" or kind.startswith("tool-") or "state" in item):
        return _invocation(item, kind.removeprefix("tool-") if kind.startswith("tool-") else "")
    if kind in _ATTACHMENTS:
        return (_attachment(_ATTACHMENTS[kind], item),)
    return (_data(item, kind) if kind else _untyped(item),)


def _untyped(item: dict[str, Any]) -> Block:
    """Gemini's parts, which say what they are by the name of their only field."""
    for name, inner in item.items():
        if not isinstance(inner, dict):
            continue
        if name in ("functionCall", "function_call"):
            return _call(inner)
        if name in ("functionResponse", "function_response"):
            return _result(inner, inner.get("response"))
        if name in ("inlineData", "inline_data", "fileData", "file_data"):
            return _attachment("File", inner)
    return _data(item)


def _text(value: Any, *, thinking: bool = False) -> tuple[Block, ...]:
    if isinstance(value, dict):  # older assistants' threads: {"value": …, "annotations": […]}
        value = value.get("value", value)
    if value is None or value == "":
        return ()
    if isinstance(value, str) and not isinstance(value, Number):
        return (Text(visible(value), thinking),)
    return (_data(value),)


def _thinking(item: dict[str, Any], kind: str) -> tuple[Block, ...]:
    for name in ("thinking", "text", "reasoning", "content", "summary"):
        value = item.get(name)
        if isinstance(value, str) and value:
            return _text(value, thinking=True)
        if isinstance(value, list) and value:
            texts = [part.get("text") for part in value if isinstance(part, dict)]
            return tuple(block for text in texts for block in _text(text, thinking=True))
    return ()


def _as_call(call: Any) -> Any:
    return {**call, "type": "function"} if isinstance(call, dict) and "toolCallId" not in call else call


def _call(item: dict[str, Any]) -> ToolCall:
    function = item.get("function")
    source = {**item, **function} if isinstance(function, dict) else item
    for name in ("arguments", "input", "args"):
        if source.get(name) is not None:
            arguments, _ = _printed(source[name])
            break
    else:
        arguments = "{}"
    return ToolCall(_name(source, "name", "toolName", "tool_name") or "tool", arguments, _id(source))


def _result(item: dict[str, Any], content: Any) -> ToolResult:
    name, call_id = _name(item, "name", "toolName", "tool_name"), _id(item)
    failed = item.get("is_error") is True or item.get("isError") is True
    if isinstance(content, dict) and set(content) == {"type", "value"}:
        # AI SDK: {"type": "error-text", "value": …}
        failed = failed or str(content["type"]).startswith("error")
        content = content["value"]
    if (
        content
        and isinstance(content, list)
        and all(isinstance(item, dict) and "type" in item for item in content)
    ):
        inner = [block for item in content for block in _block(item)]
        texts = [block.text for block in inner if isinstance(block, (Text, Data))]
        notes = tuple(block.text for block in inner if isinstance(block, Note))
        if len(texts) + len(notes) == len(inner):
            text, is_json = _printed("\n".join(texts))
            return ToolResult(text, name, call_id, is_json, failed, notes)
    text, is_json = ("", False) if content is None else _printed(content)
    return ToolResult(text, name, call_id, is_json, failed)


def _invocation(item: dict[str, Any], name: str = "") -> tuple[Block, ...]:
    """A call and, once it has run, its result: the AI SDK keeps them together."""
    call_id = _id(item)
    name = _name(item, "toolName") or one_line(name) or "tool"
    blocks: list[Block] = []
    given = item.get("input", item.get("args", item.get("rawInput")))
    blocks.append(ToolCall(name, "{}" if given is None else _printed(given)[0], call_id))
    if item.get("errorText"):
        blocks.append(ToolResult(_printed(item["errorText"])[0], name, call_id, failed=True))
    else:
        output = item.get("output", item.get("result"))
        if output is not None:
            text, is_json = _printed(output)
            blocks.append(ToolResult(text, name, call_id, is_json))
    return tuple(blocks)


def _printed(value: Any) -> tuple[str, bool]:
    """A value as text to read, and whether that is JSON; a string may hold some, as tool arguments do."""
    if isinstance(value, str) and not isinstance(value, Number):
        if value.lstrip()[:1] in ("{", "["):
            try:
                return visible(pretty(parse(value))), True
            except ValueError:
                pass
        return visible(value), False
    return visible(pretty(value)), True


def _data(value: Any, label: str = "") -> Data:
    return Data(visible(pretty(value)), one_line(label, 60))


def _name(item: dict[str, Any], *names: str) -> str:
    for name in names:
        value = item.get(name)
        if isinstance(value, str) and value:
            return one_line(value, 80)
    return ""


def _id(item: dict[str, Any]) -> str:
    return _name(item, "tool_call_id", "tool_use_id", "toolCallId", "call_id", "id")


def _attachment(label: str, item: dict[str, Any]) -> Note:
    """An attachment's name, type and size. Its bytes are never decoded and its address is never fetched."""
    fields = dict(item)
    for name in ("source", "file", "input_audio"):
        if isinstance(item.get(name), dict):
            fields |= item[name]
    words: list[str] = []
    for name in ("filename", "name", "title", "file_name"):
        if isinstance(fields.get(name), str) and fields[name]:
            words.append(one_line(fields[name], 80))
            break
    media_type = _name(fields, "media_type", "mediaType", "mimeType", "mime_type", "contentType", "format")
    address, size = "", 0
    for name in ("image_url", "url", "image", "data", "file_data", "file_uri", "fileUri", "file_id"):
        value = fields.get(name)
        if isinstance(value, dict):
            value = value.get("url")
        if not isinstance(value, str) or not value:
            continue
        if value.startswith("data:"):
            head, _, payload = value.partition(",") if "," in value[:200] else (value[:60], "", "")
            media_type = media_type or one_line(head[5:].split(";")[0], 60)
            size = len(payload) * 3 // 4
        elif name in ("data", "image", "file_data") and "://" not in value[:20]:
            size = len(value) * 3 // 4
        else:
            address = one_line(value, 200)
        break
    words += [word for word in (media_type, _size(size), address) if word and word not in words]
    return Note(f"{label}: {', '.join(words)}" if words else label)


def _size(size_bytes: int) -> str:
    return f"about {human_size(size_bytes)}" if size_bytes else ""

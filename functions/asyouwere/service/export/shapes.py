"""One element of a message's content, by its fields rather than by a declared format.

Read are the elements of OpenAI (chat and responses), Anthropic, Gemini, the Vercel AI SDK, LangChain, Ollama
and of the exports of ChatGPT and Claude. What no rule has read of an element follows it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from asyouwere.service.export.blocks import Block, Data, Note, Text, ToolCall, ToolResult
from asyouwere.service.export.characters import one_line, visible
from asyouwere.service.export.facts import human_size
from asyouwere.service.export.fields import Fields, data, details, is_text, opaque, printed
from asyouwere.service.export.readable_json import Number

__all__ = [
    "attachment",
    "call",
    "content",
    "element",
    "invocation",
    "payload_size",
    "result",
    "result_of",
    "text",
    "thinking",
]

Rule = Callable[[Fields, str], Iterable[Block]]

_ID: Final = ("tool_call_id", "tool_use_id", "toolCallId", "call_id", "id")
_NAMES: Final = ("name", "toolName", "tool_name")
_GIVEN: Final = ("arguments", "input", "args", "rawInput", "action", "queries", "code")
_ANSWERED: Final = ("content", "output", "result", "outputs", "results", "text", "value")
#: A call and its answer are one element: how far the AI SDK and OpenAI's responses say they are.
_STATES: Final = (
    "call", "partial-call", "result", "input-streaming", "input-available", "output-available", "output-error",
    "completed", "in_progress",
)  # fmt: skip
#: What the AI SDK wraps an answer in: {"type": "error-text", "value": …}.
_OUTPUTS: Final = ("text", "json", "content", "error-text", "error-json")
_ADDRESSES: Final = (
    "image_url", "url", "image", "data", "file_data", "uri", "file_uri", "fileUri", "file_id", "asset_pointer",
)  # fmt: skip
_MEDIA_TYPES: Final = (
    "media_type", "mediaType", "mimeType", "mime_type", "contentType", "format", "file_type",
)  # fmt: skip
_SIZES: Final = ("size_bytes", "file_size", "fileSize", "size")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\s]{64,}={0,2}\s*")
_LONGEST_ADDRESS: Final = 200


def content(value: Any) -> Iterator[Block]:
    """The elements of a list, or the one that is none."""
    if isinstance(value, list):
        for item in value:
            yield from element(item)
    elif value is not None:
        yield from element(value)


def element(item: Any) -> Iterator[Block]:
    """One element of a content list; never raises."""
    if is_text(item):
        yield from text(item)
    elif isinstance(item, dict):
        yield from _object(item)
    else:
        yield data(item)


def text(value: Any, *, reasoning: bool = False) -> Iterator[Block]:
    """Words; what is there in their place, if it is no text, as it is."""
    if is_text(value):
        if value:
            yield Text(visible(value), reasoning)
    elif isinstance(value, dict) and is_text(value.get("value")):  # OpenAI's threads, with annotations
        fields = Fields(value)
        yield from text(fields.take("value"), reasoning=reasoning)
        yield from details(fields, "Annotations")
    elif isinstance(value, list):
        yield from content(value)
    elif value is not None:
        yield data(value)


def _object(item: dict[str, Any]) -> Iterator[Block]:
    fields = Fields(item)
    tag = "type" if is_text(fields.get("type")) else "content_type"
    kind = fields.get(tag) if is_text(fields.get(tag)) else ""
    rule = _RULES.get(kind) or (_by_ending(kind) if one_line(kind, 80) == kind else None)
    if rule is not None:
        fields.take(tag)
    else:
        rule = _by_fields(fields)
    if rule is None:
        yield data(item, kind)
        return
    yield from rule(fields, kind)
    yield from details(fields, kind or "Other fields")


def _by_ending(kind: str) -> Rule | None:
    """Names that are made by a pattern: web_search_call, bash_code_execution_tool_result, tool-weather."""
    if kind.endswith("_tool_result") or kind.endswith("_call_output"):
        return _result
    if kind.endswith("_call") or kind.endswith("_tool_use"):
        return _called
    if kind.startswith("reasoning."):
        return _thinking
    return _invoked if kind.startswith("tool-") else None


def _by_fields(fields: Fields) -> Rule | None:
    """Elements that say what they are by the name of a field, as Gemini's do."""
    if isinstance(fields.get("toolInvocation"), dict):
        return _inside_invocation
    if "toolCallId" in fields and "state" in fields:
        return _invoked
    for name, rule in _BY_FIELD.items():
        if name in fields and (rule is _text or isinstance(fields.get(name), dict)):
            return rule
    return None


def _text(fields: Fields, kind: str) -> Iterator[Block]:
    reasoning = fields.get("thought") in (True, "true")
    fields.drop("thought", True, "true")
    for name in ("text", "refusal", "markdown", "parts", "content"):
        yield from text(fields.take(name), reasoning=reasoning)


def thinking(value: Any) -> Iterator[Block]:
    """Reasoning as a text, or in a list of texts or of objects that hold them."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            fields = Fields(item)
            kind = fields.get("type")
            yield from _thinking(fields, kind if is_text(kind) else "")
            fields.drop("type", "text", "redacted", *_RULES)
            yield from details(fields, "Reasoning")
        else:
            yield from text(item, reasoning=True)


def _thinking(fields: Fields, kind: str) -> Iterator[Block]:
    said: set[str] = set()
    for name in ("thinking", "text", "reasoning", "summary", "content", "details", "thoughts"):
        value = fields.take(name)
        if not (is_text(value) and value in said):  # the AI SDK of old has it twice
            for block in thinking(value):
                said |= {block.text} if isinstance(block, Text) else set()
                yield block
    if kind in ("redacted_thinking", "reasoning.encrypted", "redacted"):
        yield Note("Reasoning: redacted by the provider")
        encrypted: tuple[str, ...] = ("encrypted_content", "data")
    else:
        encrypted = ("encrypted_content",)
    while payload := fields.take(*encrypted, of=str):
        yield opaque("Reasoning", payload)


def _silent(fields: Fields, kind: str) -> Iterator[Block]:
    yield from ()


def _called(fields: Fields, kind: str) -> Iterator[Block]:
    yield from call(fields, kind.removesuffix("_call"))
    if any(name in fields for name in _ANSWERED[:-2]) or "error" in fields:
        yield from result(fields)


def call(fields: Fields, kind: str = "") -> Iterator[Block]:
    """A call of a tool, also one whose name and arguments are in a "function"."""
    inner = Fields(fields.take("function", of=dict) or {})
    for name in ("type", "call_type"):
        fields.drop(name, "function", "tool_call", "invalid_tool_call", "tool_use")
    fields.drop("status", *_STATES)
    name = inner.name(*_NAMES) or fields.name(*_NAMES)
    given = next((value for f in (inner, fields) if (value := f.take(*_GIVEN)) is not None), None)
    if kind in ("function", "function_call", "tool_use", "tool-call", "tool_call"):
        kind = ""
    if name and kind:
        fields.put("type", kind)
    yield ToolCall(
        name or one_line(kind, 80) or "tool", printed("{}" if given is None else given)[0], fields.name(*_ID)
    )
    yield from details(inner, "Function")


def _result(fields: Fields, kind: str) -> Iterator[Block]:
    yield from result(fields)


def result(fields: Fields) -> Iterator[Block]:
    """The answer of a tool, with what it says of itself in ``fields``."""
    yield from result_of(fields.take(*_ANSWERED), fields)


def result_of(value: Any, fields: Fields) -> Iterator[Block]:
    """The answer ``value``; name, id and failure are in ``fields``."""
    name, call_id = fields.name(*_NAMES), fields.name(*_ID)
    failed = fields.get("status") == "error"
    for sign in ("is_error", "isError"):
        failed = failed or fields.get(sign) is True
        fields.drop(sign, True, False)
    fields.drop("status", "error", "success", *_STATES)
    if value is None and (error := fields.take("error", "errorText", "error_text")) is not None:
        value, failed = error, True
    if type(value) is dict and set(value) == {"type", "value"} and value["type"] in _OUTPUTS:
        failed = failed or value["type"].startswith("error")
        value = value["value"]
    if value and isinstance(value, list) and all(isinstance(item, dict) and "type" in item for item in value):
        inner = [block for item in value for block in element(item)]
        texts = [block.text for block in inner if isinstance(block, (Text, Data))]
        notes = tuple(block.text for block in inner if isinstance(block, Note))
        if len(texts) + len(notes) == len(inner):
            shown, is_json = printed("\n".join(texts))
            yield ToolResult(shown, name, call_id, is_json, failed, notes)
            return
    shown, is_json = ("", False) if value is None else printed(value)
    yield ToolResult(shown, name, call_id, is_json, failed)


def _inside_invocation(fields: Fields, kind: str) -> Iterator[Block]:
    members = fields.take("toolInvocation", of=dict)
    if members is None:
        yield from invocation(fields)
        return
    inner = Fields(members)
    yield from invocation(inner)
    yield from details(inner, "Tool")


def _invoked(fields: Fields, kind: str) -> Iterator[Block]:
    yield from invocation(fields, kind.removeprefix("tool-") if kind.startswith("tool-") else "")


def invocation(fields: Fields, name: str = "") -> Iterator[Block]:
    """A call and, once it has run, its result: the AI SDK keeps them together."""
    call_id = fields.name("toolCallId", "id")
    said = fields.name("toolName")
    if said and name not in ("", said):
        fields.put("type", f"tool-{name}")
    name = said or one_line(name, 80) or "tool"
    given = fields.take("input", "args", "rawInput")
    yield ToolCall(name, "{}" if given is None else printed(given)[0], call_id)
    fields.drop("state", *_STATES)
    error = fields.take("errorText")
    if error is not None:
        yield ToolResult(printed(error)[0], name, call_id, failed=True)
    output = fields.take("output", "result")
    if output is not None:
        shown, is_json = printed(output)
        yield ToolResult(shown, name, call_id, is_json)


def _code(fields: Fields, kind: str) -> Iterator[Block]:
    inner = Fields(fields.take("executableCode", "executable_code", of=dict) or {})
    source = inner if "code" in inner else fields
    language = source.name("language", limit=30)
    value = source.take("code", "text", of=str)
    word = re.fullmatch(r"[A-Za-z0-9+#_.-]{1,30}", language.lower())
    yield Data(visible(value or ""), "Code" if word else f"Code, {language}", word.group() if word else "text")
    yield from details(inner, "Code")


def _gemini(fields: Fields, kind: str) -> Iterator[Block]:
    inner = Fields(fields.take("functionCall", "function_call", of=dict) or {})
    yield from call(inner)
    yield from details(inner, "Function")


def _gemini_result(fields: Fields, kind: str) -> Iterator[Block]:
    names = ("functionResponse", "function_response", "codeExecutionResult", "code_execution_result")
    inner = Fields(fields.take(*names, of=dict) or {})
    yield from result_of(inner.take("response", "output"), inner)
    yield from details(inner, "Result")


def _gemini_file(fields: Fields, kind: str) -> Iterator[Block]:
    inner = Fields(fields.take("inlineData", "inline_data", "fileData", "file_data", of=dict) or {})
    yield from attachment(inner, "File")
    yield from details(inner, "File")


def _attached(fields: Fields, kind: str) -> Iterator[Block]:
    yield from attachment(fields, _ATTACHMENTS[kind])


def _picture(fields: Fields, kind: str) -> Iterator[Block]:
    """A picture that a model made: its description and, in base64, itself."""
    yield from text(fields.take("revised_prompt"))
    fields.drop("status", *_STATES)
    picture = Fields({"data": fields.take("result", of=str)})
    yield from attachment(picture, "Image")
    yield from details(picture, "Image")


def attachment(fields: Fields, label: str) -> Iterator[Block]:
    """An attachment's name, type and size. Its bytes are never decoded and its address is never fetched."""
    nested = [fields]
    for name in ("source", "file", "input_audio", "image_url", "image"):
        if isinstance(fields.get(name), dict):
            nested.append(Fields(fields.take(name)))
    words = [_first(nested, "filename", "name", "title", "file_name")]
    media_type = _first(nested, *_MEDIA_TYPES)
    sizes: list[int] = []
    addresses: list[str] = []
    inside: list[Block] = []
    for found in nested:
        found.drop("type", "base64", "url", "file", "text" if media_type.startswith("text/") else "base64")
        for name in _ADDRESSES:
            value = found.get(name)
            if not is_text(value):
                continue
            size, declared = payload_size(value, bare=name in ("data", "image", "file_data"))
            if size:
                sizes.append(size)
                media_type = media_type or declared
                found.take(name)
            elif name == "data" and media_type.startswith("text/"):
                inside.append(Data(visible(found.take(name)), "Content", "text"))
            elif shown := found.name(name, limit=_LONGEST_ADDRESS):
                addresses.append(shown)
        if is_text(words_of_it := found.take("extracted_content", of=str)):
            inside.append(Data(visible(words_of_it), "Content", "text"))
        if isinstance(found.get("content"), list):
            inside += content(found.take("content"))
        stated = found.take(*_SIZES, of=Number)
        if stated is not None and not sizes:
            inside += _stated(sizes, stated)
    words += [media_type, *(f"about {human_size(size)}" for size in sizes), *addresses]
    shown = ", ".join(dict.fromkeys(word for word in words if word))
    yield Note(f"{label}: {shown}" if shown else label)
    yield from inside
    for found in nested[1:]:
        yield from details(found, label)


def _stated(sizes: list[int], stated: Number) -> Iterator[Block]:
    if stated.isdecimal() and len(stated) < 16:
        sizes.append(int(stated))
    else:
        yield Note(f"size: {stated[:_LONGEST_ADDRESS]}")


def payload_size(value: str, *, bare: bool) -> tuple[int, str]:
    """How many bytes are encoded in an address, and their declared type; 0 if it is no such address.

    bare: also if it is Base64 and nothing else.
    """
    if value.startswith("data:"):
        head, comma, payload = value.partition(",") if "," in value[:200] else (value[:60], ",", value[60:])
        if comma and head.endswith(";base64"):
            return max(1, len(payload) * 3 // 4), one_line(head[5:].split(";")[0], 60)
        return 0, ""
    if bare and "://" not in value[:20] and _BASE64.fullmatch(value):
        return len(value) * 3 // 4, ""
    return 0, ""


def _first(nested: list[Fields], *names: str) -> str:
    return next((found for fields in nested if (found := fields.name(*names))), "")


_ATTACHMENTS: Final = {
    "image": "Image", "image_url": "Image", "input_image": "Image", "image_asset_pointer": "Image",
    "image_file": "Image", "file": "File", "input_file": "File", "media": "File", "container_upload": "File",
    "document": "Document", "input_audio": "Audio", "audio": "Audio", "audio_asset_pointer": "Audio",
    "real_time_user_audio_video_asset_pointer": "Audio", "video": "Video", "video_url": "Video",
    "source-url": "Source", "source-document": "Source", "source": "Source",
}  # fmt: skip

_TEXTS: Final = (
    "text", "input_text", "output_text", "refusal", "markdown", "multimodal_text", "audio_transcription",
)  # fmt: skip
_REASONING: Final = (
    "thinking", "reasoning", "reasoning_text", "summary_text", "thoughts", "reasoning_recap", "redacted_thinking",
)  # fmt: skip
_CALLS: Final = (
    "tool_use", "server_tool_use", "mcp_tool_use", "tool-call", "tool_call", "function_call", "function",
)  # fmt: skip

_RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_TEXTS, _text),
    **dict.fromkeys(_REASONING, _thinking),
    **dict.fromkeys(_CALLS, _called),
    **dict.fromkeys(("tool_result", "tool-result", "mcp_tool_result", "execution_output"), _result),
    **dict.fromkeys(("step-start", "step-finish", "start-step", "finish-step"), _silent),
    **dict.fromkeys(_ATTACHMENTS, _attached),
    "tool-invocation": _inside_invocation,
    "dynamic-tool": _invoked,
    "code": _code,
    "image_generation_call": _picture,
}

_BY_FIELD: Final[dict[str, Rule]] = {
    "functionCall": _gemini, "function_call": _gemini,
    "functionResponse": _gemini_result, "function_response": _gemini_result,
    "codeExecutionResult": _gemini_result, "code_execution_result": _gemini_result,
    "executableCode": _code, "executable_code": _code,
    "inlineData": _gemini_file, "inline_data": _gemini_file, "fileData": _gemini_file, "file_data": _gemini_file,
    "text": _text, "parts": _text, "content": _text,
}  # fmt: skip

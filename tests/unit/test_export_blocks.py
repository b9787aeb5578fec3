from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyouwere.service.export.blocks import Block, Data, Note, Text, ToolCall, ToolResult
from asyouwere.service.export.characters import one_line, visible
from asyouwere.service.export.facts import human_size, moment
from asyouwere.service.export.messages import read_message
from asyouwere.service.export.readable_json import Number, parse, pretty
from asyouwere.state import exact_json
from tests.support.documents import state_texts
from tests.unit.export.documents import conversation_of, document_of, document_of_text, read

PNG = "iVBORw0KGgo" + "A" * 12_000

SHAPES: dict[str, tuple[Any, list[Block]]] = {
    "a plain string": ("hello", [Text("hello")]),
    "openai: text": ({"role": "user", "content": "hello"}, [Text("hello")]),
    "openai: parts with an image": (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
        },
        [
            Text("What is this?"),
            Note("Image: https://example.com/cat.png"),
            Note("Image: image/png, about 9.0 KB"),
        ],
    ),
    "openai: tool calls": (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "run", "arguments": '{"n":1.50,"s":"x"}'},
                },
                {"id": "c2", "type": "function", "function": {"name": "stop", "arguments": ""}},
            ],
        },
        [ToolCall("run", '{"n": 1.50, "s": "x"}', "c1"), ToolCall("stop", "{}", "c2")],
    ),
    "openai: tool answer": (
        {"role": "tool", "tool_call_id": "c1", "content": "3 files"},
        [ToolResult("3 files", id="c1")],
    ),
    "openai: function call of old": (
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "not JSON"}},
        [ToolCall("f", "not JSON")],
    ),
    "openai: refusal": (
        {"role": "assistant", "content": None, "refusal": "I can't."},
        [Text("I can't.")],
    ),
    "openai responses: call": (
        {"type": "function_call", "call_id": "c9", "name": "ls", "arguments": "{}"},
        [ToolCall("ls", "{}", "c9")],
    ),
    "openai responses: output": (
        {"type": "function_call_output", "call_id": "c9", "output": "[1,2]"},
        [ToolResult("[1, 2]", id="c9", json=True)],
    ),
    "openai responses: message": (
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
        [Text("Hi")],
    ),
    "anthropic: thinking, text and tool use": (
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Let me see.", "signature": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a.py"}},
            ],
        },
        [
            Text("Let me see.", thinking=True),
            Note("signature: x"),
            Text("I look."),
            ToolCall("read", '{"path": "a.py"}', "t1"),
        ],
    ),
    "anthropic: tool result with a picture": (
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "no such file"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                    ],
                },
            ],
        },
        [ToolResult("no such file", id="t1", failed=True, notes=("Image: image/png, about 9.0 KB",))],
    ),
    "anthropic: document": (
        {
            "role": "user",
            "content": [{"type": "document", "title": "Plan", "source": {"type": "url", "url": "https://x/y"}}],
        },
        [Note("Document: Plan, https://x/y")],
    ),
    "ai sdk: parts": (
        {
            "id": "m1",
            "role": "assistant",
            "content": "It is cold.",
            "parts": [
                {"type": "step-start"},
                {"type": "reasoning", "text": "hm"},
                {
                    "type": "tool-weather",
                    "toolCallId": "w",
                    "state": "output-available",
                    "input": {"c": "Oslo"},
                    "output": -3,
                },
                {
                    "type": "dynamic-tool",
                    "toolName": "mcp",
                    "toolCallId": "d",
                    "state": "output-error",
                    "input": {},
                    "errorText": "down",
                },
                {
                    "type": "file",
                    "mediaType": "application/pdf",
                    "filename": "a.pdf",
                    "url": "data:application/pdf;base64,AAAA",
                },
                {"type": "text", "text": "It is cold."},
            ],
        },
        [
            Text("hm", thinking=True),
            ToolCall("weather", '{"c": "Oslo"}', "w"),
            ToolResult("-3", "weather", "w", json=True),
            ToolCall("mcp", "{}", "d"),
            ToolResult("down", "mcp", "d", failed=True),
            Note("File: a.pdf, application/pdf, about 3 bytes"),
            Text("It is cold."),
            Note("id: m1"),
        ],
    ),
    "ai sdk: invocations of old": (
        {
            "role": "assistant",
            "content": "Done.",
            "toolInvocations": [
                {
                    "state": "result",
                    "toolCallId": "i",
                    "toolName": "add",
                    "args": {"a": 1},
                    "result": {"sum": 2},
                }
            ],
        },
        [Text("Done."), ToolCall("add", '{"a": 1}', "i"), ToolResult('{"sum": 2}', "add", "i", json=True)],
    ),
    "ai sdk: model messages": (
        {
            "role": "tool",
            "content": [
                {
                    "type": "tool-result",
                    "toolCallId": "i",
                    "toolName": "add",
                    "output": {"type": "error-text", "value": "no"},
                }
            ],
        },
        [ToolResult("no", "add", "i", failed=True)],
    ),
    "gemini": (
        {
            "role": "model",
            "parts": [
                {"text": "I add."},
                {"functionCall": {"name": "add", "args": {"a": 1}}},
                {"functionResponse": {"name": "add", "response": {"sum": 2}}},
                {"inlineData": {"mimeType": "image/png", "data": PNG}},
            ],
        },
        [
            Text("I add."),
            ToolCall("add", '{"a": 1}'),
            ToolResult('{"sum": 2}', "add", json=True),
            Note("File: image/png, about 9.0 KB"),
        ],
    ),
    "a content that is an object": ({"role": "user", "content": {"text": "hi"}}, [Text("hi")]),
    "a block of unknown type": (
        {"role": "user", "content": [{"type": "hologram", "x": 1}]},
        [Data('{"type": "hologram", "x": 1}', "hologram")],
    ),
    "an object that is no message": ({"foo": [1, 2]}, [Data('{"foo": [1, 2]}')]),
    "a number": (7, [Data("7")]),
    "a list": ([1], [Data("[1]")]),
    "null": (None, [Data("null")]),
    "an empty message": ({"role": "user", "content": ""}, []),
    "types of the wrong type": (
        {"role": ["x"], "type": {}, "content": [{"type": [1], "text": {}}]},
        [Data('{"type": [1], "text": {}}'), Data('{"role": ["x"]}', "Other fields")],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_read_message__shapes(shape: str) -> None:
    message, expected = SHAPES[shape]
    assert list(read_message(parse(json.dumps(message).replace("1.5,", "1.50,"))).blocks) == expected


FIELDS = [
    "role", "type", "content", "text", "parts", "name", "id", "input", "output", "args", "arguments",
    "result", "state", "toolCallId", "toolName", "url", "image_url", "source", "function", "tool_calls",
    "toolInvocations", "function_call", "functionCall", "attachments", "data", "createdAt", "thinking", "summary", "is_error",
]  # fmt: skip
TYPES = [
    "text",
    "tool_use",
    "tool_result",
    "image",
    "thinking",
    "tool",
    "tool-x",
    "function",
    "function_call",
]

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner | st.sampled_from(TYPES), max_size=6)
    ),
    max_leaves=12,
)


@given(json_values)
def test_read_message__takes_anything(message: Any) -> None:
    for block in read_message(parse(json.dumps(message))).blocks:
        assert isinstance(block, Block)


@given(state_texts)
def test_read__gives_back_the_whole_state(state_text: str) -> None:
    canonical = exact_json.parse(state_text.encode())
    conversation = read(document_of_text(canonical))
    state = json.loads(canonical)
    messages = state.pop("messages", None)
    if isinstance(messages, list):
        assert len(conversation.messages) == len(messages)
    elif messages is not None:
        state["messages"] = messages
    assert bool(conversation.state) == bool(state)
    if state:
        assert json.loads(conversation.state) == state


def test_read__facts() -> None:
    assert dict(read(document_of({"messages": ["a", "b"]})).facts) == {
        "Model": "model-9",
        "Kind": "agent",
        "Status": "idle",
        "Created": "2026-11-20 08:59 UTC",
        "Last saved": "2026-11-21 10:01 UTC",
        "Messages": "2",
        "Size": "954 KB",
        "Snapshots": "2 kept, numbers 3 to 1,204",
        "Labels": "before the refactor (1,204)",
    }


def test_read__roles_names_and_times() -> None:
    messages = read(
        conversation_of(
            {"role": "user", "name": "Ada\n# x", "content": "a"},
            {"role": "ASSISTANT", "content": "b", "createdAt": "2026-01-02T03:04:05+02:00"},
            {"role": "human", "content": "c", "timestamp": 1_700_000_000_000},
            {"role": "critic", "content": "d", "created_at": "yesterday"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "function": {"name": "run", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "name": "", "content": "ok"},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "ok"}]},
            "no object",
        )
    ).messages
    assert [(message.role, message.name, message.time) for message in messages] == [
        ("User", "Ada # x", "2026-11-20 09:00 UTC"),
        ("Assistant", "", "2026-01-02 01:04 UTC"),
        ("User", "", "2023-11-14 22:13 UTC"),
        ("critic", "", "2026-11-20 09:03 UTC"),
        ("Assistant", "", "2026-11-20 09:04 UTC"),
        ("Tool", "", "2026-11-20 09:05 UTC"),
        ("Tool", "", "2026-11-20 09:06 UTC"),
        ("Message", "", "2026-11-20 09:07 UTC"),
    ]
    assert messages[5].blocks == (ToolResult("ok", "run", "c"),)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 KB"), (9949, "9.9 KB"), (9951, "10 KB"),
     (999_499, "999 KB"), (999_501, "1.0 MB"), (64_000_000, "64 MB"), (5 * 10**15, "5,000 TB")],
)  # fmt: skip
def test_human_size(size: int, shown: str) -> None:
    assert human_size(size) == shown


@pytest.mark.parametrize(
    "value", ["", "soon", "9999999999999999", Number("1e999"), Number("5"), Number("-1"), None, [], True]
)
def test_moment__no_time(value: Any) -> None:
    assert moment(value) == ""


def test_visible__shows_what_cannot_be_seen() -> None:
    assert (
        visible("a\x00b\ud800c\x08d\x7fe\r\nf\u2028g\x1b[31mred\x1b[0m\th")
        == "a\ufffdb\ufffdc\u2408d\u2421e\nf\ngred\th"
    )
    assert one_line(" a\n\u202eb\tc ") == "a b c"
    assert one_line("x" * 200, 10) == "xxxxxxxxx…"


def test_pretty__keeps_numbers_and_breaks_long_lines() -> None:
    text = (
        '{"n":1.50,"big":1234567890123456789012345678901234567890,"e":[],"o":{},"l":["' + "x" * 90 + '",null,true]}'
    )
    assert pretty(parse(text)).split("\n") == [
        "{",
        '  "n": 1.50,',
        '  "big": 1234567890123456789012345678901234567890,',
        '  "e": [],',
        '  "o": {},',
        '  "l": [',
        f'    "{"x" * 90}",',
        "    null,",
        "    true",
        "  ]",
        "}",
    ]
    assert pretty("é\x7f\u2028\ud800\n") == r'"é\u007f\u2028\ud800\n"'
    deep = "[" * 5000 + "]" * 5000
    with pytest.raises(ValueError, match=r"."):
        parse(deep)

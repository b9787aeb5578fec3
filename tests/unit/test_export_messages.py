"""Nothing that a message says is missing from its export, whatever its shape."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyouwere.service.export.blocks import Text, ToolResult
from asyouwere.service.export.messages import read_message
from asyouwere.service.export.readable_json import parse
from tests.unit.export.documents import document_of_text, render

CASES = json.loads((Path(__file__).parents[2] / "spec/cases/messages.json").read_text("utf-8"))


def body_of(case: dict[str, Any]) -> str:
    return case["body"] if "body" in case else json.dumps(case["message"])


def markdown_of_body(body: str) -> str:
    return render(document_of_text(f'{{"messages":[{body}]}}'), "markdown").decode()


def unescaped(markdown: str) -> str:
    """Without what Markdown and JSON put before signs that mean something."""
    return re.sub(r"\\([\\`*_\[\]<>&#|~!$\"])", r"\1", markdown)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_read_message__cases(case: dict[str, Any]) -> None:
    said = read_message(parse(body_of(case)))
    words = [
        block.text
        for block in said.blocks
        if (isinstance(block, Text) and not block.thinking) or (isinstance(block, ToolResult) and said.role == "tool")
    ]
    assert said.role == (case["role"] or "")
    assert "\n".join(words) == (case["text"] or "")
    markdown = unescaped(markdown_of_body(body_of(case)))
    for line in [*(case["text"] or "").split("\n"), *case.get("shown", ())]:
        assert line in markdown
    for payload in case.get("hidden", ()):
        assert payload not in markdown
    assert "Empty." not in markdown or not (case["text"] or case.get("shown"))


# Fields and types that rules know, so that words end up everywhere they may.
FIELDS = [
    "role", "type", "content", "text", "parts", "name", "id", "input", "output", "args", "arguments", "result",
    "state", "toolCallId", "toolName", "url", "image_url", "source", "function", "tool_calls", "toolInvocations",
    "toolInvocation", "function_call", "functionCall", "functionResponse", "response", "attachments", "files",
    "images", "thinking", "reasoning", "summary", "details", "refusal", "error", "errorText", "sender", "author",
    "message", "kwargs", "content_type", "title", "filename", "media_type", "mimeType", "asset_pointer", "file",
    "extracted_content", "status", "executableCode", "language", "code", "inlineData", "choices", "candidates",
    "action", "annotations", "value", "experimental_attachments", "reasoning_content", "size_bytes", "metadata",
    "audio", "tool_call_id", "is_error", "queries", "outputs", "thoughts", "revised_prompt", "invalid_tool_calls",
]  # fmt: skip
TYPES = [
    "text", "tool_use", "tool_result", "image", "thinking", "tool", "tool-x", "function", "function_call", "human",
    "message", "reasoning", "redacted_thinking", "image_url", "document", "code", "mcp_call", "tool-result", "user",
    "web_search_tool_result", "function_call_output", "step-start", "dynamic-tool", "file", "source-url", "assistant",
    "tool-invocation", "image_generation_call", "thoughts", "multimodal_text", "custom_tool_call", "model", "hologram",
]  # fmt: skip
words = st.text("abcdefghijklmnopqrstuvwxyzäöüßабвгд漢字", min_size=6, max_size=200).map(lambda word: f"w{word}w")
objects: st.SearchStrategy[Any] = st.deferred(
    lambda: st.fixed_dictionaries(
        {}, optional={"type": st.sampled_from(TYPES), "role": st.sampled_from([*TYPES[:9], "user"])}
    ).flatmap(
        lambda tags: st.dictionaries(st.sampled_from(FIELDS), values, max_size=5).map(lambda rest: {**rest, **tags})
    )
)
values: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        words
        | st.none()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.booleans()
        | objects
        | st.lists(words | objects | st.none() | st.integers(), max_size=3)
        | st.lists(st.lists(words, max_size=2), max_size=2)
    )
)


def strings_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings_in(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings_in(inner)]
    return [value] if isinstance(value, str) and value[0] == value[-1] == "w" else []


@given(objects)
def test_render__every_string_of_a_message_is_in_its_markdown(message: dict[str, Any]) -> None:
    markdown = unescaped(markdown_of_body(json.dumps(message)))
    for word in strings_in(message):
        assert word in markdown


# What may stand where a rule expects something else.
OTHER_FORMS: list[Callable[[str], Any]] = [
    lambda word: None,
    lambda word: 7,
    lambda word: True,
    lambda word: word,
    lambda word: [word],
    lambda word: [None, 7, [word]],
    lambda word: {"other": word},
    lambda word: {"type": word, "value": word},
]


@pytest.mark.parametrize("kind", [None, *TYPES])
def test_render__any_member_of_any_form(kind: str | None) -> None:
    messages, said = [], []
    for name in (
        *FIELDS,
        "data",
        "image",
        "isError",
        "kwargs",
        "codeExecutionResult",
        "file_data",
        "encrypted_content",
    ):
        for n, form in enumerate(OTHER_FORMS):
            for place in ("itself", "content", "answer"):
                word = f"w{name}{n}{place}w"
                element = {**({"type": kind} if kind else {}), name: form(word)}
                messages.append(
                    element if place == "itself"
                    else {"role": "user" if place == "content" else "tool", "parts": [element]}
                )  # fmt: skip
                # what is encrypted by its declaration is named with its size
                is_hidden = name == "encrypted_content" or (name == "data" and kind == "redacted_thinking")
                if word in json.dumps(element) and not (is_hidden and form(word) == word):
                    said.append((word, element))
    markdown = unescaped(
        render(document_of_text(json.dumps({"messages": messages}, separators=(",", ":"))), "markdown").decode()
    )
    assert [element for word, element in said if word not in markdown] == []


def test_render__words_where_a_sign_or_bytes_are_expected() -> None:
    long_word = "wäw" * 80
    for message in (
        {"role": "tool", "content": "x", "is_error": "wordsinthere"},
        {"role": "user", "content": "x", "images": [long_word]},
        {"type": "image_generation_call", "result": long_word},
        {"type": "thinking", "thinking": "x", "data": "wordsinthere"},
        {"type": "tool-wordsinthere", "toolName": "other", "input": {}},
        {"type": f"tool-{long_word}", "input": {}},
        {"type": "wordsinthere_call", "name": "other"},
        {"sender": {"name": "wordsinthere"}, "message": {"content": "x", "author": {"name": "other"}}},
        {"output": [{"role": "user", "author": "wordsbeside", "name": "wordsinthere", "content": "x"}]},
        {"role": "tool", "content": [{"type": "image", "name": "wordsinthere"}],
         "output": [{"type": "file", "name": "wordsbeside"}]},
    ):  # fmt: skip
        markdown = unescaped(markdown_of_body(json.dumps(message)))
        for word in (long_word, "wordsinthere", "wordsbeside"):
            assert word in markdown or word not in json.dumps(message, ensure_ascii=False), message


@pytest.mark.parametrize(
    "link",
    [
        "[x](javascript:alert(1))", "[x]( javascript:alert(1))", "[x](<javascript:alert(1)>)",
        "[x](JaVaScRiPt:alert(1))", "[x](java&#115;cript:alert(1))", "[x](javascript&colon;alert(1))",
        "[x](\njavascript:alert(1))", "[x](\\javascript:alert(1))", "[x](data:text/html,hi)",
        "[x](vbscript:a)", "[x](file:///etc/passwd)", "![x](javascript:alert(1))", "<javascript:alert(1)>",
        "[x](javascript\\:alert(1))", "[![a](https://a.b)](javascript:alert(1))", "[x][y]\n\n[y]: javascript:alert(1)",
    ],
)  # fmt: skip
def test_render__links_lead_only_to_the_web(link: str) -> None:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": True})
    reader.validateLink = lambda url: True  # type: ignore[method-assign]
    page = reader.render(markdown_of_body(json.dumps({"role": "user", "content": link})))
    targets = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert all(target.startswith("https://a.b") for target in targets)


def test_render__links_that_lead_to_the_web_or_beside_stay() -> None:
    text = "[a](https://example.com/a?b=c:d) [b](mailto:a@b.c) [c](notes/plan.md) [d](#top) [e](plan.md 'title')"
    assert text in markdown_of_body(json.dumps(text))


def test_render__words_beside_a_fence_stay() -> None:
    text = "```js title=app.js\ncode()\n```\nend"
    markdown = markdown_of_body(json.dumps(text))
    assert "title=app.js" in markdown
    assert "```js\n> code()" in markdown

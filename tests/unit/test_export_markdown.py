from __future__ import annotations

import html
import json
import re
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from asyouwere.service.export.fences import Piece, fence, split
from asyouwere.service.export.markdown import quoted
from tests.unit.export.documents import conversation_of, document_of, render

# The most permissive reader: HTML allowed, GitHub's tables.
READER = MarkdownIt("commonmark", {"html": True, "maxNesting": 200}).enable(["table", "strikethrough"])


def markdown_of(*messages: Any) -> str:
    return render(conversation_of(*messages), "markdown").decode()


def parsed(markdown: str) -> tuple[list[Token], dict[str, Any]]:
    environment: dict[str, Any] = {}
    return READER.parse(markdown, environment), environment


def everywhere(tokens: list[Token]) -> list[Token]:
    return [token for outer in tokens for token in (outer, *(outer.children or ()))]


def headings(tokens: list[Token]) -> list[tuple[int, str]]:
    """Level and text of the headings that stand at the margin."""
    return [
        (int(token.tag[1]), tokens[index + 1].content)
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


def test_render__a_whole_conversation() -> None:
    state = {
        "messages": [
            {"role": "user", "content": "List *the* files."},
            {
                "role": "assistant",
                "content": "Here:\n\n```sh\nls -1\n```",
                "tool_calls": [{"id": "c", "function": {"name": "run", "arguments": '{"cmd":"ls -1"}'}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "a\n```\nb"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "two"},
                    {"type": "image", "image": "https://x/y.png"},
                ],
            },
            {"role": "user", "content": ""},
        ],
        "currentStep": "list",
    }
    rendered = render(document_of(state, name="Files & [folders]"), "markdown")
    assert (
        rendered.decode()
        == r"""# Files \& \[folders\]

- **Model:** model-9
- **Kind:** agent
- **Status:** idle
- **Created:** 2026-11-20 08:59 UTC
- **Last saved:** 2026-11-21 10:01 UTC
- **Messages:** 5
- **Size:** 954 KB
- **Snapshots:** 2 kept, numbers 3 to 1,204
- **Labels:** before the refactor (1,204)

## 1 · User · 2026-11-20 09:00 UTC

> List *the* files.

## 2 · Assistant · 2026-11-20 09:01 UTC

> Here:
>
> ```sh
> ls -1
> ```

### Tool call: run · c

```json
{"cmd": "ls -1"}
```

## 3 · Tool · 2026-11-20 09:02 UTC

### Tool result: run · c

````text
a
```
b
````

## 4 · Assistant · 2026-11-20 09:03 UTC

### Reasoning

> two

*Image: https://x/y.png*

## 5 · User · 2026-11-20 09:04 UTC

*Empty.*

## State

Everything else that was saved with the conversation.

```json
{"currentStep": "list"}
```
"""
    )


PIECES = [
    "```", "````", "~~~", "``", "`", "```python\n", "    ", "\t", "- ", "* ", "1. ", "10) ", "> ", ">", "# ",
    "## 9 · User", "---", "===", "\n", "\n", "\n\n", "<b>", "</blockquote>", "<script>x</script>", "<!--",
    "-->", "<?php", "<![CDATA[", "<http://a.b>", "<a@b.c>", "![i](http://x/y)", "![i][r]", "[t](http://x)",
    "[r]: http://x", "[r]:\nhttp://x", "[^1]: n", "\\", "\\`", "\\<", "|", "| a | b |\n|---|---|\n",
    "&lt;b&gt;", "&#60;b&#62;", "*", "**", "_", "~~", "a", "word ", "é", "\x00", "\u2028", "\r", "\r\n",
    "\x0b", "\x0c", "\x85", "\u00a0",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=25).map("".join)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), texts), min_size=1, max_size=3), texts)
@example([("user", "a ` b\nc `<script>` d")], "")
@example([("user", "| `a | <b>` |\n|---|---|\n")], "")
@example([("user", "text\n    ```\n<b>")], "")
@example([("user", "- ```html\n  <b>\n  ```\n<i>")], "")
@example([("assistant", "> ```\n<b>")], "")
@example([("user", "[r]: http://x"), ("assistant", "[r]")], "# [x]\n<b>")
def test_render__no_message_gets_out_of_its_quote(messages: list[tuple[str, str]], title: str) -> None:
    document = document_of(
        {"messages": [{"role": role, "content": content, "name": title} for role, content in messages]},
        name=title,
    )
    tokens, environment = parsed(render(document, "markdown").decode())
    ours = headings(tokens)
    assert [level for level, _ in ours if level == 1] == [1]
    assert [text.partition(" ")[0] for level, text in ours if level == 2] == [
        str(number + 1) for number in range(len(messages))
    ]
    assert {text.partition(":")[0] for level, text in ours if level == 3} <= {"Tool result", "Data"}
    found = {token.type for token in everywhere(tokens)}
    assert not found & {"html_block", "html_inline", "image"}
    assert not environment.get("references")


def shown(page: str) -> str:
    """Text of HTML, its tags gone."""
    return html.unescape(re.sub(r"<[^>]*>", "", page))


@given(
    st.lists(
        st.sampled_from(["a", "b ", "<b>", "x < y", "\n", "\n\n", "# ", "1. ", "`<i>`", "![i]", "[r]: z"]),
        max_size=12,
    ).map("".join)
)
def test_quoted__loses_no_word(text: str) -> None:
    letters = [character for character in text if character.isalpha()]
    assert [character for character in shown(READER.render(quoted(text))) if character.isalpha()] == letters


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("a < b and a <b", "> a < b and a &lt;b"),
        ("`List<int>` and <int>", "> `List<int>` and &lt;int>"),
        ("`` a`<b> `` <c>", "> `` a`<b> `` &lt;c>"),
        ("open ` <b>", r"> open \` &lt;b>"),
        (r"\`<b>`", r"> \`&lt;b>\`"),
        ("![cat](http://x/c.png)", r"> \![cat](http://x/c.png)"),
        ("[a]: http://x", r"> [a]\: http://x"),
        ("# mine", "> # mine"),
        ("a\n\n    code <b>\n\n    more\n\nb", "> a\n>\n> ```\n> code <b>\n>\n> more\n> ```\n>\n> b"),
        ("- a\n    - b <i>", "> - a\n>     - b &lt;i>"),
        ("~~~html\n<b>\n~~~", "> ```html\n> <b>\n> ```"),
        ("````\n```\n````", "> ````\n> ```\n> ````"),
        ("```never closed\n<b>", "> closed\n> ```never\n> <b>\n> ```"),
        ("", ">"),
    ],
)
def test_quoted__exactly(text: str, quote: str) -> None:
    assert quoted(text) == quote


def test_quoted__line_ends_of_people_hold() -> None:
    assert quoted("a\nb\n\nc", hard_breaks=True) == "> a  \n> b\n>\n> c"


def test_split__pieces() -> None:
    assert list(split("a\n```py x\n1\n```\nb\n  ~~~\n  2\n   3\n  ~~~\n- ```\n  4\n  ```")) == [
        Piece("a\nx"),
        Piece("1", True, "py"),
        Piece("b"),
        Piece("2\n 3", True, ""),
        Piece("-"),
        Piece("4", True, ""),
    ]


@given(texts, st.sampled_from(["", "json"]))
def test_fence__nothing_inside_ends_it(code: str, language: str) -> None:
    code = code.replace("\r", "").replace("\x00", "")
    tokens, _ = parsed(fence(code, language))
    assert [(token.type, token.info, token.content) for token in tokens] == [("fence", language, code + "\n")]


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)


@given(values)
def test_render__any_state(messages: Any) -> None:
    markdown = render(document_of({"messages": messages}), "markdown").decode()
    tokens, _ = parsed(markdown)
    count = len(messages) if isinstance(messages, list) else 0
    assert len([1 for level, _ in headings(tokens) if level == 2]) == count + (not isinstance(messages, list))


@pytest.mark.parametrize(
    "hostile",
    [
        "`" * 400_000,
        " ".join("`" * length for length in range(1, 1200)),
        "`|<" * 200_000,
        "[" * 500_000,
        "<" * 500_000 + "a",
        "    a\n" + "\n" * 400_000 + "    b",
        "```\n" * 150_000,
        "\\" * 500_000,
        "- " * 250_000,
    ],
    ids=lambda text: ascii(text[:8]),
)
def test_render__takes_linear_time(hostile: str) -> None:
    document = conversation_of({"role": "user", "content": hostile})
    started = time.process_time()
    render(document, "markdown")
    assert time.process_time() - started < 5


def test_render__huge_conversation() -> None:
    """What is too much for a PDF is none for Markdown."""
    markdown = markdown_of(*({"role": "user", "content": "x"} for _ in range(20_000)), "word " * 2_000_000)
    assert markdown.count("\n## ") == 20_001
    assert len(markdown) > 10_000_000
    assert json.dumps(markdown).isascii()

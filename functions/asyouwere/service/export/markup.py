"""A message's Markdown as a tree for the typesetter; other text as its lines.

Nodes are dictionaries with ``k``, what they are: blocks p, line, head, code, list, quote, rule, table; in
lines strong, em, strike, code, link, break, or a plain string. Nothing in them is read as markup again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from asyouwere.service.export.fences import split

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["Markup", "is_rtl", "plain_blocks"]

Node = dict[str, Any]
Inline = str | Node

_MOST_NODES: Final = 150_000
_DEEPEST_BLOCKS: Final = 8
_DEEPEST_INLINE: Final = 6
_MOST_COLUMNS: Final = 12
_PARSER_NESTING: Final = 60
_MOST_BRACKETS: Final = 5000  # in one paragraph: for each the parser looks through the rest of it
_LINKS: Final = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x1f]{1,1900}", re.IGNORECASE)


class Markup:
    """Turns Markdown into nodes, up to 150,000 for a document; what comes then stays as it was typed."""

    def __init__(self) -> None:
        from markdown_it import MarkdownIt

        # Link definitions would disappear from the page, so they are shown as typed. HTML is text.
        options = {"html": False, "breaks": True, "maxNesting": _PARSER_NESTING}
        self._parser: MarkdownIt = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
        self._parser.disable("reference")
        self._left = _MOST_NODES

    def blocks(self, text: str) -> list[Node]:
        """The text as blocks. Text nested deeper than the parser goes is kept as it was typed."""
        if self._left <= 0 or _crowded(text):
            return plain_blocks(text)
        tokens = self._parser.parse(text)
        self._left -= sum(1 + len(token.children or ()) for token in tokens)
        if self._left <= 0 or any(_too_deep(token) for token in tokens):
            return plain_blocks(text)
        return _Tree(tokens).blocks()


def _crowded(text: str) -> bool:
    paragraphs = text.split("\n\n") if text.count("[") > _MOST_BRACKETS else ()
    return any(paragraph.count("[") > _MOST_BRACKETS for paragraph in paragraphs)


def _too_deep(token: Token) -> bool:
    # The parser drops what lies deeper than its limit, so stay well away from it.
    limit = _PARSER_NESTING - 10
    return token.level >= limit or any(child.level >= limit for child in token.children or ())


def plain_blocks(text: str) -> list[Node]:
    """Text as typed: its lines, its blank lines, its fenced code."""
    nodes: list[Node] = []
    for piece in split(text.strip("\n")):
        if piece.code:
            nodes.append({"k": "code", "t": piece.text, "lang": piece.language or None})
        else:
            nodes += _paragraphs(piece.text)
    return nodes


def _paragraphs(text: str) -> Iterator[Node]:
    """Runs of lines with one direction; each paragraph of the page has but one."""
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")):
        run: list[str] = []
        direction = False
        first = True
        for line in [*paragraph.split("\n"), None]:
            rtl = is_rtl(line) if line is not None else not direction
            if run and rtl is not None and rtl != direction:
                lines = "\n".join(run)
                yield {"k": "p", "rtl": direction, "c": [lines]} if first else _line(lines, direction)
                run, first = [], False
            if line is not None:
                run.append(_kept_indent(line))
                direction = direction if rtl is None else rtl


def _line(text: str, rtl: bool) -> Node:
    return {"k": "line", "t": text, "rtl": rtl}


def _kept_indent(line: str) -> str:
    expanded = line.expandtabs(4).rstrip()
    bare = expanded.lstrip(" ")
    return "\u00a0" * min(len(expanded) - len(bare), 60) + bare


def is_rtl(text: str) -> bool | None:
    """Whether a text runs from right to left: by its first letter, None if it has none."""
    if text.isascii():
        return False if any(map(str.isalpha, text)) else None
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("R", "AL"):
            return True
        if direction == "L":
            return False
    return None


class _Tree:
    """Nodes from the parser's flat list of opening and closing tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def blocks(self, closing: str = "", depth: int = 0) -> list[Node]:
        """Blocks up to the closing token. Lists and quotes deeper than 8 dissolve in those around."""
        nodes: list[Node] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.type == closing:
                break
            nodes += self._block(token, depth)
        return nodes

    def _block(self, token: Token, depth: int) -> list[Node]:
        match token.type:
            case "inline":
                return [_paragraph(token)]
            case "heading_open":
                inside = self.blocks("heading_close")
                return [{**node, "k": "head", "n": int(token.tag[1])} for node in inside]
            case "fence" | "code_block":
                word = re.match(r"[A-Za-z0-9+#_.-]{1,30}", token.info.strip())
                language = word.group() if word else None
                return [{"k": "code", "t": token.content.removesuffix("\n"), "lang": language}]
            case "hr":
                return [{"k": "rule"}]
            case "blockquote_open":
                inside = self.blocks("blockquote_close", depth + 1)
                rtl = bool(inside and inside[0].get("rtl"))
                return inside if depth >= _DEEPEST_BLOCKS else [{"k": "quote", "b": inside, "rtl": rtl}]
            case "bullet_list_open" | "ordered_list_open":
                return self._list(token, depth)
            case "table_open":
                return self._table()
        return []  # the opening and closing of paragraphs, whose text is an inline token

    def _list(self, opening: Token, depth: int) -> list[Node]:
        closing = opening.type.replace("open", "close")
        start = int(opening.attrGet("start") or 1) if opening.type.startswith("ordered") else None
        items: list[list[Node]] = []
        tight = False
        while self._tokens[self._at].type != closing:
            self._at += 1  # list_item_open
            if self._tokens[self._at].type == "paragraph_open":
                tight = tight or self._tokens[self._at].hidden
            items.append(self.blocks("list_item_close", depth + 1))
        self._at += 1
        if depth >= _DEEPEST_BLOCKS:
            return [node for item in items for node in item]
        rtl = bool(items and items[0] and items[0][0].get("rtl"))
        return [{"k": "list", "start": start, "items": items, "tight": tight, "rtl": rtl}]

    def _table(self) -> list[Node]:
        rows: list[list[Node]] = []
        sources: list[str] = []
        while (token := self._tokens[self._at]).type != "table_close":
            self._at += 1
            if token.type == "tr_open":
                rows.append([])
                sources.append("")
            elif token.type == "inline":
                rows[-1].append(_paragraph(token))
                sources[-1] += f" | {token.content}"
        self._at += 1
        columns = len(rows[0])
        if columns > _MOST_COLUMNS:  # unreadable as a table on paper
            return [{"k": "code", "t": "\n".join(source[3:] for source in sources), "lang": None}]
        cells = [cell for row in rows[1:] for cell in row]
        rtl = any(cell["rtl"] for cell in rows[0])
        return [{"k": "table", "columns": columns, "header": rows[0], "cells": cells, "rtl": rtl}]


def _paragraph(token: Token) -> Node:
    rtl = bool(is_rtl(token.content))
    nodes = _inlines(token.children or [])
    return {"k": "p", "rtl": rtl, "c": _with_code_isolated(nodes) if rtl else nodes}


def _with_code_isolated(nodes: list[Inline]) -> list[Inline]:
    """In a line from right to left, code still runs from left to right: ``merge()`` and not ``()merge``."""
    for node in nodes:
        if isinstance(node, dict):
            if node["k"] == "code":
                node["t"] = f"\u2066{node['t']}\u2069"
            elif "c" in node:
                _with_code_isolated(node["c"])
    return nodes


_WRAPPED: Final = {"strong": "strong", "em": "em", "s": "strike", "link": "link"}


def _inlines(tokens: Sequence[Token]) -> list[Inline]:
    """The nodes of a line; wrapping deeper than 6 is dropped, its text is not."""
    inside: list[Inline] = []
    around: list[tuple[list[Inline], Token]] = []
    for token in tokens:
        name, _, end = token.type.rpartition("_")
        if end == "open" and name in _WRAPPED:
            around.append((inside, token))
            inside = []
        elif end == "close" and name in _WRAPPED:
            wrapped, (inside, opening) = inside, around.pop()
            if wrapped and len(around) < _DEEPEST_INLINE:
                inside += _wrapped(_WRAPPED[name], wrapped, opening)
            else:
                inside += wrapped
        elif token.type == "code_inline":
            inside.append({"k": "code", "t": token.content})
        elif token.type in ("softbreak", "hardbreak"):
            inside.append({"k": "break"})
        elif token.type == "image":
            source = str(token.attrGet("src") or "")
            shown = source if len(source) <= 200 and not source.startswith("data:") else ""
            words = ": ".join(word for word in (token.content, shown) if word)
            inside.append(f"[image{': ' if words else ''}{words}]")
        elif token.content:
            inside.append(token.content)
    return inside


def _wrapped(kind: str, inside: list[Inline], opening: Token) -> list[Inline]:
    if kind != "link":
        return [{"k": kind, "c": inside}]
    target = str(opening.attrGet("href") or "")
    return [{"k": "link", "c": inside, "to": target}] if _LINKS.fullmatch(target) else inside

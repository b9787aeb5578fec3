"""A conversation as Markdown.

What is ours and what is a message's can't be mistaken: headings and labels stand at the margin, every message
stands in a block quote. Inside it, its own Markdown works as before, with these exceptions, because a message
may come from anybody:

- HTML is shown, not interpreted (``<`` before a name becomes ``&lt;``);
- images become links, so that opening the file fetches nothing;
- a link leads to the web, to a mailbox or to a place beside the file; any other (``javascript:``) is shown;
- link definitions are shown, since they would hold for the whole file;
- code spans end on their line; fences are written anew, longer than any run of backticks inside;
- lines indented as code are fenced.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from asyouwere.service.export.blocks import Block, Data, Note, Text, ToolCall, ToolResult
from asyouwere.service.export.document import Message, Reader
from asyouwere.service.export.fences import Piece, fence, split

__all__ = ["MarkdownWriter", "quoted"]

_SPECIAL: Final = re.compile(r"[\\`*_\[\]<>&#|~!$]")
_LIST_ITEM: Final = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_INDENTED: Final = re.compile(r"(?: {0,3}\t| {4})")
# What needs care outside code, in the order in which Markdown would see it: an escaped character, a run of
# backticks, the start of HTML or of an address in angle brackets, an image, a link definition.
_TICKS: Final = re.compile(r"`+")
_CAREFUL: Final = re.compile(r"\\[!-/:-@\[-`{-~]|`+|<(?=[A-Za-z/!?])|!\[|\]:|\]\(")
# Where a link may lead: to the web, to a mailbox, to a place that has no scheme (also none in disguise).
_LEADS: Final = re.compile(r"\s*(?:https?://|mailto:|[^\s:&\\<>()#?/]*[#?/)]|[^\s:&\\<>()]+\s)", re.IGNORECASE)

_DEFUSED: Final = {"<": "&lt;", "![": "\\![", "]:": "]\\:"}


class MarkdownWriter:
    """Writes a conversation as it is read: UTF-8, LF line ends, closing with one."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def opening(self) -> bytes:
        """Title and facts."""
        facts = "\n".join(f"- **{_escaped(name)}:** {_escaped(value)}" for name, value in self._reader.facts)
        return f"# {_escaped(self._reader.title)}\n\n{facts}\n".encode()

    def page(self, lines: Iterable[str]) -> bytes:
        """The messages among some parts."""
        sections = (section for message in self._reader.messages(lines) for section in _message(message))
        return "".join(f"\n{section}\n" for section in sections).encode()

    def closing(self) -> bytes:
        """The rest of the state, after the last page."""
        state = self._reader.state()
        if not state:
            return b""
        sections = ("## State", "Everything else that was saved with the conversation.", fence(state, "json"))
        return "".join(f"\n{section}\n" for section in sections).encode()


def _message(message: Message) -> Iterator[str]:
    words = [str(message.number), message.role + (f" ({message.name})" if message.name else ""), message.time]
    yield "## " + " · ".join(_escaped(word) for word in words if word)
    if not message.blocks:
        yield "*Empty.*"
    for block in message.blocks:
        yield from _block(block, hard_breaks=message.role != "Assistant")


def _block(block: Block, *, hard_breaks: bool) -> Iterator[str]:
    match block:
        case Text(text=text, thinking=thinking):
            if thinking:
                yield "### Reasoning"
            yield quoted(text, hard_breaks=hard_breaks)
        case Data(text=text, label=label, language=language):
            yield f"### Data{f': {_escaped(label)}' if label else ''}"
            yield fence(text, language)
        case Note(text=text):
            yield f"*{_escaped(text)}*"
        case ToolCall(name=name, arguments=arguments, id=call_id):
            yield "### Tool call: " + " · ".join(_escaped(word) for word in (name, call_id) if word)
            yield fence(arguments, "json")
        case ToolResult():
            label = "Tool error" if block.failed else "Tool result"
            named = " · ".join(_escaped(word) for word in (block.name, block.id) if word)
            yield f"### {label}{f': {named}' if named else ''}"
            yield fence(block.text, "json" if block.json else "text") if block.text else "*Empty.*"
            for note in block.notes:
                yield f"*{_escaped(note)}*"


def quoted(text: str, *, hard_breaks: bool = False) -> str:
    """A message's text as a block quote. hard_breaks: each line end is one, as people who type expect."""
    lines: list[str] = []
    for piece in split(text.strip("\n")):
        if piece.code:
            lines += fence(piece.text, piece.language).split("\n")
        else:
            lines += _plain(piece, hard_breaks)
    return "\n".join(f"> {line}" if line else ">" for line in lines)


def _plain(piece: Piece, hard_breaks: bool) -> Iterator[str]:
    """Lines outside fences, made harmless; runs of lines indented as code are fenced."""
    code: list[str] = []  # the run of indented lines so far, blank lines in and after it included
    in_list, after_blank = False, True
    lines = piece.text.split("\n")
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line.strip():
            after_blank = True
            if code:
                code.append("")
            else:
                yield ""
            continue
        if not in_list and _INDENTED.match(line) and (after_blank or code):
            code.append(line)
            continue
        yield from _fenced(code)
        code = []
        if _LIST_ITEM.match(line):
            in_list = True
        elif after_blank and not line[0].isspace():
            in_list = False
        after_blank = False
        yield _harmless(line).rstrip() + ("  " if hard_breaks and following.strip() else "")
    yield from _fenced(code)


def _fenced(indented: list[str]) -> Iterator[str]:
    """Indented lines between fences, the blank lines at their end after it."""
    code = "\n".join(line[4:] if line.startswith("    ") else line.strip("\t") for line in indented)
    if bare := code.rstrip("\n"):
        yield from fence(bare).split("\n")
        yield from [""] * (len(code) - len(bare))


def _harmless(line: str) -> str:
    """One line without HTML, images, link definitions and code spans that reach beyond it."""
    out: list[str] = []
    closings = _Closings(line)
    at = 0
    while found := _CAREFUL.search(line, at):
        out.append(line[at : found.start()])
        token, at = found.group(), found.end()
        if token[0] == "`":
            end = closings.after(at, len(token))
            # In a table a bar ends the cell, also inside code.
            if end and not {"|", "<"} <= set(line[at:end]):
                out.append(line[found.start() : end])
                at = end
            else:
                out.append("\\`" * len(token))
        elif token == "](":
            out.append("](" if _LEADS.match(line, at) else "]\\(")
        else:
            out.append(_DEFUSED.get(token, token))
    out.append(line[at:])
    return "".join(out)


class _Closings:
    """Where the runs of backticks of a line end, by length; found in one pass, however many there are."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._ends: dict[int, list[int]] | None = None

    def after(self, at: int, length: int) -> int:
        """The end of the next run of that length that starts at ``at`` or later; 0 if there is none."""
        if self._ends is None:
            self._ends = {}
            for run in _TICKS.finditer(self._line):
                self._ends.setdefault(run.end() - run.start(), []).append(run.end())
        ends = self._ends.get(length, [])
        index = bisect_left(ends, at + length)
        return ends[index] if index < len(ends) else 0


def _escaped(text: str) -> str:
    """One line of text for our own headings and labels, without any meaning to Markdown."""
    return _SPECIAL.sub(lambda found: "\\" + found.group(), text)

"""The process that makes a PDF: a sheet (JSON, from pdf.py) on its standard input, the PDF on its output.

A process of its own, because typesetting takes hundreds of megabytes and many seconds for a long
conversation: it can be given a limit for both and the lowest priority, leaves nothing behind, and the functions
go on answering.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from asyouwere.service.export.fitting import Fitting, content
from asyouwere.service.export.fonts import Fonts
from asyouwere.service.export.markup import Markup, is_rtl, plain_blocks

__all__ = ["typeset"]

_TONES: Final = {
    "User": "user", "Assistant": "assistant", "System": "system", "Developer": "system", "Tool": "tool",
}  # fmt: skip
_MOST_COLOURED: Final = (
    60_000  # characters of code in a document; colouring costs ten times as much as setting
)
_OURS: Final = "•–…·○#:()[]0123456789"

Node = dict[str, Any]


def typeset(sheet: dict[str, Any]) -> bytes:
    """The PDF of a sheet: the fields of document.Conversation as plain JSON."""
    import typst

    page = _page(sheet)
    fonts = Fonts(_OURS + "".join(content(page)))
    page = Fitting(fonts).node(page)
    page["notice"] = _notice(len(fonts.missing))
    with TemporaryDirectory(prefix="asyouwere-") as folder:
        fonts.unpack(Path(folder))
        loaded = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[folder])
        page["families"] = list(dict.fromkeys([*fonts.families, *loaded.families()]))
        compiler = typst.Compiler(
            input=Path(__file__).with_name("template.typ").read_bytes(),
            root=folder,
            font_paths=loaded,
            sys_inputs={"document": json.dumps(page, ensure_ascii=False)},
        )
        made = compiler.compile(format="pdf")
    if not isinstance(made, bytes):
        raise TypeError("the typesetter gave no document")
    return made


def _page(sheet: dict[str, Any]) -> Node:
    markup = Markup()
    page: Node = {
        "title": sheet["title"],
        "footer": sheet["title"] if len(sheet["title"]) <= 70 else sheet["title"][:69] + "…",
        "rtl": bool(is_rtl(sheet["title"])),
        "facts": sheet["facts"],
        "messages": [_message(message, markup) for message in sheet["messages"]],
        "state": _code(sheet["state"], "json") if sheet["state"] else None,
    }
    code = _code_nodes(page)
    if sum(len(node["t"]) for node in code if node["lang"]) > _MOST_COLOURED:
        for node in code:
            node["lang"] = None
    return page


def _message(message: dict[str, Any], markup: Markup) -> Node:
    read = markup.blocks if message["role"] == "Assistant" else plain_blocks
    blocks = [node for block in message["blocks"] for node in _blocks(block, read)]
    return {
        "number": str(message["number"]),
        "role": message["role"],
        "tone": _TONES.get(message["role"], "other"),
        "name": message["name"],
        "time": message["time"],
        "blocks": blocks or [{"k": "note", "t": "Empty."}],
    }


def _blocks(block: dict[str, Any], read: Callable[[str], list[Node]]) -> list[Node]:
    """The nodes of a block of blocks.py."""
    match block["kind"]:
        case "text":
            inside = read(block["text"])
            return [{"k": "thinking", "b": inside}] if block["thinking"] else inside
        case "data":
            return [_labelled("Data", block["label"], "other", [_code(block["text"], block["language"])])]
        case "note":
            return [{"k": "note", "t": block["text"]}]
        case "tool_call":
            return [_labelled("Tool call", _named(block), "tool", [_code(block["arguments"], "json")])]
    inside = [_code(block["text"], "json" if block["json"] else None)] if block["text"] else []
    inside += [{"k": "note", "t": note} for note in block["notes"]]
    label = "Tool error" if block["failed"] else "Tool result"
    return [_labelled(label, _named(block), "tool", inside or [{"k": "note", "t": "Empty."}])]


def _named(block: dict[str, Any]) -> str:
    return " · ".join(word for word in (block["name"], block["id"]) if word)


def _labelled(label: str, name: str, tone: str, inside: list[Node]) -> Node:
    return {"k": "labelled", "label": label, "name": name, "tone": tone, "b": inside}


def _code(text: str, language: str | None) -> Node:
    return {"k": "code", "t": text, "lang": language}


def _code_nodes(node: Any) -> list[Node]:
    if isinstance(node, dict):
        found = [node] if node.get("k") == "code" and "lang" in node else []
        return found + [inner for value in node.values() for inner in _code_nodes(value)]
    return [inner for value in node for inner in _code_nodes(value)] if isinstance(node, list) else []


def _notice(missing: int) -> str:
    if missing == 0:
        return ""
    if missing == 1:
        return "One character has no font here and is shown by its number, like [U+A984]."
    return f"{missing:,} different characters have no font here and are shown by number, like [U+A984]."


def main() -> None:
    """Read the sheet, write the PDF. Arguments: seconds of processor time, bytes of memory."""
    seconds, memory_bytes = map(int, sys.argv[1:])
    if sys.platform != "win32":
        import resource

        os.nice(19)  # whatever else the function has to do goes first
        resource.setrlimit(resource.RLIMIT_CPU, (2 * seconds, 2 * seconds))  # two cores at most
        # What it allocates. Address space would count what is only reserved, and the programs' own files.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    sys.stdout.buffer.write(typeset(json.load(sys.stdin.buffer)))


if __name__ == "__main__":
    main()

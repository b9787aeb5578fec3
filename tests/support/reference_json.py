"""JSON read and written the slow, obvious way, to compare the real reader with. Shares no code with it.

A value is read as a pair: ("number", its spelling), ("literal", "true"), ("string", decoded text),
("list", [values]), ("object", [(key, value), ...] with duplicates, in order).
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["canonical", "read", "same_state", "split", "state"]

Value = tuple[str, Any]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


def read(text: str) -> Value:
    value, at = _read(text, _space(text, 0))
    assert _space(text, at) == len(text)
    return value


def canonical(text: str) -> str:
    """The canonical spelling, character by character."""
    return _write(read(text))


def state(text: str) -> Any:
    """A state as equality sees it: opened containers as dicts and lists, the rest as canonical text."""
    return _opened(read(text), 0)


def same_state(one: str, other: str) -> bool:
    return bool(state(one) == state(other))


def split(text: str) -> dict[tuple[str, int], str]:
    """The parts of a state by the definition of the wire form."""
    found: dict[tuple[str, int], str] = {}

    def visit(value: Any, path: str, depth: int) -> None:
        if depth:
            found[path, -1] = value if isinstance(value, str) else "{}" if isinstance(value, dict) else "[]"
        if isinstance(value, dict):
            for key, inner in value.items():
                spelled = _write(("string", key))[1:-1].replace("~", "~0").replace("/", "~1")
                visit(inner, f"{path}{spelled}/", depth + 1)
        elif isinstance(value, list):
            for item, body in enumerate(value):
                found[path, item] = body

    visit(state(text), "/", 0)
    return found


def _opened(value: Value, depth: int) -> Any:
    kind, content = value
    if depth < 3 and kind == "object":
        return {key: _opened(inner, depth + 1) for key, inner in content}
    if depth < 3 and kind == "list":
        return [_write(item) for item in content]
    return _write(value)


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _read(text: str, at: int) -> tuple[Value, int]:
    if text[at] == '"':
        string, at = _read_string(text, at)
        return ("string", string), at
    if text[at] == "[":
        items: list[Value] = []
        at = _space(text, at + 1)
        while text[at] != "]":
            item, at = _read(text, at)
            items.append(item)
            at = _next(text, at, "]")
        return ("list", items), at + 1
    if text[at] == "{":
        members: list[tuple[str, Value]] = []
        at = _space(text, at + 1)
        while text[at] != "}":
            key, at = _read_string(text, at)
            at = _space(text, at)
            assert text[at] == ":"
            value, at = _read(text, _space(text, at + 1))
            members.append((key, value))
            at = _next(text, at, "}")
        return ("object", members), at + 1
    for literal in ("true", "false", "null"):
        if text.startswith(literal, at):
            return ("literal", literal), at + len(literal)
    number = _NUMBER.match(text, at)
    assert number
    return ("number", number[0]), number.end()


def _next(text: str, at: int, close: str) -> int:
    at = _space(text, at)
    if text[at] == ",":
        at = _space(text, at + 1)
        assert text[at] != close
    else:
        assert text[at] == close
    return at


def _read_string(text: str, at: int) -> tuple[str, int]:
    assert text[at] == '"'
    units: list[str] = []
    at += 1
    while text[at] != '"':
        assert text[at] >= " "
        if text[at] != "\\":
            units.append(text[at])
            at += 1
        elif text[at + 1] == "u":
            units.append(chr(int(text[at + 2 : at + 6], 16)))
            at += 6
        else:
            units.append(_SHORT[text[at + 1]])
            at += 2
    return _joined(units), at + 1


def _joined(units: list[str]) -> str:
    """A high half followed by a low half is one character."""
    text: list[str] = []
    for unit in units:
        if text and "\ud800" <= text[-1] <= "\udbff" and "\udc00" <= unit <= "\udfff":
            text[-1] = chr(0x10000 + (ord(text[-1]) - 0xD800) * 0x400 + ord(unit) - 0xDC00)
        else:
            text.append(unit)
    return "".join(text)


def _write(value: Value) -> str:
    kind, content = value
    if kind == "string":
        return '"' + "".join(map(_write_character, content)) + '"'
    if kind == "list":
        return "[" + ",".join(map(_write, content)) + "]"
    if kind == "object":
        return "{" + ",".join(f"{_write(('string', key))}:{_write(inner)}" for key, inner in content) + "}"
    assert isinstance(content, str)
    return content


def _write_character(character: str) -> str:
    for letter, meant in _SHORT.items():
        if character == meant and letter != "/":
            return "\\" + letter
    if character < " " or "\ud800" <= character <= "\udfff":
        return f"\\u{ord(character):04x}"
    return character

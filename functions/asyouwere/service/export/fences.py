"""Fenced code in a message: found, and fenced again so that nothing inside can end it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Piece", "fence", "split"]

_OPENS: Final = re.compile(
    r"(?P<indent>[ \t]*)(?P<marker>(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<ticks>`{3,}|~{3,})(?P<info>.*)"
)
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9+#_.-]{1,30}")
_TICKS: Final = re.compile(r"`+")


class Piece(NamedTuple):
    """A run of a message. code: whether it was fenced; language: the fence's first word, or ""."""

    text: str
    code: bool = False
    language: str = ""


def split(text: str) -> Iterator[Piece]:
    """The text in order, cut at its fences (``` or ~~~, also indented or first in a list item).

    Code loses the indentation of its fence. A fence that nothing closes lasts to the end, as in Markdown.
    Lines are given back as they are; a fence costs its own two lines. What stands beside it, other than one
    word for the language, becomes a line before the code.
    """
    plain: list[str] = []
    lines = iter(text.split("\n"))
    for line in lines:
        opening = _OPENS.fullmatch(line) if "```" in line or "~~~" in line else None
        if opening is None or (opening["ticks"][0] == "`" and "`" in opening["info"]):
            plain.append(line)
            continue
        info = opening["info"].strip()
        word = _LANGUAGE.match(info)
        beside = info[word.end() :].strip() if word else info
        if opening["marker"]:
            plain.append(f"{opening['indent']}{opening['marker'].rstrip()} {beside}".rstrip())
        elif beside:
            plain.append(beside)
        if plain:
            yield Piece("\n".join(plain))
            plain = []
        code = "\n".join(_inside(lines, opening["ticks"], len(opening["indent"] + (opening["marker"] or ""))))
        yield Piece(code, True, word.group() if word else "")
    if plain:
        yield Piece("\n".join(plain))


def _inside(lines: Iterator[str], ticks: str, indent: int) -> Iterator[str]:
    """The lines up to the closing fence, which is taken as well."""
    for line in lines:
        bare = line.strip()
        if len(bare) >= len(ticks) and not bare.strip(ticks[0]):
            return
        stripped = line.lstrip(" \t")
        yield line[min(indent, len(line) - len(stripped)) :]


def fence(code: str, language: str = "") -> str:
    """The code between fences longer than any run of backticks in it."""
    longest = max((len(run) for run in _TICKS.findall(code)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{code}\n{ticks}"

"""Text that can be shown: characters that no paper and no Markdown file can hold become visible ones."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["one_line", "visible"]

# Colours and cursor moves of terminals, common in the output of tools. Nobody wants to read them.
_TERMINAL: Final = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]{0,200}(?:\x07|\x1b\\\\))")
_LINE_ENDS: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# NUL, controls (not tab and newline), lone surrogates, noncharacters.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_DIRECTION: Final = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]")
REPLACEMENT: Final = "\ufffd"


def visible(text: str) -> str:
    """The text with LF as its only line end and nothing that cannot be shown.

    NUL, lone surrogates and noncharacters become U+FFFD; other control characters their picture (backspace:
    U+2408); terminal colour codes go. Tabs stay.
    """
    if "\x1b" in text:
        text = _TERMINAL.sub("", text)
    return _UNPRINTABLE.sub(_picture, _LINE_ENDS.sub("\n", text))


def one_line(text: str, limit: int = 120) -> str:
    """The visible text on one line of at most ``limit`` characters, without marks that turn its direction."""
    # Cut first: a name may be a megabyte long.
    flat = " ".join(_DIRECTION.sub("", visible(text[: 4 * limit])).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0 < code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else REPLACEMENT

"""Text fitted to paper: no empty boxes, no line longer than the page, nothing that chokes the typesetter."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from asyouwere.service.export.characters import visible
from asyouwere.service.export.fonts import Fonts

__all__ = ["Fitting", "content"]

_LONGEST: Final = 40  # letters that surely fit on a line
_LONGEST_CODE: Final = 64
_MOST_MARKS: Final = 8  # on one letter; more can't be read, and shaping them takes quadratic time
_NOT_CONTENT: Final = {"k", "lang", "to", "tone", "families", "columns", "n", "rtl", "start", "tight"}
_BREAK: Final = "\u200b"

# Words that no line can hold. Scripts whose lines may break between any two letters, or by a dictionary, and
# emoji need no help.
_WORD: Final = re.compile(
    "[^\\s\u00ad\u200b\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff"
    "\uff00-\uffef\U0001f000-\U0003ffff]{40,}"  # _LONGEST
)
_JOINED: Final = re.compile("[\u0600-\u08ff\u0900-\u0dff\ufb50-\ufdff\ufe70-\ufefe]")
_LETTERS: Final = re.compile("(?s).[\u0300-\u036f\u200c\u200d\ufe00-\ufe0f]*")
# Direction marks, joiners and variation selectors in absurd numbers, and letters glued together without end:
# the typesetter takes minutes for the former and has a limit for the latter.
_INVISIBLE: Final = re.compile(
    "([\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\U000e0000-\U000e0fff]{16})"
    "[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\U000e0000-\U000e0fff]+"
)
_ENDLESS: Final = re.compile("[^\\s\u200b\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff]{64}")
# A letter and what may be marks on it: the blocks that hold marks, looked at more closely afterwards. Joiners
# may stand between them. Without a letter before it, a mark has nothing to stand on.
_MARKED: Final = re.compile(
    "([^\\s\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]?)([\u200c\u200d\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0711"
    "\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u0816-\u082d\u0859-\u085b\u08d3-\u0903\u093a-\u094f\u0951-\u0957"
    "\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a03\u0a3c-\u0a51\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57"
    "\u0b82\u0bbe-\u0bcd\u0c00-\u0c04\u0c3c-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d4d"
    "\u0d81-\u0d83\u0dca-\u0df3\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u0f18-\u0fbc"
    "\u102b-\u103e\u1056-\u108d\u135d-\u135f\u1712-\u1734\u17b4-\u17d3\u1a17-\u1b44\u1b6b-\u1c37\u1cd0-\u1cf9"
    "\u1dc0-\u1dff\u20d0-\u20f0\u2cef-\u2cf1\u2de0-\u2dff\u302a-\u302f\u3099\u309a\ua66f-\ua69f\ua6f0-\ua6f1"
    "\ua802-\ua827\ua8e0-\ua8f1\ua926-\ua953\ua980-\uabed\ufb1e\ufe20-\ufe2f]+)"
)


class Fitting:
    """Makes the content of a page fit; ``fonts`` are those of all its content."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts
        missing = "".join(sorted(fonts.missing))
        self._missing = re.compile(f"[{re.escape(missing)}]") if missing else None
        self._apart: dict[str, bool] = {}

    def node(self, node: Any) -> Any:
        """A tree of nodes (see markup.py) with its content fitted and everything else as it is."""
        if isinstance(node, str):
            return self.text(node)
        if isinstance(node, list):
            return [self.node(value) for value in node]
        if not isinstance(node, dict):
            return node
        return {key: value if key in _NOT_CONTENT else self._member(node, key) for key, value in node.items()}

    def _member(self, node: dict[str, Any], key: str) -> Any:
        if key == "t" and node["k"] == "code":
            return self.text(node["t"].expandtabs(4), _LONGEST_CODE)
        return self.node(node[key])

    def text(self, text: str, longest: int = _LONGEST) -> str:
        """The text with numbers for characters without font, and places to break in overlong words."""
        text = visible(text)
        if not text.isascii():
            text = _INVISIBLE.sub(r"\1", text)
            if self._missing:
                text = self._missing.sub(lambda found: _number(found.group()), text)
            text = _MARKED.sub(self._marked, text)
            text = _ENDLESS.sub(rf"\g<0>{_BREAK}", text)
        if len(text) < longest:
            return text
        return _WORD.sub(lambda found: _breakable(found.group(), longest), text)

    def _marked(self, found: re.Match[str]) -> str:
        """A letter with its marks; the marks as numbers if no one font has both."""
        letter, marks = found.groups()
        kinds = [unicodedata.category(character) for character in marks[:100]]
        if not any(kind[0] == "M" for kind in kinds):
            return found.group()
        more = len(marks) - _MOST_MARKS if set(kinds) == {"Mn"} else 0
        cluster = letter + (marks[:_MOST_MARKS] if more > 0 else marks)
        if cluster not in self._apart:
            self._apart[cluster] = not letter or not self._fonts.holds_together(cluster)
        if self._apart[cluster]:
            cluster = letter + "".join(map(_number, cluster[len(letter) :]))
        return f"{cluster}[+{more:,}]" if more > 0 else cluster


def content(node: Any) -> list[str]:
    """All content of a tree of nodes."""
    if isinstance(node, str):
        return [node]
    if isinstance(node, dict):
        return [text for key, value in node.items() if key not in _NOT_CONTENT for text in content(value)]
    return [text for value in node for text in content(value)] if isinstance(node, list) else []


def _breakable(word: str, longest: int) -> str:
    """A long word with invisible places to break. Joined letters stay in groups: a break unjoins them."""
    if len(word) < longest:
        return word
    if _JOINED.search(word):
        return _BREAK.join(word[at : at + 12] for at in range(0, len(word), 12))
    return _BREAK.join(_LETTERS.findall(word))


def _number(character: str) -> str:
    return f"[U+{ord(character):04X}]"

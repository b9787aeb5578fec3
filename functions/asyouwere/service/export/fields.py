"""The members of an object and which of them have been read: what nobody reads is shown as it is.

A rule takes what it shows or understands, ``rest()`` is what is left. So a message may have any form, and no
word of it is lost because a rule looked elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from asyouwere.service.export.blocks import Block, Data, Note
from asyouwere.service.export.characters import one_line, visible
from asyouwere.service.export.facts import human_size
from asyouwere.service.export.readable_json import Doubled, Number, parse, pretty

__all__ = ["Fields", "data", "details", "is_text", "opaque", "printed"]

_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})
#: Made by a model's provider for itself: nobody can read them, and they are long.
_OPAQUE: Final = ("encrypted_content", "signature", "thoughtSignature", "thought_signature")
_SHORT: Final = 120  # characters of a member that still reads well in a line with others
_FEW: Final = 6


def is_text(value: Any) -> TypeGuard[str]:
    """Whether a value of readable_json.parse was a JSON string."""
    return isinstance(value, str) and not isinstance(value, Number)


class Fields:
    """The members of one object. Members without content (null, "", [], {}) count as not there."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._left = {name: value for name, value in members.items() if value not in _EMPTY}
        self._earlier = members.earlier if isinstance(members, Doubled) else []

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def get(self, name: str) -> Any:
        """A member, which stays; None if it is not there or has been taken."""
        return self._left.get(name)

    def take(self, *names: str, of: type | None = None) -> Any:
        """The first of these members that is there (and of the type, for str: a JSON string), taken."""
        for name in names:
            if name in self._left and self._fits(name, of):
                return self._left.pop(name)
        return None

    def name(self, *names: str, limit: int = 80) -> str:
        """The first of these members that is a text, on one line; one that had to be cut is not taken."""
        for name in names:
            value = self._left.get(name)
            if is_text(value) and (shown := one_line(value, limit)):
                if len(value) <= 4 * limit and one_line(value, len(value) + 1) == shown:
                    del self._left[name]
                return shown
        return ""

    def put(self, name: str, value: Any) -> None:
        """What is left of a member that was taken to look inside."""
        self._left[name] = value

    def drop(self, name: str, *values: Any) -> None:
        """Take a member that says nothing beyond what is shown anyway, if it has one of the values."""
        if self._left.get(name) in values:
            del self._left[name]

    def rest(self) -> dict[str, Any]:
        """The members that nobody has taken."""
        if not self._earlier:
            return self._left
        left = Doubled(self._left)
        left.earlier = [(name, value) for name, value in self._earlier if value not in _EMPTY]
        return left

    def _fits(self, name: str, of: type | None) -> bool:
        value = self._left[name]
        return of is None or (is_text(value) if of is str else isinstance(value, of))


def details(fields: Fields, label: str) -> list[Block]:
    """What is left of an object: a line if it is short, else as JSON; what nobody can read by its size."""
    blocks: list[Block] = []
    for name in _OPAQUE:
        value = fields.get(name)
        if is_text(value) and len(value) > _SHORT:
            blocks.append(opaque(name.replace("_", " ").capitalize(), fields.take(name)))
    left = fields.rest()
    if not left and not (isinstance(left, Doubled) and left.earlier):
        return blocks
    if len(left) <= _FEW and not isinstance(left, Doubled) and all(map(_is_short, left.items())):
        return [*blocks, Note(", ".join(f"{visible(name)}: {_word(value)}" for name, value in left.items()))]
    return [*blocks, data(left, label)]


def _is_short(member: tuple[str, Any]) -> bool:
    name, value = member
    shown = _word(value) if not isinstance(value, (dict, list)) else "\n"
    return len(name) + len(shown) <= _SHORT and one_line(shown) == shown and one_line(name) == visible(name)


def _word(value: Any) -> str:
    return visible(value) if is_text(value) else pretty(value)


def opaque(label: str, payload: str) -> Note:
    """Encrypted or encoded content by its name and size."""
    return Note(f"{label}: encrypted, about {human_size(len(payload) * 3 // 4)}")


def data(value: Any, label: str = "") -> Data:
    """A value as indented JSON."""
    return Data(visible(pretty(value)), one_line(label, 60))


def printed(value: Any) -> tuple[str, bool]:
    """A value as text to read, and whether that is JSON; a string may hold some, as tool arguments do."""
    if not is_text(value):
        return visible(pretty(value)), True
    if value.lstrip()[:1] in ("{", "["):
        try:
            return visible(pretty(parse(value))), True
        except ValueError:
            pass
    return visible(value), False

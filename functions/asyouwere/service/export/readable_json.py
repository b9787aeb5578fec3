"""JSON as people read it: numbers spelled as they were sent, short containers on one line."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["Doubled", "Number", "parse", "pretty"]

_WIDTH: Final = 88
# Controls, line ends other than LF, lone surrogates, noncharacters.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_DEEPEST: Final = 200


class Number(str):
    """A JSON number with its spelling: 1.50 and a 40-digit integer survive."""

    __slots__ = ()


class Doubled(dict[str, Any]):
    """An object in which a key stood more than once: as everywhere the last one counts.

    earlier: the members before it that would be lost, in their order.
    """

    earlier: list[tuple[str, Any]]


def parse(text: str) -> Any:
    """A JSON text as Python values, numbers as ``Number``, objects with a key twice as ``Doubled``.

    Raises ValueError, also for absurd nesting.
    """
    try:
        return json.loads(
            text,
            parse_int=Number,
            parse_float=Number,
            parse_constant=Number,
            object_pairs_hook=_object,
            strict=False,
        )
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) == len(members):
        return found
    last = {name: place for place, (name, _) in enumerate(members)}
    doubled = Doubled(found)
    doubled.earlier = [member for place, member in enumerate(members) if last[member[0]] != place]
    return doubled


def pretty(value: Any) -> str:
    """Indented JSON text of a value from ``parse``; only characters that can't be shown are escaped.

    What is nested beyond 200 levels is left out and marked with an ellipsis.
    """
    return _shown(value, 0, _DEEPEST)


def _shown(value: Any, indent: int, depth: int) -> str:
    if not isinstance(value, (dict, list)):
        return _scalar(value)
    if not value and not _earlier(value):
        return "{}" if isinstance(value, dict) else "[]"
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        members = [*_earlier(value), *value.items()]
        parts = [f"{_scalar(str(key))}: {_shown(item, indent + 2, depth - 1)}" for key, item in members]
        opening, closing = "{", "}"
    else:
        parts = [_shown(item, indent + 2, depth - 1) for item in value]
        opening, closing = "[", "]"
    if indent + sum(map(len, parts)) + 2 * len(parts) <= _WIDTH and not any("\n" in part for part in parts):
        return f"{opening}{', '.join(parts)}{closing}"
    inner = " " * (indent + 2)
    return f"{opening}\n" + ",\n".join(inner + part for part in parts) + f"\n{' ' * indent}{closing}"


def _earlier(value: Any) -> list[tuple[str, Any]]:
    return value.earlier if isinstance(value, Doubled) else []


def _scalar(value: Any) -> str:
    if isinstance(value, Number):
        return str.__str__(value)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False))

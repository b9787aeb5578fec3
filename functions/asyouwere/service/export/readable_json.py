"""JSON as people read it: numbers spelled as they were sent, short containers on one line."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["Number", "parse", "pretty"]

_WIDTH: Final = 88
# Controls, line ends other than LF, halves of surrogate pairs, noncharacters.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_DEEPEST: Final = 200


class Number(str):
    """A JSON number with its spelling: 1.50 and a 40-digit integer survive."""

    __slots__ = ()


def parse(text: str) -> Any:
    """A JSON text as Python values, numbers as ``Number``. Raises ValueError, also for absurd nesting."""
    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number, strict=False)
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc


def pretty(value: Any) -> str:
    """Indented JSON text of a value from ``parse``; only characters that can't be shown are escaped.

    What is nested beyond 200 levels is left out and marked with an ellipsis.
    """
    return _shown(value, 0, _DEEPEST)


def _shown(value: Any, indent: int, depth: int) -> str:
    if not isinstance(value, (dict, list)):
        return _scalar(value)
    if not value:
        return "{}" if isinstance(value, dict) else "[]"
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        parts = [f"{_scalar(str(key))}: {_shown(item, indent + 2, depth - 1)}" for key, item in value.items()]
        opening, closing = "{", "}"
    else:
        parts = [_shown(item, indent + 2, depth - 1) for item in value]
        opening, closing = "[", "]"
    if indent + sum(map(len, parts)) + 2 * len(parts) <= _WIDTH and not any("\n" in part for part in parts):
        return f"{opening}{', '.join(parts)}{closing}"
    inner = " " * (indent + 2)
    return f"{opening}\n" + ",\n".join(inner + part for part in parts) + f"\n{' ' * indent}{closing}"


def _scalar(value: Any) -> str:
    if isinstance(value, Number):
        return str.__str__(value)
    return _UNPRINTABLE.sub(
        lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False)
    )

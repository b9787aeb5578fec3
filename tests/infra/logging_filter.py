"""Cloud Logging's query language, as far as our filters use it: comparisons joined by AND.

https://cloud.google.com/logging/docs/view/logging-query-language: a comparison with a field that is missing does not
match; text compares without case; a list in parentheses matches if one of its values does.
"""

from __future__ import annotations

import re
from typing import Any, Final

_SEVERITIES: Final = (
    "DEFAULT",
    "DEBUG",
    "INFO",
    "NOTICE",
    "WARNING",
    "ERROR",
    "CRITICAL",
    "ALERT",
    "EMERGENCY",
)
_COMPARISON: Final = re.compile(r"([a-zA-Z_.]+)(=|>=)(.+)")


def matches(query: str, entry: dict[str, Any]) -> bool:
    """Whether the log entry is one that the query finds. Raises ValueError for what it does not understand."""
    return all(_compare(part, entry) for part in re.split(r" AND (?![^(]*\))", query))


def _compare(part: str, entry: dict[str, Any]) -> bool:
    found = _COMPARISON.fullmatch(part)
    if found is None:
        raise ValueError(part)
    path, operator, text = found.groups()
    value: Any = entry
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    if path == "severity":
        return operator == ">=" and _SEVERITIES.index(value) >= _SEVERITIES.index(text)
    wanted = [_value(item) for item in text.strip("()").split(" OR ")]
    if operator == "=":
        return value in wanted
    return isinstance(value, int | float) and value >= wanted[0]


def _value(text: str) -> str | float:
    return text[1:-1] if text.startswith('"') and text.endswith('"') else float(text)

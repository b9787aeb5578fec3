"""Hypothesis strategies: JSON texts spelled in every way there is, and states that come from one another."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.property.exact import parse, written_twice

# Time limits on single examples fail on busy machines only.
settings.register_profile("asyouwere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("asyouwere")

__all__ = ["edits", "json_texts", "pairs_of_edits", "small_states", "state_texts"]

_SHORT = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", '"': '"', "\\": "\\", "/": "/"}

_spaces = st.sampled_from(["", "", "", " ", "\n  ", "\t", "\r\n"])

_characters = st.one_of(
    st.sampled_from(list('aZ 0/~."\\\b\f\n\r\t\x00\x1f\x7f\u2028é日😀u{}[],:')),
    st.sampled_from(["\ud800", "\udbff", "\udc00", "\udfff"]),
    st.characters(),
)


@st.composite
def _spelled_characters(draw: st.DrawFn) -> str:
    character = draw(_characters)
    style = draw(st.sampled_from("rrrsuU"))
    if style == "r" and character >= " " and character not in '"\\' and not "\ud800" <= character <= "\udfff":
        return character
    if style in "rs" and character in _SHORT:
        return "\\" + _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass").hex()
    spelled = "".join("\\u" + units[at : at + 4] for at in range(0, len(units), 4))
    return spelled.upper().replace("\\U", "\\u") if style == "U" else spelled


_strings = st.lists(_spelled_characters(), max_size=8).map(lambda characters: '"' + "".join(characters) + '"')

_keys = st.one_of(
    st.sampled_from(
        [
            "",
            "a/b",
            "a~b",
            "a.b",
            "0",
            "01",
            "-",
            "~1",
            "a",
            "b",
            "messages",
            "\\u0000",
            "\\\\u0000",
            "\\ud800",
        ]
    ).map(lambda key: f'"{key}"'),
    _strings,
)

_numbers = st.one_of(
    st.sampled_from(
        [
            "-0",
            "0",
            "-0.0",
            "1.0",
            "1E+2",
            "1e-7",
            "100e-2",
            "9" * 40,
            "-" + "7" * 300,
            "1.7976931348623157e308",
            "4.9e-324",
            "1e-400",
            "0.1000000000000000055511151231257827",
            "1e00005",
        ]
    ),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)

_scalars = st.one_of(
    _strings, _numbers, st.sampled_from(["true", "false", "null", "{}", "[]", "{ }", "[\n]"])
)


@st.composite
def _lists(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    return _container(draw, "[", draw(st.lists(inner, max_size=4)), "]")


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    members = [
        f"{draw(_keys)}{draw(_spaces)}:{draw(_spaces)}{draw(inner)}" for _ in range(draw(st.integers(0, 4)))
    ]
    return _container(draw, "{", members, "}")


def _container(draw: st.DrawFn, opening: str, inside: list[str], closing: str) -> str:
    separator = f"{draw(_spaces)},{draw(_spaces)}"
    return f"{opening}{draw(_spaces)}{separator.join(inside)}{draw(_spaces)}{closing}"


json_texts = st.recursive(_scalars, lambda inner: _lists(inner) | _objects(inner), max_leaves=12)
"""Any JSON text: odd spellings, whitespace, lone surrogates, keys written twice."""

state_texts = _objects(_objects(json_texts) | json_texts).filter(
    lambda text: not written_twice(parse(text), 0)
)
"""Any JSON object, spelled as oddly, but that no key stands twice where a state is opened: those are refused."""

# Few keys and few values, so that what two callers do often meets.
_small_scalars = st.sampled_from([0, 1, "x", None])
_small_items = st.sampled_from([0, 1, 2, "x", {"k": 1}, []])
_small_lists = st.lists(_small_items, max_size=4)
_names = st.sampled_from(["a", "b", "messages", "0", "a/b"])


def _small_objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(_names, inner, max_size=3)


_depth3 = st.one_of(_small_scalars, _small_lists, _small_objects(_small_scalars))
_depth2 = st.one_of(_small_scalars, _small_lists, _small_objects(_depth3))
_depth1 = st.one_of(_small_scalars, _small_lists, _small_objects(_depth2))
small_states = _small_objects(_depth1)
"""States as Python values, of few keys and few values."""


@st.composite
def _edited(draw: st.DrawFn, state: dict[str, Any]) -> dict[str, Any]:
    state = copy.deepcopy(state)
    for _ in range(draw(st.integers(0, 3))):
        depth, value = 0, state
        while depth < 2 and isinstance(value, dict):
            below = [inner for inner in value.values() if isinstance(inner, dict | list)]
            if not below or draw(st.booleans()):
                break
            value, depth = draw(st.sampled_from(below)), depth + 1
        _edit(draw, value, (_depth1, _depth2, _depth3)[depth])
    return state


def _edit(draw: st.DrawFn, value: Any, inside: st.SearchStrategy[Any]) -> None:
    if isinstance(value, dict):
        key = draw(_names)
        if draw(st.integers(0, 3)):
            value[key] = draw(inside)
        else:
            value.pop(key, None)
    elif draw(st.integers(0, 3)) > 1:
        value.extend(draw(st.lists(_small_items, min_size=1, max_size=2)))
    elif value and draw(st.booleans()):
        value.pop()
    elif value:
        value[draw(st.integers(0, len(value) - 1))] = draw(_small_items)


@st.composite
def pairs_of_edits(draw: st.DrawFn) -> tuple[str, str, str]:
    """Canonical texts of a base and of two states that were both made from it."""
    base = draw(small_states)
    states = (base, draw(_edited(base)), draw(_edited(base)))
    one, two, three = (json.dumps(state, separators=(",", ":"), ensure_ascii=False) for state in states)
    return one, two, three


def edits(text: str) -> st.SearchStrategy[str]:
    """Canonical texts of states that were made from this one."""
    return _edited(json.loads(text)).map(lambda state: json.dumps(state, separators=(",", ":"), ensure_ascii=False))

"""JSON text read without losing anything of it.

``json.loads`` forgets how a number was spelled, which key stood first and which stood twice. So JSON travels
through leftoff as *text*, in one canonical spelling: what JavaScript's ``JSON.stringify`` writes, except that
numbers keep their digits and objects keep their members, order and duplicates included. In detail:

- no whitespace outside strings;
- characters raw, also above ASCII; escaped are only ``"`` and ``\\``, the control characters (``\\b \\f \\n
  \\r \\t``, the others as ``\\u00xx``) and halves of surrogate pairs standing alone (``\\ud8xx``), hex in
  lower case.

``parse`` checks what came from outside and returns canonical text. The others take canonical text and do not
check it again::

    body = members(parse(b'{"base": 3, "state": {"n": 1.0}}'))
    body["state"]                                    # '{"n":1.0}'

Refused, with ``errors.Invalid`` and never with a word of the content:

- ``invalid_json``: not UTF-8, not JSON (RFC 8259; so neither NaN nor a byte order mark);
- ``number_out_of_range``: a number outside the range of a double (``1e309``), with an exponent beyond
  +-400, or of more than 400 characters. All others are kept digit by digit, also what a double can't tell
  apart, such as integers of 40 digits;
- ``nesting_too_deep``: containers in containers beyond ``max_depth`` levels, the outermost being level 1.

Every step is linear in the text, and no recursion is deeper than ``max_depth``.
"""

from __future__ import annotations

import json
import re
from math import isinf
from typing import Any, Final, NoReturn

from leftoff.errors import Invalid

__all__ = ["MAX_NESTING", "REQUEST_NESTING", "check_nesting", "encode", "items", "members", "parse", "skip"]

MAX_NESTING: Final = 64
"""Levels of containers a state may have, the state itself being the first."""

REQUEST_NESTING: Final = MAX_NESTING + 3
"""The same for a request that holds changes: {"changes": {"set": {"": state}}} adds three levels."""

_LONGEST_NUMBER: Final = 400  # characters
_LARGEST_EXPONENT: Final = 400
# Any number without exponent that is refused has a longer run of digits than this.
_LONG_RUN: Final = b"0" * 300

_CHUNK: Final = 1 << 18
_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_ONE_KIND_OF_BRACKET: Final = bytes.maketrans(b"[]{}", b"()()")
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789.", b"0000000000")
_WHITESPACE: Final = b" \t\r\n"

_ESCAPED_UNITS: Final = re.compile(r"\\u[0-9a-fA-F]{4}(?:\\u[0-9a-fA-F]{4})*+")
_SURROGATES: Final = re.compile("[\ud800-\udfff]+")
_MUST_ESCAPE: Final = re.compile('["\\\\\x00-\x1f\ud800-\udfff]')
_KEY: Final = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)":')
_SCALAR: Final = re.compile(r"[-0-9a-z][-+.0-9a-zA-Z]*+")  # but for strings
_SHORT_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
}  # fmt: skip


def parse(raw: bytes, *, max_depth: int = MAX_NESTING) -> str:
    """The canonical text of a JSON document. Raises invalid_json, number_out_of_range, nesting_too_deep."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("invalid_json", "The body is not UTF-8.") from None
    outside = _outside_strings(raw)
    _check_brackets(outside, max_depth)  # first, because the decoder recurses
    try:
        (_CHECKING if _has_unusual_number(outside) else _TRUSTING).decode(text)
    except json.JSONDecodeError as error:
        raise Invalid("invalid_json", f"The body is not valid JSON, from character {error.pos} on.") from None
    spaced = len(outside.translate(None, _WHITESPACE)) != len(outside)
    if spaced or b"\\u" in raw or b"\\/" in raw:
        return _canonical(text, spaced=spaced)
    return text


def members(text: str) -> dict[str, str]:
    """The members of an object: key to value, both canonical text; the key without its quotes.

    Of a key that stands twice the last value counts, as in ``JSON.parse``. Raises ValueError for other kinds.
    """
    if text[:1] != "{":
        raise ValueError("not a JSON object")
    found: dict[str, str] = {}
    at = 1
    while text[at] != "}":
        key, start = key_at(text, at)
        end = skip(text, start)
        found[key] = text[start:end]
        at = end + 1 if text[end] == "," else end
    return found


def items(text: str) -> list[str]:
    """The items of a list, each as canonical text. Raises ValueError for another kind."""
    if text[:1] != "[":
        raise ValueError("not a JSON list")
    return items_at(text, 0)[0]


def items_at(text: str, at: int) -> tuple[list[str], int]:
    """The items of the list that opens at this character, and where the text goes on after it."""
    found: list[str] = []
    at += 1
    first = text[at]
    if first == "]":
        return found, at + 1
    if first not in '"[{':
        # A list of nothing but numbers has a place for each of them: not one call each.
        close = text.index("]", at)
        flat = text[at:close]
        if not ('"' in flat or "[" in flat or "{" in flat):
            return flat.split(","), close + 1
    while True:
        end = skip(text, at)
        found.append(text[at:end])
        at = end + 1
        if text[end] == "]":
            return found, at


def key_at(text: str, at: int) -> tuple[str, int]:
    """The key that opens at this character, without its quotes, and where its value begins."""
    key = _KEY.match(text, at)
    if key is None:
        raise ValueError("not canonical JSON")
    return key[1], key.end()


def skip(text: str, at: int) -> int:
    """Where the value ends that begins at this character."""
    if scalar := _SCALAR.match(text, at):
        return scalar.end()
    return _TRUSTING.raw_decode(text, at)[1]


def encode(value: Any) -> str:
    """The canonical text of a Python value. Numbers are spelled as Python spells them.

    Raises number_out_of_range (NaN, Infinity), nesting_too_deep; TypeError as json does.
    """
    try:
        text = _ENCODER.encode(value)
    except ValueError:
        raise Invalid("number_out_of_range") from None
    except RecursionError:
        raise Invalid("nesting_too_deep") from None
    return _SURROGATES.sub(_escaped_surrogates, text)


def check_nesting(text: str, max_depth: int) -> None:
    """Raises nesting_too_deep unless the value has at most that many levels of containers."""
    if text.count("[") + text.count("{") > max_depth:
        _check_brackets(_outside_strings(text.encode("utf-8")), max_depth)


def _outside_strings(raw: bytes) -> bytes:
    """What is left of a document without its strings. Means something for valid JSON only."""
    if b"\\" in raw:
        # Read from the left, each backslash takes the next character along, so that pairs can go ...
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # ... and each quote left opens or closes a string.
    pieces: list[bytes] = []
    inside = 0
    for start in range(0, len(raw), _CHUNK):  # in chunks, because a list of all strings takes much memory
        between = raw[start : start + _CHUNK].split(b'"')
        pieces += between[inside::2]
        inside ^= (len(between) - 1) & 1
    return b"".join(pieces)


def _check_brackets(outside: bytes, max_depth: int) -> None:
    brackets = outside.translate(_ONE_KIND_OF_BRACKET, _NOT_BRACKETS)
    if len(brackets) <= 2 * max_depth:
        return  # too few to be too deep; whether they pair, the decoder sees
    for _ in range(max_depth):
        fewer = brackets.replace(b"()", b"")  # takes the innermost level away, everywhere
        if not fewer:
            return
        if len(fewer) == len(brackets):
            raise Invalid("invalid_json", "The body is not valid JSON: its brackets do not pair.")
        brackets = fewer
    raise Invalid("nesting_too_deep")


def _has_unusual_number(outside: bytes) -> bool:
    if outside.count(b"e") + outside.count(b"E") > outside.count(b"true") + outside.count(b"false"):
        return True
    return _LONG_RUN in outside.translate(_DIGITS_TO_ZERO)


def _check_number(number: str) -> None:
    _, _, exponent = number.lower().partition("e")
    if (
        len(number) > _LONGEST_NUMBER
        or (exponent and abs(int(exponent)) > _LARGEST_EXPONENT)
        or isinf(float(number))
    ):
        raise Invalid("number_out_of_range")


def _refuse_constant(_: str) -> NoReturn:
    raise Invalid("invalid_json", "NaN and Infinity are not JSON.")


# Both run in C; the checking one calls back for each number, so it runs only where one looks unusual.
_TRUSTING: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_CHECKING: Final = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_check_number, parse_int=_check_number
)


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)


def _canonical(text: str, *, spaced: bool) -> str:
    """The canonical spelling of text that is known to be valid JSON."""
    # Raw control characters can't be in it (but as whitespace), so two of them may stand for what must not be
    # taken for an escape or for the end of a string.
    text = text.replace("\\\\", "\x00").replace('\\"', "\x01")
    if spaced:
        pieces = text.split('"')
        outside = '"'.join(pieces[::2])
        for space in " \t\r\n":
            outside = outside.replace(space, "")
        pieces[::2] = outside.split('"')
        text = '"'.join(pieces)
    text = text.replace("\\/", "/")
    if "\\u" in text:
        text = _ESCAPED_UNITS.sub(_unescaped, text)
    return text.replace("\x01", '\\"').replace("\x00", "\\\\")


def _unescaped(units: re.Match[str]) -> str:
    run = units[0]
    if len(run) == 6:
        text = chr(int(run[2:], 16))
    else:
        text = bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be", "surrogatepass")
    return text if text.isalnum() else _MUST_ESCAPE.sub(_escape, text)


def _escape(character: re.Match[str]) -> str:
    return _SHORT_ESCAPES.get(character[0]) or f"\\u{ord(character[0]):04x}"


def _escaped_surrogates(run: re.Match[str]) -> str:
    # Two halves side by side are one character to every reader of JSON.
    joined = run[0].encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    return _MUST_ESCAPE.sub(_escape, joined)

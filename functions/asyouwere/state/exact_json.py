"""JSON text read without losing anything of it.

``json.loads`` forgets how a number was spelled, which key stood first and which stood twice. So JSON travels
through asyouwere as *text*, in one canonical spelling: what JavaScript's ``JSON.stringify`` writes, except that
numbers keep their digits and objects keep their members, order and duplicates included. In detail:

- no whitespace outside strings;
- characters raw, also above ASCII; escaped are only ``"`` and ``\\``, the control characters (``\\b \\f \\n
  \\r \\t``, the others as ``\\u00xx``) and lone surrogates (``\\ud8xx``), hex in
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

Every step is linear in the text. Nothing is built of it: a list of five million ones costs no more memory
than one string of the same length, and there is no recursion.

**Views.** One emoji makes Python keep a whole text with four bytes a character. ``parse_view`` gives the same
canonical text as a *view*: a str with one character for each byte of its UTF-8. All that JSON is made of is
ASCII, so everything here works on views as it does on text; ``as_text`` and ``as_view`` are the ways across.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from math import isinf
from typing import Any, Final

from asyouwere.errors import Invalid

__all__ = [
    "ANY_NESTING",
    "MAX_NESTING",
    "REQUEST_NESTING",
    "as_text",
    "as_view",
    "check_nesting",
    "each_item",
    "each_member",
    "encode",
    "items",
    "members",
    "parse",
    "parse_view",
    "skip",
]

MAX_NESTING: Final = 64
"""Levels of containers a state may have, the state itself being the first."""

REQUEST_NESTING: Final = MAX_NESTING + 3
"""Levels of containers a request may have: {"changes": {"set": {"": state}}} adds three to those of a state."""

ANY_NESTING: Final = 1_000_000
"""As good as no limit, for what has been checked."""

_LONGEST_NUMBER: Final = 400  # characters
_LARGEST_EXPONENT: Final = 400
_CHUNK: Final = 1 << 18

# What a value looks like. No group with alternatives is repeated possessively (Python before 3.11.5 gets
# those wrong), and no other repetition goes on for long, because it takes memory for each round.
_SPACE_PATTERN: Final = r"[ \t\r\n]*+"
_STRING_PATTERN: Final = r'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"'  # escapes are looked at apart
_ORDINARY_NUMBER: Final = r"-?(?:0|[1-9][0-9]{0,99}+)(?:\.[0-9]{1,99}+)?(?:[eE][-+]?[0-9]{1,2}+)?(?![0-9.eE])"
_SCALAR_PATTERN: Final = f"(?:{_STRING_PATTERN}|{_ORDINARY_NUMBER}|true|false|null)"


def _small(inside: str) -> str:
    """The pattern of a scalar, or of a container with up to 64 values of the pattern ``inside``."""
    w = _SPACE_PATTERN
    one = f"{inside}{w}(?:,{w}(?![]}}])|(?=[]}}]))"
    pairs = f"{_STRING_PATTERN}{w}:{w}{one}"
    return rf"(?:{_SCALAR_PATTERN}|\[{w}(?:{one}){{0,64}}\]|\{{{w}(?:{pairs}){{0,64}}\}})"


_SMALL_LEVELS: Final = 2
_SPACE: Final = re.compile(_SPACE_PATTERN)
_SCALAR: Final = re.compile(_SCALAR_PATTERN)
_SMALL: Final = re.compile(_small(_small(_SCALAR_PATTERN)))
_SCALARS: Final = re.compile(f"(?:{_SCALAR_PATTERN}{_SPACE_PATTERN},{_SPACE_PATTERN}){{1,256}}")
_FLAT: Final = re.compile(f"(?:{_small(_SCALAR_PATTERN)}{_SPACE_PATTERN},{_SPACE_PATTERN}){{1,256}}")
_PAIRS: Final = re.compile(
    f"(?:{_STRING_PATTERN}{_SPACE_PATTERN}:{_SPACE_PATTERN}{_SCALAR_PATTERN}{_SPACE_PATTERN},{_SPACE_PATTERN}){{1,256}}"
)
_OPENING: Final = re.compile(rf"(?:\[{_SPACE_PATTERN}){{1,256}}")
_CLOSING: Final = re.compile(r"[]}]{1,64}")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?")
_KEY: Final = re.compile(f"({_STRING_PATTERN}){_SPACE_PATTERN}:{_SPACE_PATTERN}")
# The first backslash of several; pairs of them after it; and then none that takes the next character along.
_BAD_ESCAPE: Final = re.compile(r'\\(?<!\\\\)(?:\\\\)*+(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
# A piece of text that ends neither inside an escape nor between two that belong together.
_STRETCH: Final = re.compile(
    r"(?:[^\\]{1,1024}+|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|\\u[0-9a-fA-F]{4}|\\[^u]){1,256}"
)

_ESCAPED_UNITS: Final = re.compile(r"\\u[0-9a-fA-F]{4}(?:\\u[0-9a-fA-F]{4})*+")
_SPACES: Final = re.compile(r"[ \t\r\n]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]+")
_MUST_ESCAPE: Final = re.compile('["\\\\\x00-\x1f\ud800-\udfff]')
_SHORT_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
}  # fmt: skip


def parse(raw: bytes | bytearray, *, max_depth: int = MAX_NESTING) -> str:
    """The canonical text of a JSON document. Raises invalid_json, number_out_of_range, nesting_too_deep."""
    return as_text(parse_view(raw, max_depth=max_depth))


def parse_view(raw: bytes | bytearray, *, max_depth: int = MAX_NESTING) -> str:
    """The canonical text of a JSON document as a view. Raises like parse.

    A bytearray is taken over: it is empty afterwards, so that its memory is free.
    """
    _check_utf8(raw)
    text = raw.decode("latin-1")
    if isinstance(raw, bytearray):
        raw.clear()
    at = _after_space(text, 0)
    end = _after_space(text, skip(text, at, max_depth))
    if end < len(text):
        raise _not_json(end)
    if "\\" in text and (bad := _BAD_ESCAPE.search(text)):
        raise _not_json(bad.end())
    canonical = _canonical(text)
    if canonical is None:
        return text
    del text  # or there are three of them
    return canonical.decode("latin-1")


def as_text(view: str) -> str:
    """What a view shows."""
    return view if view.isascii() else view.encode("latin-1").decode()


def as_view(text: str) -> str:
    """A text as a view: one character for each byte of its UTF-8."""
    return text if text.isascii() else text.encode().decode("latin-1")


def members(text: str) -> dict[str, str]:
    """The members of an object: key to value, both canonical text; the key without its quotes.

    Of a key that stands twice the last value counts, as in ``JSON.parse``. Raises ValueError for other kinds.
    """
    return {key: text[start:end] for key, start, end in each_member(text)}


def items(text: str) -> list[str]:
    """The items of a list, each as canonical text. Raises ValueError for another kind."""
    return [text[start:end] for start, end in each_item(text)]


def each_member(text: str, at: int = 0) -> Iterator[tuple[str, int, int]]:
    """Key, begin and end of each member of the object that opens at this character. Raises like members."""
    if text[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    at += 1
    while text[at] != "}":
        key, start = key_at(text, at)
        end = skip(text, start)
        yield key, start, end
        at = end + 1 if text[end] == "," else end


def each_item(text: str, at: int = 0, max_depth: int = ANY_NESTING) -> Iterator[tuple[int, int]]:
    """Begin and end of each item of the list that opens at this character. Raises like items, and
    nesting_too_deep for an item of more levels."""
    if text[at : at + 1] != "[":
        raise ValueError("not a JSON list")
    at += 1
    while text[at] != "]":
        end = skip(text, at, max_depth)
        yield at, end
        at = end + 1 if text[end] == "," else end


def key_at(text: str, at: int) -> tuple[str, int]:
    """The key that opens at this character, without its quotes, and where its value begins."""
    key = _KEY.match(text, at)
    if key is None:
        raise _not_json(at)
    return key[1][1:-1], key.end()


def skip(text: str, at: int, max_depth: int = ANY_NESTING) -> int:
    """Where the value ends that begins at this character. Also for JSON that nobody has checked yet.

    Raises invalid_json, number_out_of_range, nesting_too_deep.
    """
    within = ""  # the brackets that will close the containers around this character, the next one first
    while True:
        whole = (_SMALL if len(within) + _SMALL_LEVELS <= max_depth else _SCALAR).match(text, at)
        if whole:
            at = whole.end()
        elif lists := _OPENING.match(text, at):
            within = "]" * lists[0].count("[") + within
            if len(within) > max_depth:
                raise Invalid("nesting_too_deep")
            at = lists.end()
            if not text.startswith("]", at):
                at = _next_value(text, at, "]", len(within) < max_depth)
                continue
        elif text.startswith("{", at):
            if len(within) >= max_depth:
                raise Invalid("nesting_too_deep")
            within = "}" + within
            at = _after_space(text, at + 1)
            if not text.startswith("}", at):
                at = key_at(text, at)[1]
                continue
        else:
            at = _after_number(text, at)
        # A value ends here, and perhaps the containers that it stands in.
        while within:
            if closing := _CLOSING.match(text, at):
                run = closing[0] if len(closing[0]) <= len(within) else closing[0][: len(within)]
                if not within.startswith(run):
                    raise _not_json(at)
                within = within[len(run) :]
                at += len(run)
                continue
            at = _after_space(text, at)
            if text.startswith(",", at):
                at = _next_value(text, _after_space(text, at + 1), within[0], len(within) < max_depth)
                break
            if not text.startswith(within[0], at):
                raise _not_json(at)
        else:
            return at


def _next_value(text: str, at: int, closing: str, flat: bool) -> int:
    """Where the next value of the container begins that is worth a look; many plain ones are passed over.

    flat: whether they may be containers of scalars as well.
    """
    if closing == "}":
        pairs = _PAIRS.match(text, at)
        return key_at(text, pairs.end() if pairs else at)[1]
    plain = (_FLAT if flat else _SCALARS).match(text, at)
    return plain.end() if plain else at


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _after_number(text: str, at: int) -> int:
    """The end of a number that is not an ordinary one."""
    number = _NUMBER.match(text, at)
    if number is None:
        raise _not_json(at)
    if number.end() - at > _LONGEST_NUMBER:
        raise Invalid("number_out_of_range")
    _, _, exponent = number[0].lower().partition("e")
    if (exponent and abs(int(exponent)) > _LARGEST_EXPONENT) or isinf(float(number[0])):
        raise Invalid("number_out_of_range")
    return number.end()


def _check_utf8(raw: bytes | bytearray) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(raw), _CHUNK):
            decoder.decode(raw[start : start + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise Invalid("invalid_json", "The body is not UTF-8.") from None


def _not_json(at: int) -> Invalid:
    return Invalid("invalid_json", f"The body is not valid JSON, from byte {at} on.")


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
    return text if text.isascii() else _SURROGATES.sub(_escaped_surrogates, text)


def check_nesting(text: str, max_depth: int) -> None:
    """Raises nesting_too_deep unless the value has at most that many levels of containers."""
    if text.count("[") + text.count("{") > max_depth:
        skip(text, 0, max_depth)


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)


def _canonical(text: str) -> bytearray | None:
    """The canonical spelling of a view that is known to be valid JSON; None if it has that already."""
    if not any(sign in text for sign in (" ", "\t", "\r", "\n", "\\u", "\\/")):
        return None
    written = bytearray()
    changed = False
    inside = False  # a string
    at = 0
    while at < len(text):
        # In pieces, because a list of all strings takes many times their memory.
        stretch = _STRETCH.match(text, at)
        if stretch is None:
            raise _not_json(at)
        respelled, inside = _respelled(stretch[0], inside)
        changed = changed or respelled != stretch[0]
        written += respelled.encode("latin-1")
        at = stretch.end()
    return written if changed else None


def _respelled(text: str, inside: bool) -> tuple[str, bool]:
    """The canonical spelling of a stretch of a text that begins inside a string or outside; and where it ends."""
    # Raw control characters can't be in it (but as whitespace), so two of them may stand for what must not be
    # taken for an escape or for the end of a string.
    if "\\" in text:
        text = text.replace("\\\\", "\x00").replace('\\"', "\x01")
    pieces = text.split('"')
    outside = '"'.join(pieces[inside::2])
    if _SPACES.search(outside):
        for space in " \t\r\n":
            outside = outside.replace(space, "")
        pieces[inside::2] = outside.split('"')
        text = '"'.join(pieces)
    if "\\" in text or "\x00" in text or "\x01" in text:
        text = text.replace("\\/", "/")
        if "\\u" in text:
            text = _ESCAPED_UNITS.sub(_unescaped, text)
        text = text.replace("\x01", '\\"').replace("\x00", "\\\\")
    return text, inside ^ (len(pieces) % 2 == 0)


def _unescaped(units: re.Match[str]) -> str:
    run = units[0]
    if len(run) == 6:
        text = chr(int(run[2:], 16))
    else:
        text = bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be", "surrogatepass")
    return as_view(text if text.isalnum() else _MUST_ESCAPE.sub(_escape, text))


def _escape(character: re.Match[str]) -> str:
    return _SHORT_ESCAPES.get(character[0]) or f"\\u{ord(character[0]):04x}"


def _escaped_surrogates(run: re.Match[str]) -> str:
    # Two surrogates side by side are one character to every reader of JSON.
    joined = run[0].encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    return _MUST_ESCAPE.sub(_escape, joined)

"""Addresses of parts: JSON Pointers as people write them, paths as they are stored.

    pointer  /memory/a~1b    path  /memory/a~1b/
    pointer  /messages/12    path  /messages/  and the item 12
    pointer  (empty)         path  /

A path spells each key as inside a JSON string first and escapes ``~`` and ``/`` after that. The pointer of
a path is therefore a JSON string already: the path without its closing slash, between quotes.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Final

from asyouwere.errors import Invalid
from asyouwere.state import exact_json

__all__ = [
    "MAX_PATH_BYTES",
    "OPENED_DEPTH",
    "address_data",
    "check_path",
    "depth_of",
    "is_index",
    "last_key",
    "parent_of",
    "path_of",
    "path_of_text",
    "pointer_of",
    "pointer_text",
    "step",
]

MAX_PATH_BYTES: Final = 2_000
"""Longest path that is stored, in bytes of UTF-8, its closing slash included."""

OPENED_DEPTH: Final = 3
"""Containers above this depth are opened; the root's depth is 0."""

_LONE_TILDE: Final = re.compile("~(?![01])")
_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")


@functools.cache
def _path() -> re.Pattern[str]:
    # Compiled on first use, which is rare. Keys as JSON.stringify spells them, never a raw quote,
    # backslash or control character.
    return re.compile(
        r"/(?:(?:[^/~\"\\\x00-\x1f\ud800-\udfff]|~[01]|\\[bfnrt\"\\]|\\u00(?:0[0-7bef]|1[0-9a-f])"
        r"|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])|\\ud[c-f][0-9a-f]{2})*+/){1,3}"
    )


def path_of(pointer: str) -> str:
    """The path of a pointer. Raises invalid_address, address_too_long."""
    return path_of_text(exact_json.encode(pointer)[1:-1])


def path_of_text(text: str) -> str:
    """The path of a pointer that is given as canonical JSON, without its quotes. Raises the same."""
    if (text and text[0] != "/") or _LONE_TILDE.search(text):
        raise Invalid(
            "invalid_address",
            'An address is a JSON Pointer: it starts with "/"; in keys "~" is written "~0" and "/" "~1".',
            data=address_data(text + "/"),
        )
    path = text + "/"
    check_length(path)
    return path


def pointer_of(path: str, item: int = -1) -> str:
    """The pointer of a path, or of an item of the list there."""
    pointer: str = json.loads(pointer_text(path, item))
    return pointer


def pointer_text(path: str, item: int = -1) -> str:
    """The pointer of a path, or of an item of the list there, as a canonical JSON string, with its quotes."""
    return f'"{path[:-1]}"' if item < 0 else f'"{path}{item}"'


def address_data(path: str, item: int = -1, **others: str) -> str:
    """What an error tells of an address (and of others, by name, given as paths), as the text of a JSON object.

    Of one that is longer than any may be it is how it begins, up to the first escape, so that none is cut.
    """
    address = pointer_text(path, item)
    if len(address) > MAX_PATH_BYTES // 4 and len(address.encode("utf-8")) > MAX_PATH_BYTES + 1:
        begin = address[1:201].partition("\\")[0]
        address = f'"{begin} …"'
    told = {"address": address, **{name: pointer_text(other) for name, other in others.items()}}
    return "{" + ",".join(f'"{name}":{text}' for name, text in told.items()) + "}"


def check_path(path: str) -> int:
    """The depth (1 to 3) of a part's path that came from outside.

    Raises invalid_address, address_too_long.
    """
    if not _path().fullmatch(path):
        raise Invalid("invalid_address", "A stored path is not spelled as paths are.")
    check_length(path)
    return depth_of(path)


def check_length(path: str) -> None:
    if len(path) > MAX_PATH_BYTES // 4 and len(path.encode("utf-8")) > MAX_PATH_BYTES:
        raise Invalid("address_too_long", data=address_data(path))


def step(key: str) -> str:
    """What a key adds to the path of its object; the key as canonical JSON, without its quotes."""
    if "~" in key or "/" in key:
        key = key.replace("~", "~0").replace("/", "~1")
    return key + "/"


def depth_of(path: str) -> int:
    """How many keys a path has; 0 for the root."""
    return path.count("/") - 1


def parent_of(path: str) -> str:
    """The path of the container that this path's last key is in."""
    return path[: path.rindex("/", 0, -1) + 1]


def last_key(path: str) -> str:
    """The last key of a path, as it stands there."""
    return path[path.rindex("/", 0, -1) + 1 : -1]


def is_index(key: str) -> bool:
    """Whether a key, as it stands in a path, may be the position of an item."""
    return _INDEX.fullmatch(key) is not None

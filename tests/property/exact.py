"""JSON read and written without losing anything, and states as trees of parts.

Written apart from the product's own reader, so that a mistake there can't hide a mistake here. Numbers keep
their spelling (Number), objects their members in order, twice written ones included (Members).

A tree is a state opened by the rule of parts: a dict for an opened object (key -> tree), a list of bodies for
an opened list, and a str, the body, for what is kept whole. Keys are Python strings, decoded.
"""

from __future__ import annotations

import functools
import json
import random
import re
from typing import Any, TypeAlias

Keys: TypeAlias = tuple[str, ...]
Address: TypeAlias = tuple[Keys, int]
"""The keys of a member and -1, or those of a list and the position of an item."""

Tree: TypeAlias = "dict[str, Tree] | list[str] | str"
State: TypeAlias = "dict[str, Tree]"

OPENED_DEPTH = 3
INDEX = re.compile("0|[1-9][0-9]{0,8}")
SURROGATE = re.compile("[\ud800-\udfff]")


class Number(str):
    """A number as it is spelled."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """The members of an object in order."""

    __slots__ = ()


_DECODER = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=Number, object_pairs_hook=Members
)


def parse(text: str) -> Any:
    """A value of Number, str, bool, None, list and Members."""
    return _DECODER.decode(text)


def dump(value: Any, style: random.Random | None = None) -> str:
    """Its canonical text; with a style, the same value with whitespace and escapes strewn in."""
    space = "" if style is None else style.choice(["", "", " ", "\n", "\t "])
    if isinstance(value, Number):
        text = str(value)
    elif isinstance(value, str):
        text = _string(value, style)
    elif isinstance(value, Members):
        text = "{" + ",".join(f"{_string(k, style)}{space}:{dump(v, style)}" for k, v in value) + space + "}"
    elif isinstance(value, list):
        text = "[" + ",".join(dump(item, style) for item in value) + space + "]"
    else:
        text = {True: "true", False: "false", None: "null"}[value]
    return space + text + space


def _string(text: str, style: random.Random | None) -> str:
    if style is not None and style.random() < 0.3:
        return json.dumps(text, ensure_ascii=True).replace("/", style.choice(["/", "\\/"]))
    return SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", json.dumps(text, ensure_ascii=False))


def respell(text: str, seed: int) -> str:
    """The same JSON in another spelling, always the same one for a seed."""
    return dump(parse(text), random.Random(seed))


def opened(value: Any, depth: int) -> Tree:
    """The tree of a value that stands that many keys deep."""
    if depth < OPENED_DEPTH:
        if isinstance(value, Members):
            return {key: opened(inner, depth + 1) for key, inner in value}
        if isinstance(value, list):
            return [dump(item) for item in value]
    return dump(value)


def written_twice(value: Any, depth: int) -> bool:
    """Whether a key stands twice in an object that is opened, the value standing that many keys deep."""
    if depth >= OPENED_DEPTH or not isinstance(value, Members):
        return False
    keys = [key for key, _ in value]
    return len(set(keys)) < len(keys) or any(written_twice(inner, depth + 1) for _, inner in value)


def state_of(text: str) -> State:
    """The tree of a whole state."""
    tree = opened(parse(text), 0)
    assert isinstance(tree, dict), "a state is an object"
    return tree


def render(tree: Tree) -> str:
    """The text of a tree, members as they come."""
    if isinstance(tree, dict):
        return "{" + ",".join(f"{dump(key)}:{render(inner)}" for key, inner in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(tree) + "]"
    return tree


def copy(tree: State) -> State:
    """A copy that shares nothing that can change."""
    return {
        key: copy(inner) if isinstance(inner, dict) else list(inner) if isinstance(inner, list) else inner
        for key, inner in tree.items()
    }


def at(tree: Tree, keys: Keys) -> Tree | None:
    """What stands at the keys of a member; None if nothing does."""
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree


def body_of(tree: Tree) -> str:
    """The body of its own part."""
    return tree if isinstance(tree, str) else "{}" if isinstance(tree, dict) else "[]"


def parts_of(tree: State) -> dict[Address, str]:
    """Every part of a state with its body."""
    parts: dict[Address, str] = {}

    def walk(node: Tree, keys: Keys) -> None:
        if keys:
            parts[keys, -1] = body_of(node)
        if isinstance(node, dict):
            for key, inner in node.items():
                walk(inner, (*keys, key))
        elif isinstance(node, list):
            for item, body in enumerate(node):
                parts[keys, item] = body

    walk(tree, ())
    return parts


def size_of(tree: State) -> int:
    """What all parts count as: addresses, bodies and 100 bytes a row."""
    return sum(counted(path_of(keys), body) for (keys, _), body in parts_of(tree).items())


def counted(path: str, body: str) -> int:
    """What a part counts as; its path as it is stored."""
    return len(path.encode()) + len(body.encode()) + 100


def messages_in(tree: State) -> list[str]:
    """The items of the list "messages"."""
    found = tree.get("messages")
    return found if isinstance(found, list) else []


def differences(old: State, new: State) -> dict[Address, tuple[str | None, str | None]]:
    """Every address whose body differs, with both bodies."""
    before, after = parts_of(old), parts_of(new)
    return {
        address: (before.get(address), after.get(address))
        for address in before.keys() | after.keys()
        if before.get(address) != after.get(address)
    }


def pointer_of(address: Address) -> str:
    """The JSON Pointer of an address."""
    keys, item = address
    escaped = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
    return escaped if item < 0 else f"{escaped}/{item}"


def keys_of(pointer: str) -> Keys | None:
    """The keys in a JSON Pointer; None if it is none."""
    if pointer == "":
        return ()
    if pointer[0] != "/" or re.search("~(?![01])", pointer):
        return None
    return tuple(key.replace("~1", "/").replace("~0", "~") for key in pointer[1:].split("/"))


@functools.lru_cache(4096)
def path_of(keys: Keys) -> str:
    """The path under which parts are stored."""
    return "/" + "".join(dump(key)[1:-1].replace("~", "~0").replace("/", "~1") + "/" for key in keys)


def place_of(address: Address) -> tuple[bytes, int]:
    """What orders addresses as the database does."""
    return path_of(address[0]).encode(), address[1]

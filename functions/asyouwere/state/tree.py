"""From a state to its parts and back, by way of a tree of what is opened.

A tree is a dict for an opened object (key as in a path -> tree), a list for an opened list (bodies of its
items) and a str for what is kept whole (its body). Everything that looks at a state as a whole works on
trees; parts are the flat form of the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from asyouwere.errors import Invalid
from asyouwere.state.addresses import OPENED_DEPTH, depth_of
from asyouwere.state.rows import ChangeRows, open_state, open_value

__all__ = [
    "Parts",
    "Tree",
    "begin_alike",
    "flatten",
    "join",
    "open_tree",
    "render",
    "split",
    "tree_of_parts",
    "tree_of_rows",
]

# What one save may write says nothing about what many have made.
_ANY_NUMBER: Final = sys.maxsize

Parts: TypeAlias = dict[tuple[str, int], str]
"""(path, item) -> body, without the root."""

Tree: TypeAlias = "dict[str, Tree] | list[str] | str"


def split(text: str) -> Parts:
    """The parts of a state, from its canonical text. Raises like open_state."""
    rows = open_state(text, ChangeRows(most=_ANY_NUMBER))
    return {
        (path, item): body
        for path, item, body in zip(rows.paths[1:], rows.items[1:], rows.bodies[1:], strict=True)
        if item is not None and body is not None
    }


def join(parts: Parts | Iterable[tuple[str, int, str]]) -> str:
    """The text of the state that these parts make up, members in the order of their paths.

    Takes parts, or (path, item, body) rows; in any order, but fastest in the order of path and item. Raises
    invalid_state if they are not the parts of a state: a member without its container, a gap in a list.
    Paths and bodies themselves are not looked into.
    """
    rows = ((path, item, body) for (path, item), body in parts.items()) if isinstance(parts, dict) else parts
    return render(_tree_of_sorted(sorted(rows)))


def tree_of_parts(parts: Parts) -> dict[str, Tree]:
    """The tree of the state that these parts make up. Raises invalid_state like join."""
    return _tree_of_sorted(sorted((path, item, body) for (path, item), body in parts.items()))


def _tree_of_sorted(rows: Iterable[tuple[str, int, str]]) -> dict[str, Tree]:
    # Sorted by path, and item -1 first, each container stands before what is in it. Python compares text by
    # code points, which is the byte order of UTF-8 and so the order of the database.
    root: dict[str, Tree] = {}
    containers: dict[str, Tree] = {"/": root}
    for path, item, body in rows:
        _place(containers, path, item, body)
    return root


def open_tree(text: str, path: str) -> Tree:
    """The tree of a value that stands at a path, from its canonical text."""
    rows = ChangeRows(most=_ANY_NUMBER)
    open_value(rows, path, text)
    return tree_of_rows(rows, 0, len(rows))


def tree_of_rows(rows: ChangeRows, start: int, end: int) -> Tree:
    """The tree of the value of a set row, given with the rows inside it, which end before ``end``."""
    path, body = rows.paths[start], rows.bodies[start] or ""
    value = _opened(path, body)
    containers = {path: value}
    for number in range(start + 1, end):
        _place(containers, rows.paths[number], rows.items[number] or 0, rows.bodies[number] or "")
    return value


def _place(containers: dict[str, Tree], path: str, item: int, body: str) -> None:
    """Put a part into its container, and note it if it is one."""
    if item >= 0:
        holder = containers.get(path)
        if not isinstance(holder, list) or item != len(holder):
            raise _not_a_state()
        holder.append(body)
        return
    cut = path.rfind("/", 0, -1) + 1
    holder, key = containers.get(path[:cut]), path[cut:-1]
    if not isinstance(holder, dict) or key in holder:
        raise _not_a_state()
    holder[key] = value = _opened(path, body)
    if not isinstance(value, str):
        containers[path] = value


def _opened(path: str, body: str) -> Tree:
    if body in ("{}", "[]") and depth_of(path) < OPENED_DEPTH:
        return {} if body == "{}" else []
    return body


def flatten(tree: Tree, path: str = "/") -> Iterator[tuple[tuple[str, int], str]]:
    """The parts of a tree that stands at a path, its own included unless it is the root."""
    if isinstance(tree, str):
        yield (path, -1), tree
        return
    if path != "/":
        yield (path, -1), "{}" if isinstance(tree, dict) else "[]"
    if isinstance(tree, list):
        for item, body in enumerate(tree):
            yield (path, item), body
    else:
        for key, value in tree.items():
            yield from flatten(value, f"{path}{key}/")


def render(tree: Tree) -> str:
    """The JSON text of a tree."""
    pieces: list[str] = []
    _render(tree, pieces)
    return "".join(pieces)


def _render(tree: Tree, pieces: list[str]) -> None:
    if isinstance(tree, str):
        pieces.append(tree)
    elif isinstance(tree, list):
        pieces += ("[", ",".join(tree), "]")
    else:
        before = "{"
        for key, value in tree.items():
            if "~" in key:
                key = key.replace("~1", "/").replace("~0", "~")
            pieces.append(f'{before}"{key}":')
            _render(value, pieces)
            before = ","
        pieces.append("}" if tree else "{}")


def begin_alike(one: list[str], other: list[str]) -> bool:
    """Whether two lists have the same items, as far as the shorter one goes."""
    if len(one) > len(other):
        return one[: len(other)] == other
    return one == other[: len(one)]


def _not_a_state() -> Invalid:
    return Invalid("invalid_state", "These parts are not the parts of a state.")

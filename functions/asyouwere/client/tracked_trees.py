"""From tracked containers to the tree of what they hold, and back.

Each container remembers its tree as long as nothing in it changes, so finding out what changed costs what changed.
"""

from __future__ import annotations

import json
from typing import Any, Final

from asyouwere.client.tracked import (
    Tracked,
    TrackedDict,
    TrackedList,
    level_below,
    new_dict,
    new_list,
    touch,
    wrapped,
)
from asyouwere.state.addresses import OPENED_DEPTH
from asyouwere.state.exact_json import ANY_NESTING, encode
from asyouwere.state.tree import Tree

__all__ = ["change", "fill_dict", "is_whole", "key_of", "load", "spelled", "tree_of"]

_MISSING: Final = object()


def is_whole(node: Tracked) -> bool:
    """Whether a container is kept whole: it is a part, or in one."""
    return node._level >= OPENED_DEPTH


def spelled(key: str) -> str:
    """A key as it stands in a tree and in a path."""
    if key.isalnum():
        return key
    text = encode(key)[1:-1]
    return text.replace("~", "~0").replace("/", "~1") if "~" in text or "/" in text else text


def key_of(text: str) -> str:
    """The key that is spelled like that."""
    if "~" in text:
        text = text.replace("~1", "/").replace("~0", "~")
    if "\\" not in text:
        return text
    key: str = json.loads(f'"{text}"')
    return key


def tree_of(node: Tracked) -> Tree:
    """The tree of what a container holds now; the same object as before where nothing changed."""
    if node._clean:
        return node._tree  # type: ignore[return-value]
    tree: Tree
    if is_whole(node):
        tree = encode(node)
        _clean_inside(node)
    elif isinstance(node, TrackedDict):
        tree = _tree_of_dict(node)
        node._seen = dict(node)
    else:
        tree = _bodies_of_list(node)
        node._seen = list(node)
    if node._tree is None or tree != node._tree:
        node._tree = tree
    node._clean = True
    return node._tree


def _tree_of_dict(node: TrackedDict) -> dict[str, Tree]:
    seen, before = node._seen or {}, node._tree if isinstance(node._tree, dict) else {}
    tree: dict[str, Tree] = {}
    for key, value in node.items():
        name = spelled(key)
        if isinstance(value, TrackedDict | TrackedList):
            tree[name] = tree_of(value)
        elif seen.get(key, _MISSING) is value and name in before:
            tree[name] = before[name]
        else:
            tree[name] = encode(value)
    return tree


def _bodies_of_list(node: TrackedList) -> list[str]:
    seen, before = node._seen or [], node._tree if isinstance(node._tree, list) else []
    known = min(len(seen), len(before))
    bodies: list[str] = []
    if not node._deep and seen == node[:known]:  # looked at, for what goes past our methods, as heapq does
        bodies = before[:known]  # the everyday case: something was appended
    node._deep = False
    for item, value in enumerate(node[len(bodies) :] if bodies else node, len(bodies)):
        if isinstance(value, TrackedDict | TrackedList):
            bodies.append(value._tree if value._clean else tree_of(value))  # type: ignore[arg-type]
        elif item < known and seen[item] is value:
            bodies.append(before[item])
        else:
            bodies.append(encode(value))
    return bodies


def _clean_inside(node: Tracked) -> None:
    """Inside a part only the part itself has a text; what is in it just notices changes."""
    for value in node.values() if isinstance(node, TrackedDict) else node:
        if isinstance(value, TrackedDict | TrackedList) and not value._clean:
            _clean_inside(value)
            value._clean = True


def load(tree: Tree, parent: Tracked) -> Any:
    """The value of a tree that stands in a container."""
    if isinstance(tree, str):
        if tree[0] not in "{[":
            return json.loads(tree)
        value = wrapped(json.loads(tree), parent, ANY_NESTING)
        value._tree = tree
        _clean_inside(value)
    elif isinstance(tree, dict):
        value = new_dict(parent._host, parent, level_below(parent))
        fill_dict(value, tree)
    else:
        value = new_list(parent._host, parent, level_below(parent))
        fill_list(value, tree)
    value._clean = True
    return value


def fill_dict(node: TrackedDict, tree: dict[str, Tree]) -> None:
    """Make an opened object hold this tree. What it holds already, it keeps: the app may have it in hand."""
    before = node._tree if isinstance(node._tree, dict) else {}
    for key in [key for key in node if spelled(key) not in tree]:
        dict.__delitem__(node, key)
    for name, inner in tree.items():
        key = key_of(name)
        if key not in node or (before.get(name) is not inner and before.get(name) != inner):
            dict.__setitem__(node, key, _filled(dict.get(node, key), inner, node))
    node._tree, node._seen, node._clean = tree, dict(node), True


def fill_list(node: TrackedList, tree: list[str]) -> None:
    """Make an opened list hold these items, each that stays or moves being the same object as before."""
    before = node._tree if isinstance(node._tree, list) else []
    start = 0
    while start < len(before) and start < len(tree) and before[start] == tree[start]:
        start += 1
    end = 0
    while end < min(len(before), len(tree)) - start and before[-1 - end] == tree[-1 - end]:
        end += 1
    middle = list.__getitem__(node, slice(start, len(before) - end))
    bodies = tree[start : len(tree) - end]
    new = [_filled(middle[at] if at < len(middle) else None, body, node) for at, body in enumerate(bodies)]
    list.__setitem__(node, slice(start, len(before) - end), new)
    node._tree, node._seen, node._clean, node._deep = tree, list(node), True, False


def _filled(old: Any, tree: Tree, parent: Tracked) -> Any:
    """The value of a tree: what was there changed in place if it is of the same kind, else a new one."""
    if isinstance(tree, dict) and isinstance(old, TrackedDict) and not is_whole(old):
        fill_dict(old, tree)
        return old
    if isinstance(tree, list) and isinstance(old, TrackedList) and not is_whole(old):
        fill_list(old, tree)
        return old
    if (
        isinstance(tree, str)
        and isinstance(old, TrackedDict | TrackedList)
        and is_whole(old)
        and old._parent is parent
    ):
        value = json.loads(tree) if tree[0] == ("{" if isinstance(old, TrackedDict) else "[") else None
        if value is not None:
            _change_inside(old, value)
            _clean_inside(old)
            old._tree, old._clean = tree, True
            return old
    return load(tree, parent)


def change(node: Tracked, value: Any) -> None:
    """Make a container hold a value, in place."""
    touch(node)
    _change_inside(node, value)


def _change_inside(node: Tracked, value: Any) -> None:
    node._clean = False
    if isinstance(node, TrackedList):
        node._deep = True
    if isinstance(node, TrackedDict):
        for key in [key for key in node if key not in value]:
            dict.__delitem__(node, key)
        for key, inner in value.items():
            old = dict.get(node, key)
            if not _changed_inside(old, inner):
                dict.__setitem__(node, key, wrapped(inner, node, ANY_NESTING))
        return
    for at, inner in enumerate(value):
        if at >= len(node):
            list.append(node, wrapped(inner, node, ANY_NESTING))
        elif not _changed_inside(list.__getitem__(node, at), inner):
            list.__setitem__(node, at, wrapped(inner, node, ANY_NESTING))
    list.__delitem__(node, slice(len(value), None))


def _changed_inside(old: Any, value: Any) -> bool:
    same = (isinstance(old, TrackedDict) and isinstance(value, dict)) or (
        isinstance(old, TrackedList) and isinstance(value, list)
    )
    if same:
        _change_inside(old, value)
    return same

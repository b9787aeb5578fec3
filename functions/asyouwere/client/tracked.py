"""Dicts and lists that notice what is changed in them, however deep.

Each remembers the JSON of what it holds (a tree, see ``asyouwere.state.tree``) as long as nothing in it changes, so
that finding out what changed costs what changed. A change forgets that of the container and of all that it stands
in. Untouched parts keep the very spelling that the server sent.

What is put in is copied, as JSON would: change what ``state`` gives back, not what was put in. (A document follows
small values that were put in for a while all the same, see ``document``.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from threading import RLock
from typing import Any, Final, Protocol, SupportsIndex, TypeAlias

from asyouwere.state.addresses import OPENED_DEPTH
from asyouwere.state.exact_json import encode
from asyouwere.state.tree import Tree, render

__all__ = [
    "Host",
    "Tracked",
    "TrackedDict",
    "TrackedList",
    "change",
    "fill_dict",
    "is_whole",
    "key_of",
    "load",
    "new_dict",
    "plain",
    "spelled",
    "tree_of",
]

_MISSING: Final = object()
_WHOLE: Final = OPENED_DEPTH
"""Level of a container that is kept whole, in a part; above it are those that are opened, the root's is 0."""


class Host(Protocol):
    """What containers belong to: is told of each change, and keeps other threads out meanwhile."""

    lock: RLock

    def touched(self) -> None: ...

    def put_in(self, original: Any, copy: Tracked) -> None: ...


class TrackedDict(dict[str, Any]):
    """A JSON object in a session's state."""

    __slots__ = ("_clean", "_host", "_level", "_parent", "_seen", "_tree")
    _host: Host
    _parent: Tracked | None
    _level: int
    _clean: bool
    _tree: Tree | None
    _seen: dict[str, Any] | None

    def __setitem__(self, key: str, value: Any) -> None:
        with self._host.lock:
            if dict.get(self, key, _MISSING) is value and isinstance(value, TrackedDict | TrackedList):
                return  # the second half of state["list"] += […]
            dict.__setitem__(self, _checked_key(key), _taken_in(value, self))
            _touch(self)

    def __delitem__(self, key: str) -> None:
        with self._host.lock:
            dict.__delitem__(self, key)
            _touch(self)

    def pop(self, key: str, *default: Any) -> Any:
        with self._host.lock:
            value = dict.pop(self, key, *default)
            _touch(self)
            return value

    def popitem(self) -> tuple[str, Any]:
        with self._host.lock:
            item = dict.popitem(self)
            _touch(self)
            return item

    def clear(self) -> None:
        with self._host.lock:
            dict.clear(self)
            _touch(self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        with self._host.lock:
            if key not in self:
                self[key] = default
            return self[key]

    def update(self, *others: Any, **more: Any) -> None:
        with self._host.lock:
            for key, value in dict(*others, **more).items():
                self[key] = value

    def __ior__(self, other: Any) -> TrackedDict:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        return {key: plain(value) for key, value in self.items()}

    def __copy__(self) -> dict[str, Any]:
        return {key: plain(value) for key, value in self.items()}

    def __deepcopy__(self, memo: Any) -> dict[str, Any]:
        return {key: plain(value) for key, value in self.items()}

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (self.copy(),)


class TrackedList(list[Any]):
    """A JSON list in a session's state."""

    __slots__ = ("_clean", "_deep", "_host", "_level", "_parent", "_seen", "_tree")
    _host: Host
    _parent: Tracked | None
    _level: int
    _clean: bool
    _deep: bool  # whether anything else than appending has happened, to it or in an item
    _tree: Tree | None
    _seen: list[Any] | None

    def __setitem__(self, at: Any, value: Any) -> None:
        with self._host.lock:
            if isinstance(at, slice):
                list.__setitem__(self, at, [_taken_in(item, self) for item in value])
            elif list.__getitem__(self, at) is not value or not isinstance(value, TrackedDict | TrackedList):
                list.__setitem__(self, at, _taken_in(value, self))
            _touch_deep(self)

    def __delitem__(self, at: Any) -> None:
        with self._host.lock:
            list.__delitem__(self, at)
            _touch_deep(self)

    def append(self, value: Any) -> None:
        with self._host.lock:
            list.append(self, _taken_in(value, self))
            _touch(self)

    def extend(self, values: Iterable[Any]) -> None:
        with self._host.lock:
            list.extend(self, [_taken_in(value, self) for value in values])
            _touch(self)

    def insert(self, at: SupportsIndex, value: Any) -> None:
        with self._host.lock:
            list.insert(self, at, _taken_in(value, self))
            _touch_deep(self)

    def pop(self, at: SupportsIndex = -1) -> Any:
        with self._host.lock:
            value = list.pop(self, at)
            _touch_deep(self)
            return value

    def remove(self, value: Any) -> None:
        with self._host.lock:
            list.remove(self, value)
            _touch_deep(self)

    def clear(self) -> None:
        with self._host.lock:
            list.clear(self)
            _touch_deep(self)

    def reverse(self) -> None:
        with self._host.lock:
            list.reverse(self)
            _touch_deep(self)

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        with self._host.lock:
            list.sort(self, key=key, reverse=reverse)
            _touch_deep(self)

    def __iadd__(self, values: Iterable[Any]) -> TrackedList:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, times: SupportsIndex) -> TrackedList:
        with self._host.lock:
            more = self.copy() * (int(times) - 1)
            if int(times) < 1:
                self.clear()
            else:
                self.extend(more)
            return self

    def copy(self) -> list[Any]:
        return [plain(value) for value in self]

    def __copy__(self) -> list[Any]:
        return [plain(value) for value in self]

    def __deepcopy__(self, memo: Any) -> list[Any]:
        return [plain(value) for value in self]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (self.copy(),)


Tracked: TypeAlias = TrackedDict | TrackedList


def is_whole(node: Tracked) -> bool:
    """Whether a container is kept whole: it is a part, or in one."""
    return node._level >= _WHOLE


def plain(value: Any) -> Any:
    """A copy made of ordinary dicts and lists."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def _touch(node: Tracked) -> None:
    node._clean = False
    above = node._parent
    while above is not None:
        if isinstance(above, TrackedList):
            if above._deep and not above._clean:
                break
            above._deep = True
        elif not above._clean:
            break
        above._clean = False
        above = above._parent
    node._host.touched()


def _touch_deep(node: TrackedList) -> None:
    node._deep = True
    _touch(node)


def _checked_key(key: Any) -> str:
    if type(key) is not str:
        raise TypeError(f"a session's state is JSON, whose keys are str, not {type(key).__name__}")
    return key


def _taken_in(value: Any, parent: Tracked) -> Any:
    """A value as it is kept in a container: as it is, or a tracked copy that the host may follow."""
    taken = _wrapped(value, parent)
    if isinstance(taken, TrackedDict | TrackedList) and not isinstance(value, TrackedDict | TrackedList):
        parent._host.put_in(value, taken)
    return taken


def _wrapped(value: Any, parent: Tracked) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a session's state is JSON, which has neither NaN nor Infinity")
        return value
    if isinstance(value, Mapping):
        holder = new_dict(parent._host, parent, _level_below(parent))
        for key, inner in value.items():
            dict.__setitem__(holder, _checked_key(key), _wrapped(inner, holder))
        return holder
    if isinstance(value, list | tuple):
        items = new_list(parent._host, parent, _level_below(parent))
        list.extend(items, [_wrapped(inner, items) for inner in value])
        return items
    raise TypeError(
        f"a session's state is JSON (dict, list, str, int, float, bool, None), not {type(value).__name__}"
    )


def _level_below(parent: Tracked) -> int:
    return _WHOLE if isinstance(parent, TrackedList) else min(parent._level + 1, _WHOLE)


def new_dict(host: Host, parent: Tracked | None, level: int) -> TrackedDict:
    """An empty one that has not been looked at yet."""
    node = TrackedDict()
    node._host, node._parent, node._level = host, parent, level
    node._clean, node._tree, node._seen = False, None, None
    return node


def new_list(host: Host, parent: Tracked | None, level: int) -> TrackedList:
    """An empty one that has not been looked at yet."""
    node = TrackedList()
    node._host, node._parent, node._level = host, parent, level
    node._clean, node._deep, node._tree, node._seen = False, True, None, None
    return node


# -- to a tree and back -------------------------------------------------------------------------------------------


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
        value = _wrapped(json.loads(tree), parent)
        value._tree = tree
        _clean_inside(value)
    elif isinstance(tree, dict):
        value = new_dict(parent._host, parent, _level_below(parent))
        fill_dict(value, tree)
    else:
        value = new_list(parent._host, parent, _level_below(parent))
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
    _touch(node)
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
                dict.__setitem__(node, key, _wrapped(inner, node))
        return
    for at, inner in enumerate(value):
        if at >= len(node):
            list.append(node, _wrapped(inner, node))
        elif not _changed_inside(list.__getitem__(node, at), inner):
            list.__setitem__(node, at, _wrapped(inner, node))
    list.__delitem__(node, slice(len(value), None))


def _changed_inside(old: Any, value: Any) -> bool:
    same = (isinstance(old, TrackedDict) and isinstance(value, dict)) or (
        isinstance(old, TrackedList) and isinstance(value, list)
    )
    if same:
        _change_inside(old, value)
    return same


def text_of(node: Tracked) -> str:
    """The JSON text of what a container holds now."""
    return render(tree_of(node))

"""Dicts and lists that notice what is changed in them, however deep.

Each remembers the JSON of what it holds (a tree, see ``asyouwere.state.tree``) as long as nothing in it changes, so
that finding out what changed costs what changed. A change forgets that of the container and of all that it stands
in. Untouched parts keep the very spelling that the server sent.

What is put in is copied, as JSON would: change what ``state`` gives back, not what was put in. (A document follows
small values that were put in for a while all the same, see ``document``.)
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from threading import RLock
from typing import Any, Final, Protocol, SupportsIndex, TypeAlias

from asyouwere.state.addresses import OPENED_DEPTH
from asyouwere.state.exact_json import MAX_NESTING
from asyouwere.state.tree import Tree

__all__ = [
    "Host",
    "Tracked",
    "TrackedDict",
    "TrackedList",
    "check",
    "level_below",
    "new_dict",
    "new_list",
    "plain",
    "touch",
    "wrapped",
]

_MISSING: Final = object()
_WHOLE: Final = OPENED_DEPTH
"""Level of a container that is kept whole, in a part; above it are those that are opened, the root's is 0."""
_LARGEST: Final = int(sys.float_info.max)
_JSON: Final = "a session's state is JSON"


class _TooDeep(ValueError):
    pass


class Host(Protocol):
    """What containers belong to: is told of each change, and keeps other threads out meanwhile. changing: the lock,
    for who changes something; raises where nothing may be changed any more."""

    lock: RLock
    changing: AbstractContextManager[object]

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
        with self._host.changing:
            if dict.get(self, key, _MISSING) is value and isinstance(value, TrackedDict | TrackedList):
                return  # the second half of state["list"] += […]
            dict.__setitem__(self, _checked_key(key), _taken_in(value, self))
            touch(self)

    def __delitem__(self, key: str) -> None:
        with self._host.changing:
            dict.__delitem__(self, key)
            touch(self)

    def pop(self, key: str, *default: Any) -> Any:
        with self._host.changing:
            value = dict.pop(self, key, *default)
            touch(self)
            return value

    def popitem(self) -> tuple[str, Any]:
        with self._host.changing:
            item = dict.popitem(self)
            touch(self)
            return item

    def clear(self) -> None:
        with self._host.changing:
            dict.clear(self)
            touch(self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        with self._host.lock:
            if key not in self:
                self[key] = default
            return self[key]

    def update(self, *others: Any, **more: Any) -> None:
        with self._host.changing:
            for key, value in dict(*others, **more).items():
                self[key] = value

    def __ior__(self, other: Any) -> TrackedDict:  # type: ignore[override,misc]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        with self._host.lock:
            return {key: plain(value) for key, value in self.items()}

    def __copy__(self) -> dict[str, Any]:
        with self._host.lock:
            return {key: plain(value) for key, value in self.items()}

    def __deepcopy__(self, memo: Any) -> dict[str, Any]:
        with self._host.lock:
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
        with self._host.changing:
            if isinstance(at, slice):
                list.__setitem__(self, at, [_taken_in(item, self) for item in value])
            elif list.__getitem__(self, at) is not value or not isinstance(value, TrackedDict | TrackedList):
                list.__setitem__(self, at, _taken_in(value, self))
            _touch_deep(self)

    def __delitem__(self, at: Any) -> None:
        with self._host.changing:
            list.__delitem__(self, at)
            _touch_deep(self)

    def append(self, value: Any) -> None:
        with self._host.changing:
            list.append(self, _taken_in(value, self))
            touch(self)

    def extend(self, values: Iterable[Any]) -> None:
        with self._host.changing:
            list.extend(self, [_taken_in(value, self) for value in values])
            touch(self)

    def insert(self, at: SupportsIndex, value: Any) -> None:
        with self._host.changing:
            list.insert(self, at, _taken_in(value, self))
            _touch_deep(self)

    def pop(self, at: SupportsIndex = -1) -> Any:
        with self._host.changing:
            value = list.pop(self, at)
            _touch_deep(self)
            return value

    def remove(self, value: Any) -> None:
        with self._host.changing:
            list.remove(self, value)
            _touch_deep(self)

    def clear(self) -> None:
        with self._host.changing:
            list.clear(self)
            _touch_deep(self)

    def reverse(self) -> None:
        with self._host.changing:
            list.reverse(self)
            _touch_deep(self)

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        with self._host.changing:
            list.sort(self, key=key, reverse=reverse)
            _touch_deep(self)

    def __iadd__(self, values: Iterable[Any]) -> TrackedList:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, times: SupportsIndex) -> TrackedList:
        with self._host.changing:
            more = self.copy() * (int(times) - 1)
            if int(times) < 1:
                self.clear()
            else:
                self.extend(more)
            return self

    def copy(self) -> list[Any]:
        with self._host.lock:
            return [plain(value) for value in self]

    def __copy__(self) -> list[Any]:
        with self._host.lock:
            return [plain(value) for value in self]

    def __deepcopy__(self, memo: Any) -> list[Any]:
        with self._host.lock:
            return [plain(value) for value in self]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (self.copy(),)


Tracked: TypeAlias = TrackedDict | TrackedList


def plain(value: Any) -> Any:
    """A copy made of ordinary dicts and lists."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def touch(node: Tracked) -> None:
    """It was changed: forget its tree, and those of what it stands in, and tell the host."""
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
    touch(node)


def _checked_key(key: Any) -> str:
    if type(key) is not str:
        raise TypeError(f"{_JSON}, whose keys are str, not {type(key).__name__}")
    return key


def _taken_in(value: Any, parent: Tracked) -> Any:
    """A value as it is kept in a container: as it is, or a tracked copy that the host may follow."""
    if value is None or type(value) is str:
        return value
    taken = check(value, parent)
    if isinstance(taken, TrackedDict | TrackedList) and not isinstance(value, TrackedDict | TrackedList):
        parent._host.put_in(value, taken)
    return taken


def check(value: Any, parent: Tracked, room: int | None = None) -> Any:
    """What the app puts into a container, as it would be kept. room: how many levels of containers it may have, by
    default what is left of a state's. Raises TypeError, ValueError saying what in it is no JSON, and where."""
    try:
        return wrapped(value, parent, _room_below(parent) if room is None else room)
    except (TypeError, ValueError) as exc:
        where = _trouble(value, parent)
        kind = TypeError if isinstance(exc, TypeError) else ValueError
        raise kind(f"{exc} (at {where} in what was put in)" if where else str(exc)) from None


def _room_below(node: Tracked) -> int:
    """How many levels of containers may still be put into a container."""
    room, above = MAX_NESTING - 1, node._parent
    while above is not None:
        room, above = room - 1, above._parent
    return room


def wrapped(value: Any, parent: Tracked, room: int = MAX_NESTING) -> Any:
    """A value to be put into a container, with tracked copies of the containers in it, of which there may be as many
    levels as ``room``. Raises TypeError, ValueError."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        if not -_LARGEST <= value <= _LARGEST:
            raise ValueError(f"{_JSON}, whose numbers are within the range of a double (1.8e308)")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{_JSON}, which has neither NaN nor Infinity")
        return value
    if not isinstance(value, Mapping | list | tuple):
        raise TypeError(f"{_JSON} (dict, list, str, int, float, bool, None), not {type(value).__name__}")
    if room == 0:
        raise _TooDeep(f"{_JSON} of at most {MAX_NESTING} containers in each other, and none in itself")
    if isinstance(value, Mapping):
        holder = new_dict(parent._host, parent, level_below(parent))
        for key, inner in value.items():
            dict.__setitem__(holder, _checked_key(key), wrapped(inner, holder, room - 1))
        return holder
    items = new_list(parent._host, parent, level_below(parent))
    list.extend(items, [wrapped(inner, items, room - 1) for inner in value])
    return items


def _trouble(value: Any, parent: Tracked) -> str:
    """Pointer to the first thing in a value that is no JSON; "" for the value itself, and for what is too deep."""
    inside = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    )
    for key, inner in inside:
        if isinstance(value, Mapping) and type(key) is not str:
            return ""
        try:
            wrapped(inner, parent)
        except _TooDeep:
            return ""
        except (TypeError, ValueError):
            return f"/{str(key).replace('~', '~0').replace('/', '~1')}{_trouble(inner, parent)}"
    return ""


def level_below(parent: Tracked) -> int:
    """The level of what is put into a container."""
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

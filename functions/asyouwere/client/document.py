"""The state as the app sees it: containers that notice changes, and the tree of what they hold.

What an app puts in is copied, but apps change what they have put in, too::

    message = {"role": "assistant", "content": ""}
    session.state["messages"].append(message)
    message["content"] += "Hello"

So a document follows the last few small values that were put in, as long as anybody else holds them: whenever it
looks for changes, it compares those with what they were. What is put into the same container once more, to be
something else there, is followed in its new place alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from threading import RLock
from typing import Any, Final

from asyouwere.client.tracked import Tracked, TrackedDict, TrackedList, check, new_dict
from asyouwere.client.tracked_trees import change, fill_dict, is_whole, tree_of
from asyouwere.state.exact_json import MAX_NESTING, encode
from asyouwere.state.tree import Tree

__all__ = ["Document"]

_FOLLOWED: Final = 32
_FOLLOWED_CHARACTERS: Final = 1 << 16


class _Original:
    """A value that was put in, the copy that is kept, and the text of both at that time."""

    __slots__ = ("copy", "text", "value")

    def __init__(self, value: Any, copy: Tracked, text: str) -> None:
        self.value = value
        self.copy = copy
        self.text = text


class _Changing:
    """The lock of a document, for who changes it; taken by nobody once changes are refused."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def __enter__(self) -> None:
        if self._document.refusal is not None:
            raise self._document.refusal()
        self._document.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._document.lock.release()


class Document:
    """A session's state. root: the dict of it; touched_at: time.monotonic() of the last change, None if none since
    it was last looked at; on_touch: called with each change, from the thread that makes it; refusal: makes what is
    raised if the app changes something that will not be saved any more, None while it may."""

    def __init__(self, on_touch: Callable[[], None] | None = None) -> None:
        self.lock = RLock()
        self.changing: AbstractContextManager[object] = _Changing(self)
        self.refusal: Callable[[], Exception] | None = None
        self.on_touch = on_touch
        self.touched_at: float | None = None
        self.root: TrackedDict = new_dict(self, None, 0)
        self._originals: deque[_Original] = deque(maxlen=_FOLLOWED)
        tree_of(self.root)

    def tree(self) -> dict[str, Tree]:
        """What the state is now; the same objects as before where nothing changed."""
        with self.lock:
            if self._originals:
                self._follow()
            tree = tree_of(self.root)
            self.touched_at = None
        assert isinstance(tree, dict)
        return tree

    def show(self, tree: dict[str, Tree]) -> None:
        """Make the state be this, containers that stay being the same objects."""
        with self.lock:
            before = self.tree()
            if tree is not before:
                fill_dict(self.root, tree)

    def get(self, pointer: str) -> Any:
        """What is at a pointer. Raises LookupError if nothing is there."""
        value: Any = self.root
        for key in _keys(pointer):
            value = value[int(key)] if isinstance(value, list) else value[key]
        return value

    def set(self, pointer: str, value: Any) -> None:
        """Put a value at a pointer; missing objects on the way are made. "" is the whole state."""
        with self.lock:
            keys = _keys(pointer)
            if not keys:
                if not isinstance(value, Mapping):
                    raise TypeError("a session's state is a dict")
                check(value, self.root, MAX_NESTING)  # or half of it would be there
                for key in [key for key in self.root if key not in value]:
                    del self.root[key]
                self.root.update(value)
                return
            holder: Any = self.root
            for key in keys[:-1]:
                holder = holder[int(key)] if isinstance(holder, list) else holder.setdefault(key, {})
            if not isinstance(holder, list):
                holder[keys[-1]] = value
            elif int(keys[-1]) == len(holder):
                holder.append(value)
            else:
                holder[int(keys[-1])] = value

    def insert(self, pointer: str, value: Any) -> None:
        """Put a value at a pointer; in a list before what is there, at its end at the latest."""
        with self.lock:
            keys = _keys(pointer)
            holder = self.get(_pointer(keys[:-1])) if keys else None
            if isinstance(holder, list):
                holder.insert(int(keys[-1]), value)
            else:
                self.set(pointer, value)

    def remove(self, pointer: str) -> None:
        """Take away what is at a pointer. Raises LookupError if nothing is there."""
        with self.lock:
            *above, key = _keys(pointer)
            holder = self.get(_pointer(above))
            del holder[int(key) if isinstance(holder, list) else key]

    def list_at(self, pointer: str) -> TrackedList:
        """The list at a pointer, made where nothing is."""
        with self.lock:
            try:
                found = self.get(pointer)
            except KeyError:
                self.set(pointer, [])
                found = self.get(pointer)
        if not isinstance(found, TrackedList):
            raise TypeError(f"there is no list at {pointer}")
        return found

    # -- what the containers tell ----------------------------------------------------------------------------------

    def touched(self) -> None:
        self.touched_at = time.monotonic()
        if self.on_touch is not None:
            self.on_touch()

    def put_in(self, original: Any, copy: Tracked) -> None:
        text = _text(copy)
        for one in list(self._originals):
            if one.value is original and one.copy._parent is copy._parent:
                self._originals.remove(one)
        if text is not None:
            self._originals.append(_Original(original, copy, text))

    def _follow(self) -> None:
        for one in list(self._originals):
            if sys.getrefcount(one.value) <= 2:  # nobody but us has it
                self._originals.remove(one)
                continue
            text = _text(one.value)
            if text is None or _text(one.copy) != one.text:
                self._originals.remove(one)  # no JSON any more, or changed where it belongs
            elif text != one.text:
                one.text = text
                change(one.copy, json.loads(text))


def _keys(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError('a pointer is "" or starts with "/"')
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def _pointer(keys: list[str]) -> str:
    return "".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in keys)


def _text(value: Any) -> str | None:
    """The value as JSON; None if it is none any more, or a large one."""
    try:
        is_part = isinstance(value, TrackedDict | TrackedList) and is_whole(value)
        text = str(tree_of(value)) if is_part else encode(value)  # the copy's is needed anyway, and kept
    except (TypeError, ValueError):
        return None
    return text if len(text) <= _FOLLOWED_CHARACTERS else None

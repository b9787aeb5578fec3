"""What the server says has changed, done to a tree; and which parts differ between two trees."""

from __future__ import annotations

from collections.abc import Iterator

from asyouwere.errors import Invalid
from asyouwere.state.addresses import OPENED_DEPTH, depth_of, last_key, parent_of, path_of_text
from asyouwere.state.exact_json import items, members
from asyouwere.state.tree import Tree, begin_alike, flatten

__all__ = ["apply_delta", "changed_parts", "copied"]


def copied(tree: dict[str, Tree]) -> dict[str, Tree]:
    """A tree whose containers may be changed. Bodies are shared."""
    return {key: value if isinstance(value, str) else _copied(value) for key, value in tree.items()}


def _copied(value: dict[str, Tree] | list[str]) -> Tree:
    return list(value) if isinstance(value, list) else copied(value)


def apply_delta(tree: dict[str, Tree], text: str) -> dict[str, Tree]:
    """The tree after {"set": {pointer: value}, "remove": [pointer]}: remove, then set, each in its order, a container
    being set empty and what is in it after it. Containers that stay as they are are shared with ``tree``.

    text: canonical JSON. Raises invalid_changes if it does not belong to this tree.
    """
    told = members(text)
    edit = _Edit(tree)
    try:
        for pointer in items(told.get("remove", "[]")):
            edit.remove(path_of_text(pointer[1:-1]))
        for pointer, body in members(told.get("set", "{}")).items():
            edit.set(path_of_text(pointer), body)
    except (KeyError, IndexError, ValueError, TypeError) as exc:
        raise Invalid("invalid_changes", "These changes do not belong to the copy that is here.") from exc
    return edit.root


class _Edit:
    """Changes to a tree that leave the tree as it is: what they meet is copied first, once."""

    def __init__(self, tree: dict[str, Tree]) -> None:
        self.root: dict[str, Tree] = dict(tree)
        self._own: dict[str, dict[str, Tree] | list[str]] = {"/": self.root}

    def _container(self, path: str) -> dict[str, Tree] | list[str]:
        known = self._own.get(path)
        if known is None:
            above = self._container(parent_of(path))
            if isinstance(above, list):
                raise TypeError(path)
            inner = above[last_key(path)]
            if isinstance(inner, str):
                raise TypeError(path)
            known = above[last_key(path)] = inner.copy()
            self._own[path] = known
        return known

    def _forget(self, path: str) -> None:
        for known in [known for known in self._own if known.startswith(path)]:
            del self._own[known]

    def remove(self, path: str) -> None:
        holder = self._container(parent_of(path))
        self._forget(path)
        if isinstance(holder, list):
            del holder[int(last_key(path))]
        else:
            del holder[last_key(path)]

    def set(self, path: str, body: str) -> None:
        holder = self._container(parent_of(path))
        if isinstance(holder, list):
            at = int(last_key(path))
            if at > len(holder):
                raise IndexError(at)
            holder[at : at + 1] = [body]
            return
        self._forget(path)
        if body in ("{}", "[]") and depth_of(path) < OPENED_DEPTH:
            made: dict[str, Tree] | list[str] = {} if body == "{}" else []
            holder[last_key(path)] = self._own[path] = made
        else:
            holder[last_key(path)] = body


def changed_parts(
    old: dict[str, Tree], new: dict[str, Tree], path: str = "/"
) -> Iterator[tuple[str, int, str | None]]:
    """(path, item, body) of each part of ``new`` that ``old`` has not got so, and of each that is gone, with None.
    What is the same object in both is not looked into."""
    for key, before in old.items():
        if key not in new:
            yield from ((inner, item, None) for (inner, item), _ in flatten(before, f"{path}{key}/"))
    for key, after in new.items():
        before_, inner = old.get(key), f"{path}{key}/"
        if before_ is after:
            continue
        if isinstance(before_, dict) and isinstance(after, dict):
            yield from changed_parts(before_, after, inner)
        elif isinstance(before_, list) and isinstance(after, list):
            yield from _changed_items(before_, after, inner)
        elif before_ != after:
            if before_ is not None and not (isinstance(before_, str) and isinstance(after, str)):
                yield from ((at, item, None) for (at, item), _ in flatten(before_, inner))
            yield from ((at, item, body) for (at, item), body in flatten(after, inner))


def _changed_items(old: list[str], new: list[str], path: str) -> Iterator[tuple[str, int, str | None]]:
    kept = min(len(old), len(new))
    if not begin_alike(old, new):
        for item in range(kept):
            if old[item] != new[item]:
                yield path, item, new[item]
    for item in range(kept, len(new)):
        yield path, item, new[item]
    for item in range(kept, len(old)):
        yield path, item, None

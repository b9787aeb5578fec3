"""Change rows: what a caller sends, taken apart for the database.

Four lists side by side, one entry each for a row:

    op      path         item         body
    set     the address  -1, None     the value; {} or [] if it is opened, its inside following
    in      of the part  -1, 0, 1 ..  a part inside the value of the set row before it, depth first
    remove  the address  -1, None     None
    append  of the list  None         the new item

An address that ends in a number may be an item of a list or a member of an object; only what is stored can
tell. Its row has the item None and the whole value as its body; the database opens it if it is a member.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from itertools import compress, pairwise
from typing import Final

from leftoff import exact_json
from leftoff.errors import Invalid
from leftoff.parts.addresses import (
    OPENED_DEPTH,
    check_length,
    depth_of,
    is_index,
    last_key,
    parent_of,
    path_of_text,
    step,
)

__all__ = ["ChangeRows", "open_changes", "open_state", "open_value"]

_OUTWRITTEN: Final = ""  # the op of rows under a key that stands once more further on


@dataclass(slots=True)
class ChangeRows:
    """What a save is to do, in the form the database takes."""

    ops: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    items: list[int | None] = field(default_factory=list)
    bodies: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ops)

    def add(self, op: str, path: str, item: int | None, body: str | None) -> None:
        self.ops.append(op)
        self.paths.append(path)
        self.items.append(item)
        self.bodies.append(body)


def open_state(text: str) -> ChangeRows:
    """The rows of a whole state, from its canonical text.

    Raises invalid_state (not an object), nesting_too_deep, address_too_long.
    """
    rows = ChangeRows()
    _set(rows, "/", text)
    return rows


def open_changes(text: str) -> ChangeRows:
    """The rows of changes, from the canonical text of {"set": {pointer: value}, "append": {pointer: [items]},
    "remove": [pointer]}, each optional.

    No two addresses may be equal or one inside the other, except that items of a list may be set and removed
    beside an append to it, which is done last. Raises invalid_changes, invalid_address, address_too_long,
    overlapping_addresses, invalid_state, not_a_list, nesting_too_deep.
    """
    parts = _members_of(text)
    if not parts.keys() <= {"set", "append", "remove"}:
        raise _invalid_changes()
    to_set = {path_of_text(key): value for key, value in _members_of(parts.get("set", "{}")).items()}
    to_append = {path_of_text(key): value for key, value in _members_of(parts.get("append", "{}")).items()}
    to_remove = [_removed_path(value) for value in _items_of(parts.get("remove", "[]"))]
    _check_overlap([*to_set, *to_remove], to_append.keys())

    rows = ChangeRows()
    for path in to_remove:
        if path == "/":
            raise Invalid("invalid_address", "The state itself can't be removed.")
        rows.add("remove", path, None if is_index(last_key(path)) else -1, None)
    for path, value in to_set.items():
        _set(rows, path, value)
    for path, value in to_append.items():
        if path == "/":
            raise Invalid("not_a_list")
        for item in _items_of(value):
            # An item stands one level below its list, which stands as deep as its path has keys.
            _check_nesting(item, depth_of(path) + 1)
            rows.add("append", path, None, item)
    return rows


def open_value(rows: ChangeRows, path: str, value: str) -> None:
    """Add the set row of a value at a path, and the rows inside it."""
    start = len(rows)
    _open(rows, "set", path, depth_of(path), value, 0)
    ops = rows.ops[start:]
    if _OUTWRITTEN in ops:
        counts = [op != _OUTWRITTEN for op in ops]
        rows.ops[start:] = compress(ops, counts)
        rows.paths[start:] = compress(rows.paths[start:], counts)
        rows.items[start:] = compress(rows.items[start:], counts)
        rows.bodies[start:] = compress(rows.bodies[start:], counts)


def _set(rows: ChangeRows, path: str, value: str) -> None:
    depth = depth_of(path)
    if depth == 0 and value[:1] != "{":
        raise Invalid("invalid_state")
    if depth and is_index(last_key(path)):
        _check_nesting(value, depth)
        rows.add("set", path, None, value)
    else:
        open_value(rows, path, value)


def _open(rows: ChangeRows, op: str, path: str, depth: int, text: str, at: int) -> int:
    """Add the rows of the value that begins at this character; returns where it ends."""
    kind = text[at] if depth < OPENED_DEPTH else ""
    if kind == "{":
        rows.add(op, path, -1, "{}")
        return _open_object(rows, path, depth, text, at)
    if kind == "[":
        rows.add(op, path, -1, "[]")
        bodies, end = exact_json.items_at(text, at)
        count = len(bodies)
        if text.count("[", at, end) + text.count("{", at, end) > exact_json.MAX_NESTING - depth:
            for body in bodies:
                _check_nesting(body, depth + 1)
        rows.ops += ["in"] * count
        rows.paths += [path] * count
        rows.items += range(count)
        rows.bodies += bodies
        return end
    end = exact_json.skip(text, at)
    body = text[at:end]
    if body[0] in "{[":
        _check_nesting(body, depth)
    rows.add(op, path, -1, body)
    return end


def _open_object(rows: ChangeRows, path: str, depth: int, text: str, at: int) -> int:
    written: dict[str, tuple[int, int]] = {}
    at += 1
    while text[at] != "}":
        key, at = exact_json.key_at(text, at)
        if key in written:
            # The last value counts. Rows are only marked here: taking them out each time would be quadratic.
            first, last = written[key]
            rows.ops[first:last] = [_OUTWRITTEN] * (last - first)
        inner = path + step(key)
        check_length(inner)
        first = len(rows.ops)
        at = _open(rows, "in", inner, depth + 1, text, at)
        written[key] = first, len(rows.ops)
        if text[at] == ",":
            at += 1
    return at + 1


def _check_nesting(value: str, above: int) -> None:
    # Addresses deeper than there are parts are left to the database, which knows what part they lie in.
    if above <= OPENED_DEPTH:
        exact_json.check_nesting(value, exact_json.MAX_NESTING - above)


def _members_of(text: str) -> dict[str, str]:
    if text[:1] != "{":
        raise _invalid_changes()
    return exact_json.members(text)


def _items_of(text: str) -> list[str]:
    if text[:1] != "[":
        raise _invalid_changes()
    return exact_json.items(text)


def _removed_path(value: str) -> str:
    if value[:1] != '"':
        raise _invalid_changes()
    return path_of_text(value[1:-1])


def _check_overlap(replaced: list[str], appended_to: Set[str]) -> None:
    # Sorted, everything under a path follows it directly: they all begin with it.
    for before, path in pairwise(sorted([*replaced, *appended_to])):
        if path.startswith(before) and not (before in appended_to and _is_item(path, before, appended_to)):
            raise Invalid("overlapping_addresses")


def _is_item(path: str, of: str, appended_to: Set[str]) -> bool:
    return path != of and parent_of(path) == of and is_index(last_key(path)) and path not in appended_to


def _invalid_changes() -> Invalid:
    return Invalid(
        "invalid_changes",
        'Changes are {"set": {pointer: value}, "append": {pointer: [items]}, "remove": [pointer]}.',
    )

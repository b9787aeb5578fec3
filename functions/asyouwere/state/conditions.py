"""Changes that look at what is stored before they are done.

They are judged against the latest state, whatever the base of the save is, so that of many callers at once the
first wins; merging has nothing to do with them.

- ``add`` writes where nothing is; else what is there stays (``existing`` says what).
- ``append_once`` appends the items whose member of the name ``by`` no item of the list has. It is a string or a
  number, compared by its text; of several with the same the first is taken.
- ``expect`` and ``expect_absent`` refuse the whole save unless that is, or nothing is, at the address. What is
  expected is compared like everything: part by part, bodies by their text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, TypeAlias

from asyouwere.errors import Invalid
from asyouwere.state import exact_json
from asyouwere.state.addresses import address_data, last_key, parent_of, pointer_text
from asyouwere.state.exact_json import as_text, as_view
from asyouwere.state.places import check_index, container_of
from asyouwere.state.rows import ChangeRows
from asyouwere.state.tree import Parts, Tree, open_tree, render, tree_of_parts, tree_of_rows

__all__ = ["conditional_writes", "existing", "split_conditions", "unexpected"]

_INSIDE: Final = ("in", "expect_in")
_CONDITIONS: Final = frozenset({"add", "by", "once", "expect", "expect_absent"})

_Address: TypeAlias = tuple[str, int]


def split_conditions(rows: ChangeRows) -> tuple[ChangeRows, ChangeRows]:
    """The other rows, and the conditions."""
    plain, conditions = ChangeRows(most=rows.most), ChangeRows(most=rows.most)
    into = plain
    for op, path, item, body in zip(rows.ops, rows.paths, rows.items, rows.bodies, strict=True):
        if op not in _INSIDE:
            into = conditions if op in _CONDITIONS else plain
        into.ops.append(op)
        into.paths.append(path)
        into.items.append(item)
        into.bodies.append(body)
    return plain, conditions


def unexpected(root: dict[str, Tree], conditions: ChangeRows) -> list[str]:
    """The pointers, as JSON and in path order, at which something else is than is expected.

    Raises address_below_part, invalid_address.
    """
    found: list[_Address] = []
    for start, end in _groups(conditions):
        op, path = conditions.ops[start], conditions.paths[start]
        if op not in ("expect", "expect_absent"):
            continue
        address, is_there = _stands(root, path)
        wanted: Tree | None
        if op == "expect_absent":
            wanted = None
        elif address[1] >= 0:
            wanted = conditions.bodies[start]
        elif conditions.items[start] is not None:
            wanted = tree_of_rows(conditions, start, end)
        else:
            wanted = open_tree(conditions.bodies[start] or "", path)
        if is_there != wanted:
            found.append(address)
    return [pointer_text(*address) for address in sorted(found)]


def conditional_writes(root: dict[str, Tree], conditions: ChangeRows) -> ChangeRows:
    """What the conditions write, as set and append rows. Raises invalid_address, invalid_changes."""
    writes, appends = ChangeRows(most=conditions.most), ChangeRows(most=conditions.most)
    standing = _standing(root, conditions)
    known = {(path, _id_of(body, name)) for path, name in _names(conditions) for body in _items_at(root, path)}
    names = dict(_names(conditions))
    for start, end in _groups(conditions):
        op, path = conditions.ops[start], conditions.paths[start]
        if op == "add" and (path, -1) not in standing:
            for number in range(start, end):
                writes.ops.append("set" if number == start else "in")
                writes.paths.append(conditions.paths[number])
                writes.items.append(conditions.items[number])
                writes.bodies.append(conditions.bodies[number])
        elif op == "once":
            body = conditions.bodies[start] or ""
            key = path, _id_of(body, names[path])
            if key not in known:
                known.add(key)
                appends.ops.append("append")
                appends.paths.append(path)
                appends.items.append(None)
                appends.bodies.append(body)
    writes.extend(appends)
    return writes


def existing(parts: Parts, rows: ChangeRows) -> str | None:
    """What add and append_once find there already: JSON text {pointer: value}, None if nothing."""
    root = tree_of_parts(parts)
    found = sorted(_standing(root, split_conditions(rows)[1]).items())
    return f"{{{','.join(f'{pointer_text(*at)}:{render(value)}' for at, value in found)}}}" if found else None


def _standing(root: dict[str, Tree], conditions: ChangeRows) -> dict[_Address, Tree]:
    found: dict[_Address, Tree] = {}
    names, wanted = dict(_names(conditions)), set()
    for op, path, body in zip(conditions.ops, conditions.paths, conditions.bodies, strict=True):
        if op == "add":
            address, value = _added(root, path)
            if value is not None:
                found[address] = value
        elif op == "once":
            if (key := _id_of(body or "", names[path])) is None:
                raise Invalid(
                    "invalid_changes",
                    "Items of append_once are objects that have the member they are told apart by, "
                    "a string or a number.",
                    data=address_data(path),
                )
            wanted.add((path, key))
    for path, name in names.items():
        for item, body in enumerate(_items_at(root, path)):
            if (path, _id_of(body, name)) in wanted:
                found[path, item] = body
    return found


def _added(root: dict[str, Tree], path: str) -> tuple[_Address, Tree | None]:
    """What is at the address of an add, which is no item of a list. Raises invalid_address."""
    try:
        holder = container_of(root, path)
    except Invalid:
        return (path, -1), None  # it is told when it is written
    if isinstance(holder, list):
        raise Invalid(
            "invalid_address",
            "Members are added. To a list items are appended, or appended once.",
            data=address_data(path),
        )
    return (path, -1), None if holder is None else holder.get(last_key(path))


def _stands(root: dict[str, Tree], path: str) -> tuple[_Address, Tree | None]:
    """The address, as it is stored, and what is there. Raises address_below_part, invalid_address."""
    if path == "/":
        return (path, -1), root
    holder, key = container_of(root, path), last_key(path)
    if isinstance(holder, list):
        check_index(key, path)
        items = dict(enumerate(holder))
        return (parent_of(path), int(key)), items.get(int(key))
    return (path, -1), None if holder is None else holder.get(key)


def _items_at(root: dict[str, Tree], path: str) -> list[str]:
    try:
        value = _stands(root, path)[1]
    except Invalid:
        return []  # it is told when it is written
    return value if isinstance(value, list) else []


def _names(conditions: ChangeRows) -> Iterator[tuple[str, str]]:
    """The lists of append_once and the names of the members that tell their items apart, as JSON."""
    for op, path, body in zip(conditions.ops, conditions.paths, conditions.bodies, strict=True):
        if op == "by":
            yield path, body or ""


def _id_of(body: str, name: str) -> str | None:
    """The member of that name of an item, as text; None if the item has none that is a string or a number."""
    if not body.startswith("{"):
        return None
    view, found = as_view(body), None
    for key, start, end in exact_json.each_member(view):
        if as_text(key) == name[1:-1]:
            found = as_text(view[start:end])
    return found if found is not None and found[0] in '"-0123456789' else None


def _groups(rows: ChangeRows) -> list[tuple[int, int]]:
    """Where each row begins, together with the rows inside its value, and where it ends."""
    starts = [number for number, op in enumerate(rows.ops) if op not in _INSIDE]
    return list(pairwise([*starts, len(rows)]))

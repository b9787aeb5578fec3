"""What changes do to a state, and which changes lead from one state to another.

The changes of one save come in no order: no address lies in another, so none can get in another's way. Only
an append has its place, the last: items go to the end of what set and remove leave of the list.

- ``set`` puts a value at an address, in place of whatever is at and under it. Its container must be there.
- ``remove`` takes away what is at and under an address. Where nothing is, it does nothing.
- ``append`` puts items at the end of a list, and makes the list where nothing is.
- A list has no gaps: items may be set one after the other from its end on, and removed from its end only.
- Nothing can be done below a part: an item of a list, a member at depth 3, a string, a number.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

from asyouwere.errors import Invalid
from asyouwere.state.addresses import OPENED_DEPTH, depth_of, is_index, last_key, parent_of, pointer_text
from asyouwere.state.rows import ChangeRows
from asyouwere.state.tree import Parts, Tree, flatten, open_tree, render, tree_of_parts, tree_of_rows

__all__ = ["append_items", "apply", "diff", "replace"]

Container: TypeAlias = "dict[str, Tree] | list[str]"


def apply(parts: Parts, rows: ChangeRows) -> Parts:
    """The parts of the state after these changes; ``parts`` stays as it is.

    Raises address_below_part, missing_parent, invalid_address, list_gap, not_a_list.
    """
    return dict(flatten(append_items(replace(tree_of_parts(parts), rows), rows)))


def replace(root: dict[str, Tree], rows: ChangeRows) -> dict[str, Tree]:
    """Do the set and remove rows to a tree, which may change in place; returns the tree."""
    cut: dict[str, set[int]] = {}
    added: dict[str, dict[int, str]] = {}
    lists: dict[str, list[str]] = {}
    for start, end in _groups(rows):
        op, path, body = rows.ops[start], rows.paths[start], rows.bodies[start] or ""
        if op == "append":
            continue
        if path == "/":
            return _object(tree_of_rows(rows, start, end))
        key, holder = last_key(path), _container_of(root, path)
        if isinstance(holder, list):
            _check_index(key, path)
            lists[parent_of(path)], position = holder, int(key)
            if op == "remove":
                cut.setdefault(parent_of(path), set()).add(position)
            elif position < len(holder):
                holder[position] = body
            else:
                added.setdefault(parent_of(path), {})[position] = body
        elif op == "remove":
            if holder is not None:
                holder.pop(key, None)
        elif holder is None:
            raise _missing_parent(path)
        elif rows.items[start] is None:
            holder[key] = open_tree(body, path)
        else:
            holder[key] = tree_of_rows(rows, start, end)
    for path, items in lists.items():
        _resize(items, cut.get(path, set()), added.get(path, {}))
    return root


def append_items(root: dict[str, Tree], rows: ChangeRows) -> dict[str, Tree]:
    """Do the append rows to a tree, which changes in place; returns the tree."""
    for op, path, body in zip(rows.ops, rows.paths, rows.bodies, strict=True):
        if op != "append" or body is None:
            continue
        key, holder = last_key(path), _container_of(root, path)
        if holder is None:
            raise _missing_parent(path)
        if isinstance(holder, list):
            _check_index(key, path)
            raise _below_part(path, path)
        items = holder.get(key)
        if items is None and depth_of(path) < OPENED_DEPTH:
            items = holder[key] = []
        if not isinstance(items, list):
            raise Invalid("not_a_list", data=f'{{"address":{pointer_text(path)}}}')
        items.append(body)
    return root


def diff(old: Parts, new: Parts) -> str:
    """The changes from one state to another, as JSON text that ``open_changes`` takes; {} if none."""
    to_set: list[str] = []
    to_append: list[str] = []
    to_remove: list[str] = []

    def compare(before: dict[str, Tree], after: dict[str, Tree], path: str) -> None:
        to_remove.extend(pointer_text(f"{path}{key}/") for key in before if key not in after)
        for key, value in after.items():
            inner, was = f"{path}{key}/", before.get(key)
            if was == value:
                continue
            if isinstance(was, dict) and isinstance(value, dict):
                compare(was, value, inner)
            elif isinstance(was, list) and isinstance(value, list) and value:
                compare_lists(was, value, inner)
            else:
                to_set.append(f"{pointer_text(inner)}:{render(value)}")

    def compare_lists(before: list[str], after: list[str], path: str) -> None:
        kept = min(len(before), len(after))
        changed = [item for item in range(kept) if before[item] != after[item]]
        if len(after) > kept:
            to_append.append(f"{pointer_text(path)}:[{','.join(after[kept:])}]")
        to_set.extend(f"{pointer_text(path, item)}:{after[item]}" for item in changed)
        to_remove.extend(pointer_text(path, item) for item in range(kept, len(before)))

    compare(tree_of_parts(old), tree_of_parts(new), "/")
    members = []
    if to_set:
        members.append(f'"set":{{{",".join(to_set)}}}')
    if to_append:
        members.append(f'"append":{{{",".join(to_append)}}}')
    if to_remove:
        members.append(f'"remove":[{",".join(to_remove)}]')
    return f"{{{','.join(members)}}}"


def _groups(rows: ChangeRows) -> list[tuple[int, int]]:
    """Where each row begins, together with the rows inside its value, and where it ends."""
    starts = [number for number, op in enumerate(rows.ops) if op != "in"]
    return list(pairwise([*starts, len(rows)]))


def _container_of(root: dict[str, Tree], path: str) -> Container | None:
    """The container that the path's last key is to be found in; None if there is none, but could be."""
    node: Container = root
    above = "/"
    for key in path[1:-1].split("/")[:-1]:
        above += key + "/"
        if isinstance(node, list):
            _check_index(key, path)
            raise _below_part(path, above)
        inner = node.get(key)
        if inner is None:
            return None
        if isinstance(inner, str):
            raise _below_part(path, above)
        node = inner
    return node


def _resize(items: list[str], cut: set[int], added: dict[int, str]) -> None:
    """Take items from the end of a list or put them there."""
    length = len(items)
    left = length - sum(position < length for position in cut)
    if any(position < left for position in cut) or sorted(added) != list(range(left, left + len(added))):
        raise Invalid("list_gap")
    items[left:] = [body for _, body in sorted(added.items())]


def _object(tree: Tree) -> dict[str, Tree]:
    if not isinstance(tree, dict):
        raise Invalid("invalid_state")
    return tree


def _check_index(key: str, path: str) -> None:
    if not is_index(key):
        raise Invalid(
            "invalid_address",
            "A list has items 0, 1, 2 and so on; this address names none.",
            data=f'{{"address":{pointer_text(path)}}}',
        )


def _missing_parent(path: str) -> Invalid:
    data = f'{{"address":{pointer_text(path)},"parent":{pointer_text(parent_of(path))}}}'
    return Invalid("missing_parent", data=data)


def _below_part(path: str, part: str) -> Invalid:
    data = f'{{"address":{pointer_text(path)},"part":{pointer_text(part)}}}'
    return Invalid("address_below_part", data=data)

"""What changes do to a state, and which changes lead from one state to another.

The changes of one save come in no order: no address lies in another, so none can get in another's way. Only
an append has its place, the last: items go to the end of what set and remove leave of the list.

- ``set`` puts a value at an address, in place of whatever is at and under it.
- ``remove`` takes away what is at and under an address. Where nothing is, it does nothing.
- ``append`` puts items at the end of a list, and makes the list where nothing is.
- Both make the objects on the way that are missing, unless a number comes next: it could be an item of a list.
- A list has no gaps: items may be set one after the other from its end on, and removed from its end only.
- Nothing can be done below a part: an item of a list, a member at depth 3, a string, a number.
- ``add``, ``append_once``, ``expect`` and ``expect_absent`` look at what is there first: see ``conditions``.
"""

from __future__ import annotations

from itertools import pairwise

from asyouwere.errors import Conflicting, Invalid
from asyouwere.state.addresses import OPENED_DEPTH, address_data, depth_of, last_key, parent_of, pointer_text
from asyouwere.state.conditions import conditional_writes, split_conditions, unexpected
from asyouwere.state.places import below_part, check_index, container_of, made_container
from asyouwere.state.rows import ChangeRows
from asyouwere.state.tree import Parts, Tree, begin_alike, flatten, open_tree, render, tree_of_parts, tree_of_rows

__all__ = ["append_items", "apply", "diff", "diff_trees", "replace"]


def apply(parts: Parts, rows: ChangeRows) -> Parts:
    """The parts of the state after these changes; ``parts`` stays as it is.

    Raises address_below_part, missing_parent, invalid_address, list_gap, not_a_list; conflict if the state is
    not as it is expected to be.
    """
    root = tree_of_parts(parts)
    plain, conditions = split_conditions(rows)
    if addresses := unexpected(root, conditions):
        raise Conflicting("conflict", data=f'{{"addresses":[{",".join(addresses)}],"count":{len(addresses)}}}')
    plain.extend(conditional_writes(root, conditions))
    return dict(flatten(append_items(replace(root, plain), plain)))


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
        key = last_key(path)
        holder = container_of(root, path) if op == "remove" else made_container(root, path)
        if isinstance(holder, list):
            check_index(key, path)
            lists[parent_of(path)], position = holder, int(key)
            if op == "remove":
                cut.setdefault(parent_of(path), set()).add(position)
            elif position < len(holder):
                holder[position] = body
            else:
                added.setdefault(parent_of(path), {})[position] = body
        elif holder is None:
            continue  # nothing to remove
        elif op == "remove":
            holder.pop(key, None)
        elif rows.items[start] is None:
            holder[key] = open_tree(body, path)
        else:
            holder[key] = tree_of_rows(rows, start, end)
    for path, items in lists.items():
        _resize(path, items, cut.get(path, set()), added.get(path, {}))
    return root


def append_items(root: dict[str, Tree], rows: ChangeRows) -> dict[str, Tree]:
    """Do the append rows to a tree, which changes in place; returns the tree."""
    for op, path, body in zip(rows.ops, rows.paths, rows.bodies, strict=True):
        if op != "append" or body is None:
            continue
        key, holder = last_key(path), made_container(root, path)
        if isinstance(holder, list):
            check_index(key, path)
            raise below_part(path, path)
        items = holder.get(key)
        if items is None and depth_of(path) < OPENED_DEPTH:
            items = holder[key] = []
        if not isinstance(items, list):
            raise Invalid("not_a_list", data=address_data(path))
        items.append(body)
    return root


def diff(old: Parts, new: Parts) -> str:
    """The changes from one state to another, as JSON text that ``open_changes`` takes; {} if none."""
    return diff_trees(tree_of_parts(old), tree_of_parts(new))


def diff_trees(old: dict[str, Tree], new: dict[str, Tree]) -> str:
    """The same of two trees. What is the same object in both is not looked into."""
    to_set: list[str] = []
    to_append: list[str] = []
    to_remove: list[str] = []

    def compare(before: dict[str, Tree], after: dict[str, Tree], path: str) -> None:
        to_remove.extend(pointer_text(f"{path}{key}/") for key in before if key not in after)
        for key, value in after.items():
            inner, was = f"{path}{key}/", before.get(key)
            if was is value or was == value:
                continue
            if isinstance(was, dict) and isinstance(value, dict):
                compare(was, value, inner)
            elif isinstance(was, list) and isinstance(value, list) and value:
                compare_lists(was, value, inner)
            else:
                to_set.append(f"{pointer_text(inner)}:{render(value)}")

    def compare_lists(before: list[str], after: list[str], path: str) -> None:
        kept = min(len(before), len(after))
        pairs = () if begin_alike(before, after) else enumerate(zip(before, after, strict=False))
        changed = [item for item, (was, value) in pairs if was != value]
        if len(after) > kept:
            to_append.append(f"{pointer_text(path)}:[{','.join(after[kept:])}]")
        to_set.extend(f"{pointer_text(path, item)}:{after[item]}" for item in changed)
        to_remove.extend(pointer_text(path, item) for item in range(kept, len(before)))

    compare(old, new, "/")
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


def _resize(path: str, items: list[str], cut: set[int], added: dict[int, str]) -> None:
    """Take items from the end of a list or put them there."""
    length = len(items)
    left = length - sum(position < length for position in cut)
    wrong = [position for position in cut if position < left]
    wrong += [position for place, position in enumerate(sorted(added), left) if position != place]
    if wrong:
        raise Invalid("list_gap", data=address_data(path, min(wrong)))
    items[left:] = [body for _, body in sorted(added.items())]


def _object(tree: Tree) -> dict[str, Tree]:
    if not isinstance(tree, dict):
        raise Invalid("invalid_state")
    return tree

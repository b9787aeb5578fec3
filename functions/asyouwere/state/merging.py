"""What becomes of two changes that were made at once, decided by comparing three states.

``base`` is the state that both callers started from, ``theirs`` what is stored by now, ``mine`` what this
caller makes of the base. The result is decided address by address, from the root down:

1. **Objects opened in all three** are merged key by key. The root is one. An absent value takes part like any
   other.
2. **Lists opened in all three** are merged item by item as far as the base's list goes (rule 3 for each
   item). All items beyond that are appended: first theirs, then mine. They never conflict with each other,
   and equal ones are not taken for the same change: two people may both say "ok". But the list is in
   conflict if mine cuts items off its end and theirs has appended: mine can't mean what it did not see. The
   other way round, theirs cut and mine appended, nothing is in doubt: appends go to the end there is.
3. **Everything else** is compared as a whole, by its text, containers with all that is in them: what only
   one side changed is taken; what both changed to the same is taken once; what both changed differently is
   in conflict.

Two who each make an object, or a list, where none was at the base are merged by 1 and 2 as if it had been
there, empty: the first messages of two tabs are both kept.

It follows from 3 that a container removed, or replaced by another kind, conflicts with any change in it, but
for the same removal.

A conflict has the highest address at which the two can't be brought together: of ``/memory`` removed here
and ``/memory/topic`` set there, ``/memory``. Which side is called theirs matters for lists that a side
appended to, and for nothing else.

Where a caller sends changes instead of a state, ``mine`` is the base with its set and remove done, so that
a list set as a whole counts as appended beyond the base's length. ``append`` is done last, to what is there
by then: it makes the list where none is, and is in conflict only if what was at its address or above it at
the base has been removed or replaced since. Conditions are judged against ``theirs``, and what they write is
written last: the base is nothing to them.
"""

from __future__ import annotations

import json
from typing import NamedTuple, TypeAlias

from asyouwere.state.addresses import depth_of, pointer_of
from asyouwere.state.changes import append_items, replace
from asyouwere.state.conditions import conditional_writes, split_conditions, unexpected
from asyouwere.state.rows import ChangeRows
from asyouwere.state.tree import Parts, Tree, flatten, tree_of_parts

__all__ = ["Merged", "merge", "merge_changes"]

_Address: TypeAlias = tuple[str, int]


class Merged(NamedTuple):
    """The merged parts and no conflicts; or no parts and the pointers in conflict, in path order."""

    parts: Parts | None
    conflicts: list[str]


def merge(base: Parts, theirs: Parts, mine: Parts) -> Merged:
    """Merge two states that both come from ``base``."""
    clashes: set[_Address] = set()
    merged = _merge_objects(tree_of_parts(base), tree_of_parts(theirs), tree_of_parts(mine), "/", clashes)
    return _outcome(merged, clashes)


def merge_changes(base: Parts, theirs: Parts, rows: ChangeRows) -> Merged:
    """Merge changes made to ``base`` into ``theirs``. Raises what apply raises."""
    clashes: set[_Address] = set()
    plain, conditions = split_conditions(rows)
    if addresses := unexpected(tree_of_parts(theirs), conditions):
        return Merged(None, [json.loads(address) for address in addresses])
    mine = replace(tree_of_parts(base), plain)
    merged = _merge_objects(tree_of_parts(base), tree_of_parts(theirs), mine, "/", clashes)
    for path in dict.fromkeys(path for op, path in zip(plain.ops, plain.paths, strict=True) if op == "append"):
        clashes.update(_append_clash(base, theirs, path))
    if not clashes:
        writes = conditional_writes(tree_of_parts(theirs), conditions)
        plain.extend(writes)
        merged = append_items(replace(merged, writes), plain)
    return _outcome(merged, clashes)


def _outcome(merged: dict[str, Tree], clashes: set[_Address]) -> Merged:
    if clashes:
        return Merged(None, [pointer_of(path, item) for path, item in sorted(clashes)])
    return Merged(dict(flatten(merged)), [])


def _merge_objects(
    base: dict[str, Tree], theirs: dict[str, Tree], mine: dict[str, Tree], path: str, clashes: set[_Address]
) -> dict[str, Tree]:
    merged = {}
    for key in base | theirs | mine:
        value = _merge_values(base.get(key), theirs.get(key), mine.get(key), f"{path}{key}/", clashes)
        if value is not None:
            merged[key] = value
    return merged


def _merge_values(
    base: Tree | None, theirs: Tree | None, mine: Tree | None, path: str, clashes: set[_Address]
) -> Tree | None:
    if isinstance(theirs, dict) and isinstance(mine, dict):
        return _merge_objects(base if isinstance(base, dict) else {}, theirs, mine, path, clashes)
    if isinstance(theirs, list) and isinstance(mine, list):
        return _merge_lists(base if isinstance(base, list) else [], theirs, mine, path, clashes)
    if mine in (base, theirs):
        return theirs
    if theirs != base:
        clashes.add((path, -1))
    return mine


def _merge_lists(
    base: list[str], theirs: list[str], mine: list[str], path: str, clashes: set[_Address]
) -> list[str]:
    length = len(base)
    if len(mine) < length < len(theirs):
        clashes.add((path, -1))
        return theirs
    merged = []
    for item, was in enumerate(base):
        their = theirs[item] if item < len(theirs) else None
        my = mine[item] if item < len(mine) else None
        if my not in (was, their) and their != was:
            clashes.add((path, item))
        body = their if my == was else my
        if body is not None:
            merged.append(body)
    return merged + theirs[length:] + mine[length:]


def _append_clash(base: Parts, theirs: Parts, path: str) -> list[_Address]:
    """Where an append to the list at this path is in conflict; at most one address."""
    keys = path[1:-1].split("/")
    for depth in range(1, depth_of(path) + 1):
        above = f"/{'/'.join(keys[:depth])}/"
        if (above, -1) in base and base[above, -1] != theirs.get((above, -1)):
            return [(above, -1)]
    return []

"""What changes do to a state, said a second time and in another way than the product says it.

``replaced`` and ``appended`` work on whole trees; ``merged`` compares three trees from the root down. The
rules are those of sql/schema/07_merging.sql.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.property.exact import (
    INDEX,
    OPENED_DEPTH,
    Address,
    Keys,
    Members,
    State,
    Tree,
    at,
    body_of,
    copy,
    differences,
    dump,
    keys_of,
    opened,
    parse,
    written_twice,
)

MISPLACED = frozenset({"address_below_part", "invalid_address", "missing_parent"})
OVERLAPPING = "overlapping_addresses"


class Refused(Exception):
    """The model refuses; `codes` are the answers that are right, more than one if several mistakes meet."""

    def __init__(self, *codes: str) -> None:
        super().__init__(", ".join(sorted(codes)))
        self.codes = frozenset(codes)


@dataclass
class Changes:
    """Changes as a caller sends them, keys decoded."""

    sets: list[tuple[Keys, Any]] = field(default_factory=list)
    appends: list[tuple[Keys, list[str]]] = field(default_factory=list)
    removes: list[Keys] = field(default_factory=list)
    adds: list[tuple[Keys, Any]] = field(default_factory=list)
    onces: list[tuple[Keys, str, list[str]]] = field(default_factory=list)
    """List, name of the member that tells items apart, items."""
    expects: list[tuple[Keys, tuple[Any]]] = field(default_factory=list)
    """In a tuple of their own, so that null is no nothing."""
    absents: list[Keys] = field(default_factory=list)


def changes_of(text: str) -> Changes:
    """Changes from their JSON text. Raises Refused for a malformed address."""
    changes = Changes()
    for name, content in parse(text):
        if name == "set":
            changes.sets = [(_keys(pointer), value) for pointer, value in content]
        elif name == "append":
            changes.appends = [(_keys(pointer), [dump(item) for item in items]) for pointer, items in content]
        elif name == "add":
            changes.adds = [(_keys(pointer), value) for pointer, value in content]
        elif name == "append_once":
            changes.onces = [
                (_keys(pointer), dict(inside)["by"], [dump(item) for item in dict(inside)["items"]])
                for pointer, inside in content
            ]
        elif name == "expect":
            changes.expects = [(_keys(pointer), (value,)) for pointer, value in content]
        elif name == "expect_absent":
            changes.absents = [_keys(pointer) for pointer in content]
        else:
            changes.removes = [_keys(pointer) for pointer in content]
    # the state itself can be set to an object, and nothing else; change rows have no word for the rest
    if any(not keys and not isinstance(value, Members) for keys, value in changes.sets):
        raise Refused("invalid_state", "invalid_changes")
    if () in changes.removes or any(not keys for keys, _ in changes.appends):
        raise Refused("invalid_address", "not_a_list", "invalid_changes")
    # what may be an item, and then is kept whole, is looked at when that is known
    if any(
        written_twice(value, len(keys)) for keys, value in changes.sets if not keys or not INDEX.fullmatch(keys[-1])
    ):
        raise Refused("invalid_state", *([OVERLAPPING] if overlap(changes) or may_overlap(changes) else []))
    return changes


def _keys(pointer: str) -> Keys:
    keys = keys_of(pointer)
    if keys is None:
        raise Refused("invalid_address")
    return keys


def overlap(changes: Changes) -> bool:
    """Whether one address lies in another. Items of a list may be set and removed beside an append to it."""
    alone = _alone(changes)
    lists = [keys for keys, _ in changes.appends]
    expected = [keys for keys, _ in changes.expects] + changes.absents
    return any(
        _within(keys, other) or _within(other, keys)
        for index, keys in enumerate(expected)
        for other in expected[:index]
    ) or any(
        any(_within(keys, other) or _within(other, keys) for other in alone[:index])
        or any(_within(other, keys) for other in lists)
        for index, keys in enumerate(alone)
    )


def may_overlap(changes: Changes) -> bool:
    """Whether an address lies in a list that is appended to and is no item of it: wrong in any case."""
    alone = _alone(changes)
    lists = [keys for keys, _ in changes.appends]
    return any(
        _within(keys, other) and not (len(keys) == len(other) + 1 and INDEX.fullmatch(keys[-1]))
        for other in lists
        for keys in alone
    ) or any(_within(keys, other) for other in lists for keys in lists if keys is not other)


def _alone(changes: Changes) -> list[Keys]:
    """Addresses that nothing else may be done to."""
    return [
        *(keys for keys, _ in changes.sets),
        *changes.removes,
        *(keys for keys, _ in changes.adds),
        *(keys for keys, _, _ in changes.onces),
    ]


def _within(inner: Keys, outer: Keys) -> bool:
    return inner[: len(outer)] == outer


def done(tree: State, changes: Changes, shape: State, writes: Changes | None = None) -> tuple[State, State]:
    """The state after set and remove, and after append, too. Raises Refused with the codes of all mistakes.

    shape: the state that tells items of lists from members; writes: what conditions write.
    """
    writes = writes or Changes()
    codes: set[str] = set()
    before_appends = tree
    for changed, told_by in ((changes, shape), (Changes(writes.sets), tree)):
        try:
            before_appends = replaced(before_appends, changed, told_by)
        except Refused as refused:
            codes |= refused.codes
    try:
        after = appended(before_appends, Changes(appends=changes.appends + writes.appends))
    except Refused as refused:
        codes |= refused.codes
    if codes:
        # with a list made halfway, another of these names the same mistake
        made = changes.appends or writes.appends or writes.sets
        raise Refused(*codes, *(MISPLACED if codes & MISPLACED and made else []))
    return before_appends, after


def replaced(tree: State, changes: Changes, shape: State) -> State:
    """The state after set and remove."""
    new = copy(tree)
    codes: set[str] = set()
    positions: dict[Keys, tuple[dict[int, str], set[int]]] = {}
    for keys, value in changes.sets:
        if not keys:
            root = opened(value, 0)
            assert isinstance(root, dict)
            return root
        try:
            _set(new, keys, value, shape, positions)
        except Refused as refused:
            codes |= refused.codes
    for keys in changes.removes:
        try:
            _remove(new, keys, shape, positions)
        except Refused as refused:
            codes |= refused.codes
    for keys, (written, gone) in positions.items():
        items = at(new, keys)
        assert isinstance(items, list)
        bodies = {item: body for item, body in enumerate(items) if item not in gone} | written
        if sorted(bodies) != list(range(len(bodies))):
            codes.add("list_gap")
        else:
            items[:] = [bodies[item] for item in range(len(bodies))]
    if codes:
        raise Refused(*codes)
    return new


Positions = dict[Keys, tuple[dict[int, str], set[int]]]


def _set(new: State, keys: Keys, value: Any, shape: State, positions: Positions) -> None:
    item = _item_of(shape, keys)
    holder = _holder(new, keys, make=item is None)
    if isinstance(holder, list) and item is not None:
        positions.setdefault(keys[:-1], ({}, set()))[0][item] = dump(value)
    elif isinstance(holder, dict) and item is None:
        if written_twice(value, len(keys)):
            raise Refused("invalid_state")
        holder[keys[-1]] = opened(value, len(keys))
    else:
        raise Refused(*MISPLACED, *(["list_gap"] if item is not None else []))


def _remove(new: State, keys: Keys, shape: State, positions: Positions) -> None:
    if _item_of(shape, keys) is not None:
        if isinstance(at(new, keys[:-1]), list):
            positions.setdefault(keys[:-1], ({}, set()))[1].add(int(keys[-1]))
        return
    try:
        holder = _holder(new, keys)
    except Refused as refused:
        if refused.codes == {"missing_parent"}:
            return  # nothing is there, and nothing is all right
        raise
    if isinstance(holder, list):
        raise Refused(*MISPLACED)
    assert isinstance(holder, dict)
    holder.pop(keys[-1], None)


def _item_of(shape: State, keys: Keys) -> int | None:
    """The position, if the keys name an item of what is a list in this state."""
    return int(keys[-1]) if INDEX.fullmatch(keys[-1]) and isinstance(at(shape, keys[:-1]), list) else None


def _holder(tree: State, keys: Keys, make: bool = False) -> Tree:
    """The container that is to hold the last key; made if wanted. Raises Refused if there is none."""
    node: Tree = tree
    for depth, key in enumerate(keys[:-1], 1):
        if isinstance(node, list):
            raise Refused(*MISPLACED)
        if isinstance(node, dict) and key not in node:
            if make and len(keys) > OPENED_DEPTH:
                raise Refused("address_below_part")
            if not make or any(INDEX.fullmatch(inner) for inner in keys[depth:]):
                raise Refused("missing_parent")
            node[key] = {}
        assert isinstance(node, dict)
        node = node[key]
        if isinstance(node, str):
            raise Refused("address_below_part")
    return node


def appended(tree: State, changes: Changes) -> State:
    """The state after append."""
    new = copy(tree)
    codes: set[str] = set()
    for keys, bodies in changes.appends:
        if not bodies:
            continue
        try:
            _append(new, keys, bodies)
        except Refused as refused:
            codes |= refused.codes
    if codes:
        raise Refused(*codes)
    return new


def _append(new: State, keys: Keys, bodies: list[str]) -> None:
    holder = _holder(new, keys, make=True)
    if not isinstance(holder, dict) or (keys[-1] not in holder and len(keys) >= OPENED_DEPTH):
        raise Refused("not_a_list", *MISPLACED)
    items = holder.setdefault(keys[-1], [])
    if not isinstance(items, list):
        raise Refused("not_a_list")
    items += bodies


@dataclass
class Merge:
    """A merged state, or the highest addresses at which the two can't be brought together."""

    state: State
    conflicts: list[Address] = field(default_factory=list)


def merged(base: State, mine: State, theirs: State) -> Merge:
    """Both changes to the base. Items that both appended: theirs first."""
    merge = Merge({})
    merge.state = _merge_objects(base, mine, theirs, (), merge.conflicts)
    return merge


def _merge_objects(base: State, mine: State, theirs: State, keys: Keys, conflicts: list[Address]) -> dict[str, Tree]:
    result: dict[str, Tree] = {}
    for key in {**base, **theirs, **mine}:
        value = _merge(base.get(key), mine.get(key), theirs.get(key), (*keys, key), conflicts)
        if value is not None:
            result[key] = value
    return result


def _merge(
    base: Tree | None, mine: Tree | None, theirs: Tree | None, keys: Keys, conflicts: list[Address]
) -> Tree | None:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        # where both made it: as if it had been there, empty
        return _merge_objects(base if isinstance(base, dict) else {}, mine, theirs, keys, conflicts)
    if isinstance(mine, list) and isinstance(theirs, list):
        return _merge_lists(base if isinstance(base, list) else [], mine, theirs, keys, conflicts)
    if mine in (base, theirs):
        return theirs
    if theirs != base:
        conflicts.append((keys, -1))
    return mine


def _merge_lists(
    base: list[str], mine: list[str], theirs: list[str], keys: Keys, conflicts: list[Address]
) -> list[str]:
    if len(mine) < len(base) < len(theirs):
        conflicts.append((keys, -1))
        return theirs
    result: list[str] = []
    for item, was in enumerate(base):
        my = mine[item] if item < len(mine) else None
        their = theirs[item] if item < len(theirs) else None
        if my not in (was, their) and their != was:
            conflicts.append((keys, item))
        body = their if my == was else my
        if body is not None:
            result.append(body)
    return result + theirs[len(base) :] + mine[len(base) :]


def append_conflicts(base: State, theirs: State, changes: Changes) -> list[Address]:
    """Lists to be appended to that are gone or something else now, or whose containers are."""
    found: list[Address] = []
    for keys, bodies in changes.appends:
        for depth in range(1, len(keys) + 1) if bodies else ():
            was, now = at(base, keys[:depth]), at(theirs, keys[:depth])
            if was is not None and (now is None or body_of(now) != body_of(was)):
                found.append((keys, -1))
                break
    return found


def must_be_named(base: State, mine: State, theirs: State) -> set[Address]:
    """Addresses that both changed, differently: whatever else a conflict names, these it must."""
    of_mine, of_theirs = differences(base, mine), differences(base, theirs)
    return {
        address
        for address in of_mine.keys() & of_theirs.keys()
        if of_mine[address][1] != of_theirs[address][1]
        and not (address[1] >= 0 and _is_append(base, mine, theirs, address))
    }


def _is_append(base: State, mine: State, theirs: State, address: Address) -> bool:
    keys, item = address
    lists = [at(state, keys) for state in (base, mine, theirs)]
    of_base = lists[0] if isinstance(lists[0], list) else []
    return all(isinstance(node, list) for node in lists[1:]) and item >= len(of_base)

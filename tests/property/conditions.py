"""What conditions find in a state and what they write, said a second time: on whole trees, keys decoded.

The rules are those of sql/schema/09_conditions.sql.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.property.changing import INDEX, MISPLACED, Changes, Refused
from tests.property.exact import Address, Keys, Members, State, Tree, at, dump, opened, parse


@dataclass
class Judged:
    """What is not as expected, what was there already, and what is left to write."""

    unexpected: set[Address] = field(default_factory=set)
    existing: dict[Address, Tree] = field(default_factory=dict)
    writes: Changes = field(default_factory=Changes)


def judged(changes: Changes, stored: State) -> Judged:
    """The conditions among changes, judged against what is stored. Raises Refused if they can't be."""
    found, codes = Judged(), set()
    for keys, value in [*changes.expects, *((keys, None) for keys in changes.absents)]:
        try:
            address, there = _find(stored, keys)
        except Refused as refused:
            codes |= refused.codes
            continue
        wanted = None if value is None else dump(value[0]) if address[1] >= 0 else opened(value[0], len(keys))
        if there != wanted:
            found.unexpected.add(address)
    for keys, value in changes.adds:
        if INDEX.fullmatch(keys[-1]) and isinstance(at(stored, keys[:-1]), list):
            codes.add("invalid_address")
        elif (there := at(stored, keys)) is not None:
            found.existing[keys, -1] = there
        else:
            found.writes.sets.append((keys, value))
    if codes:
        raise Refused(*codes)
    for keys, name, bodies in changes.onces:
        items = at(stored, keys)
        ids = [_id(body, name) for body in items] if isinstance(items, list) else []
        fresh: dict[str, str] = {}
        for body in bodies:
            identity = _id(body, name)
            assert identity is not None
            if identity in ids:
                assert isinstance(items, list)
                found.existing |= {(keys, n): items[n] for n, other in enumerate(ids) if other == identity}
            else:
                fresh.setdefault(identity, body)
        if fresh:
            found.writes.appends.append((keys, list(fresh.values())))
    return found


def _find(stored: State, keys: Keys) -> tuple[Address, Tree | None]:
    """The address as it is stored, and what is there. Raises Refused inside of a part."""
    node: Tree = stored
    for depth, key in enumerate(keys):
        if isinstance(node, list) and depth == len(keys) - 1 and INDEX.fullmatch(key):
            return (keys[:-1], int(key)), node[int(key)] if int(key) < len(node) else None
        if not isinstance(node, dict):
            raise Refused(*MISPLACED)
        if key not in node:
            return (keys, -1), None
        node = node[key]
    return (keys, -1), node


def _id(body: str, name: str) -> str | None:
    value = parse(body)
    members = dict(value) if isinstance(value, Members) else {}
    found: Any = members.get(name)
    return dump(found) if isinstance(found, str) else None  # numbers are strings of a kind here

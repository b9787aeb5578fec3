"""Change rows: what a caller sends, taken apart for the database.

Four lists side by side, one entry each for a row:

    op      path         item         body
    set     the address  -1, None     the value; {} or [] if it is opened, its inside following
    in      of the part  -1, 0, 1 ..  a part inside the value of the set row before it, depth first
    remove  the address  -1, None     None
    append  of the list  None         the new item

and for conditions (see ``conditions``):

    add            the address  -1, None     like set; what is inside it follows as in rows
    expect         the address  -1, None     like set
    expect_in      of the part  -1, 0, 1 ..  a part inside the value of the expect row before it
    expect_absent  the address  -1, None     None
    by             of the list  None         the name of a member, as JSON
    once           of the list  None         an item, told apart by that member; follows the by row

An address that ends in a number may be an item of a list or a member of an object; only what is stored can
tell. Its row has the item None and the whole value as its body; the database opens it if it is a member.

Inside, values are not cut out of the text but known by where they begin and end, and each body is copied
once, into its place in the column: a save of 10 MB shall not be five copies of 10 MB. Who has a better place
for it than a list, hands in rows with columns of its own (see ``columns``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

from asyouwere.errors import Invalid, TooLarge
from asyouwere.state import exact_json
from asyouwere.state.addresses import (
    OPENED_DEPTH,
    address_data,
    check_length,
    depth_of,
    is_index,
    last_key,
    parent_of,
    path_of_text,
    step,
)
from asyouwere.state.columns import TextColumn, TextList
from asyouwere.state.exact_json import as_text, as_view

__all__ = [
    "MAX_ROWS",
    "ChangeRows",
    "open_changes",
    "open_changes_view",
    "open_items_view",
    "open_state",
    "open_state_view",
    "open_value",
]

MAX_ROWS: Final = 125_000
"""Most rows of one save. The database has the same number (asyouwere.refuse_count)."""


@dataclass(slots=True)
class ChangeRows:
    """What a save is to do, in the form the database takes; at most ``most`` rows."""

    ops: list[str] = field(default_factory=list)
    paths: TextColumn[str] = field(default_factory=TextList[str])
    items: list[int | None] = field(default_factory=list)
    bodies: TextColumn[str | None] = field(default_factory=TextList[str | None])
    most: int = MAX_ROWS

    def __len__(self) -> int:
        return len(self.ops)

    def extend(self, rows: ChangeRows) -> None:
        """All rows of others after its own. Raises too_large."""
        if len(self) + len(rows) > self.most:
            raise too_many()
        for op, path, item, body in zip(rows.ops, rows.paths, rows.items, rows.bodies, strict=True):
            self.ops.append(op)
            self.paths.append(path)
            self.items.append(item)
            self.bodies.append(body)

    def add(
        self, op: str, path: str, item: int | None, view: str | None, start: int = 0, end: int = 0
    ) -> None:
        """One more row, whose body is that piece of a view. Raises too_large."""
        if len(self.ops) >= self.most:
            raise too_many()
        self.ops.append(op)
        self.paths.append(path)
        self.items.append(item)
        if view is None:
            self.bodies.append(None)
        else:
            self.bodies.append_view(view, start, end)


def too_many() -> TooLarge:
    """More rows than one save may have."""
    return TooLarge(
        "too_large",
        f"One save may write {MAX_ROWS:,} parts. Send them in several saves.",
        data=f'{{"max_parts":{MAX_ROWS}}}',
    )


def open_state(text: str, rows: ChangeRows | None = None) -> ChangeRows:
    """The rows of a whole state, from its canonical text; added to ``rows``, by default to new ones.

    Raises invalid_state (not an object, or a key twice where it is opened), nesting_too_deep,
    address_too_long, too_large.
    """
    return open_state_view(as_view(text), rows)


def open_state_view(view: str, rows: ChangeRows | None = None) -> ChangeRows:
    """The rows of a whole state, from a view of its canonical text (see exact_json). Raises like open_state."""
    rows = ChangeRows() if rows is None else rows
    _set(rows, "/", view, 0, len(view))
    return rows


def open_changes(text: str, rows: ChangeRows | None = None) -> ChangeRows:
    """The rows of changes, from the canonical text of {"set": {pointer: value}, "append": {pointer: [items]},
    "remove": [pointer], "add": {pointer: value}, "append_once": {pointer: {"by": name, "items": [items]}},
    "expect": {pointer: value}, "expect_absent": [pointer]}, each optional; added to ``rows``, by default to new
    ones.

    No two addresses may be equal or one inside the other, except that items of a list may be set and removed
    beside an append to it, which is done last; and what is expected meets only what else is expected. No key may
    stand twice where something is opened. Raises
    invalid_changes, invalid_address, address_too_long,
    overlapping_addresses, invalid_state, not_a_list, nesting_too_deep, too_large.
    """
    return open_changes_view(as_view(text), rows)


def open_changes_view(view: str, rows: ChangeRows | None = None) -> ChangeRows:
    """The rows of changes, from a view of their canonical text. Raises like open_changes."""
    places: dict[str, _Places] = {name: {} for name in _BY_POINTER}
    lists: dict[str, list[str]] = {name: [] for name in _POINTERS}
    seen: set[str] = set()
    for name, start, _ in _members(view, 0):
        if name in seen:
            raise Invalid("invalid_changes", "Changes name each of their members once.")
        seen.add(name)
        if name in places:
            places[name] = _places(view, start)
        elif name in lists:
            lists[name] = _pointers(view, start)
        else:
            raise _invalid_changes()
    appended_to = places["append"].keys()
    _check_overlap([*places["set"], *lists["remove"], *places["add"], *places["append_once"]], appended_to)
    _check_overlap([*places["expect"], *lists["expect_absent"]], ())
    _check_root(places, lists)

    rows = ChangeRows() if rows is None else rows
    for path in lists["remove"]:
        rows.add("remove", path, _item_of(path), None)
    for path in lists["expect_absent"]:
        rows.add("expect_absent", path, _item_of(path), None)
    for op in ("set", "add", "expect"):
        for path, place in places[op].items():
            _set(rows, path, view, *place, op=op)
    for path, (start, _) in places["append_once"].items():
        _append_once(rows, path, view, start)
    for path, (start, _) in places["append"].items():
        _append(rows, path, view, start)
    return rows


def open_items_view(path: str, view: str, rows: ChangeRows | None = None) -> ChangeRows:
    """The rows that append the items of a list, given as a view, to the list at a path; added to ``rows``, by
    default to new ones. Raises invalid_changes for no list, nesting_too_deep, too_large."""
    rows = ChangeRows() if rows is None else rows
    _append(rows, path, view, 0)
    return rows


def open_value(rows: ChangeRows, path: str, value: str) -> None:
    """Add the set row of a value at a path, and the rows inside it."""
    _open(rows, "set", path, depth_of(path), as_view(value), 0)


_Places: TypeAlias = dict[str, tuple[int, int]]  # what stands where in a view

#: Members of changes that are {pointer: …}, and those that are [pointer].
_BY_POINTER: Final = ("set", "append", "add", "append_once", "expect")
_POINTERS: Final = ("remove", "expect_absent")


def _check_root(places: dict[str, _Places], lists: dict[str, list[str]]) -> None:
    """What can't be done to the state as a whole. Raises invalid_address, not_a_list."""
    data = address_data("/")
    if "/" in lists["remove"]:
        raise Invalid("invalid_address", "The state itself can't be removed.", data=data)
    if "/" in places["append"] or "/" in places["append_once"]:
        raise Invalid("not_a_list", "The state is no list.", data=data)
    if "/" in places["add"] or "/" in lists["expect_absent"]:
        raise Invalid("invalid_address", "The state itself is always there.", data=data)


def _item_of(path: str) -> int | None:
    return None if is_index(last_key(path)) else -1


def _set(rows: ChangeRows, path: str, view: str, start: int, end: int, op: str = "set") -> None:
    depth = depth_of(path)
    if depth == 0 and not view.startswith("{", start):
        raise Invalid("invalid_state")
    if depth and is_index(last_key(path)):
        exact_json.skip(view, start, _nesting_left(depth))
        rows.add(op, path, None, view, start, end)
    else:
        _open(rows, op, path, depth_of(path), view, start)


def _append(rows: ChangeRows, path: str, view: str, start: int, op: str = "append") -> None:
    if not view.startswith("[", start):
        raise _invalid_changes()
    # An item stands one level below its list, which stands as deep as its path has keys.
    for at, end in exact_json.each_item(view, start, _nesting_left(depth_of(path) + 1)):
        rows.add(op, path, None, view, at, end)


def _append_once(rows: ChangeRows, path: str, view: str, start: int) -> None:
    given = list(_members(view, start))
    places = {name: (begin, end) for name, begin, end in given}
    if len(given) != 2 or places.keys() != {"by", "items"} or view[places["by"][0]] != '"':
        raise _invalid_changes()
    rows.add("by", path, None, view, *places["by"])
    _append(rows, path, view, places["items"][0], "once")


def _open(rows: ChangeRows, op: str, path: str, depth: int, view: str, at: int) -> int:
    """Add the rows of the value that begins at this character; returns where it ends."""
    kind = view[at] if depth < OPENED_DEPTH else ""
    if kind == "{":
        rows.add(op, path, -1, "{}", 0, 2)
        return _open_object(rows, op, path, depth, view, at)
    if kind == "[":
        rows.add(op, path, -1, "[]", 0, 2)
        op = _inside(op)
        item, at = 0, at + 1
        while view[at] != "]":
            end = exact_json.skip(view, at, _nesting_left(depth + 1))
            rows.add(op, path, item, view, at, end)
            item, at = item + 1, end + 1 if view[end] == "," else end
        return at + 1
    end = exact_json.skip(view, at, _nesting_left(depth))
    rows.add(op, path, -1, view, at, end)
    return end


def _inside(op: str) -> str:
    """The op of the rows inside the value of a row with this op."""
    return "expect_in" if op.startswith("expect") else "in"


def _open_object(rows: ChangeRows, op: str, path: str, depth: int, view: str, at: int) -> int:
    written: set[str] = set()
    op = _inside(op)
    at += 1
    while view[at] != "}":
        key, at = exact_json.key_at(view, at)
        inner = path + step(as_text(key))
        check_length(inner)
        if key in written:
            raise Invalid("invalid_state", "A key stands twice in one object.", data=address_data(inner))
        written.add(key)
        at = _open(rows, op, inner, depth + 1, view, at)
        if view[at] == ",":
            at += 1
    return at + 1


def _nesting_left(above: int) -> int:
    """How many levels of containers may stand below that many."""
    # Addresses deeper than there are parts are left to the database, which knows what part they lie in.
    return exact_json.MAX_NESTING - above if above <= OPENED_DEPTH else exact_json.ANY_NESTING


def _members(view: str, at: int) -> Iterator[tuple[str, int, int]]:
    """The members of the object there: key, begin and end. Raises invalid_changes."""
    if not view.startswith("{", at):
        raise _invalid_changes()
    for key, start, end in exact_json.each_member(view, at):
        yield as_text(key), start, end


def _places(view: str, at: int) -> _Places:
    """What stands where under the pointers of the object there. Raises invalid_changes, invalid_address,
    address_too_long, overlapping_addresses for a pointer that stands twice, too_large."""
    places: _Places = {}
    for pointer, start, end in _members(view, at):
        path = path_of_text(pointer)
        if path in places:
            raise Invalid("overlapping_addresses", data=address_data(path))
        places[path] = start, end
        if len(places) > MAX_ROWS:
            raise too_many()
    return places


def _pointers(view: str, at: int) -> list[str]:
    if not view.startswith("[", at):
        raise _invalid_changes()
    paths: list[str] = []
    for start, end in exact_json.each_item(view, at):
        if view[start] != '"':
            raise _invalid_changes()
        paths.append(path_of_text(as_text(view[start + 1 : end - 1])))
        if len(paths) > MAX_ROWS:
            raise too_many()
    return paths


def _check_overlap(replaced: list[str], appended_to: Collection[str]) -> None:
    # Sorted, everything under a path follows it directly: they all begin with it.
    for before, path in pairwise(sorted([*replaced, *appended_to])):
        if path.startswith(before) and not (before in appended_to and _is_item(path, before, appended_to)):
            raise Invalid("overlapping_addresses", data=address_data(path))


def _is_item(path: str, of: str, appended_to: Collection[str]) -> bool:
    return path != of and parent_of(path) == of and is_index(last_key(path)) and path not in appended_to


def _invalid_changes() -> Invalid:
    return Invalid(
        "invalid_changes",
        'Changes are {"set": {pointer: value}, "append": {pointer: [items]}, "remove": [pointer], '
        '"add": {pointer: value}, "append_once": {pointer: {"by": name, "items": [items]}}, '
        '"expect": {pointer: value}, "expect_absent": [pointer]}, each optional.',
    )

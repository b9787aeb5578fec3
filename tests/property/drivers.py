"""What the sequences are played against: a way to call asyouwere, without any judgement."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from tests.property.changing import Changes
from tests.property.exact import Address, Tree, dump, path_of, pointer_of
from tests.property.model import Operation

Handle = str


class Refusal(Exception):
    """asyouwere refused: its code, and the data that came with it."""

    def __init__(self, code: str, data: dict[str, Any], text: str) -> None:
        super().__init__(f"{code}: {text} {data}")
        self.code = code
        self.data = data


class Unanswered(Exception):
    """Nobody knows whether it was done. Ask again with the same key.

    status: 503 or 504 if that was the answer, None if the connection broke before one came.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Restored:
    """A restored snapshot; state is JSON text."""

    number: int
    label: str | None
    size_bytes: int
    message_count: int
    latest_number: int
    state: str


@dataclass
class Snapshot:
    """A row of the list of snapshots."""

    number: int
    label: str | None
    size_bytes: int
    message_count: int
    changed_parts: int


@dataclass
class Difference:
    """A row of a diff; the values are JSON text, None for none."""

    address: str
    change: str
    before: str | None
    after: str | None


class Driver(Protocol):
    """One way to call asyouwere, as one person."""

    name: str
    lowest_number: int
    """The lowest number that revert, fork and restore take."""

    def new_session(self) -> Handle: ...
    def save(self, session: Handle, op: Operation) -> dict[str, Any]:
        """number, created, replayed, merged, changed_parts, size_bytes, message_count, others, existing (text)."""
        ...

    def append_messages(self, session: Handle, op: Operation) -> dict[str, Any]:
        """number and created as far as it says so, first_position, message_count."""
        ...

    def revert(self, session: Handle, op: Operation) -> dict[str, Any]:
        """As save."""
        ...

    def label(self, session: Handle, number: int, label: str | None) -> None: ...
    def fork(self, session: Handle, number: int) -> Handle: ...
    def export(self, session: Handle) -> str: ...
    def import_(self, document: str) -> Handle: ...
    def prune(self, keep: int, batch: int) -> int:
        """How many snapshots went."""
        ...

    def restore(self, session: Handle, number: int | None = None, label: str | None = None) -> Restored: ...
    def changes(self, session: Handle, since: int) -> tuple[int, bool, str | None]:
        """The number they lead to, reset, and the changes as text."""
        ...

    def diff(self, session: Handle, one: int, other: int) -> list[Difference]: ...
    def snapshots(self, session: Handle) -> list[Snapshot]: ...
    def messages(self, session: Handle) -> list[tuple[int, str]]:
        """Position and body."""
        ...

    def delete(self, session: Handle) -> None: ...
    def another(self) -> Driver:
        """The same person on connections of their own."""
        ...

    def close(self) -> None: ...


Row = tuple[str, str, int | None, str | None]
"""op, path, item, body: a change row."""


def rows_of_state(tree: Tree) -> list[Row]:
    """A whole state as change rows."""
    return _rows_of_value((), tree)


def rows_of_changes(changes: Changes) -> list[Row]:
    """Changes as change rows, opened as a caller has to that does not know what is stored."""
    from tests.property.exact import INDEX, opened

    rows: list[Row] = []
    for keys in changes.removes:
        rows.append(("remove", path_of(keys), None if keys and INDEX.fullmatch(keys[-1]) else -1, None))
    for keys, value in changes.sets:
        if keys and INDEX.fullmatch(keys[-1]):
            rows.append(("set", path_of(keys), None, dump(value)))
        else:
            rows += _rows_of_value(keys, opened(value, len(keys)))
    for keys in changes.absents:
        rows.append(("expect_absent", path_of(keys), None if INDEX.fullmatch(keys[-1]) else -1, None))
    for op, keys, value in [
        *(("add", keys, value) for keys, value in changes.adds),
        *(("expect", keys, value) for keys, (value,) in changes.expects),
    ]:
        if keys and INDEX.fullmatch(keys[-1]):
            rows.append((op, path_of(keys), None, dump(value)))
        else:
            head, *inside = _rows_of_value(keys, opened(value, len(keys)))
            rows.append((op, *head[1:]))
            rows += [("expect_in" if op == "expect" else "in", *row[1:]) for row in inside]
    for keys, name, bodies in changes.onces:
        rows.append(("by", path_of(keys), None, dump(name)))
        rows += [("once", path_of(keys), None, body) for body in bodies]
    for keys, bodies in changes.appends:
        rows += [("append", path_of(keys), None, body) for body in bodies]
    return rows


def _rows_of_value(keys: tuple[str, ...], tree: Tree) -> list[Row]:
    rows: list[Row] = []

    def walk(node: Tree, keys: tuple[str, ...]) -> None:
        op, path = "in" if rows else "set", path_of(keys)
        if isinstance(node, dict):
            rows.append((op, path, -1, "{}"))
            for key, inner in node.items():
                walk(inner, (*keys, key))
        elif isinstance(node, list):
            rows.append((op, path, -1, "[]"))
            rows.extend(("in", path, item, body) for item, body in enumerate(node))
        else:
            rows.append((op, path, -1, node))

    walk(tree, keys)
    return rows


def described(address: Address) -> str:
    """An address for people."""
    return json.dumps(pointer_of(address))

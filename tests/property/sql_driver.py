"""The SQL functions, called as a signed-in person; cleaned up as the service."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

from tests.property.changing import Refused, changes_of
from tests.property.drivers import (
    Difference,
    Handle,
    Refusal,
    Restored,
    Row,
    Snapshot,
    Unanswered,
    rows_of_changes,
    rows_of_state,
)
from tests.property.exact import Members, Number, dump, parse, state_of, written_twice
from tests.property.model import Operation
from tests.support.database import SERVICE, Connection, Db

SAVED = ("number", "created", "replayed", "merged", "changed_parts", "size_bytes", "message_count")
TEXTS = ("others", "existing")


class SqlDriver:
    """create_session_snapshot where json can hold it and the sequence says so, else save_session_parts."""

    name = "sql"
    lowest_number = 0

    def __init__(self, db: Db, person: str = "ada") -> None:
        self.db = db
        self._people = {False: person, True: SERVICE}
        self._connections: dict[bool, Connection] = {}
        for as_service in self._people:
            self._connection(as_service)

    def another(self) -> SqlDriver:
        """The same person on connections of their own."""
        return SqlDriver(self.db, self._people[False])

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()

    def _connection(self, as_service: bool) -> Connection:
        connection = self._connections.get(as_service)
        if connection is None or connection.closed:
            connection = self.db.connect_as(self._people[as_service])
            # as text: psycopg's own loader would forget how numbers are spelled
            connection.adapters.register_loader("json", TextLoader)
            self._connections[as_service] = connection
        return connection

    def _call(self, function: str, /, **arguments: Any) -> list[dict[str, Any]]:
        with _refusals():
            on = self._connection(function == "cleanup_old_snapshots")
            return self.db.call(function, on=on, **arguments)

    def new_session(self) -> Handle:
        (row,) = self._call("get_or_create_session")
        return str(row["id"])

    def save(self, session: Handle, op: Operation) -> dict[str, Any]:
        common = {
            "p_session_id": session,
            "p_base": op["base"],
            "p_idempotency_key": op["key"],
            "p_label": op["label"],
            "p_on_conflict": op["on_conflict"],
        }
        text = op["state"] if op.get("state") is not None else op["changes"]
        if op["way"] == 0 and _fits_json(text):
            argument = "p_state" if op.get("state") is not None else "p_changes"
            (row,) = self._call("create_session_snapshot", **{argument: text}, **common)
        else:
            rows = self._rows(op)
            columns: list[Any] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
            names = ("p_ops", "p_paths", "p_items", "p_bodies")
            (row,) = self._call("save_session_parts", **dict(zip(names, columns, strict=True)), **common)
        return {name: row[name] for name in (*SAVED, *TEXTS)}

    def _rows(self, op: Operation) -> list[Row]:
        if op.get("state") is not None:
            if written_twice(parse(op["state"]), 0):
                raise Refusal("invalid_state", {}, "refused while opening")
            return rows_of_state(state_of(op["state"]))
        try:
            return rows_of_changes(changes_of(op["changes"]))
        except Refused as refused:
            raise Refusal(sorted(refused.codes)[0], {}, "refused while opening") from refused

    def append_messages(self, session: Handle, op: Operation) -> dict[str, Any]:
        if op["way"] == 1 and op["key"] is None and len(op["items"]) == 1:
            body = op["items"][0]
            row = self._insert(session, body)
            return {"first_position": row["position"], "message_count": row["position"] + 1}
        (row,) = self._call(
            "append_session_messages",
            p_session_id=session,
            p_messages="[" + ",".join(op["items"]) + "]",
            p_idempotency_key=op["key"],
        )
        return row

    def _insert(self, session: Handle, body: str) -> dict[str, Any]:
        members = dict(parse(body)) if isinstance(parse(body), Members) else {}
        plain = list(members) == ["role", "content"] and _fits_json(body)
        is_text = all(type(value) is str for value in members.values())
        columns, values = ["body"], [body]
        if plain and is_text:
            columns, values = ["role", "content"], list(members.values())
        names = ", ".join(columns)
        casts = ", ".join("%s::json" if column == "body" else "%s" for column in columns)
        text = f"insert into session_messages (session_id, {names}) values (%s, {casts}) returning position"
        with _refusals():
            cursor = self._connection(False).execute(text.encode(), [session, *values])
            (row,) = cursor.fetchall()
        return row

    def revert(self, session: Handle, op: Operation) -> dict[str, Any]:
        (row,) = self._call(
            "revert_session", p_session_id=session, p_number=op["number"], p_idempotency_key=op["key"]
        )
        return {name: row[name] for name in (*SAVED, *TEXTS)}

    def label(self, session: Handle, number: int, label: str | None) -> None:
        (row,) = self._call("label_snapshot", p_session_id=session, p_number=number, p_label=label)
        assert (row["number"], row["label"]) == (number, label)

    def fork(self, session: Handle, number: int) -> Handle:
        (row,) = self._call("fork_session", p_session_id=session, p_number=number)
        return str(row["id"])

    def export(self, session: Handle) -> str:
        return "".join(row["export_session"] for row in self._call("export_session", p_session_id=session))

    def import_(self, document: str) -> Handle:
        content = dict(parse(document))
        columns: list[list[Any]] = [[], [], [], [], [], []]
        for part in content["parts"]:
            for column, value in zip(columns, part, strict=True):
                is_body = column is columns[-1]
                column.append(dump(value) if is_body else int(value) if isinstance(value, Number) else value)
        names = ("p_paths", "p_items", "p_since", "p_until", "p_created_at", "p_bodies")
        (row,) = self._call(
            "import_session",
            p_session=dump(content["session"]),
            p_snapshots=dump(content["snapshots"]),
            **dict(zip(names, columns, strict=True)),
        )
        return str(row["id"])

    def prune(self, keep: int, batch: int) -> int:
        gone, done = 0, False
        while not done:
            (row,) = self._call(
                "cleanup_old_snapshots",
                p_keep=keep,
                p_older_than="0 seconds",
                p_max_sessions=batch,
            )
            gone, done = gone + row["snapshots"], row["done"]
        return gone

    def restore(self, session: Handle, number: int | None = None, label: str | None = None) -> Restored:
        arguments = {"p_session_id": session, "p_number": number, "p_label": label}
        if number is None or number % 2:
            header, *state = (row["get_snapshot_chunks"] for row in self._call("get_snapshot_chunks", **arguments))
            row = {**json.loads(header), "state": "".join(state)}
        else:
            (row,) = self._call("get_snapshot", **arguments)
        return Restored(**{name: row[name] for name in Restored.__dataclass_fields__})

    def changes(self, session: Handle, since: int) -> tuple[int, bool, str | None]:
        (row,) = self._call("get_session_changes", p_session_id=session, p_since=since)
        return row["number"], row["reset"], row["changes"]

    def diff(self, session: Handle, one: int, other: int) -> list[Difference]:
        rows = self._call("diff_snapshots", p_session_id=session, p_from=one, p_to=other)
        return [Difference(json.loads(row["address"]), row["change"], row["before"], row["after"]) for row in rows]

    def snapshots(self, session: Handle) -> list[Snapshot]:
        rows = self._call("list_snapshots", p_session_id=session, p_limit=1000)
        return [Snapshot(**{name: row[name] for name in Snapshot.__dataclass_fields__}) for row in rows]

    def messages(self, session: Handle) -> list[tuple[int, str]]:
        rows = self._call("list_messages", p_session_id=session, p_limit=1000)
        return [(row["position"], row["body"]) for row in rows]

    def delete(self, session: Handle) -> None:
        self._call("delete_session", p_session_id=session)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Our refusals as Refusal, a broken connection as Unanswered, everything else as it is."""
    try:
        yield
    except psycopg.Error as error:
        code, state = error.diag.message_hint, error.diag.sqlstate or ""
        if state.startswith("PT") and code is not None:
            data = json.loads(error.diag.message_detail or "{}")
            raise Refusal(code, data, error.diag.message_primary or "") from error
        if isinstance(error, psycopg.OperationalError) and not state.startswith("40"):
            raise Unanswered(str(error)) from error
        raise


def _fits_json(text: str) -> bool:
    """Whether Postgres can look into it as json: no NUL, no lone surrogates."""
    return not any(
        "\0" in string or any("\ud800" <= c <= "\udfff" for c in string) for string in _strings(parse(text))
    )


def _strings(value: Any) -> list[str]:
    if isinstance(value, Members):
        return [text for key, inner in value for text in (key, *_strings(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in _strings(inner)]
    return [value] if isinstance(value, str) and not isinstance(value, Number) else []

"""A database for one test, and acting in it as owner, member, stranger, nobody or the service."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, cast

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps

from tests.support.cluster import Cluster

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

# Stable ids: the same name is the same person in every test and every process.
PEOPLE = uuid.UUID("5e551045-0000-4000-8000-000000000000")
SERVICE = "service"

# Bodies are compared as text in places, so they travel as a browser would write them.
set_json_dumps(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")))

ARGUMENT_TYPES = """
    select p.proname, n.nspname, p.proargnames[i] as argument, pg_catalog.format_type(t.oid, null) as type
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace,
    unnest(p.proargtypes::oid[]) with ordinality as t (oid, i)
    where n.nspname in ('public', 'asyouwere')
"""


class Db:
    """One test's database.

        with db.acting_as("ada"):
            db.call("create_session_snapshot", p_session_id=session_id, p_state={"a": 1})

    Outside `acting_as` everything runs as superuser. Each statement is a transaction of its own.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.dsn = cluster.dsn_for(name)
        self.api_dsn = cluster.dsn_for(name, "authenticator", cluster.password)
        self._super: Connection | None = None
        self._acting: list[Connection] = []
        self._opened: list[Connection] = []
        self._types: dict[tuple[str, str, str], str] = {}

    # -- who -----------------------------------------------------------------------------------------

    def user(self, name: str) -> uuid.UUID:
        """The id of a person, who exists in auth.users from the first mention on."""
        user_id = uuid.uuid5(PEOPLE, name)
        self.superuser.execute(
            "insert into auth.users (id, email) values (%s, %s) on conflict (id) do nothing",
            (user_id, f"{name}@example.org"),
        )
        return user_id

    def claims(self, who: str | None) -> Row:
        """The claims of a person's token; None is anonymous, "service" the service role."""
        if who is None:
            return {"role": "anon"}
        if who == SERVICE:
            return {"role": "service_role"}
        return {"sub": str(self.user(who)), "role": "authenticated"}

    @contextlib.contextmanager
    def acting_as(self, who: str | None) -> Iterator[Db]:
        """Everything inside runs with this person's role and claims, logged in as the API is."""
        connection = self.connect_as(who)
        self._acting.append(connection)
        try:
            yield self
        finally:
            self._acting.remove(connection)
            connection.close()

    # -- connections ---------------------------------------------------------------------------------

    @property
    def superuser(self) -> Connection:
        """A connection of the superuser, kept open for the length of the test."""
        if self._super is None or self._super.closed:
            self._super = self.connect()
        return self._super

    @property
    def connection(self) -> Connection:
        """The connection that `call` and `sql` use at this point."""
        return self._acting[-1] if self._acting else self.superuser

    def connect(self, dsn: str | None = None, **options: Any) -> Connection:
        """A further connection (default: of the superuser, autocommit), closed at the end of the test."""
        options = {"autocommit": True, **options}
        connection = cast(Connection, psycopg.connect(dsn or self.dsn, row_factory=dict_row, **options))
        self._opened.append(connection)
        return connection

    def connect_as(self, who: str | None) -> Connection:
        """A connection that stays with this person's role and claims; for tests that need two at once."""
        claims = self.claims(who)
        connection = self.connect(self.api_dsn)
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(claims["role"])))
        connection.execute("select set_config('request.jwt.claims', %s, false)", (json.dumps(claims),))
        return connection

    def close(self) -> None:
        """Close every connection of this test."""
        for connection in self._opened:
            connection.close()

    # -- statements ----------------------------------------------------------------------------------

    def sql(self, text: str, params: Sequence[Any] | Row | None = None) -> list[Row]:
        """Run one statement; its rows, or [] if it returns none."""
        cursor = self.connection.execute(text.encode(), params)
        return cursor.fetchall() if cursor.description else []

    def value(self, text: str, params: Sequence[Any] | Row | None = None) -> Any:
        """The only column of the only row."""
        (row,) = self.sql(text, params)
        (value,) = row.values()
        return value

    def call(self, function: str, /, on: Connection | None = None, **arguments: Any) -> list[Row]:
        """Call one of our functions by argument names; its rows.

        Arguments for json and jsonb may be given as Python values or, to fix every character, as JSON text
        (a str). `function` is in `public` unless it has a dot. `on` is a connection other than the current.
        """
        schema, _, name = function.rpartition(".")
        schema = schema or "public"
        passed = [
            sql.SQL("{} => %s::{}").format(sql.Identifier(key), sql.SQL(self._type_of(schema, name, key)))
            for key in arguments
        ]
        named = sql.SQL(", ").join(passed)
        query = sql.SQL("select * from {}({})").format(sql.Identifier(schema, name), named)
        values = [self._adapted(schema, name, key, value) for key, value in arguments.items()]
        return (on or self.connection).execute(query, values).fetchall()

    def one(self, function: str, /, **arguments: Any) -> Row:
        """The only row of a call."""
        (row,) = self.call(function, **arguments)
        return row

    def session(self, owner: str = "ada", **arguments: Any) -> uuid.UUID:
        """A new session's id; further arguments as for get_or_create_session, with or without `p_`."""
        named = {key if key.startswith("p_") else f"p_{key}": value for key, value in arguments.items()}
        with self.acting_as(owner):
            return cast(uuid.UUID, self.one("get_or_create_session", **named)["id"])

    def share(self, session_id: uuid.UUID, person: str, role: str = "editor") -> None:
        """Whoever acts, the owner, invites a person, and the person accepts."""
        self.one("set_session_member", p_session_id=session_id, p_user_id=self.user(person), p_role=role)
        with self.acting_as(person):
            self.one("accept_invitation", p_session_id=session_id)

    def save(self, session_id: uuid.UUID, state: Any = None, **arguments: Any) -> Row:
        """Save as whoever acts; the row of create_session_snapshot."""
        if state is not None:
            arguments["p_state"] = state
        return self.one("create_session_snapshot", p_session_id=session_id, **arguments)

    @contextlib.contextmanager
    def refuses(self, code: str) -> Iterator[pytest.ExceptionInfo[psycopg.Error]]:
        """The code inside must be refused with this code of ours (the hint), and with a PTxyz state."""
        with pytest.raises(psycopg.Error) as refused:
            yield refused
        diagnosis = refused.value.diag
        assert diagnosis.message_hint == code, f"{diagnosis.message_hint}: {diagnosis.message_primary}"
        assert (diagnosis.sqlstate or "").startswith("PT")

    def _type_of(self, schema: str, function: str, argument: str) -> Any:
        if not self._types:
            rows = self.superuser.execute(ARGUMENT_TYPES).fetchall()
            self._types = {(row["nspname"], row["proname"], row["argument"]): row["type"] for row in rows}
        try:
            return self._types[schema, function, argument]
        except KeyError:
            raise LookupError(f"no function {schema}.{function} with an argument {argument}") from None

    def _adapted(self, schema: str, function: str, argument: str, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        if self._type_of(schema, function, argument) in ("json", "jsonb"):
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return value

"""Being one of the callers of the access matrix for a moment, and what comes of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql

from tests.sql import access_matrix as matrix
from tests.support.database import Connection, Db, Row

# One login for all callers, as the API's pool does it: role and claims are set in the transaction and go with it.
CONNECTIONS: WeakKeyDictionary[Db, Connection] = WeakKeyDictionary()


@contextlib.contextmanager
def acting(db: Db, caller: str) -> Iterator[Connection]:
    """A connection that is this caller, in a transaction that is undone at the end."""
    connection = CONNECTIONS.get(db) or CONNECTIONS.setdefault(db, db.connect(db.api_dsn, autocommit=False))
    role = {matrix.SERVICE: "service_role", matrix.ANONYMOUS: "anon", matrix.CLAIMLESS: "anon"}.get(caller, "authenticated")
    claims: Row = {"role": role}
    if caller in (matrix.OWNER, matrix.EDITOR, matrix.VIEWER, matrix.INVITED, matrix.STRANGER):
        claims["sub"] = str(db.user(caller))
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    if caller != matrix.CLAIMLESS:
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
    try:
        yield connection
    finally:
        connection.rollback()


def outcome(work: Any) -> tuple[str, Any]:
    """ ("ok", rows), ("denied", why) or (code, the whole refusal)."""
    try:
        return "ok", work()
    except psycopg.errors.InsufficientPrivilege as exc:
        return "denied", exc.diag.message_primary
    except psycopg.Error as exc:
        diagnosis = exc.diag
        refusal = (diagnosis.sqlstate, diagnosis.message_primary, diagnosis.message_hint, diagnosis.message_detail)
        return diagnosis.message_hint or f"{diagnosis.sqlstate} {diagnosis.message_primary}", refusal

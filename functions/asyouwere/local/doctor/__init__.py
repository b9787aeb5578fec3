"""`asyouwere doctor`: looks at a deployment, changes nothing in it, and says what to do.

    for finding in examine("postgresql://…"):
        print(finding)

Every check is a function that yields findings; one that can't be made is a finding too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import psycopg

from asyouwere.local.doctor.catalog import check_catalog
from asyouwere.local.doctor.connecting import CONNECT_SECONDS, connection_failure
from asyouwere.local.doctor.database import DATABASE_CHECKS
from asyouwere.local.doctor.encryption import check_encryption, check_telemetry
from asyouwere.local.doctor.finding import Finding
from asyouwere.local.doctor.pooling import check_pooler
from asyouwere.local.doctor.project import check_one_project, check_project_keys
from asyouwere.local.doctor.web import check_functions, check_keys, check_rest
from asyouwere.postgres.encryption import NotEncrypted, encrypted

__all__ = ["Finding", "examine"]

CHECK_SECONDS: Final = 20
_LOST: Final = (
    f"the connection was lost, or nothing came for {CHECK_SECONDS} s",
    "if a pooler is in between: has it a connection to the database free? All else is not looked at",
)


def examine(
    dsn: str | None,
    environ: Mapping[str, str],
    *,
    supabase_url: str | None = None,
    functions_url: str | None = None,
    local: bool = False,
) -> Iterator[Finding]:
    """All findings, in the order of the checks. environ: where the functions' settings are (ASYOUWERE_…).

    local: it is the stack of `asyouwere run`, where nothing schedules the clean-up.
    """
    if dsn is not None:
        for finding in _of_database(dsn, environ.get("ASYOUWERE_DATABASE_CA")):
            if local and (finding.check, finding.level) == ("schedule", "warn"):
                finding = Finding("schedule", "skip", "none on this machine: clean-up runs when it is called")
            yield finding
    else:
        yield Finding("database", "skip", "not looked at: no --database-url")
    yield from check_one_project(dsn, supabase_url)
    yield from check_project_keys(environ)
    yield from check_keys(environ, supabase_url)
    yield from check_telemetry(environ)
    if supabase_url:
        yield from check_rest(supabase_url, environ.get("ASYOUWERE_PUBLISHABLE_KEY"))
    else:
        why = "no local Supabase runs" if local else "no --supabase-url"
        yield Finding("rest", "skip", f"not looked at: {why}")
    if functions_url:
        yield from check_functions(functions_url)
    else:
        yield Finding("https functions", "skip", "not looked at: no --functions-url")


def _of_database(dsn: str, ca: str | None) -> Iterator[Finding]:
    try:
        dsn = encrypted(dsn, ca)
        connection = psycopg.connect(
            dsn, autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_SECONDS
        )
    except (psycopg.Error, NotEncrypted) as exc:
        yield connection_failure(exc)
        yield Finding("database", "skip", "not looked at: there is no connection")
        return
    with connection:
        yield Finding("connection", "ok", f"connected as {connection.info.user}")
        yield check_encryption(connection)
        for check in (*DATABASE_CHECKS, check_catalog):
            try:
                with _at_most(connection, CHECK_SECONDS):
                    found = _looked(connection, check)
            except psycopg.Error as exc:
                if connection.closed:
                    yield Finding("database", "fail", *_LOST)
                    return
                found = [_not_looked_at(check.__name__.removeprefix("check_"), exc, connection.info.user)]
            yield from found
    yield from check_pooler(dsn)


def _looked(
    connection: psycopg.Connection[Any], check: Callable[[psycopg.Connection[Any]], Iterator[Finding]]
) -> list[Finding]:
    """What one check finds, in a transaction that is read only: nothing can be changed by looking."""
    with connection.transaction():
        connection.execute("set transaction read only")
        connection.execute("set local statement_timeout = '10s'")
        connection.execute("set local lock_timeout = '2s'")
        return list(check(connection))


def _not_looked_at(check: str, error: psycopg.Error, user: str) -> Finding:
    owner = "connect as the owner of the database (on Supabase: postgres)"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):  # as for the functions' own login, which can little
        return Finding(check, "skip", f"not looked at: {user} may not", owner)
    return Finding(check, "fail", f"could not be looked at (SQLSTATE {error.sqlstate})", owner)


@contextlib.contextmanager
def _at_most(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """The server keeps its own time limit; past this one nobody is there, or a pooler has no connection for us."""
    line = socket.socket(fileno=os.dup(connection.fileno()))
    timer = threading.Timer(seconds, line.shutdown, (socket.SHUT_RDWR,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        line.close()

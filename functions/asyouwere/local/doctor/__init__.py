"""`asyouwere doctor`: looks at a deployment, changes nothing in it, and says what to do.

    for finding in examine("postgresql://…"):
        print(finding)

Every check is a function that yields findings; one that can't be made is a finding too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg

from asyouwere.local.doctor.catalog import check_catalog
from asyouwere.local.doctor.connecting import CONNECT_SECONDS, connection_failure
from asyouwere.local.doctor.database import DATABASE_CHECKS
from asyouwere.local.doctor.encryption import check_encryption, check_telemetry
from asyouwere.local.doctor.finding import Finding
from asyouwere.local.doctor.pooling import check_pooler
from asyouwere.local.doctor.web import check_functions, check_keys, check_rest
from asyouwere.postgres.encryption import NotEncrypted, encrypted

__all__ = ["Finding", "examine"]


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
                # a transaction each, read only, so that nothing can be changed by looking
                with connection.transaction():
                    connection.execute("set transaction read only")
                    connection.execute("set local statement_timeout = '10s'")
                    connection.execute("set local lock_timeout = '2s'")
                    yield from check(connection)
            except psycopg.Error as exc:
                name = check.__name__.removeprefix("check_")
                yield Finding(
                    name,
                    "fail",
                    f"could not be looked at (SQLSTATE {exc.sqlstate})",
                    "connect as the owner of the database (on Supabase: postgres)",
                )
    yield from check_pooler(dsn)

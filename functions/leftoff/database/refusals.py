"""What an error of the database means for the caller: the one place where driver errors become ours."""

from __future__ import annotations

from typing import Final

import psycopg

from leftoff.errors import CODES, Forbidden, Invalid, LeftoffError, Unavailable, from_code

__all__ = ["is_transient", "refusal"]

#: SQLSTATE classes and codes that say "not now": connection lost, resources used up, shutting down, read-only
#: because another server has become the primary.
_NOT_NOW: Final = ("08", "53", "57P", "58", "25006", "55P03", "40")

#: The transaction was rolled back and may run again at once: serialization failure, deadlock.
_RUN_AGAIN: Final = ("40001", "40P01")


def refusal(exc: psycopg.Error) -> LeftoffError:
    """Our exception for a driver's. Nothing of the driver's message is kept unless our own SQL wrote it."""
    hint = exc.diag.message_hint
    state = exc.sqlstate or ""
    if state.startswith("PT") and hint in CODES:
        data = exc.diag.message_detail
        # Which session was asked for must not show in the answer, so the sentence is always the same one.
        message = None if hint == "session_not_found" else exc.diag.message_primary
        return from_code(hint, message, data=data, retry_after=_retry_after(hint, data))
    if state == "57014":
        return Unavailable("timeout", retry_after=1)
    if not state and isinstance(exc, psycopg.OperationalError):
        return Unavailable("database_unavailable", retry_after=2)
    if state.startswith(_NOT_NOW):
        return Unavailable("database_unavailable", retry_after=2)
    if state == "42501":
        return Forbidden("forbidden")
    if state.startswith("22"):
        return Invalid("invalid_argument")
    return LeftoffError("internal")


def is_transient(exc: psycopg.Error, *, repeatable: bool) -> bool:
    """Whether the call may run once more: it was certainly rolled back, or a second run does no harm."""
    if exc.sqlstate in _RUN_AGAIN:
        return True
    lost = isinstance(exc, psycopg.OperationalError) and (
        not exc.sqlstate or exc.sqlstate.startswith(("57P", "08"))
    )
    return repeatable and lost


def _retry_after(code: str, data: str | None) -> int | None:
    if code != "rate_limited":
        return None
    import json

    try:
        seconds = json.loads(data or "{}").get("retry_after", 1)
        return max(1, int(seconds))
    except (ValueError, AttributeError, TypeError):
        return 1

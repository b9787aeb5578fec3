"""What an error of the database means for the caller: the one place where its errors become ours."""

from __future__ import annotations

import json
from typing import Final

from asyouwere.errors import CODES, AsYouWereError, Forbidden, Invalid, Unavailable, from_code

__all__ = ["Failure", "may_run_again", "to_error", "unavailable"]

#: The transaction was rolled back and may run again at once: serialization failure, deadlock.
_RUN_AGAIN: Final = ("40001", "40P01")

#: The server went away, perhaps in the middle of it: shutdown, crash, lost connection.
_WENT_AWAY: Final = ("57P", "08")

#: "Not now": the above, resources used up, disk trouble, a lock that could not be had, and read-only because
#: another server has become the primary.
_NOT_NOW: Final = (*_RUN_AGAIN, *_WENT_AWAY, "40", "53", "58", "25006", "55P03")


class Failure(Exception):
    """The server refused a statement; the transaction is rolled back.

    sqlstate: five characters; hint, detail, message: the server's, which may quote what it was given.
    """

    def __init__(
        self, sqlstate: str, *, hint: str | None = None, detail: str | None = None, message: str | None = None
    ) -> None:
        self.sqlstate = sqlstate
        self.hint = hint
        self.detail = detail
        self.message = message
        super().__init__(sqlstate)


def to_error(failure: Failure) -> AsYouWereError:
    """Our exception for an error of the server. Its message is kept only if our own SQL wrote it."""
    state, hint = failure.sqlstate, failure.hint
    if state.startswith("PT") and hint in CODES:
        # Which session was asked for must not show in the response, so the sentence is always the same one.
        message = None if hint == "session_not_found" else failure.message
        return from_code(hint, message, data=failure.detail, retry_after=_retry_after(hint, failure.detail))
    if state == "57014":
        return Unavailable("timeout", retry_after=1)
    if state.startswith(_NOT_NOW):
        return unavailable()
    if state == "42501":
        return Forbidden("forbidden")
    if state == "54001":  # the stack: of what we send, only JSON can be that deep
        return Invalid("nesting_too_deep")
    if state.startswith("22"):
        return Invalid("invalid_argument")
    return AsYouWereError("internal")


def unavailable() -> Unavailable:
    """The database cannot be reached now."""
    return Unavailable("database_unavailable", retry_after=2)


def may_run_again(sqlstate: str, *, repeatable: bool) -> bool:
    """Whether a failed call may run once more: it was certainly rolled back, or a second run does no harm."""
    return sqlstate in _RUN_AGAIN or (repeatable and sqlstate.startswith(_WENT_AWAY))


def _retry_after(code: str, data: str | None) -> int | None:
    if code != "rate_limited":
        return None
    try:
        return max(1, int(json.loads(data or "{}").get("retry_after", 1)))
    except (ValueError, AttributeError, TypeError):
        return 1

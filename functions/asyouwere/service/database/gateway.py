"""What an HTTP response means that is no success: Postgres' errors, PostgREST's own, those of a gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from asyouwere.errors import AsYouWereError, from_code
from asyouwere.postgres.failures import Failure
from asyouwere.service.auth.token_errors import TokenError

if TYPE_CHECKING:
    import httpx

__all__ = ["GatewayError", "failure"]

#: PostgREST's own errors that are the state of things: the SQLSTATE that says the same. No connection, the
#: connection lost, the schema not read yet, no connection free in time.
#: https://docs.postgrest.org/en/stable/references/errors.html
#: The empty one (with status 400): the connection was lost while Postgres worked, so that it said nothing.
_AS_STATES: Final = {
    "PGRST000": "08001",
    "PGRST001": "08006",
    "PGRST002": "08001",
    "PGRST003": "53300",
    "": "08006",
}
#: The token is not good: not readable, not allowed without one, not valid any more.
_TOKEN_REFUSED: Final = ("PGRST301", "PGRST302", "PGRST303")

#: Not JSON to PostgREST: a lone surrogate in an argument of type json. All else of the request is ours.
_NOT_JSON: Final = "PGRST102"

#: What stands between us and PostgREST says: too busy, too large, too slow, nobody there; Supabase's own are 544, too
#: slow, 540, the project is paused, and 402, it is restricted. https://supabase.com/docs/guides/platform/http-status-codes
_BY_STATUS: Final = {413: "body_too_large", 429: "rate_limited", 504: "timeout", 524: "timeout", 544: "timeout"}
_NOBODY_THERE: Final = (402, 502, 503, 520, 521, 522, 523, 525, 526, 530, 540)

_LONGEST_WAIT_SECONDS: Final = 60


class GatewayError(Exception):
    """PostgREST or what stands before it refused the call; nothing was run.

    code: ours for it; retry_after: seconds, if it said so; reason: what it called it, for the log.
    """

    def __init__(self, code: str, reason: str, retry_after: int | None = None) -> None:
        self.code = code
        self.retry_after = retry_after
        super().__init__(reason)

    def error(self) -> AsYouWereError:
        """The error of ours for it."""
        if self.code == "invalid_token":
            return TokenError("by_database")
        return from_code(self.code, retry_after=self.retry_after)


def failure(response: httpx.Response) -> Failure | GatewayError:
    """Postgres' failure if it says one, otherwise who refused the call and why."""
    problem = _problem(response)
    said = problem.get("code")
    code = said if isinstance(said, str) else None
    if code in _AS_STATES:
        return Failure(_AS_STATES[code])
    if code in _TOKEN_REFUSED:
        return GatewayError("invalid_token", code)
    if code == _NOT_JSON:
        return GatewayError("not_representable", code)
    if code is not None and len(code) == 5:
        hint, detail, message = (_text(problem.get(name)) for name in ("hint", "details", "message"))
        return Failure(code, hint=hint, detail=detail, message=message)
    status = response.status_code
    if status in _NOBODY_THERE:
        return GatewayError("database_unavailable", f"HTTP {status}", _wait(response, 2))
    if status in _BY_STATUS:
        return GatewayError(_BY_STATUS[status], f"HTTP {status}", _wait(response, 1) if status != 413 else None)
    # No function of that name, a key the gateway does not know, an address that is something else.
    return GatewayError("internal", code or f"HTTP {status}")


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        value = json.loads(response.content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _wait(response: httpx.Response, otherwise: int) -> int:
    said = response.headers.get("retry-after", "")
    return min(max(int(said), otherwise), _LONGEST_WAIT_SECONDS) if said.isdecimal() else otherwise

"""What goes wrong on the client's side. What the server refuses is in ``asyouwere.errors``; the base is the same."""

from __future__ import annotations

import json
from typing import Any

from asyouwere.errors import CODES, AsYouWereError, Unavailable, from_code

__all__ = ["ClientError", "Closed", "Expired", "KeyMissing", "SchemaTooNew", "Tampered", "Unreachable", "refusal"]


class ClientError(AsYouWereError):
    """Something that no server said. status: 0."""

    code = "client"

    def __init__(self, message: str | None = None) -> None:
        Exception.__init__(self, message or (type(self).__doc__ or "").partition("\n")[0])
        self.code = type(self).code
        self.status = 0
        self.data = None
        self.retry_after = None


class Unreachable(ClientError, Unavailable):
    """No answer came. What was to be saved is kept and sent again."""

    code = "unreachable"


class Closed(ClientError):
    """This session was closed. Open it again."""

    code = "closed"


class Expired(ClientError):
    """The session expired or was deleted. Open a new one, or pass on_expired."""

    code = "session_expired"


class KeyMissing(ClientError):
    """A part was sealed with a key that is not here. Nothing is shown or saved; pass the key to go on."""

    code = "wrong_key"


class Tampered(ClientError):
    """A value is not what was sealed for its place. Nothing of the answer is shown, and nothing is saved."""

    code = "tampered"


class SchemaTooNew(ClientError):
    """The session was written by a newer version of this app: it is open for reading only."""

    code = "schema_too_new"


def refusal(
    code: str | None, status: int, message: str | None, data: dict[str, Any], retry_after: int | None
) -> AsYouWereError:
    """The exception for what a server answered; also for codes that only newer servers know."""
    if code in CODES:
        return from_code(code, message, data=json.dumps(data) if data else None, retry_after=retry_after)
    known = {401: "invalid_token", 403: "forbidden", 404: "not_found", 409: "conflict", 413: "body_too_large"}
    known |= {429: "rate_limited", 503: "database_unavailable", 504: "timeout"}
    if status in known:
        return from_code(known[status], message, retry_after=retry_after)
    if status in (408, 500, 502, 520, 521, 522, 523, 524):
        return from_code("database_unavailable", message, retry_after=retry_after)
    return from_code("invalid_request" if 400 <= status < 500 else "internal", message)

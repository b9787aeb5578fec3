"""Everything asyouwere refuses on purpose, as exceptions with a stable code and an HTTP status.

AsYouWereError
├── (AsYouWereError itself) 408  request_timeout; 500  internal
├── Unauthorized            401  invalid_token, not_signed_in
├── Forbidden               403  forbidden, quota_exceeded
├── NotFound                404  session_not_found, snapshot_not_found, invitation_not_found,
│                                user_not_found, offer_not_found, turn_not_found, not_found
├── MethodNotAllowed        405  method_not_allowed
├── Conflicting             409  conflict, idempotency_key_reused, label_taken, key_taken,
│                                snapshot_exists, turn_running, turn_over, turn_gap
├── Gone                    410  snapshot_gone
├── TooLarge                413  too_large, body_too_large
├── UnsupportedMediaType    415  unsupported_media_type
├── Invalid                 422  everything that is wrong with what was sent
├── RateLimited             429  rate_limited
└── Unavailable             503  database_unavailable, keys_unavailable; 504  timeout

Callers match on ``code``, never on the sentence. The database reports the same codes as hints; ``from_code``
turns them into these classes. ``CODES`` has them all; it is made from spec/errors.json.
"""

from __future__ import annotations

from typing import Final

from asyouwere.error_codes import CODES, Code

__all__ = [
    "CODES",
    "AsYouWereError",
    "Code",
    "Conflicting",
    "Forbidden",
    "Gone",
    "Invalid",
    "MethodNotAllowed",
    "NotFound",
    "RateLimited",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UnsupportedMediaType",
    "from_code",
]


class AsYouWereError(Exception):
    """Something asyouwere refuses on purpose.

    code: one of ``CODES``; message: a sentence without anybody's content, by default the code's own;
    data: the text of a JSON object with the particulars, spliced into the answer as it is (default none);
    retry_after: whole seconds after which trying again makes sense (default: not said).
    """

    def __init__(
        self,
        code: str = "internal",
        message: str | None = None,
        *,
        data: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.code = code
        self.status = CODES[code].status
        self.data = data
        self.retry_after = retry_after
        super().__init__(message or CODES[code].sentence)


class Unauthorized(AsYouWereError):
    """401: nobody is signed in, or the token is not good."""


class Forbidden(AsYouWereError):
    """403: the session may be read, but that needs another role."""


class NotFound(AsYouWereError):
    """404: not there, or not for this caller; the two are never told apart."""


class MethodNotAllowed(AsYouWereError):
    """405: the address exists for other methods; ``allow`` names them for the Allow header."""

    def __init__(self, allow: str) -> None:
        super().__init__("method_not_allowed")
        self.allow = allow


class Conflicting(AsYouWereError):
    """409: it contradicts what is stored; nothing was written."""


class Gone(AsYouWereError):
    """410: the snapshot was pruned."""


class TooLarge(AsYouWereError):
    """413: over a limit; nothing was written."""


class UnsupportedMediaType(AsYouWereError):
    """415: the body is not plain JSON."""


class Invalid(AsYouWereError):
    """422: what was sent is wrong in itself; sending it again will not help."""


class RateLimited(AsYouWereError):
    """429: later."""


class Unavailable(AsYouWereError):
    """503 or 504: nothing wrong with the request; worth trying again."""


_BY_STATUS: Final[dict[int, type[AsYouWereError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflicting,
    410: Gone,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: Invalid,
    429: RateLimited,
    503: Unavailable,
    504: Unavailable,
}


def from_code(
    code: str, message: str | None = None, *, data: str | None = None, retry_after: int | None = None
) -> AsYouWereError:
    """The exception for a stable code, of the class its status asks for. KeyError for an unknown code."""
    kind = _BY_STATUS.get(CODES[code].status, AsYouWereError)
    return kind(code, message, data=data, retry_after=retry_after)

"""Everything asyouwere refuses on purpose, as exceptions with a stable code and an HTTP status.

AsYouWereError
├── Unauthorized            401  invalid_token, not_signed_in
├── Forbidden               403  forbidden, quota_exceeded
├── NotFound                404  session_not_found, snapshot_not_found, not_found
├── MethodNotAllowed        405  method_not_allowed
├── (AsYouWereError itself) 408  request_timeout
├── Conflicting             409  conflict, idempotency_key_reused, label_taken, key_taken
├── Gone                    410  snapshot_gone
├── TooLarge                413  too_large, body_too_large
├── UnsupportedMediaType    415  unsupported_media_type
├── Invalid                 422  everything that is wrong with what was sent
├── RateLimited             429  rate_limited
└── Unavailable             503  database_unavailable, keys_unavailable; 504 timeout

Callers match on ``code``, never on the sentence. The database reports the same codes as hints; ``from_code``
turns them into these classes, and ``CODES`` is the one list of them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

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


class Code(NamedTuple):
    """A stable code: its HTTP status, a title that never changes and the sentence used when there is none."""

    status: int
    title: str
    sentence: str


CODES: Final[dict[str, Code]] = {
    "invalid_token": Code(
        401, "Not signed in", "Send a valid access token as 'Authorization: Bearer <token>'."
    ),
    "not_signed_in": Code(401, "Not signed in", "This needs a signed-in user."),
    "forbidden": Code(403, "Not allowed", "You may read this session, but not do that with it."),
    "quota_exceeded": Code(
        403, "Quota used up", "The owner has as many sessions or stored bytes as allowed. Nothing was saved."
    ),
    "not_found": Code(404, "No such address", "This function has nothing at that address."),
    "session_not_found": Code(
        404, "No such session", "No such session, or it is not yours. Check the id and the signed-in user."
    ),
    "snapshot_not_found": Code(
        404, "No such snapshot", "The session has no snapshot of that number or label."
    ),
    "request_timeout": Code(
        408, "Body too slow", "The request body did not arrive in time. Nothing was saved."
    ),
    "method_not_allowed": Code(405, "Wrong method", "That address exists, but not for this method."),
    "conflict": Code(
        409,
        "Changed by someone else",
        "Someone else changed the same addresses since your base. Nothing was saved.",
    ),
    "idempotency_key_reused": Code(
        409,
        "Idempotency key used before",
        "That idempotency key was used for another content. Nothing was saved.",
    ),
    "label_taken": Code(409, "Label taken", "Another snapshot of this session has that label."),
    "key_taken": Code(409, "Key taken", "Another session has that key or id."),
    "snapshot_gone": Code(
        410, "Snapshot gone", "Clean-up removed that snapshot. Restore the latest one first."
    ),
    "too_large": Code(413, "Too large", "The session would grow over its limit. Nothing was saved."),
    "body_too_large": Code(
        413, "Request too large", "The request body is over the limit. Nothing was saved."
    ),
    "unsupported_media_type": Code(
        415, "JSON only", "Send the body as 'Content-Type: application/json', UTF-8, not compressed."
    ),
    "invalid_request": Code(422, "Invalid request", "The request does not have the expected form."),
    "invalid_json": Code(422, "Invalid JSON", "The body is not valid JSON."),
    "invalid_state": Code(422, "Invalid state", "A state must be a JSON object."),
    "invalid_changes": Code(
        422, "Invalid changes", "Changes must be an object of 'set', 'append' and 'remove'."
    ),
    "invalid_argument": Code(422, "Invalid argument", "An argument is outside what is allowed."),
    "invalid_address": Code(
        422, "Invalid address", "An address must be a JSON Pointer such as /memory/topic."
    ),
    "unknown_base": Code(422, "Unknown base", "The base is higher than the latest snapshot of this session."),
    "address_below_part": Code(
        422,
        "Address too deep",
        "That address lies inside a part. Send the part whole, at the address named here.",
    ),
    "missing_parent": Code(422, "Missing parent", "There is no container at the parent address."),
    "list_gap": Code(422, "Gap in a list", "A list grows and shrinks at its end only. Use append."),
    "not_a_list": Code(422, "Not a list", "Only a list can be appended to."),
    "overlapping_addresses": Code(422, "Overlapping addresses", "One save may not change an address twice."),
    "nesting_too_deep": Code(422, "Nested too deep", "JSON may be nested 64 levels deep."),
    "number_out_of_range": Code(
        422, "Number out of range", "A number lies outside what a 64-bit floating point number can hold."
    ),
    "address_too_long": Code(422, "Address too long", "An address may be 2,000 bytes long."),
    "not_representable": Code(
        422, "Not representable", "Text in this place may hold neither NUL nor half a character."
    ),
    "rate_limited": Code(
        429, "Too many requests", "Too many requests. Try again after the time given in Retry-After."
    ),
    "internal": Code(
        500, "Internal error", "Something went wrong on our side. The request id finds it in the log."
    ),
    "database_unavailable": Code(
        503, "Database unavailable", "The database cannot be reached. Try again shortly."
    ),
    "keys_unavailable": Code(
        503, "Keys unavailable", "The sign-in keys cannot be fetched. Try again shortly."
    ),
    "timeout": Code(
        504, "Took too long", "The database took too long. Repeat it with the same idempotency key."
    ),
}


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

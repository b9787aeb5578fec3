"""The error codes. Made from spec/errors.json by `make generate`: change that file, never this one."""

from typing import Final, NamedTuple

__all__ = ["CODES", "Code"]


class Code(NamedTuple):
    """A stable code: its HTTP status, a title that never changes, the sentence used when there is none, and the
    further members that the problem may have."""

    status: int
    title: str
    sentence: str
    detail: tuple[str, ...] = ()


CODES: Final[dict[str, Code]] = {
    "invalid_token": Code(
        401,
        "Not signed in",
        "Send a valid access token as 'Authorization: Bearer <token>'.",
    ),
    "not_signed_in": Code(
        401,
        "Not signed in",
        "This needs a signed-in user.",
    ),
    "forbidden": Code(
        403,
        "Not allowed",
        "You may read this session, but not do that with it.",
    ),
    "quota_exceeded": Code(
        403,
        "Quota used up",
        "The owner has as many sessions or stored bytes as allowed. Nothing was saved.",
        ("quota", "used", "limit",),
    ),
    "not_found": Code(
        404,
        "No such address",
        "This function has nothing at that address.",
    ),
    "session_not_found": Code(
        404,
        "No such session",
        "No such session, or it is not shared with you. Check the id and the signed-in user.",
    ),
    "snapshot_not_found": Code(
        404,
        "No such snapshot",
        "The session has no snapshot of that number, label or external id.",
        ("number", "latest",),
    ),
    "invitation_not_found": Code(
        404,
        "No such invitation",
        "No open invitation to this session for you. It may have been taken back, or the session made private.",
    ),
    "turn_not_found": Code(
        404,
        "No such turn",
        "The session has no turn of that id.",
    ),
    "user_not_found": Code(
        404,
        "No such user",
        "No user has this id. Ask the person for theirs: sub in their token, once signed up.",
    ),
    "offer_not_found": Code(
        404,
        "No such offer",
        "No such code, or it was used, or its ten minutes are over. Ask for a new one.",
    ),
    "method_not_allowed": Code(
        405,
        "Wrong method",
        "That address exists, but not for this method.",
    ),
    "request_timeout": Code(
        408,
        "Body too slow",
        "The request body did not arrive in time. Nothing was saved.",
    ),
    "conflict": Code(
        409,
        "Changed by someone else",
        "Somebody else changed the same part since your base. Nothing was written: catch up, then save again.",
        ("addresses", "count", "latest",),
    ),
    "idempotency_key_reused": Code(
        409,
        "Idempotency key used before",
        "This idempotency key came with another save before. Make a new key for every save; keep it for retries.",
    ),
    "label_taken": Code(
        409,
        "Label taken",
        "Another snapshot of this session has this label. Remove it there first.",
    ),
    "snapshot_exists": Code(
        409,
        "Snapshot exists",
        "The session has a snapshot with this external id. Nothing was saved: read that one, or use another id.",
        ("number",),
    ),
    "key_taken": Code(
        409,
        "Key taken",
        "This id can't be used. Leave it out, or make a new random one.",
    ),
    "turn_running": Code(
        409,
        "Turn running",
        "Another answer is being made in this session. Follow it, or begin when it has ended.",
        ("turn", "lease_until", "next_seq",),
    ),
    "turn_over": Code(
        409,
        "Turn over",
        "This turn has ended, or its lease ran out. Nothing was written, and nothing more will be.",
        ("turn_status",),
    ),
    "turn_gap": Code(
        409,
        "Gap in a turn",
        "Chunks have no gaps. Send those from next_seq on.",
        ("next_seq",),
    ),
    "snapshot_gone": Code(
        410,
        "Snapshot gone",
        "Clean-up has removed this snapshot. Restore the latest first.",
        ("number", "latest",),
    ),
    "too_large": Code(
        413,
        "Too large",
        "The session would grow over its limit. Nothing was saved.",
        ("size_bytes", "max_bytes", "max_parts",),
    ),
    "body_too_large": Code(
        413,
        "Request too large",
        "The request body is over the limit. Nothing was saved.",
        ("limit_bytes",),
    ),
    "unsupported_media_type": Code(
        415,
        "JSON only",
        "Send the body as 'Content-Type: application/json', UTF-8, not compressed.",
    ),
    "invalid_request": Code(
        422,
        "Invalid request",
        "The request does not have the expected form.",
        ("errors",),
    ),
    "invalid_json": Code(
        422,
        "Invalid JSON",
        "The body is not valid JSON.",
    ),
    "invalid_state": Code(
        422,
        "Invalid state",
        "A state is a JSON object, in which no key stands twice where it is opened.",
        ("address",),
    ),
    "invalid_changes": Code(
        422,
        "Invalid changes",
        "Changes must be an object of 'set', 'append' and 'remove'.",
        ("address",),
    ),
    "invalid_argument": Code(
        422,
        "Invalid argument",
        "An argument is outside what is allowed.",
    ),
    "invalid_address": Code(
        422,
        "Invalid address",
        "An address must be a JSON Pointer such as /memory/topic.",
        ("address",),
    ),
    "unknown_base": Code(
        422,
        "Unknown base",
        "The base is no snapshot of this session. Restore first.",
        ("base", "latest",),
    ),
    "address_below_part": Code(
        422,
        "Address too deep",
        "This address lies inside a part, and parts are saved whole. Send the part that is named.",
        ("address", "part",),
    ),
    "missing_parent": Code(
        422,
        "Missing parent",
        "No container for this address, and its number may name an item or a member. Set the container first.",
        ("address", "parent",),
    ),
    "list_gap": Code(
        422,
        "Gap in a list",
        "A list has no gaps: put an item at its end, or change one that is there.",
        ("address",),
    ),
    "not_a_list": Code(
        422,
        "Not a list",
        "Only lists can be appended to.",
        ("address",),
    ),
    "overlapping_addresses": Code(
        422,
        "Overlapping addresses",
        "One save changes an address twice, or an address and something inside it. Send the outer one whole.",
        ("address",),
    ),
    "nesting_too_deep": Code(
        422,
        "Nested too deep",
        "JSON may be nested 64 levels deep.",
        ("address",),
    ),
    "number_out_of_range": Code(
        422,
        "Number out of range",
        "A number is outside the range of a double (about 1.8e308), or written absurdly long.",
        ("address",),
    ),
    "address_too_long": Code(
        422,
        "Address too long",
        "An address may have 2,000 bytes. Use shorter keys.",
        ("address",),
    ),
    "not_representable": Code(
        422,
        "Not representable",
        "Text in this place may hold neither NUL nor a lone surrogate.",
    ),
    "rate_limited": Code(
        429,
        "Too many requests",
        "Too many writes in a short time. Wait, then send the same again.",
        ("retry_after",),
    ),
    "internal": Code(
        500,
        "Internal error",
        "Something went wrong on our side. The request id finds it in the log.",
    ),
    "database_unavailable": Code(
        503,
        "Database unavailable",
        "The database cannot be reached. Try again shortly.",
    ),
    "keys_unavailable": Code(
        503,
        "Keys unavailable",
        "The sign-in keys cannot be fetched. Try again shortly.",
    ),
    "timeout": Code(
        504,
        "Took too long",
        "The database took too long. Repeat it with the same idempotency key.",
    ),
}

"""sessions: the messages of a state, read by position and appended one request at a time."""

from __future__ import annotations

import json
from typing import Final

from pydantic import Field

from asyouwere.errors import Invalid
from asyouwere.service.database import Row
from asyouwere.service.handlers.annotations import AnnotatedRequest, annotation_arguments
from asyouwere.service.handlers.change_rows import array_rows, row_arguments
from asyouwere.service.handlers.idempotency import IdempotencyKey, idempotency_key
from asyouwere.service.handlers.query_parameters import parse_ints
from asyouwere.service.handlers.session_models import Appended, Message
from asyouwere.service.http.admission import sent_in_turn
from asyouwere.service.http.bodies import read_model, run_off_loop_if_large, validated
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import Content, RequestModel
from asyouwere.state.rows import ChangeRows, open_items_view

__all__ = ["AppendRequest", "MessagesQuery", "append_messages", "list_messages"]


#: Bytes of messages that fill a page of list_messages, and what each counts besides its body (13_messages.sql).
_FULL_PAGE: Final = 4_000_000
_AROUND: Final = 110


class MessagesQuery(RequestModel):
    """Which messages: the first or the last so many between two positions."""

    after: int = Field(
        -1, ge=-1, le=2**31 - 1, description="Position of the last one known; -1: from the start."
    )
    before: int | None = Field(None, ge=0, le=2**31 - 1, description="Only those before this position.")
    limit: int = Field(100, ge=1, le=1000)
    last: int | None = Field(None, ge=1, le=1000, description="In place of limit: so many from the end.")


class AppendRequest(AnnotatedRequest):
    """Messages to be put at the end, in this order."""

    messages: Content = Field(
        description="At least one; each any JSON value.",
        json_schema_extra={"type": "array", "items": {}, "minItems": 1},
    )
    idempotency_key: IdempotencyKey | None = None


async def list_messages(call: Call) -> ApiResponse:
    """In order, without the rest of the state."""
    query = validated(MessagesQuery, parse_ints(call.query, "after", "before", "limit", "last"))
    rows = await call.database.rows(
        call.caller,
        "list_messages",
        {
            "p_session_id": call.path["session_id"],
            "p_after": query.after,
            "p_limit": query.limit + 1,
            "p_before": query.before,
            "p_last": query.last,
        },
        repeatable=True,
    )
    following = previous = None
    page = rows[: query.limit] if query.last is None else rows
    if len(rows) > len(page) or (query.last is None and _bytes_of(page) >= _FULL_PAGE):
        following = page[-1]["position"]
    if query.last is not None and page and page[0]["position"] > query.after + 1:
        previous = page[0]["position"]
    listed = ",".join(Message(**row).json_text() for row in page)
    answer = json_response(
        f'{{"messages":[{listed}],"next":{json.dumps(following)},"previous":{json.dumps(previous)}}}'
    )
    return sent_in_turn(answer, call.caller, call.settings)


def _bytes_of(page: list[Row]) -> int:
    """What the database counts of a page, which ends with the message that fills it."""
    return sum(len(row["body"].encode()) + _AROUND for row in page)


async def append_messages(call: Call) -> ApiResponse:
    """Appends never conflict: of two at once the later one comes after."""
    request, messages = await run_off_loop_if_large(len(call.body), lambda: _opened(call.body))
    key = idempotency_key(request.idempotency_key, call.header)
    count = len(messages)
    rows = await call.database.rows(
        call.caller,
        "save_session_parts",
        {
            "p_session_id": call.path["session_id"],
            **row_arguments(messages),
            "p_idempotency_key": key,
            **annotation_arguments(request),
        },
        repeatable=key is not None,
    )
    saved = rows[0]
    total = saved["message_count"]
    response = Appended(
        number=saved["number"],
        created=saved["created"],
        replayed=saved["replayed"],
        first_position=None if total is None else total - count,
        last_position=None if total is None else total - 1,
        message_count=total,
    )
    changed = 0 if saved["replayed"] else saved["changed_parts"]
    return json_response(response.json_text(), 201, changed_parts=changed, replayed=int(saved["replayed"]))


def _opened(body: bytearray) -> tuple[AppendRequest, ChangeRows]:
    """The request without the messages, and those as parts."""
    request = read_model(AppendRequest, body, views=frozenset({"messages"}))
    if not request.messages.startswith("["):
        raise Invalid("invalid_request", "'messages' must be a list.")
    messages = open_items_view("/messages/", request.messages, array_rows())
    if not len(messages):
        raise Invalid("invalid_request", "Send at least one message.")
    return request.model_copy(update={"messages": "[]"}), messages

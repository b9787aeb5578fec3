"""sessions: taking items from the end of a list, each by one caller only."""

from __future__ import annotations

from pydantic import Field

from asyouwere.service.handlers.idempotency import IdempotencyKey, idempotency_key
from asyouwere.service.handlers.session_models import Taken
from asyouwere.service.http.bodies import read_model
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import RequestModel, Text

__all__ = ["PopRequest", "pop_items"]


class PopRequest(RequestModel):
    """From which list, and how many at most."""

    address: Text = Field(description="JSON Pointer of the list.")
    count: int = Field(1, ge=1, le=1000)
    idempotency_key: IdempotencyKey | None = None


async def pop_items(call: Call) -> ApiResponse:
    """Two callers never get the same item."""
    request = read_model(PopRequest, call.body)
    key = idempotency_key(request.idempotency_key, call.header)
    rows = await call.database.rows(
        call.caller,
        "pop_session_items",
        {
            "p_session_id": call.path["session_id"],
            "p_address": request.address,
            "p_count": request.count,
            "p_idempotency_key": key,
        },
        repeatable=key is not None,
    )
    return json_response(Taken(**rows[0]).json_text(), replayed=int(rows[0]["replayed"]))

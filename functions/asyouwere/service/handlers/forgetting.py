"""sessions: what their owner wants to be gone from history, too."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field

from asyouwere.service.handlers.idempotency import Label
from asyouwere.service.handlers.session_models import Forgotten
from asyouwere.service.http.bodies import read_model, validated
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import Content, RequestModel

__all__ = ["DeleteSnapshotsRequest", "ForgetRequest", "delete_snapshots", "forget_parts"]


def _pointers(schema: dict[str, Any]) -> None:
    schema.update({"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string"}})


class DeleteSnapshotsRequest(RequestModel):
    """Which snapshots; never the latest."""

    numbers: Content = Field(
        "[]", json_schema_extra={"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 1000}
    )
    labels: Content = Field("[]", json_schema_extra={"type": "array", "items": {"type": "string"}, "maxItems": 1000})


class ForgetRequest(RequestModel):
    """What is to be gone, from all older snapshots as well."""

    addresses: Content = Field(description="JSON Pointers; an empty one is everything.", json_schema_extra=_pointers)


class _Which(RequestModel):
    """The lists of a DeleteSnapshotsRequest, read."""

    numbers: list[Annotated[int, Field(ge=1, le=2**31 - 1)]]
    labels: list[Label]


async def delete_snapshots(call: Call) -> ApiResponse:
    """Labelled ones too, with all that only they show; the response is the receipt. What is not there is passed."""
    request = read_model(DeleteSnapshotsRequest, call.body)
    which = validated(_Which, {"numbers": json.loads(request.numbers), "labels": json.loads(request.labels)})
    rows = await call.database.rows(
        call.caller,
        "delete_snapshots",
        {"p_session_id": call.path["session_id"], "p_numbers": which.numbers, "p_labels": which.labels},
        repeatable=True,
    )
    return json_response(Forgotten(**rows[0]).json_text())


async def forget_parts(call: Call) -> ApiResponse:
    """Afterwards no number has it; the response is the receipt."""
    request = read_model(ForgetRequest, call.body)
    rows = await call.database.rows(
        call.caller,
        "forget_session_parts",
        {"p_session_id": call.path["session_id"], "p_addresses": request.addresses},
    )
    return json_response(Forgotten(**rows[0]).json_text())

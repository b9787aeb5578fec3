"""session-snapshot-restore: a snapshot with its state, or only what changed since a number."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from asyouwere.service.handlers.idempotency import Label
from asyouwere.service.http.bodies import read_model
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import (
    DeltaContent,
    RequestModel,
    ResponseModel,
    SessionId,
    StateContent,
    Status,
    Time,
)

__all__ = ["ChangesSince", "RestoreRequest", "Restored", "restore_snapshot"]


class Restored(ResponseModel):
    """A snapshot with its state. number 0 and an empty state: never saved."""

    session_id: SessionId
    number: int
    label: str | None
    size_bytes: int
    message_count: int
    created_at: Time | None
    status: Status
    latest_number: int
    state: StateContent = Field(
        description="The state, character by character as it was sent (without whitespace)."
    )


class ChangesSince(ResponseModel):
    """What changed since a number. reset: that number is not kept any more; restore instead."""

    session_id: SessionId
    number: int = Field(description="The number the changes lead to.")
    reset: bool
    changes: DeltaContent | None = Field(description="null if reset.")


class RestoreRequest(RequestModel):
    """Which snapshot: the latest (default), one number or label; or 'since' for the changes only."""

    session_id: SessionId
    number: int | None = Field(None, ge=1, le=2**31 - 1)
    label: Label | None = None
    since: int | None = Field(
        None, ge=0, le=2**31 - 1, description="Number that the caller's copy comes from."
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if sum(value is not None for value in (self.number, self.label, self.since)) > 1:
            raise ValueError("send at most one of 'number', 'label' and 'since'")
        return self


async def restore_snapshot(call: Call) -> ApiResponse:
    """The state passes through as the text that the database makes; nothing here reads it."""
    request = read_model(RestoreRequest, call.body)
    if request.since is not None:
        return await _changes(call, request.session_id, request.since)
    description, *state = await call.database.chunks(
        call.caller,
        "get_snapshot_chunks",
        {"p_session_id": request.session_id, "p_number": request.number, "p_label": request.label},
        repeatable=True,
    )
    return ApiResponse([description.rstrip()[:-1] + b',"state":', *state, b"}"])


async def _changes(call: Call, session_id: str, since: int) -> ApiResponse:
    rows = await call.database.rows(
        call.caller, "get_session_changes", {"p_session_id": session_id, "p_since": since}, repeatable=True
    )
    return json_response(ChangesSince(session_id=session_id.lower(), **rows[0]).json_text())

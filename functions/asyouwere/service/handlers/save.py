"""session-snapshot-save: a whole state or changes become a snapshot."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from asyouwere.service.handlers.annotations import AnnotatedRequest, annotation_arguments
from asyouwere.service.handlers.change_rows import array_rows, row_arguments
from asyouwere.service.handlers.idempotency import IdempotencyKey, Label, idempotency_key
from asyouwere.service.http.bodies import read_model, run_off_loop_if_large
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import (
    ChangesContent,
    DeltaContent,
    JsonObject,
    ResponseModel,
    SessionId,
    StateContent,
)
from asyouwere.state.rows import ChangeRows, open_changes_view, open_state_view

__all__ = ["SaveRequest", "Saved", "save_snapshot"]


_CONTENT = frozenset({"state", "changes"})


class Saved(ResponseModel):
    """The snapshot that holds what was sent; not created if that changed nothing: then it is the latest."""

    number: int = Field(description="Number of the snapshot; 1, 2, 3 …")
    created: bool = Field(description="Whether a snapshot was made.")
    replayed: bool = Field(
        description="Whether this repeats the response to an earlier request of the same key."
    )
    merged: Annotated[bool, BeforeValidator(bool)] = Field(
        description="Whether others had saved since the base."
    )
    changed_parts: int
    size_bytes: int | None = Field(
        description="Bytes of that state; null in a replay if it is not kept any more."
    )
    message_count: int | None = Field(description="Messages in it; null likewise.")
    others: DeltaContent | None = Field(
        description="All that changed since the base, to be applied to it: remove first, then set in order. "
        "null if there was nothing but the caller's own, or if it is over 8 MB: restore then."
    )
    existing: JsonObject | None = Field(
        description="What was there already where 'add' and 'append_once' were to write, by address. null if nothing "
        "was."
    )

    @property
    def figures(self) -> dict[str, int]:
        """What the request log and telemetry say of a save."""
        size = {} if self.size_bytes is None else {"snapshot_bytes": self.size_bytes}
        changed = 0 if self.replayed else self.changed_parts
        return {**size, "changed_parts": changed, "merged": int(self.merged), "replayed": int(self.replayed)}


class SaveRequest(AnnotatedRequest):
    """Either the whole state or the changes made to the state of number 'base'."""

    session_id: SessionId
    state: StateContent | None = Field(None, description="The whole state. Either this or 'changes'.")
    changes: ChangesContent | None = Field(
        None, description="What changed in the state of number 'base'. Either this or 'state'."
    )
    base: int | None = Field(
        None, ge=0, le=2**31 - 1, description="Number that the caller's copy comes from; default: the latest."
    )
    idempotency_key: IdempotencyKey | None = Field(
        None,
        description="The same key again returns the first response. May be sent as header Idempotency-Key.",
    )
    label: Label | None = Field(None, description="Names the snapshot; a labelled one is never cleaned up.")
    on_conflict: Literal["merge", "reject", "overwrite"] = Field(
        "merge",
        description="What to do if others saved since the base: merge, or refuse, or let this one win.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.state is None) == (self.changes is None):
            raise ValueError("send either 'state' or 'changes'")
        return self


async def save_snapshot(call: Call) -> ApiResponse:
    """Save as the caller. What can't be kept exactly is refused before anything is sent to the database."""
    request, rows = await run_off_loop_if_large(len(call.body), lambda: _opened(call.body))
    key = idempotency_key(request.idempotency_key, call.header)
    saved = await call.database.rows(
        call.caller,
        "save_session_parts",
        {
            "p_session_id": request.session_id,
            **row_arguments(rows),
            "p_base": request.base,
            "p_idempotency_key": key,
            "p_label": request.label,
            "p_on_conflict": request.on_conflict,
            **annotation_arguments(request),
        },
        repeatable=key is not None,
    )
    response = Saved(**saved[0])
    return json_response(response.json_text(), **response.figures)


def _opened(body: bytearray) -> tuple[SaveRequest, ChangeRows]:
    """The request without its content, and that as parts. Raises whatever can be wrong with either."""
    request = read_model(SaveRequest, body, views=_CONTENT)
    if request.state is None:
        rows = open_changes_view(request.changes or "", array_rows())
    else:
        rows = open_state_view(request.state, array_rows())
    return request.model_copy(update=dict.fromkeys(_CONTENT)), rows

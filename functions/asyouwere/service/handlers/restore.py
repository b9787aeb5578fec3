"""session-snapshot-restore: a snapshot with its state, some addresses of it, or only what changed since a number."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any, Final, Self

from pydantic import Field, model_validator

from asyouwere.service.handlers.annotations import ExternalId
from asyouwere.service.handlers.idempotency import Label
from asyouwere.service.http.admission import large_reads, reads, sent_in_turn
from asyouwere.service.http.bodies import read_model
from asyouwere.service.http.responses import ApiResponse, Rest, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import (
    Content,
    DeltaContent,
    JsonObject,
    RequestModel,
    ResponseModel,
    SessionId,
    StateContent,
    Status,
    Time,
)

__all__ = ["ChangesSince", "RestoreRequest", "Restored", "SomeParts", "restore_snapshot"]


_POSITION: Final = {"type": "integer", "maximum": 999_999_999}


def _addresses_schema(schema: dict[str, Any]) -> None:
    """A list of pointers and objects; null stands for none, as with every member that may be left out."""
    part = {
        "type": "object",
        "required": ["address"],
        "properties": {
            "address": {"type": "string"},
            "after": {"minimum": -1, **_POSITION},
            "before": {"minimum": 0, **_POSITION},
            "first": {"minimum": 0, **_POSITION},
            "last": {"minimum": 0, **_POSITION},
        },
        "additionalProperties": False,
    }
    items = {"anyOf": [{"type": "string"}, part]}
    schema["anyOf"] = [{"type": "array", "minItems": 1, "maxItems": 100, "items": items}, {"type": "null"}]


def _any_value(schema: dict[str, Any]) -> None:
    """Any JSON value, of which null is one already."""
    schema.pop("anyOf")


#: A state up to this size is read at once, so that no slow reader keeps a connection for it.
_AT_ONCE: Final = 1 << 20


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
    external_id: str | None = Field(description="The app's own id for it. For the owner and members.")
    parent_number: int | None = Field(description="The number it was made from, if not the one before.")
    metadata: JsonObject | None = Field(description="What the app said of it. For the owner and members.")
    state: StateContent = Field(
        description="The state, character by character as it was sent (without whitespace)."
    )


class ChangesSince(ResponseModel):
    """What changed since a number. reset: that is not kept any more, or over 8 MB have changed; restore instead."""

    session_id: SessionId
    number: int = Field(description="The number the changes lead to.")
    reset: bool
    changes: DeltaContent | None = Field(description="null if reset.")


class Part(ResponseModel):
    """What is at an address that was asked for."""

    present: bool = Field(description="False: nothing is there, and the value is null.")
    first_position: int | None = Field(description="Of a list: the position of the value's first item.")
    list_length: int | None = Field(description="Of a list: how many items it has.")
    address: Content = Field(description="JSON Pointer.", json_schema_extra={"type": "string"})
    value: Content | None = Field(
        description="Character by character as it was sent (without whitespace).", json_schema_extra=_any_value
    )


class SomeParts(ResponseModel):
    """The values at the addresses that were asked for, in the order asked."""

    session_id: SessionId
    number: int = Field(description="The number they belong to.")
    parts: list[Part]


class RestoreRequest(RequestModel):
    """Which snapshot: the latest (default), one number, label or external id; or 'since' for the changes only."""

    session_id: SessionId
    number: int | None = Field(None, ge=1, le=2**31 - 1)
    label: Label | None = None
    external_id: ExternalId | None = Field(None, description="The app's own id for the snapshot.")
    since: int | None = Field(
        None, ge=0, le=2**31 - 1, description="Number that the caller's copy comes from."
    )

    addresses: Content | None = Field(
        None,
        description="1 to 100: only the values at these. A JSON Pointer, or of a list an object: its address, "
        "the positions after and before which, and how many of those from its beginning or its end.",
        json_schema_extra=_addresses_schema,
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.since is not None and self.addresses is not None:
            raise ValueError("send at most one of 'since' and 'addresses'")
        if sum(value is not None for value in (self.number, self.label, self.external_id, self.since)) > 1:
            raise ValueError("send at most one of 'number', 'label', 'external_id' and 'since'")
        return self


async def restore_snapshot(call: Call) -> ApiResponse:
    """The state passes through as the text that the database makes; nothing here reads it, or holds all of a large
    one.

    Raises rate_limited if the caller has too many under way.
    """
    request = read_model(RestoreRequest, call.body)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(reads(call.settings).taken(call.caller, "restores"))
        if request.since is not None:
            return sent_in_turn(
                await _changes(call, request.session_id, request.since), call.caller, call.settings
            )
        is_large = any(value is not None for value in (request.number, request.label, request.external_id))
        if is_large:
            stack.enter_context(large_reads(call.settings).taken(call.caller, "restores"))
        if request.addresses is not None:
            answer = await _parts(call, request)
            await stack.aclose()  # its slot, if it had one, is that of the answer now
            return sent_in_turn(answer, call.caller, call.settings)
        pieces = await stack.enter_async_context(
            contextlib.aclosing(
                call.database.pieces(
                    call.caller,
                    "get_snapshot_chunks",
                    {
                        "p_session_id": request.session_id,
                        "p_number": request.number,
                        "p_label": request.label,
                        "p_external_id": request.external_id,
                    },
                )
            )
        )
        begun = [(await anext(pieces)).rstrip()[:-1] + b',"state":']
        size = 0
        async for piece in pieces:
            begun.append(piece)
            size += len(piece)
            if size > _AT_ONCE:
                break
        else:
            return ApiResponse([*begun, b"}"])
        if not is_large:
            stack.enter_context(large_reads(call.settings).taken(call.caller, "restores"))
        return ApiResponse(begun, more=Rest(_rest(pieces), stack.pop_all()))
    raise AssertionError("unreachable")  # pragma: no cover


async def _rest(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async for piece in pieces:
        yield piece
    yield b"}"


async def _changes(call: Call, session_id: str, since: int) -> ApiResponse:
    rows = await call.database.rows(
        call.caller, "get_session_changes", {"p_session_id": session_id, "p_since": since}, repeatable=True
    )
    return json_response(ChangesSince(session_id=session_id.lower(), **rows[0]).json_text())


async def _parts(call: Call, request: RestoreRequest) -> ApiResponse:
    rows = await call.database.rows(
        call.caller,
        "get_session_parts",
        {
            "p_session_id": request.session_id,
            "p_addresses": request.addresses,
            "p_number": request.number,
            "p_label": request.label,
            "p_external_id": request.external_id,
        },
        repeatable=True,
    )
    parts = ",".join(Part(**row).json_text() for row in rows)
    head = json.dumps({"session_id": request.session_id.lower(), "number": rows[0]["number"]})
    return json_response(f'{head[:-1]},"parts":[{parts}]}}')

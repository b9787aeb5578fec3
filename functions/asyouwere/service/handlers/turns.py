"""sessions: turns, the answers that are being made: begun, flushed, followed, stopped, finished."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from asyouwere.errors import Invalid
from asyouwere.service.database import Argument, Row
from asyouwere.service.handlers.query_parameters import parse_ints
from asyouwere.service.handlers.save import Saved
from asyouwere.service.handlers.turn_streams import follow
from asyouwere.service.http.bodies import read_model, run_off_loop_if_large, validated
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import (
    ChangesContent,
    Content,
    JsonObject,
    RequestModel,
    ResponseModel,
    SessionId,
    Time,
    UserId,
)

__all__ = [
    "BeginRequest",
    "BegunTurn",
    "ChunksRequest",
    "FinishRequest",
    "Flushed",
    "Stopped",
    "Turn",
    "TurnQuery",
    "append_chunks",
    "begin_turn",
    "finish_turn",
    "get_turn",
    "stop_turn",
]

_LARGEST = 2**31 - 1
TurnStatus = Literal["running", "done", "stopped", "failed", "interrupted"]


class BeginRequest(RequestModel):
    """An answer that is about to be made."""

    turn_id: SessionId = Field(description="Made up at random by whoever makes the answer; the same for a retry.")
    lease_seconds: int = Field(30, ge=1, le=300, description="Without a flush for so long, it is interrupted.")
    message: JsonObject | None = Field(
        None, description="What a message made of text chunks has besides its content; default: its role."
    )
    on_running: Literal["refuse", "join"] = Field(
        "refuse", description="If another turn runs: refuse (turn_running), or join, which answers that turn."
    )


class ChunksRequest(RequestModel):
    """A flush. What is there already is not written again."""

    from_seq: int = Field(ge=1, le=_LARGEST, description="Number of the first chunk; a turn's first one is 1.")
    chunks: Content = Field(
        description="Texts or any JSON values, at most 1,000; an empty list renews the lease.",
        json_schema_extra={"type": "array", "items": {}},
    )


class FinishRequest(RequestModel):
    """How it ended, and what is saved with that."""

    status: Literal["done", "stopped", "failed"] = "done"
    message: Content | None = Field(None, description="Without one it is made of the text chunks.")
    changes: ChangesContent | None = None


class TurnQuery(RequestModel):
    """From which chunk on; a stream's header Last-Event-ID says it as well."""

    after: int = Field(0, ge=0, le=_LARGEST, description="Number of the last chunk that is known.")


class BegunTurn(ResponseModel):
    """A turn; created: whether this request began it."""

    id: SessionId
    status: TurnStatus
    started_by: UserId | None
    lease_until: Time
    next_seq: int
    number: int | None
    position: int | None
    started_at: Time
    ended_at: Time | None
    created: bool


class Flushed(ResponseModel):
    """What the turn waits for now."""

    next_seq: int = Field(description="Number of the next chunk.")
    stop: bool = Field(description="Whether somebody has asked to stop.")


class Stopped(ResponseModel):
    """How the turn is, now that a stop was asked for."""

    status: TurnStatus
    stop_requested_at: Time | None


class Turn(ResponseModel):
    """A turn and its chunks after a number."""

    id: SessionId
    status: TurnStatus
    started_by: UserId | None
    lease_until: Time
    stop_requested: bool
    first_seq: int = Field(description="Number of the first chunk in this answer.")
    next_seq: int = Field(description="Number of the next one.")
    more: bool = Field(description="Whether there are more already: ask again.")
    number: int | None = Field(description="Number of the snapshot that came with the finished message.")
    position: int | None = Field(description="Where the finished message stands among the messages.")
    started_at: Time
    ended_at: Time | None
    chunks: Content = Field(description="As they were sent.", json_schema_extra={"type": "array", "items": {}})


async def begin_turn(call: Call) -> ApiResponse:
    """Again with the same id: the same turn, with 200."""
    request = read_model(BeginRequest, call.body)
    arguments: dict[str, Argument] = {
        "p_session_id": call.path["session_id"],
        "p_turn_id": request.turn_id,
        "p_lease_seconds": request.lease_seconds,
        "p_on_running": request.on_running,
    }
    if request.message is not None:
        arguments["p_message"] = request.message
    (row,) = await call.database.rows(call.caller, "begin_turn", arguments, repeatable=True)
    return json_response(BegunTurn(**row).json_text(), 201 if row["created"] else 200)


async def append_chunks(call: Call) -> ApiResponse:
    """Sent again as it was after a lost answer, it does no harm."""
    request = await run_off_loop_if_large(len(call.body), lambda: read_model(ChunksRequest, call.body))
    if not request.chunks.startswith("["):
        raise Invalid("invalid_request", "'chunks' must be a list.")
    (row,) = await call.database.rows(
        call.caller,
        "append_turn_chunks",
        {**_turn(call), "p_from_seq": request.from_seq, "p_chunks": request.chunks},
        repeatable=True,
    )
    return json_response(Flushed(**row).json_text())


async def finish_turn(call: Call) -> ApiResponse:
    """The message is saved and the turn ends, both or neither."""
    request = await run_off_loop_if_large(len(call.body), lambda: read_model(FinishRequest, call.body))
    (row,) = await call.database.rows(
        call.caller,
        "finish_turn",
        {
            **_turn(call),
            "p_message": request.message,
            "p_changes": request.changes,
            "p_status": request.status,
        },
        repeatable=True,
    )
    return json_response(Saved(**row).json_text(), replayed=int(row["replayed"]))


async def stop_turn(call: Call) -> ApiResponse:
    """Whoever makes the answer is told with the next flush."""
    (row,) = await call.database.rows(call.caller, "stop_turn", _turn(call), repeatable=True)
    return json_response(Stopped(**row).json_text())


async def get_turn(call: Call) -> ApiResponse:
    """JSON; or, if `Accept` says `text/event-stream`, a stream that ends with the turn, after 5 minutes at most."""
    query = validated(TurnQuery, parse_ints(call.query, "after"))
    if "text/event-stream" in call.header.get("accept", ""):
        return await follow(call, _last_event(call.header.get("last-event-id"), query.after))
    (row,) = await _looks(call, query.after)
    return json_response(Turn(**row).json_text())


async def get_latest_turn(call: Call) -> ApiResponse:
    """What somebody who has just come asks: does one run, and which? `null` if the session never had one."""
    query = validated(TurnQuery, parse_ints(call.query, "after"))
    rows = await _looks(call, query.after)
    return json_response(Turn(**rows[0]).json_text() if rows else "null")


async def _looks(call: Call, after: int) -> list[Row]:
    turn = {"p_session_id": call.path["session_id"], "p_turn_id": call.path.get("turn_id"), "p_after_seq": after}
    return await call.database.rows(call.caller, "get_turn", turn, repeatable=True)


def _turn(call: Call) -> dict[str, Any]:
    return {"p_session_id": call.path["session_id"], "p_turn_id": call.path["turn_id"]}


def _last_event(header: str | None, otherwise: int) -> int:
    """Where a stream goes on: EventSource sends the last id it has seen when it connects again."""
    if header is None or not header.isdecimal() or len(header) > 10:
        return otherwise
    return min(int(header), _LARGEST)

"""A session's messages, and the answers that are being made."""

from __future__ import annotations

from typing import Final

from asyouwere.service.handlers import messages, save, session_models, turns
from asyouwere.service.http.routing import Route
from asyouwere.service.routes.codes import CHANGING, SAVING, SESSION, TURN

__all__ = ["ROUTES"]

ROUTES: Final = (
    Route(
        "GET",
        "/{session_id}/messages",
        messages.list_messages,
        "List messages from the start, from the end, or between two positions",
        query=messages.MessagesQuery,
        response=session_models.MessagePage,
        errors=SESSION,
    ),
    Route(
        "POST",
        "/{session_id}/messages",
        messages.append_messages,
        "Append messages",
        body=messages.AppendRequest,
        response=session_models.Appended,
        status=201,
        errors=(*SAVING, "not_a_list", "snapshot_exists", "not_representable"),
        limit="max_body_bytes",
    ),
    Route(
        "POST",
        "/{session_id}/turns",
        turns.begin_turn,
        "Begin a turn: claim the session for an answer",
        body=turns.BeginRequest,
        response=turns.BegunTurn,
        status=201,
        status_if_there=200,
        errors=(*SESSION, "forbidden", "turn_running", "key_taken", "quota_exceeded", "invalid_argument"),
    ),
    Route(
        "POST",
        "/{session_id}/turns/{turn_id}/chunks",
        turns.append_chunks,
        "Flush chunks of a turn",
        body=turns.ChunksRequest,
        response=turns.Flushed,
        errors=(*TURN, "forbidden", "turn_over", "turn_gap", "too_large", "invalid_argument"),
    ),
    Route(
        "POST",
        "/{session_id}/turns/{turn_id}/finish",
        turns.finish_turn,
        "Finish a turn: save its message",
        body=turns.FinishRequest,
        response=save.Saved,
        errors=(*TURN, *SAVING[1:], *CHANGING, "turn_over"),
        limit="max_body_bytes",
    ),
    Route(
        "POST",
        "/{session_id}/turns/{turn_id}/stop",
        turns.stop_turn,
        "Ask whoever makes the answer to stop",
        response=turns.Stopped,
        errors=(*TURN, "forbidden"),
    ),
    Route(
        "GET",
        "/{session_id}/turns/latest",
        turns.get_latest_turn,
        "Get the running turn and its chunks, or those of the turn that began last",
        query=turns.TurnQuery,
        response=turns.Turn,
        or_null=True,
        errors=SESSION,
    ),
    Route(
        "GET",
        "/{session_id}/turns/{turn_id}",
        turns.get_turn,
        "Get a turn and its chunks, or follow it as an event stream",
        query=turns.TurnQuery,
        response=turns.Turn,
        media_types={
            "text/event-stream": {"type": "string", "description": "A chunk an event, its number the id."},
        },
        errors=TURN,
    ),
)

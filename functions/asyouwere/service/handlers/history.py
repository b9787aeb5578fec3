"""sessions: what was before: snapshots, labels, differences, going back, branching off."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from asyouwere.service.handlers.annotations import ExternalId
from asyouwere.service.handlers.cursors import pack, unpack
from asyouwere.service.handlers.idempotency import IdempotencyKey, Label, idempotency_key
from asyouwere.service.handlers.query_parameters import parse_ints
from asyouwere.service.handlers.save import Saved
from asyouwere.service.handlers.session_models import CreatedSession, Difference, ForkOrigin, Snapshot
from asyouwere.service.handlers.sessions import Key, Name, metadata_filter
from asyouwere.service.http.admission import large_reads, reads, sent_in_turn
from asyouwere.service.http.bodies import read_model, validated
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import JsonObject, RequestModel, SessionId, Text

__all__ = [
    "DiffQuery",
    "ForkRequest",
    "LabelRequest",
    "MergeRequest",
    "RevertRequest",
    "SnapshotsQuery",
    "diff_snapshots",
    "fork_session",
    "get_origin",
    "label_snapshot",
    "list_snapshots",
    "merge_fork",
    "remove_label",
    "revert_session",
]

_LARGEST = 2**31 - 1


class SnapshotsQuery(RequestModel):
    """Which page of the snapshots."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=500, description="'next' of the page before.")
    external_id: ExternalId | None = Field(None, description="The one with this id of the app's own.")
    parent_number: int | None = Field(None, ge=0, le=_LARGEST, description="Those made from this number.")
    metadata: Text | None = Field(None, description="A JSON object: those whose metadata contains it.")


class LabelRequest(RequestModel):
    """A name for a snapshot."""

    label: Label


class DiffQuery(RequestModel):
    """The two snapshots to compare; 0 is the empty state before the first."""

    from_: int = Field(alias="from", ge=0, le=_LARGEST)
    to: int = Field(ge=0, le=_LARGEST)


class RevertRequest(RequestModel):
    """The number to go back to."""

    number: int = Field(ge=1, le=_LARGEST)
    idempotency_key: IdempotencyKey | None = None


class ForkRequest(RequestModel):
    """What to branch off from: a number, by default the latest."""

    number: int | None = Field(None, ge=1, le=_LARGEST)
    name: Name | None = Field(None, description="Name of the new session; default: the same.")
    key: Key | None = Field(None, description="Key of the new session.")
    parent_id: SessionId | None = Field(None, description="A session of the caller's that it is to belong to.")


class MergeRequest(RequestModel):
    """What stands where the fork and the session it comes from have both changed the same."""

    prefer: Literal["fork", "origin"] | None = Field(
        None, description="Whose stands where choices say nothing; without it a conflict is refused (conflict)."
    )
    choices: JsonObject | None = Field(
        None,
        description="By address, 'fork' or 'origin': whose stands there and in it; of several the longest.",
    )
    label: Label | None = Field(None, description="A name for the number that it makes.")
    idempotency_key: IdempotencyKey | None = None


async def list_snapshots(call: Call) -> ApiResponse:
    """Newest first, by keyset."""
    query = validated(SnapshotsQuery, parse_ints(call.query, "limit", "parent_number"))
    before = unpack(query.cursor, int)[0] if query.cursor is not None else None
    rows = await call.database.rows(
        call.caller,
        "list_snapshots",
        {
            "p_session_id": call.path["session_id"],
            "p_limit": query.limit + 1,
            "p_before": None if before is None else max(0, min(before, _LARGEST)),
            "p_external_id": query.external_id,
            "p_parent_number": query.parent_number,
            "p_metadata": None if query.metadata is None else metadata_filter(query.metadata),
        },
        repeatable=True,
    )
    page = rows[: query.limit]
    following = pack(page[-1]["number"]) if len(rows) > len(page) else None
    listed = ",".join(Snapshot(**row).json_text() for row in page)
    return json_response(f'{{"snapshots":[{listed}],"next":{json.dumps(following)}}}')


async def label_snapshot(call: Call) -> ApiResponse:
    """Give a snapshot a name; it will not be cleaned up."""
    return await _label(call, read_model(LabelRequest, call.body).label)


async def remove_label(call: Call) -> ApiResponse:
    """Take a snapshot's name away."""
    await _label(call, None)
    return ApiResponse(status=204)


async def _label(call: Call, label: str | None) -> ApiResponse:
    rows = await call.database.rows(
        call.caller,
        "label_snapshot",
        {"p_session_id": call.path["session_id"], "p_number": int(call.path["number"]), "p_label": label},
        repeatable=True,
    )
    return json_response(Snapshot(**rows[0]).json_text())


async def diff_snapshots(call: Call) -> ApiResponse:
    """What differs between two snapshots. Raises rate_limited if the caller has too many such under way."""
    query = validated(DiffQuery, parse_ints(call.query, "from", "to"))
    with (
        reads(call.settings).taken(call.caller, "restores or comparisons"),
        large_reads(call.settings).taken(call.caller, "restores or comparisons"),
    ):
        rows = await call.database.rows(
            call.caller,
            "diff_snapshots",
            {"p_session_id": call.path["session_id"], "p_from": query.from_, "p_to": query.to},
            repeatable=True,
        )
        ends = f'"from":{await _described(call, query.from_)},"to":{await _described(call, query.to)}'
    differences = ",".join(Difference(**row).json_text() for row in rows)
    return sent_in_turn(json_response(f'{{{ends},"differences":[{differences}]}}'), call.caller, call.settings)


async def _described(call: Call, number: int) -> str:
    """A kept snapshot without its content, as JSON; null for the empty state before the first."""
    rows = await call.database.rows(
        call.caller,
        "list_snapshots",
        {"p_session_id": call.path["session_id"], "p_limit": 1, "p_before": min(number + 1, _LARGEST)},
        repeatable=True,
    )
    return Snapshot(**rows[0]).json_text() if rows else "null"


async def revert_session(call: Call) -> ApiResponse:
    """A new snapshot with an old content; nothing is lost."""
    request = read_model(RevertRequest, call.body)
    key = idempotency_key(request.idempotency_key, call.header)
    rows = await call.database.rows(
        call.caller,
        "revert_session",
        {"p_session_id": call.path["session_id"], "p_number": request.number, "p_idempotency_key": key},
        repeatable=key is not None,
    )
    saved = Saved(**rows[0])
    return json_response(saved.json_text(), **saved.figures)


async def fork_session(call: Call) -> ApiResponse:
    """A new session of the caller's own that begins with this content."""
    request = read_model(ForkRequest, call.body)
    rows = await call.database.rows(
        call.caller,
        "fork_session",
        {
            "p_session_id": call.path["session_id"],
            "p_number": request.number,
            "p_name": request.name,
            "p_key": request.key,
            "p_parent_id": request.parent_id,
        },
    )
    return json_response(CreatedSession(**rows[0], created=True).json_text(), 201)


async def get_origin(call: Call) -> ApiResponse:
    """For the owner and members; to all others, and of what is no fork, all is null."""
    arguments = {"p_session_id": call.path["session_id"]}
    rows = await call.database.rows(call.caller, "get_fork_origin", arguments, repeatable=True)
    return json_response(ForkOrigin(**rows[0] if rows else {}).json_text())


async def merge_fork(call: Call) -> ApiResponse:
    """Into the origin, as one snapshot, or not at all: conflicts are named. The answer is that of a save there."""
    request = read_model(MergeRequest, call.body)
    key = idempotency_key(request.idempotency_key, call.header)
    rows = await call.database.rows(
        call.caller,
        "merge_fork",
        {
            "p_session_id": call.path["session_id"],
            "p_prefer": request.prefer,
            "p_choices": request.choices or "{}",
            "p_label": request.label,
            "p_idempotency_key": key,
        },
        repeatable=key is not None,
    )
    saved = Saved(**rows[0])
    return json_response(saved.json_text(), **saved.figures)

"""sessions: who else may see a shared session, and who is invited to."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from asyouwere.service.handlers.cursors import pack
from asyouwere.service.handlers.query_parameters import parse_ints
from asyouwere.service.handlers.session_models import Invitation, Member
from asyouwere.service.handlers.sessions import place
from asyouwere.service.http.bodies import read_model, validated
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import RequestModel

__all__ = [
    "InvitationsQuery",
    "MemberRequest",
    "accept_invitation",
    "list_invitations",
    "list_members",
    "remove_member",
    "set_member",
]


class MemberRequest(RequestModel):
    """What the member may do: look, or save too."""

    role: Literal["viewer", "editor"]


class InvitationsQuery(RequestModel):
    """Which page of the invitations."""

    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=500, description="'next' of the page before.")


async def list_members(call: Call) -> ApiResponse:
    """All members for the owner; for a member their own row."""
    rows = await call.database.rows(
        call.caller, "list_session_members", {"p_session_id": call.path["session_id"]}, repeatable=True
    )
    return json_response(f'{{"members":[{",".join(Member(**row).json_text() for row in rows)}]}}')


async def set_member(call: Call) -> ApiResponse:
    """Invite somebody, or change what a member may do."""
    request = read_model(MemberRequest, call.body)
    rows = await call.database.rows(
        call.caller,
        "set_session_member",
        {"p_session_id": call.path["session_id"], "p_user_id": call.path["user_id"], "p_role": request.role},
        repeatable=True,
    )
    return json_response(Member(**rows[0]).json_text())


async def remove_member(call: Call) -> ApiResponse:
    """Put somebody out, or leave, or decline, which always works."""
    await call.database.rows(
        call.caller,
        "remove_session_member",
        {"p_session_id": call.path["session_id"], "p_user_id": call.path["user_id"]},
        repeatable=True,
    )
    return ApiResponse(status=204)


async def list_invitations(call: Call) -> ApiResponse:
    """Newest first, by keyset."""
    query = validated(InvitationsQuery, parse_ints(call.query, "limit"))
    before, before_id = place(query.cursor) if query.cursor is not None else (None, None)
    rows = await call.database.rows(
        call.caller,
        "list_invitations",
        {"p_limit": query.limit + 1, "p_before": before, "p_before_id": before_id},
        repeatable=True,
    )
    page = rows[: query.limit]
    following = pack(page[-1]["created_at"], page[-1]["session_id"]) if len(rows) > len(page) else None
    listed = ",".join(Invitation(**row).json_text() for row in page)
    return json_response(f'{{"invitations":[{listed}],"next":{json.dumps(following)}}}')


async def accept_invitation(call: Call) -> ApiResponse:
    """From now on the session is in the caller's list."""
    rows = await call.database.rows(
        call.caller, "accept_invitation", {"p_session_id": call.path["session_id"]}, repeatable=True
    )
    return json_response(Member(**rows[0]).json_text())

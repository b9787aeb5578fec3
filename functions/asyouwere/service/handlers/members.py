"""sessions: who else may see a shared session."""

from __future__ import annotations

from typing import Literal

from asyouwere.service.handlers.session_models import Member
from asyouwere.service.http.bodies import read_model
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import RequestModel

__all__ = ["MemberRequest", "list_members", "remove_member", "set_member"]


class MemberRequest(RequestModel):
    """What the member may do: look, or save too."""

    role: Literal["viewer", "editor"]


async def list_members(call: Call) -> ApiResponse:
    """All members for the owner; for a member their own row."""
    rows = await call.database.rows(
        call.caller, "list_session_members", {"p_session_id": call.path["session_id"]}, repeatable=True
    )
    return json_response(f'{{"members":[{",".join(Member(**row).json_text() for row in rows)}]}}')


async def set_member(call: Call) -> ApiResponse:
    """Let somebody in, or change what they may do."""
    request = read_model(MemberRequest, call.body)
    rows = await call.database.rows(
        call.caller,
        "set_session_member",
        {"p_session_id": call.path["session_id"], "p_user_id": call.path["user_id"], "p_role": request.role},
        repeatable=True,
    )
    return json_response(Member(**rows[0]).json_text())


async def remove_member(call: Call) -> ApiResponse:
    """Put somebody out, or leave."""
    await call.database.rows(
        call.caller,
        "remove_session_member",
        {"p_session_id": call.path["session_id"], "p_user_id": call.path["user_id"]},
        repeatable=True,
    )
    return ApiResponse(status=204)

"""sessions: one to another owner, and a guest's to the account that the guest signs in to."""

from __future__ import annotations

from pydantic import Field

from asyouwere.service.handlers.session_models import Claimed, Offer, Session, Transfer
from asyouwere.service.http.bodies import read_model
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import RequestModel, UserId

__all__ = ["ClaimRequest", "TransferRequest", "accept_transfer", "claim_sessions", "offer_sessions", "offer_transfer"]


class TransferRequest(RequestModel):
    """Whom the session is offered to."""

    user_id: UserId | None = Field(description="Null takes the offer back.")


class ClaimRequest(RequestModel):
    """The code that the guest was given."""

    code: str = Field(min_length=1, max_length=100)


async def offer_transfer(call: Call) -> ApiResponse:
    """The session stays the caller's until the other accepts."""
    request = read_model(TransferRequest, call.body)
    rows = await call.database.rows(
        call.caller,
        "transfer_session",
        {"p_session_id": call.path["session_id"], "p_to_user": request.user_id},
        repeatable=True,
    )
    to_user = None if request.user_id is None else rows[0]["to_user"]
    return json_response(Transfer(session_id=call.path["session_id"], user_id=to_user).json_text())


async def accept_transfer(call: Call) -> ApiResponse:
    """The caller is the owner from now on. A retry finds no offer any more."""
    rows = await call.database.rows(call.caller, "accept_transfer", {"p_session_id": call.path["session_id"]})
    return json_response(Session(**rows[0]).json_text())


async def offer_sessions(call: Call) -> ApiResponse:
    """A new code ends the one before."""
    rows = await call.database.rows(call.caller, "offer_my_sessions", {}, repeatable=True)
    return json_response(Offer(**rows[0]).json_text(), 201)


async def claim_sessions(call: Call) -> ApiResponse:
    """All or none."""
    request = read_model(ClaimRequest, call.body)
    rows = await call.database.rows(call.caller, "claim_sessions", {"p_code": request.code})
    return json_response(Claimed(**rows[0]).json_text())

"""sessions: what calls of models used and cost, and how much of a budget that is.

Money is numeric in the database and is added up there; a JSON number here, in the app's one currency.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from asyouwere.errors import Invalid
from asyouwere.service.database import Row
from asyouwere.service.handlers.cursors import pack, unpack
from asyouwere.service.handlers.idempotency import IdempotencyKey, idempotency_key
from asyouwere.service.handlers.query_parameters import parse_ints
from asyouwere.service.http.bodies import read_model, validated
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import RequestModel, ResponseModel, SessionId, UserId, without_nul

__all__ = [
    "BudgetRequest",
    "Recorded",
    "SessionUsage",
    "TurnUsageQuery",
    "UsageDay",
    "UsageDayPage",
    "UsageDaysQuery",
    "UsageRequest",
    "UserBudgetRequest",
    "UserUsage",
    "get_session_usage",
    "get_usage",
    "get_user_usage",
    "list_usage_days",
    "record_usage",
    "set_session_budget",
    "set_user_budget",
]

_MOST_TOKENS = 1_000_000_000
Model = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(without_nul)]
Tokens = Annotated[int, Field(ge=0, le=_MOST_TOKENS)]
Cost = Annotated[float, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]
Budget = Annotated[float, Field(ge=0.000001, le=1_000_000_000_000, allow_inf_nan=False)]
Used = Annotated[float | None, Field(description="How much of the budget is used: 0.8 is 80 %; null: there is none.")]


class UsageRequest(RequestModel):
    """A call of a model that was made."""

    model: Model
    input_tokens: Tokens
    output_tokens: Tokens
    cached_tokens: Tokens = Field(0, description="Of the input tokens those read from the provider's cache.")
    cost: Cost = Field(0, description="In the app's currency, to twelve decimals.")
    turn_id: SessionId | None = Field(None, description="The answer that it was made for.")
    idempotency_key: IdempotencyKey | None = None


class BudgetRequest(RequestModel):
    """How much a session is to cost in all."""

    budget: Budget | None = Field(description="In the app's currency; null: no budget.")


class UserBudgetRequest(BudgetRequest):
    """How much a person's sessions are to cost in a period."""

    period: Literal["day", "month"] = Field("month", description="Days and months are UTC's.")


class TurnUsageQuery(RequestModel):
    """Of which answer."""

    turn_id: SessionId | None = Field(None, description="What this answer alone used, while keys are kept.")


class UsageDaysQuery(RequestModel):
    """Which page of the sums."""

    limit: int = Field(100, ge=1, le=200)
    cursor: str | None = Field(None, max_length=500, description="'next' of the page before.")


class Recorded(ResponseModel):
    """What a session costs by now. A budget refuses nothing: the app decides."""

    recorded: bool = Field(description="False: it was recorded before, with the same key.")
    cost: float
    budget: float | None
    used: Used
    user_cost: float | None = Field(description="What the owner's sessions cost in the budget's period.")
    user_budget: float | None = Field(description="The owner's; told to the owner and the service.")
    user_used: Used


class UsageSum(ResponseModel):
    """Usage added up."""

    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: float


class SessionUsage(UsageSum):
    """What a session has used in all, or one answer of it."""

    budget: float | None
    used: Used


class UsageDay(UsageSum):
    """What a session has used of a model in a day (UTC)."""

    day: str = Field(json_schema_extra={"format": "date"})
    model: str


class UsageDayPage(ResponseModel):
    """A page of sums, newest day first."""

    days: list[UsageDay]
    next: str | None = Field(description="Cursor of the next page; null if this is the last.")


class UserUsage(UsageSum):
    """What a person's sessions have used in this period, deleted ones too."""

    user_id: UserId
    period: Literal["day", "month"]
    since: str = Field(description="First day of the period (UTC).", json_schema_extra={"format": "date"})
    budget: float | None
    used: Used


async def record_usage(call: Call) -> ApiResponse:
    """Once per idempotency key; as owner, editor or service."""
    request = read_model(UsageRequest, call.body)
    key = idempotency_key(request.idempotency_key, call.header)
    rows = await call.database.rows(
        call.caller,
        "record_usage",
        {
            "p_session_id": call.path["session_id"],
            "p_model": request.model,
            "p_input_tokens": request.input_tokens,
            "p_output_tokens": request.output_tokens,
            "p_cached_tokens": request.cached_tokens,
            "p_cost": repr(request.cost),
            "p_turn_id": request.turn_id,
            "p_idempotency_key": key,
        },
        repeatable=key is not None,
    )
    return json_response(Recorded(**rows[0]).json_text())


async def get_session_usage(call: Call) -> ApiResponse:
    """For the owner and members."""
    query = validated(TurnUsageQuery, dict(call.query))
    rows = await call.database.rows(
        call.caller,
        "get_session_usage",
        {"p_session_id": call.path["session_id"], "p_turn_id": query.turn_id},
        repeatable=True,
    )
    return json_response(SessionUsage(**rows[0]).json_text())


async def list_usage_days(call: Call) -> ApiResponse:
    """By day and model, by keyset."""
    query = validated(UsageDaysQuery, parse_ints(call.query, "limit"))
    day, model = _place(query.cursor) if query.cursor is not None else (None, None)
    rows = await call.database.rows(
        call.caller,
        "list_session_usage",
        {
            "p_session_id": call.path["session_id"],
            "p_limit": query.limit + 1,
            "p_before": day,
            "p_before_model": model,
        },
        repeatable=True,
    )
    page = rows[: query.limit]
    following = pack(page[-1]["day"], page[-1]["model"]) if len(rows) > len(page) else None
    listed = ",".join(UsageDay(**row).json_text() for row in page)
    return json_response(f'{{"days":[{listed}],"next":{json.dumps(following)}}}')


async def set_session_budget(call: Call) -> ApiResponse:
    """Owner only."""
    request = read_model(BudgetRequest, call.body)
    rows = await call.database.rows(
        call.caller,
        "set_session_budget",
        {"p_session_id": call.path["session_id"], "p_budget": _amount(request.budget)},
        repeatable=True,
    )
    return json_response(SessionUsage(**rows[0]).json_text())


async def get_usage(call: Call) -> ApiResponse:
    """A person's own."""
    rows = await call.database.rows(call.caller, "get_my_usage", {}, repeatable=True)
    return json_response(_user_usage(rows[0]))


async def get_user_usage(call: Call) -> ApiResponse:
    """For the service, which says whose."""
    rows = await call.database.rows(
        call.caller, "get_my_usage", {"p_user_id": call.path["user_id"]}, repeatable=True
    )
    return json_response(_user_usage(rows[0]))


async def set_user_budget(call: Call) -> ApiResponse:
    """For the service."""
    request = read_model(UserBudgetRequest, call.body)
    rows = await call.database.rows(
        call.caller,
        "set_user_budget",
        {
            "p_user_id": call.path["user_id"],
            "p_budget": _amount(request.budget),
            "p_period": request.period,
        },
        repeatable=True,
    )
    return json_response(_user_usage(rows[0]))


def _place(cursor: str) -> tuple[str, str]:
    """Day and model where a page ended. Raises invalid_request."""
    day, model = unpack(cursor, str, str)
    try:
        is_place = date.fromisoformat(day).isoformat() == day and without_nul(model).encode()
    except ValueError:  # no date, or what no database text can hold
        is_place = False
    if not is_place:
        raise Invalid("invalid_request", "That cursor does not come from this list.")
    return day, model


def _amount(value: float | None) -> str | None:
    """A number as the database takes it for numeric."""
    return None if value is None else repr(value)


def _user_usage(row: Row) -> str:
    return UserUsage(**row).json_text()

"""What a session has used, and its budget."""

from __future__ import annotations

from typing import Final

from asyouwere.service.handlers import usage
from asyouwere.service.http.routing import Route
from asyouwere.service.routes.codes import SESSION

__all__ = ["ROUTES"]

ROUTES: Final = (
    Route(
        "POST",
        "/{session_id}/usage",
        usage.record_usage,
        "Record what a call of a model used and cost",
        body=usage.UsageRequest,
        response=usage.Recorded,
        errors=(*SESSION, "forbidden", "idempotency_key_reused", "invalid_argument"),
    ),
    Route(
        "GET",
        "/{session_id}/usage",
        usage.get_session_usage,
        "Get what a session has used in all, or one turn of it",
        query=usage.TurnUsageQuery,
        response=usage.SessionUsage,
        errors=(*SESSION, "forbidden"),
    ),
    Route(
        "GET",
        "/{session_id}/usage/days",
        usage.list_usage_days,
        "List what a session has used by day and model, newest first",
        query=usage.UsageDaysQuery,
        response=usage.UsageDayPage,
        errors=(*SESSION, "forbidden"),
    ),
    Route(
        "PUT",
        "/{session_id}/budget",
        usage.set_session_budget,
        "Set how much a session is to cost in all",
        body=usage.BudgetRequest,
        response=usage.SessionUsage,
        errors=(*SESSION, "forbidden", "invalid_argument"),
    ),
)

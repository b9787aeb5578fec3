"""cleanup-old-snapshots: removes old snapshots and expires idle sessions, in short batches, within a time."""

from __future__ import annotations

import time

from pydantic import Field

from asyouwere.service.database import Argument
from asyouwere.service.http.bodies import read_model
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import RequestModel, ResponseModel

__all__ = ["Cleaned", "CleanupRequest", "clean_up"]


class Cleaned(ResponseModel):
    """What a clean-up did. done is false if the time ran out: call it again."""

    sessions: int = Field(description="Sessions that snapshots were removed from.")
    snapshots: int
    parts: int
    bytes: int
    expired: int = Field(description="Sessions that expired.")
    deleted: int = Field(description="Expired sessions deleted after their time of grace.")
    erased: int = Field(description="Sessions deleted of users who are no more.")
    batches: int
    done: bool


class CleanupRequest(RequestModel):
    """Other rules than those in the database's settings; by default its own."""

    keep: int | None = Field(None, ge=1, le=1_000_000, description="Newest snapshots of a session to keep.")
    older_than_seconds: int | None = Field(
        None, ge=0, le=2_000_000_000, description="All snapshots older than this go, none is kept by its hour or day."
    )
    max_sessions: int | None = Field(
        None, ge=1, le=10_000, description="Sessions in one batch at most; by default 200."
    )


async def clean_up(call: Call) -> ApiResponse:
    """Goes on until all is done or the time is up; each batch is a transaction of its own and holds no lock
    long.

    Interrupted at any point it has done no harm: the next call continues.
    """
    request = read_model(CleanupRequest, call.body or bytearray(b"{}"))
    deadline = time.monotonic() + call.settings.cleanup_budget_seconds
    seconds = request.older_than_seconds
    work: dict[str, dict[str, Argument]] = {
        "expire_idle_sessions": {"p_max_sessions": request.max_sessions},
        "cleanup_old_snapshots": {
            "p_keep": request.keep,
            "p_older_than": None if seconds is None else f"{seconds} seconds",
            "p_max_sessions": request.max_sessions,
        },
        "erase_deleted_users": {},
    }
    totals = dict.fromkeys(("sessions", "snapshots", "parts", "bytes", "expired", "deleted", "erased"), 0)
    batches = 0
    # In turn, so that a long backlog of one kind never keeps the other from being worked on.
    while work and time.monotonic() < deadline:
        for function, arguments in list(work.items()):
            row = (await call.database.rows(call.caller, function, arguments, repeatable=True))[0]
            batches += 1
            if row.pop("done"):
                del work[function]
            if function == "erase_deleted_users":
                row = {"erased": row["sessions"]}
            for name, count in row.items():
                totals[name] += count
    return json_response(
        Cleaned(**totals, batches=batches, done=not work).json_text(),
        removed_snapshots=totals["snapshots"],
        removed_parts=totals["parts"],
        removed_bytes=totals["bytes"],
        expired_sessions=totals["expired"],
        deleted_sessions=totals["deleted"],
        erased_sessions=totals["erased"],
        unfinished=int(bool(work)),
    )

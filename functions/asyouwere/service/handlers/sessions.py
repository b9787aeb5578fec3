"""sessions: create or get, list, look at, change, delete."""

from __future__ import annotations

import asyncio
import json
import re
import time
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from asyouwere.errors import Invalid
from asyouwere.service.handlers.annotations import storable
from asyouwere.service.handlers.cursors import pack, unpack
from asyouwere.service.handlers.query_parameters import parse_ints
from asyouwere.service.handlers.session_models import (
    CreatedSession,
    DeletedData,
    DeletedSession,
    ListedSession,
    Session,
)
from asyouwere.service.http.bodies import read_model, validated
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import (
    JsonObject,
    Kind,
    RequestModel,
    SessionId,
    StateContent,
    Status,
    Text,
    Visibility,
    without_nul,
)

__all__ = [
    "ConfirmQuery",
    "CreateSession",
    "DeleteQuery",
    "KeyQuery",
    "SessionsQuery",
    "UpdateSession",
    "create_session",
    "delete_my_data",
    "delete_session",
    "find_session",
    "get_session",
    "list_sessions",
    "metadata_filter",
    "place",
    "update_session",
]

_UUID: Final = re.compile(r"[0-9a-f-]{36}")
#: Steps of deleting all of a person's data go on for so long in one request.
_ERASING_SECONDS: Final = 10
_LONGEST_IDLE: Final = 2_000_000_000

Name = Annotated[str, StringConstraints(max_length=500), AfterValidator(without_nul)]
Model = Annotated[str, StringConstraints(max_length=200), AfterValidator(without_nul)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(without_nul)]
IdleSeconds = Annotated[int, Field(ge=0, le=_LONGEST_IDLE)]


class CreateSession(RequestModel):
    """With a key: the caller's one session of that key, made if there is none. Without: always a new one."""

    key: Key | None = Field(None, description="For example the id of the configuration that the chat belongs to.")
    id: SessionId | None = Field(None, description="Id for a new session, so that a retry makes no second one.")
    name: Name | None = None
    model: Model | None = None
    kind: Kind = Field("agent", description="A chat expires after 30 idle minutes by default.")
    visibility: Visibility = "private"
    expires_after_seconds: IdleSeconds | None = Field(None, description="Idle time until it expires; 0 is never.")
    metadata: JsonObject | None = Field(None, description="A JSON object; numbers and key order as jsonb keeps them.")
    upstream: JsonObject | None = Field(None, description="Where the agent lives: provider, path, url, external_id.")
    parent_id: SessionId | None = Field(
        None, description="The session of the same owner that it belongs to, is deleted with, and is listed under."
    )
    state: StateContent | None = Field(
        None, description="A first state, saved as number 1 by the request that makes the session."
    )


class SessionsQuery(RequestModel):
    """Which sessions, and which page of them."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=500, description="'next' of the page before.")
    archived: Literal["true", "false", "all"] = "false"
    status: Status | None = None
    search: Text | None = Field(None, description="Part of the name, in any case of letters.")
    key_prefix: Key | None = Field(None, description="Own sessions whose key begins with it.")
    metadata: Text | None = Field(None, description="A JSON object: own sessions whose metadata contains it.")
    parent_id: SessionId | None = Field(None, description="Those that belong to this session, and no others.")


class KeyQuery(RequestModel):
    """Which session, by its owner's own name for it."""

    key: Key


class UpdateSession(RequestModel):
    """The fields to change, at least one; what is left out stays. null empties name, model and upstream."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: Name | None = None
    model: Model | None = None
    status: Literal["idle", "running", "paused", "completed", "error"] = "idle"
    visibility: Visibility = Field("private", description="Only the owner may change it.")
    archived: bool = Field(False, description="An archived session is left out of the list by default.")
    expires_after_seconds: IdleSeconds | None = Field(None, description="0 and null are never.")
    metadata: JsonObject | None = None
    upstream: JsonObject | None = None


class DeleteQuery(RequestModel):
    """Only if nothing came after what the caller knows."""

    base: int | None = Field(None, ge=0, le=2**31 - 1, description="Only if this is still the latest number.")


class ConfirmQuery(RequestModel):
    """Said in full, so that nobody deletes everything by a slip."""

    confirm: Literal["delete-my-data"]


async def create_session(call: Call) -> ApiResponse:
    """A session for the caller. Retrying is safe with a key or an id."""
    request = read_model(CreateSession, call.body)
    arguments: dict[str, Any] = {
        f"p_{name}": storable(value) if name in request.content_fields and name != "state" else value
        for name, value in request
        if value is not None
    }
    rows = await call.database.rows(
        call.caller,
        "get_or_create_session",
        arguments,
        repeatable=request.key is not None or request.id is not None,
    )
    created = CreatedSession(**rows[0])
    return json_response(created.json_text(), 201 if created.created else 200)


async def list_sessions(call: Call) -> ApiResponse:
    """A page by keyset: it costs the same at any depth."""
    query = validated(SessionsQuery, parse_ints(call.query, "limit"))
    before, before_id = place(query.cursor) if query.cursor is not None else (None, None)
    rows = await call.database.rows(
        call.caller,
        "list_sessions",
        {
            "p_limit": query.limit + 1,
            "p_before": before,
            "p_before_id": before_id,
            "p_archived": {"true": True, "false": False, "all": None}[query.archived],
            "p_status": query.status,
            "p_search": query.search,
            "p_key_prefix": query.key_prefix,
            "p_parent_id": query.parent_id,
            "p_metadata": None if query.metadata is None else metadata_filter(query.metadata),
        },
        repeatable=True,
    )
    page = rows[: query.limit]
    following = pack(page[-1]["last_activity_at"], page[-1]["id"]) if len(rows) > len(page) else None
    listed = ",".join(ListedSession(**row).json_text() for row in page)
    return json_response(f'{{"sessions":[{listed}],"next":{json.dumps(following)}}}')


async def get_session(call: Call) -> ApiResponse:
    """One session as the list shows it."""
    rows = await call.database.rows(
        call.caller, "get_session", {"p_session_id": call.path["session_id"]}, repeatable=True
    )
    return json_response(ListedSession(**rows[0]).json_text())


async def find_session(call: Call) -> ApiResponse:
    """The caller's own session of this key; none is made."""
    query = validated(KeyQuery, call.query)
    rows = await call.database.rows(call.caller, "find_session", {"p_key": query.key}, repeatable=True)
    return json_response(ListedSession(**rows[0]).json_text())


async def update_session(call: Call) -> ApiResponse:
    """Only what was sent changes."""
    request = read_model(UpdateSession, call.body)
    if not request.model_fields_set:
        raise Invalid("invalid_request", "Name at least one field to change.")
    changes = []
    for name in sorted(request.model_fields_set):
        value = getattr(request, name)
        if name == "expires_after_seconds" and value is None:
            value = 0
        if name in request.content_fields:
            text = storable(value) if value is not None else ("{}" if name == "metadata" else "null")
        else:
            text = json.dumps(value)
        changes.append(f'"{name}":{text}')
    rows = await call.database.rows(
        call.caller,
        "update_session",
        {"p_session_id": call.path["session_id"], "p_changes": "{" + ",".join(changes) + "}"},
        repeatable=True,
    )
    return json_response(Session(**rows[0]).json_text())


async def delete_session(call: Call) -> ApiResponse:
    """For good, with everything in it; the response is the receipt."""
    query = validated(DeleteQuery, parse_ints(call.query, "base"))
    rows = await call.database.rows(
        call.caller, "delete_session", {"p_session_id": call.path["session_id"], "p_base": query.base}
    )
    return json_response(DeletedSession(**rows[0]).json_text())


async def delete_my_data(call: Call) -> ApiResponse:
    """Everything of the caller, in every session; the response is the receipt."""
    validated(ConfirmQuery, call.query)
    deadline = time.monotonic() + _ERASING_SECONDS
    receipt: dict[str, Any] = {"done": False}
    while not receipt["done"] and time.monotonic() < deadline:
        step = (await call.database.rows(call.caller, "delete_my_data", {}))[0]
        done = step.pop("done")
        if not done and not any(step.values()):
            await asyncio.sleep(0.1)  # what is left is busy
        receipt = {name: receipt.get(name, 0) + count for name, count in step.items()} | {"done": done}
    return json_response(DeletedData(**receipt).json_text())


def metadata_filter(text: str) -> str:
    """A query parameter that is a JSON object. Raises invalid_request, not_representable."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Invalid("invalid_request", "'metadata' must be a JSON object.")
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid("not_representable")
    return storable(text)


def place(cursor: str) -> tuple[str, str]:
    """Time and id where a page ended. Raises invalid_request."""
    before, before_id = unpack(cursor, str, str)
    try:
        datetime.fromisoformat(before)
    except ValueError:
        raise Invalid("invalid_request", "That cursor does not come from this list.") from None
    if not _UUID.fullmatch(before_id):
        raise Invalid("invalid_request", "That cursor does not come from this list.")
    return before, before_id

"""sessions: out as a file (JSON, Markdown, PDF) and in again from the JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

from pydantic import Field

from leftoff.errors import Invalid
from leftoff.exact_json import items
from leftoff.handlers.answers import Session
from leftoff.models import Content, RequestModel
from leftoff.serving.answers import Answer, json_answer
from leftoff.serving.bodies import read_model, validated
from leftoff.serving.routes import Call

__all__ = ["ExportQuery", "ImportRequest", "export_session", "import_session"]

#: Levels that an export wraps around a part: the document, its list of parts, the part.
_WRAPPING = 3
_DEEPEST = 64 + _WRAPPING


class ExportQuery(RequestModel):
    """The kind of file. Only JSON is complete."""

    format: Literal["json", "markdown", "pdf"] = "json"


class ImportRequest(RequestModel):
    """The JSON export of a session."""

    format: Literal["leftoff-session"]
    version: Literal[1]
    session: Content
    snapshots: Content
    parts: Content = Field(description="[[path, item, since, until or null, created_at, body] …]")


async def export_session(call: Call) -> Answer:
    """The session as a file to keep. Typesetting takes its time, so it runs beside the event loop."""
    query = validated(ExportQuery, call.query)
    chunks = await call.database.chunks(
        call.caller, "export_session", {"p_session_id": call.path["session_id"]}, repeatable=True
    )
    if query.format == "json":
        name = f"session-{call.path['session_id'].lower()}.json"
        return Answer(chunks, headers={"Content-Disposition": f'attachment; filename="{name}"'})
    from leftoff.export import render

    rendered = await asyncio.to_thread(render, b"".join(chunks).decode(), query.format)
    return Answer(
        [rendered.body],
        media_type=rendered.media_type,
        headers={"Content-Disposition": f'attachment; filename="{rendered.filename}"'},
    )


async def import_session(call: Call) -> Answer:
    """A new, private session of the caller's own with the same snapshots, numbers and labels."""
    request = await asyncio.to_thread(read_model, ImportRequest, call.body, max_depth=_DEEPEST)
    columns = await asyncio.to_thread(_columns, request)
    rows = await call.database.rows(
        call.caller, "import_session", {"p_session": request.session, "p_snapshots": request.snapshots, **columns}
    )
    return json_answer(Session(**rows[0]).json_text(), 201)


def _columns(request: ImportRequest) -> dict[str, list[Any]]:
    """The parts as the columns that the database takes. Raises invalid_request."""
    if not (request.session[0], request.snapshots[0], request.parts[0]) == ("{", "[", "["):
        raise Invalid("invalid_request", "This is no export of a session.")
    if any("\\u0000" in text.replace("\\\\", "") for text in (request.session, request.snapshots)):
        raise Invalid("not_representable")
    names = ("p_paths", "p_items", "p_since", "p_until", "p_created_at", "p_bodies")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for part in items(request.parts):
        fields = items(part) if part.startswith("[") else []
        if len(fields) != len(names):
            raise Invalid("invalid_request", "A part is [path, item, since, until, created_at, body].")
        *head, body = fields
        values = [json.loads(field) for field in head]
        kinds = (str, int, int, int, str)
        for name, value, kind in zip(names, values, kinds, strict=False):
            if type(value) is not kind and not (name == "p_until" and value is None):
                raise Invalid("invalid_request", "A part is [path, item, since, until, created_at, body].")
            if kind is str and not _is_storable(value):
                raise Invalid("not_representable")
            if kind is int and value is not None and abs(value) > 2**31 - 1:
                raise Invalid("invalid_request", "A number of a part is out of range.")
            columns[name].append(value)
        columns["p_bodies"].append(body)
    return columns


def _is_storable(text: str) -> bool:
    """Whether a database text can hold it: no NUL, no half characters."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)

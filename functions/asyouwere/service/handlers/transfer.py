"""sessions: out as a file (JSON, Markdown, PDF) and in again from the JSON."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import Field

from asyouwere.errors import Invalid, TooLarge
from asyouwere.service.database.text_array import TextArray
from asyouwere.service.handlers import exports
from asyouwere.service.handlers.annotations import storable
from asyouwere.service.handlers.session_models import CreatedSession
from asyouwere.service.handlers.sessions import Key
from asyouwere.service.http.bodies import read_model, run_off_loop_if_large, validated
from asyouwere.service.http.responses import ApiResponse, json_response
from asyouwere.service.http.routing import Call
from asyouwere.service.models import Content, JsonObject, RequestModel, SessionId
from asyouwere.state.exact_json import MAX_NESTING, each_item, each_member, items

__all__ = ["ExportQuery", "ImportQuery", "SessionExport", "export_session", "import_session"]

#: Levels that an export wraps around a part: the document, its list of parts, the part.
_WRAPPING = 3
_DEEPEST = MAX_NESTING + _WRAPPING

#: Most parts of one import: all versions of a session, so more than one save may write.
MAX_PARTS: Final = 1_000_000

_PART: Final = "A part is [path, item, since, until, created_at, body]."
_COLUMNS: Final[dict[str, type]] = {
    "p_paths": str, "p_items": int, "p_since": int, "p_until": int, "p_created_at": str,
}  # fmt: skip


class ExportQuery(RequestModel):
    """The kind of file. Only JSON is complete."""

    format: Literal["json", "markdown", "pdf"] = "json"


class ImportQuery(RequestModel):
    """What the document does not say."""

    key: Key | None = Field(None, description="Key of the new session.")
    parent_id: SessionId | None = Field(None, description="A session of the caller's that it is to belong to.")


class SessionExport(RequestModel):
    """The JSON export of a session."""

    format: Literal["asyouwere-session"]
    version: Literal[1]
    session: JsonObject
    snapshots: Content = Field(json_schema_extra={"type": "array", "items": {"type": "object"}})
    parts: Content = Field(
        description="[[path, item, since, until or null, created_at, body] …]",
        json_schema_extra={"type": "array", "items": {"type": "array", "items": {}}},
    )


async def export_session(call: Call) -> ApiResponse:
    """The session as a file to keep."""
    query = validated(ExportQuery, call.query)
    return await exports.export(call, query.format)


async def import_session(call: Call) -> ApiResponse:
    """A new, private session of the caller's own with the same snapshots, numbers and labels."""
    query = validated(ImportQuery, call.query)
    request, columns = await run_off_loop_if_large(len(call.body), lambda: _opened(call.body))
    rows = await call.database.rows(
        call.caller,
        "import_session",
        {
            "p_session": request.session,
            "p_snapshots": request.snapshots,
            **columns,
            "p_key": query.key,
            "p_parent_id": query.parent_id,
        },
    )
    return json_response(CreatedSession(**rows[0], created=True).json_text(), 201)


def _opened(body: bytearray) -> tuple[SessionExport, dict[str, Any]]:
    """The request and its parts as columns."""
    request = read_model(SessionExport, body, max_depth=_DEEPEST)
    return request, _columns(request)


def _columns(request: SessionExport) -> dict[str, Any]:
    """The parts as the columns that the database takes. Raises invalid_request, too_large."""
    if not (request.session[0], request.snapshots[0], request.parts[0]) == ("{", "[", "["):
        raise Invalid("invalid_request", "This is no export of a session.")
    storable(request.snapshots)
    for name, start, end in each_member(request.session):
        storable(name)
        if name != "turns":  # chunks are kept as they were sent: a stream may be cut within a character
            storable(request.session[start:end])
    columns: dict[str, Any] = {name: [] for name in _COLUMNS}
    columns |= {"p_paths": TextArray(), "p_bodies": TextArray()}
    for start, end in each_item(request.parts):
        if len(columns["p_bodies"]) >= MAX_PARTS:
            raise TooLarge("too_large", "Too many parts for one import.", data=f'{{"max_parts":{MAX_PARTS}}}')
        part = request.parts[start:end]
        fields = items(part) if part.startswith("[") else []
        if len(fields) != len(columns) or any(field[0] in "[{" for field in fields[:-1]):
            raise Invalid("invalid_request", _PART)
        for (name, kind), field in zip(_COLUMNS.items(), fields, strict=False):
            columns[name].append(_checked(json.loads(field), kind, may_be_null=name == "p_until"))
        columns["p_bodies"].append(fields[-1])
    return columns


def _checked(value: Any, kind: type, *, may_be_null: bool) -> str | int | None:
    """A field of a part, if the database can take it. Raises invalid_request, not_representable."""
    if value is None and may_be_null:
        return None
    if isinstance(value, str) and kind is str:
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise Invalid("not_representable")
        return value
    if isinstance(value, int) and kind is int and not isinstance(value, bool) and abs(value) < 2**31:
        return value
    raise Invalid("invalid_request", _PART)

"""The functions and their addresses: one table, used for routing and for the OpenAPI document alike."""

from __future__ import annotations

from typing import Final

from leftoff.handlers import answers, cleanup, history, members, messages, restore, save, sessions, transfer
from leftoff.serving.routes import Route, RouteTable

__all__ = ["FUNCTIONS"]

_SESSION = ("session_not_found",)
_SAVING = (
    *_SESSION,
    "forbidden",
    "snapshot_gone",
    "idempotency_key_reused",
    "too_large",
    "quota_exceeded",
    "invalid_argument",
)
_CHANGING = (
    "conflict",
    "unknown_base",
    "invalid_state",
    "invalid_changes",
    "invalid_address",
    "address_below_part",
    "address_too_long",
    "missing_parent",
    "list_gap",
    "not_a_list",
    "overlapping_addresses",
)
_SESSION_FIELDS = ("invalid_argument", "not_representable")

_SAVE: Final = (
    Route(
        "POST",
        "",
        save.save,
        "Save a state or changes as a snapshot",
        body=save.SaveRequest,
        answer=answers.Saved,
        errors=(*_SAVING, *_CHANGING, "label_taken"),
        limit="max_body_bytes",
    ),
)

_RESTORE: Final = (
    Route(
        "POST",
        "",
        restore.restore,
        "Restore the latest snapshot, a number or a label, or get the changes since a number",
        body=restore.RestoreRequest,
        answer=answers.Restored,
        other_answer=answers.Changes,
        errors=(*_SESSION, "snapshot_not_found", "snapshot_gone", "invalid_argument"),
    ),
)

_SESSIONS: Final = (
    Route(
        "POST",
        "",
        sessions.create_session,
        "Create a session, or get the one with this key",
        body=sessions.CreateSession,
        answer=answers.Session,
        errors=("key_taken", "session_not_found", "forbidden", "quota_exceeded", *_SESSION_FIELDS),
    ),
    Route(
        "GET",
        "",
        sessions.list_sessions,
        "List own and shared sessions, last active first",
        query=sessions.SessionsQuery,
        answer=answers.Sessions,
        errors=("invalid_argument",),
    ),
    Route(
        "POST",
        "/import",
        transfer.import_session,
        "Import a JSON export as a new session",
        body=transfer.ImportRequest,
        answer=answers.Session,
        status=201,
        errors=("too_large", "quota_exceeded", "address_too_long", *_SESSION_FIELDS),
        limit="max_import_bytes",
    ),
    Route(
        "DELETE",
        "/me",
        sessions.delete_my_data,
        "Delete all data of the caller",
        query=sessions.ConfirmQuery,
        answer=answers.DeletedData,
    ),
    Route(
        "GET",
        "/{session_id}",
        sessions.read_session,
        "Get a session without its content",
        answer=answers.ListedSession,
        errors=_SESSION,
    ),
    Route(
        "PATCH",
        "/{session_id}",
        sessions.update_session,
        "Change name, model, status, visibility, metadata, upstream, archived or expiry",
        body=sessions.UpdateSession,
        answer=answers.Session,
        errors=(*_SESSION, "forbidden", *_SESSION_FIELDS),
    ),
    Route(
        "DELETE",
        "/{session_id}",
        sessions.delete_session,
        "Delete a session for good",
        status=204,
        errors=(*_SESSION, "forbidden"),
    ),
    Route(
        "GET",
        "/{session_id}/members",
        members.list_members,
        "List who else has access",
        answer=answers.Members,
        errors=_SESSION,
    ),
    Route(
        "PUT",
        "/{session_id}/members/{user_id}",
        members.set_member,
        "Let somebody look (viewer) or save (editor)",
        body=members.MemberRequest,
        answer=answers.Member,
        errors=(*_SESSION, "forbidden", "invalid_argument"),
    ),
    Route(
        "DELETE",
        "/{session_id}/members/{user_id}",
        members.remove_member,
        "Put somebody out, or leave",
        status=204,
        errors=(*_SESSION, "forbidden"),
    ),
    Route(
        "GET",
        "/{session_id}/snapshots",
        history.list_snapshots,
        "List the kept snapshots, newest first",
        query=history.SnapshotsQuery,
        answer=answers.Snapshots,
        errors=_SESSION,
    ),
    Route(
        "PUT",
        "/{session_id}/snapshots/{number}/label",
        history.set_label,
        "Label a snapshot",
        body=history.LabelRequest,
        answer=answers.Snapshot,
        errors=(
            *_SESSION,
            "snapshot_not_found",
            "snapshot_gone",
            "forbidden",
            "label_taken",
            "invalid_argument",
        ),
    ),
    Route(
        "DELETE",
        "/{session_id}/snapshots/{number}/label",
        history.remove_label,
        "Take a snapshot's label away",
        status=204,
        errors=(*_SESSION, "snapshot_not_found", "snapshot_gone", "forbidden"),
    ),
    Route(
        "GET",
        "/{session_id}/diff",
        history.diff,
        "Compare two snapshots",
        query=history.DiffQuery,
        answer=answers.Differences,
        errors=(*_SESSION, "snapshot_not_found", "snapshot_gone"),
    ),
    Route(
        "POST",
        "/{session_id}/revert",
        history.revert,
        "Make an old content the newest snapshot",
        body=history.RevertRequest,
        answer=answers.Saved,
        errors=(*_SAVING, "snapshot_not_found"),
    ),
    Route(
        "POST",
        "/{session_id}/fork",
        history.fork,
        "Make a new session from a snapshot",
        body=history.ForkRequest,
        answer=answers.Session,
        status=201,
        errors=(*_SESSION, "snapshot_not_found", "snapshot_gone", "invalid_argument"),
    ),
    Route(
        "GET",
        "/{session_id}/messages",
        messages.list_messages,
        "List messages after a position",
        query=messages.MessagesQuery,
        answer=answers.Messages,
        errors=_SESSION,
    ),
    Route(
        "POST",
        "/{session_id}/messages",
        messages.append_messages,
        "Append messages",
        body=messages.AppendRequest,
        answer=answers.Appended,
        status=201,
        errors=(*_SAVING, "not_a_list"),
        limit="max_body_bytes",
    ),
    Route(
        "GET",
        "/{session_id}/export",
        transfer.export_session,
        "Export as JSON (complete), Markdown or PDF",
        query=transfer.ExportQuery,
        answers_with={
            "application/json": "the complete session, to be imported elsewhere",
            "text/markdown; charset=utf-8": "the latest content, to be read",
            "application/pdf": "the latest content, to be read",
        },
        errors=(*_SESSION, "too_large"),
    ),
)

_CLEANUP: Final = (
    Route(
        "POST",
        "",
        cleanup.clean_up,
        "Remove old snapshots, expire idle sessions",
        body=cleanup.CleanupRequest,
        answer=answers.Cleaned,
        errors=("forbidden", "invalid_argument"),
        caller="service",
    ),
)

FUNCTIONS: Final[dict[str, RouteTable]] = {
    "session-snapshot-save": RouteTable(_SAVE),
    "session-snapshot-restore": RouteTable(_RESTORE),
    "sessions": RouteTable(_SESSIONS),
    "cleanup-old-snapshots": RouteTable(_CLEANUP),
}

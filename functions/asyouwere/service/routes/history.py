"""A session's kept snapshots: compared, brought back, forked, merged, forgotten."""

from __future__ import annotations

from typing import Final

from asyouwere.service.handlers import forgetting, history, save, session_models, taking
from asyouwere.service.http.routing import Route
from asyouwere.service.routes.codes import SAVING, SESSION

__all__ = ["ROUTES"]

ROUTES: Final = (
    Route(
        "GET",
        "/{session_id}/snapshots",
        history.list_snapshots,
        "List the kept snapshots, newest first",
        query=history.SnapshotsQuery,
        response=session_models.SnapshotPage,
        errors=SESSION,
    ),
    Route(
        "PUT",
        "/{session_id}/snapshots/{number}/label",
        history.label_snapshot,
        "Label a snapshot",
        body=history.LabelRequest,
        response=session_models.Snapshot,
        errors=(
            *SESSION,
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
        errors=(*SESSION, "snapshot_not_found", "snapshot_gone", "forbidden"),
    ),
    Route(
        "GET",
        "/{session_id}/diff",
        history.diff_snapshots,
        "Compare two snapshots",
        query=history.DiffQuery,
        response=session_models.DifferenceList,
        errors=(*SESSION, "snapshot_not_found", "snapshot_gone", "too_large"),
    ),
    Route(
        "POST",
        "/{session_id}/revert",
        history.revert_session,
        "Make an old content the newest snapshot",
        body=history.RevertRequest,
        response=save.Saved,
        errors=(*SAVING, "snapshot_not_found"),
    ),
    Route(
        "POST",
        "/{session_id}/fork",
        history.fork_session,
        "Make a new session from a snapshot",
        body=history.ForkRequest,
        response=session_models.CreatedSession,
        status=201,
        errors=(*SESSION, "snapshot_not_found", "snapshot_gone", "key_taken", "quota_exceeded", "invalid_argument"),
    ),
    Route(
        "GET",
        "/{session_id}/origin",
        history.get_origin,
        "Get where a fork comes from, and how far it was merged back",
        response=session_models.ForkOrigin,
        errors=SESSION,
    ),
    Route(
        "POST",
        "/{session_id}/merge",
        history.merge_fork,
        "Merge what a fork has changed into the session it was forked from",
        body=history.MergeRequest,
        response=save.Saved,
        errors=(*SAVING, "snapshot_not_found", "conflict", "list_gap", "invalid_address", "label_taken"),
    ),
    Route(
        "POST",
        "/{session_id}/pop",
        taking.pop_items,
        "Take items from the end of a list",
        body=taking.PopRequest,
        response=session_models.Taken,
        errors=(*SAVING, "invalid_address", "address_below_part", "not_a_list"),
    ),
    Route(
        "POST",
        "/{session_id}/snapshots/delete",
        forgetting.delete_snapshots,
        "Delete snapshots by number or label",
        body=forgetting.DeleteSnapshotsRequest,
        response=session_models.Forgotten,
        errors=(*SESSION, "forbidden", "invalid_argument"),
    ),
    Route(
        "POST",
        "/{session_id}/forget",
        forgetting.forget_parts,
        "Remove addresses, and every older snapshot that shows something there",
        body=forgetting.ForgetRequest,
        response=session_models.Forgotten,
        errors=(
            *SESSION,
            "forbidden",
            "invalid_argument",
            "invalid_address",
            "address_too_long",
            "overlapping_addresses",
            "address_below_part",
            "list_gap",
        ),
    ),
)

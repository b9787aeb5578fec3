"""session-snapshot-restore."""

from __future__ import annotations

from typing import Final

from asyouwere.service.handlers import restore
from asyouwere.service.http.routing import Route
from asyouwere.service.routes.codes import SESSION

__all__ = ["ROUTES"]

ROUTES: Final = (
    Route(
        "POST",
        "",
        restore.restore_snapshot,
        "Restore the latest snapshot, a number or a label, or get the changes since a number",
        body=restore.RestoreRequest,
        response=restore.Restored,
        other_response=restore.ChangesSince,
        errors=(*SESSION, "snapshot_not_found", "snapshot_gone", "invalid_argument"),
    ),
)

"""session-snapshot-restore."""

from __future__ import annotations

from typing import Final

from asyouwere.handlers import restore
from asyouwere.handlers.routes.codes import SESSION
from asyouwere.serving.routes import Route

__all__ = ["ROUTES"]

ROUTES: Final = (
    Route(
        "POST",
        "",
        restore.restore,
        "Restore the latest snapshot, a number or a label, or get the changes since a number",
        body=restore.RestoreRequest,
        answer=restore.Restored,
        other_answer=restore.Changes,
        errors=(*SESSION, "snapshot_not_found", "snapshot_gone", "invalid_argument"),
    ),
)

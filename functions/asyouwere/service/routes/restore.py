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
        "Restore the latest snapshot, a number or a label, some addresses of it, or get the changes since a number",
        body=restore.RestoreRequest,
        response=restore.Restored,
        other_responses=(restore.ChangesSince, restore.SomeParts),
        errors=(
            *SESSION,
            "snapshot_not_found",
            "snapshot_gone",
            "invalid_argument",
            "invalid_address",
            "address_below_part",
            "address_too_long",
            "not_a_list",
            "too_large",
        ),
    ),
)

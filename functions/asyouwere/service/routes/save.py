"""session-snapshot-save."""

from __future__ import annotations

from typing import Final

from asyouwere.service.handlers import save
from asyouwere.service.http.routing import Route
from asyouwere.service.routes.codes import CHANGING, SAVING

__all__ = ["ROUTES"]

ROUTES: Final = (
    Route(
        "POST",
        "",
        save.save_snapshot,
        "Save a state or changes as a snapshot",
        body=save.SaveRequest,
        response=save.Saved,
        errors=(*SAVING, *CHANGING, "label_taken", "snapshot_exists", "not_representable"),
        limit="max_body_bytes",
    ),
)

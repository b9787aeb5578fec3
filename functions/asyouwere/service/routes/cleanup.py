"""cleanup-old-snapshots."""

from __future__ import annotations

from typing import Final

from asyouwere.service.handlers import cleanup
from asyouwere.service.http.routing import Route

__all__ = ["ROUTES"]

ROUTES: Final = (
    Route(
        "POST",
        "",
        cleanup.clean_up,
        "Remove old snapshots, expire idle sessions",
        body=cleanup.CleanupRequest,
        body_optional=True,
        response=cleanup.Cleaned,
        errors=("forbidden", "invalid_argument"),
        audience="service",
    ),
)

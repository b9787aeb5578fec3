"""The entry points of the deployed functions; everything else is in the package beside this file.

``asyouwere_api`` is all that users call, as one service; ``cleanup_old_snapshots`` is apart. Or each is deployed by
itself: target ``session_snapshot_save`` as ``session-snapshot-save``, and so on.
"""

import gc

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

# Nothing that a start brings into memory is garbage, and looking for some takes 12 % of what asyouwere adds to it
# (215 ms of processor time with collection, 190 without). The first response turns it on again.
gc.disable()

from asyouwere.service.api import Api  # noqa: E402
from asyouwere.service.app import Service  # noqa: E402

_service = Service()
_api = Api(_service)


@functions_framework.aio.http
async def asyouwere_api(request: Request) -> Response:
    """All that users call, at /functions/v1/<function>."""
    return await _api.respond(request)


@functions_framework.aio.http
async def session_snapshot_save(request: Request) -> Response:
    """POST a state or changes; they become a snapshot."""
    return await _service.respond("session-snapshot-save", request)


@functions_framework.aio.http
async def session_snapshot_restore(request: Request) -> Response:
    """POST a session's id; its latest state comes back, or an older one, or what changed."""
    return await _service.respond("session-snapshot-restore", request)


@functions_framework.aio.http
async def sessions(request: Request) -> Response:
    """Sessions as resources: create, list, change, delete; history, members, messages, export."""
    return await _service.respond("sessions", request)


@functions_framework.aio.http
async def cleanup_old_snapshots(request: Request) -> Response:
    """POST by the scheduler: old snapshots go, idle sessions expire."""
    return await _service.respond("cleanup-old-snapshots", request)

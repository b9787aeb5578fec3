"""Cross-origin requests: a list of exact origins, nothing with cookies.

The one pattern there is, any port of this machine (``http://localhost:*``), is for development: settings.py takes it
for loopback hosts only.

Not Starlette's CORSMiddleware: functions-framework makes the app and has no place for middleware of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["cors_headers", "preflight_headers"]

#: What Supabase clients send, and ours.
_REQUEST_HEADERS: Final = (
    "authorization, content-type, idempotency-key, x-request-id, apikey, x-client-info, asyouwere-journal-age, "
    "last-event-id, x-region"
)
_EXPOSED_HEADERS: Final = "x-request-id, retry-after, content-disposition"
_REMEMBER_SECONDS: Final = "7200"


def cors_headers(origin: str | None, origins: frozenset[str]) -> dict[str, str]:
    """Headers for the response to an actual request; a browser keeps the response from any origin not listed."""
    headers = {"Vary": "Origin"} if origins else {}
    if origin is not None and _is_listed(origin, origins):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
    return headers


def _is_listed(origin: str, origins: frozenset[str]) -> bool:
    host, _, port = origin.rpartition(":")
    any_port = f"{host if port.isascii() and port.isdigit() else origin}:*"
    return origin in origins or any_port in origins


def preflight_headers(request: Mapping[str, str], origins: frozenset[str], allow: str) -> dict[str, str]:
    """Headers for the response to OPTIONS, whether it is a preflight or only asks for the methods."""
    headers = {"Allow": allow, **cors_headers(request.get("origin"), origins)}
    if "Access-Control-Allow-Origin" in headers and "access-control-request-method" in request:
        headers["Access-Control-Allow-Methods"] = allow
        headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
        headers["Access-Control-Max-Age"] = _REMEMBER_SECONDS
        headers["Vary"] = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    return headers

"""The request log: one JSON line a request on standard output, as log collectors read it.

It holds what is needed to find a request and to count: never content, never a token, never a key.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

__all__ = ["log_failure", "log_line"]


def log_line(**fields: Any) -> None:
    """Write one line. Severity is what Cloud Logging calls it."""
    sys.stdout.write(json.dumps(fields, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def log_failure(request_id: str, exc: BaseException) -> None:
    """Say what an unexpected error and its causes are, and where each was raised: one file and line.

    No messages, as a driver quotes what it was given, so that one could hold somebody's words; no traces.
    """
    chain: list[dict[str, Any]] = []
    seen: BaseException | None = exc
    while seen is not None and len(chain) < 5:
        frames = traceback.extract_tb(seen.__traceback__, limit=-1)
        kind = f"{type(seen).__module__}.{type(seen).__qualname__}"
        at = f"{Path(frames[0].filename).name}:{frames[0].lineno}" if frames else None
        state = getattr(seen, "sqlstate", None)
        chain.append({"error": kind, **({"sqlstate": state} if state else {}), "at": at})
        seen = seen.__cause__ or seen.__context__
    log_line(severity="ERROR", message="unexpected error", request_id=request_id, chain=chain)

"""Serves what users call as one service: python -m asyouwere.service (the container image's command).

With names of functions, those instead: python -m asyouwere.service cleanup-old-snapshots. PORT (8080) says where, on
all interfaces; TLS is the platform's. Ends in order at SIGTERM.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import uvicorn

from asyouwere.service.api import USERS_FUNCTIONS, create_app
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.service.settings import SettingsError

#: Platforms kill ten seconds after SIGTERM; a stream that is open then is resumed by its client.
STOP_SECONDS: Final = 8


def main() -> None:
    """Serve until told to stop. Exits with 1 and says which settings are wrong, if any is."""
    functions = sys.argv[1:] or USERS_FUNCTIONS
    if unknown := set(functions) - FUNCTIONS.keys():
        sys.exit(f"asyouwere: no function is called {', '.join(sorted(unknown))}: {', '.join(FUNCTIONS)}")
    try:
        app = create_app(functions=functions)
    except SettingsError as exc:
        sys.exit(f"asyouwere: {exc}")
    uvicorn.run(
        app,
        host="0.0.0.0",  # a container's own network
        port=int(os.environ.get("PORT", "8080")),
        log_level="warning",
        access_log=False,  # the request log has them
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


if __name__ == "__main__":
    main()

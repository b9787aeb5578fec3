"""The functions server: `main.py`'s functions on a loopback port, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Final

from asyouwere.local.loopback_server import STOP_SECONDS, LoopbackServer
from asyouwere.local.ports import LOOPBACK

#: Where the built page is, told to the child by its parent; a setting of the functions it is not.
PAGE_VARIABLE: Final = "ASYOUWERE_PAGE_FOLDER"


class FunctionsServer(LoopbackServer):
    """The functions of `main.py`. environment: their ASYOUWERE_… variables; log: requests and crashes alike."""

    name = "functions"

    @property
    def url(self) -> str:
        """Where the functions are, for example `http://127.0.0.1:8787/functions/v1`."""
        return f"http://{LOOPBACK}:{self.port}/functions/v1"

    def _command(self, descriptor: int) -> list[str]:
        return [sys.executable, "-m", "asyouwere.local.functions_server", str(descriptor)]


def serve(descriptor: int) -> None:
    """The child: serve on an inherited listening socket until told to stop or until the parent is gone."""
    import uvicorn

    from asyouwere.local.functions_app import create_app
    from asyouwere.service.settings import Settings

    threading.Thread(target=_end_with_parent, daemon=True).start()
    page = os.environ.get(PAGE_VARIABLE)
    app = create_app(Settings.from_environment(), Path(page) if page else None)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS - 2,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def _end_with_parent() -> None:
    """Nobody writes into the pipe: it only ends, when the parent closes it or dies."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(int(sys.argv[1]))

"""The Node process that answers as Supabase does: /auth/v1, /rest/v1 and /functions/v1 at one URL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from asyouwere.local.loopback_server import LoopbackServer
from asyouwere.local.ports import LOOPBACK
from asyouwere.local.supabase.installing import SOURCES, installed

AUTH_ROLE = "asyouwere_local_auth"
# lite reports its use to its makers unless it is told not to.
NO_TELEMETRY = {"LITE_TELEMETRY": "0", "DO_NOT_TRACK": "1", "NODE_ENV": "production"}


class SupabaseServer(LoopbackServer):
    """Supabase's API on a loopback port, over @supabase/lite.

    folder: the data folder. settings: what server.mjs is told, to be set before wait_until_ready(): apiUrl
    and authUrl (connection strings), jwtSecret, issuer, functionsPort, demo {id, email, password};
    restPort if another PostgREST is to answer /rest/v1.
    """

    name = "Supabase"

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(NO_TELEMETRY, log=folder / "supabase.log", port=port)
        self.folder = folder
        self.mailbox = folder / "mailbox.txt"
        self.settings: dict[str, Any] = {}
        self._program: tuple[str, Path] | None = None
        self._descriptor = -1

    @property
    def url(self) -> str:
        """What createClient() takes, for example `http://127.0.0.1:54321`."""
        return f"http://{LOOPBACK}:{self.port}"

    def install(self, say: Callable[[str], None]) -> None:
        """Find Node and get the packages if they are not here yet. Raises SupabaseMissing."""
        self._program = installed(self.folder, say)

    def _command(self, descriptor: int) -> list[str]:
        if self._program is None:
            self._program = installed(self.folder, lambda line: None)
        self._descriptor = descriptor
        node, script = self._program
        return [node, "--no-warnings", str(script)]

    def _greeting(self) -> bytes:
        known = {"descriptor": self._descriptor, "url": self.url, "mailbox": str(self.mailbox)}
        return json.dumps({**self.settings, **known}).encode() + b"\n"


def prepare_database(dsn: str, password: str) -> None:
    """Give the database what signing in keeps, and its login this password. dsn: a superuser's."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute((SOURCES / "auth.sql").read_bytes())
        admin.execute(
            sql.SQL("alter role {} password {}").format(sql.Identifier(AUTH_ROLE), sql.Literal(password))
        )

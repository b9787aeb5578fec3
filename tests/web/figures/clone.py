"""From a fresh clone to the page, and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.bench.measurements import Figure, Target

ROOT = Path(__file__).parents[3]
_PATIENCE = 400


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _until_page(clone: Path) -> float:
    """Seconds that `make run` takes until its page is there; ended after that."""
    port = _free_port()
    begun = time.monotonic()
    command = f"scripts/setup run && exec .venv/bin/asyouwere run --port {port} --postgres-port 0 --supabase-port 0"
    with (clone.parent / "run.log").open("ab") as log:
        process = subprocess.Popen(["sh", "-c", command], cwd=clone, stdout=log, stderr=log, start_new_session=True)
    try:
        while True:
            try:
                # who wants no HTML gets the list of functions there
                page = httpx.get(
                    f"http://127.0.0.1:{port}/", headers={"Accept": "text/html"}, timeout=5, trust_env=False
                )
                if "<script" in page.text:
                    return time.monotonic() - begun
            except httpx.HTTPError:
                pass
            assert process.poll() is None, (clone.parent / "run.log").read_text()[-2_000:]
            assert time.monotonic() - begun < _PATIENCE, "no page"
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def starting() -> Iterator[Figure]:
    """A clone of what is committed, with npm's and pip's caches as they are on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        yield Figure("make run", "from a fresh clone to the page", _until_page(clone), "s", Target(120))
        yield Figure("make run", "started again", _until_page(clone), "s", Target(10))

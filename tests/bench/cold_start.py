"""Cold start: each deployed function by functions-framework, from nothing to its first answer, against one that
does nothing.

Both are started as the platform does, in turn. The answer that counts is a real one: token verified, database
connected to and asked. That a function needs longer for it than one that asks nobody is part of the figure.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.bench.measurements import Comparison, Figure, Target
from tests.bench.place import Place

GROUP = "Cold start"

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
EMPTY = """
import functions_framework.aio
from starlette.responses import Response


@functions_framework.aio.http
async def empty(request):
    return Response("ok")
"""

RESTORE_NOTHING = '{"session_id":"00000000-0000-4000-8000-000000000000"}'

#: Target -> method, path, body and the status of a call that reaches the database.
CALLS: dict[str, tuple[str, str, str | None, int]] = {
    "session_snapshot_save": ("POST", "/", RESTORE_NOTHING[:-1] + ',"state":{}}', 404),
    "session_snapshot_restore": ("POST", "/", RESTORE_NOTHING, 404),
    "sessions": ("GET", "/", None, 200),
    "cleanup_old_snapshots": ("POST", "/", "{}", 200),
}


def measure(place: Place) -> Iterator[Figure]:
    """Fresh processes in turn; the clock runs from their start to the last byte of their first answer."""
    rounds = place.rounds(12, 4)
    tokens = {
        False: place.stack.token(str(place.user_id)),
        True: place.stack.token("cron", role="service_role"),
    }
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "main.py"
        empty.write_text(EMPTY)
        for target in CALLS:
            headers = {"Authorization": f"Bearer {tokens[target.startswith('cleanup')]}"}
            yield from _target(place, target, empty, headers, rounds)


def _target(place: Place, target: str, empty: Path, headers: dict[str, str], rounds: int) -> Iterator[Figure]:
    method, path, body, status = CALLS[target]
    called: list[float] = []
    floor: list[float] = []
    for lap in range(-1, rounds):  # the first writes and reads the compiled files
        ours = _first_answer(
            target, FUNCTIONS / "main.py", place.stack.environment, method, path, body, headers, status
        )
        nothing = _first_answer("empty", empty, {}, "GET", "/", None, {}, 200)
        if lap >= 0:
            called.append(ours)
            floor.append(nothing)
    name = f"{target}, started and called once"
    detail = "an empty function, likewise; functions-framework, compiled files there"
    yield Comparison(called, floor).figure(GROUP, name, Target(1.8), detail)


def _first_answer(
    target: str,
    source: Path,
    environment: dict[str, str],
    method: str,
    path: str,
    body: str | None,
    headers: dict[str, str],
    status: int,
) -> float:
    """Milliseconds from the start of the process to its first answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "functions_framework", "--target", target, "--source", str(source)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASYOUWERE_", "PYTHON"))}
    if body is not None:
        headers = {**headers, "Content-Type": "application/json"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env={**kept, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(port, process)
            answer = client.request(method, path, content=body, headers=headers)
            milliseconds = (time.perf_counter() - begin) * 1000
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
    assert answer.status_code == status, answer.text
    return milliseconds


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, "the function did not start"
        assert time.monotonic() < deadline, "the function does not listen"
        time.sleep(0.002)

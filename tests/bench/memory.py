"""What a function's process needs to take a save of 10 MB, by the kernel's own count of its largest size."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from asyouwere.local.functions_server import FunctionsServer
from tests.bench.functions import HttpClient
from tests.bench.measurements import Figure, Target
from tests.bench.place import Place
from tests.bench.texts import Messages, state_text

GROUP = "Growth: memory of a function"

BODY_BYTES = 10_000_000
ROOM = 20_000  # below the limit for the rest of the request
MOST_PARTS = 125_000
SAVE = "/functions/v1/session-snapshot-save"


def measure(place: Place) -> Iterator[Figure]:
    """A process of its own for each kind of state: what was once needed is not given back."""
    if not Path("/proc/self/clear_refs").exists():
        return
    for kind, state in states():
        functions = FunctionsServer(place.stack.environment, log=place.stack.folder / "memory.log")
        functions.start()
        try:
            client = HttpClient(place, port=functions.port)
            session_id = json.loads(client.post("/functions/v1/sessions", json.dumps({"key": kind})))["id"]
            client.post(SAVE, f'{{"session_id":"{session_id}","state":{{"messages":["small"]}}}}')
            before = resident(functions.pid, "VmRSS")
            Path(f"/proc/{functions.pid}/clear_refs").write_text("5")
            client.post(SAVE, f'{{"session_id":"{session_id}","state":{state}}}')
            peak = resident(functions.pid, "VmHWM")
        finally:
            functions.stop()
        size = len(state.encode())
        yield Figure(
            GROUP,
            f"more than before at the peak of saving {size / 1e6:.0f} MB, {kind}",
            (peak - before) / size,
            "× the body",
            Target(3),
            detail=f"{before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB at the peak; process {os.uname().machine}",
        )


def states() -> Iterator[tuple[str, str]]:
    """JSON texts of about 10 MB."""
    supply = Messages(31)
    messages: list[str] = []
    size = 0
    while size < BODY_BYTES - ROOM:
        messages.append(supply())
        size += len(messages[-1].encode()) + 1
    yield "messages", state_text(messages[:-1])
    yield "one string", f'{{"document":"{"x" * (BODY_BYTES - ROOM)}"}}'
    filling = "x" * (BODY_BYTES // MOST_PARTS - 13)
    members = ",".join(f'"{n}":"{filling}"' for n in range(MOST_PARTS - 10))
    yield f"{MOST_PARTS:,} parts, as many as a save may write", f'{{"a":{{{members}}}}}'


def resident(pid: int, name: str) -> int:
    """Bytes of a process by the kernel's count: VmRSS now, VmHWM at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name} in /proc/{pid}/status")

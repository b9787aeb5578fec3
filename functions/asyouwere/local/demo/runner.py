"""The program that makes an answer: a process of its own, which the demo kills.

    echo '{"url": …, "token": …, "session_id": …, "turn_id": …, "chunks": ["Green", " or"]}' | python -m …runner

It begins the turn, flushes chunk by chunk, and finishes it; what is not answered it asks again, as it was. Prints a
line of JSON for each flush that was answered: `{"seq": 2, "at": 1790000000.5, "took_ms": 3.1}` (seq: number of the
last chunk that is safe; at: when it was sent, in seconds since 1970), at last `{"saved": …}`, the answer to finish.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx

from asyouwere.local.demo.client import Client, Refused

PATIENCE_SECONDS = 20.0
AGAIN_SECONDS = 0.05


def make(
    client: Client,
    session_id: str,
    turn_id: str,
    chunks: list[str],
    *,
    pause_seconds: float,
    lease_seconds: int,
    tell: Callable[[dict[str, Any]], None],
) -> None:
    """Make this answer. Raises Refused once it may not write any more."""
    until_answered(lambda: client.begin_turn(session_id, turn_id, lease_seconds=lease_seconds))
    for seq, chunk in enumerate(chunks, 1):
        at = time.time()
        until_answered(lambda: client.flush(session_id, turn_id, seq, [chunk]))  # noqa: B023 - called here
        tell({"seq": seq, "at": at, "took_ms": client.took_ms})
        time.sleep(pause_seconds)
    tell({"saved": until_answered(lambda: client.finish_turn(session_id, turn_id))})


def until_answered(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Ask the same again while nobody is there, or there is no database."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        except Refused as exc:
            if exc.status not in (502, 503, 504) or time.monotonic() > deadline:
                raise
        time.sleep(AGAIN_SECONDS)


def main() -> None:
    """Read what to make from standard input: no token stands in the list of processes."""
    told = json.load(sys.stdin)
    with Client(told.pop("url"), told.pop("token")) as client:
        make(client, **told, tell=lambda line: print(json.dumps(line), flush=True))


if __name__ == "__main__":
    main()

"""Somebody who reads an answer while it is made: the event stream, as a browser's fetch() reads it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx

CONNECT_AGAIN_SECONDS = 0.1
PATIENCE_SECONDS = 30.0


class Reader(threading.Thread):
    """One device. Reads to the end of the turn; where the stream breaks off it goes on by Last-Event-ID.

    seen: number, text and time of arrival (seconds since 1970) of each chunk, as they came; end: what the stream
    said last; connections: what each was opened with as Last-Event-ID. reload_at: the chunk's number after which the
    page is loaded again, once; patience_seconds: after which it gives up.
    """

    def __init__(
        self,
        url: str,
        token: str,
        session_id: str,
        turn_id: str,
        reload_at: int | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[int, str, float]] = []
        self.end: dict[str, Any] | None = None
        self.connections: list[int] = []
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Accept": "text/event-stream"},
            timeout=patience_seconds,
            trust_env=False,
        )
        self._path = f"/sessions/{session_id}/turns/{turn_id}"
        self._reload_at = reload_at
        self._patience_seconds = patience_seconds
        self._last = 0

    def run(self) -> None:
        """Until the end, or until nothing has come for too long."""
        deadline = time.monotonic() + self._patience_seconds
        with self._http:
            while self.end is None and time.monotonic() < deadline:
                try:
                    self._connect()
                except httpx.TransportError:
                    time.sleep(CONNECT_AGAIN_SECONDS)

    def _connect(self) -> None:
        with self._http.stream("GET", self._path, headers={"Last-Event-ID": str(self._last)}) as answer:
            if answer.status_code != 200:
                time.sleep(CONNECT_AGAIN_SECONDS)
                return
            self.connections.append(self._last)
            rest = b""
            for piece in answer.iter_bytes():
                *blocks, rest = (rest + piece).split(b"\n\n")
                for block in blocks:
                    if self._take(dict(line.split(b": ", 1) for line in block.split(b"\n"))):
                        return

    def _take(self, event: dict[bytes, bytes]) -> bool:
        """Note an event; True if this connection is left now."""
        if b"data" not in event:
            return False  # how soon to connect again, or a sign of life
        value = json.loads(event[b"data"])
        if event.get(b"event") == b"end":
            self.end = value
        else:
            self._last = int(event[b"id"])
            self.seen.append((self._last, value, time.time()))
        if self._last == self._reload_at:
            self._reload_at = None
            return True
        return self.end is not None

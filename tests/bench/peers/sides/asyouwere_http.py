"""asyouwere's functions over HTTP/1.1, a connection kept open for each client."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tests.bench.peers.sides.base import Side, Turn
from tests.bench.peers.sides.connections import compact

IDLE_SECONDS = 3.0
"""After that a connection is not used again: the server closes those that were idle for some seconds."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AsYouWereHttp(Side):
    """Options: port and token. The dsn is not used: this side never sees the database."""

    async def open(self, dsn: str, **options: Any) -> None:
        self._port = options["port"]
        self._token = options["token"]
        self._idle: list[tuple[float, Streams]] = []
        self._ids: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    async def fill(self, session: str, turns: list[Turn]) -> None:
        self._ids[session] = (await self._post("sessions", {"key": session}))["id"]
        state = {
            "messages": [message for turn in turns for message in turn.messages],
            "step": turns[-1].step,
        }
        body = {"session_id": self._ids[session], "state": state}
        self._numbers[session] = (await self._post("session-snapshot-save", body))["number"]

    async def save(self, session: str, turn: Turn) -> None:
        body = {
            "session_id": self._ids[session],
            "base": self._numbers[session],
            "changes": {"append": {"/messages": turn.messages}, "set": {"/step": turn.step}},
        }
        self._numbers[session] = (await self._post("session-snapshot-save", body))["number"]

    async def restore(self, session: str) -> object:
        return (await self._post("session-snapshot-restore", {"session_id": self._ids[session]}))["state"]

    async def restore_old(self, session: str, back: int) -> object | None:
        body = {"session_id": self._ids[session], "number": self._numbers[session] - back}
        state: object = (await self._post("session-snapshot-restore", body))["state"]
        return state

    async def poll(self, session: str) -> bool:
        body = {"session_id": self._ids[session], "since": self._numbers[session]}
        return bool(await self._post("session-snapshot-restore", body))

    async def _post(self, function: str, body: object) -> Any:
        content = compact(body).encode()
        head = (
            f"POST /functions/v1/{function} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        reader, writer = await self._streams()
        writer.write(head.encode() + content)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), None)
        answer = await (_chunked(reader) if length is None else reader.readexactly(length))
        self._idle.append((time.monotonic(), (reader, writer)))
        if not lines[0].startswith("http/1.1 20"):
            raise RuntimeError(f"{function}: {lines[0]}: {answer.decode(errors='replace')[:300]}")
        return json.loads(answer)

    async def _streams(self) -> Streams:
        while self._idle:
            since, streams = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                return streams
            streams[1].close()
        return await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)

    async def close(self) -> None:
        for _, (_, writer) in self._idle:
            writer.close()


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    """An answer that is sent while it is made, as a large restore is."""
    chunks = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        chunks.append((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)
    return b"".join(chunks)

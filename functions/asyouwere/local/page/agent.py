"""The agent on this machine: reads a session, makes an answer, and keeps it as a turn while it is being made.

The page only asks for it and follows the turn like anybody else, so that reloading or closing the page is nothing to
the answer. The agent acts with the token of whoever asked: it can do what they can, and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from asyouwere.client.prices import PRICES, cost_of
from asyouwere.local.page.answers import compose, spoken
from asyouwere.local.page.model import Model, ModelFailed, stream_answer

__all__ = ["Agent"]

_READ_MESSAGES: Final = 50
_FLUSH_SECONDS: Final = 0.25
_LEASE_SECONDS: Final = 10
_CHARACTERS_OF_A_TOKEN: Final = 4
#: Answers under way at once; a page on this machine is one person's.
_MOST_AT_ONCE: Final = 20


class Agent:
    """app: the functions, asked in this process. model: default the answers that need none."""

    def __init__(self, app: ASGIApp, model: Model | None = None) -> None:
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://127.0.0.1/functions/v1",
            timeout=30,
        )
        self._model = model
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, authorization: str, asked: Mapping[str, object]) -> Response:
        """Begin a turn and answer with it (202), or with what the functions refuse; {"session": id, "turn": id}."""
        if len(self._running) >= _MOST_AT_ONCE:
            return JSONResponse({"code": "rate_limited"}, 429, {"Retry-After": "5"})
        turns = f"/sessions/{quote(str(asked.get('session')), safe='')}/turns"
        turn = str(asked.get("turn"))
        headers = {"Authorization": authorization}
        begun = await self._http.post(
            turns,
            headers=headers,
            json={"turn_id": turn, "lease_seconds": _LEASE_SECONDS, "message": {"role": "assistant", "id": turn}},
        )
        if begun.status_code < 300 and begun.json()["created"]:
            runner = _Runner(self._http, headers, str(asked.get("session")), f"{turns}/{quote(turn, safe='')}", turn)
            task = asyncio.create_task(runner.run(self._model))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        status = 202 if begun.status_code < 300 else begun.status_code
        return Response(begun.content, status, media_type=begun.headers.get("content-type"))

    async def close(self) -> None:
        """Leave every answer where it is: its lease runs out, and what is there becomes an interrupted message."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._http.aclose()


@dataclass
class _Runner:
    """One answer, from its first word to its message in the state."""

    http: httpx.AsyncClient
    headers: dict[str, str]
    session: str
    address: str
    turn: str
    seq: int = 1
    read_characters: int = 0
    text: list[str] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[Any] = field(default_factory=list)
    flushed_at: float = field(default_factory=time.monotonic)

    async def run(self, model: Model | None) -> None:
        status, error = "done", None
        learned: dict[str, str] = {}
        try:
            pieces, learned = await self._pieces(model)
            async with aclosing(pieces):
                async for piece in pieces:
                    if not await self._pass_on(piece):
                        status = "stopped"
                        break
            if status == "done" and not await self._flush():
                status = "stopped"
        except ModelFailed as exc:
            status, error = "failed", str(exc)
        except _Over:
            return  # another one has taken over, or the session is gone: nothing more is ours to write
        with suppress(_Over):
            await self._record("local-demo" if model is None else model.name)
        await self._finish(status, learned if status == "done" else {}, error)

    async def _pieces(self, model: Model | None) -> tuple[Any, dict[str, str]]:
        wanted = [{"address": "/messages", "last": _READ_MESSAGES}, {"address": "/memory"}]
        read = await self._post("/session-snapshot-restore", {"session_id": self.session, "addresses": wanted})
        found = {part["address"]: part.get("value") for part in read["parts"]}
        messages, memory = found.get("/messages") or [], found.get("/memory") or {}
        self.read_characters = sum(len(str(message)) for message in messages)
        if model is not None:
            return stream_answer(model, messages), {}
        composed = compose(messages, memory if isinstance(memory, dict) else {})
        return spoken(composed), composed.learned

    async def _pass_on(self, piece: str | dict[str, Any]) -> bool:
        """Keep one piece and flush now and then; False if somebody has asked to stop."""
        if isinstance(piece, str):
            self.text.append(piece)
            if self.waiting and isinstance(self.waiting[-1], str):
                self.waiting[-1] += piece  # one chunk a flush
            else:
                self.waiting.append(piece)
        else:
            self.tools.append({name: value for name, value in piece.items() if name != "type"})
            self.waiting.append(piece)
        due = time.monotonic() - self.flushed_at > _FLUSH_SECONDS
        return await self._flush() if due else True

    async def _flush(self) -> bool:
        flushed = await self._post(f"{self.address}/chunks", {"from_seq": self.seq, "chunks": self.waiting})
        self.seq, self.waiting, self.flushed_at = flushed["next_seq"], [], time.monotonic()
        return not flushed["stop"]

    async def _record(self, model: str) -> None:
        """What the answer cost, before it is finished: whoever sees it can see its cost. Tokens are guessed."""
        tokens = [count // _CHARACTERS_OF_A_TOKEN + 1 for count in (self.read_characters, len("".join(self.text)))]
        usage: dict[str, Any] = {"model": model, "input_tokens": tokens[0], "output_tokens": tokens[1]}
        usage["cost"] = float(cost_of(model, *tokens)) if model in PRICES else 0
        body = {**usage, "turn_id": self.turn, "idempotency_key": self.turn}
        await self._post(f"/sessions/{quote(self.session, safe='')}/usage", body)

    async def _finish(self, status: str, learned: dict[str, str], error: str | None) -> None:
        message: dict[str, Any] = {"role": "assistant", "id": self.turn, "content": "".join(self.text)}
        if self.tools:
            message["tools"] = self.tools
        if status != "done":
            message["status"] = status
        if error is not None:
            message["error"] = error
        topics = {f"/memory/blackboard/{_escaped(topic)}": fact for topic, fact in learned.items()}
        body = {"status": status, "message": message, **({"changes": {"set": topics}} if topics else {})}
        with suppress(_Over):
            await self._post(f"{self.address}/finish", body)

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask until there is an answer that will stay as it is. Raises _Over where there is nothing more to do."""
        for wait in (0.2, 0.5, 1, 2, 4):
            response = await self.http.post(path, headers=self.headers, json=body)
            if response.status_code < 300:
                return response.json()
            if response.status_code not in (408, 429, 500, 502, 503, 504):
                break
            await asyncio.sleep(wait)
        raise _Over


class _Over(Exception):
    """Refused for good: the turn was taken over or has ended, the session is gone, the token has run out."""


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")

"""The server of the voice page: it brings a page's call to the agent. What is said does not come by here."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.stack import Stack

MOST_BYTES = 32_000  # an offer has about 2,000


class Agent:
    """The agent's process: started by a call when none runs, so that one that died is there again with the next."""

    def __init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self._one = asyncio.Lock()

    async def answer(self, offer: dict[str, Any]) -> dict[str, str]:
        """The agent's answer to a page's offer; empty if it can't be answered."""
        async with self._one:
            if self.process is None or self.process.returncode is not None:
                command = [sys.executable, "-m", "examples.voice.agent"]
                pipe = asyncio.subprocess.PIPE
                self.process = await asyncio.create_subprocess_exec(
                    *command, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[2]
                )
            assert self.process.stdin
            assert self.process.stdout
            self.process.stdin.write(json.dumps(offer).encode() + b"\n")
            line = await self.process.stdout.readline()
            return dict(json.loads(line)) if line else {}

    async def close(self) -> None:
        """End it: it ends with its input."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            await self.process.wait()


def create(stack: Stack) -> Starlette:
    """The example's own address. Options: word_seconds and thinking_seconds, how slow the agent is."""
    agent = Agent()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await agent.close()

    async def call(request: Request) -> Response:
        """A page's WebRTC offer, {"sdp", "type"} -> the agent's answer, the same. For whoever is signed in."""
        headers = {"Authorization": request.headers.get("authorization", "")}
        try:
            async with httpx.AsyncClient(trust_env=False) as http:  # the functions know a good token
                who = await http.get(f"{stack.url}/sessions?limit=1", headers=headers)
        except httpx.HTTPError:
            return JSONResponse({"code": "unavailable"}, 503)
        if who.status_code != 200:
            return Response(who.content, who.status_code, media_type=who.headers["content-type"])
        body = await request.body()
        if len(body) > MOST_BYTES:
            return JSONResponse({"code": "too_large"}, 413)
        try:
            offer = dict(json.loads(body))
        except (ValueError, TypeError):
            return JSONResponse({"code": "invalid_request"}, 400)
        settings = {name: value for name, value in stack.options.items() if name.endswith("_seconds")}
        settings.pop("token_seconds", None)
        answer = await agent.answer({**offer, "settings": settings})
        return JSONResponse(answer) if answer else JSONResponse({"code": "unavailable"}, 503)

    app = Starlette(routes=[Route("/call", call, methods=["POST"])], lifespan=lifespan)
    app.state.agent = agent
    return app

"""The server of the voice page: it brings a page's call to the agent. What is said does not come by here.

word_seconds, thinking_seconds: how slow the agent's stand-ins are. debounce_seconds: from the last word to saving it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.stack import Stack


class Offer(BaseModel):
    """What a page calls with; it has about 2,000 characters."""

    sdp: str = Field(max_length=32_000)
    type: Literal["offer"]


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
                here = Path(__file__).parents[2]
                # in a session of its own: Ctrl-C is for the server, with which it ends
                pipes: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "start_new_session": True}
                self.process = await asyncio.create_subprocess_exec(*command, cwd=here, **pipes)
            assert self.process.stdin
            assert self.process.stdout
            self.process.stdin.write(json.dumps(offer).encode() + b"\n")
            line = await self.process.stdout.readline()
            return dict(json.loads(line or "{}"))

    async def close(self) -> None:
        """End it: it ends with its input."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            await self.process.wait()


def create(stack: Stack) -> Starlette:
    """The example's own address."""
    agent = Agent()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await agent.close()

    async def call(request: Request) -> Response:
        """A page's WebRTC offer, {"sdp", "type"} -> the agent's answer, the same. For whoever is signed in."""
        try:
            async with httpx.AsyncClient(trust_env=False) as http:  # the functions know a good token
                headers = {"Authorization": request.headers.get("authorization", "")}
                who = await http.get(f"{stack.url}/sessions?limit=1", headers=headers)
            if who.status_code != 200:
                return Response(who.content, who.status_code, media_type=who.headers["content-type"])
            offer = Offer.model_validate_json(await request.body())
        except httpx.HTTPError:
            return JSONResponse({"code": "unavailable"}, 503)
        except ValidationError:
            return JSONResponse({"code": "invalid_request"}, 422)
        slow = {name: stack.options[name] for name in ("word_seconds", "thinking_seconds") if name in stack.options}
        answer = await agent.answer({**offer.model_dump(), "settings": slow})
        return JSONResponse(answer) if answer else JSONResponse({"code": "unavailable"}, 503)

    app = Starlette(routes=[Route("/call", call, methods=["POST"])], lifespan=lifespan)
    app.state.agent, app.state.page_settings = agent, ("debounce_seconds",)
    return app

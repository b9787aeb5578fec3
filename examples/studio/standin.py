"""Stands for the agent's site, which is somebody else's and has no API: pages for people, and nothing else.

/ has a box for a first prompt, which makes an agent at /agent/<id>; answers come seconds later. It remembers visitors
by a cookie. Of all this the studio knows what is in `settings.py`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from asyouwere.local.ports import LOOPBACK, free_port

__all__ = ["StandIn", "serving_standin"]

_PORT = 8795
_PAGE = Path(__file__).with_name("standin.html")
_LOGIN = """<!doctype html><meta charset="utf-8"><title>Who are you?</title><form method="post" action="/login">
<input name="name" placeholder="Name"> <input name="password" type="password" placeholder="Password"><button>Log in"""


class StandIn:
    """The site. Tests break it: `agents` can be emptied, `is_changed` renames the box, `is_down` answers with 503,
    `is_deaf` loses what is said to an agent.

    answer_seconds: until an agent has answered; lag_seconds: until what was submitted is confirmed; prompts: all that
    was submitted; lost: what was while it was deaf; visits: how often a page was loaded; logins: the names of those
    who logged in.
    """

    def __init__(self, file: Path, asks_login: bool = False) -> None:
        self.agents: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
        self.asks_login = asks_login
        self.is_changed = False
        self.is_down = False
        self.is_deaf = False
        self.answer_seconds = 2.0
        self.lag_seconds = 0.0
        self.prompts: list[str] = []
        self.lost: list[str] = []
        self.visits = 0
        self.logins: list[str] = []
        self._file = file

    def app(self) -> Starlette:
        """The site as an ASGI app."""
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/login", self._login, methods=["GET", "POST"]),
                Route("/agent", self._new, methods=["POST"]),
                Route("/agents", self._list),
                Route("/agent/{id}", self._page),
                Route("/agent/{id}/entries", self._entries, methods=["GET", "POST"]),
            ]
        )

    async def _page(self, request: Request) -> Response:
        self.visits += 1
        if self.is_down:
            return HTMLResponse("<h1>Back soon</h1>", 503)
        visitor = request.cookies.get("visitor")
        if visitor is None and self.asks_login:
            return RedirectResponse("/login", 303)
        if "id" in request.path_params and self._agent(request) is None:
            return HTMLResponse("<h1>There is no such agent</h1>", 404)
        html = _PAGE.read_text()
        if self.is_changed:
            html = html.replace('role="textbox"', 'role="searchbox"')
        response = HTMLResponse(html)
        if visitor is None:
            response.set_cookie("visitor", secrets.token_urlsafe(), httponly=True)
        return response

    async def _login(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        if form.get("password") != ["studio"]:
            return HTMLResponse(_LOGIN)
        self.logins.append(form["name"][0])
        response = RedirectResponse("/", 303)
        response.set_cookie("visitor", secrets.token_urlsafe(), httponly=True)
        return response

    def _agent(self, request: Request) -> dict[str, Any] | None:
        agent = self.agents.get(request.path_params["id"])
        return agent if agent is not None and agent["visitor"] == request.cookies.get("visitor") else None

    async def _new(self, request: Request) -> Response:
        id = secrets.token_hex(6)
        self.agents[id] = {"visitor": request.cookies["visitor"], "said": []}
        await self._say(self.agents[id], (await request.json())["text"])
        return JSONResponse({"path": f"/agent/{id}"})

    async def _list(self, request: Request) -> Response:
        mine = {id: one for id, one in self.agents.items() if one["visitor"] == request.cookies.get("visitor")}
        return JSONResponse([{"path": f"/agent/{id}", "title": one["said"][0]["text"]} for id, one in mine.items()])

    async def _entries(self, request: Request) -> Response:
        agent = self._agent(request)
        if agent is None:
            return JSONResponse([], 404)
        if request.method == "POST":
            text = (await request.json())["text"]
            if self.is_deaf:
                self.lost.append(text)
            else:
                await self._say(agent, text)
        entries = []
        for number, one in enumerate(agent["said"], 1):
            busy = time.time() - one["at"] < self.answer_seconds
            answer = "…" if busy else f"Draft {number} is ready: {one['text']}"
            entries += [{"author": "user", "text": one["text"]}, {"author": "agent", "text": answer, "busy": busy}]
        return JSONResponse(entries)

    async def _say(self, agent: dict[str, Any], text: str) -> None:
        agent["said"].append({"text": text, "at": time.time()})
        self.prompts.append(text)
        self._file.write_text(json.dumps(self.agents))
        await asyncio.sleep(self.lag_seconds)


@contextmanager
def serving_standin(site: StandIn) -> Iterator[str]:
    """The site at a port of its own, in a thread of its own; gives the address of its start page."""
    with socket.create_server((LOOPBACK, free_port(_PORT))) as listener:
        server = uvicorn.Server(uvicorn.Config(site.app(), log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()

"""Stands for an API of characters: it makes the session ids, and remembers for as long as its process lives."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["KEY", "StandIn"]

KEY = "the key of the stand-in"
_LINES = {
    "navigator": "By the stars, that is entry {count} in my log. You said: {text}",
    "gardener": "I planted thought number {count} beside the roses: {text}",
    "librarian": "Shelved under {count}: {text}",
}


@dataclass
class StandIn:
    """The API at /. `sessions`: how many messages each has heard; clear it, and all is forgotten.

    is_moving: each answer comes with another session id. is_forgetful: a new session is forgotten at once.
    """

    sessions: dict[str, int] = field(default_factory=dict)
    made: int = 0
    is_moving: bool = False
    is_forgetful: bool = False

    def app(self) -> Starlette:
        """The API itself."""
        return Starlette(
            routes=[
                Route("/sessions", self._create, methods=["POST"]),
                Route("/sessions/{id}/messages", self._say, methods=["POST"]),
            ]
        )

    async def _create(self, request: Request) -> Response:
        asked = await request.json()
        if request.headers.get("x-api-key") != KEY:
            return JSONResponse({"error": "bad key"}, 401)
        if asked.get("config_id") not in _LINES:
            return JSONResponse({"error": "no such character"}, 422)
        session = f"{asked['config_id']}-{uuid.uuid4()}"
        self.made += 1
        if not self.is_forgetful:
            self.sessions[session] = sum(one["role"] == "user" for one in asked.get("history", []))
        return JSONResponse({"session_id": session}, 201)

    async def _say(self, request: Request) -> Response:
        session, text = request.path_params["id"], (await request.json())["input"]
        if session not in self.sessions:
            return JSONResponse({"error": "no such session"}, 404)
        count = self.sessions.pop(session) + 1
        character = session.partition("-")[0]
        if self.is_moving:
            session = f"{character}-{uuid.uuid4()}"
        self.sessions[session] = count
        return JSONResponse({"reply": _LINES[character].format(count=count, text=text), "session_id": session})

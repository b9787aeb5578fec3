"""The page's addresses: its files, signing in, and the agent, beside the functions at one origin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from asyouwere.errors import Forbidden, Invalid
from asyouwere.local.page.agent import Agent
from asyouwere.local.page.people import TOKEN_SECONDS, claims_for, demo_users, is_from_the_page
from asyouwere.local.tokens import sign_claims
from asyouwere.service.http.responses import problem, to_response

__all__ = ["PAGES", "add_page"]

#: What the page's own router knows; each is the same document.
PAGES: Final = ("/home", "/generate")

#: Nothing but what this origin serves; styles and scripts from files only. Pictures that people put into a message
#: are shown if they are data or come from this origin: a message must not call home.
_SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_ELSEWHERE: Final = Forbidden("forbidden", "Only the page that this server serves may ask for that.")


def add_page(app: Starlette, folder: Path, secret: str, agent: Agent) -> Callable[[Request], Response]:
    """Add the page's routes to the app; returns what answers a browser at `/`.

    folder: of the built page. secret: what tokens are signed with. agent: who answers.
    """

    def document(request: Request) -> Response:
        return FileResponse(folder / "index.html", headers={**_SECURITY, "Cache-Control": "no-cache"})

    async def page(request: Request) -> Response:
        return document(request)

    async def sign_in(request: Request) -> Response:
        if not is_from_the_page(request):
            return to_response(problem(_ELSEWHERE), {})
        asked = await _object(request)
        claims = claims_for(asked) if asked is not None else None
        if claims is None:
            return to_response(
                problem(Invalid("invalid_request", 'Say {"user": "ada"}, "ben", or {"guest": null}.')), {}
            )
        token, expires_at = sign_claims(secret, claims, TOKEN_SECONDS)
        person = {"id": claims["sub"], "name": claims["name"], "guest": "is_anonymous" in claims}
        told = {"token": token, "expires_at": expires_at, "user": person, "people": demo_users()}
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    async def answer(request: Request) -> Response:
        asked = await _object(request)
        if not is_from_the_page(request):
            return to_response(problem(_ELSEWHERE), {})
        if asked is None:
            return to_response(problem(Invalid("invalid_request", 'Say {"session": id, "turn": id}.')), {})
        return await agent.start(request.headers.get("authorization", ""), asked)

    async def carry_on(request: Request) -> Response:
        if not is_from_the_page(request):
            return to_response(problem(_ELSEWHERE), {})
        return await agent.carry_on(request.headers.get("authorization", ""))

    for path in PAGES:
        app.add_route(path, page)
    app.add_route("/page/sign-in", sign_in, methods=["POST"])
    app.add_route("/page/answer", answer, methods=["POST"])
    app.add_route("/page/carry-on", carry_on, methods=["POST"])
    app.mount("/assets", StaticFiles(directory=folder / "assets"))
    return document


async def _object(request: Request) -> dict[str, object] | None:
    """The JSON object of a small request; None if it is none. Forms, which other pages may send, are none."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return None
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > 10_000:
            return None
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

"""The functions as one service under one base URL: deployed (`asyouwere_api` of main.py), in the container image, and
below the page of `asyouwere run`.

    response = await Api(Service()).respond(request)
    app = create_app()                                       # an ASGI app; python -m asyouwere.service serves it
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from asyouwere.errors import NotFound
from asyouwere.service.app import FUNCTIONS_PATH, Service
from asyouwere.service.http.responses import problem, to_response
from asyouwere.service.settings import Settings

__all__ = ["USERS_FUNCTIONS", "Api", "create_app"]

#: What users call. The clean-up is apart: another caller, another right in the database, no business on the internet.
USERS_FUNCTIONS: Final = frozenset({"session-snapshot-save", "session-snapshot-restore", "sessions"})


class Api:
    """Picks the function by the path, /functions/v1/<name>/…; /healthz says that the process runs.

    functions: those that it has; any other address is 404. Nothing here asks the database before a token is checked.
    """

    def __init__(self, service: Service, functions: Collection[str] = USERS_FUNCTIONS) -> None:
        self._service = service
        self._functions = functions

    async def respond(self, request: Request) -> Response:
        """Answer one request to whichever function."""
        path: str = request.scope["path"]
        if path == "/healthz" and request.method in ("GET", "HEAD"):
            return JSONResponse({"status": "ok"})
        name = path.removeprefix(FUNCTIONS_PATH).partition("/")[0]
        if path.startswith(FUNCTIONS_PATH) and name in self._functions:
            return await self._service.respond(name, request)
        there = f"Nothing is at that address; the functions are below {FUNCTIONS_PATH}."
        return to_response(problem(NotFound("not_found", there)), {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same as an ASGI app, for HTTP."""
        response = await self.respond(Request(scope, receive))
        await response(scope, receive, send)


def create_app(settings: Settings | None = None, functions: Collection[str] = USERS_FUNCTIONS) -> Starlette:
    """The service as an ASGI app that lets the database go when it ends.

    settings: from the environment by default; functions: those that it has. Raises SettingsError at once, so that a
    server that lacks one does not start.
    """
    service = Service(settings or Settings.from_environment())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await service.database.close()

    app = Starlette(lifespan=lifespan)
    app.mount("/", Api(service, functions))
    return app

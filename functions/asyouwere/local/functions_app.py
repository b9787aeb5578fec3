"""All functions in one ASGI app, under the paths that Supabase clients use, with health checks beside them.

    uvicorn.run(create_app(Settings.from_environment()))

What answers a request is what is deployed: service/api.py, with the clean-up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from asyouwere.errors import AsYouWereError, NotFound
from asyouwere.local.front_page import front_page
from asyouwere.local.page.agent import Agent
from asyouwere.local.page.model import Model
from asyouwere.local.page.serving import add_page
from asyouwere.service.api import Api
from asyouwere.service.app import FUNCTIONS_PATH, Service
from asyouwere.service.http.responses import problem, to_response
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.service.settings import Settings

__all__ = ["create_app"]


def create_app(settings: Settings, page: Path | None = None) -> Starlette:
    """The app. /: what it is; /healthz: the process runs; /readyz: the database answers (503 if not).

    page: the folder of a built page; a browser gets it at /, and its agent answers in this process.
    """
    service = Service(settings)

    async def readyz(_: Request) -> Response:
        try:
            await service.database.check()
        except AsYouWereError as exc:
            return to_response(problem(exc), {})
        return JSONResponse({"status": "ok"})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        if agent is not None:
            await agent.close()
        await service.database.close()

    async def nothing_there(_: Request, __: Exception) -> Response:
        return to_response(problem(NotFound("not_found")), {})

    app = Starlette(lifespan=lifespan, exception_handlers={404: nothing_there})
    agent, document = None, None
    if page is not None and settings.jwt_secret is not None:
        agent = Agent(app, Model.from_environment())
        document = add_page(app, page, settings.jwt_secret, agent)

    async def root(request: Request) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        return document(request) if document is not None and wants_page else await front_page(request)

    app.add_route("/", root)
    for path in (FUNCTIONS_PATH, FUNCTIONS_PATH.rstrip("/")):
        app.add_route(path, front_page)
    app.add_route("/readyz", readyz)
    app.mount("/", Api(service, FUNCTIONS))
    return app

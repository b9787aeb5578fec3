"""The example on this machine: the proxy as it is deployed, and behind it the stand-in, or another API.

upstream_url: the address of that other one. upstream_seconds: how long an answer may take, by default 30.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette

from examples.characters.main import Characters, Upstream
from examples.characters.stand_in import KEY, StandIn
from examples.stack import Stack


def create(stack: Stack) -> Starlette:
    """The example's addresses: /api/sessions and /api/chat."""
    url = stack.options.get("upstream_url")
    http = httpx.AsyncClient(
        base_url=url or "http://stand-in",
        transport=None if url else httpx.ASGITransport(StandIn().app()),
        headers={"X-Api-Key": KEY},
        timeout=float(stack.options.get("upstream_seconds", 30)),
        trust_env=False,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with http:
            yield

    app = Starlette(lifespan=lifespan)
    app.add_route("/api/{path:path}", Characters(stack.url, Upstream(http)).respond, methods=["GET", "POST"])
    return app

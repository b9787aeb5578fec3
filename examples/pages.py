"""What all examples have in common on the server: the built page under a strict policy, and signing in.

    app = complete(create(stack), dist, stack)
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from asyouwere.local.page.people import is_from_the_page
from examples.stack import Stack

__all__ = ["complete"]

# Scripts and styles from files of this origin only; requests to it and to the functions.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self' {functions}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def complete(app: Starlette, dist: Path, stack: Stack) -> Starlette:
    """The example's app with its page at every path that nothing else answers, /assets/…, and POST /sign-in.

    dist: of the built page. The option token_seconds (default 3600) says how long a page's token is good for. Options
    that the page is to know are named in `app.state.page_settings`; it is told them when it signs in.
    """
    functions = urlsplit(stack.url)
    headers = {
        "Content-Security-Policy": _POLICY.format(functions=f"{functions.scheme}://{functions.netloc}"),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }

    async def page(_: Request) -> Response:
        return FileResponse(dist / "index.html", headers=headers)

    async def sign_in(request: Request) -> Response:
        """{"user": "ada"} -> {"user", "token", "expires_at", "url", "settings"}.

        Stands for your sign-in: it asks no password.
        """
        user = str((await request.json()).get("user"))
        if user not in stack.users or not is_from_the_page(request):
            return JSONResponse({"code": "forbidden"}, 403)
        seconds = float(stack.options.get("token_seconds", 3600))
        answer = {"user": user, "token": stack.token(user, seconds), "expires_at": time.time() + seconds}
        told = getattr(app.state, "page_settings", ())
        settings = {name: value for name, value in stack.options.items() if name in told}
        return JSONResponse({**answer, "url": stack.url, "settings": settings}, headers={"Cache-Control": "no-store"})

    app.add_route("/sign-in", sign_in, methods=["POST"])
    app.mount("/assets", StaticFiles(directory=dist / "assets"))
    app.add_route("/{path:path}", page, methods=["GET"])
    return app

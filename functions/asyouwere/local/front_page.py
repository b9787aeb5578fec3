"""What answers at `/`: whoever opens the functions' address in a browser sees what it is and where to go on."""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from asyouwere.service.app import FUNCTIONS_PATH
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.version import __version__

__all__ = ["front_page"]

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>asyouwere</title>
<meta name="viewport" content="width=device-width">
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}</style>
<h1>asyouwere {version}</h1>
<p>The functions run. They take an access token, so there is nothing more to see in a browser; what each takes and
answers is in its OpenAPI document:</p>
<ul>{items}</ul>
<p>In a terminal: <code>asyouwere keys</code> prints the addresses and keys for clients, <code>asyouwere token</code>
a token, <code>asyouwere doctor</code> whether all is well. <a href="/readyz">Is the database there?</a></p>
</html>
"""


async def front_page(request: Request) -> Response:
    """The page for a browser; the same as JSON for everybody else."""
    documents = {name: f"{FUNCTIONS_PATH}{name}/openapi.json" for name in FUNCTIONS}
    headers = {"Vary": "Accept", "Cache-Control": "no-store"}
    if "text/html" in request.headers.get("accept", ""):
        items = "".join(
            f'<li><a href="{escape(path)}">{escape(name)}</a></li>' for name, path in documents.items()
        )
        return HTMLResponse(_PAGE.format(version=escape(__version__), items=items), headers=headers)
    return JSONResponse({"name": "asyouwere", "version": __version__, "functions": documents}, headers=headers)

"""The studio's server: the live proxy, a WebSocket for each page.

A page says {"action": …}:
    hello (token, session; again with a new token when one is wanted), send_message (there is one in the session; or:
    try again), log_in (name, password), watch, unwatch
and is told {"event": …}:
    agent (stage, upstream, trouble, number, tokens_wanted: see Conversation.news), refused (code)
Pictures of the agent's page are binary messages, JPEG.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import asyouwere
from asyouwere.errors import AsYouWereError, from_code
from asyouwere.local.lock import FolderLock
from examples.stack import Stack
from examples.studio.browser import Browser, find_chromium
from examples.studio.conversation import Conversation
from examples.studio.logins import Logins
from examples.studio.settings import Settings
from examples.studio.standin import StandIn, serving_standin

__all__ = ["create"]


def create(stack: Stack) -> Starlette:
    """The app. Raises LocalError: no Chromium, a setting that is none, or another one runs with this folder."""
    settings = Settings.of(stack.options)
    browser = Browser(settings, find_chromium(settings.chromium), Logins(stack.folder, settings.login_key))
    proxy = Proxy(stack, settings, browser)
    only_one = FolderLock(stack.folder / "proxy.lock")  # two would both send
    only_one.acquire()
    standin = StandIn(stack.folder / "stand-in.json", settings.asks_login)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with nullcontext(settings.site) if settings.site else serving_standin(standin) as proxy.start:
            try:
                yield
            finally:
                await proxy.close()
                only_one.release()

    async def home(request: Request) -> Response:
        return RedirectResponse(f"/home?{request.url.query}")

    async def page_settings(_: Request) -> Response:
        return JSONResponse({"remember": settings.remember})

    routes = [Route("/", home), Route("/settings.json", page_settings), WebSocketRoute("/live", proxy.live)]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.standin = standin  # for the tests, which break it
    return app


class Proxy:
    """The conversations that are open, each with its task, and the pages that look at them."""

    def __init__(self, stack: Stack, settings: Settings, browser: Browser) -> None:
        self.start = ""  # the agent's site
        self._stack = stack
        self._settings = settings
        self._browser = browser
        self._open: dict[str, tuple[Conversation, asyncio.Task[None]]] = {}

    async def live(self, socket: WebSocket) -> None:
        """One page, from its first word to its last."""
        await socket.accept()
        changed = asyncio.Event()
        conversation: Conversation | None = None
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            async for said in socket.iter_json():
                match said:
                    case {"action": "hello", "token": str(token), "session": str(session)}:
                        joined = await self._joined(token, session)
                        if conversation is None:
                            conversation = joined
                            conversation.pages.add(changed)
                            tasks["tell"] = asyncio.create_task(_tell(socket, conversation, changed))
                    case {"action": "send_message"} if conversation:
                        conversation.send_message()
                    case {"action": "log_in", "name": str(name), "password": str(password)} if conversation:
                        conversation.log_in(name, password)
                    case {"action": "watch"} if conversation and "show" not in tasks:
                        tasks["show"] = asyncio.create_task(_show(socket, conversation, self._settings.frame_seconds))
                    case {"action": "unwatch"} if "show" in tasks:
                        tasks.pop("show").cancel()
        except AsYouWereError as error:
            await socket.send_json({"event": "refused", "code": error.code})
            await socket.close()
        except (WebSocketDisconnect, ValueError, KeyError):
            pass  # gone, or nothing that a page of ours says
        finally:
            for task in tasks.values():
                task.cancel()
            if conversation is not None:
                conversation.pages.discard(changed)

    async def _joined(self, token: str, session: str) -> Conversation:
        """The session's conversation, opened if it is not. Raises AsYouWereError."""
        try:
            session = str(uuid.UUID(session))
        except ValueError:
            raise from_code("session_not_found") from None
        # Asked as the person: who may not see the session, or see it only, gets no agent of somebody else's to drive.
        async with asyouwere.open(self._stack.url, token=token, session=session, poll=None, journal=False) as opened:
            user, role = opened.info["user_id"], opened.info["my_role"]
        if role != "owner":
            raise from_code("forbidden")
        while session in self._open and self._open[session][0].is_over:
            await asyncio.wait([self._open[session][1]])
        if session not in self._open:
            if len(self._open) >= self._settings.conversations:
                raise from_code("rate_limited")
            conversation = Conversation(session, user, self._stack, self._browser, self.start)
            self._open[session] = conversation, asyncio.create_task(conversation.run())
            self._open[session][1].add_done_callback(lambda _: self._open.pop(session))
        conversation = self._open[session][0]
        conversation.renew(token)
        return conversation

    async def close(self) -> None:
        """The end of all of it. What was not sent yet is in the sessions."""
        tasks = [task for _, task in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._browser.close()


async def _tell(socket: WebSocket, conversation: Conversation, changed: asyncio.Event) -> None:
    """What there is to tell, as it is now: a page that is slow misses what has changed again meanwhile."""
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            changed.clear()
            await socket.send_json({"event": "agent", **conversation.news})
            if conversation.is_over:
                return await socket.close()  # the page comes again
            await changed.wait()


async def _show(socket: WebSocket, conversation: Conversation, seconds: float) -> None:
    """Pictures of the agent's page, where they differ: one under way at a time, so a slow line gets fewer."""
    last = None
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            picture = await conversation.picture()
            if picture is not None and picture != last:
                await socket.send_bytes(picture)
                last = picture
            await asyncio.sleep(seconds)

"""The studio's server: the live proxy, a WebSocket for each page.

A page says {"action": …}:
    hello (token, session, watch: whether it wants pictures; again with another token when one is wanted),
    send_message (there is one in the session; again: what waits is to be tried again), log_in (name, password)
and is told {"busy", "trouble", "number", "token_wanted"}: see Conversation.news. Pictures of the agent's page are
binary messages, JPEG. Closed with 1008: it is of no use to come again.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import asyouwere
from asyouwere.client.sync import is_passing
from asyouwere.errors import AsYouWereError, from_code
from asyouwere.local.errors import LocalError
from asyouwere.local.lock import FolderLock
from examples.stack import Stack
from examples.studio.browser import Browser
from examples.studio.conversation import Conversation
from examples.studio.logins import Logins
from examples.studio.settings import Settings
from examples.studio.standin import StandIn, serving_standin

__all__ = ["create"]


def create(stack: Stack) -> Starlette:
    """The app. Raises LocalError: no Chromium, a setting that is none, or another one runs with this folder."""
    settings = Settings.of(stack.options)
    if shutil.which(settings.chromium) is None:
        raise LocalError("the studio drives a Chromium: apt-get install chromium, or SET=chromium=/path/to/it")
    proxy = Proxy(stack, Browser(settings, Logins(stack.folder, settings.login_key)))
    standin = StandIn(stack.folder / "stand-in.json", settings.asks_login)
    only_one = FolderLock(stack.folder / "proxy.lock")  # two would both send
    only_one.acquire()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with nullcontext(settings.site) if settings.site else serving_standin(standin) as settings.site:
            try:
                yield
            finally:
                await proxy.close()
                only_one.release()

    app = Starlette(routes=[WebSocketRoute("/live", proxy.live)], lifespan=lifespan)
    app.state.standin = standin  # for the tests, which break it
    return app


class Proxy:
    """The conversations that are open, each with its task, and the pages that look at them."""

    def __init__(self, stack: Stack, browser: Browser) -> None:
        self._stack = stack
        self._browser = browser
        self._open: dict[str, tuple[Conversation, asyncio.Task[None]]] = {}

    async def live(self, socket: WebSocket) -> None:
        """One page, from its first word to its last."""
        await socket.accept()
        conversation: Conversation | None = None
        telling: asyncio.Task[None] | None = None
        try:
            async for said in socket.iter_json():
                match said:
                    case {"action": "hello", "token": str(token), "session": str(session)}:
                        conversation = await self._joined(token, session)
                        telling = telling or asyncio.create_task(self._tell(socket, conversation, said.get("watch")))
                    case {"action": "send_message"} if conversation:
                        conversation.send_message(again=bool(said.get("again")))
                    case {"action": "log_in", "name": str(name), "password": str(password)} if conversation:
                        conversation.log_in(name, password)
        except AsYouWereError as error:
            with suppress(WebSocketDisconnect, RuntimeError):  # it is gone meanwhile
                await socket.send_json({"busy": False, "trouble": {"code": error.code, "text": str(error)}})
                await socket.close(1013 if is_passing(error) else 1008)
        except (WebSocketDisconnect, ValueError, KeyError):
            pass  # gone, or nothing that a page of ours says
        finally:
            if telling is not None:
                telling.cancel()

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
        if session not in self._open:
            if len(self._open) >= self._browser.settings.conversations:
                raise from_code("rate_limited")
            made = Conversation(session, user, self._stack, self._browser)
            self._open[session] = made, asyncio.create_task(made.run())
            self._open[session][1].add_done_callback(lambda _: self._open.pop(session))
        conversation, _ = self._open[session]
        conversation.renew(token)
        return conversation

    async def _tell(self, socket: WebSocket, conversation: Conversation, watches: bool) -> None:
        """What there is to tell, and pictures where they differ. A slow page misses what changes again meanwhile."""
        changed = asyncio.Event()
        conversation.pages.add(changed)
        told, shown = None, None
        try:
            while not conversation.is_over:
                changed.clear()
                if told != conversation.news:
                    told = dict(conversation.news)
                    await socket.send_json(told)
                if watches and (picture := await conversation.picture()) not in (None, shown):
                    shown = picture
                    await socket.send_bytes(picture)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._browser.settings.frame_seconds if watches else None):
                        await changed.wait()
            await socket.close()  # the page comes again
        except (WebSocketDisconnect, RuntimeError):
            pass  # it is gone
        finally:
            conversation.pages.discard(changed)

    async def close(self) -> None:
        """The end of all of it. What was not sent yet is in the sessions."""
        tasks = [task for _, task in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._browser.close()

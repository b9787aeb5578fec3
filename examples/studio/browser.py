"""The agent's web page, driven: one Chromium, a context with a login for each user, a tab for each conversation."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Error, Page, Playwright, TimeoutError, async_playwright

from examples.studio.logins import Logins
from examples.studio.settings import Settings

__all__ = ["Browser", "Error", "Tab", "TimeoutError", "Trouble"]

_PATIENCE = 30_000  # milliseconds
_READ = """all => all.map((one) =>
    ({ author: one.dataset.author, text: one.innerText.trim(), busy: one.ariaBusy === "true" }))"""


class Trouble(Exception):
    """What keeps a message from the agent, as a code, and in words for the person."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Browser:
    """Started when it is first needed, and again when it has died."""

    def __init__(self, settings: Settings, logins: Logins) -> None:
        self.settings = settings
        #: By user, held by who makes a new agent: one at a time.
        self.beginning: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._logins = logins
        self._lock = asyncio.Lock()
        self._playwright: Playwright | None = None
        self._chromium: Chromium | None = None
        self._contexts: dict[str, BrowserContext] = {}

    async def tab(self, user: str) -> Tab:
        """A new tab, with the user's login."""
        async with self._lock:
            if self._chromium is None or not self._chromium.is_connected():
                self._playwright = self._playwright or await async_playwright().start()
                self._contexts.clear()
                self._chromium = await self._playwright.chromium.launch(
                    executable_path=shutil.which(self.settings.chromium),
                    args=["--disable-dev-shm-usage", "--disable-gpu"],
                    chromium_sandbox=os.geteuid() != 0,
                    handle_sigint=False,  # it ends with the server, in order
                    handle_sigterm=False,
                    handle_sighup=False,
                )
            for other in [other for other, context in self._contexts.items() if not context.pages]:
                await self._contexts.pop(other).close()
            if user not in self._contexts:
                self._contexts[user] = await self._chromium.new_context(
                    storage_state=self._logins.read(user), viewport={"width": 1024, "height": 640}
                )
            page = await self._contexts[user].new_page()
            return Tab(page, self.settings, lambda login: self._logins.write(user, login))

    async def close(self) -> None:
        """The end of it."""
        with suppress(Error):
            if self._chromium is not None:
                await self._chromium.close()
        if self._playwright is not None:
            await self._playwright.stop()


class Tab:
    """A tab at the agent's site. What is asked of one raises Error when it has crashed, or its browser has died."""

    def __init__(self, page: Page, settings: Settings, keep_login: Callable[[Any], None]) -> None:
        #: The path of the agent whose page it shows; set it to None to have it loaded anew.
        self.shown: str | None = None
        self._page = page
        self._settings = settings
        self._keep_login = keep_login
        self._asks = "The agent's site asks who you are."
        page.set_default_timeout(settings.box_seconds * 1000)
        page.set_default_navigation_timeout(_PATIENCE)

    @property
    def upstream(self) -> dict[str, Any]:
        """Where the agent is whose page it shows, for the session's ``upstream``."""
        found = re.search(self._settings.agent, self._page.url)
        where = {"path": self.shown, "url": self._page.url, "external_id": found and found[1]}
        return {"provider": self._settings.provider, **where}

    async def show(self, path: str) -> bool:
        """Go to an agent's page; False: it is not there any more. Raises Trouble."""
        if path != self.shown:
            self.shown = None
            self.shown = path if await self._visit(path) and self.upstream["external_id"] else None
        return self.shown is not None

    async def agents(self) -> list[str]:
        """Go to the start page: the paths of the agents that it links to. Raises Trouble."""
        self.shown = None
        await self._visit(self._settings.site)
        await self._ready()
        await self._logged_in()  # with another cookie the agent that is made now would be somebody else's
        links = self._page.locator(self._settings.links)
        return cast(list[str], await links.evaluate_all("links => links.map((link) => link.pathname)"))

    async def find(self, agents: Iterable[str], text: str) -> bool:
        """Show the one of these agents whose transcript begins with a text; if none does, the start page."""
        for path in agents:
            if await self.show(path):
                await self._ready()
                if [entry["text"].split() for entry in (await self.entries())[:1]] == [text.split()]:
                    return True
        await self.agents()
        return False

    async def log_in(self, name: str, password: str) -> None:
        """Type what the person told us into the site's own form, if it still asks. Raises Trouble."""
        self.shown = None
        await self._page.goto(self._settings.site)
        box = self._page.locator(self._settings.login_password)
        if not await box.count():
            return
        await self._page.locator(self._settings.login_name).fill(name)
        await box.fill(password)
        with suppress(TimeoutError):
            async with self._page.expect_navigation():
                await box.press("Enter")
        if await box.count():
            self._asks = "The agent's site did not take this name and password."
            raise Trouble("login_needed", self._asks)
        await self._logged_in()

    async def said(self) -> int:
        """How many entries of the transcript are the person's, once the page is ready for more. Raises Trouble."""
        await self._ready()
        return await self._page.locator(self._settings.said).count()

    async def type(self, text: str) -> None:
        """Put a text into the box."""
        await self._page.locator(self._settings.box).fill(text)

    async def submit(self) -> None:
        """Press the button. Raises TimeoutError: perhaps it was pressed."""
        await self._page.locator(self._settings.submit).click(timeout=_PATIENCE)

    async def until_said(self, count: int) -> None:
        """Wait until the person has so many entries in the transcript. Raises TimeoutError."""
        await self._page.locator(self._settings.said).nth(count - 1).wait_for()

    async def until_agent(self) -> None:
        """Wait until the site has made an agent and shows its page. Raises TimeoutError."""
        await self._page.wait_for_url(re.compile(self._settings.agent), wait_until="commit")
        self.shown = urlsplit(self._page.url).path

    async def entries(self) -> list[dict[str, Any]]:
        """The transcript as far as the page shows it: author (user or agent), text, busy while it is written."""
        return cast(list[dict[str, Any]], await self._page.locator(self._settings.entry).evaluate_all(_READ))

    async def picture(self) -> bytes | None:
        """The page as it looks now, a JPEG; None if it is too large."""
        jpeg = await self._page.screenshot(type="jpeg", quality=60)
        return jpeg if len(jpeg) <= self._settings.frame_bytes else None

    async def close(self) -> None:
        """Close it, if it is there."""
        with suppress(Error):
            await self._page.close()

    async def _visit(self, path: str) -> bool:
        """Go to a page of the site; False: it is gone. Raises Trouble."""
        # The path alone: whoever may write it could else send this browser anywhere in our network, and watch.
        address = urljoin(self._settings.site, "/" + urlsplit(path).path.lstrip("/"))
        answer = await self._page.goto(address, wait_until="domcontentloaded")
        if await self._page.locator(self._settings.login_password).count():
            raise Trouble("login_needed", self._asks)
        status = 200 if answer is None else answer.status
        if status >= 400 and status not in (404, 410):  # only these say that it is gone
            raise Trouble("site_failed", f"The agent's site answered with {status}; trying again.")
        return status < 400

    async def _ready(self) -> None:
        """Wait for the box, and for the button, which shows when the page has loaded. Raises Trouble."""
        for setting, what in (("box", "text box"), ("submit", "button to send")):
            selector = getattr(self._settings, setting)
            try:
                await self._page.locator(selector).wait_for()
            except TimeoutError:
                text = (
                    f"The agent's page shows no {what} ({selector}) within {self._settings.box_seconds:g} s. If the"
                    f" site has changed, the setting “{setting}” has to change, too. Your message is kept."
                )
                raise Trouble(f"{setting}_not_found", text) from None

    async def _logged_in(self) -> None:
        """Keep the cookies, which may be others now."""
        self._keep_login(await self._page.context.storage_state())

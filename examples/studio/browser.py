"""The agent's web page, driven: one Chromium, a context with a login for each user, a tab for each conversation."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from contextlib import suppress
from typing import NamedTuple, cast
from urllib.parse import urljoin, urlsplit

from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Error, Page, Playwright, TimeoutError, ViewportSize, async_playwright

from asyouwere.local.errors import LocalError
from examples.studio.logins import Logins
from examples.studio.settings import Settings

__all__ = ["Browser", "Entry", "Error", "Tab", "Trouble", "find_chromium"]

_VIEW: ViewportSize = {"width": 1024, "height": 640}


class Trouble(Exception):
    """What keeps a message from the agent, as a code, and in words for the person."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Entry(NamedTuple):
    """One of the agent's transcript. author: user or agent; busy: still being written."""

    author: str
    text: str
    busy: bool


def find_chromium(named: str | None) -> str:
    """The program. Raises LocalError, which says what to install."""
    for name in [named] if named else ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]:
        if found := shutil.which(name):
            return found
    raise LocalError("the studio drives a Chromium: apt-get install chromium, or name one: SET=chromium=/path/to/it")


class Browser:
    """Started when it is first needed, and again when it has died."""

    def __init__(self, settings: Settings, program: str, logins: Logins) -> None:
        self.settings = settings
        self._program = program
        self._logins = logins
        self._lock = asyncio.Lock()
        self._playwright: Playwright | None = None
        self._chromium: Chromium | None = None
        self._contexts: dict[str, BrowserContext] = {}
        self._beginning: dict[str, asyncio.Lock] = {}

    async def tab(self, user: str, start: str) -> Tab:
        """A new tab, with the user's login."""
        async with self._lock:
            if self._chromium is None or not self._chromium.is_connected():
                self._playwright = self._playwright or await async_playwright().start()
                self._contexts.clear()
                self._chromium = await self._playwright.chromium.launch(
                    executable_path=self._program,
                    args=["--disable-dev-shm-usage", "--disable-gpu"],
                    chromium_sandbox=os.geteuid() != 0,
                    handle_sigint=False,
                    handle_sigterm=False,
                    handle_sighup=False,
                )
            if user not in self._contexts:
                self._contexts[user] = await self._chromium.new_context(
                    storage_state=self._logins.read(user), viewport=_VIEW
                )
            return Tab(await self._contexts[user].new_page(), self.settings, start)

    def beginning(self, user: str) -> asyncio.Lock:
        """Held by who makes a new agent for a user: one at a time."""
        return self._beginning.setdefault(user, asyncio.Lock())

    async def keep_login(self, user: str) -> None:
        """After something that may have changed it."""
        self._logins.write(user, await self._contexts[user].storage_state())

    async def close(self) -> None:
        """The end of it."""
        with suppress(Error):
            if self._chromium is not None:
                await self._chromium.close()
        if self._playwright is not None:
            await self._playwright.stop()


class Tab:
    """A tab at the agent's site. Whatever is asked of one whose browser has died raises Error."""

    def __init__(self, page: Page, settings: Settings, start: str) -> None:
        self._page = page
        self._settings = settings
        self._start = start
        self._seconds = settings.box_seconds * 1000
        #: The path of the agent whose page it shows.
        self.shown: str | None = None
        self._crashed = False
        page.on("crash", lambda _: setattr(self, "_crashed", True))

    @property
    def is_alive(self) -> bool:
        """Whether it can be used."""
        return not (self._crashed or self._page.is_closed())

    @property
    def url(self) -> str:
        """Where it is."""
        return self._page.url

    @property
    def agent(self) -> str | None:
        """The id of the agent whose page it shows."""
        found = re.search(self._settings.agent, self._page.url)
        return found and found[1]

    async def show(self, path: str) -> bool:
        """Go to an agent's page; False: it is not there any more. Raises Trouble."""
        self.shown = None
        # The path alone: whoever may write it could else send this browser anywhere in our network, and watch.
        address = urljoin(self._start, "/" + urlsplit(path).path.lstrip("/"))
        answer = await self._page.goto(address, wait_until="domcontentloaded")
        if await self._page.locator(self._settings.login_password).count():
            raise Trouble("login_needed", "The agent's site asks who you are.")
        status = 200 if answer is None else answer.status
        if status >= 400 and status not in (404, 410):  # only these say that it is gone
            raise Trouble("site_failed", f"The agent's site answered with {status}; trying again.")
        if status < 400 and self.agent is not None:
            self.shown = path
        return self.shown is not None

    async def agents(self) -> list[str]:
        """Go to the start page: the paths of the agents that it links to. Raises Trouble."""
        await self.show(self._start)
        await self.ready()
        links = self._page.locator(self._settings.links)
        return cast(list[str], await links.evaluate_all("links => links.map((link) => link.pathname)"))

    async def log_in(self, name: str, password: str) -> None:
        """Type what the person told us into the site's own form, if it still asks. Raises Trouble."""
        try:
            await self.show(self._start)
        except Trouble as trouble:
            if trouble.code != "login_needed":
                raise
            await self._page.locator(self._settings.login_name).fill(name)
            password_box = self._page.locator(self._settings.login_password)
            await password_box.fill(password)
            await password_box.press("Enter")
            try:
                await password_box.wait_for(state="detached", timeout=self._seconds)
            except TimeoutError:
                raise Trouble("login_needed", "The agent's site did not take this name and password.") from None

    async def ready(self) -> None:
        """Wait for the box, and for the button, which shows when the page has loaded. Raises Trouble."""
        for setting, what in (("box", "text box"), ("submit", "button to send")):
            selector = getattr(self._settings, setting)
            try:
                await self._page.locator(selector).wait_for(timeout=self._seconds)
            except TimeoutError:
                text = (
                    f"The agent's page shows no {what} ({selector}) within {self._settings.box_seconds:g} s. If the"
                    f" site has changed, the setting “{setting}” has to change, too. Your message is kept."
                )
                raise Trouble(f"{setting}_not_found", text) from None

    async def type(self, text: str) -> None:
        """Put a text into the box."""
        await self._page.locator(self._settings.box).fill(text)

    async def submit(self) -> None:
        """Press the button."""
        await self._page.locator(self._settings.submit).click(timeout=self._seconds)

    async def until_agent(self) -> bool:
        """Wait until the site has made an agent and shows its page."""
        with suppress(TimeoutError):
            await self._page.wait_for_url(re.compile(self._settings.agent), timeout=2 * self._seconds)
            self.shown = urlsplit(self._page.url).path
        return self.shown is not None

    async def until_said(self, count: int) -> bool:
        """Wait until the transcript has so many entries of the user."""
        deadline = time.monotonic() + self._settings.box_seconds
        while await self.said() < count:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True

    async def said(self) -> int:
        """How many entries of the transcript are the user's."""
        return sum(entry.author == "user" for entry in await self.entries())

    async def begins(self, text: str) -> bool:
        """Whether the transcript begins with this."""
        await self.ready()
        return [entry.text.split() for entry in (await self.entries())[:1]] == [text.split()]

    async def entries(self) -> list[Entry]:
        """The transcript as far as the page shows it."""
        found = await self._page.locator(self._settings.entry).evaluate_all(
            "all => all.map((one) => [one.dataset.author, one.innerText.trim(), one.ariaBusy === 'true'])"
        )
        return [Entry(*one) for one in found]

    async def picture(self) -> bytes | None:
        """The page as it looks now, a JPEG; None if it is too large however bad."""
        for quality in (60, 25):
            jpeg = await self._page.screenshot(type="jpeg", quality=quality)
            if len(jpeg) <= self._settings.frame_bytes:
                return jpeg
        return None

    async def close(self) -> None:
        """Close it, if it is there."""
        with suppress(Error):
            await self._page.close()

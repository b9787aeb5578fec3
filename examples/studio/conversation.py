"""One session, and its agent at the site.

Pages append what the person says; one task here hands it to the agent and appends what that answers. In the state:

    messages     [{"id", "role", "content"}]: what was said, by whom
    deliveries   how far each message has come to the agent: see asyouwere.client.outbox

The agent's address is in the session's ``upstream``: provider, path, url, external_id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import takewhile
from typing import Any

import asyouwere
from asyouwere.client.outbox import Delivery, Outbox
from asyouwere.client.sync import is_passing
from asyouwere.errors import AsYouWereError
from examples.stack import Stack
from examples.studio.browser import Browser, Error, Tab, Trouble
from examples.studio.browser import TimeoutError as NotInTime

__all__ = ["Conversation"]

_LOG = logging.getLogger("studio")


class Conversation:
    """All that is done for a session, by one task, so nothing is sent twice at once.

    news: what pages show. pages: an event for each, set when that has changed. The session is read and saved with the
    person's own token, so the database decides what may be done here.
    """

    def __init__(self, session: str, user: str, stack: Stack, browser: Browser) -> None:
        self.pages: set[asyncio.Event] = set()
        self.is_over = False
        self.news: dict[str, Any] = {
            "busy": True,  # something is on its way to the agent, or it is at work
            "trouble": None,  # why a message waits: code, text
            "number": 0,  # of the session's snapshot that has what was read
            "token_wanted": False,  # the one that is here ends soon, or was refused
        }
        self._session = session
        self._user = user
        self._stack = stack
        self._browser = browser
        self._settings = browser.settings
        self._token = self._used = ""
        self._wake = asyncio.Event()
        self._login: tuple[str, str] | None = None
        self._unconfirmed: str | None = None  # the id of a message that was submitted, and does not show
        self._tab: Tab | None = None

    # -- what a page asks for --------------------------------------------------------------------------------------

    def renew(self, token: str) -> None:
        """A new token of the person's."""
        self._token = token
        self._tell(token_wanted=False)

    def send_message(self, again: bool = False) -> None:
        """Look now for what is to be sent; again: also for what was submitted, and does not show."""
        if again:
            self._unconfirmed = None
        self._wake.set()

    def log_in(self, name: str, password: str) -> None:
        """Type this into the site's form; it is not kept."""
        self._login = (name, password)
        self._wake.set()

    async def picture(self) -> bytes | None:
        """The agent's page as it looks; None: there is nothing to see."""
        with suppress(Error):
            return await self._tab.picture() if self._tab else None
        return None

    # -- the task --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until nobody has looked for a while, or the session is gone."""
        # Without a journal: what is noted is saved before it is acted on, and what is lost is read again.
        opening = asyouwere.open(self._stack.url, token=self._lent, session=self._session, poll=None, journal=False)
        try:
            async with opening as session:
                await self._work(session)
        except AsYouWereError as error:
            self._tell(trouble={"code": error.code, "text": str(error)})
        finally:
            self.is_over = True
            self._tell(busy=False)
            await self._leave()

    def _lent(self) -> str:
        """The person's token. Whoever asks again for the same one needs another."""
        if self._used == self._token:
            self._tell(token_wanted=True)
        self._used = self._token
        return self._token

    async def _work(self, session: asyouwere.Session) -> None:
        """Look again and again; what went wrong is told, and tried again."""
        failures, seen = 0, time.monotonic()
        while self.pages or time.monotonic() - seen < self._settings.linger_seconds:
            if self.pages:
                seen = time.monotonic()
            self._wake.clear()
            is_busy, trouble = False, None
            try:
                is_busy = await self._look(session)
            except AsYouWereError as error:
                if not is_passing(error):
                    raise
                trouble = {"code": error.code, "text": str(error)}
            except Trouble as error:
                trouble = {"code": error.code, "text": str(error)}
                if self._tab is not None:
                    self._tab.shown = None  # the site may be another one by now
            except Error as error:
                trouble = {"code": "site_unreachable", "text": "The agent's page can't be reached; trying again."}
                _LOG.warning("the agent's page failed: %s", type(error).__name__)  # its text may have what was typed
                await self._leave()
            failures = failures + 1 if trouble else 0
            self._tell(busy=is_busy, trouble=trouble, number=session.number)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_seconds * 2 ** min(failures, 4)):
                    await self._wake.wait()

    async def _look(self, session: asyouwere.Session) -> bool:
        """Send what is to be sent, read what is to be read. Returns whether the agent is at work. Raises Trouble."""
        await session.refresh()
        tab = self._tab = self._tab or await self._browser.tab(self._user)
        if self._login is not None:
            (name, password), self._login = self._login, None
            await tab.log_in(name, password)
        outbox = Outbox(session)
        while (delivery := outbox.next()) is not None:
            self._tell(busy=True)
            await self._send(session, tab, delivery)
            await delivery.done()
        return await self._read(session, tab)

    async def _leave(self) -> None:
        """Close the tab; the next look opens another one."""
        tab, self._tab = self._tab, None
        if tab is not None:
            await tab.close()

    def _agent(self, session: asyouwere.Session) -> str | None:
        """The path of the agent's page. It is the person's to change, so it is no more than that: see Tab.show."""
        upstream = session.info["upstream"] or {}
        return str(upstream.get("path")) if upstream.get("provider") == self._settings.provider else None

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _send(self, session: asyouwere.Session, tab: Tab, delivery: Delivery) -> None:
        """Hand a message to the agent; to a new one if there is none, or if it is gone. Raises Trouble."""
        agent = self._agent(session)
        if agent is None or not await tab.show(agent):
            await self._begin(session, tab, delivery)
            return
        said = await tab.said()
        # Noted by one who died in the middle, and there is more now: it has arrived.
        if delivery.note is None or said <= delivery.note.get("said", 0):
            await self._submit(tab, delivery, {"said": said}, lambda: tab.until_said(said + 1))

    async def _begin(self, session: asyouwere.Session, tab: Tab, delivery: Delivery) -> None:
        """As the first prompt, which makes the agent. Where that is is saved before anything else is done."""
        before = (delivery.note or {}).get("agents")
        if before is None:
            self._unconfirmed = None  # what an agent that is lost had got is lost, too
        async with self._browser.beginning[self._user]:  # so that a new one that is listed is this one
            agents = await tab.agents()
            # Noted by one who died in the middle, and there is one more now: that is the one it had made.
            made = [] if before is None else [agent for agent in agents if agent not in before]
            if not made or not await tab.find(made, str(delivery.message.get("content"))):
                await self._submit(tab, delivery, {"agents": agents}, tab.until_agent)
            was_lost = self._agent(session) is not None
            await session.change(upstream=tab.upstream)
        if was_lost:
            text = "The agent had lost this conversation. A new one goes on, which knows what is said from here."
            session.append({"id": f"{tab.shown}:new", "role": "system", "content": text})

    async def _submit(
        self, tab: Tab, delivery: Delivery, note: dict[str, Any], shows: Callable[[], Awaitable[None]]
    ) -> None:
        """Once: what the site does not show then is looked for again, and sent again when the person says so."""
        if delivery.id != self._unconfirmed:
            await tab.type(str(delivery.message.get("content")))
            await delivery.begin(note)
            try:
                await tab.submit()
                return await shows()
            except NotInTime:
                self._unconfirmed = delivery.id
        raise Trouble("not_confirmed", "The agent's page does not show your message: look at it, then send it again.")

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read(self, session: asyouwere.Session, tab: Tab) -> bool:
        """Append what the agent has said since. Returns whether it says more. Raises Trouble."""
        agent = self._agent(session)
        if agent is None:
            return False
        if not await tab.show(agent):
            raise Trouble("agent_lost", "The agent is gone from its site. Your next message begins a new one.")
        entries = await tab.entries()
        done = list(takewhile(lambda entry: not entry["busy"], entries))
        known = {message.get("id") for message in session.get("/messages", []) if isinstance(message, dict)}
        answers = [
            {"id": id, "role": "assistant", "content": entry["text"]}
            for place, entry in enumerate(done)
            if entry["author"] == "agent" and (id := f"{agent}:{place}") not in known
        ]
        if answers:
            session.append(*answers)
            await session.save_now()
        return len(done) < len(entries)

    def _tell(self, **news: Any) -> None:
        self.news |= news
        for page in self.pages:
            page.set()

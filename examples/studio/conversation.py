"""One session, and its agent at the site.

The session is the outbox: pages append what the person says, each message with an id, and one task here hands them to
the agent in their order and appends what it answers. In the state:

    messages     [{"id", "role", "content"}]: what was said, by whom
    deliveries   by a message's id: {"status": "sending", …} from just before it is submitted; {"status": "sent"}.
                 Who finds "sending" after a crash looks whether it has arrived before submitting it again.
    read         {"agent", "entries"}: how many entries of which agent's transcript were read

The agent's address is in the session's ``upstream``: provider, path, url, external_id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from itertools import takewhile
from typing import Any

import asyouwere
from asyouwere.client.sync import is_passing
from asyouwere.errors import AsYouWereError, from_code
from examples.stack import Stack
from examples.studio.browser import Browser, Error, Tab, Trouble

__all__ = ["Conversation"]

_LOG = logging.getLogger("studio")
# After these it is tried again by itself; after all else when the person says so.
_PASSING = {"site_failed", "site_unreachable", "offline", "agent_lost"}
_GONE = {"session_not_found", "session_expired"}


class Conversation:
    """All that is done for a session, by one task, so nothing is sent twice at once.

    news: what pages show. pages: an event for each, set when that has changed. The session is read and saved with the
    person's own token, so the database decides what may be done here.
    """

    def __init__(self, id: str, user: str, stack: Stack, browser: Browser, start: str) -> None:
        self.id = id
        self.user = user
        self.pages: set[asyncio.Event] = set()
        self.is_over = False
        self.news: dict[str, Any] = {
            "stage": "opening",  # or sending, answering, ready, trouble
            "upstream": None,  # where the agent is: provider, path, url, external_id
            "trouble": None,  # why a message waits: code, text
            "number": 0,  # of the session's snapshot that has what was read
            "tokens_wanted": 0,  # grows when the token ends soon, or was refused
        }
        self._stack = stack
        self._browser = browser
        self._start = start
        self._settings = browser.settings
        self._token = self._used = ""
        self._wake = asyncio.Event()
        self._held = False  # the person has to do something first
        self._login: tuple[str, str] | None = None
        self._tab: Tab | None = None
        self._missing: str | None = None  # an agent that is gone
        self._picture: tuple[float, bytes | None] = (0.0, None)
        self._picturing = asyncio.Lock()

    # -- what a page asks for --------------------------------------------------------------------------------------

    def renew(self, token: str) -> None:
        """A new token of the person's."""
        self._token = token

    def send_message(self) -> None:
        """There is something new to send, or what could not be sent is to be tried again."""
        if self._held and self._tab is not None:
            self._tab.shown = None  # the site may be another one by now
        self._held = False
        self._wake.set()

    def log_in(self, name: str, password: str) -> None:
        """Type this into the site's form; it is not kept."""
        self._login = (name, password)
        self.send_message()

    async def picture(self) -> bytes | None:
        """The agent's page as it looks; for all who watch one in `frame_seconds`. None: there is nothing to see."""
        async with self._picturing:
            taken, jpeg = self._picture
            if self._tab is not None and time.monotonic() - taken >= self._settings.frame_seconds:
                with suppress(Error):
                    jpeg = await self._tab.picture()
                self._picture = (time.monotonic(), jpeg)
            return jpeg

    # -- the task --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until nobody has looked for a while, or the session is gone."""
        folder = self._stack.folder / "journal"
        opening = asyouwere.open(self._stack.url, token=self._asked, session=self.id, poll=None, journal=folder)
        try:
            async with opening as session:
                if "upstream" not in session.info:  # opened from the journal alone
                    raise from_code("database_unavailable")
                await self._work(session)
        except AsYouWereError as error:
            self._tell(stage="trouble", trouble={"code": error.code, "text": str(error)})
        finally:
            self.is_over = True
            for page in self.pages:
                page.set()
            if self._tab is not None:
                await self._tab.close()

    def _asked(self) -> str:
        """The token. Whoever asks again for the same one needs another: it ends soon, or was refused."""
        if self._used == self._token:
            self._tell(tokens_wanted=self.news["tokens_wanted"] + 1)
        self._used = self._token
        return self._token

    async def _work(self, session: asyouwere.Session) -> None:
        failures, wanted = 0, time.monotonic()
        while time.monotonic() - wanted < self._settings.linger_seconds:
            if self.pages or self.news["stage"] == "answering":
                wanted = time.monotonic()
            self._wake.clear()
            try:
                await self._look(session)
                failures = 0
            except Trouble as trouble:
                self._troubled(trouble)
            except Error as error:
                failures += 1
                _LOG.warning("the agent's page failed: %s", type(error).__name__)  # its text may have what was typed
                if self._tab is not None and self._tab.is_alive:
                    self._troubled(Trouble("site_unreachable", "The agent's site can't be reached; trying again."))
                else:
                    self._tell(stage="opening", trouble=None)
                    if failures < 5:
                        self._wake.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._settings.poll_seconds)
        self.is_over = True

    async def _look(self, session: asyouwere.Session) -> None:
        """Send what is to be sent, read what is to be read."""
        try:
            await session.refresh()
        except AsYouWereError as error:
            if error.code in _GONE:
                raise
        try:
            if self._login is not None:
                (name, password), self._login = self._login, None
                await (await self._opened()).log_in(name, password)
                await self._browser.keep_login(self.user)
            while not self._held and (message := _next(session)) is not None:
                await self._send(session, message)
            await self._read(session)
        except AsYouWereError as error:
            raise Trouble("offline" if is_passing(error) else error.code, str(error)) from error

    async def _opened(self) -> Tab:
        if self._tab is None or not self._tab.is_alive:
            self._tab = None
            self._tab = await self._browser.tab(self.user, self._start)
        return self._tab

    async def _shown(self, agent: str | None) -> Tab | None:
        """The tab, at the agent's page; None: there is no agent, or not any more."""
        tab = await self._opened()
        return tab if agent is not None and (tab.shown == agent or await tab.show(agent)) else None

    def _agent(self, session: asyouwere.Session) -> str | None:
        """The path of the agent's page. It is the person's to change, so it is no more than that: see Tab.show."""
        upstream = session.info["upstream"] or {}
        return str(upstream.get("path")) if upstream.get("provider") == self._settings.provider else None

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _send(self, session: asyouwere.Session, message: dict[str, Any]) -> None:
        """Hand a message to the agent; to a new one if there is none, or if it is gone. Raises Trouble."""
        self._tell(stage="sending")
        if not await self._say(session, message):
            await self._begin(session, message)
        await _note(session, message, {"status": "sent"})

    async def _say(self, session: asyouwere.Session, message: dict[str, Any]) -> bool:
        """In the agent's transcript. False: there is no agent, or not any more."""
        agent = self._agent(session)
        tab = await self._shown(agent)
        if agent is None or tab is None:
            return False
        await tab.ready()
        said, begun = await tab.said(), _delivery(session, message)
        if begun and said > begun.get("said", 0):
            return True  # whoever died in the middle had submitted it
        await tab.type(message["content"])
        await _note(session, message, {"status": "sending", "said": said})
        await tab.submit()
        if await tab.until_said(said + 1):
            return True
        if not await tab.show(agent):
            return False
        if await tab.until_said(said + 1):
            return True
        raise Trouble("not_confirmed", "The agent's page does not show your message: look at it, then send again.")

    async def _begin(self, session: asyouwere.Session, message: dict[str, Any]) -> None:
        """As the first prompt, which makes the agent. Where that is is kept before anything else is done."""
        tab, before = await self._opened(), self._agent(session)
        async with self._browser.beginning(self.user):  # so that a new one that is listed is this one
            agents, begun = await tab.agents(), _delivery(session, message)
            await self._browser.keep_login(self.user)  # with another cookie the new agent would be somebody else's
            if not await self._made_before(tab, agents, begun.get("agents"), message["content"]):
                await tab.type(message["content"])
                await _note(session, message, {"status": "sending", "agents": agents})
                await tab.submit()
                if not await tab.until_agent():
                    raise Trouble("not_confirmed", "The agent's site has not begun a session with your message.")
            made = {"provider": self._settings.provider, "path": tab.shown, "url": tab.url, "external_id": tab.agent}
            await session.change(upstream=made)
        session.set("/read", {"agent": tab.agent, "entries": 0})
        if before is not None:
            text = "The agent had lost this conversation. A new one goes on, which knows what is said from here."
            session.append({"id": f"{tab.agent}:new", "role": "system", "content": text})

    async def _made_before(self, tab: Tab, agents: list[str], listed: list[str] | None, text: str) -> bool:
        """Whether somebody who died in the middle had made the agent: shows it then, else the start page."""
        if listed is None:
            return False
        for url in agents:
            if url not in listed and await tab.show(url) and await tab.begins(text):
                return True
        await tab.agents()
        return False

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read(self, session: asyouwere.Session) -> None:
        """Append what the agent has said since."""
        agent, entries, done = self._agent(session), [], []
        if agent is not None:
            if agent == self._missing:
                return
            tab = await self._shown(agent)
            if tab is None:
                self._missing = agent
                raise Trouble("agent_lost", "The agent is gone from its site. Your next message begins a new one.")
            entries = await tab.entries()
            done = list(takewhile(lambda entry: not entry.busy, entries))
            read = session.get("/read", {})
            first = read["entries"] if read.get("agent") == tab.agent else 0
            if len(done) > first:
                answers = [
                    {"id": f"{tab.agent}:{place}", "role": "assistant", "content": entry.text}
                    for place, entry in enumerate(done)
                    if place >= first and entry.author == "agent"
                ]

                def take(state: dict[str, Any]) -> None:
                    # Together, so they are saved together: an answer that is here was read, and is not read again.
                    state.setdefault("messages", []).extend(answers)
                    state["read"] = {"agent": tab.agent, "entries": len(done)}

                session.update(take)
                await session.save_now()
        self._tell(number=session.number, upstream=session.info["upstream"])
        if not self._held:
            self._tell(stage="answering" if len(done) < len(entries) else "ready", trouble=None)

    # -- telling ---------------------------------------------------------------------------------------------------

    def _troubled(self, trouble: Trouble) -> None:
        self._held = trouble.code not in _PASSING
        self._tell(stage="trouble", trouble={"code": trouble.code, "text": str(trouble)})

    def _tell(self, **news: Any) -> None:
        if self.news != (changed := {**self.news, **news}):
            self.news = changed
            for page in self.pages:
                page.set()


def _delivery(session: asyouwere.Session, message: dict[str, Any]) -> dict[str, Any]:
    """How far a message has come to the agent; {}: nobody has tried."""
    found: dict[str, Any] = session.state.get("deliveries", {}).get(message["id"], {})
    return found


async def _note(session: asyouwere.Session, message: dict[str, Any], delivery: dict[str, Any]) -> None:
    """How far it has come, saved: whoever goes on after a crash, here or elsewhere, reads it."""
    session.update(lambda state: state.setdefault("deliveries", {}).update({message["id"]: delivery}))
    await session.save_now()


def _next(session: asyouwere.Session) -> dict[str, Any] | None:
    """The first message that the agent has not got."""
    for message in session.state.get("messages", []):
        match message:  # others may write here, too
            case {"role": "user", "id": str(), "content": str()}:
                if _delivery(session, message).get("status") != "sent":
                    return dict(message)
    return None

"""The small app of pages/app.ts, in a tab."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.functions.api import BASE, Person
from tests.web.chromium.line import Line

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

# A machine with two cores runs much else beside this.
PATIENCE = 30


class App:
    """The app for one person and session, in as many tabs as a test wants. Options are those of `open`."""

    def __init__(self, pages: str, line: Line, person: Person, session: str | None = None, **options: Any) -> None:
        self.pages = pages
        self.person = person
        self.line = line
        self.session = session or person.session()
        given = {"url": line.url + BASE, "token": person.token, "session": self.session, **options}
        self.url = f"{pages}/app.html#{quote(json.dumps(given))}"

    def open(self, context: BrowserContext, ready: bool = True) -> Page:
        """A tab with it."""
        page = context.new_page()
        page.goto(self.url)
        page.wait_for_function("window.session")
        if ready:
            page.wait_for_function("session.status.isRestored", timeout=PATIENCE * 1000)
        return page

    def stored(self) -> list[str]:
        """What was said, as the server has it."""
        return [message["content"] for message in self.person.state(self.session).get("messages", [])]

    def wait_until_stored(self, said: list[str]) -> None:
        """Waits until the server has these messages, in this order and no others."""
        deadline = time.monotonic() + PATIENCE
        while (stored := self.stored()) != said and time.monotonic() < deadline:
            time.sleep(0.1)
        assert stored == said, stored


def say(page: Page, *words: str) -> None:
    """Appends messages, as a person would."""
    page.evaluate("(words) => words.forEach(say)", list(words))


def said(page: Page) -> list[str]:
    """What the tab shows."""
    return list(page.evaluate("said()"))


def journalled(page: Page, count: int | None = None) -> None:
    """Waits until what was said here so far (so many messages; by default all that are shown) would survive a crash."""
    page.evaluate("(count) => journalled(count ?? said().length)", count)

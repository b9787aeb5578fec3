"""Where the browser package is measured: a Chromium, real functions over a database of their own, and the pages."""

from __future__ import annotations

import contextlib
import json
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg

from asyouwere.local.migrations import migrate
from tests.functions.api import BASE, Person, serving, settings_for, token_for
from tests.support.cluster import running_cluster
from tests.support.database import Db
from tests.support.roles import set_role_password
from tests.web.chromium.browser import Chromium
from tests.web.chromium.bundling import bundle
from tests.web.chromium.line import Line, serving_files, serving_line

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

HERE = Path(__file__).parent


def messages(count: int, words: int) -> list[dict[str, Any]]:
    """A conversation; a word is five characters."""
    return [{"role": "assistant" if n % 2 else "user", "content": f"{n} {'word ' * words}"} for n in range(count)]


@dataclass
class Place:
    """What the figures are measured with. `person` calls the functions past the line."""

    pages: str
    browser: Chromium
    functions: str
    line: Line
    person: Person

    def session(self, count: int, words: int = 30) -> str:
        """A session with so many messages."""
        session = self.person.session()
        self.person.saved(session, state={"messages": messages(count, words)})
        return session

    def open(self, context: BrowserContext, session: str, url: str | None = None, **options: Any) -> Page:
        """The app in a tab, over the line unless a URL is given; options are those of `open`."""
        given = {"url": (url or self.line.url) + BASE, "token": self.person.token, "session": session, **options}
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{self.pages}/pages/app.html#{quote(json.dumps(given))}")
        return page

    def restored(self, context: BrowserContext, session: str, **options: Any) -> Page:
        """The same, once the server has said what it has and it is written down."""
        page = self.open(context, session, **options)
        page.wait_for_function("window.session?.status.isRestored")
        page.wait_for_timeout(500)
        return page

    @contextlib.contextmanager
    def windows(self) -> Iterator[BrowserContext]:
        """Windows with nothing stored."""
        context = self.browser.new_context()
        try:
            yield context
        finally:
            context.close()


@contextlib.contextmanager
def running_place() -> Iterator[Place]:
    """Everything started, and gone at the end."""
    from playwright.sync_api import sync_playwright

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(running_cluster())
        with psycopg.connect(cluster.dsn, autocommit=True) as admin:
            admin.execute(b"create database asyouwere_figures")
            migrate(cluster.dsn_for("asyouwere_figures"), bootstrap=True)
            set_role_password(admin, "authenticator", cluster.password)
        db = Db(cluster, "asyouwere_figures")
        stack.callback(db.close)
        # one person saves as often as the line lets them
        db.superuser.execute("update asyouwere.settings set writes_per_second = 100000, writes_at_once = 100000")
        roots = {name: bundle(HERE / name, folder / name) for name in ("pages", "peers")}
        pages = stack.enter_context(serving_files(roots))
        functions = stack.enter_context(serving(settings_for(db.api_dsn, allowed_origins=frozenset({pages}))))
        line = stack.enter_context(serving_line(functions))
        user = str(db.user(uuid.uuid4().hex))
        person = Person(functions, user, token_for(user))
        stack.callback(person.http.close)
        playwright = stack.enter_context(sync_playwright())
        (folder / "profile").mkdir()
        browser = Chromium(playwright, folder / "profile").start()
        stack.callback(browser.close)
        yield Place(pages, browser, functions, line, person)

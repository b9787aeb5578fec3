"""One example on servers of its own, and what its tests break it with."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from examples.pages import complete
from examples.stack import Stack
from tests.functions.api import BASE, Person, serving, settings_for, token_for
from tests.support.database import Db
from tests.web.chromium.line import Line, serving_line

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

__all__ = ["Example", "check_looks", "running_example", "until"]

ROOT = Path(__file__).parents[3]

#: Seconds. A machine with two cores runs much else beside these tests.
PATIENCE = 60


class Example:
    """A running example.

    url: where its page is. line: to the functions, for the page and the example's server alike: it can be slow, be
    cut, lose answers. `stop` and `start` are a deployment of the example's server; its port stays.
    """

    def __init__(self, name: str, dist: Path, stack: Stack, line: Line, db: Db, people: set[str]) -> None:
        self.name = name
        self.dist = dist
        self.stack = stack
        self.line = line
        self.db = db
        self.errors: list[str] = []
        self._people = people
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._persons: list[Person] = []

    @property
    def url(self) -> str:
        """The page's address, with a / at the end."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    @property
    def app(self) -> Any:
        """The Starlette app that runs now; what an example keeps in `app.state` is there for its tests."""
        assert self._server is not None
        return self._server.config.app

    def start(self) -> None:
        """Start the example's server, made anew."""
        server = importlib.import_module(f"examples.{self.name}.server")
        app = complete(server.create(self.stack), self.dist, self.stack)
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=5)
        )
        # A copy of the listening socket: requests that come while no server runs wait for the next one.
        run = lambda: asyncio.run(self._server.serve([self._listener.dup()]))  # noqa: E731
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + PATIENCE
        while not self._server.started:
            assert self._thread.is_alive(), "the example did not start"
            assert time.monotonic() < deadline, "the example did not start in time"
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it; harmless when it does not run."""
        server, self._server = self._server, None
        if server is not None:
            server.should_exit = True
            assert self._thread is not None
            self._thread.join(PATIENCE)

    @contextlib.contextmanager
    def set(self, **options: Any) -> Iterator[None]:
        """The example's server made anew with other settings, and as it was afterwards."""
        before = dict(self.stack.options)
        self._restart(before | options)
        try:
            yield
        finally:
            self._restart(before)

    def _restart(self, options: dict[str, Any]) -> None:
        self.stop()
        self.stack.options.clear()
        self.stack.options.update(options)
        self.start()

    def close(self) -> None:
        """The end of all of it."""
        self.stop()
        self._listener.close()
        for person in self._persons:
            person.http.close()

    def person(self, name: str | None = None) -> str:
        """The name of somebody who may sign in, whom no other test knows; or of this name."""
        name = name or uuid.uuid4().hex[:12]
        self.db.user(name)
        self._people.add(name)
        return name

    def api(self, name: str) -> Person:
        """This person as a program that asks the functions, past the line: what the server really has."""
        user = str(self.db.user(name))
        person = Person(self.line.to, user, token_for(user))
        self._persons.append(person)
        return person

    def open(self, context: BrowserContext, user: str, path: str = "") -> Page:
        """A tab with the page, for this person. What goes wrong in it is in `errors`, which a test asserts empty."""
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._note(said.text) if said.type == "error" else None)
        page.goto(f"{self.url}{path}?user={user}")
        return page

    def _note(self, text: str) -> None:
        # Failed requests are the tests' own doing; what the policy refuses is not.
        if "Failed to load resource" not in text and "net::ERR" not in text:
            self.errors.append(text)


@contextlib.contextmanager
def running_example(name: str, dist: Path, db: Db, folder: Path, options: dict[str, Any]) -> Iterator[Example]:
    """The example with its page, the functions and a line between them."""
    people: set[str] = set()

    def sign(user: str | None, seconds: float) -> str:
        if user is None:
            return token_for("scheduler", "service_role")
        return token_for(str(db.user(user)), exp=int(time.time() + seconds))

    origins = frozenset({"http://127.0.0.1:*"})
    with serving(settings_for(db.api_dsn, allowed_origins=origins)) as functions, serving_line(functions) as line:
        stack = Stack(line.url + BASE, folder, sign, people, options)  # type: ignore[arg-type]
        example = Example(name, dist, stack, line, db, people)
        try:
            example.start()
            yield example
        finally:
            example.close()


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


#: What reaches over the right edge of the window; [] if nothing can be scrolled sideways.
_CUT_OFF = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5)
        .map((one) => one.outerHTML.slice(0, 160)).concat(String(document.documentElement.scrollWidth))"""


def check_looks(page: Page, name: str) -> None:
    """For everybody: nothing axe-core finds, nothing cut off, on a desk and a phone, light and dark.

    With ASYOUWERE_SCREENSHOTS=folder the four pictures are kept there, to be looked at.
    """
    axe = (ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js").read_text()
    pictures = os.environ.get("ASYOUWERE_SCREENSHOTS")
    page.evaluate(axe)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for place, width, height in (("desk", 1280, 800), ("phone", 360, 740)):
            page.set_viewport_size({"width": width, "height": height})
            found = page.evaluate("async () => (await axe.run(document)).violations")
            problems = [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]
            assert problems == [], f"{scheme}, {place}: {problems}"
            if pictures:
                page.screenshot(path=Path(pictures) / f"{name}-{place}-{scheme}.png")
            cut_off = page.evaluate(_CUT_OFF)
            assert cut_off == [], f"{scheme}, {place}: {cut_off}"

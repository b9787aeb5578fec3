"""Fixtures of the browser tests: Chromium, the package in a page, real functions behind a line."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.functions.api import Person, serving, settings_for, token_for
from tests.support.cluster import Cluster
from tests.support.database import Db
from tests.web.chromium.browser import Chromium, chromium_program
from tests.web.chromium.bundling import bundle
from tests.web.chromium.line import Line, serving_files, serving_line

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Playwright

PAGES = Path(__file__).parent / "pages"


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of these tests with the package's source bundled into them; skips without the npm packages."""
    return bundle(PAGES, tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def pages(bundled: Path) -> Iterator[str]:
    """Where the pages are: an origin of their own."""
    with serving_files({"pages": bundled}) as url:
        yield url + "/pages"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Playwright itself; it brings no browser. Its loop runs in this thread: no asynchronous test can run beside it."""
    chromium_program()
    playwright_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    with playwright_api.sync_playwright() as driver:
        yield driver


@pytest.fixture
def browsers(playwright: Playwright, tmp_path: Path) -> Iterator[Callable[..., Chromium]]:
    """Makes browsers with profiles of their own: browsers(*flags). They are ended with the test."""
    made: list[Chromium] = []

    def make(*flags: str) -> Chromium:
        folder = tmp_path / f"profile-{len(made)}"
        folder.mkdir()
        made.append(Chromium(playwright, folder, *flags))
        return made[-1].start()

    yield make
    for browser in made:
        browser.close()


@pytest.fixture
def chromium(browsers: Callable[..., Chromium]) -> Chromium:
    """A browser with an empty profile."""
    return browsers()


@pytest.fixture(scope="module")
def shared_browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser that nobody kills."""
    folder = tmp_path_factory.mktemp("browser") / "profile"
    folder.mkdir()
    browser = Chromium(playwright, folder).start()
    yield browser
    browser.close()


@pytest.fixture
def context(shared_browser: Chromium) -> Iterator[BrowserContext]:
    """Windows of this test alone, with nothing stored, in a browser that others use, too."""
    made = shared_browser.new_context()
    yield made
    made.close()


@pytest.fixture(scope="session")
def web_database(cluster: Cluster, template: str) -> Iterator[Db]:
    """A database that the browser tests of this process share; they keep apart by being different people."""
    name = f"asyouwere_chromium_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="session")
def functions(web_database: Db, pages: str) -> Iterator[str]:
    """The functions, which the pages may call."""
    origin = pages.removesuffix("/pages")
    with serving(settings_for(web_database.api_dsn, allowed_origins=frozenset({origin}))) as url:
        yield url


@pytest.fixture
def line(functions: str) -> Iterator[Line]:
    """The line to the functions, of this test alone."""
    with serving_line(functions) as made:
        yield made


@pytest.fixture
def ada(functions: str, web_database: Db) -> Iterator[Person]:
    """A signed-in user whom no other test knows, with a line that is never bad: what the server really has."""
    user = str(web_database.user(uuid.uuid4().hex))
    person = Person(functions, user, token_for(user))
    yield person
    person.http.close()


@pytest.fixture(scope="session")
def rounds() -> int:
    """How often what has to hold each time is tried: 3; ASYOUWERE_WEB_ROUNDS says more."""
    return int(os.environ.get("ASYOUWERE_WEB_ROUNDS") or 3)

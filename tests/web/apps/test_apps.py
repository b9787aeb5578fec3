"""`make apps`: the package from its tarball in Next.js's and Vite's own templates, built, and used in Chromium.

Not part of `make test`: both templates and what they need (470 MB) come from npm as they are today.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.functions.api import BASE, Person, serving, serving_app, settings_for
from tests.support.database import Db
from tests.web.apps.building import next_app, serving_next, vite_app
from tests.web.chromium.browser import errors_of

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page

pytestmark = pytest.mark.skipif(not os.environ.get("ASYOUWERE_TEST_APPS"), reason="on demand: make apps")


@pytest.fixture(scope="module", params=["next", "vite"])
def app(request: pytest.FixtureRequest, tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a built app with the package in it."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "next":
        with serving_next(next_app(folder, tarball)) as url:
            yield url
    else:
        files = StaticFiles(directory=vite_app(folder, tarball), html=True)
        with serving_app(Starlette(routes=[Mount("/", files)])) as url:
            yield url


@pytest.fixture
def page(app: str, context: BrowserContext, web_database: Db, ada: Person) -> Iterator[Page]:
    """The app in a tab, with a session of Ada's; nothing may go wrong in it."""
    errors: list[Any] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    with serving(settings_for(web_database.api_dsn, allowed_origins=frozenset({app}))) as functions:
        given = {"url": functions + BASE, "token": ada.token, "session": ada.session(name="Tea")}
        page = context.new_page()
        page.on("console", hear)
        errors.append(errors_of(page))
        page.goto(f"{app}/?{urlencode(given)}")
        yield page
        page.close()
    assert errors == [[]]


def test_app__saves_restores_and_shows_an_answer(page: Page) -> None:
    page.get_by_text("1 sessions").wait_for()
    page.get_by_label("Message").fill("Which tea?")
    page.get_by_role("button", name="Send").click()
    page.locator("li", has_text="Which tea?").wait_for()
    page.get_by_label("Message").fill("not sent yet")
    page.reload()
    page.locator("li", has_text="Which tea?").wait_for()
    assert page.get_by_label("Message").input_value() == "not sent yet"
    page.get_by_role("button", name="Answer").click()
    page.locator("li[data-role=assistant]", has_text="Green or black?").wait_for()
    if folder := os.environ.get("ASYOUWERE_TEST_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{page.title() or 'app'}.png")
    page.reload()
    page.locator("li[data-role=assistant]").wait_for()
    assert page.locator("li").all_inner_texts() == ["Which tea?", "Green or black?"]

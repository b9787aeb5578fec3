"""Fixtures of the tests in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.chromium.browser import Chromium, chromium_program

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Playwright


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

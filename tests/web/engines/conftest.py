"""The browsers of these tests: Firefox and WebKitGTK, whichever are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.engines.firefox import Firefox
from tests.web.engines.webkit import WebKit

Engine = Firefox | WebKit
ENGINES: dict[str, type[Engine]] = {"firefox": Firefox, "webkit": WebKit}


@pytest.fixture(scope="module", params=ENGINES)
def driven(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A browser for all tests of a module, which keep apart by being different people."""
    engine = ENGINES[request.param](tmp_path_factory.mktemp(request.param))
    try:
        yield engine.drive()
    finally:
        engine.kill()


@pytest.fixture(params=ENGINES)
def left_alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A browser as a person has it, not started: nobody drives it, and what it stores is on disk."""
    engine = ENGINES[request.param](tmp_path)
    yield engine
    engine.kill()

"""The package as others get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.apps import building

# The browser's fixtures are those of the browser package's tests.
from tests.web.chromium.conftest import context, playwright, shared_browser
from tests.web.conftest import run_node

__all__ = ["context", "playwright", "shared_browser"]


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `npm pack` makes; skips without the npm packages of web."""
    run_node(["--version"], {})
    return building.packed(tmp_path_factory.mktemp("packed"))

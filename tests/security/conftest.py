"""Fixtures of the runs' short forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trust.place import folder_of_a_run


@pytest.fixture
def run_folder() -> Iterator[Path]:
    """For servers: sockets' paths may not be long, and an ordinary user has to get there."""
    with folder_of_a_run() as folder:
        yield folder

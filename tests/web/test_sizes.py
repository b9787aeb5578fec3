"""What an app's page grows by with the browser package."""

from __future__ import annotations

import json

import pytest

from tests.web.conftest import run_node
from tests.web.figures.measures import LIMITS


@pytest.mark.parametrize("entry", LIMITS)
def test_size__of_an_entry_with_all_it_needs(entry: str) -> None:
    done = run_node(["measure/size.mjs"], {})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[entry] <= LIMITS[entry]

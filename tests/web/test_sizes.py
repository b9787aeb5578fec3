"""What an app's page grows by with the browser package."""

from __future__ import annotations

import json

import pytest

from tests.web.conftest import run_node

# Bytes, minified and gzipped. What they shall be is in tests/web/figures/measures.py (LIMITS): until then not larger.
CEILINGS = {"core": 11_520, "react": 13_824}


@pytest.mark.parametrize("entry", CEILINGS)
def test_size__of_an_entry_with_all_it_needs(entry: str) -> None:
    done = run_node(["measure/size.mjs"], {})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[entry] <= CEILINGS[entry]

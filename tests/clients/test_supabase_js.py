"""supabase-js, as two users, a member, nobody and the service. The checks are in tests/node/supabase-js.mjs."""

from __future__ import annotations

import json
import re

import pytest

from tests.clients.node import NODE, run_node
from tests.clients.places import Place

SCRIPT = NODE / "supabase-js.mjs"
NAMES = re.findall(r'^check\("(.*)", ', SCRIPT.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def found(place: Place) -> dict[str, str | None]:
    """Each check's name and how it failed, if it did."""
    environment = {
        "SUPABASE_URL": place.url,
        "SUPABASE_ANON_KEY": place.anon_key,
        "SUPABASE_SERVICE_KEY": place.service_key,
    }
    lines = map(json.loads, run_node([str(SCRIPT)], environment).splitlines())
    return {line["name"]: line["failure"] for line in lines}


def test_checks__are_all_listed_here(found: dict[str, str | None]) -> None:
    assert list(found) == NAMES
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_supabase_js__does_what_it_should(found: dict[str, str | None], name: str) -> None:
    if failure := found.get(name, "the script ended before it"):
        pytest.fail(failure, pytrace=False)

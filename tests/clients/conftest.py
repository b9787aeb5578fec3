"""The Supabase that a test talks to; see places.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.clients.places import Place, given_place, lite_place, postgrest_place

PLACES = ["given"] if os.environ.get("ASYOUWERE_TEST_SUPABASE_URL") else ["lite", "postgrest"]


@pytest.fixture(scope="session")
def lite() -> Iterator[Place]:
    with lite_place() as place:
        yield place


@pytest.fixture(scope="session")
def postgrest(lite: Place) -> Iterator[Place]:
    with postgrest_place(lite) as place:
        yield place


@pytest.fixture(scope="session")
def given() -> Iterator[Place]:
    with given_place() as place:
        yield place


@pytest.fixture(scope="session", params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Each test runs at every place."""
    found: Place = request.getfixturevalue(request.param)
    return found

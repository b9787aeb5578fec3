"""The deployments that the tests look at, declared once."""

from __future__ import annotations

import pytest

from tests.infra.stack import DIRECT, FULL, POSTGREST, Stack, run


@pytest.fixture(scope="session")
def stacks() -> dict[str, Stack]:
    """By name: direct and postgrest with the least of settings, full with every one."""
    return dict(zip(("direct", "postgrest", "full"), run(DIRECT, POSTGREST, FULL), strict=True))


@pytest.fixture(scope="session")
def direct(stacks: dict[str, Stack]) -> Stack:
    """The functions log in to the database."""
    return stacks["direct"]


@pytest.fixture(scope="session")
def postgrest(stacks: dict[str, Stack]) -> Stack:
    """The functions go through PostgREST."""
    return stacks["postgrest"]


@pytest.fixture(scope="session")
def full(stacks: dict[str, Stack]) -> Stack:
    """Everything that can be asked for."""
    return stacks["full"]

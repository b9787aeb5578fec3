"""A PostgREST of the tests' own, or the one that the environment names; see targets.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.postgrest.targets import People, Target, given_target
from tests.support.postgrest import running_postgrest

SECRET = "a secret that only these tests know, long enough for HS256"


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """Where this process's tests go; they keep apart by being different people."""
    if found := given_target():
        yield found
        return
    cluster, template = request.getfixturevalue("cluster"), request.getfixturevalue("template")
    name = f"asyouwere_postgrest_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        try:
            dsn = cluster.dsn_for(name, "authenticator", cluster.password)
            with running_postgrest(dsn, SECRET) as postgrest:
                yield Target(postgrest.url, SECRET, cluster.dsn_for(name))
        finally:
            admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def people(target: Target) -> Iterator[People]:
    """New people for each test."""
    with target.people() as cast:
        yield cast

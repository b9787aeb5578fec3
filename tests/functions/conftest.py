"""Fixtures of the functions' tests: one server for all, new people for each."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.functions.api import SECRET, Person, serving, settings_for, token_for
from tests.support.cluster import Cluster
from tests.support.database import Db
from tests.support.postgrest import running_postgrest


@pytest.fixture(scope="session")
def shared(cluster: Cluster, template: str) -> Iterator[Db]:
    """A database that the tests of this process share; they keep apart by being different people."""
    name = f"asyouwere_functions_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="session", params=["direct", "postgrest"])
def mode(request: pytest.FixtureRequest) -> str:
    """The mode of the database. Every test of the functions runs in both, but for those that never get there."""
    return str(request.param)


@pytest.fixture(scope="session")
def rest_url(shared: Db) -> Iterator[str]:
    """A PostgREST before the shared database."""
    with running_postgrest(shared.api_dsn, SECRET) as postgrest:
        yield postgrest.url


@pytest.fixture(scope="session")
def url(shared: Db, mode: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The base URL of a server before the shared database."""
    if mode == "postgrest":
        settings = settings_for("", database=mode, postgrest_url=request.getfixturevalue("rest_url"))
    else:
        settings = settings_for(shared.api_dsn)
    with serving(settings) as base_url:
        yield base_url


@pytest.fixture
def people(url: str) -> Iterator[Callable[..., Person]]:
    """Makes callers: people(user_id, token)."""
    made: list[Person] = []

    def make(user_id: str | None = None, token: str | None = None) -> Person:
        made.append(Person(url, user_id, token))
        return made[-1]

    yield make
    for somebody in made:
        somebody.http.close()


@pytest.fixture
def newcomer(people: Callable[..., Person], shared: Db) -> Callable[[], Person]:
    """Makes signed-in users whom no other test knows."""

    def make() -> Person:
        user_id = str(shared.user(uuid.uuid4().hex))
        return people(user_id, token_for(user_id))

    return make


@pytest.fixture
def ada(newcomer: Callable[[], Person]) -> Person:
    """A signed-in user, new for this test."""
    return newcomer()


@pytest.fixture
def bob(newcomer: Callable[[], Person]) -> Person:
    """Another one."""
    return newcomer()


@pytest.fixture
def eve(newcomer: Callable[[], Person]) -> Person:
    """A third one, whom nobody has invited."""
    return newcomer()


@pytest.fixture
def nobody(people: Callable[..., Person]) -> Person:
    """Without a token."""
    return people()


@pytest.fixture
def service(people: Callable[..., Person]) -> Person:
    """With a token of the service role."""
    return people(None, token_for("scheduler", "service_role"))

"""Fixtures of the functions' tests: one server for all, new people for each."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.functions.api import Person, person, serving, settings_for, token_for
from tests.support.cluster import Cluster
from tests.support.database import Db


@pytest.fixture(scope="session")
def shared(cluster: Cluster, template: str) -> Iterator[Db]:
    """A database that the tests of this process share; they keep apart by being different people."""
    name = f"leftoff_functions_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="session")
def url(shared: Db) -> Iterator[str]:
    """The base URL of a server before the shared database, logged in as the API's own role."""
    with serving(settings_for(shared.api_dsn)) as base_url:
        yield base_url


@pytest.fixture
def ada(url: str, shared: Db) -> Iterator[Person]:
    """A signed-in user, new for this test."""
    somebody = person(url, shared)
    with somebody.http:
        yield somebody


@pytest.fixture
def bob(url: str, shared: Db) -> Iterator[Person]:
    """Another one."""
    somebody = person(url, shared)
    with somebody.http:
        yield somebody


@pytest.fixture
def eve(url: str, shared: Db) -> Iterator[Person]:
    """A third one, whom nobody has invited."""
    somebody = person(url, shared)
    with somebody.http:
        yield somebody


@pytest.fixture
def nobody(url: str) -> Iterator[Person]:
    """Without a token."""
    somebody = Person(url, None, None)
    with somebody.http:
        yield somebody


@pytest.fixture
def service(url: str) -> Iterator[Person]:
    """With a token of the service role."""
    somebody = Person(url, None, token_for("scheduler", "service_role"))
    with somebody.http:
        yield somebody

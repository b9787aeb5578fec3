"""Fixtures of the Python client's tests: a user for each test, and each of the three ways to the database."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import asyouwere
from tests.functions.api import BASE, SECRET, serving, settings_for, token_for
from tests.support.cluster import Cluster
from tests.support.database import Db
from tests.support.postgrest import running_postgrest

WAYS = ("functions", "postgrest", "postgres")


@pytest.fixture(scope="session")
def shared(cluster: Cluster, template: str) -> Iterator[Db]:
    """A database that the tests of this process share; they keep apart by being different people."""
    name = f"asyouwere_client_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="session")
def functions_url(shared: Db) -> Iterator[str]:
    """The functions before it."""
    with serving(settings_for(shared.api_dsn)) as url:
        yield url + BASE


@pytest.fixture(scope="session")
def rest_url(shared: Db) -> Iterator[str]:
    """A PostgREST before it, at the address that a project has."""
    with running_postgrest(shared.api_dsn, SECRET) as postgrest:
        yield postgrest.url


class AtTheRoot(httpx.AsyncHTTPTransport):
    """A project's gateway, as far as PostgREST needs one: it stands at /rest/v1."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(path=request.url.path.removeprefix("/rest/v1"))
        return await super().handle_async_request(request)


def as_url(dsn: str) -> str:
    """A connection string as an address."""
    said = conninfo_to_dict(dsn)
    return f"postgresql://{said['user']}:{said['password']}@{said['host']}:{said['port']}/{said['dbname']}"


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in the background; fails after 20 seconds."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - whatever it is
            await anyio.sleep(0.01)


@dataclass
class Place:
    """Where a test's sessions are, and whose. ``open()`` is asyouwere.open there, with a journal in the test's folder
    and without looks of its own."""

    options: dict[str, Any]
    db: Db
    user_id: str

    def open(self, **more: Any) -> Any:
        """As ``asyouwere.open``."""
        options = {"key": "chat", "poll": None, **self.options, **more}
        if "/rest/v1" in options["url"]:
            return self._at_the_root(options)
        return asyouwere.open(**options)

    @asynccontextmanager
    async def _at_the_root(self, options: dict[str, Any]) -> AsyncIterator[Any]:
        async with httpx.AsyncClient(transport=AtTheRoot()) as http, asyouwere.open(http=http, **options) as session:
            yield session

    def saved(self) -> Any:
        """What the server has."""
        with self.open(journal=False) as session:
            return session.state.copy()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the client reaches the database."""
    return str(request.param)


@pytest.fixture
def new_place(shared: Db, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Place]:
    """Makes places for users whom no other test knows."""

    def make(way: str) -> Place:
        user_id = str(shared.user(uuid.uuid4().hex))
        options: dict[str, Any] = {"journal": tmp_path / "journal"}
        if way == "postgres":
            options |= {"url": as_url(shared.api_dsn), "user_id": user_id}
        elif way == "postgrest":
            options |= {"url": request.getfixturevalue("rest_url") + "/rest/v1", "token": token_for(user_id)}
        else:
            options |= {"url": request.getfixturevalue("functions_url"), "token": token_for(user_id)}
        return Place(options, shared, user_id)

    return make


@pytest.fixture
def place(new_place: Callable[[str], Place], way: str) -> Place:
    """One of them, for each way."""
    return new_place(way)


@pytest.fixture
def home(new_place: Callable[[str], Place]) -> Place:
    """One of them, over HTTPS functions."""
    return new_place("functions")

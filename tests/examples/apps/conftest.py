"""Fixtures of the examples' tests: `example` is the one that the module test_NAME.py is about.

Its settings are the module's OPTIONS, a dict, if there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from examples.building import build_example
from tests.examples.apps.running import Example, running_example
from tests.support.cluster import Cluster
from tests.support.database import Db

# The browser's fixtures are those of the browser package's tests.
from tests.web.chromium.conftest import browsers, chromium, context, playwright, shared_browser

__all__ = ["browsers", "chromium", "context", "playwright", "shared_browser"]


@pytest.fixture(scope="session")
def examples_database(cluster: Cluster, template: str) -> Iterator[Db]:
    """A database that the examples' tests of this process share; they keep apart by being different people."""
    name = f"asyouwere_examples_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="module")
def example(
    request: pytest.FixtureRequest, examples_database: Db, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Example]:
    """The example of this module, running; skips where its page cannot be built."""
    name = request.module.__name__.rpartition(".test_")[2]
    said: list[str] = []
    dist = build_example(name, said.append)
    if dist is None:
        pytest.skip(f"needs Node.js and the npm packages of examples ({said})")
    options = dict(getattr(request.module, "OPTIONS", {}))
    with running_example(name, dist, examples_database, tmp_path_factory.mktemp(name), options) as running:
        yield running


@pytest.fixture(autouse=True)
def no_errors(example: Example) -> Iterator[None]:
    """A test leaves the line as it found it, and nothing went wrong in its pages."""
    example.errors.clear()
    yield
    example.line.is_down, example.line.answer, example.line.delay = False, None, 0.0
    example.line.answer_delay, example.line.loses_answers = 0.0, 0
    assert example.errors == []

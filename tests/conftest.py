"""Fixtures for all tests. The work is in tests/support; see cluster.py for how to choose the Postgres."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import settings

from asyouwere.local.migrations import migrate
from tests.support.cluster import Cluster, running_cluster
from tests.support.database import Db
from tests.support.roles import set_role_password

NAMES = itertools.count(1)

# Hypothesis gives an example 200 ms, which a busy machine may take for any.
settings.register_profile("asyouwere", deadline=None)
settings.load_profile("asyouwere")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the functions do."""
    return "asyncio"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running Postgres, one for each test process."""
    with running_cluster() as server:
        yield server


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> Iterator[str]:
    """The name of a database that is bootstrapped and migrated, to be copied."""
    name = f"asyouwere_template_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
        migrate(cluster.dsn_for(name), bootstrap=True)
        set_role_password(admin, "authenticator", cluster.password)
        yield name
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def database(cluster: Cluster, template: str) -> Iterator[Db]:
    """A database of the test's own: `database.dsn` (superuser), `database.api_dsn` (as the API logs in)."""
    name = f"asyouwere_test_{os.getpid()}_{next(NAMES)}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def db(database: Db) -> Db:
    """The database, under a shorter name: `db.acting_as("ada")`, `db.call(…)`, `db.session(…)`."""
    return database


@pytest.fixture
def empty_database(cluster: Cluster) -> Iterator[str]:
    """The connection string of a database without anything in it: not bootstrapped, not migrated."""
    name = f"asyouwere_empty_{os.getpid()}_{next(NAMES)}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
        yield cluster.dsn_for(name)
        admin.execute(f"drop database {name} with (force)".encode())

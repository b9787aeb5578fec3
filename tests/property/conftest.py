"""One database for all sequences of a test process: sessions are cheap, databases are not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.functions.api import SECRET
from tests.property.checks import Storage
from tests.property.http_driver import HttpDriver, http_driver
from tests.property.sql_driver import SqlDriver
from tests.support.cluster import Cluster
from tests.support.database import Db
from tests.support.postgrest import running_postgrest


@pytest.fixture(scope="session")
def shared(cluster: Cluster, template: str) -> Iterator[Db]:
    """The database."""
    name = f"asyouwere_property_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        # one person plays all sequences
        db.superuser.execute("update asyouwere.settings set writes_at_once = 1000000000")
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="session")
def storage(shared: Db) -> Iterator[Storage]:
    """Its tables."""
    tables = Storage(shared.dsn)
    yield tables
    tables.close()


@pytest.fixture
def sql_driver(shared: Db) -> Iterator[SqlDriver]:
    """Its SQL functions; on connections of the test's own, because other tests cut whatever is there."""
    driver = SqlDriver(shared)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def functions_over_postgrest(shared: Db) -> Iterator[HttpDriver]:
    """A driver over HTTP, in the other mode of the database."""
    with (
        running_postgrest(shared.api_dsn, SECRET) as postgrest,
        http_driver(shared, database="postgrest", postgrest_url=postgrest.url) as driver,
    ):
        yield driver


@pytest.fixture(scope="session")
def functions(shared: Db) -> Iterator[HttpDriver]:
    """The HTTP functions before it."""
    with http_driver(shared) as driver:
        yield driver

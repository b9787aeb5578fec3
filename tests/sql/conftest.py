"""A database that the tests of one file share, for tests that leave it as it was or use sessions of their own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.cluster import Cluster
from tests.support.database import Db

NAMES = itertools.count(1)


@pytest.fixture(scope="module")
def shared(cluster: Cluster, template: str) -> Iterator[Db]:
    """One database for all tests of a file: quicker than one for each, where tests can't get in each other's way."""
    name = f"leftoff_shared_{os.getpid()}_{next(NAMES)}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())

"""Folders for servers that these tests start and end themselves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyouwere.local.postgres import EmbeddedPostgres
from asyouwere.local.processes import end_postgres
from tests.support.cluster import new_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path under which servers may be made; whatever still runs there is ended."""
    root = new_folder()
    root.chmod(0o711)
    yield root
    for data in root.rglob("PG_VERSION"):
        if data.parent.name == "data":
            end_postgres(data.parent, patience_seconds=0.5)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    """A folder with the data of a Postgres 18, for tests that start it and leave it as it was."""
    root = new_folder()
    root.chmod(0o711)
    with EmbeddedPostgres(root / "pg", durable=False):
        pass
    yield root / "pg"
    end_postgres(root / "pg" / "data", patience_seconds=0.5)
    shutil.rmtree(root, ignore_errors=True)

"""Fixtures of the tests of the browser package: one run of its own tests, and what its pages are tried against."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asyouwere.local.node import find_node
from tests.functions.api import Person, serving, settings_for, token_for
from tests.support.cluster import Cluster
from tests.support.database import Db
from tests.web.chromium.bundling import bundle
from tests.web.chromium.line import Line, serving_files, serving_line
from tests.web.servers import running_servers

WEB = Path(__file__).parents[2] / "web"
PAGES = Path(__file__).parent / "chromium" / "pages"


@dataclass(frozen=True)
class Run:
    """What vitest says: how each file's tests ended, and what was covered."""

    files: dict[str, dict[str, Any]]
    coverage: dict[str, dict[str, Any]]


def node_environment(more: dict[str, str]) -> dict[str, str]:
    """What a Node program of web/ gets to know of the machine, and more."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), "NO_COLOR": "1", **more}


def run_node(
    arguments: list[str], environment: dict[str, str], timeout: int = 900
) -> subprocess.CompletedProcess[str]:
    """A Node program in web/; skips where the packages of web/ are not installed."""
    if not (WEB / "node_modules/vitest").is_dir():
        pytest.skip("needs the packages of web (scripts/node-packages web)")
    return subprocess.run(
        [find_node().program, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=WEB,
        env=node_environment(environment),
    )


@pytest.fixture(scope="session")
def servers(cluster: Cluster, template: str) -> Iterator[dict[str, str]]:
    """The environment that the tests of web/ find their servers by."""
    with running_servers(cluster, template) as variables:
        yield variables


@pytest.fixture(scope="session")
def run(servers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All of web/tests, once."""
    folder = tmp_path_factory.mktemp("vitest")
    passed_on = {name: value for name, value in os.environ.items() if name.startswith("ASYOUWERE_WEB_")}
    vitest = ["node_modules/vitest/vitest.mjs", "run", "--coverage", f"--coverage.reportsDirectory={folder}"]
    done = run_node([*vitest, "--reporter=json", f"--outputFile={folder / 'tests.json'}"], {**servers, **passed_on})
    assert (folder / "tests.json").exists(), done.stdout + done.stderr
    results = json.loads((folder / "tests.json").read_text())["testResults"]
    coverage = folder / "coverage-summary.json"
    return Run(
        {Path(result["name"]).name: result for result in results},
        json.loads(coverage.read_text()) if coverage.exists() else {},
    )


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of these tests with the package's source bundled into them; skips without the npm packages."""
    return bundle(PAGES, tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def pages(bundled: Path) -> Iterator[str]:
    """Where the pages are: an origin of their own."""
    with serving_files({"pages": bundled}) as url:
        yield url + "/pages"


@pytest.fixture(scope="session")
def web_database(cluster: Cluster, template: str) -> Iterator[Db]:
    """A database that the browser tests of this process share; they keep apart by being different people."""
    name = f"asyouwere_browser_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        db = Db(cluster, name)
        yield db
        db.close()
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(scope="session")
def functions(web_database: Db, pages: str) -> Iterator[str]:
    """The functions, which the pages may call."""
    origin = pages.removesuffix("/pages")
    with serving(settings_for(web_database.api_dsn, allowed_origins=frozenset({origin}))) as url:
        yield url


@pytest.fixture
def line(functions: str) -> Iterator[Line]:
    """The line to the functions, of this test alone."""
    with serving_line(functions) as made:
        yield made


@pytest.fixture
def ada(functions: str, web_database: Db) -> Iterator[Person]:
    """A signed-in user whom no other test knows, with a line that is never bad: what the server really has."""
    user = str(web_database.user(uuid.uuid4().hex))
    person = Person(functions, user, token_for(user))
    yield person
    person.http.close()


@pytest.fixture(scope="session")
def rounds() -> int:
    """How often what has to hold each time is tried: 3; ASYOUWERE_WEB_ROUNDS says more."""
    return int(os.environ.get("ASYOUWERE_WEB_ROUNDS") or 3)

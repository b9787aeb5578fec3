"""One run of the browser package's tests, against servers of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asyouwere.local.node import find_node
from tests.support.cluster import Cluster
from tests.web.servers import running_servers

WEB = Path(__file__).parents[2] / "web"


@dataclass(frozen=True)
class Run:
    """What vitest says: how each file's tests ended, and what was covered."""

    files: dict[str, dict[str, Any]]
    coverage: dict[str, dict[str, Any]]


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
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), "NO_COLOR": "1", **environment},
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

"""examples/adapters in the frameworks that they are for, against a database, each with sixteen callers at once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.adapters.environment import frameworks_python
from tests.support.database import Db

ROOT = Path(__file__).parents[2]
SECONDS = 240


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python that has the frameworks."""
    found = frameworks_python()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["langgraph", "openai_agents", "pydantic_ai", "claude_agent"])
def test_adapter__works_and_loses_nothing(framework: str, python: Path, database: Db) -> None:
    ran = subprocess.run(
        [str(python), "-m", f"tests.adapters.checks.{framework}", database.api_dsn, str(database.user("ada"))],
        cwd=ROOT,
        env={**os.environ, "OPENAI_API_KEY": "none", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    print(ran.stdout)

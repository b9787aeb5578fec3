"""The tests of other folders, run against servers that run already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: What holds on every Postgres or on none: who may do what, saving, merging, history, messages, clean-up.
ESSENTIALS = (
    "tests/sql/test_access.py",
    "tests/sql/test_saving.py",
    "tests/sql/test_merging.py",
    "tests/sql/test_history.py",
    "tests/sql/test_messages.py",
    "tests/sql/test_cleanup.py",
    "tests/sql/test_syncing.py",
    "tests/sql/test_export.py",
)


def run_suite(*tests: str, **environment: str) -> str:
    """pytest on these tests with these variables; its last lines. Fails if one of them fails or none ran."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", *tests]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASYOUWERE_", "PYTEST_"))}
    done = subprocess.run(
        command, env={**kept, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout[-2000:]

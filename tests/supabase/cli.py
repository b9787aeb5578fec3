"""The real Supabase CLI, from tests/node; it needs neither Docker nor an account for what is tried here."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests/node/node_modules/.bin/supabase"


def environment(home: Path) -> dict[str, str]:
    """Nothing of the person's own Supabase account, and no telemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUPABASE_")}
    return {**kept, "HOME": str(home), "DO_NOT_TRACK": "1", "SUPABASE_TELEMETRY_DISABLED": "1", "CI": "1"}


def run_cli(*arguments: str, timeout_seconds: float = 120) -> str:
    """What the CLI prints, both streams; fails the test if it fails, skips it if there is no CLI."""
    if not PROGRAM.exists():
        pytest.skip("needs the Supabase CLI: scripts/setup test installs it where there is Node")
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [str(PROGRAM), *arguments],
            cwd=ROOT,
            env=environment(Path(home)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_seconds,
            text=True,
        )
    assert done.returncode == 0, done.stdout
    return done.stdout

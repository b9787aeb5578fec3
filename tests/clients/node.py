"""Node programs, with the packages of tests/node."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from asyouwere.local.node import find_node

NODE = Path(__file__).parents[1] / "node"


def run_node(arguments: list[str], environment: dict[str, str]) -> str:
    """What it prints, run in tests/node; skips without the packages there."""
    if not (NODE / "node_modules/@supabase/supabase-js").is_dir():
        pytest.skip("needs the packages of tests/node (scripts/setup test installs them)")
    node = find_node()
    # supabase-js wants a WebSocket, which Node has by itself from 22 on
    older = ["--experimental-websocket"] if node.major < 22 else []
    done = subprocess.run(
        [node.program, "--no-warnings", *older, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=NODE,
        env={"PATH": os.environ["PATH"], **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

"""Node programs, with the packages of tests/node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parents[1] / "node"


def run_node(arguments: list[str], environment: dict[str, str]) -> str:
    """What it prints, run in tests/node; skips without Node or the packages there."""
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules/@supabase/supabase-js").is_dir():
        pytest.skip("needs Node.js and the packages of tests/node (scripts/setup test installs them)")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    # supabase-js wants a WebSocket, which Node has by itself from 22 on
    older = ["--experimental-websocket"] if int(version.strip("v").partition(".")[0]) < 22 else []
    done = subprocess.run(
        [node, "--no-warnings", *older, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=NODE,
        env={"PATH": os.environ["PATH"], **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

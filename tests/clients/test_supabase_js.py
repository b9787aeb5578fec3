"""supabase-js, as two users, a member, nobody and the service. The checks are in tests/node/supabase-js.mjs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.places import Place

NODE = Path(__file__).parents[1] / "node"
SCRIPT = NODE / "supabase-js.mjs"
NAMES = re.findall(r'^check\("(.*)", ', SCRIPT.read_text(), re.MULTILINE)


def run_node(script: Path, environment: dict[str, str]) -> str:
    """What a script prints; skips without Node or the packages of tests/node."""
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules/@supabase/supabase-js").is_dir():
        pytest.skip("needs Node.js and the packages of tests/node (scripts/setup test installs them)")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    # supabase-js wants a WebSocket, which Node has by itself from 22 on
    older = ["--experimental-websocket"] if int(version.strip("v").partition(".")[0]) < 22 else []
    done = subprocess.run(
        [node, "--no-warnings", *older, str(script)],
        capture_output=True,
        text=True,
        timeout=180,
        env={"PATH": os.environ["PATH"], **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(place: Place) -> dict[str, str | None]:
    """Each check's name and how it failed, if it did."""
    environment = {
        "SUPABASE_URL": place.url,
        "SUPABASE_ANON_KEY": place.anon_key,
        "SUPABASE_SERVICE_KEY": place.service_key,
    }
    lines = map(json.loads, run_node(SCRIPT, environment).splitlines())
    return {line["name"]: line["failure"] for line in lines}


def test_checks__are_all_listed_here(found: dict[str, str | None]) -> None:
    assert list(found) == NAMES
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_supabase_js__does_what_it_should(found: dict[str, str | None], name: str) -> None:
    if failure := found.get(name, "the script ended before it"):
        pytest.fail(failure, pytrace=False)

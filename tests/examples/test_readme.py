"""The README's examples, run as they are written: pasted into bash, and into psql as a signed-in user.

Blocks marked `bash` and `sql` are examples; those marked `sh` are the set-up
commands, which other tests cover.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from asyouwere.local.stack import DEMO_USER, LocalStack, client_settings
from tests.clients.node import run_node

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("readme") / "data"
    with LocalStack(folder, port=0, postgres_port=0, supabase_port=0, supabase=True) as running:
        yield running


@pytest.fixture
def keys(stack: LocalStack) -> dict[str, str]:
    """The environment that `asyouwere keys` exports."""
    if shutil.which("node") is None:
        pytest.skip("needs Node.js, which is not here: no local Supabase without it")
    assert stack.supabase.running
    return client_settings(stack.folder)


def test_bash_examples__pasted_in_order__each_answers_what_the_readme_says(stack: LocalStack) -> None:
    script = "\n".join(["set -e", *blocks("bash")])
    script = script.replace("http://127.0.0.1:8787/functions/v1", stack.url)
    script = script.replace(".venv/bin/asyouwere", f"'{sys.executable}' -m asyouwere.local.cli")
    # each answer on a line of its own, and a refusal ends the script
    script = script.replace("curl -sS", "curl -sS --noproxy '*' --fail-with-body -w '\\n'")
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "ASYOUWERE_DATA": str(stack.folder)},
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    saved, changed, latest, start, since, cleaned = map(json.loads, done.stdout.split("\n")[:6])
    assert (saved["number"], changed["number"]) == (1, 2)
    assert [message["role"] for message in latest["state"]["messages"]] == ["user", "assistant"]
    assert latest["state"]["currentStep"] == 2
    assert start["number"] == 1
    assert start["state"]["currentStep"] == 1
    assert since["changes"]["set"]["/currentStep"] == 2
    assert cleaned["done"] is True


def test_supabase_js_example__against_the_local_supabase__prints_what_it_says(keys: dict[str, str]) -> None:
    (example,) = blocks("js")
    printed = run_node(["--input-type=module", "--eval", example], keys)
    assert printed.splitlines() == re.findall(r"console\.log\(.*\) // (.*)", example)


def test_supabase_py_example__against_the_local_supabase__prints_what_it_says(keys: dict[str, str]) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, env={**os.environ, **keys}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)", example)


def test_sql_examples__piped_into_asyouwere_psql__run_without_error(stack: LocalStack) -> None:
    (example,) = blocks("sql")
    done = subprocess.run(
        [sys.executable, "-m", "asyouwere.local.cli", "psql", "--user", DEMO_USER, "--", "-At"],
        input=example,
        capture_output=True,
        text=True,
        env={**os.environ, "ASYOUWERE_DATA": str(stack.folder)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "3|" in done.stdout
    assert "Kiyomizu-dera." in done.stdout


def test_links__to_files__exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:sql|functions|docs)/[\w/.-]+)`", README):
        assert (ROOT / path).exists(), path


def test_functions_named__in_the_table__exist(stack: LocalStack) -> None:
    table = README.split("## The API at a glance")[1].split("\n## ")[0]
    names = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", table))
    with psycopg.connect(stack.dsn) as admin:
        found = admin.execute(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace"
            " union select relname from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert names - {name for (name,) in found} == set()

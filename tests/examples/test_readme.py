"""The examples of README.md and docs/, run exactly as they are printed, in a folder like a clone in which `make run` runs.

Blocks marked `bash`, `js`, `python` and `sql` are examples; those marked `sh` are the set-up commands, which other
tests cover.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from asyouwere.local.stack import LocalStack, client_settings
from asyouwere.local.welcome import welcome
from tests.clients.node import run_node
from tests.examples.pages import PAGES, examples, matches, page

PROGRAMS = Path(sys.executable).parent
END_OF_BLOCK = "-- end of block --"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("readme") / "data"
    with LocalStack(folder, port=0, postgres_port=0, supabase_port=0, supabase=True) as running:
        yield running


@pytest.fixture(scope="module")
def clone(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with .venv and .asyouwere, as a clone has them while `make run` runs."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(PROGRAMS)
    (folder / ".asyouwere").symlink_to(stack.folder)
    return folder


@pytest.fixture
def keys(stack: LocalStack) -> dict[str, str]:
    """The environment that `asyouwere keys` exports."""
    assert stack.supabase.running
    return client_settings(stack.folder)


def typed(clone: Path, command: list[str], text: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYOUWERE_")}
    return subprocess.run(command, input=text, capture_output=True, text=True, cwd=clone, env=environment, timeout=60)


@pytest.mark.parametrize("name", [name for name in PAGES if examples(name, "bash")])
def test_bash_examples__pasted_in_order__answer_what_is_printed_below(clone: Path, name: str) -> None:
    pasted = examples(name, "bash")
    script = "".join(f"{example.text}echo '{END_OF_BLOCK}'\n" for example in pasted)
    done = typed(clone, ["bash"], script)
    assert [line for line in done.stderr.splitlines() if "the id of demo is" not in line] == []
    answered = done.stdout.split(END_OF_BLOCK + "\n")[:-1]
    assert len(answered) == len(pasted)
    for example, printed in zip(pasted, answered, strict=True):
        lines = printed.splitlines()
        assert len(lines) == len(example.answers), f"{example.text}\nanswered\n{printed}"
        for line, said in zip(lines, example.answers, strict=True):
            assert matches(line, said), f"{example.text}\nanswered\n{line}\nnot\n{said}"


def test_sql_example__in_asyouwere_psql__answers_what_is_printed_below(clone: Path) -> None:
    (example,) = examples("docs/clients.md", "sql")
    (command,) = re.findall(r"`(\.venv/bin/asyouwere psql [^`]*)`", page("docs/clients.md"))
    done = typed(clone, command.split(), example.text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == list(example.answers)


def test_supabase_js_example__against_the_local_supabase__prints_what_it_says(keys: dict[str, str]) -> None:
    (example,) = examples("docs/clients.md", "js")
    printed = run_node(["--input-type=module", "--eval", example.text], keys)
    assert printed.splitlines() == re.findall(r"console\.log\(.*\) // (.*)", example.text)


def test_supabase_py_example__against_the_local_supabase__prints_what_it_says(keys: dict[str, str]) -> None:
    (example,) = examples("docs/clients.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", example.text], capture_output=True, text=True, env={**os.environ, **keys}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)", example.text)


def test_what_make_run_prints__begins_as_the_readme_says(stack: LocalStack) -> None:
    (example,) = examples("README.md", "text")
    said = example.text.replace("http://127.0.0.1:8787/functions/v1", stack.url)
    assert welcome(stack).strip().startswith(said.strip())


def test_functions_named__in_the_table__exist(stack: LocalStack) -> None:
    table = page("README.md").split("## The API at a glance")[1].split("\n## ")[0]
    names = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", table))
    with psycopg.connect(stack.dsn) as admin:
        found = admin.execute(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace"
            " union select relname from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert names - {name for (name,) in found} == set()


def test_blocks__of_every_page__are_of_a_kind_that_is_run_or_covered() -> None:
    for name in PAGES:
        kinds = re.findall(r"^```(\w*)\n.*?^```$", page(name), re.DOTALL | re.MULTILINE)
        more = {"docs/clients.md": {"js", "python", "sql"}, "docs/turns.md": {"js"}, "docs/python.md": {"python"}}
        assert set(kinds) <= {"bash", "json", "http", "sh", "text"} | more.get(name, set()), name
        # an answer without its example would be checked by nobody
        answered = sum(bool(example.answers) for example in examples(name, "bash"))
        assert kinds.count("json") + kinds.count("http") == answered, name

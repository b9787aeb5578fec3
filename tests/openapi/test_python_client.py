"""The Python client that openapi-python-client makes of spec/openapi.json."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.functions.api import Person

ROOT = Path(__file__).parents[2]
CALLS = Path(__file__).with_name("python_calls.py")
PACKAGE = "asyouwere_http"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A program of this environment, run in a folder."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    program, *arguments = command
    return subprocess.run(
        [sys.executable, "-m", program, *arguments],
        capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the package is in, and what the generator said."""
    folder = tmp_path_factory.mktemp("python-client")
    config = folder / "config.yml"
    config.write_text(f"package_name_override: {PACKAGE}\npost_hooks: []\n")
    made = run(
        folder, "openapi_python_client", "generate", "--path", str(ROOT / "spec" / "openapi.json"),
        "--config", str(config), "--meta", "none", "--output-path", str(folder / PACKAGE), "--fail-on-warning",
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    return folder, made.stdout + made.stderr


@pytest.fixture
def calls(generated: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """python_calls.py with the generated package."""
    monkeypatch.syspath_prepend(generated[0])
    return importlib.import_module("tests.openapi.python_calls")


def test_generator__has_nothing_to_complain_about(generated: tuple[Path, str]) -> None:
    folder, said = generated
    assert not [word for word in ("warning", "omitted", "unable", "can't be merged") if word in said.lower()]
    assert len(list((folder / PACKAGE / "api").rglob("*.py"))) > 20


def test_calls__are_well_typed(generated: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = generated

    def checked(text: str) -> subprocess.CompletedProcess[str]:
        (folder / "calls.py").write_text(text)
        return run(folder, "mypy", "--strict", "--cache-dir", str(tmp_path), "calls.py")

    good = CALLS.read_text()
    assert checked(good).returncode == 0, checked(good).stdout
    for right, wrong in (("UpdateSession(name=name)", "UpdateSession(name=7)"), ('"/messages/0"]', "0]")):
        assert right in good
        assert checked(good.replace(right, wrong)).returncode == 1


def test_rename__changes_nothing_else(calls: ModuleType, ada: Person, functions: str) -> None:
    with calls.client(functions, ada.token) as api:
        session_id = calls.running_session(api)
        before = ada.get(f"/{session_id}")
        assert (before["status"], before["visibility"], before["model"]) == ("running", "public", "large-1")
        assert before["archived_at"] is not None
        calls.rename(api, session_id, "after")
    after = ada.get(f"/{session_id}")
    assert after == {**before, "name": "after", "updated_at": after["updated_at"]}


def test_calls__do_what_they_say(calls: ModuleType, ada: Person, functions: str) -> None:
    with calls.client(functions, ada.token) as api:
        assert calls.tour(api) == [
            "{'memory': {'topic': 'coffee'}, 'messages': []}",
            "{'set': {'/memory/topic': 'coffee'}, 'remove': ['/messages/0']}",
            "['/memory/topic', '/messages/0']",
            "3 1 1 0",
            "204 running 404",
        ]

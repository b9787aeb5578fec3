"""`pip install asyouwere` without extras: the wheel in an environment of its own, which holds only what it brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: What pip and venv put there by themselves.
TOOLS = {"pip", "setuptools", "wheel"}
MOST_PACKAGES = 12


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob("asyouwere-*.whl")
    return path


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with that wheel alone."""
    folder = tmp_path_factory.mktemp("installed")
    for command in (
        (sys.executable, "-m", "venv", str(folder / "venv")),
        (str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile", str(wheel)),
    ):
        done = run(*command, cwd=folder)
        assert done.returncode == 0, done.stderr[-2000:]
    return folder / "venv" / "bin"


def test_installing__brings_what_a_client_needs_and_little_else(programs: Path, tmp_path: Path) -> None:
    done = run(str(programs / "python"), "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    names = {package["name"].lower() for package in json.loads(done.stdout)} - TOOLS
    assert {"asyouwere", "httpx"} <= names
    assert len(names) <= MOST_PACKAGES, sorted(names)


def test_importing__loads_nothing_but_the_standard_library(programs: Path, tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import asyouwere\n"
        "own = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(asyouwere.__file__, *(own - sys.stdlib_module_names))"
    )
    done = run(str(programs / "python"), "-c", code, cwd=tmp_path)
    file, *loaded = done.stdout.split()
    assert str(programs.parent) in file
    assert loaded == ["asyouwere"]


@pytest.mark.parametrize("command", [["asyouwere", "run"], ["python", "-m", "asyouwere", "--help"]])
def test_command__without_its_extra_says_what_to_install(
    programs: Path, tmp_path: Path, command: list[str]
) -> None:
    done = run(str(programs / command[0]), *command[1:], cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("asyouwere: ")
    assert line.endswith("pip install 'asyouwere[local]'")


def test_wheel__holds_the_migrations_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "sql" / "migrations").glob("*.sql"):
        assert f"asyouwere/sql/migrations/{path.name}" in names
    assert "asyouwere/sql/bootstrap.sql" in names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"asyouwere"}

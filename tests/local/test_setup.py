"""Set-up: what is installed, and what is said when it cannot be."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_requirements__each_group_names_a_package_once() -> None:
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        named = [re.split(r"[\[<>=~; ]", requirement)[0].lower() for requirement in group]
        assert len(named) == len(set(named)), sorted(named)


def test_version__is_said_once_the_same() -> None:
    import asyouwere

    assert asyouwere.__version__ == PROJECT["version"]


# -- scripts/setup on machines that lack something -----------------------------------------------------------

TOOLS = ("sh", "dirname", "cksum", "cat", "grep", "rm", "tail", "id")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with only what set-up reads, on a machine with only the most ordinary tools."""
    place = tmp_path / "a clone"
    (place / "scripts").mkdir(parents=True)
    (place / "bin").mkdir()
    (place / "infra").mkdir()
    shutil.copy(ROOT / "pyproject.toml", place)
    shutil.copy(ROOT / "infra" / "requirements.txt", place / "infra")
    shutil.copy(ROOT / "scripts" / "setup", place / "scripts")
    for tool in TOOLS:
        found = shutil.which(tool, path="/bin:/usr/bin")
        assert found is not None
        (place / "bin" / tool).symlink_to(found)
    return place


def program(clone: Path, name: str, text: str) -> None:
    path = clone / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def python(clone: Path, name: str, version: str, *, venv: bool = True) -> None:
    """A stand-in that answers what set-up asks a Python."""
    new_enough = tuple(int(part) for part in version.split(".")) >= (3, 11)
    program(
        clone,
        name,
        f"""
        case "$*" in
            *version_info*exit* | *exit*version_info*) exit {0 if new_enough else 1} ;;
            *version_info*) echo {version} ;;
            *ensurepip*) exit {0 if venv else 1} ;;
            *) echo "$0 $*" >> "{clone}/calls" ;;
        esac""",
    )


def setup(clone: Path, what: str = "run") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(clone / "scripts" / "setup"), what],
        env={"PATH": str(clone / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def refusal(clone: Path) -> str:
    result = setup(clone)
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert not (clone / ".venv").exists()
    return line


def test_setup__no_python(clone: Path) -> None:
    assert "there is no Python: install Python 3.11 or newer" in refusal(clone)


def test_setup__python_too_old(clone: Path) -> None:
    python(clone, "python3", "3.9")
    assert "Python 3.9 is too old" in refusal(clone)


def test_setup__venv_module_missing_names_the_package(clone: Path) -> None:
    python(clone, "python3", "3.12", venv=False)
    assert "apt-get install python3.12-venv" in refusal(clone)


def test_setup__newer_python_beside_an_old_one_is_found(clone: Path) -> None:
    python(clone, "python3", "3.9")
    python(clone, "python3.12", "3.12")
    result = setup(clone)
    assert result.returncode != 0  # the stand-in makes no .venv
    assert "python3.12 -m venv .venv" in (clone / "calls").read_text()


def test_setup__failed_installation_says_what_failed_and_is_tried_again(clone: Path) -> None:
    python(clone, "python3", "3.12")
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / ".asyouwere-place").write_text(f"{clone}\n")
    program(clone, "../.venv/bin/python", 'case "$*" in *pip*) echo "ERROR: No network"; exit 1 ;; esac')
    for _ in range(2):
        result = setup(clone)
        assert result.returncode == 1
        assert "ERROR: No network" in result.stderr
        assert "it needs the network once, then run this again" in result.stderr


def test_setup__done_once_it_needs_nothing_until_the_project_changes(clone: Path) -> None:
    python(clone, "python3", "3.12")
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / ".asyouwere-place").write_text(f"{clone}\n")
    program(clone, "../.venv/bin/python", f'case "$*" in *pip*) echo x >> "{clone}/installed" ;; esac')
    for times in (1, 1, 1):
        assert setup(clone).returncode == 0
        assert (clone / "installed").read_text() == "x\n" * times
    (clone / "pyproject.toml").write_text("# other\n")
    assert setup(clone).returncode == 0
    assert (clone / "installed").read_text() == "x\n" * 2


def test_setup__who_has_the_most_has_the_others(clone: Path) -> None:
    python(clone, "python3", "3.12")
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / ".asyouwere-place").write_text(f"{clone}\n")
    program(clone, "../.venv/bin/python", f'case "$*" in *pip*) echo x >> "{clone}/installed" ;; esac')
    for what, times in (("run", 1), ("example", 2), ("run", 2), ("example", 2)):
        assert setup(clone, what).returncode == 0
        assert (clone / "installed").read_text() == "x\n" * times


@pytest.mark.parametrize(
    ("version", "npm", "wheel"),
    [(None, False, True), ("v18.19.0", True, True), ("v20.1.0", True, False), ("v24.0.0", False, True), ("odd", True, True)],
)  # fmt: skip
def test_setup__node_comes_as_a_wheel_where_the_machine_has_no_good_one(
    clone: Path, version: str | None, npm: bool, wheel: bool
) -> None:
    python(clone, "python3", "3.12")
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / ".asyouwere-place").write_text(f"{clone}\n")
    program(clone, "../.venv/bin/python", f'case "$*" in *pip*) echo "$*" >> "{clone}/installed" ;; esac')
    if version is not None:
        program(clone, "node", f"echo {version}")
    if npm:
        program(clone, "npm", "exit 1")
    assert setup(clone).returncode == 0
    assert (",node]" in (clone / "installed").read_text()) is wheel


def test_setup__unknown_argument(clone: Path) -> None:
    result = setup(clone, "everything")
    assert result.returncode == 2
    assert "say run, example or test" in result.stderr


def test_ci__runs_the_readmes_test_command() -> None:
    assert "make --no-print-directory test" in (ROOT / ".ci" / "run").read_text()

"""The Makefile: what it says of itself, and that clean takes what is ours and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def make(folder: Path, *arguments: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "XDG_CACHE_HOME")}
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        env={**inherited, **environment},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make__alone__lists_every_target_with_what_it_does() -> None:
    listed = re.findall(r"^make (\w+) +\S", make(ROOT), re.MULTILINE)
    runs = re.search(r"^TRUST_RUNS = (.*)", MAKEFILE, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*) \$\(TRUST_RUNS\)$", MAKEFILE, re.MULTILINE)
    assert runs
    assert phony
    assert sorted(listed) == sorted([*phony[1].split(), *runs[1].split()])
    for line in make(ROOT).splitlines():
        assert len(line) <= 118, line


@pytest.mark.parametrize("where", ["home", "cache"])
def test_clean__takes_caches_in_the_clone_and_at_home__leaves_data(tmp_path: Path, where: str) -> None:
    clone, home = tmp_path / "a clone", tmp_path / "a home"
    cache = home / ".cache" if where == "home" else tmp_path / "caches"
    gone = [
        clone / ".venv/bin",
        clone / ".mypy_cache",
        clone / ".schemathesis",
        clone / "functions/__pycache__",
        clone / "tests/node/node_modules/a",
        cache / "asyouwere/supabase-0",
    ]
    stay = [clone / ".asyouwere/postgres-18", clone / "functions/asyouwere", cache / "pip"]
    for folder in [*gone, *stay]:
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", clone)
    make(clone, "clean", HOME=str(home), **({} if where == "home" else {"XDG_CACHE_HOME": str(cache)}))
    assert [path for path in gone if path.exists()] == []
    assert not (cache / "asyouwere").exists()
    assert [path for path in stay if not path.exists()] == []

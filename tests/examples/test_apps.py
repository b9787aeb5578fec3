"""What the READMEs of the example apps say of themselves."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from asyouwere.local.node import find_node
from examples.building import EXAMPLES, build_example, names

_COMMENT = re.compile(r"\s*(#|//|/?\*)")


def lines_of(app: Path) -> int:
    """Lines of code: not those that are empty or a comment, not the stand-ins, styles and what is built."""
    files = [*app.glob("*.py"), *app.glob("page/*.ts"), *app.glob("page/*.tsx")]
    code = [line for file in files if file.stem not in ("stand_in", "standin") for line in file.read_text().splitlines()]
    return sum(1 for line in code if line.strip() and not _COMMENT.match(line))


@pytest.mark.parametrize("name", names())
def test_readme__says_how_to_run_it__and_counts_its_lines_right(name: str) -> None:
    readme = (EXAMPLES / name / "README.md").read_text()

    assert f"make example NAME={name}" in readme
    said = re.search(r"(\d+) lines without styles", readme)
    assert said is None or int(said[1]) == lines_of(EXAMPLES / name)
    assert f"({name}/README.md)" in (EXAMPLES / "README.md").read_text()


@pytest.mark.slow
def test_pages__have_the_types_they_say() -> None:
    said: list[str] = []
    if build_example(names()[0], said.append) is None:
        pytest.skip(f"needs Node.js and the npm packages of examples ({said})")
    compiler = EXAMPLES / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [find_node().program, str(compiler), "--noEmit"],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout

"""Wheel and sdist, each in an environment of its own, used from there; and typed for who uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.conftest import Place

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, os
import asyouwere

URL, TOKEN = os.environ["URL"], os.environ["TOKEN"]


async def main() -> None:
    async with asyouwere.open(URL, token=TOKEN, key="installed") as session:
        session.append({"role": "user", "content": "hi"})
        number: int = await session.save_now()
        async with session.turn() as turn:
            await turn.write("Hello")
        print(number, [message["content"] for message in session.context(last=2)])


asyncio.run(main())
with asyouwere.open(URL, token=TOKEN, key="installed") as session:
    print(session.number, len(session.state["messages"]), session.status.journal)
"""
WRONG = PROGRAM.replace("number: int = await", "number: str = await")


def run(*command: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=cwd, env={**environment, **more}, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both."""
    folder = tmp_path_factory.mktemp("built")
    uv = Path(sys.executable).with_name("uv")
    done = run(str(uv), "build", "--quiet", "--sdist", "--wheel", "--out-dir", str(folder), str(ROOT), cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_installed__and_used_from_there(built: Path, home: Place, tmp_path: Path, kind: str) -> None:
    (path,) = built.glob(f"asyouwere-{kind}")
    python = str(tmp_path / "venv" / "bin" / "python")
    for command in (
        (sys.executable, "-m", "venv", str(tmp_path / "venv")),
        (python, "-m", "pip", "install", "--quiet", str(path)),
    ):
        done = run(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
    settings = {"URL": home.options["url"], "TOKEN": home.options["token"], "XDG_STATE_HOME": str(tmp_path)}
    done = run(python, "-c", PROGRAM, cwd=tmp_path, **settings)
    assert done.stderr == ""
    assert done.stdout == "1 ['hi', 'Hello']\n2 2 ok\n"
    if kind == "*.whl":
        for text, errors in ((PROGRAM, 0), (WRONG, 1)):
            (tmp_path / "app.py").write_text(text)
            mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "app.py")
            checked = run(*mypy, cwd=tmp_path)
            assert checked.returncode == errors, checked.stdout

"""Clients of the browser's core in a run: in Node, on a bad network, told what to do a line at a time."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from asyouwere.local.node import find_node
from tests.functions.api import ISSUER, SECRET, token_for
from tests.trust.edits import Edit
from tests.trust.place import Surroundings
from tests.trust.report import Outcome

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
LIMIT_SECONDS = 120.0


class Browsers:
    """A Node process in which they live (web/tests/driven.ts)."""

    def __init__(self, outcome: Outcome, process: anyio.abc.Process) -> None:
        self._outcome = outcome
        self._process = process
        self._writing = anyio.Lock()
        self._asked: dict[int, anyio.Event] = {}
        self._told: dict[int, dict[str, Any]] = {}
        self._counted: dict[str, dict[str, int]] = {}
        self._number = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, outcome: Outcome, place: Surroundings, program: Path) -> AsyncIterator[Browsers]:
        """Run it as long as the block."""
        settings = {
            "ASYOUWERE_TEST_FUNCTIONS": place.functions.url,
            "ASYOUWERE_TEST_POSTGREST_URL": "http://127.0.0.1",  # not used
            "ASYOUWERE_TEST_SECRET": SECRET,
            "ASYOUWERE_TEST_ISSUER": ISSUER,
        }
        command = [find_node().program, "--no-warnings", str(program)]
        environment = {"PATH": os.environ["PATH"], **settings}
        async with await anyio.open_process(command, stderr=None, env=environment) as process:
            browsers = cls(outcome, process)
            async with anyio.create_task_group() as group:
                group.start_soon(browsers._hear)
                try:
                    yield browsers
                finally:
                    process.kill()
                    group.cancel_scope.cancel()

    async def ask(self, client: str, todo: str, **more: Any) -> Any:
        """The answer to one thing to do. Raises RuntimeError with what the client rejected with."""
        self._number += 1
        number, event = self._number, anyio.Event()
        self._asked[number] = event
        line = json.dumps({"number": number, "client": client, "todo": todo, **more}) + "\n"
        assert self._process.stdin is not None
        async with self._writing:
            await self._process.stdin.send(line.encode())
        with anyio.fail_after(LIMIT_SECONDS):
            await event.wait()
        told = self._told.pop(number)
        if "error" in told:
            raise RuntimeError(told["error"])
        before = self._counted.get(client, {})
        for name, count in told["counts"].items():
            self._outcome.count(name, count - before.get(name, 0))
        self._counted[client] = told["counts"]
        return told["answer"]

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                told = json.loads(line)
                self._told[told["number"]] = told
                self._asked.pop(told["number"]).set()


class BrowserClient:
    """One browser: a page load after the other, with one store."""

    def __init__(self, browsers: Browsers, outcome: Outcome, place: Surroundings, key: str, name: str) -> None:
        self._browsers = browsers
        self._outcome = outcome
        self._place = place
        self._key = key
        self._name = name

    async def _ask(self, todo: str, **more: Any) -> Any:
        return await self._browsers.ask(self._name, todo, **more)

    async def open(self) -> None:
        token = token_for(self._place.user)
        await self._ask("open", token=token, key=self._key, seed=sum(self._key.encode()) * 31 + int(self._name))

    async def edit(self, edit: Edit) -> str | None:
        text: str | None = await self._ask("edit", edit=asdict(edit))
        return text

    async def save(self) -> None:
        if await self._ask("save") is not None:
            self._outcome.count("tried again")

    async def look(self) -> None:
        if await self._ask("look") is not None:
            self._outcome.count("tried again")

    async def answer(self, name: str, pieces: list[str], *, is_cut: bool) -> bool:
        """The others make them."""
        return False

    async def fine(self) -> None:
        await self._ask("fine")

    async def state(self) -> tuple[dict[str, Any], int]:
        told = await self._ask("state")
        return told["state"], told["waiting"]

    async def crash(self) -> None:
        await self._ask("crash")

    async def close(self) -> None:
        await self._ask("close")


def bundle(folder: Path) -> Path:
    """The program, from the package's source. Raises FileNotFoundError without the npm packages of web."""
    esbuild = WEB / "node_modules" / "esbuild" / "bin" / "esbuild"
    program = folder / "driven.mjs"
    # esbuild is a program or a script that starts one, as npm had it
    is_script = esbuild.read_bytes()[:2] == b"#!"
    source = str(WEB / "tests" / "driven.ts")
    command = [*([find_node().program] if is_script else []), str(esbuild), source, "--bundle", "--platform=node"]
    subprocess.run([*command, "--format=esm", f"--outfile={program}", "--log-level=warning"], check=True, cwd=WEB)
    return program

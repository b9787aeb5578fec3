"""The bench's end of a side: a child process that is told by JSON lines what to do."""

from __future__ import annotations

import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
ANSWER_SECONDS = 900.0
CLOSE_SECONDS = 20.0


class SideFailed(RuntimeError):
    """A side refused, or is gone."""


class SideProcess:
    """A running side; `ask` is a call.

    python: which environment's. Raises SideFailed whenever the side answers with an error or not in time.
    """

    def __init__(self, name: str, python: str, log: Path) -> None:
        self.name = name
        self._log = log.open("ab")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            [python, "-m", "tests.bench.peers.sides", name],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )

    def ask(self, do: str, *, within: float = ANSWER_SECONDS, **request: Any) -> dict[str, Any]:
        """Do it; the answer. Only one request is under way at a time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SideFailed(f"{self.name} is gone; see {self._log.name}") from None
        if not select.select([self._process.stdout], [], [], within)[0]:
            raise SideFailed(f"{self.name} gave no answer to {do} in {within:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise SideFailed(f"{self.name} is gone; see {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SideFailed(answer["error"])
        return answer

    def close(self) -> None:
        """End it: it closes its connections when its input ends. Closing it again does nothing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._log.closed:
            return
        try:
            self._process.stdin.close()
            self._process.wait(CLOSE_SECONDS)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        finally:
            self._process.stdout.close()
            self._log.close()

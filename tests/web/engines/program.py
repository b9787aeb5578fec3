"""A browser's program that a test owns: started with a profile, killed, started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

__all__ = ["Program", "needed"]


def needed(program: str, package: str) -> str:
    """Where a program is, or a skip that says how to get it."""
    beside = [str(folder) for folder in Path("/usr/lib").glob("*/webkit2gtk-4.1")]  # Debian keeps MiniBrowser there
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *beside]))
    return found or pytest.skip(f"needs {program}: apt-get install {package}")


class Program:
    """A program and all that it starts. It knows no home but `home`, where its log is, and no desktop but what it is told."""

    def __init__(self, command: list[str], home: Path, pass_fds: tuple[int, ...] = (), **environment: str) -> None:
        self.log = home / f"{Path(command[0]).name}.log"
        known = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(home)}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=pass_fds,
                env=known | environment,
            )

    def assert_runs(self) -> None:
        """Fails with what it printed last, if it has ended."""
        assert self.process.poll() is None, f"{self.process.args!r} ended:\n{self.log.read_text()[-2000:]}"

    def kill(self) -> None:
        """SIGKILL to all of it at once, as a crash or a battery would."""
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            program = psutil.Process(self.process.pid)
            family = [program, *program.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait(30)
        psutil.wait_procs(family[1:], timeout=30)

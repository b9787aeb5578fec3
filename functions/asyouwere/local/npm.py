"""npm, and what npm has installed, run to its end: quiet, bounded, and with one line that says why it failed.

    install(find_node(), folder)          # by folder's package-lock.json
    run([node.program, "vite.js", "build"], folder)
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asyouwere.local.node import Node
from asyouwere.local.processes import kill_tree

__all__ = ["StepFailed", "install", "run"]

_SECONDS: Final = 600
# The lock says exactly what comes; a registry that cannot be reached is told quickly, not after minutes.
_INSTALL: Final = (
    "install",
    *("--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"),
    *("--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=500"),
    *("--fetch-retry-maxtimeout=1000", "--fetch-timeout=60000"),
)


class StepFailed(Exception):
    """A program took too long or ended badly; the message is the line of its output that says why."""


def install(node: Node, folder: Path, *options: str) -> None:
    """npm install in a folder, which has a package-lock.json. Raises StepFailed."""
    run([*node.npm, *_INSTALL, *options, *_own_npm_cache(folder)], folder)


def run(command: Sequence[str], folder: Path) -> None:
    """Run a program to its end; nothing of it is left when we are interrupted. Raises StepFailed."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(_SECONDS)
        except BaseException as exc:
            kill_tree(process.pid)
            process.wait()
            if isinstance(exc, subprocess.TimeoutExpired):
                raise StepFailed("it took too long") from exc
            raise
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    if code != 0:
        last = lines[-1] if lines else "it said nothing"
        raise StepFailed(next((line for line in lines if "code E" in line), last).strip()[:200])


def _own_npm_cache(folder: Path) -> list[str]:
    """npm keeps what it gets in the person's home; a user without one (nobody) lends it a folder."""
    home = Path("~").expanduser()
    return [] if os.access(home, os.W_OK) else ["--cache", str(folder / "npm-cache")]

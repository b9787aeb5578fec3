"""What a cold start imports: main.py against the framework and the database driver alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measurements import Comparison, Figure, Target
from tests.bench.place import Place

GROUP = "Cold start"

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
TIMED = "import time; begin = time.perf_counter(); import {}; print((time.perf_counter() - begin) * 1000)"


def measure(place: Place) -> Iterator[Figure]:
    """Fresh interpreters in turn; the clock runs inside them, from the first import to the last."""
    rounds = place.rounds(40, 12)
    ours: list[float] = []
    floor: list[float] = []
    for lap in range(-2, rounds):
        # the first two write and read the compiled files
        mine, theirs = _import("main"), _import("functions_framework.aio, psycopg")
        if lap >= 0:
            ours.append(mine)
            floor.append(theirs)
    detail = "import functions_framework.aio, psycopg; fresh interpreters, compiled files there"
    yield Comparison(ours, floor).figure(GROUP, "import of functions/main.py", Target(1.5), detail)


def _import(modules: str) -> float:
    command = [sys.executable, "-c", TIMED.format(modules)]
    return float(subprocess.run(command, cwd=FUNCTIONS, check=True, capture_output=True, text=True).stdout)

"""The command: `python -m tests.web.figures`, or `make figures`. Measures and reports; asserts nothing of times."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.bench import machine, report
from tests.bench.measurements import Figure
from tests.web.figures.clone import starting
from tests.web.figures.measures import MEASURES, PEERS
from tests.web.figures.place import running_place

ROOT = Path(__file__).parents[3]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; 0 if it ran, whatever came out."""
    parser = argparse.ArgumentParser(prog="make figures", description="Measure what the browser package costs.")
    parser.add_argument("--only", nargs="+", choices=[*MEASURES, "starting"], help="only these")
    wanted = parser.parse_args(arguments).only or [*MEASURES, "starting"]
    subprocess.run([ROOT / "scripts" / "node-packages", PEERS.relative_to(ROOT)], check=True)
    before, begun = machine.load(), time.monotonic()
    figures: list[Figure] = []
    if names := [name for name in wanted if name in MEASURES]:
        with running_place() as place:
            for name in names:
                print(f"asyouwere: measuring {name} ...", file=sys.stderr)
                figures += MEASURES[name](place)
    if "starting" in wanted:
        print("asyouwere: measuring starting ...", file=sys.stderr)
        figures += starting()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    report.print_table(figures, console)
    console.print(
        f"\n{report.summary(figures)}. Load {before} before, {machine.load()} after; "
        f"{time.monotonic() - begun:.0f} s."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

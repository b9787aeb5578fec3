"""The command: `python -m tests.bench`, or `make bench`. Measures and reports; asserts nothing."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from asyouwere.local.errors import LocalError
from asyouwere.local.stack import LocalStack, data_folder
from tests.bench import (
    addresses,
    client,
    cold_start,
    crowding,
    functions,
    growing,
    growth,
    importing,
    machine,
    pictures,
    pruning,
    report,
    restoring,
    saving,
    storing,
    turns,
)
from tests.bench.measurements import Figure
from tests.bench.peers import measuring as peers
from tests.bench.peers import picture, streams
from tests.bench.place import Place

Measure = Callable[[Place], Iterator[Figure]]

GROUPS: dict[str, Measure] = {
    "saving": saving.measure,
    "restoring": restoring.measure,
    "addresses": addresses.measure,
    "storing": storing.measure,
    "pruning": pruning.measure,
    "crowding": crowding.measure,
    "functions": functions.measure,
    "client": client.measure,
    "importing": importing.measure,
    "cold_start": cold_start.measure,
    "growing": growing.measure,
    "growth": growth.measure,
    "turns": turns.measure,
    "streams": streams.measure,
    "peers": peers.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 if all ran, whatever came out."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    folder = data_folder() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    try:
        figures, facts = _measure(options, folder)
    except LocalError as exc:
        print(f"asyouwere: {exc}", file=sys.stderr)
        return 1
    facts["run"] = f"{'quick' if options.quick else 'full'}, {time.monotonic() - begin:.0f} s"
    markdown, data = report.write(figures, facts, options.output or folder)
    if options.pictures and (folder / growing.SERIES).exists():
        pictures.draw(growing.read_points(folder / growing.SERIES), options.pictures)
    if options.pictures and (folder / "peers.json").exists():
        picture.draw(folder / "peers.json", options.pictures)
    report.print_table(figures, console)
    console.print()
    for name in ("machine", "disk", "load before", "load after", "run"):
        console.print(f"{name}: {facts[name]}", style="dim")
    console.print(f"{report.summary(figures)}. What was measured against what: {markdown} (and {data.name})")
    if "failed" in facts:
        print(f"asyouwere: not measured, see above: {facts['failed']}", file=sys.stderr)
        return 1
    return 0


def _measure(options: argparse.Namespace, folder: Path) -> tuple[list[Figure], dict[str, str]]:
    """Start a stack of our own, run the groups in it, take it away."""
    home = folder / "data"
    shutil.rmtree(home, ignore_errors=True)  # of a run that was killed
    figures: list[Figure] = []
    failed: list[str] = []
    try:
        with LocalStack(home, port=0, postgres_port=0) as stack:
            place = Place(stack, quick=options.quick)
            facts = machine.describe(place)
            for name in options.only or GROUPS:
                print(f"asyouwere: measuring {name} ...", file=sys.stderr)
                try:
                    figures += GROUPS[name](place)
                except Exception:  # noqa: BLE001 -- the others took long enough to be kept
                    traceback.print_exc()
                    failed.append(name)
            facts["load after"] = machine.load()
            if failed:
                facts["failed"] = ", ".join(failed)
            place.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return figures, facts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench", description="Measure what asyouwere costs, and against what."
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds and smaller sessions: some minutes"
    )
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, metavar="GROUP", help=f"only: {', '.join(GROUPS)}"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="draw the growing session and the peers there, as SVG"
    )
    parser.add_argument("--output", type=Path, help="folder for the report (default: .asyouwere/bench)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
